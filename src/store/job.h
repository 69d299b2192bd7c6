/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Ending a job, and adding to its log, in somebody else's transaction, with
 * what it made.
 */

#include "outboxfs/store/job.h"
#include "store/private.h"

struct job_ending {
	enum job_state state;
	int error_number;   /* positive; 0: none */
	const char *error;  /* NULL: none */
	const char *counts; /* JSON; NULL: none */
	const char *file;   /* NULL: none */
	int64_t snapshot;   /* 0: none */
};

/* -EALREADY: it has ended; -ENOENT. */
NODISCARD int job_end_on(struct db *db, int64_t id, const struct job_ending *e);
/* -ENOENT */
NODISCARD int job_log_on(struct db *db, int64_t id, const char *text);
