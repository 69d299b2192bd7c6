/* SPDX-License-Identifier: MIT */
/*
 * The operations: generic walks over the table of kinds. Each builds a struct
 * call and runs it; the run functions return 0 after a reply, or an errno that
 * call_run() alone turns into one.
 */
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "fs/attr.h"
#include "fs/control.h"
#include "fs/fs.h"
#include "fs/handle.h"
#include "fs/publish.h"
#include "outboxfs/base/clock.h"
#include "outboxfs/base/log.h"

#define RETRY_US   20000 /* between two tries of a call */
#define RELEASE_US 2000  /* likewise, where a file is being closed */

static struct call *call_new(fuse_req_t req, enum call_op op, fuse_ino_t ino)
{
	struct call *call = calloc(1, sizeof(*call));

	if (!call) {
		fuse_reply_err(req, ENOMEM);
		return NULL;
	}
	call->mount = fuse_req_userdata(req);
	call->req = req;
	call->op = op;
	call->ino = ino;
	call->again = again_begin(call);
	return call;
}

/* Nothing can be made or changed there: the errno that says so. */
static int refusal(enum node_kind kind)
{
	const struct node_ops *ops = node_ops(kind);

	return ops && ops->access != ACCESS_READ ? -EPERM : -EROFS;
}

static int run_lookup(struct call *call, struct artifact_read *rd)
{
	struct node dir = node_unpack(call->ino);
	const struct node_ops *ops = node_ops(dir.kind);
	struct fuse_entry_param e;
	struct facts facts = {.size = 0};
	int r;

	if (!ops || !ops->lookup)
		return ops ? -ENOTDIR : -ESTALE;
	r = ops->lookup(call, rd, &dir, call->name, strlen(call->name),
			&facts.node);
	if (r < 0)
		return r;
	ops = node_ops(facts.node.kind);
	if (ops->facts)
		r = ops->facts(call, rd, &facts.node, &facts);
	else if (rd->model || ops->stored)
		r = ops->time(call, rd, &facts.node, &facts.time);
	else
		facts.time = atomic_load(&call->mount->tree_time);
	if (r < 0)
		return r == -ESTALE ? -ENOENT : r;
	r = attr_fill_entry(call->mount, &facts.node, facts.size, facts.time,
			    false, &e);
	if (r < 0)
		return r;
	if (!rd->model && !ops->stored && !ops->facts)
		attr_doubt(&e);
	else if (ops->facts && !ops->stored && !attr_is_fleeting(&facts.node))
		again_found(call, e.ino);
	fuse_reply_entry(call->req, &e);
	return 0;
}

/* Attributes of a version that somebody reads: they never change. */
static int reply_version(struct call *call, const struct version *v)
{
	struct node node = node_unpack(v->ino);
	struct stat st;

	attr_fill(call->mount, &node, v->size, v->time, &st);
	fuse_reply_attr(call->req, &st,
			call->mount->options->kernel_cache ? ATTR_FOREVER : 0);
	return 0;
}

/* The same of the version that the node id names, if it is there. */
static int getattr_version(struct call *call)
{
	struct version *v;
	int r;

	if (versions_find(call->mount->versions, call->ino, &v) < 0)
		return -ESTALE;
	r = reply_version(call, v);
	versions_unref(call->mount->versions, v);
	return r;
}

static void reply_handle(struct call *call, struct handle *h)
{
	struct mount *m = call->mount;
	struct stat st;
	int64_t size;
	wall_s_t time;

	h->ops->attr(m, h, &size, &time);
	attr_fill(m, &h->node, size, time, &st);
	fuse_reply_attr(call->req, &st,
			m->options->kernel_cache ? ATTR_FOREVER : 0);
}

static int getattr_dir(struct call *call, struct artifact_read *rd,
		       const struct node *node)
{
	const struct node_ops *ops = node_ops(node->kind);
	wall_s_t time = call->mount->started;
	struct stat st;
	int r = 0;

	if (rd->model || ops->stored)
		r = ops->time(call, rd, node, &time);
	if (r < 0)
		return r;
	attr_fill(call->mount, node, 0, time, &st);
	fuse_reply_attr(call->req, &st, attr_timeout(call->mount, node));
	return 0;
}

