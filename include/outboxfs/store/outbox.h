/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * ZIPs in outbox/. An entry is a selection over a snapshot; its bytes are
 * computed when they are read (package.h, format/zip-layout.h). Ids are never
 * reused.
 *
 * Any thread. Errors as db.h.
 */

#include "outboxfs/store/package.h"

struct outbox_entry {
	int64_t id;
	int64_t snapshot;
	int64_t bytes; /* of the ZIP */
	int64_t entries;
	int64_t job;
	wall_s_t time;
	char type[24];
	char name[256];
};

/* By id, or by name. -ENOENT. */
NODISCARD int outbox_get(struct store *store, int64_t id,
			 struct outbox_entry *ret);
NODISCARD int outbox_find(struct store *store, const char *name,
			  struct outbox_entry *ret);
/* Ids above after, in order. The callback returns 0, 1 to stop, or an errno. */
typedef int (*outbox_func_t)(const struct outbox_entry *e, void *arg);
NODISCARD int outbox_list(struct store *store, int64_t after,
			  outbox_func_t func, void *arg);
/* -ENOENT. What it showed stays until it is purged. */
NODISCARD int outbox_withdraw(struct store *store, int64_t id);

/* A ZIP that is being read: any thread, several at a time. */
struct outbox_reader;
NODISCARD int outbox_open(struct store *store, int64_t id,
			  struct outbox_reader **ret);
struct outbox_reader *outbox_close(struct outbox_reader *r);
/* Bytes from offset on, up to n; fewer only at the end. */
NODISCARD ssize_t outbox_read(struct outbox_reader *r, int64_t offset,
			      void *ret, size_t n);

/* Channels. 1: *ret is the snapshot that its mark stands at; 0: none. */
NODISCARD int channel_get(struct store *store, const char *name, int64_t *ret);

struct store_usage {
	int64_t packs; /* bytes of all packs */
	int64_t dead;  /* of them, of objects that nothing needs */
	int64_t n_outbox;
	int64_t n_snapshots; /* kept */
	int64_t n_channels;
	int64_t n_queued; /* jobs that have not ended */
};
NODISCARD int store_usage(struct store *store, struct store_usage *ret);
/* The part of it that limits are set for, which costs nothing to find out. */
NODISCARD int store_limited(struct store *store, int64_t *ret_packs,
			    int64_t *ret_n_outbox);
