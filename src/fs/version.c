/* SPDX-License-Identifier: MIT */
/*
 * Versions of files, rendered. One that is in use stays; of the others the
 * longest unused go when there are too many bytes. Whoever asks first renders,
 * the others are parked with the version and started again.
 */
#include <errno.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/attr.h"
#include "outboxfs/base/clock.h"

#define BUCKETS      4096
#define MEM_EACH_MAX ((size_t)1 << 20)   /* larger ones go to a file */
#define MEM_MAX      ((int64_t)24 << 20) /* of unused versions */
#define DISK_MAX     ((int64_t)1 << 30)  /* likewise */
#define RELEASE_US   50000               /* from a FLUSH to its RELEASE */

struct versions {
	struct store *store;

	/* under lock */
	struct lock lock;
	struct version *buckets[BUCKETS];
	struct version *oldest; /* of those that nobody uses */
	struct version *newest;
	int64_t mem; /* their bytes */
	int64_t disk;
};

int versions_new(struct store *store, struct versions **ret)
{
	struct versions *vs = calloc(1, sizeof(*vs));

	if (!vs)
		return -ENOMEM;
	vs->store = store;
	lock_init(&vs->lock, "versions", LOCK_RANK_VERSIONS);
	*ret = vs;
	return 0;
}

static struct version **bucket(struct versions *vs, fuse_ino_t ino)
{
	return &vs->buckets[(ino * 0x9e3779b97f4a7c15ULL) >> 52];
}

/*
 * Only what nobody uses counts: what is in use could not be dropped, and would
 * push out versions that are about to be opened.
 */
static void account_locked(struct versions *vs, const struct version *v,
			   int sign)
{
	if (v->on_disk)
		vs->disk += sign * v->size;
	else if (v->fd >= 0)
		vs->mem += sign * v->size;
	else
		vs->mem += sign * (int64_t)(v->mem.cap + sizeof(*v));
}

static void lru_remove_locked(struct versions *vs, struct version *v)
{
	*(v->lru_prev ? &v->lru_prev->lru_next : &vs->oldest) = v->lru_next;
	*(v->lru_next ? &v->lru_next->lru_prev : &vs->newest) = v->lru_prev;
	v->lru_prev = NULL;
	v->lru_next = NULL;
	account_locked(vs, v, -1);
}

static void lru_add_locked(struct versions *vs, struct version *v)
{
	v->lru_prev = vs->newest;
	v->lru_next = NULL;
	*(vs->newest ? &vs->newest->lru_next : &vs->oldest) = v;
	vs->newest = v;
	account_locked(vs, v, 1);
}

static void unhash_locked(struct versions *vs, struct version *v)
{
	struct version **at = bucket(vs, v->ino);

	while (*at && *at != v)
		at = &(*at)->hash_next;
	if (*at)
		*at = v->hash_next;
}

static void version_free(struct version *v)
{
	buf_deinit(&v->mem);
	close_fd(&v->fd);
	free(v);
}

/* Takes the longest unused version out, and puts it before a list. */
static struct version *take_oldest_locked(struct versions *vs,
					  struct version *list)
{
	struct version *v = vs->oldest;

	lru_remove_locked(vs, v);
	unhash_locked(vs, v);
	v->hash_next = list;
	return v;
}

/*
 * Takes unused versions out until the rest fits; returns them as a list. The
 * newest stays: it may have been rendered for the open that follows, and for
 * nobody else.
 */
static struct version *evict_locked(struct versions *vs)
{
	struct version *gone = NULL;

	while (vs->oldest != vs->newest &&
	       (vs->mem > MEM_MAX || vs->disk > DISK_MAX))
		gone = take_oldest_locked(vs, gone);
	return gone;
}

static void free_list(struct version *v)
{
	while (v) {
		struct version *next = v->hash_next;

		version_free(v);
		v = next;
	}
}

struct versions *versions_free(struct versions *vs)
{
	if (!vs)
		return NULL;
	for (size_t i = 0; i < BUCKETS; i++)
		free_list(vs->buckets[i]);
	lock_deinit(&vs->lock);
	free(vs);
	return NULL;
}

static struct version *find_locked(struct versions *vs, fuse_ino_t ino)
{
	struct version *v = *bucket(vs, ino);

	while (v && v->ino != ino)
		v = v->hash_next;
	return v;
}

static void ref_locked(struct versions *vs, struct version *v)
{
	if (v->n_refs++ == 0)
		lru_remove_locked(vs, v);
}

static struct version *add_locked(struct versions *vs, fuse_ino_t ino)
{
	struct version *v = calloc(1, sizeof(*v));
	struct version **at = bucket(vs, ino);

	if (!v)
		return NULL;
	v->ino = ino;
	v->fd = -1;
	v->n_refs = 1;
	v->mem = (struct buf)BUF_NULL;
	v->hash_next = *at;
	*at = v;
	return v;
}

int versions_get(struct versions *vs, fuse_ino_t ino, struct call *call,
		 struct version **ret)
{
	LOCK_SCOPE(&vs->lock);
	struct version *v = find_locked(vs, ino);

	if (!v) {
		*ret = add_locked(vs, ino);
		return *ret ? 1 : -ENOMEM;
	}
	if (v->state == VERSION_RENDERING) {
		call->next = v->waiting;
		v->waiting = call;
		return -EINPROGRESS;
	}
	ref_locked(vs, v);
	*ret = v;
	return 0;
}

int versions_find(struct versions *vs, fuse_ino_t ino, struct version **ret)
{
	LOCK_SCOPE(&vs->lock);
	struct version *v = find_locked(vs, ino);

	if (!v || v->state != VERSION_READY)
		return -ENOENT;
	ref_locked(vs, v);
	*ret = v;
	return 0;
}

