/* SPDX-License-Identifier: MIT */
/*
 * Binding a model to the schema: does every table and column that it names
 * exist, can triggers see its changes, and what does the schema say that the
 * model need not (affinities, keys, indexes)?
 */
#include "artifact/check.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "outboxfs/base/buf.h"

/* Affinity of a declared type (SQLite, "Datatypes In SQLite", 3.1). */
static enum affinity affinity_of(const char *type, bool strict)
{
	CLEANUP(freep) char *t = strdup(type);
	enum affinity a = AFFINITY_NUMERIC;

	if (!t)
		return AFFINITY_BLOB;
	for (char *p = t; *p; p++)
		if (*p >= 'a' && *p <= 'z')
			*p = (char)(*p - 'a' + 'A');
	if (strict && strcmp(t, "ANY") == 0)
		a = AFFINITY_BLOB;
	else if (strstr(t, "INT"))
		a = AFFINITY_INTEGER;
	else if (strstr(t, "CHAR") || strstr(t, "CLOB") || strstr(t, "TEXT"))
		a = AFFINITY_TEXT;
	else if (strstr(t, "BLOB") || !*t)
		a = AFFINITY_BLOB;
	else if (strstr(t, "REAL") || strstr(t, "FLOA") || strstr(t, "DOUB"))
		a = AFFINITY_REAL;
	return a;
}

static const char *text(struct arena *arena, sqlite3_stmt *stmt, int column)
{
	const char *s = (const char *)sqlite3_column_text(stmt, column);

	return arena_strdup(arena, s ? s : "");
}

const struct model_column *model_column(const struct model_table *t,
					const char *name)
{
	for (size_t i = 0; i < t->n_columns; i++)
		if (sqlite3_stricmp(t->columns[i].name, name) == 0)
			return &t->columns[i];
	return NULL;
}

/* What must be an ordinary table is looked up; its spelling is corrected. */
static int bind_kind(struct model *m, struct db *db, struct model_table *t,
		     bool *ret_strict, struct err *err)
{
	CLEANUP(db_finalize) sqlite3_stmt *stmt = NULL;
	const char *type;
	int r;

	r = db_prepare(
		db,
		"SELECT name, type, wr, strict FROM pragma_table_list(?1)"
		" WHERE schema = 'main'",
		&stmt, err);
	if (r < 0)
		return r;
	sqlite3_bind_text(stmt, 1, t->name, -1, SQLITE_STATIC);
	r = db_step(stmt);
	if (r < 0)
		return err_set(err, r, "cannot read the schema");
	if (r == 0)
		return err_set(
			err, -EINVAL,
			"model: the database has no table '%s': correct the name, or take it out of the model",
			t->name);
	type = (const char *)sqlite3_column_text(stmt, 1);
	if (strcmp(type, "table") != 0)
		return err_set(
			err, -EINVAL,
			"model: '%s' is a %s%s, and changes can be tracked in ordinary tables only: name the table that its rows come from",
			t->name, type,
			strcmp(type, "view") == 0 ? "" : " table");
	if (sqlite3_strnicmp(t->name, "outboxfs_", 9) == 0 ||
	    sqlite3_strnicmp(t->name, "sqlite_", 7) == 0)
		return err_set(err, -EINVAL,
			       "model: table '%s' is not the users' own",
			       t->name);
	t->name = text(&m->arena, stmt, 0);
	t->without_rowid = sqlite3_column_int(stmt, 2);
	*ret_strict = sqlite3_column_int(stmt, 3);
	return t->name ? 0 : -ENOMEM;
}

