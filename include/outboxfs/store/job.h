/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Jobs: durable requests. queued -> processing -> done, failed, aborted or
 * limit_reached; aborting is on the way from processing. Every change is
 * committed before anybody sees it, and only one UPDATE with the state it
 * comes from in its WHERE makes it. Ids are never reused.
 *
 * Any thread.
 */

#include "outboxfs/base/buf.h"
#include "outboxfs/base/err.h"
#include "outboxfs/store/store.h"

enum job_state {
	JOB_QUEUED,
	JOB_PROCESSING,
	JOB_ABORTING,
	JOB_DONE,
	JOB_FAILED,
	JOB_ABORTED,
	JOB_LIMIT_REACHED,
};
/* "queued" and so on. */
const char *job_state_name(enum job_state state);
static inline bool job_has_ended(enum job_state state)
{
	return state >= JOB_DONE;
}

struct job {
	int64_t id;
	enum job_state state;
	int error_number; /* errno of one that did not end well, positive */
	int64_t snapshot; /* 0: none */
	wall_s_t queued_at;
	wall_s_t started_at;  /* 0: not yet */
	wall_s_t finished_at; /* 0: not yet */
	/* owned; never NULL but as said */
	char *kind;         /* "export", "purge" */
	char *request;      /* JSON */
	char *requested_by; /* "uid 0, process 7 (bash)" */
	char *error;        /* a sentence; NULL: none */
	char *file;         /* name in outbox/; NULL: none */
	char *counts;       /* JSON; NULL: none */
};

#define JOB_NULL         \
	{                \
		.id = 0, \
	}

void job_deinit(struct job *job); /* for CLEANUP() */

/* Adds a queued job. -EDQUOT: there are max_queued already. -EROFS: the store
 * lives in memory. */
NODISCARD int job_submit(struct store *store, const char *kind,
			 const char *request, const char *requested_by,
			 unsigned max_queued, int64_t *ret);
/* id 0: the latest. -ENOENT. ret is JOB_NULL or an earlier answer. */
NODISCARD int job_get(struct store *store, int64_t id, struct job *ret);
/* Ids above after, in order. The callback returns 0, 1 to stop, or an errno. */
/* time: when it came into this state (aborting: processing). */
typedef int (*job_func_t)(int64_t id, enum job_state state, wall_s_t time,
			  void *arg);
NODISCARD int job_list(struct store *store, int64_t after, job_func_t func,
		       void *arg);

/*
 * The first that is queued (or was processing when its process died): 1 and
 * *ret in state processing; 0: none. For the one thread that runs jobs, while
 * it runs none: what is aborting then is a dead process's, and ends.
 */
NODISCARD int job_claim(struct store *store, struct job *ret);
/* 0: it is aborted (from queued) or aborting; -EALREADY: it has ended;
 * -ENOENT. */
NODISCARD int job_abort(struct store *store, int64_t id);
/*
 * Ends a job that draft_outbox() has not ended. state is one of the last
 * four; error is a sentence or NULL, counts JSON or NULL. -EALREADY: it has
 * ended; -ENOENT.
 */
NODISCARD int job_end(struct store *store, int64_t id, enum job_state state,
		      int error_number, const char *error, const char *counts);

/* A line of its log; -ENOENT. Text without line end. */
NODISCARD int job_log(struct store *store, int64_t id, const char *text);
/* The same of n bytes of texts, each with a NUL behind it: all or none. */
NODISCARD int job_log_all(struct store *store, int64_t id, const char *texts,
			  size_t n);
/* "2026-11-01T00:00:00Z text\n" for each line, appended to ret. */
NODISCARD int job_read_log(struct store *store, int64_t id, struct buf *ret);
