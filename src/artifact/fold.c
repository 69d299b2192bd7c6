/* SPDX-License-Identifier: MIT */
/*
 * Folding: what the triggers left as open marks moves into the registry, with
 * a change number. It happens under the write lock, in batches, so that the
 * users' programs wait for milliseconds only. track.c has the invariants.
 */
#include <errno.h>
#include <string.h>

#include "artifact/world.h"
#include "outboxfs/base/clock.h"
#include "outboxfs/base/fault.h"
#include "outboxfs/base/log.h"

/* A mark's values, with NULL where the bit says so. */
struct mark {
	struct value values[MODEL_DIMS_MAX];
	wall_s_t time;
};

static struct mark read_mark(sqlite3_stmt *stmt, size_t n_dims)
{
	struct mark mark;
	int nulls = sqlite3_column_int(stmt, (int)n_dims);

	for (size_t i = 0; i < n_dims; i++) {
		mark.values[i] = value_column(stmt, (int)i);
		if (nulls & (1 << i))
			mark.values[i] = (struct value){.type = VALUE_NULL};
	}
	mark.time = sqlite3_column_int64(stmt, (int)n_dims + 1);
	return mark;
}

/* The batch that is being folded. */
struct batch {
	struct db *db;
	const struct model *m;
	struct err *err; /* what went wrong, in SQLite's words */
	int64_t change;  /* its number */
	wall_s_t given;  /* the latest time that was given out before */
	wall_s_t time;   /* the latest that was given out */
};

/* SQLite forgets what it said when another statement is reset. */
static int say_why(const struct batch *batch, int r)
{
	return err_set(batch->err, r, "%s",
		       sqlite3_errmsg(db_handle(batch->db)));
}

static int step(const struct batch *batch, sqlite3_stmt *stmt)
{
	int r = db_step(stmt);

	return r < 0 ? say_why(batch, r) : r;
}

/* The directory of this value below parent, made where it is missing. */
static int fold_dir(const struct batch *batch, int64_t parent,
		    const struct value *value, wall_s_t time, int64_t *ret)
{
	CLEANUP(db_reset) sqlite3_stmt *find = NULL;
	CLEANUP(db_reset) sqlite3_stmt *add = NULL;
	CLEANUP(db_reset) sqlite3_stmt *touch = NULL;
	struct db *db = batch->db;
	int r;

	r = db_stmt(db, Q_DIR_FIND, &find);
	if (r < 0)
		return r;
	sqlite3_bind_int64(find, 1, parent);
	r = value_bind(find, 2, value);
	if (r == 0)
		r = step(batch, find);
	if (r < 0)
		return r;
	if (r == 1) {
		*ret = sqlite3_column_int64(find, 0);
		return 0;
	}

	r = db_stmt(db, Q_DIR_ADD, &add);
	if (r == 0)
		r = db_stmt(db, Q_DIR_TOUCH, &touch);
	if (r < 0)
		return r;
	sqlite3_bind_int64(add, 1, parent);
	sqlite3_bind_int64(add, 3, time);
	sqlite3_bind_int64(touch, 1, parent);
	sqlite3_bind_int64(touch, 2, time);
	r = value_bind(add, 2, value);
	if (r == 0)
		r = step(batch, add);
	*ret = sqlite3_last_insert_rowid(db_handle(db));
	if (r == 0)
		r = step(batch, touch);
	return r;
}

