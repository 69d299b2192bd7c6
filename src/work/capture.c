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
#include "work/capture.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "outboxfs/base/clock.h"
#include "outboxfs/base/fault.h"
#include "outboxfs/base/lock.h"
#include "outboxfs/store/tree.h"

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

	_Atomic size_t next; /* setup tables first, then POVs */

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
	int64_t rules[RULES_MAX]; /* of the present POV */
	size_t n_rules;
	bool any_rule; /* and whether one of them exists */
};

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

static int compare_ids(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a;
	int64_t y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static void ids_unique(struct ids *ids)
{
	size_t n = 0;

	if (ids->n == 0)
		return; /* and there is no list */
	qsort(ids->list, ids->n, sizeof(*ids->list), compare_ids);
	for (size_t i = 0; i < ids->n; i++)
		if (n == 0 || ids->list[n - 1] != ids->list[i])
			ids->list[n++] = ids->list[i];
	ids->n = n;
}

static bool is_stopped(const struct run *run)
{
	return atomic_load(&run->w->progress.stop);
}

/* Names and requirements of values */

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
static int rename_value(struct run *run, struct artifact_read *rd, int dim,
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
		r = rename_value(run, rd, dim, &naming->others[i]);
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

static bool same_value(const struct value *a, const struct value *b)
{
	if (a->type != b->type)
		return false;
	if (a->type == VALUE_TEXT || a->type == VALUE_BLOB)
		return a->bytes.len == b->bytes.len &&
		       (a->bytes.len == 0 ||
			memcmp(a->bytes.data, b->bytes.data, a->bytes.len) ==
				0);
	return a->type == VALUE_NULL || a->integer == b->integer;
}

static int remember_value(struct known_value *k, const struct value *v)
{
	struct known_value fresh = {.id = k->id, .missing = k->missing};

	fresh.v = *v;
	if (v->type == VALUE_TEXT || v->type == VALUE_BLOB) {
		fresh.v.bytes.data = arena_strndup(&fresh.arena, v->bytes.data,
						   v->bytes.len);
		if (!fresh.v.bytes.data)
			return -ENOMEM;
	}
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

	if (k->id && same_value(&k->v, v))
		return 0;
	k->id = 0;
	r = draft_value(run->d, dim, v, &k->id, &k->missing);
	if (r == 0)
		r = add_value(run, worker->rd, dim, v, k);
	return r < 0 ? r : remember_value(k, v);
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

	return rename_value(look->run, look->rd, (int)look->dim, v);
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
	all->list[all->n] = *v;
	if (v->type == VALUE_TEXT || v->type == VALUE_BLOB) {
		all->list[all->n].bytes.data =
			arena_strndup(&all->arena, v->bytes.data, v->bytes.len);
		if (!all->list[all->n].bytes.data)
			return -ENOMEM;
	}
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
			r = rename_value(run, &run->reads[0], dim,
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

/* Reading */

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
	/* Beyond, one that exists has been found, or the POV is odd. */
	if (worker->n_rules < RULES_MAX)
		worker->rules[worker->n_rules++] = worker->rule.id;
	return 0;
}

static int note_same_rule(const struct value *v, void *arg)
{
	return note_rule(arg, v);
}

static int write_rows(void *arg, const char *data, size_t n)
{
	struct worker *worker = arg;

	if (is_stopped(worker->run))
		return -ECANCELED;
	atomic_fetch_add(&worker->run->w->progress.bytes, (int64_t)n);
	return object_add(worker->writer, data, n);
}

/* One file; pov is NULL for a setup table. */
static int capture_file(struct worker *worker, const struct model_table *t,
			const struct artifact_node *pov, int64_t dir,
			const struct artifact_mark *mark)
{
	struct run *run = worker->run;
	struct artifact_sink sink = {
		.write = write_rows, .rule = note_rule, .arg = worker};
	struct err err = ERR_NULL;
	struct object object;
	int64_t rows = 0;
	int r;

	r = artifact_rows(worker->rd, t, pov, &sink, &rows, &err);
	if (r < 0 || (pov && rows == 0)) {
		object_cancel(worker->writer);
		if (r < 0 && r != -ECANCELED) {
			LOCK_SCOPE(&run->lock);

			if (run->error == 0)
				run->err = err;
		}
		return r;
	}
	atomic_fetch_add(&run->w->progress.rows, rows);
	r = object_end(worker->writer, rows, &object);
	if (r == 0)
		r = draft_file(run->d, dir,
			       run->c->tables[t - run->model->tables],
			       object.sha256, mark->time);
	if (r == 0) {
		struct store_known known = {
			.table = t->id,
			.pov = pov ? pov->id : 0,
			.change = mark->change,
			.rows = rows,
			.bytes = object.size,
		};

		memcpy(known.sha256, object.sha256, SHA256_BYTES);
		r = draft_known(run->d, &known);
	}
	return r;
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

static int capture_pov(struct worker *worker, int64_t id)
{
	CLEANUP(artifact_node_deinit)
	struct artifact_node pov = ARTIFACT_NODE_NULL;
	struct run *run = worker->run;
	int64_t values[MODEL_DIMS_MAX];
	bool orphan = false;
	int64_t dir;
	int r;

	r = artifact_pov(worker->rd, id, &pov);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	for (unsigned i = 0; r == 0 && i < pov.level; i++) {
		r = find_value(worker, (int)i, &pov.values[i],
			       &worker->values[i]);
		values[i] = worker->values[i].id;
		orphan |= worker->values[i].missing;
	}
	if (r == 0)
		r = draft_pov(run->d, values, pov.level, &dir);
	worker->n_rules = 0;
	worker->any_rule = false;
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

static int capture_setup(struct worker *worker, const struct model_table *t)
{
	struct artifact_mark mark;
	int r;

	r = setup_is_wanted(worker->run, worker->rd, t, &mark);
	if (r == 1)
		r = capture_file(worker, t, NULL, TREE_DIR_SETUP, &mark);
	return r;
}

/* 1: one was done; 0: nothing is left. */
static int work_on_next(struct worker *worker)
{
	struct run *run = worker->run;
	size_t i = atomic_fetch_add(&run->next, 1);
	int r;

	if (is_stopped(run))
		return -ECANCELED;
	r = fault("capture-next");
	if (r < 0)
		return r;
	if (i < run->model->n_tables)
		r = capture_setup(worker, &run->model->tables[i]);
	else if (i - run->model->n_tables < run->povs.n)
		r = capture_pov(worker,
				run->povs.list[i - run->model->n_tables]);
	else
		return 0;
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
static int read_all(struct run *run, struct err *err)
{
	CLEANUP(freep) struct worker *workers = NULL;
	unsigned n = run->n_reads;
	int r = 0;

	workers = calloc(n, sizeof(*workers));
	if (!workers)
		return -ENOMEM;
	run->n_working = n;
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
