/* SPDX-License-Identifier: MIT */
/*
 * Rows as CSV, and what is known of a file without rendering it. The loop in
 * artifact_rows() is the hot path of everything: values are read by their
 * storage class (never as text, which makes SQLite format numbers) into one
 * buffer, and nothing is allocated per row.
 */
#include <errno.h>
#include <string.h>

#include "artifact/world.h"
#include "outboxfs/base/clock.h"
#include "outboxfs/format/csv.h"

/* What to do about a database that cannot be read. */
#define ADVICE                                                               \
	"restore the database from a backup, or save what can be read with " \
	"sqlite3 FILE \".recover\""

#define PIECE_BYTES ((size_t)256 * 1024)
#define SEARCH_US   1000000 /* what a search for damage may take */

static int bind_pov(sqlite3_stmt *stmt, const struct artifact_node *pov)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && pov && i < pov->level; i++)
		r = value_bind(stmt, (int)i + 1, &pov->values[i]);
	return r;
}

/* 1: the statement has a row for this POV; 0: none. */
static int probe(struct artifact_read *rd, size_t query,
		 const struct artifact_node *pov)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(rd->db, query, &stmt);
	if (r == 0)
		r = bind_pov(stmt, pov);
	return r < 0 ? r : db_step(stmt);
}

int artifact_has_rows(struct artifact_read *rd, const struct model_table *t,
		      const struct artifact_node *pov)
{
	return probe(rd, (size_t)(Q_EXISTS + t->slot), pov);
}

int artifact_is_open(struct artifact_read *rd, const struct model_table *t,
		     const struct artifact_node *pov)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	if (!rd->unsettled)
		return 0;
	if (pov)
		return probe(rd, (size_t)(Q_OPEN_MARK + t->slot), pov);
	r = db_stmt(rd->db, Q_OPEN_TABLE, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, t->id);
	return db_step(stmt);
}

int artifact_check_listing(struct artifact_read *rd)
{
	int r = 0;

	if (!rd->unsettled)
		return 0;
	for (int slot = 0; r == 0 && slot < rd->model->n_slots; slot++)
		r = probe(rd, (size_t)(Q_UNREGISTERED + slot), NULL);
	return r == 1 ? -EBUSY : r;
}

static int read_mark(sqlite3_stmt *stmt, struct artifact_mark *ret)
{
	int r = db_step(stmt);

	if (r == 1) {
		ret->change = sqlite3_column_int64(stmt, 0);
		ret->time = sqlite3_column_int64(stmt, 1);
	}
	return r;
}

int artifact_setup_mark(struct artifact_read *rd, const struct model_table *t,
			struct artifact_mark *ret)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(rd->db, Q_TABLE, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, t->id);
	r = read_mark(stmt, ret);
	return r == 0 ? -EBADMSG : r < 0 ? r : 0;
}

static int label_mark(struct artifact_read *rd, unsigned dim,
		      const struct value *value, struct artifact_mark *ret)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	*ret = (struct artifact_mark){0};
	r = db_stmt(rd->db, Q_LABEL_MARK + dim, &stmt);
	if (r == 0)
		r = value_bind(stmt, 1, value);
	if (r == 0)
		r = read_mark(stmt, ret);
	return r < 0 ? r : 0;
}

/* 1: the label has changed, and that could not be folded. */
static int label_is_open(struct artifact_read *rd, unsigned dim,
			 const struct value *value)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(rd->db, Q_OPEN_LABEL + dim, &stmt);
	if (r == 0)
		r = value_bind(stmt, 1, value);
	return r < 0 ? r : db_step(stmt);
}

int read_label_marks(struct artifact_read *rd, struct artifact_node *pov)
{
	for (unsigned i = 0; rd->has_labels && i < pov->level; i++) {
		struct artifact_mark mark;
		int r;

		if (!rd->model->dims[i].table)
			continue;
		r = label_mark(rd, i, &pov->values[i], &mark);
		if (r < 0)
			return r;
		if (mark.change > pov->label.change)
			pov->label.change = mark.change;
		if (mark.time > pov->label.time)
			pov->label.time = mark.time;
		r = rd->unsettled ? label_is_open(rd, i, &pov->values[i]) : 0;
		if (r < 0)
			return r;
		pov->label_open |= r == 1;
	}
	return 0;
}

int artifact_label(struct artifact_read *rd, unsigned dim,
		   const struct value *value, struct arena *arena,
		   struct value *ret_label, struct artifact_mark *ret_mark)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	struct value v;
	int r;

	*ret_mark = (struct artifact_mark){0};
	if (!rd->model->dims[dim].table)
		return 0;
	r = label_mark(rd, dim, value, ret_mark);
	if (r == 0)
		r = db_stmt(rd->db, Q_LABEL + dim, &stmt);
	if (r == 0)
		r = value_bind(stmt, 1, value);
	if (r == 0)
		r = db_step(stmt);
	if (r != 1)
		return r;
	v = value_column(stmt, 0);
	r = value_copy(arena, &v, ret_label);
	return r < 0 ? r : 1;
}

static void put_header(struct buf *b, const struct model_table *t)
{
	for (size_t i = 0; i < t->n_columns; i++) {
		if (i)
			buf_putc(b, ',');
		csv_put_name(b, t->columns[i].name);
	}
	buf_putc(b, '\n');
}