static int add_pov(const struct batch *batch, const struct mark *mark,
		   int64_t *ret)
{
	const struct model *m = batch->m;
	struct db *db = batch->db;
	CLEANUP(db_reset) sqlite3_stmt *add = NULL;
	CLEANUP(db_reset) sqlite3_stmt *touch = NULL;
	int64_t parent = ARTIFACT_DIR_ROOT;
	int r = 0;

	for (size_t i = 0; r == 0 && i + 1 < m->n_dims; i++)
		r = fold_dir(batch, parent, &mark->values[i], mark->time,
			     &parent);
	if (r == 0)
		r = db_stmt(db, Q_POV_ADD, &add);
	if (r == 0)
		r = db_stmt(db, Q_DIR_TOUCH, &touch);
	for (size_t i = 0; r == 0 && i < m->n_dims; i++)
		r = value_bind(add, (int)i + 1, &mark->values[i]);
	if (r < 0)
		return r;
	sqlite3_bind_int64(add, (int)m->n_dims + 1, parent);
	sqlite3_bind_int64(touch, 1, parent);
	sqlite3_bind_int64(touch, 2, mark->time);
	r = step(batch, add);
	*ret = sqlite3_last_insert_rowid(db_handle(db));
	if (r == 0)
		r = step(batch, touch);
	return r;
}

/* Does the dimension's table call this value something? */
static int has_label(const struct batch *batch, size_t dim,
		     const struct value *value)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(batch->db, Q_LABEL + dim, &stmt);
	if (r == 0)
		r = value_bind(stmt, 1, value);
	return r < 0 ? r : step(batch, stmt);
}

/*
 * The time that a file of the mark's POV must be later than, because its path
 * may have stood for another POV then: when a label of its values changed
 * last. A value without a label takes its name from one that has it as a label
 * by being there: a new POV of such a value is later than everything.
 */
static int label_time(const struct batch *batch, const struct mark *mark,
		      bool is_new, wall_s_t *ret)
{
	*ret = 0;
	for (size_t i = 0; i < batch->m->n_dims; i++) {
		CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
		int r;

		if (!batch->m->dims[i].table)
			continue;
		r = db_stmt(batch->db, Q_LABEL_MARK + i, &stmt);
		if (r == 0)
			r = value_bind(stmt, 1, &mark->values[i]);
		if (r == 0)
			r = step(batch, stmt);
		if (r < 0)
			return r;
		if (r == 1 && sqlite3_column_int64(stmt, 1) > *ret)
			*ret = sqlite3_column_int64(stmt, 1);
		r = is_new ? has_label(batch, i, &mark->values[i]) : 1;
		if (r < 0)
			return r;
		if (r == 0 && batch->given > *ret)
			*ret = batch->given;
	}
	return 0;
}

/* Does any table have rows of this POV? Whole tables are not read for that. */
static int has_rows(const struct batch *batch, const struct mark *mark)
{
	for (int slot = 0; slot < batch->m->n_slots; slot++) {
		CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
		int r;

		if (!model_slot(batch->m, slot)->pov_indexed)
			return 1;
		r = db_stmt(batch->db, (size_t)(Q_EXISTS + slot), &stmt);
		for (size_t i = 0; r == 0 && i < batch->m->n_dims; i++)
			r = value_bind(stmt, (int)i + 1, &mark->values[i]);
		if (r == 0)
			r = step(batch, stmt);
		if (r != 0)
			return r;
	}
	return 0;
}

/* A POV has come or gone: the directories above it have changed. */
static int touch_above(const struct batch *batch, int64_t dir, wall_s_t time)
{
	struct db *db = batch->db;

	/* Never more levels than there are: others may have made a circle. */
	for (size_t n = 0; dir != 0 && n < batch->m->n_dims; n++) {
		CLEANUP(db_reset) sqlite3_stmt *touch = NULL;
		CLEANUP(db_reset) sqlite3_stmt *up = NULL;
		int r;

		r = db_stmt(db, Q_DIR_TOUCH, &touch);
		if (r == 0)
			r = db_stmt(db, Q_DIR, &up);
		if (r < 0)
			return r;
		sqlite3_bind_int64(touch, 1, dir);
		sqlite3_bind_int64(touch, 2, time);
		sqlite3_bind_int64(up, 1, dir);
		r = step(batch, touch);
		if (r == 0)
			r = step(batch, up);
		if (r < 0)
			return r;
		dir = r == 1 ? sqlite3_column_int64(up, 0) : 0;
	}
	return 0;
}