/* What has its number from the store is the same for ever, or gone. */
static int getattr_stored(struct call *call, struct artifact_read *rd,
			  const struct node *node)
{
	struct mount *m = call->mount;
	struct facts facts;
	struct stat st;
	int r;

	r = node_ops(node->kind)->facts(call, rd, node, &facts);
	if (r == -ENOENT || r == -ESTALE) /* fine for who has it open */
		r = sources_facts(m, node, &facts.size, &facts.time);
	if (r < 0)
		return r == -ENOENT ? -ESTALE : r;
	attr_fill(m, node, facts.size, facts.time, &st);
	fuse_reply_attr(call->req, &st, attr_timeout(m, node));
	return 0;
}

static int run_getattr(struct call *call, struct artifact_read *rd)
{
	struct mount *m = call->mount;
	struct node node = node_unpack(call->ino);
	const struct node_ops *ops = node_ops(node.kind);
	enum version_use use = versions_use(m->versions, call->ino);
	struct facts facts;
	struct stat st;
	int r;

	if (!ops)
		return -ESTALE;
	if (!ops->facts)
		return getattr_dir(call, rd, &node);
	if (attr_is_fleeting(&node) && ops->type == S_IFREG)
		return getattr_version(call);
	if (ops->stored)
		return getattr_stored(call, rd, &node);
	if (call->again && getattr_version(call) == 0)
		return 0;
	r = ops->facts(call, rd, &node, &facts);
	if (r == 0 && facts.node.tag == node.tag) {
		attr_fill(m, &node, facts.size, facts.time, &st);
		fuse_reply_attr(call->req, &st, m->attr_timeout);
		return 0;
	}
	if (r == -EWOULDBLOCK || r == -EINPROGRESS)
		return r;
	/* An older one: fine for who has it open, not for a path. */
	if (use == USE_OPEN || m->options->kernel_cache)
		return getattr_version(call);
	if (use == USE_CLOSING) {
		call->task.due = clock_mono() + RELEASE_US;
		return -EWOULDBLOCK;
	}
	return r == 0 || r == -ENOENT ? -ESTALE : r;
}

/*
 * Rows have changed and no trigger has noticed. What was known is worth
 * nothing; new tags make everybody ask again.
 */
static int distrust(struct call *call, struct artifact_read *rd,
		    const struct node *node)
{
	int r;

	if (!call->patient)
		return -EWOULDBLOCK;
	r = mount_renew(call, rd, false);
	if (r < 0)
		return r;
	log_err("rows changed without their triggers (in table %u, point of view %lld): run outboxfs adopt again",
		node->table, (long long)node->id);
	return -ESTALE;
}

/*
 * The version that a node id stands for, ready to be read: 0 and a reference.
 * -ESTALE: there is another one now.
 */
static int get_version(struct call *call, struct artifact_read *rd,
		       struct version **ret)
{
	struct versions *vs = call->mount->versions;
	struct node node = node_unpack(call->ino);
	const struct node_ops *ops = node_ops(node.kind);
	struct facts facts;
	int r;

	if (!ops)
		return -ESTALE;
	if (!ops->facts)
		return -EISDIR;
	if (call->again && versions_find(vs, call->ino, ret) == 0)
		return 0;
	/* It was rendered for the lookup just before. */
	if (attr_is_fleeting(&node)) {
		if (versions_find(vs, call->ino, ret) < 0)
			return -ESTALE;
		/* And for one open: the next may be of another commit. */
		if (!attr_is_provisional(&node) ||
		    !atomic_exchange(&(*ret)->taken, true))
			return 0;
		versions_unref(vs, *ret);
		return -ESTALE;
	}

