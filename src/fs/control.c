/* SPDX-License-Identifier: MIT */
/*
 * control/: a write(2) is a command, and its result is the command's.
 *
 * The kernel locks an inode during a write, so that two who write to the same
 * one would wait for each other; therefore each look at a control file finds
 * another node.
 *
 * A writer with wait=yes is a call in the list of those who wait. Whoever takes
 * it out of the list answers it:
 *
 * 1. It is put into the list before its command is carried out, with job 0,
 *    which also takes one of the places that there are for waiting.
 * 2. With job 0 it belongs to the thread that works on it. An interrupt only
 *    sets its mark.
 * 3. With a job it belongs to whoever comes first: the end of the job, an
 *    interrupt, the end of the mount. After the reply neither it nor its file
 *    may be touched.
 *
 * Some programs send a failed write again, byte for byte. After a wait that
 * ended badly, or was interrupted, the same bytes on the same descriptor mean
 * the same job.
 */
#include "fs/control.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/handle.h"
#include "fs/publish.h"
#include "outboxfs/base/log.h"

#define PENDING_MAX 1000 /* jobs before the last that are looked at */

struct controls {
	/* fixed after controls_new() */
	struct mount *mount;

	/* under lock */
	struct lock lock;
	pthread_cond_t idle;
	struct runner *runner; /* owned; NULL: not started, or stopped */
	unsigned n_users;      /* threads that use it */
	bool stopping;
	struct call *waiting; /* by next */
	unsigned n_waiting;
	int64_t told; /* the runner's last job whose end was told */

	_Atomic unsigned tag; /* of the last look */
};

struct control_file {
	struct handle handle; /* first */
	enum command_kind kind;

	/* under the controls' lock */
	struct buf refused; /* why the last command was; empty: it was not */
	int64_t job;        /* of the last command; 0: none yet */
	struct buf text;    /* what is being read */
	off_t base;         /* where reading it began; -1: it did not */
	char *waited;       /* owned; a command whose wait did not end well */
	size_t n_waited;
	int64_t waited_job;
};

static const struct {
	const char *name;
	enum node_kind node;
	enum command_kind command;
} files[] = {
	{"export", NODE_CONTROL_EXPORT, COMMAND_EXPORT},
	{"purge", NODE_CONTROL_PURGE, COMMAND_PURGE},
	{"abort", NODE_CONTROL_ABORT, COMMAND_ABORT},
};

int controls_new(struct mount *m, struct controls **ret)
{
	struct controls *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->mount = m;
	lock_init(&c->lock, "control", LOCK_RANK_TEXTS);
	lock_cond_init(&c->idle);
	*ret = c;
	return 0;
}

struct controls *controls_free(struct controls *c)
{
	if (!c)
		return NULL;
	pthread_cond_destroy(&c->idle);
	lock_deinit(&c->lock);
	free(c);
	return NULL;
}

int controls_start(struct controls *c, struct err *err)
{
	struct runner_events events = {
		.published = publish_snapshot,
		.changed = publish_job,
		.arg = c->mount,
	};
	struct runner *runner;
	int r;

	r = runner_start(&c->mount->work, &events, &runner);
	if (r < 0)
		return err_set(err, r, "cannot start running jobs: %s",
			       strerrordesc_np(-r));
	lock_take(&c->lock);
	c->runner = runner;
	lock_drop(&c->lock);
	return 0;
}

static struct runner *runner_use(struct controls *c)
{
	LOCK_SCOPE(&c->lock);

	if (c->stopping || !c->runner)
		return NULL;
	c->n_users++;
	return c->runner;
}

static void runner_unuse(struct controls *c)
{
	LOCK_SCOPE(&c->lock);

	if (--c->n_users == 0)
		pthread_cond_broadcast(&c->idle);
}

/* Takes a call out that waits for this job (0: for any). */
static struct call *take_waiting(struct controls *c, int64_t job)
{
	LOCK_SCOPE(&c->lock);

	for (struct call **at = &c->waiting; *at; at = &(*at)->next) {
		struct call *call = *at;

		if (call->job == 0 || (job != 0 && call->job != job))
			continue;
		*at = call->next;
		c->n_waiting--;
		return call;
	}
	return NULL;
}

