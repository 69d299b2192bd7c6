/* SPDX-License-Identifier: MIT */
#include "artifact/meta.h"

#include <errno.h>
#include <string.h>

#include "artifact/check.h"

int meta_is_adopted(struct db *db, int64_t *ret, struct err *err)
{
	return db_int(db,
		      "SELECT count(*) FROM sqlite_schema"
		      " WHERE type = 'table' AND name = 'outboxfs_model'",
		      ret, err);
}

int meta_load_json(struct db *db, struct buf *ret, struct err *err)
{
	CLEANUP(db_finalize) sqlite3_stmt *stmt = NULL;
	int64_t adopted;
	int r;

	r = meta_is_adopted(db, &adopted, err);
	if (r < 0)
		return r;
	if (!adopted)
		return err_set(
			err, -ENODATA,
			"database '%s' is not adopted: outboxfs adopt --suggest prints a model to start from, outboxfs adopt --model installs it",
			sqlite3_db_filename(db_handle(db), "main"));
	r = db_prepare(db, "SELECT format, json FROM outboxfs_model", &stmt,
		       err);
	if (r < 0)
		return r;
	r = db_step(stmt);
	if (r < 0)
		return err_set(err, r, "cannot read the model");
	if (r == 0)
		return err_set(
			err, -ENODATA,
			"the model is missing from the database: outboxfs adopt again");
	if (sqlite3_column_int(stmt, 0) > META_FORMAT)
		return err_set(
			err, -ENOTSUP,
			"the database was adopted by a newer outboxfs (format %d, this one knows up to %d)",
			sqlite3_column_int(stmt, 0), META_FORMAT);
	buf_add(ret, sqlite3_column_text(stmt, 1),
		(size_t)sqlite3_column_bytes(stmt, 1));
	return buf_error(ret);
}

/* The first line in which two fingerprints differ, as a column name. */
static void first_difference(const char *was, const char *is, size_t *ret_at)
{
	size_t line = 0;

	for (size_t i = 0; was[i] && was[i] == is[i]; i++)
		if (was[i] == '\n')
			line = i + 1;
	*ret_at = line;
}

static bool is_key_line(const char *line)
{
	return strncmp(line, "unique(", 7) == 0;
}

static int changed(const struct model_table *t, const char *was, const char *is,
		   struct err *err)
{
	const char *verb = "has changed";
	const char *line;
	size_t at;

	first_difference(was, is, &at);
	line = is + at;
	/* Columns come before keys in a fingerprint. */
	if (!was[at] || (is_key_line(was + at) && !is_key_line(is + at))) {
		verb = "was added";
	} else if (!is[at] ||
		   (is_key_line(is + at) && !is_key_line(was + at))) {
		verb = "is gone";
		line = was + at;
	}
	if (is_key_line(line))
		return err_set(
			err, -ESTALE,
			"table '%s': a unique index on%.*s %s since the database was adopted: run outboxfs adopt again",
			t->name, (int)strcspn(line + 7, ")\n"), line + 7, verb);
	return err_set(
		err, -ESTALE,
		"table '%s': column %.*s %s since the database was adopted: run outboxfs adopt again",
		t->name, (int)strcspn(line, " \n"), line, verb);
}

/*
 * "setup": "*" means the tables that there were when the database was adopted.
 * What came later is no business of ours until somebody adopts again: its
 * changes are not tracked. What is gone is found by match_tables().
 */
static const char former_setup[] =
	"SELECT name FROM outboxfs_table WHERE slot < 0 AND name IN"
	" (SELECT name FROM pragma_table_list WHERE schema = 'main'"
	" AND type = 'table') ORDER BY id";

static const char *text(sqlite3_stmt *stmt, int column)
{
	const char *s = (const char *)sqlite3_column_text(stmt, column);

	return s ? s : "";
}

static int not_ours(struct err *err)
{
	return err_set(
		err, -ESTALE,
		"somebody has changed the tables that outboxfs keeps in the database: run outboxfs adopt again");
}

/*
 * Id and columns as of the adoption of one table. Others can write to our
 * tables, too: ids and slots become places in arrays.
 */
static int match_table(struct model *m, sqlite3_stmt *stmt, struct err *err)
{
	const char *name = text(stmt, 1);
	struct model_table *t = model_find(m, name);
	CLEANUP(freep) char *is = NULL;
	int64_t id = sqlite3_column_int64(stmt, 0);
	int r;

	if (!t)
		return err_set(
			err, -ESTALE,
			"table '%s' was dropped or renamed since the database was adopted: run outboxfs adopt again",
			name);
	if (t->id > 0 || id < 1 || id > MODEL_TABLES_MAX ||
	    sqlite3_column_int64(stmt, 2) != t->slot)
		return not_ours(err);
	t->id = id;
	r = model_fingerprint(t, &is);
	if (r < 0)
		return r;
	return strcmp(text(stmt, 3), is) == 0
		       ? 0
		       : changed(t, text(stmt, 3), is, err);
}

static int match_tables(struct db *db, struct model *m, struct err *err)
{
	CLEANUP(db_finalize) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_prepare(db, "SELECT id, name, slot, columns FROM outboxfs_table",
		       &stmt, err);
	if (r < 0)
		return r;
	while (r == 0 && (r = db_step(stmt)) == 1)
		r = match_table(m, stmt, err);
	if (r == -ESTALE)
		return r;
	if (r < 0)
		return err_set(err, r, "cannot read the model");
	for (size_t i = 0; i < m->n_tables; i++)
		if (m->tables[i].id == 0)
			return not_ours(err);
	return 0;
}

/* A table that was made anew under its old name has lost its triggers. */
static int check_triggers(struct db *db, struct err *err)
{
	CLEANUP(db_finalize) sqlite3_stmt *stmt = NULL;
	const char *was;
	const char *is;
	size_t at;
	int r;

	r = db_prepare(db,
		       "SELECT triggers, (" META_TRIGGERS ")"
		       " FROM outboxfs_model",
		       &stmt, err);
	if (r < 0)
		return r;
	r = db_step(stmt);
	if (r != 1)
		return err_set(err, r < 0 ? r : -ENODATA,
			       "cannot read the model");
	was = text(stmt, 0);
	is = text(stmt, 1);
	if (strcmp(was, is) == 0)
		return 0;
	first_difference(was, is, &at);
	was += at;
	was += strcspn(was, " \n");
	return err_set(
		err, -ESTALE,
		"changes of table '%.*s' are no longer tracked (its triggers are gone): run outboxfs adopt again",
		(int)strcspn(*was ? was + 1 : was, "\n"), *was ? was + 1 : was);
}

int meta_load(struct db *db, struct model **ret, struct err *err)
{
	CLEANUP(buf_deinit) struct buf json = BUF_NULL;
	CLEANUP(model_freep) struct model *model = NULL;
	int r;

	r = meta_load_json(db, &json, err);
	if (r < 0)
		return r;
	r = model_parse(buf_str(&json), json.len, &model, err);
	if (r == 0)
		r = model_expand(model, db, former_setup, err);
	if (r == 0)
		r = model_bind(model, db, err);
	if (r == -EINVAL)
		return err_prefix(
			err, -ESTALE,
			"the model or the schema has changed since the database was adopted (run outboxfs adopt again)");
	if (r == 0)
		r = match_tables(db, model, err);
	if (r == 0)
		r = check_triggers(db, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(model);
	return 0;
}
