/* SPDX-License-Identifier: MIT */
/*
 * Open files of the common kinds: a version that was rendered, and a source,
 * which is an object or a ZIP of the store.
 *
 * Reading a source is a copy out of the page cache, some inflating, or a wait
 * for the disk. The thread that received the request does it, as long as
 * another one is left that takes requests; else the pool does. Handing every
 * read to the pool costs a fifth of the speed of reading a ZIP; never handing
 * over lets three readers of a slow disk stop everybody.
 */
#include "fs/handle.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "outboxfs/store/object.h"
#include "outboxfs/store/outbox.h"

#define SOURCES_IDLE   4 /* stay open that nobody uses */
#define INLINE_AT_ONCE 2 /* fewer than session threads */

void handle_add(struct mount *m, struct handle *h, const struct node *node,
		const struct handle_ops *ops)
{
	LOCK_SCOPE(&m->texts_lock);

	h->ops = ops;
	h->node = *node;
	h->next = m->handles;
	h->link = &m->handles;
	if (h->next)
		h->next->link = &h->next;
	m->handles = h;
}

void handle_close(struct mount *m, struct handle *h)
{
	struct fuse_pollhandle *ph;

	lock_take(&m->texts_lock);
	*h->link = h->next;
	if (h->next)
		h->next->link = h->link;
	ph = TAKE_PTR(h->poll);
	lock_drop(&m->texts_lock);
	if (ph)
		fuse_pollhandle_destroy(ph);
	h->ops->free(m, h);
}

void handles_free(struct mount *m)
{
	while (m->handles)
		handle_close(m, m->handles);
}

unsigned handle_poll(struct mount *m, struct handle *h,
		     struct fuse_pollhandle *ph)
{
	/* Kept first: a change after the look at it must find it. */
	if (ph) {
		struct fuse_pollhandle *old;

		lock_take(&m->texts_lock);
		old = h->poll;
		h->poll = ph;
		lock_drop(&m->texts_lock);
		if (old)
			fuse_pollhandle_destroy(old);
	}
	return h->ops->poll ? h->ops->poll(m, h)
			    : POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM;
}

static struct fuse_pollhandle *take_poll(struct mount *m, enum node_kind kind,
					 int64_t id)
{
	LOCK_SCOPE(&m->texts_lock);

	for (struct handle *h = m->handles; h; h = h->next)
		if (h->poll && h->node.kind == kind && h->node.id == id)
			return TAKE_PTR(h->poll);
	return NULL;
}

void handles_wake(struct mount *m, enum node_kind kind, int64_t id)
{
	struct fuse_pollhandle *ph;

	while ((ph = take_poll(m, kind, id))) {
		(void)fuse_lowlevel_notify_poll(ph);
		fuse_pollhandle_destroy(ph);
	}
}

void handle_reply_slice(struct call *call, const char *data, size_t size)
{
	size_t n = 0;

	if (call->off >= 0 && (uint64_t)call->off < size)
		n = size - (size_t)call->off;
	if (n > call->size)
		n = call->size;
	fuse_reply_buf(call->req, n ? data + call->off : NULL, n);
}

