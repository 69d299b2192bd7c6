/* SPDX-License-Identifier: MIT */
/*
 * Verify: every object is read and hashed, the index is looked at, every ZIP's
 * layout is computed. Repair reads the database afresh into a draft that keeps
 * only what is damaged: what still has the same bytes is whole again.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "outboxfs/format/deflate.h"
#include "outboxfs/store/check.h"
#include "outboxfs/store/outbox.h"
#include "work/capture.h"

#define READ_BYTES ((size_t)1 << 20)

struct verifying {
	struct work *w;
	verify_func_t func;
	void *arg;
	struct verify_result *result;
	uint8_t *data; /* owned; READ_BYTES */
	const char *problem;
};

static int tell(struct verifying *v, const char *what, const char *problem)
{
	v->result->n_damaged++;
	return v->func(what, problem, v->arg);
}

static int on_problem(const char *problem, void *arg)
{
	return tell(arg, "store.db", problem);
}

/* 0: whole; 1: *ret_problem says what is wrong with it. */
static int read_object(struct verifying *v, const struct object *o,
		       const char **ret_problem)
{
	CLEANUP(object_closep) struct object_reader *reader = NULL;
	CLEANUP(sha256_deinit) struct sha256 hash = SHA256_NULL;
	uint8_t sum[SHA256_BYTES];
	uint32_t crc = 0;
	ssize_t n = 0;
	int r;

	*ret_problem = "its pack cannot be read";
	r = object_open(v->w->store, o->id, &reader);
	if (r < 0)
		return r == -ENOMEM ? r : 1;
	r = sha256_init(&hash);
	for (int64_t at = 0; r == 0 && at < o->size; at += n) {
		n = object_read(reader, at, v->data, READ_BYTES);
		if (n <= 0) {
			*ret_problem = n == -EBADMSG ? "its bytes are damaged"
						     : *ret_problem;
			return n == -ENOMEM ? (int)n : 1;
		}
		crc = crc32_add(crc, v->data, (size_t)n);
		r = sha256_add(&hash, v->data, (size_t)n);
	}
	if (r == 0)
		r = sha256_end(&hash, sum);
	if (r < 0)
		return r;
	*ret_problem = "its SHA-256 or CRC-32 is another one";
	return memcmp(sum, o->sha256, sizeof(sum)) != 0 || crc != o->crc;
}

static int on_path(const char *path, int64_t since, int64_t until, void *arg)
{
	CLEANUP(buf_deinit) struct buf what = BUF_NULL;
	struct verifying *v = arg;

	if (until == INT64_MAX)
		buf_printf(&what, "%s (since snapshot %lld)", path,
			   (long long)since);
	else
		buf_printf(&what, "%s (snapshots %lld to %lld)", path,
			   (long long)since, (long long)until - 1);
	return buf_error(&what) ? buf_error(&what)
				: v->func(buf_str(&what), v->problem, v->arg);
}

static int verify_objects(struct verifying *v)
{
	struct progress *p = &v->w->progress;
	struct object o = {.id = 0};
	int r;

	while ((r = object_next(v->w->store, o.id, &o)) == 1) {
		if (atomic_load(&p->stop))
			return -ECANCELED;
		r = read_object(v, &o, &v->problem);
		if (r == 1) {
			v->result->n_damaged++;
			r = object_mark_damaged(v->w->store, o.id);
			if (r == 0)
				r = object_paths(v->w->store, o.id, on_path, v);
		}
		if (r < 0)
			return r;
		v->result->n_objects++;
		v->result->n_bytes += o.size;
		atomic_store(&p->bytes, v->result->n_bytes);
	}
	return r;
}

/* The layout must be what it was when the ZIP appeared. */
static int on_zip(const struct outbox_entry *e, void *arg)
{
	struct verifying *v = arg;
	struct outbox_reader *reader;
	uint8_t byte;
	char what[300];
	ssize_t n;
	int r;

	v->result->n_zips++;
	(void)snprintf(what, sizeof(what), "outbox/%s", e->name);
	r = outbox_open(v->w->store, e->id, &reader);
	if (r < 0)
		return r == -ENOMEM
			       ? r
			       : tell(v, what, "its entries are not there");
	n = outbox_read(reader, e->bytes, &byte, 1);
	if (n == 0)
		n = outbox_read(reader, e->bytes - 1, &byte, 1) == 1 ? 0 : 1;
	outbox_close(reader);
	return n != 0 ? tell(v, what, "its size is another one") : 0;
}

static int repair(struct verifying *v, struct err *err)
{
	CLEANUP(draft_freep) struct draft *d = NULL;
	CLEANUP(capture_deinit) struct capture c = CAPTURE_NULL;
	int r;

	c.setup = true;
	c.data = true;
	c.afresh = true;
	r = capture_check_timeline(v->w, err);
	if (r == 0)
		r = draft_begin(v->w->store, &d, err);
	if (r < 0)
		return r;
	draft_for_repair(d);
	r = capture_run(v->w, d, &c, err);
	return r < 0 ? r : draft_repair(d, &v->result->n_repaired, err);
}

int work_verify(struct work *w, bool repair_too, verify_func_t func, void *arg,
		struct verify_result *ret, struct err *err)
{
	struct verifying v = {.w = w, .func = func, .arg = arg, .result = ret};
	int r;

	*ret = (struct verify_result){0};
	v.data = malloc(READ_BYTES);
	if (!v.data)
		return -ENOMEM;
	atomic_store(&w->progress.step, "verifying");
	r = store_check(w->store, on_problem, &v);
	if (r == 0)
		r = verify_objects(&v);
	if (r == 0)
		r = outbox_list(w->store, 0, on_zip, &v);
	free(v.data);
	if (r < 0)
		return err_set(err, r, "cannot read the store: %s",
			       strerrordesc_np(-r));
	if (repair_too && ret->n_damaged > 0)
		r = repair(&v, err);
	return r;
}
