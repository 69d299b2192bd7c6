/* SPDX-License-Identifier: MIT */
/*
 * The statements of a model: the one place, beside track.c, where SQL is put
 * together that names the users' own tables. Every identifier is quoted; no
 * value ever becomes part of the text.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "artifact/track.h"
#include "artifact/world.h"
#include "outboxfs/base/buf.h"

static int set(struct artifact_world *w, size_t id, struct buf *b)
{
	if (buf_error(b))
		return buf_error(b);
	w->sql[id] = arena_strndup(&w->arena, b->data, b->len);
	buf_clear(b);
	return w->sql[id] ? 0 : -ENOMEM;
}

static const char *const fixed[] = {
	[Q_SCHEMA_VERSION] = "PRAGMA schema_version",
	[Q_DATA_VERSION] = "PRAGMA data_version",
	[Q_TIMELINE] = "SELECT timeline FROM outboxfs_model",
	[Q_CHANGE] = "SELECT change FROM outboxfs_change",
	[Q_OPEN_TABLE] = "SELECT 1 FROM outboxfs_open_table WHERE id = ?1",
	[Q_DIR] = "SELECT parent, value, time FROM outboxfs_dir WHERE id = ?1",
	[Q_DIR_FIND] = "SELECT id FROM outboxfs_dir"
		       " WHERE parent = ?1 AND value IS ?2",
	[Q_DIR_ADD] = "INSERT INTO outboxfs_dir(parent, value, time)"
		      " VALUES(?1, ?2, ?3)",
	[Q_DIR_TOUCH] = "UPDATE outboxfs_dir SET time = max(?2, time + 1)"
			" WHERE id = ?1",
	[Q_POV_COUNT] = "SELECT count(*) FROM outboxfs_pov WHERE parent > 0",
	[Q_TABLE] = "SELECT change, time FROM outboxfs_table WHERE id = ?1",
	[Q_HAS_LABELS] = "SELECT EXISTS (SELECT 1 FROM outboxfs_label)",
	[Q_CHANGE_NEXT] = "UPDATE outboxfs_change SET change = change + 1"
			  " RETURNING change, time",
	[Q_CHANGE_TIME] = "UPDATE outboxfs_change SET time = max(time, ?1,"
			  " ifnull((SELECT max(time) FROM outboxfs_label), 0))",
	[Q_OPEN_LABEL_DIMS] = "SELECT dim, max(time) FROM outboxfs_open_label"
			      " GROUP BY dim",
	[Q_POV_LIVE] = "UPDATE outboxfs_pov SET live = ?2"
		       " WHERE id = ?1 AND live <> ?2 RETURNING parent",
	[Q_FOLD_TABLES] =
		"UPDATE outboxfs_table SET change = ?1,"
		" time = max(o.time, outboxfs_table.time + 1)"
		" FROM outboxfs_open_table AS o WHERE o.id = outboxfs_table.id",
	[Q_FOLD_TABLES_DONE] = "DELETE FROM outboxfs_open_table",
	[Q_FOLD_LABELS] =
		"INSERT INTO outboxfs_label(dim, key, had, label, change, time)"
		" SELECT dim, key, had, label, ?1,"
		" max(time, (SELECT time FROM outboxfs_change) + 1)"
		" FROM outboxfs_open_label"
		" WHERE true ON CONFLICT(dim, key) DO UPDATE"
		" SET had = excluded.had, label = excluded.label, change = ?1,"
		" time = excluded.time",
	[Q_FOLD_LABELS_DONE] = "DELETE FROM outboxfs_open_label",
	[Q_FOLD_TOMBSTONES] = "UPDATE outboxfs_tombstone SET change = ?1"
			      " WHERE change IS NULL",
	[Q_CHANGED_TABLES] =
		"SELECT id FROM outboxfs_table WHERE change > ?1 AND slot < 0",
	[Q_CHANGED_LABELS] = "SELECT dim, key, had, label FROM outboxfs_label"
			     " WHERE change > ?1",
};

/* WHERE v1 IS ?from AND v2 IS ?from+1 … for the registry's own tables. */
static void put_values(struct buf *b, const struct model *m, int from)
{
	for (size_t i = 0; i < m->n_dims; i++)
		buf_printf(b, "%sv%zu IS ?%d", i ? " AND " : " WHERE ", i + 1,
			   from + (int)i);
}

