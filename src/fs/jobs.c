/* SPDX-License-Identifier: MIT */
/*
 * jobs/: what was asked for and what became of it. A file of a job that has
 * ended never changes; of one that has not, each look gets what is true then,
 * as a version of its own. An open "state" is read anew from its beginning,
 * and can be polled.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/control.h"
#include "fs/fs.h"
#include "fs/handle.h"
#include "outboxfs/base/clock.h"
#include "outboxfs/format/json.h"
#include "outboxfs/store/job.h"

#define LATEST        "latest"
#define COOKIE_LATEST COOKIE_FIRST

static wall_s_t job_time(const struct job *job)
{
	if (job->finished_at)
		return job->finished_at;
	return job->started_at ? job->started_at : job->queued_at;
}

static int jobs_lookup(struct call *call, struct artifact_read *rd,
		       const struct node *node, const char *name, size_t len,
		       struct node *ret)
{
	CLEANUP(job_deinit) struct job job = JOB_NULL;
	int64_t id = name_number(name, len);
	int r;

	(void)rd;
	(void)node;
	if (strcmp(name, LATEST) == 0) {
		*ret = (struct node){.kind = NODE_JOB_LATEST};
		return 0;
	}
	if (id == 0)
		return -ENOENT;
	r = job_get(call->mount->store, id, &job);
	if (r == 0)
		*ret = (struct node){.kind = NODE_JOB, .id = id};
	return r;
}

static int list_job(int64_t id, enum job_state state, wall_s_t time, void *arg)
{
	struct node node = {.kind = NODE_JOB, .id = id};
	char name[24];

	(void)state;
	(void)snprintf(name, sizeof(name), "%lld", (long long)id);
	return lister_add(arg, name, &node, NULL, time, COOKIE_FIRST + id);
}

static int jobs_list(struct call *call, struct artifact_read *rd,
		     const struct node *node, off_t cookie, struct lister *l)
{
	struct node latest = {.kind = NODE_JOB_LATEST};
	struct facts facts;
	int r = 0;

	(void)node;
	if (cookie < COOKIE_LATEST) {
		r = latest_ops.facts(call, rd, &latest, &facts);
		if (r == 0)
			r = lister_add(l, LATEST, &latest, &facts, facts.time,
				       COOKIE_LATEST);
		if (r == -ENOENT)
			r = 0;
	}
	if (r == 0)
		r = job_list(call->mount->store,
			     cookie > COOKIE_FIRST ? cookie - COOKIE_FIRST : 0,
			     list_job, l);
	return r < 0 ? r : 0;
}

static int jobs_time(struct call *call, struct artifact_read *rd,
		     const struct node *node, wall_s_t *ret)
{
	CLEANUP(job_deinit) struct job job = JOB_NULL;
	int r;

	(void)rd;
	(void)node;
	r = job_get(call->mount->store, 0, &job);
	*ret = r == 0 ? job.queued_at : call->mount->started;
	return r == -ENOENT ? 0 : r;
}

const struct node_ops jobs_ops = {
	.type = S_IFDIR,
	.stored = true,
	.cache = CACHE_JOB,
	.lookup = jobs_lookup,
	.list = jobs_list,
	.time = jobs_time,
};

/* jobs/<n>/ */

static const struct {
	const char *name;
	enum node_kind kind;
} files[] = {
	{"request.json", NODE_JOB_REQUEST},   {"state", NODE_JOB_STATE},
	{"progress.json", NODE_JOB_PROGRESS}, {"log", NODE_JOB_LOG},
	{"result.json", NODE_JOB_RESULT},
};

static int job_lookup(struct call *call, struct artifact_read *rd,
		      const struct node *node, const char *name, size_t len,
		      struct node *ret)
{
	(void)call;
	(void)rd;
	(void)len;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		if (strcmp(files[i].name, name) != 0)
			continue;
		*ret = (struct node){.kind = files[i].kind, .id = node->id};
		return 0;
	}
	return -ENOENT;
}

static int job_dir_time(struct call *call, struct artifact_read *rd,
			const struct node *node, wall_s_t *ret)
{
	CLEANUP(job_deinit) struct job job = JOB_NULL;
	int r;

	(void)rd;
	r = job_get(call->mount->store, node->id, &job);
	if (r < 0)
		return r == -ENOENT ? -ESTALE : r;
	*ret = job_time(&job);
	return 0;
}

