/* SPDX-License-Identifier: MIT */
/*
 * What a thread of a capture does: names of values that are new, files of a
 * POV, setup tables, and passes over tables that would cost too much POV by
 * POV. Rendering, hashing, deflating and writing of one file happen in one
 * thread, so nothing is handed over.
 */
#include "work/reading.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "outboxfs/store/tree.h"

int reading_compare_ids(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a;
	int64_t y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

/* Is a value known that would be called the same? */
static int has_twin(struct run *run, int dim, const struct artifact_naming *n)
{
	int64_t id;
	bool missing;
	int r = 0;

	for (size_t i = 0; r == 0 && i < n->n_others; i++)
		r = draft_value(run->d, dim, &n->others[i], &id, &missing);
	return r;
}

static int name_value(struct run *run, struct artifact_read *rd, int dim,
		      const struct value *v, struct artifact_naming *ret,
		      struct arena *arena)
{
	int r;

	r = artifact_value_name(rd, (unsigned)dim, v, false, arena, ret);
	if (r == 0)
		r = has_twin(run, dim, ret);
	if (r == 1)
		r = artifact_value_name(rd, (unsigned)dim, v, true, arena, ret);
	return r;
}

/* Gives a value that the draft knows the name that it has now. */
int reading_rename(struct run *run, struct artifact_read *rd, int dim,
		   const struct value *v)
{
	CLEANUP(arena_deinit) struct arena arena = ARENA_NULL;
	struct artifact_naming naming;
	int64_t id;
	bool missing;
	int r;

	r = draft_value(run->d, dim, v, &id, &missing);
	if (r != 1)
		return r;
	r = name_value(run, rd, dim, v, &naming, &arena);
	return r < 0 ? r : draft_value_set(run->d, id, &naming.name, missing);
}

/* Those that would be called like a value that is new get their keys. */
static int rename_twins(struct run *run, struct artifact_read *rd, int dim,
			const struct artifact_naming *naming)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < naming->n_others; i++)
		r = reading_rename(run, rd, dim, &naming->others[i]);
	return r;
}

static int add_value(struct run *run, struct artifact_read *rd, int dim,
		     const struct value *v, struct known_value *ret)
{
	CLEANUP(arena_deinit) struct arena arena = ARENA_NULL;
	struct artifact_naming naming = {.n_others = 0};
	int r;

	r = artifact_is_missing(rd, dim, v);
	if (r < 0)
		return r;
	ret->missing = r;
	/* Load rules have no names. */
	r = dim < 0 ? 0 : name_value(run, rd, dim, v, &naming, &arena);
	if (r == 0)
		r = draft_value_add(run->d, dim, v, &naming.name, ret->missing,
				    &ret->id);
	return r < 0 ? r : rename_twins(run, rd, dim, &naming);
}

static int remember_value(struct known_value *k, const struct value *v)
{
	struct known_value fresh = {.id = k->id, .missing = k->missing};
	int r;

	r = value_copy(&fresh.arena, v, &fresh.v);
	if (r < 0)
		return r;
	arena_deinit(&k->arena);
	*k = fresh;
	return 0;
}

/* The draft's number of a value, into k. */
static int find_value(struct worker *worker, int dim, const struct value *v,
		      struct known_value *k)
{
	struct run *run = worker->run;
	int r;

	if (k->id && value_same(&k->v, v))
		return 0;
	k->id = 0;
	r = draft_value(run->d, dim, v, &k->id, &k->missing);
	if (r == 0)
		r = add_value(run, worker->rd, dim, v, k);
	return r < 0 ? r : remember_value(k, v);
}

static int note_rule(void *arg, const struct value *v)
{
	struct worker *worker = arg;
	int r;

	r = find_value(worker, -1, v, &worker->rule);
	if (r < 0)
		return r;
	worker->any_rule |= !worker->rule.missing;
	for (size_t i = 0; i < worker->n_rules; i++)
		if (worker->rules[i] == worker->rule.id)
			return 0;
	/* Beyond, one that exists must be among those that are kept. */
	if (worker->n_rules < RULES_MAX)
		worker->rules[worker->n_rules++] = worker->rule.id;
	else if (!worker->rule.missing)
		worker->rules[RULES_MAX - 1] = worker->rule.id;
	return 0;
}

static int note_same_rule(const struct value *v, void *arg)
{
	return note_rule(arg, v);
}