/*
 * One POV column of a user's table compared with an expression. Where the
 * column collates otherwise than BINARY, two values that it takes for equal
 * are two POVs; the index still narrows the search.
 */
static void put_same(struct buf *b, const struct model_table *t, size_t dim,
		     const char *expr)
{
	db_quote_name(b, t->pov[dim]);
	buf_printf(b, " IS %s", expr);
	if (model_column(t, t->pov[dim])->binary)
		return;
	buf_puts(b, " AND ");
	db_quote_name(b, t->pov[dim]);
	buf_printf(b, " COLLATE BINARY IS %s", expr);
}

static void put_pov_where(struct buf *b, const struct model *m,
			  const struct model_table *t, int from)
{
	char param[16];

	for (size_t i = 0; i < m->n_dims; i++) {
		(void)snprintf(param, sizeof(param), "?%d", from + (int)i);
		buf_puts(b, i ? " AND " : " WHERE ");
		put_same(b, t, i, param);
	}
}

/* Does the table have rows below the child c of a directory at this level? */
static void put_alive(struct buf *b, const struct model *m,
		      const struct model_table *t, size_t level)
{
	char param[16];

	buf_puts(b, "EXISTS (SELECT 1 FROM ");
	db_quote_name(b, t->name);
	buf_puts(b, " WHERE ");
	for (size_t i = 0; i < level; i++) {
		(void)snprintf(param, sizeof(param), "?%d", 3 + (int)i);
		put_same(b, t, i, param);
		buf_puts(b, " AND ");
	}
	if (level + 1 == m->n_dims)
		(void)snprintf(param, sizeof(param), "+c.v%zu", level + 1);
	else
		(void)snprintf(param, sizeof(param), "+c.value");
	put_same(b, t, level, param);
	buf_puts(b, ")");
}

static void put_any_alive(struct buf *b, const struct model *m, size_t level)
{
	bool pov = level + 1 == m->n_dims;

	for (int slot = 0; slot < m->n_slots; slot++) {
		buf_puts(b, slot ? " OR " : ", (");
		if (pov)
			buf_printf(b, "(c.c%d > 0 AND ", slot);
		put_alive(b, m, model_slot(m, slot), level);
		if (pov)
			buf_puts(b, ")");
	}
	buf_puts(b, m->n_slots ? ")" : ", 0");
}

/*
 * The row of a dimension's table whose key is the value of an expression, and
 * not merely equal to it by the column's affinity or collation: POVs are told
 * apart exactly, and two of them must not share a row, hence a name.
 */
static void put_is_key(struct buf *b, const struct model_dim *d,
		       const char *expr)
{
	buf_puts(b, "d.");
	db_quote_name(b, d->key);
	buf_printf(b, " = %s AND +d.", expr);
	db_quote_name(b, d->key);
	buf_printf(b, " COLLATE BINARY IS %s", expr);
}

/*
 * id, value, has a label, label, the label is not unique, time, has rows; of
 * the children of a directory (or of one child). ?1 and ?2 are parent and the
 * id to start after (or id twice), ?3… the values of the directory.
 */
static void put_children(struct buf *b, const struct model *m, size_t level,
			 bool one)
{
	const struct model_dim *d = &m->dims[level];
	bool pov = level + 1 == m->n_dims;
	char value[16];

	if (pov)
		buf_printf(b, "SELECT c.id, c.v%zu", level + 1);
	else
		buf_puts(b, "SELECT c.id, c.value");
	if (d->table) {
		buf_puts(b, ", d.");
		db_quote_name(b, d->key);
		buf_puts(b, " IS NOT NULL, d.");
		db_quote_name(b, d->label);
		buf_puts(b, ", (SELECT count(*) FROM (SELECT 1 FROM ");
		db_quote_name(b, d->table);
		buf_puts(b, " AS x WHERE x.");
		db_quote_name(b, d->label);
		buf_puts(b, " IS d.");
		db_quote_name(b, d->label);
		buf_puts(b, " LIMIT 2)) > 1");
	} else {
		buf_puts(b, ", 0, NULL, 0");
	}
	buf_puts(b, ", c.time");
	put_any_alive(b, m, level);
	buf_printf(b, " FROM %s AS c", pov ? "outboxfs_pov" : "outboxfs_dir");
	if (d->table) {
		buf_puts(b, " LEFT JOIN ");
		db_quote_name(b, d->table);
		buf_puts(b, " AS d ON ");
		(void)snprintf(value, sizeof(value),
			       pov ? "+c.v%zu" : "+c.value", level + 1);
		put_is_key(b, d, value);
	}
	buf_puts(b, one ? " WHERE c.id = ?1 AND c.id = ?2"
			: " WHERE c.parent = ?1 AND c.id > ?2 ORDER BY c.id");
}