	r = ops->facts(call, rd, &node, &facts);
	if (r == 0 && facts.node.tag != node.tag)
		r = -ESTALE;
	if (r < 0)
		return r == -ENOENT ? -ESTALE : r;
	r = versions_get(vs, call->ino, call, ret);
	if (r != 1)
		return r;
	r = ops->render(call, rd, &facts, *ret);
	if (r == 0 && (*ret)->size != facts.size)
		r = distrust(call, rd, &node);
	versions_done(vs, *ret, r);
	if (r < 0)
		versions_unref(vs, *ret);
	return r;
}

/* A handle for the node of a call: its own, or one of a version. */
static int get_handle(struct call *call, struct artifact_read *rd,
		      struct handle **ret)
{
	struct node node = node_unpack(call->ino);
	const struct node_ops *ops = node_ops(node.kind);
	struct version *v;
	int r = 1;

	if (!ops)
		return -ESTALE;
	if (ops->open)
		r = ops->open(call, &node, ret);
	if (r != 1)
		return r == -ENOENT ? -ESTALE : r;
	r = get_version(call, rd, &v);
	if (r < 0)
		return r;
	call->fi.keep_cache = 1;
	return handle_of_version(call, v, ret);
}

static int run_open(struct call *call, struct artifact_read *rd)
{
	enum node_kind kind = node_unpack(call->ino).kind;
	struct handle *h;
	int r;

	if (!node_ops(kind))
		return -ESTALE;
	if (node_ops(kind)->access != ACCESS_COMMAND &&
	    ((call->fi.flags & O_ACCMODE) != O_RDONLY ||
	     call->fi.flags & O_TRUNC))
		return refusal(kind);
	r = get_handle(call, rd, &h);
	if (r < 0)
		return r;
	call->fi.fh = (uintptr_t)h;
	if (fuse_reply_open(call->req, &call->fi) < 0)
		handle_close(call->mount, h); /* interrupted */
	return 0;
}

static int run_read(struct call *call, struct artifact_read *rd)
{
	struct mount *m = call->mount;
	struct handle *h;
	struct version *v;
	int r;

	if (call->handle)
		return call->handle->ops->read(call, call->handle);
	/* Without one (kernel_cache): whatever the node id names. */
	r = versions_find(m->versions, call->ino, &v);
	if (r == 0) {
		r = handle_reply_version(call, v);
		versions_unref(m->versions, v);
		return r;
	}
	r = get_handle(call, rd, &h);
	if (r < 0)
		return r;
	r = h->ops->read(call, h);
	handle_close(m, h);
	return r;
}

static int run_write(struct call *call, struct artifact_read *rd)
{
	(void)rd;
	return call->handle->ops->write(call, call->handle);
}

static int run_readlink(struct call *call, struct artifact_read *rd)
{
	struct node node = node_unpack(call->ino);
	const struct node_ops *ops = node_ops(node.kind);
	char text[NAME_BYTES_MAX + 1];
	int r;

	(void)rd;
	if (!ops || !ops->link)
		return ops ? -EINVAL : -ESTALE;
	r = ops->link(call, &node, text, sizeof(text));
	if (r < 0)
		return r;
	fuse_reply_readlink(call->req, text);
	return 0;
}

static int run_unlink(struct call *call, struct artifact_read *rd)
{
	int r;

	(void)rd;
	if (!call->patient)
		return -EWOULDBLOCK;
	r = node_ops(node_unpack(call->ino).kind)->remove(call, call->name);
	if (r == 0)
		fuse_reply_err(call->req, 0);
	return r;
}

struct lister {
	struct call *call;
	char *data;
	size_t used;
	bool plus;
};