static int write_rows(void *arg, const char *data, size_t n)
{
	struct worker *worker = arg;

	if (reading_is_stopped(worker->run))
		return -ECANCELED;
	atomic_fetch_add(&worker->run->w->progress.bytes, (int64_t)n);
	return object_add(worker->writer, data, n);
}

/* Keeps the first reason of all threads; returns r. */
static int failed(struct run *run, int r, const struct err *err)
{
	LOCK_SCOPE(&run->lock);

	if (r < 0 && r != -ECANCELED && run->error == 0 && !run->err.text[0])
		run->err = *err;
	return r;
}

/* The rows of a file have been written: it becomes an object. */
static int end_file(struct worker *worker, const struct model_table *t,
		    int64_t pov, int64_t dir, const struct artifact_mark *mark,
		    int64_t rows)
{
	struct run *run = worker->run;
	struct store_known known = {
		.table = t->id,
		.pov = pov,
		.change = mark->change,
		.rows = rows,
	};
	struct object object;
	int r;

	atomic_fetch_add(&run->w->progress.rows, rows);
	r = object_end(worker->writer, rows, &object);
	if (r == 0)
		r = draft_file(run->d, dir,
			       run->c->tables[t - run->model->tables],
			       object.sha256, mark->time);
	if (r < 0)
		return r;
	known.bytes = object.size;
	memcpy(known.sha256, object.sha256, SHA256_BYTES);
	return draft_known(run->d, &known);
}

/* One file; pov is NULL for a setup table. */
static int capture_file(struct worker *worker, const struct model_table *t,
			const struct artifact_node *pov, int64_t dir,
			const struct artifact_mark *mark)
{
	struct artifact_sink sink = {
		.write = write_rows, .rule = note_rule, .arg = worker};
	struct err err = ERR_NULL;
	int64_t rows = 0;
	int r;

	r = artifact_rows(worker->rd, t, pov, &sink, &rows, &err);
	if (r < 0 || (pov && rows == 0)) {
		object_cancel(worker->writer);
		return failed(worker->run, r, &err);
	}
	return end_file(worker, t, pov ? pov->id : 0, dir, mark, rows);
}

/* A file that has not changed, if the last capture has it. 1: it has. */
static int keep_file(struct worker *worker, const struct model_table *t,
		     const struct artifact_node *pov, int64_t dir)
{
	struct run *run = worker->run;
	int r;

	if (run->c->afresh ||
	    pov->marks[t->slot].change > run->before.data_change)
		return 0;
	r = draft_same_file(run->d, dir,
			    run->c->tables[t - run->model->tables]);
	if (r == -ENOENT)
		return 0;
	if (r == 0)
		r = artifact_rules(worker->rd, t, pov, note_same_rule, worker);
	return r < 0 ? r : 1;
}

/* The draft's number of a POV, and whether one of its values is missing. */
static int place_pov(struct worker *worker, const struct artifact_node *pov,
		     int64_t *ret_dir, bool *ret_missing)
{
	int64_t values[MODEL_DIMS_MAX];
	int r = 0;

	*ret_missing = false;
	for (unsigned i = 0; r == 0 && i < pov->level; i++) {
		r = find_value(worker, (int)i, &pov->values[i],
			       &worker->values[i]);
		values[i] = worker->values[i].id;
		*ret_missing |= worker->values[i].missing;
	}
	worker->n_rules = 0;
	worker->any_rule = false;
	return r < 0 ? r
		     : draft_pov(worker->run->d, values, pov->level, ret_dir);
}

/* Passes */

static int begin_scanned(int64_t pov, void *arg)
{
	CLEANUP(artifact_node_deinit)
	struct artifact_node node = ARTIFACT_NODE_NULL;
	struct worker *worker = arg;
	const struct ids *povs = &worker->run->povs;
	bool missing;
	int r;

	/* Unless all are wanted they are in order of their ids. */
	if (!worker->run->c->afresh &&
	    !bsearch(&pov, povs->list, povs->n, sizeof(pov),
		     reading_compare_ids))
		return 0;
	r = artifact_pov(worker->rd, pov, &node);
	if (r == 0)
		r = place_pov(worker, &node, &worker->scan_dir, &missing);
	worker->scan_mark = node.marks[worker->scan_table->slot];
	return r < 0 ? r : !missing;
}