static void put_field(struct buf *b, sqlite3_stmt *stmt, int i,
		      enum affinity affinity)
{
	switch (sqlite3_column_type(stmt, i)) {
	case SQLITE_INTEGER:
		csv_put_int(b, sqlite3_column_int64(stmt, i));
		break;
	case SQLITE_FLOAT:
		csv_put_real(b, sqlite3_column_double(stmt, i));
		break;
	case SQLITE_TEXT: {
		const char *s = (const char *)sqlite3_column_text(stmt, i);

		/* NULL is what SQLite answers when memory runs out. */
		if (!s)
			b->error = -ENOMEM;
		else
			csv_put_text(b, s,
				     (size_t)sqlite3_column_bytes(stmt, i),
				     affinity);
		break;
	}
	case SQLITE_BLOB:
		csv_put_blob(b, sqlite3_column_blob(stmt, i),
			     (size_t)sqlite3_column_bytes(stmt, i));
		break;
	default:
		break;
	}
}

static int flush(struct buf *b, const struct artifact_sink *sink)
{
	int r = buf_error(b);

	if (r == 0 && b->len)
		r = sink->write(sink->arg, b->data, b->len);
	buf_clear(b);
	return r;
}

static int put_rows(sqlite3_stmt *stmt, const struct model_table *t,
		    struct buf *b, const struct artifact_sink *sink,
		    int64_t *ret_rows)
{
	int n = (int)t->n_columns;
	int r;

	while ((r = db_step(stmt)) == 1) {
		put_field(b, stmt, 0, t->columns[0].affinity);
		for (int i = 1; i < n; i++) {
			buf_putc(b, ',');
			put_field(b, stmt, i, t->columns[i].affinity);
		}
		buf_putc(b, '\n');
		++*ret_rows;
		if (b->len >= PIECE_BYTES || buf_error(b)) {
			r = flush(b, sink);
			if (r < 0)
				return r;
		}
	}
	return r;
}

static int cannot_read(struct artifact_read *rd, const char *table, int r,
		       struct err *err)
{
	sqlite3 *handle = db_handle(rd->db);

	/* What SQLite says, if it was SQLite. */
	return err_set(err, r, "cannot read table '%s': %s", table,
		       db_errno(sqlite3_errcode(handle)) == r
			       ? sqlite3_errmsg(handle)
			       : strerrordesc_np(-r));
}

int artifact_rows(struct artifact_read *rd, const struct model_table *t,
		  const struct artifact_node *pov,
		  const struct artifact_sink *sink, int64_t *ret_rows,
		  struct err *err)
{
	CLEANUP(buf_deinit) struct buf b = BUF_INIT((size_t)4 << 30);
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int64_t rows = 0;
	int r;

	r = db_stmt(rd->db, Q_ROWS + (size_t)(t - rd->model->tables), &stmt);
	if (r == 0)
		r = bind_pov(stmt, pov);
	if (r == 0) {
		put_header(&b, t);
		r = put_rows(stmt, t, &b, sink, &rows);
	}
	if (r == 0)
		r = flush(&b, sink);
	if (r < 0)
		return cannot_read(rd, t->name, r, err);
	*ret_rows = rows;
	return 0;
}

/* Reads a whole table, unless that takes too long. */
static int scan(struct artifact_read *rd, const char *table, struct err *err)
{
	CLEANUP(buf_deinit) struct buf b = BUF_NULL;
	CLEANUP(db_finalize) sqlite3_stmt *stmt = NULL;
	int r;

	query_put_scan(&b, table);
	if (!buf_str(&b))
		return -ENOMEM;
	r = db_prepare(rd->db, buf_str(&b), &stmt, NULL);
	while (r >= 0 && (r = db_step(stmt)) == 1)
		;
	return r < 0 ? cannot_read(rd, table, r, err) : 0;
}

/* Which table it is that cannot be read: 1; 0: none was found in time. */
static int find_damage(struct artifact_read *rd, struct err *err)
{
	static const char *const ours[] = {"outboxfs_pov", "outboxfs_dir",
					   "outboxfs_table", "outboxfs_label"};
	const struct model *m = rd->model;
	struct err why = ERR_NULL;
	int r = 0;

	db_set_deadline(rd->db, clock_mono() + SEARCH_US);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(ours); i++)
		r = scan(rd, ours[i], &why);
	for (size_t i = 0; r == 0 && i < m->n_dims; i++)
		if (m->dims[i].table)
			r = scan(rd, m->dims[i].table, &why);
	for (size_t i = 0; r == 0 && i < m->n_tables; i++)
		r = scan(rd, m->tables[i].name, &why);
	db_set_deadline(rd->db, 0);
	if (r != -EBADMSG && r != -EIO)
		return 0;
	*err = why;
	return 1;
}

static bool is_empty(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 0;
}

int explain(const char *path, int r, struct err *err)
{
	struct err why = *err;

	if (is_empty(path))
		return err_set(
			err, r,
			"database '%.300s' is empty (0 bytes): restore it from a backup",
			path);
	if (r != -EBADMSG && r != -EIO)
		return r;
	return err_set(err, r, "%.300s: " ADVICE,
		       why.text[0]     ? why.text
		       : r == -EBADMSG ? "the database is damaged"
				       : "the database cannot be read");
}

int artifact_explain(struct artifact_read *rd, int r, struct err *err)
{
	const char *path = rd->world->path;

	if (!err->text[0] && !is_empty(path))
		(void)find_damage(rd, err); /* or it stays unknown */
	return explain(path, r, err);
}
