/* SPDX-License-Identifier: MIT */
/*
 * Purging. What goes is listed in the job's log, or, with dry_run, what would.
 */
#include "outboxfs/store/purge.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "outboxfs/base/clock.h"
#include "outboxfs/base/fault.h"
#include "outboxfs/format/json.h"
#include "work/orphans.h"
#include "work/purge.h"

struct purging {
	struct work *w;
	const struct job *job;
	const struct command *c;
	int64_t n;        /* things that went, or would */
	int64_t rows;     /* of the database */
	int64_t bytes;    /* given back to the disk */
	struct buf lines; /* for the log, each with a NUL */

	/* POVs whose rows go */
	int64_t *povs; /* owned */
	size_t n_povs;
	size_t cap;
	size_t next;
	struct artifact_read read; /* in which they are found */
};

/* A line for the log; what was deleted is logged once that is committed. */
static int log_one(struct purging *p, const char *path)
{
	p->n++;
	buf_puts(&p->lines, p->c->dry_run ? "would go: " : "gone: ");
	buf_add(&p->lines, path, strlen(path) + 1);
	return buf_error(&p->lines);
}

static int write_lines(struct purging *p)
{
	int r = job_log_all(p->w->store, p->job->id, p->lines.data,
			    p->lines.len);

	buf_clear(&p->lines);
	return r;
}

/*
 * The store's functions call back inside of their transaction, in which the
 * log cannot be written to: so what would go is collected. What goes is logged
 * by them, in the same transaction: a log that says so is never lost.
 */
struct collected {
	struct purging *p;
	struct buf paths; /* each with a NUL */
};

static int collect(const char *path, wall_s_t time, void *arg)
{
	struct collected *c = arg;

	(void)time;
	if (!c->p->c->dry_run) {
		c->p->n++;
		return 0;
	}
	buf_add(&c->paths, path, strlen(path) + 1);
	return buf_error(&c->paths);
}

static int log_collected(const struct collected *c)
{
	int r = 0;

	for (size_t at = 0; r == 0 && at < c->paths.len;
	     at += strlen(c->paths.data + at) + 1)
		r = log_one(c->p, c->paths.data + at);
	return r;
}

static int purge_store(struct purging *p)
{
	static const struct {
		const char *type;
		int (*func)(struct store *store, const struct purge *purge);
	} kinds[] = {{"outbox", purge_outbox},
		     {"snapshots", purge_snapshots},
		     {"jobs", purge_jobs}};
	struct collected collected = {.p = p, .paths = BUF_NULL};
	struct purge purge = {
		.keep = p->c->keep,
		.name = p->c->name,
		.not_job = p->job->id,
		.log_job = p->job->id,
		.dry_run = p->c->dry_run,
		.func = collect,
		.arg = &collected,
	};
	int r = 0;

	if (p->c->older >= 0)
		purge.before = clock_wall() - p->c->older;
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(kinds); i++)
		if (strcmp(kinds[i].type, p->c->type) == 0)
			r = kinds[i].func(p->w->store, &purge);
	if (r == 0)
		r = log_collected(&collected);
	buf_deinit(&collected.paths);
	return r;
}

/* Space */

static int go_on(void *arg)
{
	const struct purging *p = arg;

	return atomic_load(&p->w->progress.stop) ? -ECANCELED : 0;
}

static int give_back(struct purging *p, struct err *err)
{
	int64_t dropped = 0;
	int r;

	if (p->c->dry_run)
		return 0;
	atomic_store(&p->w->progress.step, "compacting");
	r = purge_objects(p->w->store, &dropped);
	if (r == 0)
		r = purge_compact(p->w->store, go_on, p, &p->bytes, err);
	return r;
}

/* Rows of the database */

static int add_pov(struct purging *p, int64_t id)
{
	if (p->n_povs == p->cap) {
		size_t cap = p->cap ? p->cap * 2 : 256;
		int64_t *list = reallocarray(p->povs, cap, sizeof(*list));

		if (!list)
			return -ENOMEM;
		p->povs = list;
		p->cap = cap;
	}
	p->povs[p->n_povs++] = id;
	return 0;
}

/* Numbers by what they are, other names byte by byte. */
static int compare_names(const char *a, const char *b)
{
	char *end_a;
	char *end_b;
	double x = strtod(a, &end_a);
	double y = strtod(b, &end_b);

	if (end_a == a || *end_a || end_b == b || *end_b)
		return strcmp(a, b);
	return (x > y) - (x < y);
}

/* What a dimension has to be called; NULL: anything. */
static const char *wanted_name(const struct command *c, const char *dim)
{
	for (const char *const *d = c->dims; d && *d; d += 2)
		if (strcmp(d[0], dim) == 0)
			return d[1];
	return NULL;
}

static int name_matches(struct purging *p, struct artifact_read *rd,
			unsigned dim, const struct value *v)
{
	CLEANUP(arena_deinit) struct arena arena = ARENA_NULL;
	const char *name = wanted_name(p->c, rd->model->dims[dim].name);
	bool last = dim + 1 == rd->model->n_dims;
	const char *from = last ? p->c->from : NULL;
	const char *to = last ? p->c->to : NULL;
	struct artifact_naming naming;
	int r;

	if (!name && !from && !to)
		return 1;
	r = artifact_value_name(rd, dim, v, false, &arena, &naming);
	if (r < 0)
		return r;
	return (!name || strcmp(naming.name.text, name) == 0) &&
	       (!from || compare_names(naming.name.text, from) >= 0) &&
	       (!to || compare_names(naming.name.text, to) <= 0);
}

