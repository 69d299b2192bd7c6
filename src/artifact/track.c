/* SPDX-License-Identifier: MIT */
/*
 * Change tracking.
 *
 * A trigger has one task: to leave an open mark, "this POV (or setup table)
 * has changed", where there is none yet. It looks first, by one seek in one
 * small table, so that a bulk load into a POV that is marked already costs
 * one seek a row. Everything else waits for the daemon, which folds open
 * marks into the registry (src/artifact/fold.c): it gives them a change
 * number, numbers new POVs, and removes them.
 *
 *	outboxfs_open_<slot>	open marks of a data or status table, a POV each
 *	outboxfs_open_table	open marks of setup tables
 *	outboxfs_open_label	keys of dimensions whose label has changed
 *	outboxfs_tombstone	deleted records
 *	outboxfs_dir		the directories above the POVs, numbered
 *	outboxfs_pov		the POVs, numbered, with change number (c<slot>)
 *				and modification time (t<slot>) of each table,
 *				time of them all together, and whether there
 *				were rows when it was folded last
 *	outboxfs_table		the modelled tables, numbered, likewise
 *	outboxfs_label		when a label changed last, and what it was
 *	outboxfs_change		the last change number, and the last time, given
 *	outboxfs_model		the model, one row
 *
 * The invariants:
 *
 * (1) What a transaction changes and its marks are committed together.
 * (2) While a POV has an open mark, nothing that was read of it is final.
 * (3) Folding takes the write lock; after it, a POV without an open mark is
 *     in the state that its change number stands for, until it is marked again.
 * (4) Change numbers only grow, and no two states of a file share one.
 *
 * What the triggers must not rely on, because others' connections run them:
 * recursive_triggers (so REPLACE does not fire DELETE triggers: BEFORE INSERT
 * and BEFORE UPDATE look for the row that is in the way), a recent SQLite,
 * and conflict clauses (an outer OR REPLACE overrides an inner OR IGNORE).
 * Marking touches few pages: a statement that changes more than 64 KiB makes
 * SQLite keep its statement journal in a file for the rest of the transaction.
 *
 * NULL cannot stand in the key of a WITHOUT ROWID table; it is 0 there, and a
 * bit in "nulls".
 */
#include "artifact/track.h"

#include <stdio.h>

#include "outboxfs/db/db.h"

#define NOW "CAST(strftime('%s', 'now') AS INTEGER)"

/* ROW."column", ROW being NEW, OLD or an alias. */
static void put_column(struct buf *b, const char *row, const char *column)
{
	buf_printf(b, "%s.", row);
	db_quote_name(b, column);
}

void track_put_dims(struct buf *b, const struct model *m, const char *prefix)
{
	for (size_t i = 0; i < m->n_dims; i++)
		buf_printf(b, "%s%sv%zu", i ? ", " : "", prefix, i + 1);
}

/*
 * The value of a POV column as it stands in an open mark. The unary plus takes
 * the column's affinity away, which would keep the index from being used.
 */
static void put_value(struct buf *b, const struct model_table *t, size_t dim,
		      const char *row)
{
	buf_puts(b, t->pov_nullable[dim] ? "ifnull(" : "+");
	put_column(b, row, t->pov[dim]);
	if (t->pov_nullable[dim])
		buf_puts(b, ", 0)");
}

static void put_nulls(struct buf *b, const struct model *m,
		      const struct model_table *t, const char *row)
{
	buf_puts(b, "0");
	for (size_t i = 0; i < m->n_dims; i++) {
		if (!t->pov_nullable[i])
			continue;
		buf_printf(b, " + %d * (", 1 << i);
		put_column(b, row, t->pov[i]);
		buf_puts(b, " IS NULL)");
	}
}

static void put_not_marked(struct buf *b, const struct model *m,
			   const struct model_table *t, const char *row)
{
	buf_printf(b, "NOT EXISTS (SELECT 1 FROM outboxfs_open_%d WHERE ",
		   t->slot);
	for (size_t i = 0; i < m->n_dims; i++) {
		buf_printf(b, "v%zu = ", i + 1);
		put_value(b, t, i, row);
		buf_puts(b, " AND ");
	}
	buf_puts(b, "nulls = ");
	put_nulls(b, m, t, row);
	buf_puts(b, ")");
}

