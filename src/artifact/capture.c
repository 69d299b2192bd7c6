/* SPDX-License-Identifier: MIT */
/*
 * Several reads of one state. SQLite cannot hand a state to another
 * connection; but while somebody holds the write lock nothing can be
 * committed, so reads that begin meanwhile all see the same. Open marks are
 * folded before, since folding is a commit; another program may mark something
 * between the two, and then it is done again.
 */
#include "outboxfs/artifact/capture.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "artifact/world.h"
#include "outboxfs/base/clock.h"
#include "outboxfs/base/fault.h"
#include "outboxfs/base/log.h"

#define SLICE_MS 100      /* of waiting for the write lock */
#define PAUSE_NS 20000000 /* between two tries */

/* Is there an open mark in the state of this connection? 1, 0. */
static int has_open(struct db *db)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(db, Q_OPEN, &stmt);
	if (r == 0)
		r = db_step(stmt);
	return r == 1 ? sqlite3_column_int(stmt, 0) : r < 0 ? r : -EBADMSG;
}

static void end_reads(struct artifact_read *reads, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		artifact_read_end(&reads[i]);
}

/* Each read takes over a reference to the world. */
static int begin_reads(struct artifact *a, struct artifact_world *w, unsigned n,
		       struct artifact_read *ret, struct err *err)
{
	int r = 0;

	for (unsigned i = 0; i < n; i++) {
		ret[i] = (struct artifact_read)ARTIFACT_READ_NULL;
		atomic_fetch_add(&w->n_refs, 1);
		r = world_begin(a, w, true, &ret[i], err);
		ret[i].world = w;
		if (r == 0 && ret[i].unsettled)
			r = -EBUSY;
		if (r < 0) {
			end_reads(ret, i + 1);
			return r;
		}
	}
	return 0;
}

/* 0: all have begun; 1: something was marked just now, fold again. */
static int begin_under_lock(struct artifact *a, struct artifact_world *w,
			    unsigned n, struct artifact_read *ret,
			    struct err *err)
{
	CLEANUP(db_rollback) struct db_txn txn = DB_TXN_NULL;
	LOCK_SCOPE(&w->writer_lock);
	int r;

	r = world_writer_locked(w, err);
	if (r < 0)
		return r;
	/* Others who note changes wait for this lock: not for long. */
	db_set_busy(w->writer, SLICE_MS);
	r = db_begin_write(w->writer, &txn);
	if (r == 0)
		r = has_open(w->writer);
	if (r == 0)
		r = begin_reads(a, w, n, ret, err);
	db_rollback(&txn); /* while the connection is still ours */
	return r;
}

/* What nobody can write to does not change while reads begin. */
static int begin_unlocked(struct artifact *a, struct artifact_world *w,
			  struct artifact_read *ret, struct err *err)
{
	int r = begin_reads(a, w, 1, ret, err);

	if (r == -EBUSY)
		return err_set(
			err, -EROFS,
			"'%s' has changes that cannot be numbered, because it cannot be written to",
			a->path);
	return r;
}

/* What waiting does not help against is said at once. */
static int why_not_folded(struct artifact *a, struct artifact_world *w,
			  struct err *err)
{
	int r = atomic_load(&w->fold_error);

	if (r == -ENOSPC)
		return err_set(err, r, "cannot note changes in '%s': %s",
			       a->path, strerrordesc_np(-r));
	return r == -EROFS ? r : -EBUSY;
}

/* 0: all have begun; 1, -EBUSY: not yet. */
static int try_begin(struct artifact *a, struct artifact_world *w,
		     struct artifact_read *ret, unsigned *n, struct err *err)
{
	int r;

	r = fold(w, SLICE_MS, err);
	if (r == 1)
		r = begin_under_lock(a, w, *n, ret, err);
	else if (r == 0)
		r = why_not_folded(a, w, err);
	if (r == -EROFS) {
		*n = 1;
		return begin_unlocked(a, w, ret, err);
	}
	return r;
}

static int begin_in(struct artifact *a, struct artifact_world *w,
		    const _Atomic bool *stop, struct artifact_read *ret,
		    unsigned *n, struct err *err)
{
	static const struct timespec pause = {.tv_nsec = PAUSE_NS};
	mono_us_t until = clock_mono() + (mono_us_t)a->options.busy_ms * 1000;
	int r;

	if (!w->writable) {
		*n = 1;
		return begin_unlocked(a, w, ret, err);
	}
	for (;;) {
		r = try_begin(a, w, ret, n, err);
		if ((r != 1 && r != -EBUSY) || clock_mono() >= until)
			break;
		if (stop && atomic_load(stop))
			return -ECANCELED;
		if (r == -EBUSY)
			(void)nanosleep(&pause, NULL);
	}
	if (r == 1 || r == -EBUSY)
		return err_set(
			err, -EBUSY,
			"another program has '%s' locked for writing; try again",
			a->path);
	return r;
}

