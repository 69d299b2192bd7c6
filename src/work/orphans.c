/* SPDX-License-Identifier: MIT */
#include "work/orphans.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "outboxfs/artifact/capture.h"
#include "outboxfs/base/fault.h"

/* POVs to delete: what was found in the draft, then what still is one. */
struct orphans {
	struct work *w;
	int64_t job;
	struct buf lines; /* for the log, each with a NUL */
	struct arena arena;
	struct value (*keys)[MODEL_DIMS_MAX]; /* owned; bytes by arena */
	unsigned n_dims;
	size_t n;
	size_t cap;
	size_t next;
};

static int add_orphan(int64_t pov, const struct value *keys, unsigned n,
		      void *arg)
{
	struct orphans *o = arg;
	int r = 0;

	(void)pov;
	if (n > MODEL_DIMS_MAX)
		return -EBADMSG;
	if (o->n == o->cap) {
		size_t cap = o->cap ? o->cap * 2 : 64;
		void *list = reallocarray(o->keys, cap, sizeof(*o->keys));

		if (!list)
			return -ENOMEM;
		o->keys = list;
		o->cap = cap;
	}
	for (unsigned i = 0; r == 0 && i < n; i++)
		r = value_copy(&o->arena, &keys[i], &o->keys[o->n][i]);
	o->n_dims = n;
	o->n++;
	return r;
}

struct rule_look {
	struct artifact_read *rd;
	bool any;    /* rule is named */
	bool exists; /* one of them */
};

static int look_at_rule(const struct value *v, void *arg)
{
	struct rule_look *look = arg;
	int r = artifact_is_missing(look->rd, -1, v);

	look->any = true;
	look->exists |= r == 0;
	return r < 0 ? r : 0;
}

int orphans_check(struct artifact_read *rd, const struct artifact_node *pov)
{
	struct rule_look look = {.rd = rd};
	const struct model *m = rd->model;
	int r = 0;

	for (size_t i = 0; r == 0 && i < m->n_dims; i++)
		r = artifact_is_missing(rd, (int)i, &pov->values[i]);
	for (int slot = 0; r == 0 && slot < m->n_slots; slot++)
		r = artifact_rules(rd, model_slot(m, slot), pov, look_at_rule,
				   &look);
	return r != 0 ? r : look.any && !look.exists;
}

static int log_pov(struct orphans *o, const struct value *keys)
{
	buf_puts(&o->lines, "deleting orphan:");
	for (unsigned i = 0; i < o->n_dims; i++) {
		buf_putc(&o->lines, i ? '/' : ' ');
		name_text(&o->lines, &keys[i]);
	}
	buf_putc(&o->lines, '\0');
	return buf_error(&o->lines);
}

/* Others may have changed the database since the capture. */
static int next_orphan(struct artifact_read *rd, int64_t *ret, void *arg)
{
	struct orphans *o = arg;
	int r = 0;

	while (r == 0 && o->next < o->n) {
		CLEANUP(artifact_node_deinit)
		struct artifact_node pov = ARTIFACT_NODE_NULL;
		const struct value *keys = o->keys[o->next++];

		r = artifact_find_pov(rd, keys, ret);
		if (r == 0)
			r = artifact_pov(rd, *ret, &pov);
		if (r == 0)
			r = orphans_check(rd, &pov);
		if (r == 1)
			r = log_pov(o, keys) < 0 ? -ENOMEM : 1;
		if (r == -ENOENT)
			r = 0;
	}
	/* Before the commit, so that a crash does not hide what went. */
	return r == 0 ? job_log_all(o->w->store, o->job, o->lines.data,
				    o->lines.len)
		      : r;
}

int orphans_delete(struct work *w, struct draft *d, int64_t job,
		   struct err *err)
{
	struct orphans o = {.w = w, .job = job, .lines = BUF_NULL};
	char text[64];
	int64_t rows = 0;
	int r;

	r = draft_orphans(d, add_orphan, &o);
	if (r == 0)
		r = fault("orphans-delete");
	if (r == 0 && o.n > 0)
		r = artifact_delete_povs(w->artifact, next_orphan, &o, &rows,
					 err);
	if (r == 0 && o.n > 0) {
		(void)snprintf(text, sizeof(text),
			       "rows of orphans deleted: %lld",
			       (long long)rows);
		r = job_log(w->store, job, text);
	}
	buf_deinit(&o.lines);
	free(o.keys);
	arena_deinit(&o.arena);
	return r;
}