int lister_add(struct lister *l, const char *name, const struct node *node,
	       const struct facts *facts, wall_s_t time, off_t cookie)
{
	const struct mount *m = l->call->mount;
	bool dir = node_ops(node->kind)->type == S_IFDIR;
	struct fuse_entry_param e;
	size_t room = l->call->size - l->used;
	size_t n;
	int r;

	r = attr_fill_entry(m, node, facts ? facts->size : 0,
			    facts ? facts->time : time, true, &e);
	if (r < 0)
		return r;
	if (!facts && (!dir || time == 0))
		e.ino = 0; /* the kernel asks if anybody wants to know */
	if (l->plus)
		n = fuse_add_direntry_plus(l->call->req, l->data + l->used,
					   room, name, &e, cookie);
	else
		n = fuse_add_direntry(l->call->req, l->data + l->used, room,
				      name, &e.attr, cookie);
	if (n > room)
		return 1;
	l->used += n;
	return 0;
}

/* "." and "..", which the kernel takes from us but looks at no closer. */
static int add_dots(struct lister *l, const struct node *node)
{
	int r = 0;

	if (l->call->off < 1)
		r = lister_add(l, ".", node, NULL, 0, 1);
	if (r == 0 && l->call->off < 2)
		r = lister_add(l, "..", node, NULL, 0, 2);
	return r;
}

static int run_readdir(struct call *call, struct artifact_read *rd)
{
	CLEANUP(freep) char *data = malloc(call->size);
	struct node node = node_unpack(call->ino);
	const struct node_ops *ops = node_ops(node.kind);
	struct lister l = {
		.call = call,
		.data = data,
		.plus = call->op == CALL_READDIRPLUS,
	};
	int r;

	if (!data)
		return -ENOMEM;
	if (!ops || !ops->list)
		return ops ? -ENOTDIR : -ESTALE;
	r = add_dots(&l, &node);
	if (r == 0)
		r = ops->list(call, rd, &node, call->off, &l);
	if (r < 0)
		return r;
	if (!ops->stored)
		again_listed(call);
	fuse_reply_buf(call->req, l.data, l.used);
	return 0;
}

static int run_statfs(struct call *call, struct artifact_read *rd)
{
	struct statvfs fs;

	(void)rd;
	if (statvfs(call->mount->database, &fs) < 0)
		return -errno;
	fs.f_namemax = NAME_BYTES_MAX;
	fuse_reply_statfs(call->req, &fs);
	return 0;
}

static int (*const runs[])(struct call *, struct artifact_read *) = {
	[CALL_LOOKUP] = run_lookup,   [CALL_GETATTR] = run_getattr,
	[CALL_OPEN] = run_open,       [CALL_READ] = run_read,
	[CALL_READDIR] = run_readdir, [CALL_READDIRPLUS] = run_readdir,
	[CALL_STATFS] = run_statfs,   [CALL_READLINK] = run_readlink,
	[CALL_UNLINK] = run_unlink,   [CALL_WRITE] = run_write,
};

/* Lets a read in, if what is known is of the database that it reads. */
static int enter(struct call *call, struct artifact_read *rd)
{
	int r;

	r = knowledge_enter(call->mount->knowledge, rd->generation,
			    &call->epoch);
	if (r == 0)
		return 0;
	if (r == 1 && call->patient)
		r = mount_renew(call, rd, true);
	if (r < 0) /* by then, who is at it may have done it */
		call->task.due = clock_mono() + RETRY_US;
	return -EWOULDBLOCK; /* begin again, in the state that this made */
}

/* The root and what it says about itself stand without a database. */
static bool needs_no_database(const struct call *call)
{
	enum node_kind kind = node_unpack(call->ino).kind;

	return kind == NODE_ROOT || kind == NODE_STATUS ||
	       call->op == CALL_STATFS;
}

/*
 * What the store answers must not wait for the database, nor fail with it. A
 * name in the root is looked up by the kind that it stands for.
 */
static bool is_stored(const struct call *call)
{
	enum node_kind kind = node_unpack(call->ino).kind;
	struct node node;

	if (call->handle || call->op == CALL_UNLINK)
		return true;
	if (call->op == CALL_LOOKUP && kind == NODE_ROOT)
		return root_entry(call->name, strlen(call->name), &node) == 0 &&
		       node_ops(node.kind)->stored;
	if (call->op == CALL_LOOKUP && kind == NODE_DIR &&
	    node_unpack(call->ino).id == ARTIFACT_DIR_ROOT &&
	    strcmp(call->name, PARAMS_NAME) == 0)
		return true;
	return node_ops(kind) && node_ops(kind)->stored;
}