void controls_stop(struct controls *c)
{
	struct runner *runner;
	struct call *call;

	if (!c)
		return;
	lock_take(&c->lock);
	c->stopping = true;
	lock_drop(&c->lock);
	while ((call = take_waiting(c, 0)))
		call_end_write(call, -EINTR);

	lock_take(&c->lock);
	while (c->n_users > 0)
		lock_wait(&c->lock, &c->idle, 0);
	runner = TAKE_PTR(c->runner);
	lock_drop(&c->lock);
	runner_stop(runner);
}

int control_progress(struct mount *m, const struct job *job, struct buf *ret)
{
	struct runner *runner = runner_use(m->controls);
	int r;

	if (!runner)
		return -ESHUTDOWN;
	r = runner_progress_json(runner, job, ret);
	runner_unuse(m->controls);
	return r;
}

/* What a writer hears of a job that has ended. */
static int end_errno(enum job_state state)
{
	switch (state) {
	case JOB_DONE:
		return 0;
	case JOB_ABORTED:
		return -ECANCELED;
	case JOB_LIMIT_REACHED:
		return -EDQUOT;
	case JOB_QUEUED:
	case JOB_PROCESSING:
	case JOB_ABORTING:
	case JOB_FAILED:
		break;
	}
	return -EIO;
}

static void forget_waited_locked(struct control_file *f)
{
	free(f->waited);
	f->waited = NULL;
	f->n_waited = 0;
	f->waited_job = 0;
}

static void answer_waiting(struct controls *c, int64_t job,
			   enum job_state state)
{
	int result = end_errno(state);
	struct call *call;

	while ((call = take_waiting(c, job))) {
		struct control_file *f = (struct control_file *)call->handle;

		lock_take(&c->lock);
		if (result == 0)
			forget_waited_locked(f);
		lock_drop(&c->lock);
		call_end_write(call, result);
	}
}

void controls_ended(struct controls *c, int64_t job, enum job_state state)
{
	lock_take(&c->lock);
	if (atomic_load(&c->mount->work.progress.job) == job)
		c->told = job;
	lock_drop(&c->lock);
	answer_waiting(c, job, state);
}

/* With libfuse's lock of the request held, and the request alive. */
static void on_interrupt(fuse_req_t req, void *arg)
{
	struct controls *c = arg;
	struct call *found = NULL;

	lock_take(&c->lock);
	for (struct call **at = &c->waiting; *at; at = &(*at)->next) {
		struct call *call = *at;

		if (call->req != req)
			continue;
		call->interrupted = true;
		if (call->job != 0) {
			*at = call->next;
			c->n_waiting--;
			found = call;
		}
		break;
	}
	lock_drop(&c->lock);
	if (found)
		call_end_write(found, -EINTR);
}

/* A place for one who waits. -EDQUOT, -EINTR. */
static int wait_begin(struct controls *c, struct call *call)
{
	unsigned max = c->mount->work.limits.waiting_max;

	{
		LOCK_SCOPE(&c->lock);

		if (c->stopping)
			return -EINTR;
		if (c->n_waiting >= max)
			return -EDQUOT;
		call->job = 0;
		call->interrupted = false;
		call->next = c->waiting;
		c->waiting = call;
		c->n_waiting++;
	}
	fuse_req_interrupt_func(call->req, on_interrupt, c);
	return 0;
}

static void wait_cancel_locked(struct controls *c, struct call *call)
{
	struct call **at = &c->waiting;

	while (*at != call)
		at = &(*at)->next;
	*at = call->next;
	c->n_waiting--;
}

static void wait_cancel(struct controls *c, struct call *call)
{
	LOCK_SCOPE(&c->lock);

	wait_cancel_locked(c, call);
}

/*
 * Has the end of this job, which is in the store, been told? Not before the
 * kernel has been told what it must not believe any longer.
 */
static bool was_told(struct controls *c, int64_t job)
{
	LOCK_SCOPE(&c->lock);

	return atomic_load(&c->mount->work.progress.job) != job ||
	       c->told == job;
}

/*
 * From here on the call is others': -EINPROGRESS. Or it is not, because it
 * was interrupted meanwhile: -EINTR.
 */
static int wait_for(struct controls *c, struct call *call, int64_t job)
{
	CLEANUP(job_deinit) struct job now = JOB_NULL;
	struct mount *m = c->mount;
	int r;

	{
		LOCK_SCOPE(&c->lock);

		if (call->interrupted || c->stopping) {
			wait_cancel_locked(c, call);
			return -EINTR;
		}
		call->job = job;
	}
	/* It may have ended before anybody could know that we wait. */
	r = job_get(m->store, job, &now);
	if (r < 0)
		answer_waiting(c, job, JOB_FAILED);
	else if (job_has_ended(now.state) && was_told(c, job))
		answer_waiting(c, job, now.state);
	return -EINPROGRESS;
}

