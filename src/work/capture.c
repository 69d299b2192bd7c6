/* SPDX-License-Identifier: MIT */
/*
 * Capture: one consistent state of the database becomes files in a draft.
 *
 * The coordinating thread finds out what is to be read: setup tables and POVs
 * with a mark that is newer than the last capture, and POVs that became
 * orphans or are none any more because rows that they require came or went.
 * Threads of the pool then take them one by one; each has a connection of its
 * own, and all of these see the same state. Rendering, hashing, deflating and
 * writing of one file happen in one thread, so nothing is handed over.
 */
#include "work/reading.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "outboxfs/base/clock.h"
#include "outboxfs/base/fault.h"
#include "outboxfs/base/lock.h"
#include "outboxfs/store/tree.h"

static int ids_add(struct ids *ids, int64_t id)
{
	if (ids->n == ids->cap) {
		size_t cap = ids->cap ? ids->cap * 2 : 1024;
		int64_t *list = reallocarray(ids->list, cap, sizeof(*list));

		if (!list)
			return -ENOMEM;
		ids->list = list;
		ids->cap = cap;
	}
	ids->list[ids->n++] = id;
	return 0;
}

static int ids_add_func(int64_t id, void *arg)
{
	return ids_add(arg, id);
}

static void ids_unique(struct ids *ids)
{
	size_t n = 0;

	if (ids->n == 0)
		return; /* and there is no list */
	qsort(ids->list, ids->n, sizeof(*ids->list), reading_compare_ids);
	for (size_t i = 0; i < ids->n; i++)
		if (n == 0 || ids->list[n - 1] != ids->list[i])
			ids->list[n++] = ids->list[i];
	ids->n = n;
}

/* What has to be looked at */

struct label_look {
	struct run *run;
	struct artifact_read *rd;
	unsigned dim;
};

static int on_key(const struct value *v, void *arg)
{
	struct label_look *look = arg;

	return reading_rename(look->run, look->rd, (int)look->dim, v);
}

/* A label changed: its value's name, and those who share the old or new one. */
static int on_label(unsigned dim, const struct value *value,
		    const struct value *old_label, bool had_label, void *arg)
{
	CLEANUP(arena_deinit) struct arena arena = ARENA_NULL;
	struct label_look look = {.run = arg, .dim = dim};
	struct artifact_mark mark;
	struct value label;
	int r;

	look.rd = &look.run->reads[0];
	r = on_key(value, &look);
	if (r == 0 && had_label)
		r = artifact_keys_of(look.rd, dim, old_label, on_key, &look);
	if (r == 0)
		r = artifact_label(look.rd, dim, value, &arena, &label, &mark);
	if (r == 1)
		r = artifact_keys_of(look.rd, dim, &label, on_key, &look);
	return r;
}

static int on_pov(int64_t id, int64_t parent, void *arg)
{
	(void)id;
	(void)parent;
	(void)arg;
	return 0;
}

static int on_table(const struct model_table *t, void *arg)
{
	(void)t;
	(void)arg;
	return 0;
}

/* Values whose requirement came or went. */
struct flip {
	int64_t value;
	bool missing;
};

struct flips {
	struct run *run;
	int dim;
	bool rename;
	struct flip *list; /* owned */
	size_t n;
	size_t cap;
};

static int on_value(int64_t id, const struct value *v, bool missing, void *arg)
{
	struct flips *flips = arg;
	struct artifact_read *rd = &flips->run->reads[0];
	int r = artifact_is_missing(rd, flips->dim, v);

	if (r < 0 || r == missing)
		return r < 0 ? r : 0;
	if (flips->n == flips->cap) {
		size_t cap = flips->cap ? flips->cap * 2 : 64;
		struct flip *list =
			reallocarray(flips->list, cap, sizeof(*list));

		if (!list)
			return -ENOMEM;
		flips->list = list;
		flips->cap = cap;
	}
	flips->list[flips->n++] = (struct flip){.value = id, .missing = r};
	return 0;
}

static int on_flipped_pov(int64_t pov, const struct value *keys, unsigned n,
			  void *arg)
{
	struct run *run = arg;
	int64_t id;
	int r;

	(void)pov;
	if (n != run->model->n_dims)
		return 0; /* of another model: it is gone anyway */
	r = artifact_find_pov(&run->reads[0], keys, &id);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	return ids_add(&run->povs, id);
}

static int apply_flips(struct run *run, const struct flips *flips)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < flips->n; i++) {
		r = draft_value_set(run->d, flips->list[i].value, NULL,
				    flips->list[i].missing);
		if (r == 0)
			r = draft_povs_of(run->d, flips->list[i].value,
					  on_flipped_pov, run);
	}
	return r;
}

/* POVs that are orphans now and were not, or the other way round. */
static int find_flips(struct run *run)
{
	int r = 0;

	for (int dim = -1; r == 0 && dim < (int)run->model->n_dims; dim++) {
		struct flips flips = {.run = run, .dim = dim};

		r = artifact_required_changed(&run->reads[0], dim,
					      run->before.data_change);
		if (r == 1)
			r = draft_values(run->d, dim, on_value, &flips);
		if (r == 0)
			r = apply_flips(run, &flips);
		free(flips.list);
	}
	return r;
}

