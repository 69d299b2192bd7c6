/* SPDX-License-Identifier: MIT */
#include "outboxfs/store/check.h"

#include <errno.h>
#include <string.h>

#include "outboxfs/base/fault.h"
#include "statements.h"
#include "store/draft.h"
#include "store/object.h"

static int next_on(struct db *db, int64_t after, struct object *ret)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(db, STORE_CHECK_OBJECT_NEXT, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, after);
	r = db_step(stmt);
	if (r != 1)
		return r;
	r = object_of_row(stmt, ret);
	return r < 0 ? r : 1;
}

int object_next(struct store *store, int64_t after, struct object *ret)
{
	struct db *db;
	int r;

	r = store_reader_get(store, &db);
	if (r < 0)
		return r;
	r = next_on(db, after, ret);
	store_reader_put(store, db);
	return r;
}

int object_mark_damaged(struct store *store, int64_t id)
{
	LOCK_SCOPE(&store->lock);
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(store->writer, STORE_CHECK_OBJECT_DAMAGED, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, id);
	return db_step(stmt);
}

static int call_file(sqlite3_stmt *stmt, check_path_func_t func, void *arg)
{
	CLEANUP(buf_deinit) struct buf path = BUF_NULL;
	const char *dirs = (const char *)sqlite3_column_text(stmt, 4);

	buf_printf(&path, "%s/", (const char *)sqlite3_column_text(stmt, 2));
	if (dirs)
		buf_printf(&path, "%s/", dirs);
	buf_puts(&path, (const char *)sqlite3_column_text(stmt, 3));
	if (buf_error(&path))
		return buf_error(&path);
	return func(buf_str(&path), sqlite3_column_int64(stmt, 0),
		    sqlite3_column_int64(stmt, 1), arg);
}

static int file_paths(struct db *db, int64_t id, check_path_func_t func,
		      void *arg)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(db, STORE_CHECK_PATHS, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, id);
	while (r == 0 && (r = db_step(stmt)) == 1)
		r = call_file(stmt, func, arg);
	return r;
}

static int document_paths(struct db *db, int64_t id, check_path_func_t func,
			  void *arg)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(db, STORE_CHECK_DOCUMENTS, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, id);
	while (r == 0 && (r = db_step(stmt)) == 1) {
		int64_t n = sqlite3_column_int64(stmt, 1);

		r = func((const char *)sqlite3_column_text(stmt, 0), n, n + 1,
			 arg);
	}
	return r;
}

int object_paths(struct store *store, int64_t id, check_path_func_t func,
		 void *arg)
{
	struct db *db;
	int r;

	r = store_reader_get(store, &db);
	if (r < 0)
		return r;
	r = file_paths(db, id, func, arg);
	if (r == 0)
		r = document_paths(db, id, func, arg);
	store_reader_put(store, db);
	return r;
}

static const struct {
	size_t statement; /* counts what is wrong */
	const char *what;
} checks[] = {
	{STORE_CHECK_OVERLAPS, "versions of a file overlap"},
	{STORE_CHECK_EMPTY, "versions end before they begin"},
	{STORE_CHECK_OBJECTS, "versions have no object"},
	{STORE_CHECK_DIRS, "versions have no point of view"},
	{STORE_CHECK_NAMES, "directories have no name"},
	{STORE_CHECK_COUNTS, "points of view have a wrong number of files"},
	{STORE_CHECK_PRESENCE,
	 "directories are shown and have nothing, or not"},
	{STORE_CHECK_MARKS, "channels have a mark that leads nowhere"},
	{STORE_CHECK_SELECTIONS, "selections belong to no zip"},
};

static int run_check(struct db *db, size_t i, check_func_t func, void *arg)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	CLEANUP(buf_deinit) struct buf text = BUF_NULL;
	int64_t n;
	int r;

	r = db_stmt(db, checks[i].statement, &stmt);
	if (r == 0)
		r = db_step(stmt);
	if (r <= 0)
		return r < 0 ? r : -EBADMSG;
	n = sqlite3_column_int64(stmt, 0);
	if (n == 0)
		return 0;
	buf_printf(&text, "%lld %s", (long long)n, checks[i].what);
	return buf_error(&text) ? buf_error(&text) : func(buf_str(&text), arg);
}

/* SQLite's own look at the file: "ok", or what is wrong, line by line. */
static int check_file(struct db *db, check_func_t func, void *arg)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(db, STORE_CHECK_FILE, &stmt);
	while (r == 0 && (r = db_step(stmt)) == 1) {
		const char *text = (const char *)sqlite3_column_text(stmt, 0);

		r = text && strcmp(text, "ok") == 0 ? 0 : func(text, arg);
	}
	return r;
}

int store_check(struct store *store, check_func_t func, void *arg)
{
	struct db *db;
	int r;

	r = store_reader_get(store, &db);
	if (r < 0)
		return r;
	r = check_file(db, func, arg);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(checks); i++)
		r = run_check(db, i, func, arg);
	store_reader_put(store, db);
	return r;
}

void draft_for_repair(struct draft *d)
{
	d->repair = true;
}

int draft_repair(struct draft *d, int64_t *ret_n, struct err *err)
{
	LOCK_SCOPE(&d->store->lock);
	CLEANUP(db_rollback) struct db_txn txn = DB_TXN_NULL;
	struct db *db = d->db;
	int r;

	r = db_commit(&d->staging);
	if (r == 0)
		r = pack_append_sync(d->append);
	if (r == 0)
		r = db_begin_write(db, &txn);
	if (r == 0)
		r = store_run(db, STORE_CHECK_REPAIR);
	*ret_n = sqlite3_changes64(db_handle(db));
	if (r == 0)
		r = pack_append_index(d->append, db);
	if (r == 0)
		r = fault("repair-commit");
	if (r == 0) {
		d->committed = true;
		r = db_commit(&txn);
	}
	if (r < 0)
		return err_set(err, r, "cannot write to the store: %s",
			       strerrordesc_np(-r));
	return 0;
}