/* "uid 1000, process 77 (bash)" */
static void put_requester(fuse_req_t req, char *ret, size_t size)
{
	const struct fuse_ctx *who = fuse_req_ctx(req);
	char path[64];
	char comm[64] = "";
	FILE *file;

	(void)snprintf(path, sizeof(path), "/proc/%d/comm", who->pid);
	file = fopen(path, "re");
	if (file) {
		if (!fgets(comm, sizeof(comm), file))
			comm[0] = '\0';
		fclose(file);
	}
	comm[strcspn(comm, "\n")] = '\0';
	(void)snprintf(ret, size, "uid %u, process %d%s%s%s", who->uid,
		       who->pid, comm[0] ? " (" : "", comm, comm[0] ? ")" : "");
}

/* Keeps the reason for who has the file open, and logs it. */
static int refuse(struct controls *c, struct control_file *f,
		  const struct call *call, int r, const struct err *err)
{
	const char *reason = err_text(err, r);
	char who[128];

	put_requester(call->req, who, sizeof(who));
	log_notice("command to control/%s refused: %s (%s)",
		   command_kind_name(f->kind), reason, who);
	lock_take(&c->lock);
	buf_clear(&f->refused);
	buf_printf(&f->refused, "%s\n", reason);
	f->job = 0;
	lock_drop(&c->lock);
	return r;
}

static void accept(struct controls *c, struct control_file *f, int64_t job)
{
	LOCK_SCOPE(&c->lock);

	buf_clear(&f->refused);
	f->job = job;
}

/* Keeps the command, should it come again. */
static int keep_waited(struct controls *c, struct control_file *f,
		       const struct call *call, int64_t job)
{
	char *copy = malloc(call->size + 1);

	LOCK_SCOPE(&c->lock);

	forget_waited_locked(f);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, call->data, call->size);
	f->waited = copy;
	f->n_waited = call->size;
	f->waited_job = job;
	return 0;
}

static bool waits(const struct command *command)
{
	return command->wait && command->kind != COMMAND_ABORT;
}

static int submit(struct controls *c, struct runner *runner, struct call *call,
		  const struct command *command, struct err *err)
{
	struct control_file *f = (struct control_file *)call->handle;
	bool wait = waits(command);
	char who[128];
	int64_t job = command->job;
	int r;

	if (command->kind == COMMAND_ABORT) {
		r = runner_abort(runner, job, err);
	} else {
		put_requester(call->req, who, sizeof(who));
		r = runner_submit(runner, command, who, &job, err);
	}
	if (r < 0) {
		if (wait)
			wait_cancel(c, call);
		return r;
	}
	accept(c, f, job);
	if (!wait)
		return 0;
	/* Without memory for it, a repetition is another command. */
	(void)keep_waited(c, f, call, job);
	return wait_for(c, call, job);
}

/* 0, a refusal, or as wait_for(). */
static int carry_out(struct controls *c, struct call *call,
		     const struct command *command, struct err *err)
{
	struct runner *runner = runner_use(c);
	int r = 0;

	if (!runner)
		return err_set(err, -ESHUTDOWN, "the mount is ending");
	if (waits(command))
		r = wait_begin(c, call);
	if (r == -EDQUOT)
		(void)err_set(
			err, r,
			"%u writers wait already: write the command without wait=yes, or later",
			c->mount->work.limits.waiting_max);
	if (r == 0)
		r = submit(c, runner, call, command, err);
	runner_unuse(c);
	return r;
}

/* The same bytes again: 1: they are not; else as wait_for(). */
static int again(struct controls *c, struct call *call)
{
	struct control_file *f = (struct control_file *)call->handle;
	int64_t job;
	int r;

	{
		LOCK_SCOPE(&c->lock);

		if (!f->waited || f->n_waited != call->size ||
		    memcmp(f->waited, call->data, call->size) != 0) {
			forget_waited_locked(f);
			return 1;
		}
		job = f->waited_job;
	}
	r = wait_begin(c, call);
	return r < 0 ? r : wait_for(c, call, job);
}