/* A value's name may be another one after a change that nobody noted. */
struct renames {
	struct run *run;
	int dim;
	struct arena arena;
	struct value *list; /* owned; bytes by arena */
	size_t n;
	size_t cap;
};

static int on_any_value(int64_t id, const struct value *v, bool missing,
			void *arg)
{
	struct renames *all = arg;
	int r;

	(void)id;
	(void)missing;
	if (all->n == all->cap) {
		size_t cap = all->cap ? all->cap * 2 : 256;
		struct value *list =
			reallocarray(all->list, cap, sizeof(*list));

		if (!list)
			return -ENOMEM;
		all->list = list;
		all->cap = cap;
	}
	r = value_copy(&all->arena, v, &all->list[all->n]);
	if (r < 0)
		return r;
	all->n++;
	return 0;
}

static int rename_all(struct run *run)
{
	int r = 0;

	for (int dim = 0; r == 0 && dim < (int)run->model->n_dims; dim++) {
		struct renames all = {.run = run, .dim = dim};

		r = draft_values(run->d, dim, on_any_value, &all);
		for (size_t i = 0; r == 0 && i < all.n; i++)
			r = reading_rename(run, &run->reads[0], dim,
					   &all.list[i]);
		free(all.list);
		arena_deinit(&all.arena);
	}
	return r;
}

static int find_povs(struct run *run)
{
	struct artifact_watch watch = {.pov = on_pov,
				       .table = on_table,
				       .label = on_label,
				       .arg = run};
	struct artifact_read *rd = &run->reads[0];
	int64_t after = run->c->afresh ? 0 : run->before.data_change;
	int r;

	if (!run->c->data)
		return 0;
	if (after > 0)
		r = artifact_changes(rd, after, &watch);
	else
		r = rename_all(run);
	if (r == 0)
		r = find_flips(run);
	if (r < 0)
		return r;
	if (after > 0) {
		r = artifact_marked_povs(rd, after, ids_add_func, &run->povs);
		ids_unique(&run->povs);
	} else {
		run->povs.n = 0; /* in order of values, each once */
		r = artifact_marked_povs(rd, 0, ids_add_func, &run->povs);
		if (r == 0)
			r = draft_all_povs(run->d);
	}
	return r;
}

/* 1: one was done; 0: nothing is left. */
static int work_on_next(struct worker *worker)
{
	struct run *run = worker->run;
	size_t i = atomic_fetch_add(&run->next, 1);
	int r;

	if (reading_is_stopped(run))
		return -ECANCELED;
	r = fault("capture-next");
	if (r < 0)
		return r;
	if (i >= (run->povs_turn ? run->povs.n : run->model->n_tables))
		return 0;
	r = run->povs_turn ? reading_pov(worker, run->povs.list[i])
			   : reading_table(worker, &run->model->tables[i]);
	return r < 0 ? r : 1;
}

static void worker_run(struct worker *worker)
{
	int r = object_writer_new(worker->run->d, &worker->writer);

	if (r == 0)
		while ((r = work_on_next(worker)) == 1)
			;
	worker->writer = object_writer_free(worker->writer);
	for (size_t i = 0; i < MODEL_DIMS_MAX; i++)
		arena_deinit(&worker->values[i].arena);
	arena_deinit(&worker->rule.arena);

	LOCK_SCOPE(&worker->run->lock);

	if (r < 0 && worker->run->error == 0)
		worker->run->error = r;
	if (r < 0)
		atomic_store(&worker->run->next, SIZE_MAX / 2); /* no more */
	worker->run->n_working--;
	pthread_cond_signal(&worker->run->cond);
}

static void worker_task(struct pool_task *task, bool stopping)
{
	struct worker *worker = (struct worker *)task;

	if (stopping)
		atomic_store(&worker->run->w->progress.stop, true);
	worker_run(worker);
}

/* All threads work; this one waits. */
static int read_some(struct run *run, struct err *err)
{
	CLEANUP(freep) struct worker *workers = NULL;
	unsigned n = run->n_reads;
	int r = 0;

	workers = calloc(n, sizeof(*workers));
	if (!workers)
		return -ENOMEM;
	run->n_working = n;
	atomic_store(&run->next, 0);
	for (unsigned i = 0; i < n; i++) {
		workers[i].task.func = worker_task;
		workers[i].run = run;
		workers[i].rd = &run->reads[i];
		r = pool_submit(run->w->pool, &workers[i].task);
		if (r < 0) {
			LOCK_SCOPE(&run->lock);

			run->error = run->error ? run->error : r;
			run->n_working -= n - i;
			break;
		}
	}

	LOCK_SCOPE(&run->lock);

	while (run->n_working > 0)
		lock_wait(&run->lock, &run->cond, 0);
	if (run->error < 0 && run->err.text[0])
		*err = run->err;
	return run->error;
}

