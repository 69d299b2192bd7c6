/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Open files: what stands behind fi->fh. The kernel sends no RELEASE before
 * every other request on the file is answered, so a handle needs no count.
 */

#include "fs/fs.h"

struct handle_ops {
	/* Answers a READ: 0 after the reply, or as fs.h. */
	int (*read)(struct call *call, struct handle *h);
	/* Answers a WRITE likewise; NULL: nothing can be written. */
	int (*write)(struct call *call, struct handle *h);
	/* Size and time, while it is open. */
	void (*attr)(struct mount *m, struct handle *h, int64_t *ret_size,
		     wall_s_t *ret_time);
	/* What poll(2) is told now; NULL: always ready. */
	unsigned (*poll)(struct mount *m, struct handle *h);
	void (*flush)(struct mount *m, struct handle *h); /* NULL: nothing */
	void (*free)(struct mount *m, struct handle *h);
};

struct handle {
	const struct handle_ops *ops;
	struct node node;
	struct handle *next; /* in the mount's list; under texts_lock */
	struct handle **link;
	struct fuse_pollhandle *poll; /* owned; under texts_lock; NULL: none */
};

/* Into the mount's list, from which handle_close() takes it. */
void handle_add(struct mount *m, struct handle *h, const struct node *node,
		const struct handle_ops *ops);
void handle_close(struct mount *m, struct handle *h);
void handles_free(struct mount *m); /* those that no RELEASE came for */

/* An open file of a version: takes over the reference. */
NODISCARD int handle_of_version(struct call *call, struct version *v,
				struct handle **ret);

/* Answers a READ with the part of these bytes that it asks for. */
void handle_reply_slice(struct call *call, const char *data, size_t n);
/* The same of a version. */
NODISCARD int handle_reply_version(struct call *call, const struct version *v);

/*
 * Keeps what the kernel wants to be told by (NULL: nothing), and says what is
 * ready now.
 */
unsigned handle_poll(struct mount *m, struct handle *h,
		     struct fuse_pollhandle *ph);
/* Wakes who polls files of this kind and id. Never from a request's thread. */
void handles_wake(struct mount *m, enum node_kind kind, int64_t id);

/*
 * Sources: files of the store, open. All who have one open share it, and the
 * ones used last stay open for a while.
 */
struct source;
struct sources;

NODISCARD int sources_new(struct sources **ret);
struct sources *sources_free(struct sources *s);
/* What is open of this node: 0 and its size and time; -ENOENT. */
NODISCARD int sources_facts(struct mount *m, const struct node *node,
			    int64_t *ret_size, wall_s_t *ret_time);
/* object > 0: that object; else the ZIP of this outbox id. */
NODISCARD int handle_of_source(struct call *call, const struct node *node,
			       const struct facts *facts, int64_t object,
			       struct handle **ret);