/* README.md and status.json are worth waiting for the database. */
static bool looks_up_text(const struct call *call)
{
	struct node node;

	return call->op == CALL_LOOKUP &&
	       root_entry(call->name, strlen(call->name), &node) == 0 &&
	       node_ops(node.kind)->type == S_IFREG;
}

static int call_try(struct call *call)
{
	CLEANUP(artifact_read_end) struct artifact_read rd = ARTIFACT_READ_NULL;
	int r;

	if (fuse_req_interrupted(call->req))
		return -EINTR;
	if (is_stored(call))
		return runs[call->op](call, &rd);
	r = artifact_read_begin(call->mount->artifact, call->patient, &rd,
				&call->err);
	/*
	 * Not ENOENT, which programs take for "deleted", nor ESTALE: asking
	 * again does not help. EISDIR would be of the path asked for, and
	 * EEXIST, from folding, too.
	 */
	if (r == -ESTALE || r == -ENOENT || r == -ENODATA || r == -EISDIR ||
	    r == -EEXIST)
		r = -EIO;
	call->why = r;
	if (r == 0)
		call->err = (struct err)ERR_NULL; /* of an earlier try */
	if (r == 0)
		r = enter(call, &rd);
	else if (needs_no_database(call) &&
		 (r != -EWOULDBLOCK || !looks_up_text(call)))
		r = 0;
	if (r == 0)
		r = trouble_check(call, &rd, runs[call->op](call, &rd));
	/* An impatient read gives up by itself when it gets long. */
	return r == -ECANCELED && !call->patient ? -EWOULDBLOCK : r;
}

/* What programs above can make sense of. */
static int reply_errno(int r)
{
	switch (-r) {
	case EALREADY:
		return EBUSY;
	case EBADMSG:
	case ENODATA:
	case ECANCELED:
		return EIO;
	default:
		return -r;
	}
}

/* Is there time to try again, a little later? */
static bool may_retry(struct call *call)
{
	mono_us_t now = clock_mono();

	if (!call->deadline)
		call->deadline =
			now + (mono_us_t)call->mount->options->busy_ms * 1000;
	call->task.due = now + RETRY_US;
	return now < call->deadline;
}

static void call_free(struct call *call)
{
	free(call->data);
	free(call);
}

static void call_run(struct call *call)
{
	struct mount *m = call->mount;
	int r = call_try(call);

	if (r == -EINPROGRESS)
		return; /* not ours any more */
	if (r == -EWOULDBLOCK || (r == -EALREADY && may_retry(call))) {
		call_submit(call);
		return;
	}
	if (r < 0) {
		again_failed(call, r);
		fuse_reply_err(call->req, reply_errno(r));
	}
	atomic_fetch_add(&m->n_calls, 1);
	call_free(call);
}

void call_end_write(struct call *call, int r)
{
	struct mount *m = call->mount;

	if (r < 0)
		fuse_reply_err(call->req, -r);
	else
		fuse_reply_write(call->req, call->size);
	atomic_fetch_add(&m->n_calls, 1);
	call_free(call);
}

static void call_task(struct pool_task *task, bool stopping)
{
	struct call *call = (struct call *)task;

	if (stopping) {
		fuse_reply_err(call->req, EINTR);
		call_free(call);
		return;
	}
	call_run(call);
}