/* "SELECT column FROM table": of a dimension. */
static void put_select(struct buf *b, const struct model_dim *d,
		       const char *column)
{
	buf_puts(b, "SELECT ");
	db_quote_name(b, column);
	buf_puts(b, " FROM ");
	db_quote_name(b, d->table);
}

/*
 * WHERE: the mark is of the key that the dimension's table would find for ?1,
 * by its own collation and affinity, even if it has that row no more. One mark
 * too many makes a file look newer, which is harmless.
 */
static void put_label_key(struct buf *b, const struct model_dim *d, size_t dim)
{
	const struct model_column *key = model_column(d->bound, d->key);

	buf_printf(b, " WHERE dim = %zu AND key", dim);
	if (!key->binary) {
		buf_puts(b, " COLLATE ");
		db_quote_name(b, key->collation);
	}
	buf_puts(b, " IN (?1");
	if (key->affinity == AFFINITY_TEXT)
		buf_puts(b, ", CAST(?1 AS TEXT)");
	else if (key->affinity != AFFINITY_BLOB)
		buf_puts(b, ", CAST(?1 AS NUMERIC)");
	buf_puts(b, ")");
}

static int build_label_marks(struct artifact_world *w, size_t i, struct buf *b)
{
	const struct model_dim *d = &w->model->dims[i];
	int r;

	buf_puts(b, "SELECT max(change), max(time) FROM outboxfs_label");
	put_label_key(b, d, i);
	r = set(w, Q_LABEL_MARK + i, b);
	if (r < 0)
		return r;
	buf_puts(b, "SELECT 1 FROM outboxfs_open_label");
	put_label_key(b, d, i);
	buf_puts(b, " LIMIT 1");
	return set(w, Q_OPEN_LABEL + i, b);
}

/* Statements over the table of a dimension. */
static int build_labels(struct artifact_world *w, size_t i, struct buf *b)
{
	const struct model_dim *d = &w->model->dims[i];
	int r;

	put_select(b, d, d->label);
	buf_puts(b, " AS d WHERE ");
	put_is_key(b, d, "?1");
	r = set(w, Q_LABEL + i, b);
	if (r < 0)
		return r;

	put_select(b, d, d->key);
	buf_puts(b, " WHERE ");
	db_quote_name(b, d->label);
	buf_puts(b, " IS ?1 LIMIT 1000");
	r = set(w, Q_KEYS + i, b);
	if (r < 0)
		return r;

	put_select(b, d, d->key);
	buf_puts(b, " WHERE ");
	db_quote_name(b, d->key);
	buf_puts(b, " = ?1 LIMIT 1");
	r = set(w, Q_HAS_KEY + i, b);
	if (r < 0)
		return r;

	put_select(b, d, d->key);
	buf_puts(b, " WHERE ");
	db_quote_name(b, d->label);
	buf_puts(b, " >= ?1 AND ");
	db_quote_name(b, d->label);
	buf_puts(b, " < ?2");
	r = set(w, Q_NEAR_LABEL + i, b);
	return r < 0 ? r : build_label_marks(w, i, b);
}

/* The directories with this many values. */
static void put_level(struct buf *b, size_t level)
{
	for (size_t i = 0; i < level; i++)
		buf_puts(b, "parent IN (SELECT id FROM outboxfs_dir WHERE ");
	buf_puts(b, "id = 1");
	for (size_t i = 0; i < level; i++)
		buf_puts(b, ")");
}

