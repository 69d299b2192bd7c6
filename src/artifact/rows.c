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
#include "outboxfs/format/csv.h"

#define PIECE_BYTES ((size_t)256 * 1024)

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
		return err_set(err, r, "cannot read table '%s': %s", t->name,
			       r == -ENOMEM || r == -ENOSPC
				       ? strerrordesc_np(-r)
				       : sqlite3_errmsg(db_handle(rd->db)));
	*ret_rows = rows;
	return 0;
}