int artifact_capture_begin(struct artifact *a, const _Atomic bool *stop,
			   struct artifact_read *ret, unsigned *n,
			   struct err *err)
{
	int r = -ESTALE;

	if (*n > CAPTURE_READS_MAX)
		*n = CAPTURE_READS_MAX;
	for (int i = 0; r == -ESTALE && i < 3; i++) {
		struct artifact_read rd = ARTIFACT_READ_NULL;
		struct artifact_world *w;

		/* Notices a changed schema, and another file. */
		r = artifact_read_begin(a, true, &rd, err);
		if (r < 0)
			return r;
		w = rd.world;
		atomic_fetch_add(&w->n_refs, 1);
		artifact_read_end(&rd);
		r = begin_in(a, w, stop, ret, n, err);
		world_unref(w);
	}
	/* A sorted pass takes long before it gives its first row. */
	for (unsigned i = 0; r == 0 && i < *n; i++)
		db_set_stop(ret[i].db, stop);
	return r;
}

int artifact_marked_povs(struct artifact_read *rd, int64_t after,
			 artifact_pov_func_t func, void *arg)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(rd->db, after > 0 ? Q_MARKED_POVS : Q_ALL_POVS, &stmt);
	if (r < 0)
		return r;
	if (after > 0)
		sqlite3_bind_int64(stmt, 1, after);
	while (r == 0 && (r = db_step(stmt)) == 1)
		r = func(sqlite3_column_int64(stmt, 0), arg);
	return r;
}

int artifact_find_pov(struct artifact_read *rd, const struct value *values,
		      int64_t *ret)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(rd->db, Q_POV_FIND, &stmt);
	for (size_t i = 0; r == 0 && i < rd->model->n_dims; i++)
		r = value_bind(stmt, (int)i + 1, &values[i]);
	if (r == 0)
		r = db_step(stmt);
	if (r != 1)
		return r < 0 ? r : -ENOENT;
	*ret = sqlite3_column_int64(stmt, 0);
	return 0;
}

/*
 * How many rows of the dimension's table have this label: 0, 1, or 2. The row
 * with this key does not count: its label is found under two guesses where the
 * column's affinity makes them one. NULL: all count.
 */
static int count_label(struct artifact_read *rd, unsigned dim,
		       const struct value *label, const struct value *but)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int n = 0;
	int r;

	if (!rd->model->dims[dim].table)
		return 0;
	r = db_stmt(rd->db, Q_KEYS + dim, &stmt);
	if (r == 0)
		r = value_bind(stmt, 1, label);
	while (r == 0 && n < 2 && (r = db_step(stmt)) == 1) {
		struct value key = value_column(stmt, 0);

		n += !but || !value_same(&key, but);
		r = 0;
	}
	return r < 0 ? r : n;
}

/* Values and labels that would read the same as this label. */
static int find_others(struct artifact_read *rd, unsigned dim,
		       const struct value *v, const struct value *label,
		       bool *keyed, struct arena *arena,
		       struct artifact_naming *ret)
{
	CLEANUP(buf_deinit) struct buf text = BUF_NULL;
	bool has_label = label != v;
	struct guesses g;
	int r;

	name_text(&text, label);
	if (buf_error(&text))
		return buf_error(&text);
	tree_guess(&g, text.data, text.len, label->type == VALUE_NULL);
	for (size_t i = 0; i < g.n; i++) {
		bool own = has_label && value_same(&g.values[i], label);

		r = count_label(rd, dim, &g.values[i],
				has_label && !own ? v : NULL);
		if (r < 0)
			return r;
		*keyed |= r > (own ? 1 : 0);
		if (value_same(&g.values[i], v))
			continue;
		r = value_copy(arena, &g.values[i],
			       &ret->others[ret->n_others]);
		if (r < 0)
			return r;
		ret->n_others++;
	}
	return 0;
}

int artifact_value_name(struct artifact_read *rd, unsigned dim,
			const struct value *v, bool keyed, struct arena *arena,
			struct artifact_naming *ret)
{
	struct artifact_mark mark;
	struct value own;
	const struct value *label = v;
	int r;

	ret->n_others = 0;
	r = artifact_label(rd, dim, v, arena, &own, &mark);
	if (r == 1)
		label = &own;
	if (r >= 0)
		r = find_others(rd, dim, v, label, &keyed, arena, ret);
	if (r < 0)
		return r;
	return name_make(label, keyed ? v : NULL, &ret->name);
}