static int bind_columns(struct model *m, struct db *db, struct model_table *t,
			bool strict, struct err *err)
{
	CLEANUP(db_finalize) sqlite3_stmt *stmt = NULL;
	size_t n = 0;
	int r;

	r = db_prepare(db,
		       "SELECT name, type, \"notnull\", pk, hidden,"
		       " count(*) OVER () FROM pragma_table_xinfo(?1)"
		       " WHERE hidden <> 1 ORDER BY cid",
		       &stmt, err);
	if (r < 0)
		return r;
	sqlite3_bind_text(stmt, 1, t->name, -1, SQLITE_STATIC);
	while ((r = db_step(stmt)) == 1) {
		struct model_column *c;

		if (!t->columns)
			t->columns = ARENA_ARRAY(
				&m->arena, struct model_column,
				(size_t)sqlite3_column_int(stmt, 5));
		if (!t->columns)
			return -ENOMEM;
		c = &t->columns[n++];
		c->name = text(&m->arena, stmt, 0);
		c->type = text(&m->arena, stmt, 1);
		if (!c->name || !c->type)
			return -ENOMEM;
		c->affinity = affinity_of(c->type, strict);
		c->pk = sqlite3_column_int(stmt, 3);
		c->notnull = sqlite3_column_int(stmt, 2) ||
			     (c->pk && t->without_rowid);
		c->generated = sqlite3_column_int(stmt, 4) >= 2;
		c->binary = true;
	}
	t->n_columns = n;
	return r < 0 ? err_set(err, r, "cannot read the columns of '%s'",
			       t->name)
		     : 0;
}

/* Collation of each column, which no pragma lists. */
static int bind_collations(struct model *m, struct db *db,
			   struct model_table *t)
{
	for (size_t i = 0; i < t->n_columns; i++) {
		const char *collation = "BINARY";

		if (sqlite3_table_column_metadata(
			    db_handle(db), "main", t->name, t->columns[i].name,
			    NULL, &collation, NULL, NULL, NULL) != SQLITE_OK)
			collation = "BINARY";
		t->columns[i].binary = sqlite3_stricmp(collation, "BINARY") ==
				       0;
		t->columns[i].collation = arena_strdup(&m->arena, collation);
		if (!t->columns[i].collation)
			return -ENOMEM;
	}
	return 0;
}

/* A name for the rowid that no column has taken. */
static const char *rowid_name(const struct model_table *t)
{
	static const char *const names[] = {"rowid", "_rowid_", "oid"};

	if (t->without_rowid)
		return NULL;
	for (size_t i = 0; i < 3; i++)
		if (!model_column(t, names[i]))
			return names[i];
	return NULL;
}

/* One unique index as a key. */
static int bind_key(struct model *m, struct db *db, struct model_table *t,
		    const char *index, struct err *err)
{
	CLEANUP(db_finalize) sqlite3_stmt *stmt = NULL;
	struct model_key *key = &t->keys[t->n_keys];
	const char **columns;
	const char **collations;
	size_t n = 0;
	int r;

	columns = ARENA_ARRAY(&m->arena, const char *, t->n_columns + 1);
	collations = ARENA_ARRAY(&m->arena, const char *, t->n_columns + 1);
	if (!columns || !collations)
		return -ENOMEM;
	r = db_prepare(db,
		       "SELECT name, coll FROM pragma_index_xinfo(?1)"
		       " WHERE key ORDER BY seqno",
		       &stmt, err);
	if (r < 0)
		return r;
	sqlite3_bind_text(stmt, 1, index, -1, SQLITE_STATIC);
	while ((r = db_step(stmt)) == 1) {
		if (sqlite3_column_type(stmt, 0) == SQLITE_NULL)
			return err_set(
				err, -EINVAL,
				"model: table '%s' has a unique index '%s' on an expression, and rows that REPLACE deletes through it cannot be tracked: make it an index on columns",
				t->name, index);
		columns[n] = text(&m->arena, stmt, 0);
		collations[n] = text(&m->arena, stmt, 1);
		n++;
	}
	if (r < 0)
		return err_set(err, r, "cannot read index '%s'", index);
	key->columns = columns;
	key->collations = collations;
	t->n_keys++;
	return 0;
}

/* The rowid, where the primary key is not an index of its own. */
static int bind_rowid_key(struct model *m, struct model_table *t)
{
	struct model_key *key = &t->keys[t->n_keys];
	const char **columns = ARENA_ARRAY(&m->arena, const char *, 2);
	const char **collations = ARENA_ARRAY(&m->arena, const char *, 2);

	if (!columns || !collations)
		return -ENOMEM;
	if (!t->rowid)
		return 0;
	columns[0] = t->rowid;
	collations[0] = "BINARY";
	key->columns = columns;
	key->collations = collations;
	t->n_keys++;
	return 0;
}

