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

/* The directory of this value below parent, made where it is missing. */
static int fold_dir(struct db *db, int64_t parent, const struct value *value,
		    wall_s_t time, int64_t *ret)
{
	CLEANUP(db_reset) sqlite3_stmt *find = NULL;
	CLEANUP(db_reset) sqlite3_stmt *add = NULL;
	CLEANUP(db_reset) sqlite3_stmt *touch = NULL;
	int r;

	r = db_stmt(db, Q_DIR_FIND, &find);
	if (r < 0)
		return r;
	sqlite3_bind_int64(find, 1, parent);
	r = value_bind(find, 2, value);
	if (r == 0)
		r = db_step(find);
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
		r = db_step(add);
	*ret = sqlite3_last_insert_rowid(db_handle(db));
	if (r == 0)
		r = db_step(touch);
	return r;
}

static int add_pov(struct db *db, const struct model *m,
		   const struct mark *mark, int64_t *ret)
{
	CLEANUP(db_reset) sqlite3_stmt *add = NULL;
	CLEANUP(db_reset) sqlite3_stmt *touch = NULL;
	int64_t parent = ARTIFACT_DIR_ROOT;
	int r = 0;

	for (size_t i = 0; r == 0 && i + 1 < m->n_dims; i++)
		r = fold_dir(db, parent, &mark->values[i], mark->time, &parent);
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
	r = db_step(add);
	*ret = sqlite3_last_insert_rowid(db_handle(db));
	if (r == 0)
		r = db_step(touch);
	return r;
}

static int fold_mark(struct db *db, const struct model *m, int slot,
		     const struct mark *mark, int64_t change)
{
	CLEANUP(db_reset) sqlite3_stmt *find = NULL;
	CLEANUP(db_reset) sqlite3_stmt *set = NULL;
	int64_t id = 0;
	int r;

	r = db_stmt(db, Q_POV_FIND, &find);
	for (size_t i = 0; r == 0 && i < m->n_dims; i++)
		r = value_bind(find, (int)i + 1, &mark->values[i]);
	if (r == 0)
		r = db_step(find);
	if (r == 1) {
		id = sqlite3_column_int64(find, 0);
		r = 0;
	} else if (r == 0) {
		r = add_pov(db, m, mark, &id);
	}
	if (r == 0)
		r = db_stmt(db, (size_t)(Q_POV_MARK + slot), &set);
	if (r < 0)
		return r;
	sqlite3_bind_int64(set, 1, id);
	sqlite3_bind_int64(set, 2, change);
	sqlite3_bind_int64(set, 3, mark->time);
	return db_step(set);
}

/* 1: there are more than one batch of this slot. */
static int fold_slot(struct db *db, const struct model *m, int slot,
		     int64_t change)
{
	CLEANUP(db_reset) sqlite3_stmt *read = NULL;
	CLEANUP(db_reset) sqlite3_stmt *done = NULL;
	int n = 0;
	int r;

	r = db_stmt(db, (size_t)(Q_FOLD_READ + slot), &read);
	while (r == 0 && (r = db_step(read)) == 1) {
		struct mark mark = read_mark(read, m->n_dims);

		n++;
		r = fold_mark(db, m, slot, &mark, change);
	}
	if (r < 0 || n == 0)
		return r;
	db_reset(&read);
	r = db_stmt(db, (size_t)(Q_FOLD_DONE + slot), &done);
	if (r == 0)
		r = db_step(done);
	return r < 0 ? r : n == FOLD_BATCH;
}

static int run(struct db *db, enum query query, int64_t change)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(db, query, &stmt);
	if (r < 0)
		return r;
	if (sqlite3_bind_parameter_count(stmt) > 0)
		sqlite3_bind_int64(stmt, 1, change);
	return db_step(stmt);
}

static int next_change(struct db *db, int64_t *ret)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(db, Q_CHANGE_NEXT, &stmt);
	if (r == 0)
		r = db_step(stmt);
	if (r < 0)
		return r;
	if (r == 0)
		return -EBADMSG; /* somebody has emptied our table */
	*ret = sqlite3_column_int64(stmt, 0);
	r = db_step(stmt);
	return r < 0 ? r : 0;
}

/* One transaction. 1: there is more to do. */
static int fold_batch(struct db *db, const struct model *m)
{
	CLEANUP(db_rollback) struct db_txn txn = DB_TXN_NULL;
	static const enum query steps[] = {Q_FOLD_TABLES, Q_FOLD_TABLES_DONE,
					   Q_FOLD_LABELS, Q_FOLD_LABELS_DONE,
					   Q_FOLD_TOMBSTONES};
	int64_t change = 0;
	bool more = false;
	int r;

	r = db_begin_write(db, &txn);
	if (r == 0)
		r = next_change(db, &change);
	for (int slot = 0; r >= 0 && slot < m->n_slots; slot++) {
		r = fold_slot(db, m, slot, change);
		more |= r == 1;
	}
	for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(steps); i++)
		r = run(db, steps[i], change);
	if (r >= 0)
		r = db_commit(&txn);
	return r < 0 ? r : more;
}

int fold(struct artifact_world *w, int busy_ms, struct err *err)
{
	LOCK_SCOPE(&w->writer_lock);
	struct db *db;
	int r;

	if (!w->writable)
		return 0;
	r = world_writer_locked(w, err);
	if (r < 0)
		return r == -EROFS || r == -EBUSY ? 0 : r;
	db = w->writer;

	/* After waiting in vain, do not make every reader wait again. */
	if (clock_mono() < w->fold_patience_at)
		busy_ms = 0;
	db_set_busy(db, busy_ms);
	do
		r = fold_batch(db, w->model);
	while (r == 1);
	if (r == 0)
		return 1;
	if (r == -EBUSY || r == -EROFS || r == -ENOSPC) {
		w->fold_patience_at = clock_mono() + 1000000;
		log_info("cannot note changes in the database: %s",
			 sqlite3_errmsg(db_handle(db)));
		return 0;
	}
	return db_fail(db, sqlite3_errcode(db_handle(db)), err,
		       "cannot note changes in the database");
}