int artifact_keys_of(struct artifact_read *rd, unsigned dim,
		     const struct value *label, artifact_value_func_t func,
		     void *arg)
{
	CLEANUP(db_finalize) sqlite3_stmt *stmt = NULL;
	int r;

	if (!rd->model->dims[dim].table)
		return 0;
	/* Not from the cache: making names uses Q_KEYS as well. */
	r = db_prepare(rd->db, rd->world->sql[Q_KEYS + dim], &stmt, NULL);
	if (r == 0)
		r = value_bind(stmt, 1, label);
	while (r == 0 && (r = db_step(stmt)) == 1) {
		struct value v = value_column(stmt, 0);

		r = func(&v, arg);
	}
	return r;
}

static int has_required(struct artifact_read *rd, size_t query,
			const struct value *v)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(rd->db, query, &stmt);
	if (r == 0)
		r = value_bind(stmt, 1, v);
	return r < 0 ? r : db_step(stmt);
}

int artifact_is_missing(struct artifact_read *rd, int dim,
			const struct value *v)
{
	const struct model *m = rd->model;
	int r = 1;

	if (dim >= 0 && m->dims[dim].table)
		r = has_required(rd, (size_t)(Q_HAS_KEY + dim), v);
	for (size_t i = 0; r == 1 && i < m->n_orphans; i++)
		if (m->orphans[i].dim == dim)
			r = has_required(rd, Q_ROWS + m->n_tables + i, v);
	return r < 0 ? r : !r;
}

/* Has a table that something requires changed? One without marks always. */
static int table_changed(struct artifact_read *rd, const char *name,
			 int64_t after)
{
	const struct model_table *t = model_find(rd->model, name);
	struct artifact_mark mark;
	int r;

	if (!t || t->role != MODEL_SETUP)
		return 1;
	r = artifact_setup_mark(rd, t, &mark);
	return r < 0 ? r : mark.change > after;
}

int artifact_required_changed(struct artifact_read *rd, int dim, int64_t after)
{
	const struct model *m = rd->model;
	int r = 0;

	if (dim >= 0 && m->dims[dim].table)
		r = table_changed(rd, m->dims[dim].table, after);
	for (size_t i = 0; r == 0 && i < m->n_orphans; i++)
		if (m->orphans[i].dim == dim)
			r = table_changed(rd, m->orphans[i].table, after);
	return r;
}

int artifact_rules(struct artifact_read *rd, const struct model_table *t,
		   const struct artifact_node *pov, artifact_value_func_t func,
		   void *arg)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	if (!t->rule)
		return 0;
	r = db_stmt(rd->db, (size_t)(Q_RULES + t->slot), &stmt);
	for (unsigned i = 0; r == 0 && i < pov->level; i++)
		r = value_bind(stmt, (int)i + 1, &pov->values[i]);
	while (r == 0 && (r = db_step(stmt)) == 1) {
		struct value v = value_column(stmt, 0);

		r = v.type == VALUE_NULL ? 0 : func(&v, arg);
	}
	return r;
}

int artifact_last_process(struct artifact_read *rd, struct arena *arena,
			  struct value *ret)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	struct value v;
	int r;

	r = db_stmt(rd->db, Q_LAST_PROCESS, &stmt);
	if (r == 0)
		r = db_step(stmt);
	if (r != 1)
		return r < 0 ? r : -EBADMSG;
	v = value_column(stmt, 0);
	return value_copy(arena, &v, ret);
}

static int delete_pov(struct artifact_read *rd, const struct artifact_node *pov,
		      int64_t *rows)
{
	int r = 0;

	for (int slot = 0; r == 0 && slot < rd->model->n_slots; slot++) {
		CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;

		r = db_stmt(rd->db, (size_t)(Q_DELETE + slot), &stmt);
		for (unsigned i = 0; r == 0 && i < pov->level; i++)
			r = value_bind(stmt, (int)i + 1, &pov->values[i]);
		if (r == 0)
			r = db_step(stmt);
		*rows += sqlite3_changes64(db_handle(rd->db));
	}
	return r;
}

static int delete_all(struct artifact_read *rd, artifact_next_func_t next,
		      void *arg, int64_t *rows)
{
	int64_t id;
	int r;

	while ((r = next(rd, &id, arg)) == 1) {
		CLEANUP(artifact_node_deinit)
		struct artifact_node pov = ARTIFACT_NODE_NULL;

		r = artifact_pov(rd, id, &pov);
		if (r == 0)
			r = delete_pov(rd, &pov, rows);
		if (r < 0 && r != -ENOENT)
			return r;
	}
	return r;
}