static int bind_keys(struct model *m, struct db *db, struct model_table *t,
		     struct err *err)
{
	CLEANUP(db_finalize) sqlite3_stmt *stmt = NULL;
	int r;

	t->keys = NULL;
	r = db_prepare(db,
		       "SELECT name, count(*) OVER ()"
		       " FROM pragma_index_list(?1) WHERE \"unique\"",
		       &stmt, err);
	if (r < 0)
		return r;
	sqlite3_bind_text(stmt, 1, t->name, -1, SQLITE_STATIC);
	while ((r = db_step(stmt)) == 1) {
		size_t n = (size_t)sqlite3_column_int(stmt, 1);

		if (!t->keys)
			t->keys =
				ARENA_ARRAY(&m->arena, struct model_key, n + 1);
		if (!t->keys)
			return -ENOMEM;
		r = bind_key(m, db, t,
			     (const char *)sqlite3_column_text(stmt, 0), err);
		if (r < 0)
			return r;
	}
	if (r < 0)
		return err_set(err, r, "cannot read the indexes of '%s'",
			       t->name);
	if (!t->keys)
		t->keys = ARENA_ARRAY(&m->arena, struct model_key, 1);
	if (!t->keys)
		return -ENOMEM;
	t->rowid = rowid_name(t);
	return t->without_rowid ? 0 : bind_rowid_key(m, t);
}

static int no_column(const struct model_table *t, const char *name,
		     const char *what, struct err *err)
{
	return err_set(
		err, -EINVAL,
		"model: table '%s' has no column '%s' (named as %s): correct the name, or add the column to the table",
		t->name, name, what);
}

static int bind_pov(struct model *m, struct model_table *t, struct err *err)
{
	for (size_t i = 0; i < m->n_dims; i++) {
		const struct model_column *c = model_column(t, t->pov[i]);

		if (!c)
			return no_column(t, t->pov[i], m->dims[i].name, err);
		t->pov[i] = c->name;
		t->pov_nullable[i] = !c->notnull;
	}
	if (t->rule && !model_column(t, t->rule))
		return no_column(t, t->rule, "load rule", err);
	return 0;
}

static int bind_order(struct model_table *t, struct err *err)
{
	for (const char *const *o = t->order; *o; o++)
		if (!model_column(t, *o))
			return no_column(t, *o, "order", err);
	if (t->without_rowid || t->rowid)
		return 0;
	for (size_t i = 0; i < t->n_columns; i++)
		if (t->columns[i].pk)
			return 0;
	return err_set(
		err, -EINVAL,
		"model: table '%s' has no primary key, and columns hide its rowid, so its rows have no lasting order: give it a primary key",
		t->name);
}

/* Does an index begin with the POV columns, in the model's order? */
static int bind_pov_index(struct model *m, struct db *db, struct model_table *t,
			  struct err *err)
{
	CLEANUP(db_finalize) sqlite3_stmt *stmt = NULL;
	size_t hits = 0;
	int r;

	r = db_prepare(db,
		       "SELECT x.seqno, x.name FROM pragma_index_list(?1) AS l,"
		       " pragma_index_xinfo(l.name) AS x WHERE NOT l.partial"
		       " AND x.key AND x.coll = 'BINARY'"
		       " ORDER BY l.seq, x.seqno",
		       &stmt, err);
	if (r < 0)
		return r;
	sqlite3_bind_text(stmt, 1, t->name, -1, SQLITE_STATIC);
	while ((r = db_step(stmt)) == 1 && hits < m->n_dims) {
		size_t seq = (size_t)sqlite3_column_int(stmt, 0);
		const char *name = (const char *)sqlite3_column_text(stmt, 1);

		if (seq == 0)
			hits = 0;
		if (seq == hits && name && strcmp(name, t->pov[hits]) == 0)
			hits++;
	}
	t->pov_indexed = hits == m->n_dims;
	return r < 0 ? err_set(err, r, "cannot read the indexes of '%s'",
			       t->name)
		     : 0;
}

