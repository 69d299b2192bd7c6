/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What jobs do. Each function is given a job that has been claimed, does all
 * of it, and returns; the runner (run/) calls it, ends the job and tells
 * others. A job may be run again after the process died: then what it had
 * committed is there, and what it had not has left no trace.
 *
 * One job at a time for each struct work.
 */

#include <stdatomic.h>

#include "outboxfs/artifact/artifact.h"
#include "outboxfs/base/pool.h"
#include "outboxfs/store/job.h"
#include "outboxfs/work/command.h"

/* How far the present job is. Written by it, read by anybody. */
struct progress {
	_Atomic int64_t job;        /* 0: none */
	_Atomic(const char *) step; /* "reading", "packing", …; static text */
	_Atomic int64_t povs_done;
	_Atomic int64_t povs_total; /* 0: not known yet */
	_Atomic int64_t rows;       /* read so far */
	_Atomic int64_t bytes;      /* rendered so far */
	_Atomic mono_us_t began;
	_Atomic bool stop; /* set by others: stop at the next safe point */
};

struct work_limits {
	int64_t store_bytes;  /* packs; 0: no limit */
	int64_t outbox_max;   /* entries; 0: no limit */
	unsigned queued_max;  /* jobs that have not ended */
	unsigned waiting_max; /* writers with wait=yes */
};

#define WORK_LIMITS_DEFAULT                                                \
	{                                                                  \
		.store_bytes = 0, .outbox_max = 10000, .queued_max = 1000, \
		.waiting_max = 64                                          \
	}

struct work {
	/* fixed, borrowed */
	const char *database; /* path */
	struct artifact *artifact;
	struct store *store;
	struct pool *pool;  /* renders; the job's own thread only waits */
	unsigned n_threads; /* of that pool */
	struct work_limits limits;

	struct progress progress;
};

/*
 * 0: done; *ret_snapshot is what it made (0: none). -ECANCELED: progress.stop
 * was set; -EDQUOT: over a limit; other errnos: failed, err says why.
 */
NODISCARD int work_export(struct work *w, const struct job *job,
			  const struct command *c, int64_t *ret_snapshot,
			  struct err *err);
/* counts receives a JSON object: what went. */
NODISCARD int work_purge(struct work *w, const struct job *job,
			 const struct command *c, struct buf *counts,
			 struct err *err);

/*
 * What can be said of a command before it is queued: -EEXIST the name is
 * taken, -ENOENT no such snapshot or job, -EDQUOT, -EROFS; 0.
 */
NODISCARD int work_check(struct work *w, const struct command *c,
			 struct err *err);

/* Reads every object, interval and ZIP back; func is told what is damaged. */
struct verify_result {
	int64_t n_objects;
	int64_t n_bytes;
	int64_t n_zips;
	int64_t n_damaged;
	int64_t n_repaired;
};
typedef int (*verify_func_t)(const char *what, const char *problem, void *arg);
NODISCARD int work_verify(struct work *w, bool repair, verify_func_t func,
			  void *arg, struct verify_result *ret,
			  struct err *err);