static int control_write(struct call *call, struct handle *h)
{
	CLEANUP(command_freep) struct command *command = NULL;
	struct control_file *f = (struct control_file *)h;
	struct controls *c = call->mount->controls;
	struct err err = ERR_NULL;
	int r;

	if (!call->patient)
		return -EWOULDBLOCK; /* jobs are written to the disk */
	lock_take(&c->lock);
	f->base = -1;
	lock_drop(&c->lock);
	r = again(c, call);
	if (r == 1) {
		r = command_parse(f->kind, call->data, call->size, &command,
				  &err);
		if (r == 0)
			r = carry_out(c, call, command, &err);
		if (r < 0 && r != -EINPROGRESS && r != -EINTR)
			r = refuse(c, f, call, r, &err);
	}
	if (r == -EINPROGRESS)
		return r;
	call_end_write(call, r);
	return -EINPROGRESS; /* the call is gone, in any case */
}

struct pending {
	struct buf *b;
	unsigned n;
};

static int put_pending(int64_t id, enum job_state state, wall_s_t time,
		       void *arg)
{
	struct pending *pending = arg;

	(void)time;
	if (job_has_ended(state))
		return 0;
	buf_printf(pending->b, "%s %lld", pending->n++ ? "," : "",
		   (long long)id);
	if (state != JOB_QUEUED)
		buf_printf(pending->b, " (%s)", job_state_name(state));
	return 0;
}

/* What a control file says by itself. */
static int put_usage(struct mount *m, enum command_kind kind, struct buf *b)
{
	CLEANUP(job_deinit) struct job last = JOB_NULL;
	struct pending pending = {.b = b};
	int r;

	buf_puts(b, command_usage(kind));
	if (b->len && b->data[b->len - 1] != '\n')
		buf_putc(b, '\n');
	r = job_get(m->store, 0, &last);
	if (r == -ENOENT) {
		buf_puts(b, "\nlast job: none\npending: none\n");
		return buf_error(b);
	}
	if (r < 0)
		return r;
	buf_printf(b, "\nlast job: %lld, %s, %s\npending:", (long long)last.id,
		   last.kind, job_state_name(last.state));
	r = job_list(m->store,
		     last.id > PENDING_MAX ? last.id - PENDING_MAX : 0,
		     put_pending, &pending);
	buf_puts(b, pending.n ? "\n" : " none\n");
	return r < 0 ? r : buf_error(b);
}

static int put_answer(struct mount *m, struct control_file *f, struct buf *b)
{
	CLEANUP(job_deinit) struct job job = JOB_NULL;
	int64_t id;
	int r;

	{
		LOCK_SCOPE(&m->controls->lock);

		buf_add(b, f->refused.data, f->refused.len);
		id = f->job;
	}
	if (b->len || buf_error(b))
		return buf_error(b);
	if (id == 0)
		return put_usage(m, f->kind, b);
	r = job_get(m->store, id, &job);
	return r < 0 ? r : job_answer(&job, b);
}

/*
 * The answer begins where reading begins: writing has moved the descriptor's
 * offset on, and it is read with the same descriptor.
 */
static int control_read(struct call *call, struct handle *h)
{
	CLEANUP(buf_deinit) struct buf fresh = BUF_NULL;
	CLEANUP(buf_deinit) struct buf copy = BUF_NULL;
	struct control_file *f = (struct control_file *)h;
	struct controls *c = call->mount->controls;
	bool begins;
	int r;

	if (!call->patient)
		return -EWOULDBLOCK;
	lock_take(&c->lock);
	begins = f->base < 0 || call->off <= f->base;
	lock_drop(&c->lock);
	if (begins) {
		r = put_answer(call->mount, f, &fresh);
		if (r < 0)
			return r;
	}
	lock_take(&c->lock);
	if (begins) {
		struct buf old = f->text;

		f->text = fresh;
		fresh = old;
		f->base = call->off;
	}
	buf_add(&copy, f->text.data, f->text.len);
	call->off -= f->base;
	lock_drop(&c->lock);
	if (buf_error(&copy))
		return buf_error(&copy);
	handle_reply_slice(call, copy.data, copy.len);
	return 0;
}

static void control_attr(struct mount *m, struct handle *h, int64_t *ret_size,
			 wall_s_t *ret_time)
{
	(void)h;
	*ret_size = 0;
	*ret_time = m->started;
}