static int bind_table(struct model *m, struct db *db, struct model_table *t,
		      struct err *err)
{
	bool strict = false;
	int r;

	r = bind_kind(m, db, t, &strict, err);
	if (r == 0)
		r = bind_columns(m, db, t, strict, err);
	if (r == 0)
		r = bind_collations(m, db, t);
	if (r == 0)
		r = bind_keys(m, db, t, err);
	if (r == 0)
		r = bind_order(t, err);
	if (r < 0 || t->role == MODEL_SETUP)
		return r;
	r = bind_pov(m, t, err);
	if (r == 0)
		r = bind_pov_index(m, db, t, err);
	t->slot = m->n_slots++;
	return r;
}

/* Every ordinary table of the users. */
static const char all_tables[] =
	"SELECT name FROM pragma_table_list"
	" WHERE schema = 'main' AND type = 'table'"
	" AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
	" AND name NOT LIKE 'outboxfs\\_%' ESCAPE '\\' ORDER BY name";

int model_expand(struct model *m, struct db *db, const char *sql,
		 struct err *err)
{
	CLEANUP(db_finalize) sqlite3_stmt *stmt = NULL;
	static const char *const none[] = {NULL};
	int r;

	if (!m->setup_all)
		return 0;
	r = db_prepare(db, sql, &stmt, err);
	while (r == 0 && (r = db_step(stmt)) == 1) {
		const char *name = (const char *)sqlite3_column_text(stmt, 0);
		struct model_table *t = &m->tables[m->n_tables];

		r = 0;
		if (model_find(m, name) ||
		    (m->process_table &&
		     sqlite3_stricmp(m->process_table, name) == 0))
			continue;
		if (m->n_tables >= MODEL_TABLES_MAX)
			return err_set(err, -EINVAL,
				       "model: more than %d tables",
				       MODEL_TABLES_MAX);
		*t = (struct model_table){
			.role = MODEL_SETUP, .slot = -1, .order = none};
		t->name = arena_strdup(&m->arena, name);
		if (!t->name)
			return -ENOMEM;
		m->n_tables++;
	}
	if (r < 0)
		return err_set(err, r, "cannot read the schema");
	m->setup_all = false;
	return 0;
}

/* Is one column alone a key of the table? */
static bool is_unique(const struct model_table *t, const char *column)
{
	size_t n_pk = 0;
	bool pk = false;

	for (size_t i = 0; i < t->n_columns; i++) {
		if (!t->columns[i].pk)
			continue;
		n_pk++;
		if (sqlite3_stricmp(t->columns[i].name, column) == 0)
			pk = true;
	}
	if (pk && n_pk == 1)
		return true;
	for (size_t i = 0; i < t->n_keys; i++)
		if (t->keys[i].columns[0] && !t->keys[i].columns[1] &&
		    sqlite3_stricmp(t->keys[i].columns[0], column) == 0)
			return true;
	return false;
}

/* A table that the model names beside its setup, data and status tables. */
static int look_at(struct model *m, struct db *db, const char *name,
		   struct model_table *ret, struct err *err)
{
	static const char *const none[] = {NULL};
	bool strict = false;
	int r;

	*ret = (struct model_table){.name = name, .slot = -1, .order = none};
	r = bind_kind(m, db, ret, &strict, err);
	if (r == 0)
		r = bind_columns(m, db, ret, strict, err);
	if (r == 0)
		r = bind_collations(m, db, ret);
	if (r == 0)
		r = bind_keys(m, db, ret, err);
	return r;
}

static int bind_dim(struct model *m, struct db *db, struct model_dim *dim,
		    struct err *err)
{
	struct model_table *bound;
	struct model_table t;
	int r;