static int build_dim(struct artifact_world *w, size_t i, struct buf *b)
{
	const struct model *m = w->model;
	const struct model_dim *d = &m->dims[i];
	bool pov = i + 1 == m->n_dims;
	int r;

	put_children(b, m, i, false);
	r = set(w, Q_LIST + i, b);
	if (r < 0)
		return r;
	put_children(b, m, i, true);
	r = set(w, Q_GET + i, b);
	if (r < 0)
		return r;

	/* Every directory at this level. */
	buf_puts(b, "SELECT id FROM outboxfs_dir WHERE ");
	put_level(b, i);
	buf_puts(b, " LIMIT ?1");
	r = set(w, Q_DIRS_AT + i, b);
	if (r < 0)
		return r;
	buf_puts(b, "UPDATE outboxfs_dir SET time = max(?1, time + 1) WHERE ");
	put_level(b, i);
	r = set(w, Q_TOUCH_LEVEL + i, b);
	if (r < 0)
		return r;

	/* Children whose value lies in a range; ?3… as for the children. */
	if (pov) {
		buf_printf(b, "SELECT v%zu FROM outboxfs_pov WHERE ", i + 1);
		for (size_t j = 0; j < i; j++)
			buf_printf(b, "v%zu IS ?%zu AND ", j + 1, j + 3);
		buf_printf(b, "v%zu >= ?1 AND v%zu < ?2", i + 1, i + 1);
	} else {
		buf_puts(b, "SELECT value FROM outboxfs_dir WHERE parent = ?3"
			    " AND value >= ?1 AND value < ?2");
	}
	r = set(w, Q_NEAR + i, b);
	return r < 0 || !d->table ? r : build_labels(w, i, b);
}

static int build_slot(struct artifact_world *w, const struct model_table *t,
		      struct buf *b)
{
	const struct model *m = w->model;
	size_t slot = (size_t)t->slot;
	int r;

	buf_printf(b, "SELECT 1 FROM outboxfs_open_%zu", slot);
	for (size_t i = 0; i < m->n_dims; i++)
		buf_printf(b, "%sv%zu = ifnull(?%zu, 0)",
			   i ? " AND " : " WHERE ", i + 1, i + 1);
	buf_puts(b, " AND nulls = 0");
	for (size_t i = 0; i < m->n_dims; i++)
		buf_printf(b, " + %d * (?%zu IS NULL)", 1 << i, i + 1);
	r = set(w, Q_OPEN_MARK + slot, b);
	if (r < 0)
		return r;

	buf_printf(b,
		   "SELECT 1 FROM outboxfs_open_%zu AS o WHERE NOT EXISTS"
		   " (SELECT 1 FROM outboxfs_pov AS p",
		   slot);
	for (size_t i = 0; i < m->n_dims; i++)
		buf_printf(b,
			   "%sp.v%zu IS CASE WHEN o.nulls & %d THEN NULL"
			   " ELSE o.v%zu END",
			   i ? " AND " : " WHERE ", i + 1, 1 << i, i + 1);
	buf_puts(b, ") LIMIT 1");
	r = set(w, Q_UNREGISTERED + slot, b);
	if (r < 0)
		return r;

	buf_puts(b, "SELECT ");
	track_put_dims(b, m, "");
	buf_printf(b, ", nulls, time FROM outboxfs_open_%zu ORDER BY ", slot);
	track_put_dims(b, m, "");
	buf_printf(b, ", nulls LIMIT %d", FOLD_BATCH);
	r = set(w, Q_FOLD_READ + slot, b);
	if (r < 0)
		return r;

	buf_printf(b, "DELETE FROM outboxfs_open_%zu WHERE (", slot);
	track_put_dims(b, m, "");
	buf_puts(b, ", nulls) IN (SELECT ");
	track_put_dims(b, m, "");
	buf_printf(b, ", nulls FROM outboxfs_open_%zu ORDER BY ", slot);
	track_put_dims(b, m, "");
	buf_printf(b, ", nulls LIMIT %d)", FOLD_BATCH);
	r = set(w, Q_FOLD_DONE + slot, b);
	if (r < 0)
		return r;

	buf_printf(b,
		   "UPDATE outboxfs_pov SET c%zu = ?2,"
		   " t%zu = max(?3, ?4 + 1, t%zu + 1),"
		   " time = max(?3, ?4 + 1, time + 1)"
		   " WHERE id = ?1 RETURNING max(t%zu, time)",
		   slot, slot, slot, slot);
	r = set(w, Q_POV_MARK + slot, b);
	if (r < 0)
		return r;

	buf_printf(b, "SELECT id, parent FROM outboxfs_pov WHERE c%zu > ?1",
		   slot);
	r = set(w, Q_CHANGED_POVS + slot, b);
	if (r < 0)
		return r;

	buf_puts(b, "SELECT 1 FROM ");
	db_quote_name(b, t->name);
	put_pov_where(b, m, t, 1);
	buf_puts(b, " LIMIT 1");
	r = set(w, Q_EXISTS + slot, b);
	if (r < 0)
		return r;