static int job_dir_list(struct call *call, struct artifact_read *rd,
			const struct node *node, off_t cookie, struct lister *l)
{
	CLEANUP(job_deinit) struct job job = JOB_NULL;
	size_t first =
		cookie >= COOKIE_FIRST ? (size_t)cookie - COOKIE_FIRST + 1 : 0;
	int r;

	(void)rd;
	r = job_get(call->mount->store, node->id, &job);
	for (size_t i = first; r == 0 && i < ARRAY_SIZE(files); i++) {
		struct node child = {.kind = files[i].kind, .id = node->id};

		if (child.kind == NODE_JOB_RESULT && !job_has_ended(job.state))
			continue;
		r = lister_add(l, files[i].name, &child, NULL, 0,
			       COOKIE_FIRST + (off_t)i);
	}
	return r < 0 ? r : 0;
}

const struct node_ops job_ops = {
	.type = S_IFDIR,
	.stored = true,
	.cache = CACHE_JOB,
	.lookup = job_lookup,
	.list = job_dir_list,
	.time = job_dir_time,
};

/* The files */

static int put_file(struct call *call, enum node_kind kind,
		    const struct job *job, struct buf *b)
{
	int r = 0;

	if (kind == NODE_JOB_REQUEST) {
		buf_puts(b, job->request);
		if (b->len && b->data[b->len - 1] != '\n')
			buf_putc(b, '\n');
	} else if (kind == NODE_JOB_STATE) {
		buf_printf(b, "%s\n", job_state_name(job->state));
	} else if (kind == NODE_JOB_PROGRESS) {
		r = control_progress(call->mount, job, b);
	} else if (kind == NODE_JOB_LOG) {
		r = job_read_log(call->mount->store, job->id, b);
	} else {
		r = job_has_ended(job->state) ? job_result_json(job, b)
					      : -ENOENT;
	}
	return r < 0 ? r : buf_error(b);
}

/* FNV-1a, folded: what tells one content from another. Never 0. */
static unsigned content_tag(const struct buf *b)
{
	uint64_t hash = 0xcbf29ce484222325ULL;

	for (size_t i = 0; i < b->len; i++)
		hash = (hash ^ (uint8_t)b->data[i]) * 0x100000001b3ULL;
	hash ^= hash >> 32;
	hash &= NODE_WIDE_TAG_MASK;
	return hash ? (unsigned)hash : 1;
}

static void fill_facts(const struct node *node, const struct job *job,
		       const struct buf *b, struct facts *ret)
{
	bool ended = job_has_ended(job->state);

	*ret = (struct facts){
		.node = {.kind = node->kind, .id = node->id},
		.size = (int64_t)b->len,
		.time = ended ? job->finished_at : clock_wall(),
	};
	if (node->kind == NODE_JOB_REQUEST)
		ret->time = job->queued_at;
	else if (node->kind == NODE_JOB_STATE)
		ret->time = job_time(job);
	else if (node->kind == NODE_JOB_PROGRESS && ended)
		ret->time++; /* later than any that was shown before */
	/* A line may be logged when all is over. */
	if ((!ended && node->kind != NODE_JOB_REQUEST) ||
	    node->kind == NODE_JOB_LOG)
		ret->node.tag = content_tag(b);
}

static int job_file_facts(struct call *call, struct artifact_read *rd,
			  const struct node *node, struct facts *ret)
{
	CLEANUP(buf_deinit) struct buf b = BUF_NULL;
	CLEANUP(job_deinit) struct job job = JOB_NULL;
	int r;

	(void)rd;
	r = job_get(call->mount->store, node->id, &job);
	if (r == 0)
		r = put_file(call, node->kind, &job, &b);
	if (r < 0)
		return r;
	fill_facts(node, &job, &b, ret);
	return ret->node.tag ? version_keep(call, ret, &b) : 0;
}

