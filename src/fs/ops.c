/* SPDX-License-Identifier: MIT */
/*
 * The operations: generic walks over the table of kinds. Each builds a struct
 * call and runs it; the run functions return 0 after a reply, or an errno that
 * call_run() alone turns into one.
 *
 * How long the kernel may keep what it hears (unless kernel_cache):
 *
 * - A file's node id is one version. Its entry is kept for long and dropped
 *   when the watcher says so; its attributes are not kept, so each stat asks,
 *   and learns by ESTALE that it must look the name up again. OPEN checks the
 *   same. Both are therefore always of the latest commit.
 * - Attributes from a listing are kept for the time that ls -l takes between
 *   reading a directory and asking for what is in it.
 * - Directories are kept until the watcher says that one has gone or got
 *   another name, or for half a minute.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "fs/fs.h"
#include "outboxfs/base/clock.h"
#include "outboxfs/base/log.h"

#define DIR_TIMEOUT      30.0
#define LISTED_TIMEOUT   0.01  /* of attributes that came with a listing */
#define RETRY_US         20000 /* between two tries of a call */
#define FLEETING_TIMEOUT 0.001
#define FOREVER_TIMEOUT  86400.0

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

static void fill_attr(const struct mount *m, const struct node *node,
		      int64_t size, wall_s_t time, struct stat *st)
{
	const struct node_ops *ops = node_ops(node->kind);
	mode_t mode = ops->type == S_IFDIR ? 0555 : 0444;

	*st = (struct stat){
		.st_ino = node_stat_ino(node),
		.st_mode = ops->type | (mode & ~m->options->umask),
		.st_nlink = 1,
		.st_uid = m->options->uid,
		.st_gid = m->options->gid,
		.st_size = size,
		.st_blksize = 131072,
		.st_blocks = (size + 511) / 512,
		.st_atim = {.tv_sec = time},
		.st_mtim = {.tv_sec = time},
		.st_ctim = {.tv_sec = time},
	};
}

static int fill_entry(const struct mount *m, const struct node *node,
		      int64_t size, wall_s_t time, double attr_timeout,
		      struct fuse_entry_param *e)
{
	bool dir = node_ops(node->kind)->type == S_IFDIR;

	*e = (struct fuse_entry_param){
		.attr_timeout = dir ? DIR_TIMEOUT : attr_timeout,
		.entry_timeout = dir ? DIR_TIMEOUT : m->entry_timeout,
	};
	if (m->options->kernel_cache) {
		e->attr_timeout = FOREVER_TIMEOUT;
		e->entry_timeout = FOREVER_TIMEOUT;
	}
	fill_attr(m, node, size, time, &e->attr);
	return node_pack(node, &e->ino);
}

/* A version that was rendered for this lookup, or a text of ours. */
static bool is_fleeting(const struct node *node)
{
	return node->tag & NODE_TAG_PROVISIONAL || node->kind == NODE_README ||
	       node->kind == NODE_STATUS;
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
	else if (rd->model)
		r = ops->time(call, rd, &facts.node, &facts.time);
	if (r < 0)
		return r == -ESTALE ? -ENOENT : r;
	r = fill_entry(call->mount, &facts.node, facts.size, facts.time,
		       call->mount->attr_timeout, &e);
	if (r < 0)
		return r;
	/*
	 * Good for the walk that asks; the next to ask gets another. For a text
	 * of ours, a moment does not matter.
	 */
	if (is_fleeting(&facts.node)) {
		bool text = !(facts.node.tag & NODE_TAG_PROVISIONAL);

		e.attr_timeout = FLEETING_TIMEOUT;
		e.entry_timeout = text ? FLEETING_TIMEOUT : 0;
	} else if (ops->facts) {
		again_found(call, e.ino);
	}
	fuse_reply_entry(call->req, &e);
	return 0;
}

