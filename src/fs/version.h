/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Versions of files: their bytes, rendered, for as long as somebody has them
 * open, and for a while after. Any thread.
 */

#include <stdatomic.h>
#include <stdbool.h>

#include "outboxfs/base/buf.h"
#include "outboxfs/base/hash.h"
#include "outboxfs/store/store.h"

#define FUSE_USE_VERSION 314

#include <fuse_lowlevel.h>

struct call;

/* A version of a file: its bytes, as they are read by offset. */
struct version {
	struct version *hash_next;
	struct version *lru_prev; /* in the list of unused ones */
	struct version *lru_next;
	fuse_ino_t ino;

	/* under the cache's lock */
	unsigned n_refs;
	unsigned n_open;      /* handles of open files among them */
	unsigned n_flushed;   /* of which somebody closed a descriptor */
	mono_us_t flushed_at; /* last */
	enum {
		VERSION_RENDERING,
		VERSION_READY,
		VERSION_FAILED
	} state;
	struct call *waiting; /* parked calls */

	/* the renderer's until ready, then fixed */
	_Atomic bool taken; /* a provisional one: by an open */
	struct buf mem;     /* the bytes, unless they are in fd */
	int fd;             /* -1, or an unnamed file */
	bool on_disk;       /* that file: in the store, not in memory */
	int64_t size;       /* bytes */
	int64_t rows;
	wall_s_t time;
	uint8_t sha256[SHA256_BYTES];
};

struct versions;

NODISCARD int versions_new(struct store *store, struct versions **ret);
struct versions *versions_free(struct versions *vs);

/*
 * The version with this node id. 0: *ret is ready, and a reference.
 * 1: the caller renders it into *ret and calls versions_done().
 * -EINPROGRESS: the call is parked, and started again when rendering has ended,
 * well or not. -ENOMEM.
 */
NODISCARD int versions_get(struct versions *vs, fuse_ino_t ino,
			   struct call *call, struct version **ret);
/* As above, but only what is ready: -ENOENT. */
NODISCARD int versions_find(struct versions *vs, fuse_ino_t ino,
			    struct version **ret);
/* Ends rendering with r (0: ready); parked calls start again. Keeps the ref. */
void versions_done(struct versions *vs, struct version *v, int r);
void versions_unref(struct versions *vs, struct version *v);
/* Another database: what is there stays with who has it open, and no more. */
void versions_reset(struct versions *vs);
/*
 * Takes bytes while rendering, in order. A full disk is no error, bytes go on
 * in memory then; -ENOMEM, or what writing a file can give.
 */
NODISCARD int versions_write(struct version *v, const char *data, size_t n,
			     struct store *store);
/* Takes back what was written so far. */
void versions_empty(struct version *v);
/*
 * An open file counts from versions_open() to versions_close(), which says
 * whether versions_flush() was ever called for it: is_first, the first time.
 */
void versions_open(struct versions *vs, struct version *v);
void versions_flush(struct versions *vs, struct version *v, bool is_first);
void versions_close(struct versions *vs, struct version *v, bool was_flushed);

/*
 * Does anybody have this version open? The kernel says FLUSH at each close(2)
 * of a descriptor, and waits for it; after that of the last one it says
 * RELEASE at once, and does not wait.
 */
enum version_use {
	USE_NONE,
	USE_CLOSING, /* nobody, if RELEASE comes soon */
	USE_OPEN,
};
enum version_use versions_use(struct versions *vs, fuse_ino_t ino);