static void put_mark(struct buf *b, const struct model *m,
		     const struct model_table *t, const char *row)
{
	buf_printf(b, "INSERT INTO outboxfs_open_%d SELECT ", t->slot);
	for (size_t i = 0; i < m->n_dims; i++) {
		put_value(b, t, i, row);
		buf_puts(b, ", ");
	}
	put_nulls(b, m, t, row);
	buf_puts(b, ", " NOW);
}

static void put_trigger(struct buf *b, const struct model_table *t,
			const char *what, const char *event)
{
	buf_printf(b, "CREATE TRIGGER outboxfs_%lld_%s %s ON ",
		   (long long)t->id, what, event);
	db_quote_name(b, t->name);
}

/* WHERE of the row that NEW would replace through one key. */
static void put_in_the_way(struct buf *b, const struct model_table *t,
			   const struct model_key *key)
{
	buf_puts(b, " FROM ");
	db_quote_name(b, t->name);
	buf_puts(b, " AS r WHERE ");
	for (size_t i = 0; key->columns[i]; i++) {
		if (i)
			buf_puts(b, " AND ");
		put_column(b, "r", key->columns[i]);
		buf_puts(b, " = ");
		put_column(b, "NEW", key->columns[i]);
		buf_puts(b, " COLLATE ");
		db_quote_name(b, key->collations[i]);
	}
}

/*
 * Has the column another value? It would not say so by itself: its collation
 * may take two texts for equal, and 1 equals 1.0.
 */
static void put_differs(struct buf *b, const char *row, const char *other,
			const char *column)
{
	put_column(b, row, column);
	buf_puts(b, " COLLATE BINARY IS NOT ");
	put_column(b, other, column);
	buf_puts(b, " OR typeof(");
	put_column(b, row, column);
	buf_puts(b, ") <> typeof(");
	put_column(b, other, column);
	buf_puts(b, ")");
}

static void put_any_differs(struct buf *b, const char *row, const char *other,
			    const char *const *columns)
{
	for (size_t i = 0; columns[i]; i++) {
		buf_puts(b, i ? " OR " : "");
		put_differs(b, row, other, columns[i]);
	}
}

/* The beginning of a trigger that looks who is in the way through a key. */
static void put_before(struct buf *b, const struct model_table *t,
		       const struct model_key *key, const char *name,
		       bool update)
{
	buf_printf(b, "CREATE TRIGGER outboxfs_%s BEFORE %s ON ", name,
		   update ? "UPDATE" : "INSERT");
	db_quote_name(b, t->name);
	if (update) {
		buf_puts(b, " WHEN ");
		put_any_differs(b, "OLD", "NEW", key->columns);
	}
	buf_puts(b, " BEGIN ");
}

/*
 * Is every POV column part of the key, and told apart as exactly as POVs are?
 * Then REPLACE stays in its POV.
 */
static bool key_has_pov(const struct model *m, const struct model_table *t,
			const struct model_key *key)
{
	for (size_t i = 0; i < m->n_dims; i++) {
		bool found = false;

		for (size_t j = 0; key->columns[j] && !found; j++)
			found = sqlite3_stricmp(key->columns[j], t->pov[i]) ==
					0 &&
				sqlite3_stricmp(key->collations[j], "BINARY") ==
					0;
		if (!found)
			return false;
	}
	return true;
}

static void put_replace_triggers(struct buf *b, const struct model *m,
				 const struct model_table *t, bool update)
{
	char name[64];

	for (size_t i = 0; i < t->n_keys; i++) {
		const struct model_key *key = &t->keys[i];

		if (key_has_pov(m, t, key))
			continue;
		(void)snprintf(name, sizeof(name), "%lld_%s_%zu",
			       (long long)t->id, update ? "rekey" : "replace",
			       i);
		put_before(b, t, key, name, update);
		put_mark(b, m, t, "r");
		put_in_the_way(b, t, key);
		buf_puts(b, " AND ");
		put_not_marked(b, m, t, "r");
		buf_puts(b, "; END;\n");
	}
}

/* A trigger that marks the POV of one row, where it is not marked yet. */
static void put_row_trigger(struct buf *b, const struct model *m,
			    const struct model_table *t, const char *what,
			    const char *event, const char *row)
{
	put_trigger(b, t, what, event);
	buf_puts(b, " WHEN ");
	put_not_marked(b, m, t, row);
	buf_puts(b, " BEGIN ");
	put_mark(b, m, t, row);
	buf_puts(b, "; END;\n");
}