void call_submit(struct call *call)
{
	int r;

	call->patient = true;
	call->next = NULL;
	call->task =
		(struct pool_task){.func = call_task, .due = call->task.due};
	r = pool_submit(call->mount->pool, &call->task);
	if (r < 0) {
		again_failed(call, r);
		fuse_reply_err(call->req, -r);
		call_free(call);
	}
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	struct mount *m = userdata;

	conn->want &=
		~(unsigned)(FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_SPLICE_READ |
			    FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE |
			    FUSE_CAP_FLOCK_LOCKS | FUSE_CAP_POSIX_LOCKS);
	if (conn->capable & FUSE_CAP_READDIRPLUS)
		conn->want |= FUSE_CAP_READDIRPLUS;
	if (conn->capable & FUSE_CAP_PARALLEL_DIROPS)
		conn->want |= FUSE_CAP_PARALLEL_DIROPS;
	conn->max_background = 64;
	conn->max_read = m->options->max_read; /* as the mount has it */
	mount_ready(m);
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct call *call;

	if (strlen(name) > NAME_BYTES_MAX) {
		fuse_reply_err(req, ENAMETOOLONG);
		return;
	}
	call = call_new(req, CALL_LOOKUP, parent);
	if (!call)
		return;
	memcpy(call->name, name, strlen(name) + 1);
	call_run(call);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino,
		       struct fuse_file_info *fi)
{
	struct call *call;

	call = call_new(req, CALL_GETATTR, ino);
	if (!call)
		return;
	if (fi && fi->fh) {
		reply_handle(call, (struct handle *)fi->fh);
		free(call);
		return;
	}
	call_run(call);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct mount *m = fuse_req_userdata(req);
	struct call *call;

	if (m->options->kernel_cache) {
		/* From now on the kernel opens by itself. */
		fuse_reply_err(req, ENOSYS);
		return;
	}
	call = call_new(req, CALL_OPEN, ino);
	if (!call)
		return;
	call->fi = *fi;
	call_run(call);
}

static void op_release(fuse_req_t req, fuse_ino_t ino,
		       struct fuse_file_info *fi)
{
	struct mount *m = fuse_req_userdata(req);

	(void)ino;
	if (fi->fh)
		handle_close(m, (struct handle *)fi->fh);
	fuse_reply_err(req, 0);
}

static void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct mount *m = fuse_req_userdata(req);
	struct handle *h = (struct handle *)fi->fh;

	(void)ino;
	if (h && h->ops->flush)
		h->ops->flush(m, h);
	/* ENOSYS: without handles there is nothing to hear about. */
	fuse_reply_err(req, m->options->kernel_cache ? ENOSYS : 0);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	struct call *call = call_new(req, CALL_READ, ino);

	if (!call)
		return;
	call->size = size;
	call->off = off;
	call->handle = (struct handle *)fi->fh;
	call_run(call);
}

/* Each write(2) is a command, wherever in the file. */
static void op_write(fuse_req_t req, fuse_ino_t ino, const char *data,
		     size_t size, off_t off, struct fuse_file_info *fi)
{
	struct handle *h = (struct handle *)fi->fh;
	struct call *call;

	if (!h || !h->ops->write) {
		fuse_reply_err(req, EROFS);
		return;
	}
	/* One byte too many is enough to see that, and to say so. */
	if (size > COMMAND_BYTES_MAX)
		size = COMMAND_BYTES_MAX + 1;
	call = call_new(req, CALL_WRITE, ino);
	if (!call)
		return;
	call->data = malloc(size + 1);
	if (!call->data) {
		fuse_reply_err(req, ENOMEM);
		free(call);
		return;
	}
	memcpy(call->data, data, size);
	call->data[size] = '\0';
	call->size = size;
	call->off = off;
	call->handle = h;
	call_run(call);
}

static void op_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
		    struct fuse_pollhandle *ph)
{
	struct handle *h = (struct handle *)fi->fh;

	(void)ino;
	if (h) {
		fuse_reply_poll(req,
				handle_poll(fuse_req_userdata(req), h, ph));
		return;
	}
	if (ph)
		fuse_pollhandle_destroy(ph);
	fuse_reply_poll(req, POLLIN | POLLRDNORM);
}

static void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct call *call = call_new(req, CALL_READLINK, ino);

	if (call)
		call_run(call);
}

static void op_opendir(fuse_req_t req, fuse_ino_t ino,
		       struct fuse_file_info *fi)
{
	const struct mount *m = fuse_req_userdata(req);