	if (!dim->table)
		return 0;
	r = look_at(m, db, dim->table, &t, err);
	if (r < 0)
		return r;
	if (!model_column(&t, dim->key))
		return no_column(&t, dim->key, "key", err);
	if (!model_column(&t, dim->label))
		return no_column(&t, dim->label, "label", err);
	if (!is_unique(&t, dim->key))
		return err_set(
			err, -EINVAL,
			"model: column '%s' of table '%s' is the key of dimension '%s' but nothing makes it unique: add a primary key or a unique index",
			dim->key, t.name, dim->name);
	bound = ARENA_ARRAY(&m->arena, struct model_table, 1);
	if (!bound)
		return -ENOMEM;
	*bound = t;
	dim->bound = bound;
	dim->table = t.name;
	dim->key = model_column(&t, dim->key)->name;
	dim->label = model_column(&t, dim->label)->name;
	return 0;
}

static int bind_process(struct model *m, struct db *db, struct err *err)
{
	struct model_table t;
	int r;

	if (!m->process_table)
		return 0;
	r = look_at(m, db, m->process_table, &t, err);
	if (r == 0 && !model_column(&t, m->process_key))
		r = no_column(&t, m->process_key, "key of the process", err);
	return r;
}

static int bind_orphans(struct model *m, struct db *db, struct err *err)
{
	for (size_t i = 0; i < m->n_orphans; i++) {
		struct model_orphan *o = &m->orphans[i];
		struct model_table t;
		int r;

		r = look_at(m, db, o->table, &t, err);
		if (r < 0)
			return r;
		if (!model_column(&t, o->column))
			return no_column(&t, o->column, "orphan check", err);
		o->table = t.name;
	}
	return 0;
}

static int bind_record(struct model *m, struct db *db,
		       struct model_record *record, struct err *err)
{
	const char *const names[] = {record->modified, record->deleted,
				     record->copies};
	struct model_table t;
	int r;

	r = look_at(m, db, record->table, &t, err);
	if (r < 0)
		return r;
	record->table = t.name;
	if (!model_find(m, t.name))
		return err_set(
			err, -EINVAL,
			"model: table '%s' holds records and is not tracked: list it in 'setup' or 'data'",
			t.name);
	for (const char *const *k = record->key; *k; k++)
		if (!model_column(&t, *k))
			return no_column(&t, *k, "key of records", err);
	for (size_t i = 0; i < 3; i++)
		if (names[i] && !model_column(&t, names[i]))
			return no_column(&t, names[i], "records", err);
	for (size_t i = 0; i < record->n_components; i++) {
		struct model_component *c = &record->components[i];

		r = look_at(m, db, c->table, &t, err);
		if (r < 0)
			return r;
		if (!model_column(&t, c->column))
			return no_column(&t, c->column, "component", err);
		c->table = t.name;
	}
	return 0;
}

int model_bind(struct model *m, struct db *db, struct err *err)
{
	int r;

	r = model_expand(m, db, all_tables, err);
	for (size_t i = 0; r == 0 && i < m->n_tables; i++)
		r = bind_table(m, db, &m->tables[i], err);
	for (size_t i = 0; r == 0 && i < m->n_dims; i++)
		r = bind_dim(m, db, &m->dims[i], err);
	if (r == 0)
		r = bind_process(m, db, err);
	if (r == 0)
		r = bind_orphans(m, db, err);
	for (size_t i = 0; r == 0 && i < m->n_records; i++)
		r = bind_record(m, db, &m->records[i], err);
	return r;
}

int model_fingerprint(const struct model_table *t, char **ret)
{
	CLEANUP(buf_deinit) struct buf b = BUF_NULL;

	for (size_t i = 0; i < t->n_columns; i++) {
		const struct model_column *c = &t->columns[i];

		db_quote_name(&b, c->name);
		buf_printf(&b, " %s %d %d %d\n", c->type, c->notnull, c->pk,
			   c->generated);
	}
	for (size_t i = 0; i < t->n_keys; i++) {
		buf_puts(&b, "unique(");
		for (size_t j = 0; t->keys[i].columns[j]; j++) {
			buf_putc(&b, j ? ',' : ' ');
			db_quote_name(&b, t->keys[i].columns[j]);
		}
		buf_puts(&b, ")\n");
	}
	*ret = buf_steal(&b);
	return *ret ? 0 : -ENOMEM;
}