int handle_reply_version(struct call *call, const struct version *v)
{
	CLEANUP(freep) char *data = NULL;
	size_t n = 0;

	if (v->fd < 0) {
		handle_reply_slice(call, v->mem.data, (size_t)v->size);
		return 0;
	}
	if (call->off < v->size)
		n = (size_t)(v->size - call->off);
	if (n > call->size)
		n = call->size;
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

/* A version that is open. */
struct version_handle {
	struct handle handle; /* first */
	struct version *v;    /* a reference */
	_Atomic bool flushed; /* a child may have closed what it inherited */
};

static int version_read(struct call *call, struct handle *h)
{
	return handle_reply_version(call, ((struct version_handle *)h)->v);
}

static void version_attr(struct mount *m, struct handle *h, int64_t *ret_size,
			 wall_s_t *ret_time)
{
	const struct version *v = ((struct version_handle *)h)->v;

	(void)m;
	*ret_size = v->size;
	*ret_time = v->time;
}

static void version_flush(struct mount *m, struct handle *h)
{
	struct version_handle *vh = (struct version_handle *)h;

	versions_flush(m->versions, vh->v,
		       !atomic_exchange(&vh->flushed, true));
}

static void version_free(struct mount *m, struct handle *h)
{
	struct version_handle *vh = (struct version_handle *)h;

	versions_close(m->versions, vh->v, atomic_load(&vh->flushed));
	versions_unref(m->versions, vh->v);
	free(h);
}

static const struct handle_ops version_ops = {
	.read = version_read,
	.attr = version_attr,
	.flush = version_flush,
	.free = version_free,
};

int handle_of_version(struct call *call, struct version *v, struct handle **ret)
{
	struct version_handle *vh = calloc(1, sizeof(*vh));
	struct node node = node_unpack(v->ino);

	if (!vh) {
		versions_unref(call->mount->versions, v);
		return -ENOMEM;
	}
	vh->v = v;
	handle_add(call->mount, &vh->handle, &node, &version_ops);
	versions_open(call->mount->versions, v);
	*ret = &vh->handle;
	return 0;
}

struct source {
	/* under the lock of all */
	struct source *next; /* the one used last comes first */
	unsigned n_refs;

	/* fixed after it was opened */
	fuse_ino_t ino;
	int64_t size;
	wall_s_t time;
	struct object_reader *object; /* owned; one of the two */
	struct outbox_reader *zip;
};

struct sources {
	struct lock lock;
	struct source *first; /* under lock */

	_Atomic unsigned n_inline; /* readers on session threads */
};

int sources_new(struct sources **ret)
{
	struct sources *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	lock_init(&s->lock, "sources", LOCK_RANK_TEXTS);
	*ret = s;
	return 0;
}

static void source_close(struct source *src)
{
	if (!src)
		return;
	if (src->object)
		object_close(src->object);
	if (src->zip)
		outbox_close(src->zip);
	free(src);
}

struct sources *sources_free(struct sources *s)
{
	if (!s)
		return NULL;
	while (s->first) {
		struct source *src = s->first;

		s->first = src->next;
		source_close(src);
	}
	lock_deinit(&s->lock);
	free(s);
	return NULL;
}

static struct source *find_locked(struct sources *s, fuse_ino_t ino)
{
	for (struct source **at = &s->first; *at; at = &(*at)->next) {
		struct source *src = *at;

		if (src->ino != ino)
			continue;
		*at = src->next;
		src->next = s->first;
		s->first = src;
		return src;
	}
	return NULL;
}

static struct source *source_find(struct sources *s, fuse_ino_t ino)
{
	LOCK_SCOPE(&s->lock);
	struct source *src = find_locked(s, ino);

	if (src)
		src->n_refs++;
	return src;
}

/* Of those that nobody uses, the one used longest ago, if they are many. */
static struct source *evict_locked(struct sources *s)
{
	struct source **oldest = NULL;
	struct source *gone;
	unsigned n = 0;

	for (struct source **at = &s->first; *at; at = &(*at)->next) {
		if ((*at)->n_refs > 0)
			continue;
		oldest = at;
		n++;
	}
	if (n <= SOURCES_IDLE)
		return NULL;
	gone = *oldest;
	*oldest = gone->next;
	return gone;
}

static void source_unref(struct sources *s, struct source *src)
{
	struct source *gone;

	lock_take(&s->lock);
	src->n_refs--;
	gone = evict_locked(s);
	lock_drop(&s->lock);
	source_close(gone);
}

/* Another thread may have opened the same meanwhile: then that one is it. */
static struct source *source_add(struct sources *s, struct source *src)
{
	struct source *other;

	lock_take(&s->lock);
	other = find_locked(s, src->ino);
	if (other) {
		other->n_refs++;
	} else {
		src->n_refs = 1;
		src->next = s->first;
		s->first = src;
	}
	lock_drop(&s->lock);
	if (!other)
		return src;
	source_close(src);
	return other;
}

static int source_open(struct call *call, const struct node *node,
		       const struct facts *facts, int64_t object,
		       struct source **ret)
{
	struct mount *m = call->mount;
	struct source *src;
	fuse_ino_t ino;
	int r;

	r = node_pack(node, &ino);
	if (r < 0)
		return r;
	*ret = source_find(m->sources, ino);
	if (*ret)
		return 0;
	/* The layout of a large ZIP takes a while. */
	if (!object && !call->patient)
		return -EWOULDBLOCK;
	src = calloc(1, sizeof(*src));
	if (!src)
		return -ENOMEM;
	src->ino = ino;
	src->size = facts->size;
	src->time = facts->time;
	r = object ? object_open(m->store, object, &src->object)
		   : outbox_open(m->store, node->id, &src->zip);
	if (r < 0) {
		free(src);
		return r;
	}
	*ret = source_add(m->sources, src);
	return 0;
}

static ssize_t source_pread(const struct source *src, int64_t off, char *ret,
			    size_t n)
{
	return src->object ? object_read(src->object, off, ret, n)
			   : outbox_read(src->zip, off, ret, n);
}

static int source_reply(struct call *call, const struct source *src)
{
	CLEANUP(freep) char *data = NULL;
	size_t n = 0;
	ssize_t got;

	if (call->off < src->size)
		n = (size_t)(src->size - call->off);
	if (n > call->size)
		n = call->size;
	data = malloc(n ? n : 1);
	if (!data)
		return -ENOMEM;
	got = n ? source_pread(src, call->off, data, n) : 0;
	if (got < 0)
		return (int)got;
	if ((size_t)got < n)
		return -EIO; /* never a short read */
	fuse_reply_buf(call->req, data, n);
	return 0;
}

static int source_answer(struct call *call, const struct source *src)
{
	struct sources *s = call->mount->sources;
	int r;

	if (call->patient)
		return source_reply(call, src);
	if (atomic_fetch_add(&s->n_inline, 1) >= INLINE_AT_ONCE)
		r = -EWOULDBLOCK;
	else
		r = source_reply(call, src);
	atomic_fetch_sub(&s->n_inline, 1);
	return r;
}

struct source_handle {
	struct handle handle; /* first */
	struct source *source;
};

static int source_handle_read(struct call *call, struct handle *h)
{
	return source_answer(call, ((struct source_handle *)h)->source);
}

static void source_handle_attr(struct mount *m, struct handle *h,
			       int64_t *ret_size, wall_s_t *ret_time)
{
	const struct source *src = ((struct source_handle *)h)->source;

	(void)m;
	*ret_size = src->size;
	*ret_time = src->time;
}

static void source_handle_free(struct mount *m, struct handle *h)
{
	source_unref(m->sources, ((struct source_handle *)h)->source);
	free(h);
}

static const struct handle_ops source_handle_ops = {
	.read = source_handle_read,
	.attr = source_handle_attr,
	.free = source_handle_free,
};

int handle_of_source(struct call *call, const struct node *node,
		     const struct facts *facts, int64_t object,
		     struct handle **ret)
{
	struct source_handle *sh;
	struct source *src;
	int r;

	r = source_open(call, node, facts, object, &src);
	if (r < 0)
		return r;
	sh = calloc(1, sizeof(*sh));
	if (!sh) {
		source_unref(call->mount->sources, src);
		return -ENOMEM;
	}
	sh->source = src;
	handle_add(call->mount, &sh->handle, node, &source_handle_ops);
	call->fi.keep_cache = 1;
	*ret = &sh->handle;
	return 0;
}

int sources_facts(struct mount *m, const struct node *node, int64_t *ret_size,
		  wall_s_t *ret_time)
{
	struct source *src;
	fuse_ino_t ino;
	int r;

	r = node_pack(node, &ino);
	if (r < 0)
		return r;
	src = source_find(m->sources, ino);
	if (!src)
		return -ENOENT;
	*ret_size = src->size;
	*ret_time = src->time;
	source_unref(m->sources, src);
	return 0;
}