/* AFTER UPDATE OF the POV columns; of anything where that would miss some. */
static void put_move_event(struct buf *b, const struct model *m,
			   const struct model_table *t)
{
	buf_puts(b, "AFTER UPDATE");
	for (size_t i = 0; i < m->n_dims; i++) {
		const struct model_column *c = model_column(t, t->pov[i]);

		/* Computed, or perhaps the rowid, which has other names. */
		if (c->generated || (c->pk && t->rowid))
			return;
	}
	for (size_t i = 0; i < m->n_dims; i++) {
		buf_puts(b, i ? ", " : " OF ");
		db_quote_name(b, t->pov[i]);
	}
}

static void put_pov_triggers(struct buf *b, const struct model *m,
			     const struct model_table *t)
{
	CLEANUP(buf_deinit) struct buf event = BUF_NULL;

	put_row_trigger(b, m, t, "insert", "AFTER INSERT", "NEW");
	put_row_trigger(b, m, t, "delete", "AFTER DELETE", "OLD");
	put_row_trigger(b, m, t, "update", "AFTER UPDATE", "OLD");
	put_move_event(&event, m, t);
	if (!buf_str(&event)) {
		b->error = buf_error(&event);
		return;
	}
	put_row_trigger(b, m, t, "move", buf_str(&event), "NEW");
	put_replace_triggers(b, m, t, false);
	put_replace_triggers(b, m, t, true);
}