	(void)ino;
	if (m->options->kernel_cache)
		fuse_reply_err(req, ENOSYS); /* it keeps the listings as well */
	else
		fuse_reply_open(req, fi);
}

static void op_releasedir(fuse_req_t req, fuse_ino_t ino,
			  struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	fuse_reply_err(req, 0);
}

static void start_readdir(fuse_req_t req, enum call_op op, fuse_ino_t ino,
			  size_t size, off_t off)
{
	struct call *call = call_new(req, op, ino);

	if (!call)
		return;
	call->size = size;
	call->off = off;
	call_run(call);
}

static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		       struct fuse_file_info *fi)
{
	(void)fi;
	start_readdir(req, CALL_READDIR, ino, size, off);
}

static void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size,
			   off_t off, struct fuse_file_info *fi)
{
	(void)fi;
	start_readdir(req, CALL_READDIRPLUS, ino, size, off);
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct call *call = call_new(req, CALL_STATFS, ino);

	if (call)
		call_run(call);
}

/* Nothing can be made, changed or removed here. */
static void refuse(fuse_req_t req, fuse_ino_t ino)
{
	fuse_reply_err(req, -refusal(node_unpack(ino).kind));
}

/* touch and truncate do nothing to a control file, successfully. */
static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr,
		       int to_set, struct fuse_file_info *fi)
{
	const struct mount *m = fuse_req_userdata(req);
	struct node node = node_unpack(ino);
	const struct node_ops *ops = node_ops(node.kind);

	(void)fi;
	if (!ops || ops->access != ACCESS_COMMAND ||
	    to_set & (FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID |
		      FUSE_SET_ATTR_GID)) {
		refuse(req, ino);
		return;
	}
	attr_fill(m, &node, 0, m->started, attr);
	fuse_reply_attr(req, attr, 0);
}

static void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name,
		     mode_t mode, dev_t rdev)
{
	(void)name;
	(void)mode;
	(void)rdev;
	refuse(req, parent);
}

static void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name,
		     mode_t mode)
{
	(void)name;
	(void)mode;
	refuse(req, parent);
}

static void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	const struct node_ops *ops = node_ops(node_unpack(parent).kind);
	struct call *call;

	if (!ops || !ops->remove) {
		refuse(req, parent);
		return;
	}
	if (strlen(name) > NAME_BYTES_MAX) {
		fuse_reply_err(req, ENAMETOOLONG);
		return;
	}
	call = call_new(req, CALL_UNLINK, parent);
	if (!call)
		return;
	memcpy(call->name, name, strlen(name) + 1);
	call_run(call);
}

static void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	(void)name;
	refuse(req, parent);
}

static void op_symlink(fuse_req_t req, const char *link, fuse_ino_t parent,
		       const char *name)
{
	(void)link;
	(void)name;
	refuse(req, parent);
}

static void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
		      fuse_ino_t to, const char *to_name, unsigned flags)
{
	(void)parent;
	(void)name;
	(void)to_name;
	(void)flags;
	refuse(req, to);
}

static void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent,
		    const char *name)
{
	(void)ino;
	(void)name;
	refuse(req, parent);
}

static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name,
		      mode_t mode, struct fuse_file_info *fi)
{
	(void)name;
	(void)mode;
	(void)fi;
	refuse(req, parent);
}

const struct fuse_lowlevel_ops fs_ops = {
	.init = op_init,
	.lookup = op_lookup,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.mknod = op_mknod,
	.mkdir = op_mkdir,
	.unlink = op_unlink,
	.rmdir = op_rmdir,
	.symlink = op_symlink,
	.rename = op_rename,
	.link = op_link,
	.create = op_create,
	.open = op_open,
	.read = op_read,
	.write = op_write,
	.poll = op_poll,
	.readlink = op_readlink,
	.flush = op_flush,
	.release = op_release,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.readdirplus = op_readdirplus,
	.releasedir = op_releasedir,
	.statfs = op_statfs,
};