static int fold_live(const struct batch *batch, const struct mark *mark,
		     int64_t id)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int64_t parent;
	int live;
	int r;

	live = has_rows(batch, mark);
	if (live < 0)
		return live;
	r = db_stmt(batch->db, Q_POV_LIVE, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, id);
	sqlite3_bind_int64(stmt, 2, live);
	r = step(batch, stmt);
	if (r != 1)
		return r;
	parent = sqlite3_column_int64(stmt, 0);
	r = step(batch, stmt);
	return r < 0 ? r : touch_above(batch, parent, mark->time);
}

/* The POV of a mark: 1. 0: it is new, and was numbered. */
static int find_pov(const struct batch *batch, const struct mark *mark,
		    int64_t *ret)
{
	CLEANUP(db_reset) sqlite3_stmt *find = NULL;
	int r;

	r = db_stmt(batch->db, Q_POV_FIND, &find);
	for (size_t i = 0; r == 0 && i < batch->m->n_dims; i++)
		r = value_bind(find, (int)i + 1, &mark->values[i]);
	if (r == 0)
		r = step(batch, find);
	if (r == 1)
		*ret = sqlite3_column_int64(find, 0);
	return r != 0 ? r : add_pov(batch, mark, ret);
}

static int fold_mark(struct batch *batch, int slot, const struct mark *mark)
{
	CLEANUP(db_reset) sqlite3_stmt *set = NULL;
	wall_s_t floor;
	int64_t id = 0;
	int r;

	r = find_pov(batch, mark, &id);
	if (r >= 0)
		r = label_time(batch, mark, r == 0, &floor);
	if (r == 0)
		r = db_stmt(batch->db, (size_t)(Q_POV_MARK + slot), &set);
	if (r < 0)
		return r;
	sqlite3_bind_int64(set, 1, id);
	sqlite3_bind_int64(set, 2, batch->change);
	sqlite3_bind_int64(set, 3, mark->time);
	sqlite3_bind_int64(set, 4, floor);
	r = step(batch, set);
	if (r == 1 && sqlite3_column_int64(set, 0) > batch->time)
		batch->time = sqlite3_column_int64(set, 0);
	if (r == 1)
		r = step(batch, set);
	return r < 0 ? r : fold_live(batch, mark, id);
}

/* 1: there are more than one batch of this slot. */
static int fold_slot(struct batch *batch, int slot)
{
	CLEANUP(db_reset) sqlite3_stmt *read = NULL;
	CLEANUP(db_reset) sqlite3_stmt *done = NULL;
	int n = 0;
	int r;

	r = db_stmt(batch->db, (size_t)(Q_FOLD_READ + slot), &read);
	while (r == 0 && (r = step(batch, read)) == 1) {
		struct mark mark = read_mark(read, batch->m->n_dims);

		n++;
		r = fold_mark(batch, slot, &mark);
	}
	if (r < 0 || n == 0)
		return r;
	db_reset(&read);
	r = db_stmt(batch->db, (size_t)(Q_FOLD_DONE + slot), &done);
	if (r == 0)
		r = step(batch, done);
	return r < 0 ? r : n == FOLD_BATCH;
}

/* Renamed entries: the directories of that level have changed. */
static int touch_levels(const struct batch *batch)
{
	CLEANUP(db_reset) sqlite3_stmt *dims = NULL;
	int r;

	r = db_stmt(batch->db, Q_OPEN_LABEL_DIMS, &dims);
	while (r == 0 && (r = step(batch, dims)) == 1) {
		CLEANUP(db_reset) sqlite3_stmt *touch = NULL;
		int dim = sqlite3_column_int(dims, 0);

		if (dim < 0 || (size_t)dim >= batch->m->n_dims)
			return -EBADMSG;
		r = db_stmt(batch->db, (size_t)(Q_TOUCH_LEVEL + dim), &touch);
		if (r < 0)
			return r;
		sqlite3_bind_int64(touch, 1, sqlite3_column_int64(dims, 1));
		r = step(batch, touch);
	}
	return r;
}