static void put_setup_triggers(struct buf *b, const struct model_table *t)
{
	static const char *const events[][2] = {
		{"insert", "AFTER INSERT"},
		{"delete", "AFTER DELETE"},
		{"update", "AFTER UPDATE"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
		put_trigger(b, t, events[i][0], events[i][1]);
		buf_printf(
			b,
			" WHEN NOT EXISTS (SELECT 1 FROM outboxfs_open_table"
			" WHERE id = %lld) BEGIN INSERT INTO outboxfs_open_table"
			" SELECT %lld, ",
			(long long)t->id, (long long)t->id);
		buf_puts(b, NOW "; END;\n");
	}
}

/* "this key had this label", unless that is known; row: OLD, NEW or r. */
static void put_label_mark(struct buf *b, const struct model *m, size_t dim,
			   const char *row, bool had_label)
{
	const struct model_dim *d = &m->dims[dim];

	buf_printf(b, "INSERT INTO outboxfs_open_label SELECT %zu, +", dim);
	put_column(b, row, d->key);
	buf_printf(b, ", %d, ", had_label);
	if (had_label)
		put_column(b, row, d->label);
	else
		buf_puts(b, "NULL");
	buf_puts(b, ", " NOW);
}

static void put_label_where(struct buf *b, const struct model *m, size_t dim,
			    const char *row)
{
	put_column(b, row, m->dims[dim].key);
	buf_printf(b,
		   " IS NOT NULL AND NOT EXISTS (SELECT 1 FROM"
		   " outboxfs_open_label WHERE dim = %zu AND key = +",
		   dim);
	put_column(b, row, m->dims[dim].key);
	buf_puts(b, ")");
}

static void put_label_trigger(struct buf *b, const struct model *m, size_t dim,
			      const char *event, const char *name,
			      const char *row, bool had_label)
{
	buf_printf(b, "CREATE TRIGGER outboxfs_label_%zu_%s %s ON ", dim, name,
		   event);
	db_quote_name(b, m->dims[dim].table);
	buf_puts(b, " BEGIN ");
	put_label_mark(b, m, dim, row, had_label);
	buf_puts(b, " WHERE ");
	put_label_where(b, m, dim, row);
	buf_puts(b, "; END;\n");
}

static void put_label_update(struct buf *b, const struct model *m, size_t dim)
{
	const struct model_dim *d = &m->dims[dim];

	buf_printf(b,
		   "CREATE TRIGGER outboxfs_label_%zu_update AFTER UPDATE ON ",
		   dim);
	db_quote_name(b, d->table);
	buf_puts(b, " WHEN ");
	put_differs(b, "OLD", "NEW", d->label);
	buf_puts(b, " OR ");
	put_differs(b, "OLD", "NEW", d->key);
	buf_puts(b, " BEGIN ");
	put_label_mark(b, m, dim, "OLD", true);
	buf_puts(b, " WHERE ");
	put_label_where(b, m, dim, "OLD");
	buf_puts(b, "; ");
	put_label_mark(b, m, dim, "NEW", false);
	buf_puts(b, " WHERE ");
	put_label_where(b, m, dim, "NEW");
	buf_puts(b, "; END;\n");
}

/* Rows of a dimension's table that REPLACE deletes, through any key. */
static void put_label_replace(struct buf *b, const struct model *m, size_t dim,
			      bool update)
{
	const struct model_table *t = m->dims[dim].bound;
	char name[64];

	for (size_t i = 0; i < t->n_keys; i++) {
		(void)snprintf(name, sizeof(name), "label_%zu_%s_%zu", dim,
			       update ? "rekey" : "replace", i);
		put_before(b, t, &t->keys[i], name, update);
		put_label_mark(b, m, dim, "r", true);
		put_in_the_way(b, t, &t->keys[i]);
		buf_puts(b, " AND ");
		put_label_where(b, m, dim, "r");
		buf_puts(b, "; END;\n");
	}
}

static void put_label_triggers(struct buf *b, const struct model *m)
{
	for (size_t i = 0; i < m->n_dims; i++) {
		if (!m->dims[i].table)
			continue;
		put_label_trigger(b, m, i, "AFTER INSERT", "insert", "NEW",
				  false);
		put_label_trigger(b, m, i, "AFTER DELETE", "delete", "OLD",
				  true);
		put_label_update(b, m, i);
		put_label_replace(b, m, i, false);
		put_label_replace(b, m, i, true);
	}
}

/*
 * A deleted record: its table by name (ids are given out anew by each
 * adoption, which tombstones outlive), its key as SQL literals, and when.
 */
static void put_tombstone(struct buf *b, const struct model_table *t,
			  const struct model_record *record, const char *row)
{
	buf_puts(b, "INSERT INTO outboxfs_tombstone(tbl, key, time) SELECT ");
	db_quote_text(b, t->name);
	buf_puts(b, ", ");
	for (size_t i = 0; record->key[i]; i++) {
		buf_puts(b, i ? " || ',' || quote(" : "quote(");
		put_column(b, row, record->key[i]);
		buf_puts(b, ")");
	}
	buf_puts(b, ", " NOW);
}

static void put_key_differs(struct buf *b, const struct model_record *record,
			    const char *row, const char *other)
{
	buf_puts(b, "(");
	put_any_differs(b, row, other, record->key);
	buf_puts(b, ")");
}

/* Records that REPLACE deletes, unless NEW is the same record. */
static void put_oust_triggers(struct buf *b, const struct model_table *t,
			      const struct model_record *record, bool update)
{
	char name[64];

	for (size_t i = 0; i < t->n_keys; i++) {
		(void)snprintf(name, sizeof(name), "%lld_%s_%zu",
			       (long long)t->id, update ? "evict" : "oust", i);
		put_before(b, t, &t->keys[i], name, update);
		put_tombstone(b, t, record, "r");
		put_in_the_way(b, t, &t->keys[i]);
		buf_puts(b, " AND ");
		put_key_differs(b, record, "r", "NEW");
		if (update) { /* OLD itself is renamed, not deleted */
			buf_puts(b, " AND ");
			put_key_differs(b, record, "r", "OLD");
		}
		buf_puts(b, "; END;\n");
	}
}

static void put_record_triggers(struct buf *b, const struct model *m,
				const struct model_record *record)
{
	const struct model_table *t = model_find(m, record->table);

	if (!t)
		return;
	put_trigger(b, t, "bury", "AFTER DELETE");
	buf_puts(b, " BEGIN ");
	put_tombstone(b, t, record, "OLD");
	buf_puts(b, "; END;\n");

	put_trigger(b, t, "rename", "AFTER UPDATE");
	buf_puts(b, " WHEN ");
	put_key_differs(b, record, "OLD", "NEW");
	buf_puts(b, " BEGIN ");
	put_tombstone(b, t, record, "OLD");
	buf_puts(b, "; END;\n");

	put_oust_triggers(b, t, record, false);
	put_oust_triggers(b, t, record, true);
}

void track_put_triggers(struct buf *b, const struct model *m)
{
	for (size_t i = 0; i < m->n_tables; i++) {
		if (m->tables[i].role == MODEL_SETUP)
			put_setup_triggers(b, &m->tables[i]);
		else
			put_pov_triggers(b, m, &m->tables[i]);
	}
	put_label_triggers(b, m);
	for (size_t i = 0; i < m->n_records; i++)
		put_record_triggers(b, m, &m->records[i]);
}

static void put_pov_table(struct buf *b, const struct model *m)
{
	buf_puts(b, "CREATE TABLE outboxfs_pov("
		    "id INTEGER PRIMARY KEY, parent INTEGER NOT NULL, ");
	track_put_dims(b, m, "");
	for (int i = 0; i < m->n_slots; i++)
		buf_printf(b,
			   ", c%d INTEGER NOT NULL DEFAULT 0"
			   ", t%d INTEGER NOT NULL DEFAULT 0",
			   i, i);
	buf_puts(b, ", time INTEGER NOT NULL DEFAULT 0"
		    ", live INTEGER NOT NULL DEFAULT 0"
		    ");\nCREATE INDEX outboxfs_pov_value ON outboxfs_pov(");
	track_put_dims(b, m, "");
	buf_puts(
		b,
		");\nCREATE INDEX outboxfs_pov_parent ON outboxfs_pov(parent);\n");
	for (int i = 0; i < m->n_slots; i++)
		buf_printf(
			b,
			"CREATE INDEX outboxfs_pov_c%d ON outboxfs_pov(c%d);\n",
			i, i);
}

void track_put_tables(struct buf *b, const struct model *m)
{
	buf_puts(
		b,
		"CREATE TABLE outboxfs_dir("
		"id INTEGER PRIMARY KEY,"
		" parent INTEGER NOT NULL, value, time INTEGER NOT NULL);\n"
		"CREATE INDEX outboxfs_dir_value ON outboxfs_dir(parent, value);\n"
		"CREATE INDEX outboxfs_dir_parent ON outboxfs_dir(parent);\n"
		"CREATE TABLE outboxfs_open_table(id INTEGER PRIMARY KEY,"
		" time INTEGER NOT NULL);\n"
		"CREATE TABLE outboxfs_open_label(dim INTEGER, key,"
		" had INTEGER, label, time INTEGER, PRIMARY KEY(dim, key))"
		" WITHOUT ROWID;\n"
		"CREATE TABLE outboxfs_label(dim INTEGER, key, had INTEGER,"
		" label, change INTEGER, time INTEGER, PRIMARY KEY(dim, key))"
		" WITHOUT ROWID;\n"
		"CREATE INDEX outboxfs_label_change ON outboxfs_label(change);\n"
		"CREATE TABLE IF NOT EXISTS outboxfs_tombstone("
		"id INTEGER PRIMARY KEY, tbl TEXT NOT NULL,"
		" key TEXT NOT NULL, change INTEGER, time INTEGER NOT NULL);\n");
	for (int i = 0; i < m->n_slots; i++) {
		buf_printf(b, "CREATE TABLE outboxfs_open_%d(", i);
		track_put_dims(b, m, "");
		buf_puts(b, ", nulls INTEGER, time INTEGER, PRIMARY KEY(");
		track_put_dims(b, m, "");
		buf_puts(b, ", nulls)) WITHOUT ROWID;\n");
	}
	put_pov_table(b, m);
}

void track_put_indexes(struct buf *b, const struct model *m, bool pov_indexes)
{
	for (size_t i = 0; i < m->n_dims; i++) {
		const struct model_dim *d = &m->dims[i];

		if (!d->table || sqlite3_stricmp(d->key, d->label) == 0)
			continue;
		buf_printf(b, "CREATE INDEX outboxfs_label_%zu ON ", i);
		db_quote_name(b, d->table);
		buf_puts(b, "(");
		db_quote_name(b, d->label);
		buf_puts(b, ");\n");
	}
	for (size_t i = 0; pov_indexes && i < m->n_tables; i++) {
		const struct model_table *t = &m->tables[i];

		if (t->slot < 0 || t->pov_indexed)
			continue;
		buf_printf(b, "CREATE INDEX outboxfs_pov_%d ON ", t->slot);
		db_quote_name(b, t->name);
		for (size_t j = 0; j < m->n_dims; j++) {
			buf_puts(b, j ? ", " : "(");
			db_quote_name(b, t->pov[j]);
			buf_puts(b, " COLLATE BINARY");
		}
		buf_puts(b, ");\n");
	}
}

static void put_known_povs(struct buf *b, const struct model *m,
			   const struct model_table *t, int64_t change,
			   int64_t time)
{
	buf_puts(b, "CREATE TEMP TABLE outboxfs_new AS SELECT DISTINCT ");
	for (size_t i = 0; i < m->n_dims; i++) {
		buf_puts(b, i ? ", " : "");
		db_quote_name(b, t->pov[i]);
		buf_printf(b, " COLLATE BINARY AS v%zu", i + 1);
	}
	buf_puts(b, " FROM main.");
	db_quote_name(b, t->name);
	buf_printf(b,
		   ";\nUPDATE outboxfs_pov SET c%d = %lld, t%d = %lld"
		   " FROM temp.outboxfs_new AS n WHERE ",
		   t->slot, (long long)change, t->slot, (long long)time);
	for (size_t i = 0; i < m->n_dims; i++)
		buf_printf(b, "%soutboxfs_pov.v%zu IS +n.v%zu",
			   i ? " AND " : "", i + 1, i + 1);
	buf_puts(b, ";\nINSERT INTO outboxfs_pov(parent, ");
	track_put_dims(b, m, "");
	buf_printf(b, ", c%d, t%d, time, live) SELECT 0, ", t->slot, t->slot);
	track_put_dims(b, m, "n.");
	buf_printf(b,
		   ", %lld, %lld, %lld, 1 FROM temp.outboxfs_new AS n"
		   " WHERE NOT EXISTS (SELECT 1 FROM outboxfs_pov AS p WHERE ",
		   (long long)change, (long long)time, (long long)time);
	for (size_t i = 0; i < m->n_dims; i++)
		buf_printf(b, "%sp.v%zu IS +n.v%zu", i ? " AND " : "", i + 1,
			   i + 1);
	buf_puts(b, ");\nDROP TABLE temp.outboxfs_new;\n");
}

/* Joins the chain of directories d1 … d<depth> to the values of p. */
static void put_chain(struct buf *b, size_t depth)
{
	for (size_t i = 1; i <= depth; i++)
		if (i == 1)
			buf_puts(b, " JOIN outboxfs_dir AS d1 ON d1.parent = 1"
				    " AND d1.value IS +p.v1");
		else
			buf_printf(b,
				   " JOIN outboxfs_dir AS d%zu ON d%zu.parent"
				   " = d%zu.id AND d%zu.value IS +p.v%zu",
				   i, i, i - 1, i, i);
}

void track_put_registry(struct buf *b, const struct model *m, int64_t change,
			int64_t time)
{
	buf_printf(b,
		   "INSERT INTO outboxfs_dir(id, parent, value, time)"
		   " VALUES(1, 0, NULL, %lld);\n",
		   (long long)time);
	for (size_t i = 0; i < m->n_tables; i++)
		if (m->tables[i].slot >= 0)
			put_known_povs(b, m, &m->tables[i], change, time);

	for (size_t level = 1; level < m->n_dims; level++) {
		buf_puts(
			b,
			"INSERT INTO outboxfs_dir(parent, value, time) SELECT ");
		if (level == 1)
			buf_puts(b, "1");
		else
			buf_printf(b, "d%zu.id", level - 1);
		buf_printf(b, ", p.v%zu, %lld FROM (SELECT DISTINCT ", level,
			   (long long)time);
		for (size_t i = 1; i <= level; i++)
			buf_printf(b, "%sv%zu", i > 1 ? ", " : "", i);
		buf_puts(b, " FROM outboxfs_pov WHERE parent = 0) AS p");
		put_chain(b, level - 1);
		buf_puts(b, ";\n");
	}
	if (m->n_dims == 1) {
		buf_puts(
			b,
			"UPDATE outboxfs_pov SET parent = 1 WHERE parent = 0;\n");
		return;
	}
	buf_printf(b,
		   "UPDATE outboxfs_pov AS q SET parent = (SELECT d%zu.id"
		   " FROM (SELECT ",
		   m->n_dims - 1);
	for (size_t i = 1; i <= m->n_dims; i++)
		buf_printf(b, "%sq.v%zu AS v%zu", i > 1 ? ", " : "", i, i);
	buf_puts(b, ") AS p");
	put_chain(b, m->n_dims - 1);
	buf_puts(b, ") WHERE parent = 0;\n");
}