static void control_free(struct mount *m, struct handle *h)
{
	struct control_file *f = (struct control_file *)h;

	(void)m;
	buf_deinit(&f->refused);
	buf_deinit(&f->text);
	free(f->waited);
	free(f);
}

static const struct handle_ops control_handle_ops = {
	.read = control_read,
	.write = control_write,
	.attr = control_attr,
	.free = control_free,
};

static enum command_kind command_of(enum node_kind kind)
{
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		if (files[i].node == kind)
			return files[i].command;
	return COMMAND_EXPORT;
}

/* Without writing it is a text like others, with its size. */
static bool is_text(const struct mount *m)
{
	return m->options->read_only || m->options->kernel_cache;
}

static int control_open(struct call *call, const struct node *node,
			struct handle **ret)
{
	struct control_file *f;

	if (is_text(call->mount))
		return 1;
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->kind = command_of(node->kind);
	f->refused = (struct buf)BUF_NULL;
	f->text = (struct buf)BUF_NULL;
	f->base = -1;
	handle_add(call->mount, &f->handle, node, &control_handle_ops);
	call->fi.direct_io = 1;
	*ret = &f->handle;
	return 0;
}

/* Where it is a text: of a new look, or of one that was. */
static int text_facts(struct call *call, struct facts *ret, bool is_new)
{
	CLEANUP(buf_deinit) struct buf b = BUF_NULL;
	struct mount *m = call->mount;
	struct version *v;
	int r;

	if (!is_new) {
		if (versions_find(m->versions, call->ino, &v) < 0)
			return -ESTALE;
		ret->size = v->size;
		versions_unref(m->versions, v);
		return 0;
	}
	r = put_usage(m, command_of(ret->node.kind), &b);
	ret->size = (int64_t)b.len;
	return r < 0 ? r : version_keep(call, ret, &b);
}

static int control_file_facts(struct call *call, struct artifact_read *rd,
			      const struct node *node, struct facts *ret)
{
	struct mount *m = call->mount;
	bool is_new = node->tag == 0;

	(void)rd;
	*ret = (struct facts){.node = *node, .time = m->started};
	if (is_new)
		ret->node.tag = (atomic_fetch_add(&m->controls->tag, 1) %
				 NODE_WIDE_TAG_MASK) +
				1;
	return is_text(m) ? text_facts(call, ret, is_new) : 0;
}

static int control_file_render(struct call *call, struct artifact_read *rd,
			       const struct facts *facts, struct version *v)
{
	(void)call;
	(void)rd;
	(void)facts;
	(void)v;
	return -ESTALE; /* it was kept for the open, or is gone */
}

const struct node_ops control_file_ops = {
	.type = S_IFREG,
	.stored = true,
	.cache = CACHE_NONE,
	.access = ACCESS_COMMAND,
	.facts = control_file_facts,
	.render = control_file_render,
	.open = control_open,
};

/* control/ */

static int control_lookup(struct call *call, struct artifact_read *rd,
			  const struct node *node, const char *name, size_t len,
			  struct node *ret)
{
	(void)call;
	(void)rd;
	(void)node;
	(void)len;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		if (strcmp(files[i].name, name) != 0)
			continue;
		*ret = (struct node){.kind = files[i].node};
		return 0;
	}
	return -ENOENT;
}

static int control_list(struct call *call, struct artifact_read *rd,
			const struct node *node, off_t cookie, struct lister *l)
{
	size_t first =
		cookie >= COOKIE_FIRST ? (size_t)cookie - COOKIE_FIRST + 1 : 0;
	int r = 0;

	(void)call;
	(void)rd;
	(void)node;
	for (size_t i = first; r == 0 && i < ARRAY_SIZE(files); i++) {
		struct node child = {.kind = files[i].node};

		r = lister_add(l, files[i].name, &child, NULL, 0,
			       COOKIE_FIRST + (off_t)i);
	}
	return r < 0 ? r : 0;
}

static int control_time(struct call *call, struct artifact_read *rd,
			const struct node *node, wall_s_t *ret)
{
	(void)rd;
	(void)node;
	*ret = call->mount->started;
	return 0;
}

const struct node_ops control_ops = {
	.type = S_IFDIR,
	.stored = true,
	.cache = CACHE_LASTING,
	.access = ACCESS_CONTROL,
	.lookup = control_lookup,
	.list = control_list,
	.time = control_time,
};
