/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Forgetting. Each function does what it does in one transaction and calls
 * back once for what it takes away, in the transaction, so that the callback
 * may not write to the store; with dry_run it only calls back. Nothing goes
 * that a channel's mark, a ZIP in outbox/, or the present state needs: the last
 * snapshot is skipped, and another one that is needed goes from snapshots/
 * alone.
 *
 * Space is given back by purge_compact(), while readers go on.
 */

#include "outboxfs/base/err.h"
#include "outboxfs/store/store.h"

/* "outbox/close.zip", "snapshots/7", "jobs/3"; time: of it. 0 or an errno. */
typedef int (*purge_func_t)(const char *path, wall_s_t time, void *arg);

struct purge {
	wall_s_t before;  /* what is older; 0: of any age */
	int64_t keep;     /* all but the latest so many; -1: no matter how many
			   */
	const char *name; /* outbox: a glob(7) pattern, or NULL */
	int64_t not_job;  /* jobs: this one stays */
	int64_t log_job;  /* its log gets a line for each that went, in the
			   * transaction; 0: none */
	bool dry_run;
	purge_func_t func;
	void *arg;
};

NODISCARD int purge_outbox(struct store *store, const struct purge *p);
NODISCARD int purge_snapshots(struct store *store, const struct purge *p);
/* Jobs that have ended. */
NODISCARD int purge_jobs(struct store *store, const struct purge *p);
/* The exported state: the present trees, and all channels' marks. -EBUSY: there
 * is a draft. */
NODISCARD int purge_output(struct store *store, bool dry_run);

/* Objects that nothing needs any more are dropped from the index. */
NODISCARD int purge_objects(struct store *store, int64_t *ret_bytes);
/*
 * Rewrites packs of which less than half is in use and joins small ones.
 * go_on(arg) is asked between objects: not 0 ends it, cleanly.
 */
NODISCARD int purge_compact(struct store *store, int (*go_on)(void *arg),
			    void *arg, int64_t *ret_bytes, struct err *err);