static int run(const struct batch *batch, enum query query, int64_t change)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(batch->db, query, &stmt);
	if (r < 0)
		return r;
	if (sqlite3_bind_parameter_count(stmt) > 0)
		sqlite3_bind_int64(stmt, 1, change);
	return step(batch, stmt);
}

static int next_change(struct batch *batch)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(batch->db, Q_CHANGE_NEXT, &stmt);
	if (r == 0)
		r = step(batch, stmt);
	if (r < 0)
		return r;
	if (r == 0)
		return -EBADMSG; /* somebody has emptied our table */
	batch->change = sqlite3_column_int64(stmt, 0);
	batch->time = sqlite3_column_int64(stmt, 1);
	batch->given = batch->time;
	r = step(batch, stmt);
	return r < 0 ? r : 0;
}

/* The marks may be those of another model than the one we know. */
static int check_schema(const struct batch *batch, int64_t known)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(batch->db, Q_SCHEMA_VERSION, &stmt);
	if (r == 0)
		r = step(batch, stmt);
	if (r < 0)
		return r;
	return sqlite3_column_int64(stmt, 0) == known ? 0 : -ESTALE;
}

/* One transaction. 1: there is more to do. */
static int fold_batch(struct artifact_world *w, struct err *err)
{
	CLEANUP(db_rollback) struct db_txn txn = DB_TXN_NULL;
	const struct model *m = w->model;
	struct db *db = w->writer;
	static const enum query steps[] = {Q_FOLD_TABLES, Q_FOLD_TABLES_DONE,
					   Q_FOLD_LABELS, Q_FOLD_LABELS_DONE,
					   Q_FOLD_TOMBSTONES};
	struct batch batch = {.db = db, .m = m, .err = err};
	bool more = false;
	int r;

	r = db_begin_write(db, &txn);
	if (r < 0)
		return say_why(&batch, r);
	r = check_schema(&batch, w->schema_version);
	if (r == 0)
		r = next_change(&batch);
	for (int slot = 0; r >= 0 && slot < m->n_slots; slot++) {
		r = fold_slot(&batch, slot);
		more |= r == 1;
	}
	/* Labels come after everything that was given a time before them. */
	if (r >= 0)
		r = run(&batch, Q_CHANGE_TIME, batch.time);
	if (r >= 0)
		r = touch_levels(&batch);
	for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(steps); i++)
		r = run(&batch, steps[i], batch.change);
	if (r >= 0)
		r = run(&batch, Q_CHANGE_TIME, batch.time);
	if (r >= 0)
		r = fault("fold-commit");
	if (r < 0)
		return r;
	r = db_commit(&txn);
	return r < 0 ? say_why(&batch, r) : more;
}

int fold(struct artifact_world *w, int busy_ms, struct err *err)
{
	LOCK_SCOPE(&w->writer_lock);
	struct err why = ERR_NULL;
	int r;

	if (!w->writable)
		return 0;
	r = world_writer_locked(w, err);
	atomic_store(&w->fold_error, r);
	if (r < 0)
		return r == -EROFS || r == -EBUSY ? 0 : r;

	/* After waiting in vain, do not make every reader wait again. */
	if (clock_mono() < w->fold_patience_at)
		busy_ms = 0;
	db_set_busy(w->writer, busy_ms);
	do
		r = fold_batch(w, &why);
	while (r == 1);
	atomic_store(&w->fold_error, r);
	if (r == 0)
		return 1;
	if (r == -EBUSY || r == -EROFS || r == -ENOSPC) {
		w->fold_patience_at = clock_mono() + 1000000;
		log_info("cannot note changes in the database: %s",
			 err_text(&why, r));
		return 0;
	}
	return err_set(err, r, "cannot note changes in the database: %s",
		       err_text(&why, r));
}
