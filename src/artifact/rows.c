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
#include "outboxfs/artifact/capture.h"
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

int artifact_file_name(const struct model_table *t, struct name *ret)
{
	CLEANUP(buf_deinit) struct buf b = BUF_NULL;
	struct value v = {.type = VALUE_TEXT};

	buf_printf(&b, "%s.csv", t->name);
	if (buf_error(&b))
		return buf_error(&b);
	v.bytes.data = b.data;
	v.bytes.len = b.len;
	return name_make(&v, NULL, ret);
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

/*
 * The value is not protected by a mutex, which is fine: a connection has one
 * user. To ask sqlite3_column_…() for each thing would cost a third more.
 */
static void put_field(struct buf *b, sqlite3_value *v, enum affinity affinity)
{
	const char *s;

	switch (sqlite3_value_type(v)) {
	case SQLITE_INTEGER:
		csv_put_int(b, sqlite3_value_int64(v));
		break;
	case SQLITE_FLOAT:
		csv_put_real(b, sqlite3_value_double(v));
		break;
	case SQLITE_TEXT:
		s = (const char *)sqlite3_value_text(v);
		/* NULL is what SQLite answers when memory runs out. */
		if (!s)
			b->error = -ENOMEM;
		else
			csv_put_text(b, s, (size_t)sqlite3_value_bytes(v),
				     affinity);
		break;
	case SQLITE_BLOB:
		s = sqlite3_value_blob(v);
		csv_put_blob(b, s, (size_t)sqlite3_value_bytes(v));
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

/* The load rule of rows: told when it is another one than in the row before. */
struct rule {
	int column; /* -1: nobody asks, or the table names none */
	bool seen;
	struct value last; /* integers only; others are told each time */
};

/* Where the statement has it: the load rule comes last. */
static int find_rule(sqlite3_stmt *stmt, const struct model_table *t,
		     const struct artifact_sink *sink)
{
	if (!t->rule || !sink->rule)
		return -1;
	return sqlite3_column_count(stmt) - 1;
}

static int tell_rule(sqlite3_stmt *stmt, struct rule *rule,
		     const struct artifact_sink *sink)
{
	struct value v = value_column(stmt, rule->column);

	if (v.type == VALUE_NULL)
		return 0;
	if (rule->seen && v.type == VALUE_INTEGER &&
	    v.integer == rule->last.integer)
		return 0;
	rule->seen = v.type == VALUE_INTEGER;
	rule->last = v;
	return sink->rule(sink->arg, &v);
}

/*
 * How a row becomes a line: for each column that is read, what stands before
 * it, and at last the end of the line. Columns of the POV are the same in all
 * its rows: they are not read, but part of what stands between.
 */
struct plan {
	struct buf text; /* what stands between, one behind the other */
	struct part {
		size_t len; /* bytes of text before the column */
		enum affinity affinity;
	} * parts; /* owned; one more than columns, for the end */
	int n;     /* columns that are read */
};

static void plan_deinit(struct plan *plan)
{
	buf_deinit(&plan->text);
	free(plan->parts);
}

/* The dimension whose column this is; -1: none. */
static int dim_of(const struct model *m, const struct model_table *t,
		  const struct model_column *c)
{
	for (size_t i = 0; t->role != MODEL_SETUP && i < m->n_dims; i++)
		if (sqlite3_stricmp(t->pov[i], c->name) == 0)
			return (int)i;
	return -1;
}

/* Do all rows with an equal value have the same one, in class and bytes? */
static bool is_constant(const struct model_column *c, const struct value *v)
{
	switch (v->type) {
	case VALUE_NULL:
	case VALUE_BLOB:
		return true;
	case VALUE_TEXT:
		return c->binary;
	case VALUE_INTEGER:
		return c->affinity == AFFINITY_INTEGER;
	case VALUE_REAL:
		return c->affinity == AFFINITY_REAL;
	}
	return false;
}

static bool rows_are_short(const struct model *m, const struct model_table *t,
			   const struct artifact_node *pov)
{
	if (!pov)
		return false;
	for (size_t i = 0; i < m->n_dims; i++)
		if (!is_constant(model_column(t, t->pov[i]), &pov->values[i]))
			return false;
	return true;
}

static int plan_make(struct plan *plan, const struct model *m,
		     const struct model_table *t,
		     const struct artifact_node *pov)
{
	bool is_short = rows_are_short(m, t, pov);
	size_t done = 0;

	plan->parts = calloc(t->n_columns + 1, sizeof(*plan->parts));
	if (!plan->parts)
		return -ENOMEM;
	for (size_t i = 0; i < t->n_columns; i++) {
		const struct model_column *c = &t->columns[i];
		int dim = is_short ? dim_of(m, t, c) : -1;

		if (i)
			buf_putc(&plan->text, ',');
		if (dim >= 0) {
			csv_put(&plan->text, &pov->values[dim], c->affinity);
			continue;
		}
		plan->parts[plan->n++] = (struct part){
			.len = plan->text.len - done, .affinity = c->affinity};
		done = plan->text.len;
	}
	buf_putc(&plan->text, '\n');
	plan->parts[plan->n].len = plan->text.len - done;
	return buf_error(&plan->text);
}

static void put_row(struct buf *b, sqlite3_stmt *stmt, const struct plan *plan)
{
	const char *text = plan->text.data;

	for (int i = 0; i < plan->n; i++) {
		const struct part *part = &plan->parts[i];

		buf_add(b, text, part->len);
		text += part->len;
		put_field(b, sqlite3_column_value(stmt, i), part->affinity);
	}
	buf_add(b, text, plan->parts[plan->n].len);
}

static int put_rows(sqlite3_stmt *stmt, const struct plan *plan,
		    struct rule *rule, struct buf *b,
		    const struct artifact_sink *sink, int64_t *ret_rows)
{
	int r;

	while ((r = db_step(stmt)) == 1) {
		if (rule->column >= 0) {
			r = tell_rule(stmt, rule, sink);
			if (r < 0)
				return r;
		}
		put_row(b, stmt, plan);
		++*ret_rows;
		if (b->len >= PIECE_BYTES || buf_error(b)) {
			r = flush(b, sink);
			if (r < 0)
				return r;
		}
	}
	return r;
}

static size_t rows_query(const struct model *m, const struct model_table *t,
			 const struct artifact_node *pov)
{
	if (rows_are_short(m, t, pov))
		return (size_t)(Q_SHORT_ROWS + t->slot);
	return Q_ROWS + (size_t)(t - m->tables);
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
	CLEANUP(plan_deinit) struct plan plan = {.text = BUF_NULL};
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	struct rule rule = {.column = -1};
	int64_t rows = 0;
	int r;

	r = plan_make(&plan, rd->model, t, pov);
	if (r == 0)
		r = db_stmt(rd->db, rows_query(rd->model, t, pov), &stmt);
	if (r == 0)
		r = bind_pov(stmt, pov);
	if (r == 0) {
		put_header(&b, t);
		rule.column = find_rule(stmt, t, sink);
		r = put_rows(stmt, &plan, &rule, &b, sink, &rows);
	}
	if (r == 0)
		r = flush(&b, sink);
	if (r < 0)
		return cannot_read(rd, t->name, r, err);
	*ret_rows = rows;
	return 0;
}

/* A pass over all rows */

static bool same_number(const struct value *a, const struct value *b)
{
	if (a->type == b->type)
		return a->type == VALUE_INTEGER ? a->integer == b->integer
						: a->real == b->real;
	if (a->type == VALUE_REAL)
		return same_number(b, a);
	return (double)a->integer == b->real && a->integer == (int64_t)b->real;
}

/* Equal values are one POV, also 1 and 1.0. */
static bool is_same_pov(sqlite3_stmt *stmt, int first,
			const struct artifact_node *pov)
{
	for (unsigned i = 0; i < pov->level; i++) {
		struct value v = value_column(stmt, first + (int)i);
		const struct value *w = &pov->values[i];
		bool numbers =
			(v.type == VALUE_INTEGER || v.type == VALUE_REAL) &&
			(w->type == VALUE_INTEGER || w->type == VALUE_REAL);

		if (numbers ? !same_number(&v, w) : !value_same(&v, w))
			return false;
	}
	return true;
}

struct pass {
	struct artifact_read *rd;
	const struct model_table *t;
	const struct artifact_scan *scan;
	struct plan plan;
	struct rule rule;
	struct buf b;
	struct artifact_node pov; /* the present one */
	bool wanted;              /* and is it? */
	int64_t rows;             /* of it */
};

static int pass_end_pov(struct pass *p)
{
	int r = 0;

	if (p->wanted)
		r = flush(&p->b, &p->scan->sink);
	if (r == 0 && p->wanted)
		r = p->scan->end(p->pov.id, p->rows, p->scan->sink.arg);
	p->wanted = false;
	return r;
}

/* The row is the first of another POV. */
static int pass_begin_pov(struct pass *p, sqlite3_stmt *stmt, int first)
{
	struct value values[MODEL_DIMS_MAX];
	int64_t id;
	int r;

	r = pass_end_pov(p);
	for (size_t i = 0; i < p->rd->model->n_dims; i++)
		values[i] = value_column(stmt, first + (int)i);
	if (r == 0)
		r = artifact_find_pov(p->rd, values, &id);
	if (r < 0)
		return r == -ENOENT ? -EBADMSG : r; /* its rows left no mark */
	artifact_node_deinit(&p->pov);
	r = artifact_pov(p->rd, id, &p->pov);
	if (r == 0)
		r = p->scan->begin(id, p->scan->sink.arg);
	if (r < 0)
		return r;
	p->wanted = r == 1;
	p->rows = 0;
	p->rule.seen = false;
	buf_clear(&p->b);
	if (p->wanted)
		put_header(&p->b, p->t);
	return 0;
}

static int pass_row(struct pass *p, sqlite3_stmt *stmt, int first)
{
	int r = 0;

	if (p->pov.level == 0 || !is_same_pov(stmt, first, &p->pov))
		r = pass_begin_pov(p, stmt, first);
	if (r < 0 || !p->wanted)
		return r;
	if (p->rule.column >= 0)
		r = tell_rule(stmt, &p->rule, &p->scan->sink);
	if (r < 0)
		return r;
	put_row(&p->b, stmt, &p->plan);
	p->rows++;
	return p->b.len >= PIECE_BYTES || buf_error(&p->b)
		       ? flush(&p->b, &p->scan->sink)
		       : 0;
}

static int pass_run(struct pass *p)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int first = (int)p->t->n_columns + 1;
	int r;

	p->rule.column = p->t->rule && p->scan->sink.rule ? first - 1 : -1;
	r = plan_make(&p->plan, p->rd->model, p->t, NULL);
	if (r == 0)
		r = db_stmt(p->rd->db, (size_t)(Q_SCAN + p->t->slot), &stmt);
	while (r == 0 && (r = db_step(stmt)) == 1)
		r = pass_row(p, stmt, first);
	return r < 0 ? r : pass_end_pov(p);
}

int artifact_scan(struct artifact_read *rd, const struct model_table *t,
		  const struct artifact_scan *scan, struct err *err)
{
	struct pass p = {
		.rd = rd,
		.t = t,
		.scan = scan,
		.plan = {.text = BUF_NULL},
		.b = BUF_INIT((size_t)4 << 30),
		.pov = ARTIFACT_NODE_NULL,
	};
	int r = pass_run(&p);

	plan_deinit(&p.plan);
	buf_deinit(&p.b);
	artifact_node_deinit(&p.pov);
	if (r < 0)
		return err_set(
			err, r, "cannot read table '%s': %s", t->name,
			r == -EBADMSG
				? "rows changed without their triggers: run outboxfs adopt again"
				: strerrordesc_np(-r));
	return 0;
}

/* What is damaged */

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