/* Attributes of a version that somebody reads: they never change. */
static int reply_version(struct call *call, const struct version *v)
{
	struct node node = node_unpack(v->ino);
	struct stat st;

	fill_attr(call->mount, &node, v->size, v->time, &st);
	fuse_reply_attr(call->req, &st,
			call->mount->options->kernel_cache ? FOREVER_TIMEOUT
							   : 0);
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

static int getattr_dir(struct call *call, struct artifact_read *rd,
		       const struct node *node)
{
	wall_s_t time = call->mount->started;
	struct stat st;
	int r = 0;

	if (rd->model)
		r = node_ops(node->kind)->time(call, rd, node, &time);
	if (r < 0)
		return r;
	fill_attr(call->mount, node, 0, time, &st);
	fuse_reply_attr(call->req, &st,
			call->mount->options->kernel_cache ? FOREVER_TIMEOUT
							   : DIR_TIMEOUT);
	return 0;
}

static int run_getattr(struct call *call, struct artifact_read *rd)
{
	struct mount *m = call->mount;
	struct node node = node_unpack(call->ino);
	const struct node_ops *ops = node_ops(node.kind);
	bool is_open = versions_is_open(m->versions, call->ino);
	struct facts facts;
	struct stat st;
	int r;

	if (!ops)
		return -ESTALE;
	if (!ops->facts)
		return getattr_dir(call, rd, &node);
	if (is_fleeting(&node))
		return getattr_version(call);
	if (call->again && getattr_version(call) == 0)
		return 0;
	r = ops->facts(call, rd, &node, &facts);
	if (r == 0 && facts.node.tag == node.tag) {
		fill_attr(m, &node, facts.size, facts.time, &st);
		fuse_reply_attr(call->req, &st, m->attr_timeout);
		return 0;
	}
	if (r == -EWOULDBLOCK || r == -EINPROGRESS)
		return r;
	/* An older one: fine for who has it open, not for a path. */
	if (!is_open && !m->options->kernel_cache)
		return r == 0 || r == -ENOENT ? -ESTALE : r;
	return getattr_version(call);
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
	if (is_fleeting(&node)) {
		if (versions_find(vs, call->ino, ret) < 0)
			return -ESTALE;
		/* And for one open: the next may be of another commit. */
		if (!(node.tag & NODE_TAG_PROVISIONAL) ||
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
	if (r == 0 && (*ret)->size != facts.size) {
		/*
		 * Rows have changed and no trigger has noticed. What was known
		 * is worth nothing; new tags make everybody ask again.
		 */
		log_err("rows changed without their triggers (in table %u, point of view %lld): run outboxfs adopt again",
			node.table, (long long)node.id);
		knowledge_reset(call->mount->knowledge, rd->generation, rd);
		mount_refresh(call->mount);
		r = -ESTALE;
	}
	versions_done(vs, *ret, r);
	if (r < 0)
		versions_unref(vs, *ret);
	return r;
}

/*
 * An open file. The kernel says FLUSH at close(2) and waits for it, RELEASE
 * some time later: from the first on, the version is nobody's in particular,
 * and stat by path must not be told of it.
 */
struct handle {
	struct handle *next; /* in the mount's list */
	struct handle **link;
	struct version *v; /* a reference */
	_Atomic bool closed;
};

static void handle_close(struct mount *m, struct handle *h)
{
	if (!atomic_exchange(&h->closed, true))
		versions_close(m->versions, h->v);
}

static void handle_add(struct mount *m, struct handle *h)
{
	LOCK_SCOPE(&m->texts_lock);

	h->next = m->handles;
	h->link = &m->handles;
	if (h->next)
		h->next->link = &h->next;
	m->handles = h;
}

static void handle_remove(struct mount *m, struct handle *h)
{
	LOCK_SCOPE(&m->texts_lock);

	*h->link = h->next;
	if (h->next)
		h->next->link = h->link;
}

static void handle_free(struct mount *m, struct handle *h)
{
	handle_remove(m, h);
	handle_close(m, h);
	versions_unref(m->versions, h->v);
	free(h);
}

void handles_free(struct mount *m)
{
	while (m->handles)
		handle_free(m, m->handles);
}

static int run_open(struct call *call, struct artifact_read *rd)
{
	struct handle *h;
	struct version *v;
	int r;

	if ((call->fi.flags & O_ACCMODE) != O_RDONLY ||
	    call->fi.flags & O_TRUNC)
		return -EROFS;
	r = get_version(call, rd, &v);
	if (r < 0)
		return r;
	h = calloc(1, sizeof(*h));
	if (!h) {
		versions_unref(call->mount->versions, v);
		return -ENOMEM;
	}
	h->v = v;
	handle_add(call->mount, h);
	versions_open(call->mount->versions, v);
	call->fi.fh = (uintptr_t)h;
	call->fi.keep_cache = 1;
	if (fuse_reply_open(call->req, &call->fi) < 0)
		handle_free(call->mount, h); /* interrupted */
	return 0;
}

/* A slice of a version. */
static int reply_slice(struct call *call, const struct version *v)
{
	CLEANUP(freep) char *data = NULL;
	size_t n = 0;

	if (call->off < v->size)
		n = (size_t)(v->size - call->off);
	if (n > call->size)
		n = call->size;
	if (v->fd < 0) {
		fuse_reply_buf(call->req, n ? v->mem.data + call->off : NULL,
			       n);
		return 0;
	}
	data = malloc(n ? n : 1);
	if (!data)
		return -ENOMEM;
	for (size_t done = 0; done < n;) {
		ssize_t got = pread(v->fd, data + done, n - done,
				    call->off + (off_t)done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : -EIO; /* never a short read */
		done += (size_t)got;
	}
	fuse_reply_buf(call->req, data, n);
	return 0;
}

/* Without a handle (kernel_cache): whatever version the node id names. */
static int run_read(struct call *call, struct artifact_read *rd)
{
	struct version *v;
	int r;

	r = versions_find(call->mount->versions, call->ino, &v);
	if (r < 0)
		r = get_version(call, rd, &v);
	if (r < 0)
		return r;
	r = reply_slice(call, v);
	versions_unref(call->mount->versions, v);
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

	r = fill_entry(m, node, facts ? facts->size : 0,
		       facts ? facts->time : time, LISTED_TIMEOUT, &e);
	if (r < 0)
		return r;
	if (!dir && !facts)
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
	[CALL_STATFS] = run_statfs,
};

/* The database is another one than before: what was known of it is void. */
static int refresh(struct call *call, struct artifact_read *rd)
{
	struct mount *m = call->mount;
	uint64_t seen = atomic_load(&m->generation);

	if (rd->generation == seen)
		return 0;
	if (!call->patient)
		return -EWOULDBLOCK;
	if (!atomic_compare_exchange_strong(&m->generation, &seen,
					    rd->generation))
		return 0;
	knowledge_reset(m->knowledge, rd->generation, rd);
	artifact_read_end(rd); /* it would be in the way of writing */
	mount_refresh(m);
	return -EWOULDBLOCK; /* begin again, in the state that this made */
}

/* The root and what it says about itself stand without a database. */
static bool needs_no_database(const struct call *call)
{
	enum node_kind kind = node_unpack(call->ino).kind;

	return kind == NODE_ROOT || kind == NODE_STATUS ||
	       call->op == CALL_STATFS;
}

/* README.md and status.json are worth waiting for the database. */
static bool looks_up_text(const struct call *call)
{
	return call->op == CALL_LOOKUP && strcmp(call->name, "data") != 0 &&
	       strcmp(call->name, "setup") != 0;
}

static int call_try(struct call *call)
{
	CLEANUP(artifact_read_end) struct artifact_read rd = ARTIFACT_READ_NULL;
	int r;

	if (fuse_req_interrupted(call->req))
		return -EINTR;
	r = artifact_read_begin(call->mount->artifact, call->patient, &rd,
				&call->err);
	/*
	 * Not ENOENT, which programs take for "deleted", nor ESTALE: asking
	 * again does not help.
	 */
	if (r == -ESTALE || r == -ENOENT || r == -ENODATA)
		r = -EIO;
	call->why = r;
	if (r == 0)
		call->err = (struct err)ERR_NULL; /* of an earlier try */
	if (r == 0)
		r = refresh(call, &rd);
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

static void call_run(struct call *call)
{
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
	atomic_fetch_add(&call->mount->n_calls, 1);
	free(call);
}

static void call_task(struct pool_task *task, bool stopping)
{
	struct call *call = (struct call *)task;

	if (stopping) {
		fuse_reply_err(call->req, EINTR);
		free(call);
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
		free(call);
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
	if (fi) {
		(void)reply_version(call, ((struct handle *)fi->fh)->v);
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
		handle_free(m, (struct handle *)fi->fh);
	fuse_reply_err(req, 0);
}

static void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct mount *m = fuse_req_userdata(req);

	(void)ino;
	if (fi->fh)
		handle_close(m, (struct handle *)fi->fh);
	/* ENOSYS: without handles there is nothing to hear about. */
	fuse_reply_err(req, m->options->kernel_cache ? ENOSYS : 0);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	struct call *call = call_new(req, CALL_READ, ino);
	int r;

	if (!call)
		return;
	call->size = size;
	call->off = off;
	if (!fi->fh) {
		call_run(call);
		return;
	}
	r = reply_slice(call, ((const struct handle *)fi->fh)->v);
	if (r < 0)
		fuse_reply_err(req, reply_errno(r));
	free(call);
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
static void refuse(fuse_req_t req)
{
	fuse_reply_err(req, EROFS);
}

static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr,
		       int to_set, struct fuse_file_info *fi)
{
	(void)ino;
	(void)attr;
	(void)to_set;
	(void)fi;
	refuse(req);
}

static void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name,
		     mode_t mode, dev_t rdev)
{
	(void)parent;
	(void)name;
	(void)mode;
	(void)rdev;
	refuse(req);
}

static void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name,
		     mode_t mode)
{
	(void)parent;
	(void)name;
	(void)mode;
	refuse(req);
}

static void op_remove(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	(void)parent;
	(void)name;
	refuse(req);
}

static void op_symlink(fuse_req_t req, const char *link, fuse_ino_t parent,
		       const char *name)
{
	(void)link;
	(void)parent;
	(void)name;
	refuse(req);
}

static void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
		      fuse_ino_t to, const char *to_name, unsigned flags)
{
	(void)parent;
	(void)name;
	(void)to;
	(void)to_name;
	(void)flags;
	refuse(req);
}

static void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent,
		    const char *name)
{
	(void)ino;
	(void)parent;
	(void)name;
	refuse(req);
}

static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name,
		      mode_t mode, struct fuse_file_info *fi)
{
	(void)parent;
	(void)name;
	(void)mode;
	(void)fi;
	refuse(req);
}

const struct fuse_lowlevel_ops fs_ops = {
	.init = op_init,
	.lookup = op_lookup,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.mknod = op_mknod,
	.mkdir = op_mkdir,
	.unlink = op_remove,
	.rmdir = op_remove,
	.symlink = op_symlink,
	.rename = op_rename,
	.link = op_link,
	.create = op_create,
	.open = op_open,
	.read = op_read,
	.flush = op_flush,
	.release = op_release,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.readdirplus = op_readdirplus,
	.releasedir = op_releasedir,
	.statfs = op_statfs,
};
