/* SPDX-License-Identifier: MIT */

/*
 * Model documents, and the SQL that is made of them. Whatever parses and fits
 * a small database must give SQL that SQLite accepts: tables, triggers, the
 * registry, and every statement that reads.
 */

#include <assert.h>
#include <errno.h>
#include <stdio.h>

#include "artifact/check.h"
#include "artifact/meta.h"
#include "artifact/track.h"
#include "artifact/world.h"
#include "outboxfs/format/json-check.h"

#include "fuzz.h"

static const char schema[] =
	"CREATE TABLE l(id INTEGER PRIMARY KEY, name TEXT COLLATE NOCASE);"
	"CREATE TABLE \"c\"\"d\"(\"a b\" TEXT UNIQUE, \"'x'\" INT);"
	"CREATE TABLE f(i INTEGER PRIMARY KEY, a INT, b TEXT, p, r INT,"
	" g AS (a + 1), UNIQUE(b, r));"
	"CREATE TABLE w(a, b, p, n, PRIMARY KEY(a, b, p, n)) WITHOUT ROWID;"
	"CREATE TABLE s(a INT, b TEXT COLLATE NOCASE, p BLOB);"
	"CREATE VIEW v AS SELECT 1 AS a;"
	"INSERT INTO f(a, b, p) VALUES(1, 'x', NULL), (2, 'y', x'00');"
	"INSERT INTO w VALUES(1, 2, 3, 4); INSERT INTO s VALUES(NULL, 'X', 1.5);";

static void must(struct db *db, const char *sql)
{
	struct err err = ERR_NULL;
	int r = db_exec(db, sql, &err);

	if (r < 0)
		fprintf(stderr, "%s\n%s\n", err.text, sql);
	assert(r == 0);
}

static void install(struct db *db, struct model *m)
{
	CLEANUP(buf_deinit) struct buf b = BUF_NULL;

	for (size_t i = 0; i < m->n_tables; i++)
		m->tables[i].id = (int64_t)i + 1;
	buf_puts(&b, META_TABLES);
	track_put_tables(&b, m);
	track_put_indexes(&b, m, true);
	track_put_registry(&b, m, 1, 1);
	track_put_triggers(&b, m);
	assert(buf_str(&b));
	must(db, buf_str(&b));
	/* Every trigger is compiled when something fires it. */
	must(db,
	     "UPDATE f SET a = a + 1, b = b || 'z';"
	     "INSERT OR REPLACE INTO f SELECT * FROM (SELECT i, a, b, p, r FROM f);"
	     "DELETE FROM s; DELETE FROM w; DELETE FROM l; INSERT INTO l VALUES(1, 'n')");
}

static void prepare_all(struct db *db, struct model *m)
{
	struct artifact_world w = {.model = m};
	int r = query_build(&w);

	assert(r == 0);
	for (size_t i = 0; i < w.n_sql; i++) {
		CLEANUP(db_finalize) sqlite3_stmt *stmt = NULL;
		struct err err = ERR_NULL;

		if (!w.sql[i])
			continue;
		r = db_prepare(db, w.sql[i], &stmt, &err);
		if (r < 0)
			fprintf(stderr, "%s\n%s\n", err.text, w.sql[i]);
		assert(r == 0);
	}
	arena_deinit(&w.arena);
	free(w.sql);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(model_freep) struct model *model = NULL;
	CLEANUP(db_freep) struct db *db = NULL;
	struct db_config config = {.path = NULL, .create = true};
	struct err err = ERR_NULL;
	int r;

	/* Whatever the parser thinks of it: no byte beyond the text is read. */
	r = json_check((const char *)data, size, &err);
	assert(r == 0 || err.text[0] || r == -ENOMEM);
	if (model_parse((const char *)data, size, &model, &err) < 0) {
		assert(err.text[0]);
		return 0;
	}
	r = db_open(&config, &db, &err);
	assert(r == 0);
	must(db, schema);
	if (model_bind(model, db, &err) < 0) {
		assert(err.text[0]);
		return 0;
	}
	install(db, model);
	prepare_all(db, model);
	return 0;
}
