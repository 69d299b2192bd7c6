/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Inside a capture: capture.c finds out what is to be read and has threads;
 * reading.c is what each of them does.
 */

#include "outboxfs/base/lock.h"
#include "work/capture.h"

#define RULES_MAX 1024 /* load rules that are told apart in a POV */

/* POV ids in the artifact database. */
struct ids {
	int64_t *list; /* owned */
	size_t n;
	size_t cap;
};

struct run {
	/* fixed while threads work */
	struct work *w;
	struct draft *d;
	struct capture *c;
	struct captured before;
	const struct model *model;
	struct artifact_read reads[CAPTURE_READS_MAX];
	unsigned n_reads;
	struct ids povs;
	bool *scanned; /* by place in the model: read in one pass; owned */

	/* first tables: setup, and passes; then POVs */
	bool povs_turn;
	_Atomic size_t next;

	/* under lock */
	struct lock lock;
	pthread_cond_t cond;
	unsigned n_working;
	int error; /* the first one */
	struct err err;
};

/* A dimension's value as the draft knows it; POVs next to each other share. */
struct known_value {
	struct arena arena;
	struct value v;
	int64_t id; /* 0: none yet */
	bool missing;
};

struct worker {
	struct pool_task task;
	struct run *run;
	struct artifact_read *rd;
	struct object_writer *writer;
	struct known_value values[MODEL_DIMS_MAX];
	struct known_value rule;
	int64_t scan_dir; /* the present POV of a pass */
	struct artifact_mark scan_mark;
	const struct model_table *scan_table;
	int64_t rules[RULES_MAX]; /* of the present POV */
	size_t n_rules;
	bool any_rule; /* and whether one of them exists */
};

/* For qsort() and bsearch(). */
int reading_compare_ids(const void *a, const void *b);

static inline bool reading_is_stopped(const struct run *run)
{
	return atomic_load(&run->w->progress.stop);
}

/* Gives a value that the draft knows the name that it has now. */
NODISCARD int reading_rename(struct run *run, struct artifact_read *rd, int dim,
			     const struct value *v);
/* One POV, with all its files. */
NODISCARD int reading_pov(struct worker *worker, int64_t id);
/* A setup table, if it is wanted; or one that is read in one pass. */
NODISCARD int reading_table(struct worker *worker, const struct model_table *t);
