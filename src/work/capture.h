/* SPDX-License-Identifier: MIT */
#pragma once

#include "outboxfs/artifact/capture.h"
#include "outboxfs/store/draft.h"
#include "outboxfs/work/work.h"

/* What a capture is to do, and what it found out. */
struct capture {
	/* the caller's */
	bool setup;  /* setup tables */
	bool data;   /* data and status */
	bool afresh; /* everything, also what has not changed */

	/* the result */
	wall_s_t time;  /* of the consistent read */
	int64_t change; /* the last change number that it saw */
	char timeline[TIMELINE_BYTES];
	char model_name[256];
	char model_hash[SHA256_HEX + 1];
	struct arena arena;        /* owns process' bytes */
	struct value process;      /* last exported process id */
	int64_t n_examined;        /* POVs */
	struct artifact_read read; /* its model, but no state any more */
	int64_t *tables; /* owned; the draft's numbers, by place in the model */
};

#define CAPTURE_NULL                                             \
	{                                                        \
		.arena = ARENA_NULL, .read = ARTIFACT_READ_NULL, \
	}

void capture_deinit(struct capture *c); /* for CLEANUP() */

/*
 * Before a draft is begun: what the store knows under another timeline of the
 * database is forgotten.
 */
NODISCARD int capture_check_timeline(struct work *w, struct err *err);

/*
 * Brings a draft up to date with one consistent read of the database: what
 * has changed since the last capture, or everything. -ECANCELED: stopped.
 */
NODISCARD int capture_run(struct work *w, struct draft *d, struct capture *c,
			  struct err *err);