/* A POV's load rules are known once the passes are done. */
static int read_all(struct run *run, struct err *err)
{
	int r = read_some(run, err);

	run->povs_turn = true;
	return r < 0 ? r : read_some(run, err);
}

/* Which tables are read in one pass. */
static int find_scans(struct run *run)
{
	const struct model *m = run->model;
	int r = 0;

	run->scanned = calloc(m->n_tables ? m->n_tables : 1, sizeof(bool));
	if (!run->scanned)
		return -ENOMEM;
	for (int slot = 0; r >= 0 && slot < m->n_slots && run->c->data;
	     slot++) {
		const struct model_table *t = model_slot(m, slot);

		r = artifact_is_scattered(&run->reads[0], t, run->povs.list,
					  run->povs.n);
		run->scanned[t - m->tables] = r == 1;
	}
	return r < 0 ? r : 0;
}

static int number_tables(struct run *run)
{
	const struct model *m = run->model;
	struct name name;
	int r = 0;

	run->c->tables =
		calloc(m->n_tables ? m->n_tables : 1, sizeof(*run->c->tables));
	if (!run->c->tables)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < m->n_tables; i++) {
		r = artifact_file_name(&m->tables[i], &name);
		if (r == 0)
			r = draft_table(run->d, m->tables[i].name,
					(int)m->tables[i].role, name.text,
					&run->c->tables[i]);
	}
	return r;
}

/* What the result says about the state that was read. */
static int describe(struct run *run)
{
	struct artifact_read *rd = &run->reads[0];
	struct capture *c = run->c;
	int r;

	(void)snprintf(c->model_name, sizeof(c->model_name), "%s",
		       run->model->name);
	memcpy(c->model_hash, run->model->hash, sizeof(c->model_hash));
	r = artifact_change(rd, &c->change);
	if (r == 0)
		r = artifact_timeline(rd, c->timeline);
	if (r == 0)
		r = artifact_last_process(rd, &c->arena, &c->process);
	return r;
}

/*
 * Under another timeline, or another model, change numbers of the last capture
 * mean nothing.
 */
static int look_back(struct run *run)
{
	int r;

	r = store_check_timeline(run->w->store, run->c->timeline);
	if (r == 0)
		r = draft_captured(run->d, &run->before);
	if (r < 0)
		return r;
	if (strcmp(run->before.model, run->model->hash) != 0) {
		run->before.setup_change = 0;
		run->before.data_change = 0;
	}
	if (run->before.data_change == 0 || run->before.setup_change == 0)
		run->c->afresh = true;
	return 0;
}

static int prepare(struct run *run)
{
	struct progress *p = &run->w->progress;
	int r;

	run->model = run->reads[0].model;
	r = describe(run);
	if (r == 0)
		r = look_back(run);
	if (r == 0)
		r = number_tables(run);
	if (r == 0)
		r = find_povs(run);
	if (r == 0)
		r = find_scans(run);
	if (r == 0 && run->c->setup)
		r = draft_all_setup(run->d);
	if (r < 0)
		return r;
	run->c->n_examined = (int64_t)run->povs.n;
	atomic_store(&p->povs_total, (int64_t)run->povs.n);
	atomic_store(&p->step, "reading");
	return 0;
}

int capture_check_timeline(struct work *w, struct err *err)
{
	CLEANUP(artifact_read_end) struct artifact_read rd = ARTIFACT_READ_NULL;
	char timeline[TIMELINE_BYTES];
	int r;

	r = artifact_read_begin(w->artifact, true, &rd, err);
	if (r == 0)
		r = artifact_timeline(&rd, timeline);
	return r < 0 ? r : store_check_timeline(w->store, timeline);
}

int capture_run(struct work *w, struct draft *d, struct capture *c,
		struct err *err)
{
	struct run run = {.w = w, .d = d, .c = c};
	int r;

	lock_init(&run.lock, "capture", LOCK_RANK_CAPTURE);
	lock_cond_init(&run.cond);
	atomic_store(&w->progress.step, "beginning");
	run.n_reads = w->n_threads;
	r = artifact_capture_begin(w->artifact, &w->progress.stop, run.reads,
				   &run.n_reads, err);
	if (r < 0)
		run.n_reads = 0;
	c->time = clock_wall();
	if (r == 0)
		r = prepare(&run);
	if (r == 0)
		r = read_all(&run, err);
	for (unsigned i = 1; i < run.n_reads; i++)
		artifact_read_end(&run.reads[i]);
	if (run.n_reads > 0) {
		artifact_read_rest(&run.reads[0]);
		c->read = run.reads[0];
	}
	free(run.povs.list);
	free(run.scanned);
	pthread_cond_destroy(&run.cond);
	lock_deinit(&run.lock);
	return r;
}

void capture_deinit(struct capture *c)
{
	artifact_read_end(&c->read);
	arena_deinit(&c->arena);
	freep(&c->tables);
}