static int end_scanned(int64_t pov, int64_t rows, void *arg)
{
	struct worker *worker = arg;
	int r = 0;

	for (size_t i = 0; r == 0 && i < worker->n_rules; i++)
		r = draft_rule(worker->run->d, worker->scan_dir,
			       worker->rules[i]);
	return r < 0 ? r
		     : end_file(worker, worker->scan_table, pov,
				worker->scan_dir, &worker->scan_mark, rows);
}

/* One pass over a table that would cost too much POV by POV. */
static int capture_scan(struct worker *worker, const struct model_table *t)
{
	struct artifact_scan scan = {
		.begin = begin_scanned,
		.end = end_scanned,
		.sink = {.write = write_rows, .rule = note_rule, .arg = worker},
	};
	struct err err = ERR_NULL;
	int r;

	worker->scan_table = t;
	r = artifact_scan(worker->rd, t, &scan, &err);
	if (r < 0)
		object_cancel(worker->writer);
	return failed(worker->run, r, &err);
}

static int add_scanned_rule(int64_t id, bool missing, void *arg)
{
	struct worker *worker = arg;

	worker->any_rule |= !missing;
	if (worker->n_rules < RULES_MAX)
		worker->rules[worker->n_rules++] = id;
	return 0;
}

/* The load rules that a pass found in a POV. */
static int scanned_rules(struct worker *worker, const struct model_table *t,
			 int64_t dir)
{
	return t->rule ? draft_rules_of(worker->run->d, dir, add_scanned_rule,
					worker)
		       : 0;
}

static int capture_files(struct worker *worker, const struct artifact_node *pov,
			 int64_t dir)
{
	int r = 0;

	for (int slot = 0; r >= 0 && slot < worker->run->model->n_slots;
	     slot++) {
		const struct model_table *t =
			model_slot(worker->run->model, slot);

		if (pov->marks[slot].change == 0)
			continue;
		if (worker->run->scanned[t - worker->run->model->tables]) {
			r = scanned_rules(worker, t, dir);
			continue;
		}
		r = keep_file(worker, t, pov, dir);
		if (r == 0)
			r = capture_file(worker, t, pov, dir,
					 &pov->marks[slot]);
	}
	return r < 0 ? r : 0;
}

/* A POV that is registered may have lost its rows. */
static int has_rows(struct worker *worker, const struct artifact_node *pov,
		    bool *ret)
{
	int r = artifact_is_alive(worker->rd, pov);

	if (r < 0 && r != -ENOENT)
		return r;
	*ret = r == 0;
	return 0;
}

int reading_pov(struct worker *worker, int64_t id)
{
	CLEANUP(artifact_node_deinit)
	struct artifact_node pov = ARTIFACT_NODE_NULL;
	struct run *run = worker->run;
	bool orphan = false;
	int64_t dir;
	int r;

	r = artifact_pov(worker->rd, id, &pov);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	r = place_pov(worker, &pov, &dir, &orphan);
	if (r == 0 && orphan)
		r = has_rows(worker, &pov, &orphan);
	else if (r == 0) {
		r = capture_files(worker, &pov, dir);
		orphan = worker->n_rules > 0 && !worker->any_rule;
	}
	if (r == 0)
		r = draft_examined(run->d, dir, orphan, worker->rules,
				   worker->n_rules);
	atomic_fetch_add(&run->w->progress.povs_done, 1);
	return r;
}

/* 1: it is to be read. */
static int setup_is_wanted(struct run *run, struct artifact_read *rd,
			   const struct model_table *t,
			   struct artifact_mark *ret)
{
	int r;

	if (!run->c->setup || t->role != MODEL_SETUP)
		return 0;
	r = artifact_setup_mark(rd, t, ret);
	if (r < 0)
		return r;
	if (run->c->afresh || ret->change > run->before.setup_change)
		return 1;
	r = draft_same_file(run->d, TREE_DIR_SETUP,
			    run->c->tables[t - run->model->tables]);
	return r == -ENOENT ? 1 : r;
}

int reading_table(struct worker *worker, const struct model_table *t)
{
	struct artifact_mark mark;
	int r;

	if (worker->run->scanned[t - worker->run->model->tables])
		return capture_scan(worker, t);
	r = setup_is_wanted(worker->run, worker->rd, t, &mark);
	if (r == 1)
		r = capture_file(worker, t, NULL, TREE_DIR_SETUP, &mark);
	return r;
}
