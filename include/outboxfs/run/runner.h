/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Runs jobs: one thread that takes them in order, one at a time. What a
 * process left behind that died (a job in state processing) is run again
 * first. Events are told after the state is durable, with no lock held: from
 * that thread, or from the one that submits or aborts a job that is not being
 * run.
 */

#include "outboxfs/work/work.h"

struct runner_events {
	/* A snapshot is there; output/, outbox/ and so on show it. */
	void (*published)(int64_t snapshot, void *arg);
	/* A job has another state; also when it is queued (submitter's thread).
	 */
	void (*changed)(int64_t job, enum job_state state, void *arg);
	void *arg;
};

struct runner;

/* w is borrowed until runner_stop(). */
NODISCARD int runner_start(struct work *w, const struct runner_events *events,
			   struct runner **ret);
/*
 * Ends it: the job under way stops at its next safe point and stays in state
 * processing, so that the next runner repeats it. NULL is fine.
 */
void runner_stop(struct runner *r);

/*
 * Checks and queues an export or purge. 0: *ret is the job's number; -EEXIST,
 * -ENOENT, -EDQUOT, -EROFS, …: nothing was queued, err says why.
 */
NODISCARD int runner_submit(struct runner *r, const struct command *c,
			    const char *requested_by, int64_t *ret,
			    struct err *err);
/* -ENOENT, -EALREADY (it has ended). It stops within a second. */
NODISCARD int runner_abort(struct runner *r, int64_t job, struct err *err);

/* Documents of jobs/<n>/, appended to ret; of a job that was read before. */
NODISCARD int runner_progress_json(struct runner *r, const struct job *job,
				   struct buf *ret);
/* Only of one that has ended. */
NODISCARD int job_result_json(const struct job *job, struct buf *ret);
