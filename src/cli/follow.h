/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Jobs, for the commands that start, follow and list them. Where a daemon
 * serves the database, it does the work: a command is written into its
 * control files, and the job is followed in its directory. Where nobody does,
 * the work is done in this process. Both look the same from here.
 *
 * One thread.
 */

#include <limits.h>

#include "cli/cli.h"
#include "outboxfs/run/runner.h"

enum follow_depth {
	FOLLOW_LOOK, /* jobs as they stand in the store */
	FOLLOW_WORK, /* the database, too, and threads to work with */
	FOLLOW_RUN,  /* jobs are run */
};

struct follow {
	char database[PATH_MAX];
	char mountpoint[PATH_MAX]; /* "": this process does the work */
	int signal_fd;             /* SIGINT and SIGTERM; -1: not waited for */

	/* without a mount point */
	struct artifact *artifact;
	struct store *store;
	struct pool *pool;
	struct runner *runner; /* FOLLOW_RUN */
	struct work work;
	int event_fd; /* a job has another state */
};

#define FOLLOW_NULL                                                      \
	{                                                                \
		.database = "", .mountpoint = "", .signal_fd = -1,       \
		.work = {.limits = WORK_LIMITS_DEFAULT}, .event_fd = -1, \
	}

/*
 * path is a database or a mount point. what is the command's name, for others
 * who want the database meanwhile. -EBUSY: neither way goes.
 */
NODISCARD int follow_open(const char *path, enum follow_depth depth,
			  const char *what, struct follow *ret,
			  struct err *err);
void follow_close(struct follow *f); /* for CLEANUP() */

/* Where the database is served: "" or why a command in process cannot be. */
NODISCARD int follow_find(const char *path, struct follow *ret,
			  struct err *err);

/* As runner_submit() and runner_abort(). */
NODISCARD int follow_submit(struct follow *f, const struct command *c,
			    int64_t *ret_job, struct err *err);
NODISCARD int follow_abort(struct follow *f, int64_t job, struct err *err);

/* A document of jobs/<n>/, appended to ret: "state" and so on. -ENOENT. */
NODISCARD int follow_read(struct follow *f, int64_t job, const char *name,
			  struct buf *ret, struct err *err);
NODISCARD int follow_state(struct follow *f, int64_t job, enum job_state *ret,
			   struct err *err);
/* What there is of a job: result.json, or progress.json before its end. */
NODISCARD int follow_document(struct follow *f, int64_t job, struct buf *ret,
			      struct err *err);

/* Numbers of all jobs, rising; *ret is the caller's. */
NODISCARD int follow_list(struct follow *f, int64_t **ret, size_t *ret_n,
			  struct err *err);

/*
 * Waits until a job has ended, with a progress bar where stderr is a
 * terminal. A signal aborts a job of this process; -EINTR: it only ended the
 * waiting.
 */
NODISCARD int follow_wait(struct follow *f, int64_t job, enum job_state *ret,
			  struct err *err);

/* 1: a signal has come meanwhile, and was taken. */
NODISCARD int follow_signalled(struct follow *f);

/* Says how a job ended; the exit status. json: result.json on stdout. */
int follow_report(struct follow *f, int64_t job, bool json);

/* The words behind the database: one command. 0, or EXIT_USAGE and said so. */
int follow_parse(const struct cli_command *cmd, enum command_kind kind,
		 int argc, char **argv, struct command **ret);

/* A job's number as a word. 0, or EXIT_USAGE and said so. */
int follow_parse_job(const struct cli_command *cmd, const char *word,
		     int64_t *ret);

/* Copies a ZIP of outbox/ into a directory, whole or not at all. */
NODISCARD int follow_deliver(struct follow *f, const char *file,
			     const char *dir, bool overwrite, struct err *err);

/* The progress bar: progress.json as one line on stderr; NULL: no line. */
void progress_draw(const char *json);
bool progress_is_shown(void);
