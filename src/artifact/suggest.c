/* SPDX-License-Identifier: MIT */
/*
 * Guessing a model, to be edited. The data table is the one with the most
 * rows among those that look like facts: two or more columns that refer to
 * other tables, or whose names say location, category or period. What it
 * refers to and what its date columns say become the dimensions.
 */
#include <errno.h>
#include <string.h>

#include "artifact/meta.h"
#include "outboxfs/artifact/adopt.h"
#include "outboxfs/format/json.h"

#define DIMS_WANTED 3

struct guess_dim {
	char *name; /* owned, as all of these */
	char *column;
	char *table; /* NULL: values are names */
	char *key;
	char *label;
};

struct guess_model {
	char *table;
	struct guess_dim dims[DIMS_WANTED];
	size_t n_dims;
};

static void guess_model_deinit(struct guess_model *g)
{
	free(g->table);
	for (size_t i = 0; i < g->n_dims; i++) {
		free(g->dims[i].name);
		free(g->dims[i].column);
		free(g->dims[i].table);
		free(g->dims[i].key);
		free(g->dims[i].label);
	}
}

/* The first row's first column as text; NULL where there is none. */
static int get_text(struct db *db, const char *sql, const char *arg,
		    const char *arg2, char **ret, struct err *err)
{
	CLEANUP(db_finalize) sqlite3_stmt *stmt = NULL;
	int r;

	*ret = NULL;
	r = db_prepare(db, sql, &stmt, err);
	if (r < 0)
		return r;
	sqlite3_bind_text(stmt, 1, arg, -1, SQLITE_STATIC);
	if (arg2)
		sqlite3_bind_text(stmt, 2, arg2, -1, SQLITE_STATIC);
	r = db_step(stmt);
	if (r <= 0)
		return r;
	if (sqlite3_column_type(stmt, 0) == SQLITE_NULL)
		return 0;
	*ret = strdup((const char *)sqlite3_column_text(stmt, 0));
	return *ret ? 0 : -ENOMEM;
}

/*
 * Candidates, best first: how many columns could be dimensions, then how many
 * rows the statistics or the largest rowid promise (counting would take long).
 */
static const char find_table[] =
	"WITH t AS (SELECT name FROM pragma_table_list WHERE schema = 'main'"
	"  AND type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
	"  AND name NOT LIKE 'outboxfs\\_%' ESCAPE '\\' AND ?1 IS NULL),"
	" f AS (SELECT t.name, count(DISTINCT k.\"from\") AS n"
	"  FROM t, pragma_foreign_key_list(t.name) AS k"
	"  WHERE k.\"table\" <> t.name COLLATE NOCASE GROUP BY t.name),"
	" d AS (SELECT t.name, count(*) AS n FROM t, pragma_table_xinfo(t.name) AS c"
	"  WHERE lower(c.name) GLOB '*period*' OR lower(c.name) GLOB '*date*'"
	"   OR lower(c.name) GLOB '*month*' OR lower(c.name) GLOB '*year*'"
	"  GROUP BY t.name)"
	" SELECT t.name FROM t LEFT JOIN f USING (name) LEFT JOIN d USING (name)"
	" WHERE ifnull(f.n, 0) + ifnull(d.n, 0) > 0"
	" ORDER BY min(ifnull(f.n, 0), 2) + min(ifnull(d.n, 0), 1) DESC,"
	"  ifnull(f.n, 0) DESC, t.name LIMIT 1";

static const char find_label[] =
	"SELECT name FROM pragma_table_xinfo(?1) WHERE hidden <> 1"
	" AND name <> ?2 COLLATE NOCASE AND (upper(type) GLOB '*CHAR*'"
	"  OR upper(type) GLOB '*TEXT*')"
	" ORDER BY lower(name) = 'name' DESC, lower(name) GLOB '*name' DESC,"
	"  lower(name) IN ('label', 'title', 'code', 'path') DESC, cid LIMIT 1";

static int add_reference(struct db *db, struct guess_model *g,
			 const char *column, const char *table, const char *key,
			 struct err *err)
{
	struct guess_dim *dim = &g->dims[g->n_dims];
	int r = 0;

	*dim = (struct guess_dim){.name = strdup(table),
				  .column = strdup(column),
				  .table = strdup(table)};
	g->n_dims++;
	if (!dim->name || !dim->column || !dim->table)
		return -ENOMEM;
	if (key)
		dim->key = strdup(key);
	else
		r = get_text(db,
			     "SELECT name FROM pragma_table_xinfo(?1)"
			     " WHERE pk = 1",
			     table, NULL, &dim->key, err);
	if (r < 0)
		return r;
	if (!dim->key && !(dim->key = strdup("rowid")))
		return -ENOMEM;
	r = get_text(db, find_label, table, dim->key, &dim->label, err);
	if (r == 0 && !dim->label && !(dim->label = strdup(dim->key)))
		r = -ENOMEM;
	return r;
}