	buf_puts(b, "DELETE FROM ");
	db_quote_name(b, t->name);
	put_pov_where(b, m, t, 1);
	r = set(w, Q_DELETE + slot, b);
	if (r < 0 || !t->rule)
		return r;

	buf_puts(b, "SELECT DISTINCT ");
	db_quote_name(b, t->rule);
	buf_puts(b, " FROM ");
	db_quote_name(b, t->name);
	put_pov_where(b, m, t, 1);
	return set(w, Q_RULES + slot, b);
}

/* What a capture wants to know. */
static int build_capture(struct artifact_world *w, struct buf *b)
{
	const struct model *m = w->model;
	int r;

	for (int i = 0; i < m->n_slots; i++)
		buf_printf(b, "%sSELECT id FROM outboxfs_pov WHERE c%d > ?1",
			   i ? " UNION " : "", i);
	if (m->n_slots == 0)
		buf_puts(b, "SELECT 1 WHERE ?1 < 0");
	r = set(w, Q_MARKED_POVS, b);
	if (r < 0)
		return r;

	buf_puts(b, "SELECT id FROM outboxfs_pov WHERE parent > 0 ORDER BY ");
	track_put_dims(b, m, "");
	r = set(w, Q_ALL_POVS, b);
	if (r < 0)
		return r;

	if (m->process_table) {
		buf_puts(b, "SELECT max(");
		db_quote_name(b, m->process_key);
		buf_puts(b, ") FROM ");
		db_quote_name(b, m->process_table);
	} else {
		buf_puts(b, "SELECT NULL");
	}
	r = set(w, Q_LAST_PROCESS, b);
	for (size_t i = 0; r == 0 && i < m->n_orphans; i++) {
		buf_puts(b, "SELECT 1 FROM ");
		db_quote_name(b, m->orphans[i].table);
		buf_puts(b, " WHERE ");
		db_quote_name(b, m->orphans[i].column);
		buf_puts(b, " = ?1 LIMIT 1");
		r = set(w, Q_ROWS + m->n_tables + i, b);
	}
	return r;
}

static bool in_order(const struct model_table *t, const char *column)
{
	for (const char *const *o = t->order; *o; o++)
		if (sqlite3_stricmp(*o, column) == 0)
			return true;
	return false;
}

/*
 * The model's order, then the primary key, then the rowid (a primary key may
 * hold several NULLs): the same rows always give the same bytes.
 */
static void put_order(struct buf *b, const struct model_table *t,
		      const char *sep)
{
	for (const char *const *o = t->order; *o; o++) {
		buf_puts(b, sep);
		db_quote_name(b, *o);
		sep = ", ";
	}
	for (int place = 1; place <= (int)t->n_columns; place++)
		for (size_t i = 0; i < t->n_columns; i++) {
			if (t->columns[i].pk != place ||
			    in_order(t, t->columns[i].name))
				continue;
			buf_puts(b, sep);
			db_quote_name(b, t->columns[i].name);
			sep = ", ";
		}
	if (t->rowid)
		buf_printf(b, "%s%s", sep, t->rowid);
}

static bool is_pov_column(const struct model *m, const struct model_table *t,
			  const char *column)
{
	for (size_t i = 0; i < m->n_dims; i++)
		if (sqlite3_stricmp(t->pov[i], column) == 0)
			return true;
	return false;
}

/*
 * The columns of a table in order, without those of the POV if is_short; last
 * once more the load rule, where there is one.
 */
static void put_rows(struct buf *b, const struct model *m,
		     const struct model_table *t, bool is_short)
{
	const char *sep = "SELECT ";

	for (size_t c = 0; c < t->n_columns; c++) {
		if (is_short && is_pov_column(m, t, t->columns[c].name))
			continue;
		buf_puts(b, sep);
		db_quote_name(b, t->columns[c].name);
		sep = ", ";
	}
	if (t->rule || *sep == 'S') {
		buf_puts(b, sep);
		if (t->rule)
			db_quote_name(b, t->rule);
		else
			buf_puts(b, "NULL");
	}
	buf_puts(b, " FROM ");
	db_quote_name(b, t->name);
	if (t->role != MODEL_SETUP)
		put_pov_where(b, m, t, 1);
	put_order(b, t, " ORDER BY ");
}