static int is_wanted(struct purging *p, struct artifact_read *rd,
		     const struct artifact_node *pov)
{
	int r = 1;

	if (strcmp(p->c->type, "orphans") == 0)
		return orphans_check(rd, pov);
	for (unsigned i = 0; r == 1 && i < pov->level; i++)
		r = name_matches(p, rd, i, &pov->values[i]);
	return r;
}

static int look_at_pov(int64_t id, void *arg)
{
	CLEANUP(artifact_node_deinit)
	struct artifact_node pov = ARTIFACT_NODE_NULL;
	struct purging *p = arg;
	int r;

	r = go_on(p);
	if (r == 0)
		r = artifact_pov(&p->read, id, &pov);
	if (r == 0)
		r = is_wanted(p, &p->read, &pov);
	if (r == 1)
		r = artifact_is_alive(&p->read, &pov) == 0;
	if (r == 1)
		r = add_pov(p, id);
	return r == -ENOENT ? 0 : r;
}

static int log_pov(struct purging *p, struct artifact_read *rd,
		   const struct artifact_node *pov)
{
	CLEANUP(arena_deinit) struct arena arena = ARENA_NULL;
	CLEANUP(buf_deinit) struct buf path = BUF_NULL;
	struct artifact_naming naming;
	int r = 0;

	buf_puts(&path, "data");
	for (unsigned i = 0; r == 0 && i < pov->level; i++) {
		r = artifact_value_name(rd, i, &pov->values[i], false, &arena,
					&naming);
		buf_putc(&path, '/');
		buf_puts(&path, naming.name.text);
	}
	if (r == 0)
		r = buf_error(&path);
	return r < 0 ? r : log_one(p, buf_str(&path));
}

/* Asked inside of the transaction; 1: *ret is the next that still fits. */
static int next_pov(struct artifact_read *rd, int64_t *ret, void *arg)
{
	struct purging *p = arg;
	int r = 0;

	while (r == 0 && p->next < p->n_povs) {
		CLEANUP(artifact_node_deinit)
		struct artifact_node pov = ARTIFACT_NODE_NULL;

		*ret = p->povs[p->next++];
		r = go_on(p);
		if (r == 0)
			r = artifact_pov(rd, *ret, &pov);
		if (r == 0)
			r = is_wanted(p, rd, &pov);
		if (r == 1)
			r = log_pov(p, rd, &pov) < 0 ? -EIO : 1;
		if (r == -ENOENT)
			r = 0;
	}
	/* Before the commit, so that a crash does not hide what went. */
	return r == 0 ? write_lines(p) : r;
}

/* The keys of a command must be dimensions of the model. */
static int check_dims(const struct command *c, const struct model *m,
		      struct err *err)
{
	if (c->from && c->to && compare_names(c->from, c->to) > 0)
		return err_set(
			err, -EINVAL,
			"nothing is from '%s' to '%s': the lower one comes first",
			c->from, c->to);
	for (const char *const *d = c->dims; d && *d; d += 2) {
		bool found = false;

		for (size_t i = 0; i < m->n_dims; i++)
			found |= strcmp(m->dims[i].name, d[0]) == 0;
		if (!found)
			return err_set(
				err, -EINVAL,
				"the model has no dimension '%s': see status.json",
				d[0]);
	}
	return 0;
}

int purge_check(struct work *w, const struct command *c, struct err *err)
{
	CLEANUP(artifact_read_end) struct artifact_read rd = ARTIFACT_READ_NULL;
	struct err other = ERR_NULL;

	if (!c->dims || !*c->dims)
		return 0;
	/* A database that cannot be read now is the job's trouble. */
	if (artifact_read_begin(w->artifact, true, &rd, &other) < 0)
		return 0;
	return check_dims(c, rd.model, err);
}

static int purge_rows(struct purging *p, struct err *err)
{
	unsigned n = 1;
	int64_t id;
	int r;

	atomic_store(&p->w->progress.step, "reading");
	/* As a capture does: rows that have no number yet would be left out. */
	r = artifact_capture_begin(p->w->artifact, &p->w->progress.stop,
				   &p->read, &n, err);
	if (r < 0)
		return r;
	r = check_dims(p->c, p->read.model, err);
	if (r == 0)
		r = artifact_marked_povs(&p->read, 0, look_at_pov, p);
	while (r == 0 && p->c->dry_run && (r = next_pov(&p->read, &id, p)) == 1)
		r = 0;
	artifact_read_end(&p->read); /* it would be in the way of writing */
	if (r < 0 || p->c->dry_run)
		return r;
	r = fault("purge-delete");
	return r < 0 ? r
		     : artifact_delete_povs(p->w->artifact, next_pov, p,
					    &p->rows, err);
}

static int put_counts(const struct purging *p, struct buf *ret)
{
	struct json j = JSON_INIT(ret);

	json_begin_object(&j);
	json_key_boolean(&j, "dry_run", p->c->dry_run);
	json_key_int(&j, "gone", p->n);
	json_key_int(&j, "rows", p->rows);
	json_key_int(&j, "bytes", p->bytes);
	json_end_object(&j);
	return buf_error(ret);
}

int work_purge(struct work *w, const struct job *job, const struct command *c,
	       struct buf *counts, struct err *err)
{
	struct purging p = {.w = w, .job = job, .c = c, .lines = BUF_NULL};
	bool rows = strcmp(c->type, "data") == 0 ||
		    strcmp(c->type, "orphans") == 0;
	int r;

	if (rows)
		r = purge_rows(&p, err);
	else if (strcmp(c->type, "output") == 0)
		r = purge_output(w->store, c->dry_run);
	else
		r = purge_store(&p);
	if (r == 0)
		r = write_lines(&p);
	if (r == 0 && !rows)
		r = give_back(&p, err);
	if (r == 0)
		r = put_counts(&p, counts);
	buf_deinit(&p.lines);
	free(p.povs);
	return r;
}