static int add_references(struct db *db, struct guess_model *g, struct err *err)
{
	CLEANUP(db_finalize) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_prepare(
		db,
		"SELECT k.\"from\", k.\"table\", k.\"to\""
		" FROM pragma_foreign_key_list(?1) AS k"
		" JOIN pragma_table_xinfo(?1) AS c ON c.name = k.\"from\""
		" WHERE k.\"table\" <> ?1 COLLATE NOCASE AND k.id NOT IN"
		"  (SELECT id FROM pragma_foreign_key_list(?1) WHERE seq > 0)"
		" GROUP BY k.\"table\""
		" ORDER BY lower(k.\"table\") GLOB '*loc*' DESC, c.cid",
		&stmt, err);
	if (r < 0)
		return r;
	sqlite3_bind_text(stmt, 1, g->table, -1, SQLITE_STATIC);
	while ((r = db_step(stmt)) == 1 && g->n_dims < DIMS_WANTED - 1) {
		r = add_reference(
			db, g, (const char *)sqlite3_column_text(stmt, 0),
			(const char *)sqlite3_column_text(stmt, 1),
			(const char *)sqlite3_column_text(stmt, 2), err);
		if (r < 0)
			return r;
	}
	return r < 0 ? r : 0;
}

static int add_period(struct db *db, struct guess_model *g, struct err *err)
{
	struct guess_dim *dim = &g->dims[g->n_dims];
	char *column = NULL;
	int r;

	r = get_text(
		db,
		"SELECT name FROM pragma_table_xinfo(?1) WHERE hidden <> 1"
		" AND (lower(name) GLOB '*period*' OR lower(name) GLOB '*month*'"
		"  OR lower(name) GLOB '*year*' OR lower(name) GLOB '*date*')"
		" ORDER BY lower(name) GLOB '*period*' DESC,"
		"  lower(name) GLOB '*month*' DESC, cid LIMIT 1",
		g->table, NULL, &column, err);
	if (r < 0 || !column)
		return r;
	*dim = (struct guess_dim){.name = strdup("period"), .column = column};
	g->n_dims++;
	return dim->name ? 0 : -ENOMEM;
}

static int put_guess(const struct guess_model *g, const char *name,
		     struct buf *ret)
{
	struct json j = JSON_INIT(ret);

	json_begin_object(&j);
	json_key_string(&j, "name", name);
	json_key(&j, "pov");
	json_begin_array(&j);
	for (size_t i = 0; i < g->n_dims; i++) {
		const struct guess_dim *dim = &g->dims[i];

		json_begin_object(&j);
		json_key_string(&j, "name", dim->name);
		if (dim->table) {
			json_key_string(&j, "table", dim->table);
			json_key_string(&j, "key", dim->key);
			json_key_string(&j, "label", dim->label);
		}
		json_end_object(&j);
	}
	json_end_array(&j);
	json_key_string(&j, "setup", "*");
	json_key(&j, "data");
	json_begin_array(&j);
	json_begin_object(&j);
	json_key_string(&j, "table", g->table);
	json_key(&j, "pov");
	json_begin_object(&j);
	for (size_t i = 0; i < g->n_dims; i++)
		json_key_string(&j, g->dims[i].name, g->dims[i].column);
	json_end_object(&j);
	json_end_object(&j);
	json_end_array(&j);
	json_end_object(&j);
	json_end_document(&j);
	return buf_error(ret);
}

int artifact_suggest(const char *path, struct buf *ret, struct err *err)
{
	CLEANUP(guess_model_deinit) struct guess_model g = {.n_dims = 0};
	CLEANUP(db_freep) struct db *db = NULL;
	struct db_config config = {
		.path = path, .readonly = true, .busy_ms = 5000};
	const char *name = strrchr(path, '/');
	int r;

	name = name ? name + 1 : path;
	r = db_open(&config, &db, err);
	if (r == 0)
		r = get_text(db, find_table, NULL, NULL, &g.table, err);
	if (r == 0 && !g.table)
		return err_set(
			err, -ENODATA,
			"no table of '%s' looks like data by points of view (foreign keys, or columns named period, month, year or date): write a model by hand, see outboxfs-model(5)",
			path);
	if (r == 0)
		r = add_references(db, &g, err);
	if (r == 0)
		r = add_period(db, &g, err);
	return r < 0 ? r : put_guess(&g, name, ret);
}