static int job_file_render(struct call *call, struct artifact_read *rd,
			   const struct facts *facts, struct version *v)
{
	CLEANUP(buf_deinit) struct buf b = BUF_NULL;
	CLEANUP(job_deinit) struct job job = JOB_NULL;
	int r;

	(void)rd;
	v->time = facts->time;
	r = job_get(call->mount->store, facts->node.id, &job);
	if (r == 0)
		r = put_file(call, facts->node.kind, &job, &b);
	if (r == 0)
		r = versions_write(v, b.data, b.len, call->mount->store);
	return r;
}

/* An open "state" of a job that has not ended. */
struct state_handle {
	struct handle handle; /* first */
	_Atomic int shown;    /* enum job_state that was read last; -1: none */
	wall_s_t time;
};

static int present_state(struct mount *m, int64_t id, enum job_state *ret)
{
	CLEANUP(job_deinit) struct job job = JOB_NULL;
	int r;

	r = job_get(m->store, id, &job);
	if (r == 0)
		*ret = job.state;
	return r;
}

static int state_read(struct call *call, struct handle *h)
{
	struct state_handle *sh = (struct state_handle *)h;
	int shown = atomic_load(&sh->shown);
	enum job_state state = JOB_QUEUED;
	char text[32];
	int r = 0;
	int n;

	/* One word is read in one state, even byte by byte. */
	if (call->off == 0 || shown < 0) {
		r = present_state(call->mount, h->node.id, &state);
		if (r < 0)
			return r;
		atomic_store(&sh->shown, (int)state);
	} else {
		state = (enum job_state)shown;
	}
	n = snprintf(text, sizeof(text), "%s\n", job_state_name(state));
	handle_reply_slice(call, text, (size_t)n);
	return 0;
}

static void state_attr(struct mount *m, struct handle *h, int64_t *ret_size,
		       wall_s_t *ret_time)
{
	struct state_handle *sh = (struct state_handle *)h;
	enum job_state state = JOB_QUEUED;

	if (present_state(m, h->node.id, &state) < 0)
		state = JOB_QUEUED;
	*ret_size = (int64_t)strlen(job_state_name(state)) + 1;
	*ret_time = sh->time;
}

/* Ready: there is a state that was not read through this file yet. */
static unsigned state_poll(struct mount *m, struct handle *h)
{
	int shown = atomic_load(&((struct state_handle *)h)->shown);
	enum job_state state;

	if (present_state(m, h->node.id, &state) == 0 && (int)state == shown)
		return 0;
	return POLLIN | POLLRDNORM | POLLPRI;
}

static void state_free(struct mount *m, struct handle *h)
{
	(void)m;
	free(h);
}

static const struct handle_ops state_ops = {
	.read = state_read,
	.attr = state_attr,
	.poll = state_poll,
	.free = state_free,
};

static int job_file_open(struct call *call, const struct node *node,
			 struct handle **ret)
{
	struct state_handle *sh;

	if (node->kind != NODE_JOB_STATE || node->tag == 0)
		return 1;
	sh = calloc(1, sizeof(*sh));
	if (!sh)
		return -ENOMEM;
	atomic_init(&sh->shown, -1);
	sh->time = clock_wall();
	handle_add(call->mount, &sh->handle, node, &state_ops);
	call->fi.direct_io = 1;
	*ret = &sh->handle;
	return 0;
}

const struct node_ops job_file_ops = {
	.type = S_IFREG,
	.stored = true,
	.cache = CACHE_DOCUMENT,
	.facts = job_file_facts,
	.render = job_file_render,
	.open = job_file_open,
};

/* As a control file answers it: the result, or what is known so far. */
int job_answer(const struct job *job, struct buf *b)
{
	struct json j = JSON_INIT(b);
	char time[CLOCK_TEXT_BYTES];

	if (job_has_ended(job->state))
		return job_result_json(job, b);
	json_begin_object(&j);
	json_key_int(&j, "job", job->id);
	json_key_string(&j, "kind", job->kind);
	json_key_string(&j, "state", job_state_name(job->state));
	json_key_null(&j, "error");
	json_key_string(&j, "requested_by", job->requested_by);
	json_key_string(&j, "queued_at", clock_format(job->queued_at, time));
	json_key(&j, "started_at");
	if (job->started_at)
		json_string(&j, clock_format(job->started_at, time),
			    strlen(time));
	else
		json_null(&j);
	json_key_null(&j, "finished_at");
	json_end_object(&j);
	json_end_document(&j);
	return buf_error(b);
}