/* All rows, POV by POV; behind the columns the load rule, and the POV. */
static void put_scan(struct buf *b, const struct model *m,
		     const struct model_table *t)
{
	buf_puts(b, "SELECT ");
	for (size_t c = 0; c < t->n_columns; c++) {
		db_quote_name(b, t->columns[c].name);
		buf_puts(b, ", ");
	}
	if (t->rule)
		db_quote_name(b, t->rule);
	else
		buf_puts(b, "NULL");
	for (size_t i = 0; i < m->n_dims; i++) {
		buf_puts(b, ", ");
		db_quote_name(b, t->pov[i]);
	}
	buf_puts(b, " FROM ");
	db_quote_name(b, t->name);
	for (size_t i = 0; i < m->n_dims; i++) {
		buf_puts(b, i ? ", " : " ORDER BY ");
		db_quote_name(b, t->pov[i]);
		buf_puts(b, " COLLATE BINARY");
	}
	put_order(b, t, ", ");
}

static int build_rows(struct artifact_world *w, size_t i, struct buf *b)
{
	const struct model_table *t = &w->model->tables[i];
	int r;

	put_rows(b, w->model, t, false);
	r = set(w, Q_ROWS + i, b);
	if (r < 0 || t->slot < 0)
		return r;
	put_rows(b, w->model, t, true);
	r = set(w, (size_t)(Q_SHORT_ROWS + t->slot), b);
	if (r < 0)
		return r;
	put_scan(b, w->model, t);
	r = set(w, (size_t)(Q_SCAN + t->slot), b);
	if (r < 0 || !t->rowid)
		return r;
	buf_printf(b, "SELECT count(*), max(%s) - min(%s) FROM ", t->rowid,
		   t->rowid);
	db_quote_name(b, t->name);
	put_pov_where(b, w->model, t, 1);
	return set(w, (size_t)(Q_SPAN + t->slot), b);
}

static int build_open(struct artifact_world *w, struct buf *b)
{
	buf_puts(b, "SELECT EXISTS (SELECT 1 FROM outboxfs_open_table)"
		    " OR EXISTS (SELECT 1 FROM outboxfs_open_label)");
	for (int i = 0; i < w->model->n_slots; i++)
		buf_printf(b, " OR EXISTS (SELECT 1 FROM outboxfs_open_%d)", i);
	return set(w, Q_OPEN, b);
}

static int build_pov(struct artifact_world *w, struct buf *b)
{
	const struct model *m = w->model;
	int r;

	buf_puts(b, "SELECT parent, ");
	track_put_dims(b, m, "");
	for (int i = 0; i < m->n_slots; i++)
		buf_printf(b, ", c%d, t%d", i, i);
	buf_puts(b, ", time FROM outboxfs_pov WHERE id = ?1");
	r = set(w, Q_POV, b);
	if (r < 0)
		return r;

	buf_puts(b, "SELECT id FROM outboxfs_pov");
	put_values(b, m, 1);
	r = set(w, Q_POV_FIND, b);
	if (r < 0)
		return r;

	buf_puts(b, "INSERT INTO outboxfs_pov(");
	track_put_dims(b, m, "");
	buf_puts(b, ", parent) VALUES(");
	for (size_t i = 0; i <= m->n_dims; i++)
		buf_printf(b, "%s?%zu", i ? ", " : "", i + 1);
	buf_puts(b, ")");
	return set(w, Q_POV_ADD, b);
}

void query_put_scan(struct buf *b, const char *table)
{
	buf_puts(b, "SELECT * FROM ");
	db_quote_name(b, table);
	buf_puts(b, " NOT INDEXED");
}

int query_build(struct artifact_world *w)
{
	CLEANUP(buf_deinit) struct buf b = BUF_NULL;
	const struct model *m = w->model;
	int r;

	w->n_sql = Q_ROWS + m->n_tables + m->n_orphans;
	w->sql = calloc(w->n_sql, sizeof(*w->sql));
	if (!w->sql)
		return -ENOMEM;
	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
		w->sql[i] = fixed[i];

	r = build_open(w, &b);
	if (r == 0)
		r = build_pov(w, &b);
	if (r == 0)
		r = build_capture(w, &b);
	for (size_t i = 0; r == 0 && i < m->n_dims; i++)
		r = build_dim(w, i, &b);
	for (size_t i = 0; r == 0 && i < m->n_tables; i++) {
		if (m->tables[i].slot >= 0)
			r = build_slot(w, &m->tables[i], &b);
		if (r == 0)
			r = build_rows(w, i, &b);
	}
	return r;
}