void versions_done(struct versions *vs, struct version *v, int r)
{
	struct call *waiting;

	lock_take(&vs->lock);
	waiting = v->waiting;
	v->waiting = NULL;
	v->state = r < 0 ? VERSION_FAILED : VERSION_READY;
	if (r < 0)
		unhash_locked(vs, v); /* the next one to ask tries again */
	lock_drop(&vs->lock);

	while (waiting) {
		struct call *next = waiting->next;

		call_submit(waiting);
		waiting = next;
	}
}

void versions_unref(struct versions *vs, struct version *v)
{
	struct version *gone = NULL;

	lock_take(&vs->lock);
	if (--v->n_refs == 0) {
		if (v->state == VERSION_FAILED) {
			v->hash_next = NULL;
			gone = v;
		} else {
			lru_add_locked(vs, v);
			gone = evict_locked(vs);
		}
	}
	lock_drop(&vs->lock);
	free_list(gone);
}

void versions_reset(struct versions *vs)
{
	struct version *gone = NULL;

	lock_take(&vs->lock);
	while (vs->oldest)
		gone = take_oldest_locked(vs, gone);
	lock_drop(&vs->lock);
	free_list(gone);
}

static int write_all(int fd, const char *data, size_t n)
{
	while (n > 0) {
		ssize_t done = write(fd, data, n);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return -errno;
		data += done;
		n -= (size_t)done;
	}
	return 0;
}

/* The disk is full: what a reader waits for goes on in memory. */
static int move_to_memory(struct version *v)
{
	CLEANUP(close_fd) int fd = -1;
	off_t off = 0;
	ssize_t n;
	int r;

	r = store_memfile(&fd);
	if (r < 0)
		return r;
	do
		n = sendfile(fd, v->fd, &off, (size_t)1 << 30);
	while (n > 0 || (n < 0 && errno == EINTR));
	if (n < 0)
		return -errno;
	close_fd(&v->fd);
	v->fd = take_fd(&fd);
	v->on_disk = false;
	return 0;
}

static int write_file(struct version *v, const char *data, size_t n)
{
	off_t at = lseek(v->fd, 0, SEEK_CUR);
	int r;

	r = write_all(v->fd, data, n);
	if ((r != -ENOSPC && r != -EDQUOT) || at < 0 || !v->on_disk)
		return r;
	if (ftruncate(v->fd, at) < 0)
		return -errno;
	r = move_to_memory(v);
	return r < 0 ? r : write_all(v->fd, data, n);
}

int versions_write(struct version *v, const char *data, size_t n,
		   struct store *store)
{
	int r;

	v->size += (int64_t)n;
	if (v->fd < 0 && v->mem.len + n <= MEM_EACH_MAX) {
		buf_add(&v->mem, data, n);
		return buf_error(&v->mem);
	}
	if (v->fd < 0) {
		r = store_tmpfile(store, &v->fd);
		v->on_disk = r == 0;
		if (r >= 0)
			r = write_file(v, v->mem.data, v->mem.len);
		buf_deinit(&v->mem);
		if (r < 0)
			return r;
	}
	return write_file(v, data, n);
}

void versions_empty(struct version *v)
{
	buf_deinit(&v->mem);
	close_fd(&v->fd);
	v->on_disk = false;
	v->size = 0;
}

void versions_open(struct versions *vs, struct version *v)
{
	LOCK_SCOPE(&vs->lock);

	v->n_open++;
}

void versions_flush(struct versions *vs, struct version *v, bool is_first)
{
	LOCK_SCOPE(&vs->lock);

	v->n_flushed += is_first;
	v->flushed_at = clock_mono();
}

void versions_close(struct versions *vs, struct version *v, bool was_flushed)
{
	LOCK_SCOPE(&vs->lock);

	v->n_open--;
	v->n_flushed -= was_flushed;
}

enum version_use versions_use(struct versions *vs, fuse_ino_t ino)
{
	LOCK_SCOPE(&vs->lock);
	const struct version *v = find_locked(vs, ino);

	if (!v || v->n_open == 0)
		return USE_NONE;
	if (v->n_flushed < v->n_open ||
	    clock_mono() - v->flushed_at > RELEASE_US)
		return USE_OPEN;
	return USE_CLOSING;
}

/*
 * Tags come round: one whose version is still there would be taken for it. A
 * version of each would have to be there for this to end in vain.
 */
static int get_provisional(struct call *call, struct node *node,
			   struct version **ret)
{
	struct mount *m = call->mount;

	for (unsigned i = 0; i <= NODE_TAG_MASK; i++) {
		unsigned drawn = atomic_fetch_add(&m->provisional, 1);
		fuse_ino_t ino;
		int r;

		node->tag = NODE_TAG_PROVISIONAL | (drawn & NODE_TAG_MASK);
		r = node_pack(node, &ino);
		if (r == 0)
			r = versions_get(m->versions, ino, call, ret);
		if (r != 0)
			return r;
		versions_unref(m->versions, *ret);
	}
	return -EBUSY;
}

int version_get(struct call *call, struct node *node, struct version **ret)
{
	fuse_ino_t ino;
	int r;

	if (attr_is_provisional(node))
		return get_provisional(call, node, ret);
	r = node_pack(node, &ino);
	return r < 0 ? r : versions_get(call->mount->versions, ino, call, ret);
}

int version_keep(struct call *call, struct facts *facts,
		 const struct buf *content)
{
	struct versions *vs = call->mount->versions;
	struct version *v;
	int r;

	r = version_get(call, &facts->node, &v);
	if (r < 0)
		return r;
	if (r == 1) {
		v->time = facts->time;
		r = versions_write(v, content->data, content->len,
				   call->mount->store);
		versions_done(vs, v, r);
	}
	versions_unref(vs, v);
	return r;
}