static int delete_locked(struct artifact *a, struct artifact_world *w,
			 artifact_next_func_t next, void *arg, int64_t *rows,
			 struct err *err)
{
	CLEANUP(db_rollback) struct db_txn txn = DB_TXN_NULL;
	LOCK_SCOPE(&w->writer_lock);
	struct artifact_read rd = {
		.model = w->model, .world = w, .generation = w->generation};
	int r;

	r = w->writable ? world_writer_locked(w, err) : -EROFS;
	if (r < 0)
		return r;
	rd.db = w->writer;
	db_set_busy(w->writer, a->options.busy_ms);
	r = db_begin_write(w->writer, &txn);
	if (r == 0)
		r = delete_all(&rd, next, arg, rows);
	if (r == 0)
		r = fault("delete-commit");
	if (r == 0)
		r = db_commit(&txn);
	if (r == 0)
		(void)fault("delete-committed"); /* to be killed at */
	db_rollback(&txn); /* while the connection is still ours */
	if (r < 0)
		err_set(err, r, "cannot delete from '%s': %s", w->path,
			strerrordesc_np(-r));
	return r;
}

int artifact_delete_povs(struct artifact *a, artifact_next_func_t next,
			 void *arg, int64_t *ret_rows, struct err *err)
{
	struct artifact_read rd = ARTIFACT_READ_NULL;
	struct artifact_world *w;
	int64_t rows = 0;
	int r;

	r = artifact_read_begin(a, true, &rd, err);
	if (r < 0)
		return r;
	w = rd.world;
	atomic_fetch_add(&w->n_refs, 1);
	artifact_read_end(&rd);
	r = delete_locked(a, w, next, arg, &rows, err);
	world_unref(w);
	*ret_rows = rows;
	return r;
}

/* Does the primary key keep the rows of a POV together? */
static bool is_clustered(const struct model *m, const struct model_table *t)
{
	if (!t->without_rowid)
		return false;
	for (size_t i = 0; i < m->n_dims; i++) {
		const struct model_column *c = model_column(t, t->pov[i]);

		if (c->pk < 1 || (size_t)c->pk > m->n_dims || !c->binary)
			return false;
	}
	return true;
}

/* Reading one POV goes through the whole table: there is no index. */
static int reads_all(struct artifact_read *rd, const struct model_table *t)
{
	CLEANUP(buf_deinit) struct buf sql = BUF_NULL;
	CLEANUP(db_finalize) sqlite3_stmt *stmt = NULL;
	int r;

	buf_printf(&sql, "EXPLAIN QUERY PLAN %s",
		   rd->world->sql[Q_EXISTS + t->slot]);
	if (!buf_str(&sql))
		return buf_error(&sql);
	r = db_prepare(rd->db, buf_str(&sql), &stmt, NULL);
	if (r == 0)
		r = db_step(stmt);
	if (r != 1)
		return r;
	return strncmp((const char *)sqlite3_column_text(stmt, 3), "SCAN", 4) ==
	       0;
}

#define SAMPLES 16 /* POVs that are looked at */
#define SPREAD  64 /* rowids for each row: further apart than that is far */

/* Adds how many rows a POV has, and over how many rowids they are spread. */
static int add_span(struct artifact_read *rd, const struct model_table *t,
		    int64_t id, int64_t *rows, int64_t *span)
{
	CLEANUP(artifact_node_deinit)
	struct artifact_node pov = ARTIFACT_NODE_NULL;
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = artifact_pov(rd, id, &pov);
	if (r == 0)
		r = db_stmt(rd->db, (size_t)(Q_SPAN + t->slot), &stmt);
	for (unsigned i = 0; r == 0 && i < pov.level; i++)
		r = value_bind(stmt, (int)i + 1, &pov.values[i]);
	if (r == 0)
		r = db_step(stmt);
	if (r != 1)
		return r;
	*rows += sqlite3_column_int64(stmt, 0);
	*span += sqlite3_column_int64(stmt, 1);
	return 0;
}

int artifact_is_scattered(struct artifact_read *rd, const struct model_table *t,
			  const int64_t *povs, size_t n)
{
	size_t step = n / SAMPLES ? n / SAMPLES : 1;
	int64_t rows = 0;
	int64_t span = 0;
	int64_t all = 0;
	int r;

	if (n < SAMPLES / 4 || is_clustered(rd->model, t))
		return 0;
	r = reads_all(rd, t);
	if (r != 0)
		return r;
	r = artifact_count_povs(rd, &all);
	if (r < 0 || (int64_t)n < all / 4)
		return r;
	if (!t->rowid)
		return 1; /* ordered by another key: one lookup for each row */
	for (size_t i = 0; r == 0 && i < n; i += step)
		r = add_span(rd, t, povs[i], &rows, &span);
	return r < 0 ? r : span > rows * SPREAD;
}
