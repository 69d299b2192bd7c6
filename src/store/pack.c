/* SPDX-License-Identifier: MIT */

/*
 * Packs: <store>/packs/<id>.
 *
 * 1. Bytes up to the end that the index has for a pack never change; what is
 *    behind it belongs to the one who appends, or to nobody.
 * 2. A pack is removed after the index has forgotten it, and its id is not
 *    given out again, so an open file is always the right one.
 * 3. Space is given out under the lock and written without it: a range has
 *    one writer.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "outboxfs/base/fault.h"
#include "outboxfs/base/log.h"
#include "statements.h"
#include "store/private.h"

#define PACK_FULL  ((int64_t)256 << 20) /* no more is put behind this */
#define OPEN_MAX   64
#define COPY_BYTES ((size_t)256 << 10)
#define NAME_BYTES 24

struct pack {
	atomic_uint refs; /* one of them is the cache's while it is there */
	int64_t id;
	int fd;
	uint64_t used; /* when; under the lock of packs */
};

struct packs {
	int dir_fd; /* -1: the store lives in memory */

	/* under lock */
	struct lock lock;
	struct pack *open[OPEN_MAX];
	uint64_t clock;
	bool appending;
};

/* A pack that is appended to. */
struct target {
	int64_t id;
	int64_t begin; /* what the index has */
	int64_t end;
	bool is_new; /* the index does not have it */
	int fd;      /* -1: not open yet */
	bool dirty;  /* written since the last sync */
};

struct pack_append {
	struct store *store; /* borrowed */

	/* under the lock of packs */
	struct target *targets; /* owned */
	size_t n;
	size_t cap;
	int64_t next; /* id of the next new one */
	int64_t left; /* bytes that may still be appended */
};

static void pack_name(int64_t id, char ret[NAME_BYTES])
{
	(void)snprintf(ret, NAME_BYTES, "%" PRId64, id);
}

/* The id of a name that pack_name() makes; 0: it is none. */
static int64_t parse_name(const char *name)
{
	char again[NAME_BYTES];
	int64_t id = strtoll(name, NULL, 10);

	pack_name(id, again);
	return id > 0 && strcmp(again, name) == 0 ? id : 0;
}

static int open_file(const struct packs *p, int64_t id, int flags)
{
	char name[NAME_BYTES];
	int fd;

	pack_name(id, name);
	fd = openat(p->dir_fd, name, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
	return fd < 0 ? -errno : fd;
}

static void unlink_file(const struct packs *p, int64_t id)
{
	char name[NAME_BYTES];

	pack_name(id, name);
	if (fault("pack-unlink") < 0 ||
	    (unlinkat(p->dir_fd, name, 0) < 0 && errno != ENOENT))
		log_warn("cannot remove pack '%s': %s", name,
			 strerrordesc_np(errno));
}

/* 1: the index names the pack. */
static int index_get(struct db *db, int64_t id, int64_t *ret_bytes)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(db, STORE_PACK_GET, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, id);
	r = db_step(stmt);
	if (r == 1)
		*ret_bytes = sqlite3_column_int64(stmt, 0);
	return r;
}

/*
 * Brings a file to the end that the index has. What is missing is an error of
 * whoever wants to read it, not of everything else.
 */
static int cut_file(const struct packs *p, const char *path, int64_t id,
		    int64_t bytes)
{
	CLEANUP(close_fd) int fd = open_file(p, id, O_RDWR);
	struct stat st;
	int r;

	if (fd < 0) {
		log_err("cannot open pack '%s/packs/%" PRId64
			"': %s; what it holds cannot be read",
			path, id, strerrordesc_np(-fd));
		return 0;
	}
	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size < bytes)
		log_err("pack '%s/packs/%" PRId64 "' has %lld of %" PRId64
			" bytes: what is behind them cannot be read",
			path, id, (long long)st.st_size, bytes);
	if (st.st_size <= bytes)
		return 0;
	r = fault("pack-cut");
	if (r < 0)
		return r;
	return ftruncate(fd, bytes) < 0 ? -errno : 0;
}

static int cut_all(const struct packs *p, struct store *store)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(store->writer, STORE_PACK_ALL, &stmt);
	if (r < 0)
		return r;
	for (r = db_step(stmt); r == 1; r = db_step(stmt)) {
		r = cut_file(p, store->path, sqlite3_column_int64(stmt, 0),
			     sqlite3_column_int64(stmt, 1));
		if (r < 0)
			return r;
	}
	return r;
}

static void close_dir(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

/* Removes files of packs that the index does not name. */
static int sweep(const struct packs *p, struct store *store)
{
	CLEANUP(close_fd)
	int fd = openat(p->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CLEANUP(close_dir) DIR *dir = NULL;
	const struct dirent *entry;
	int64_t bytes;

	if (fd < 0)
		return -errno;
	dir = fdopendir(fd);
	if (!dir)
		return -errno;
	(void)take_fd(&fd);
	for (errno = 0; (entry = readdir(dir)) != NULL; errno = 0) {
		int64_t id = parse_name(entry->d_name);
		int r = id > 0 ? index_get(store->writer, id, &bytes) : 1;

		if (r < 0)
			return r;
		if (r == 0)
			unlink_file(p, id);
	}
	return -errno;
}

static int open_packs(struct packs *p, struct store *store)
{
	bool made = mkdirat(store->dir_fd, "packs", 0700) == 0;
	int r;

	if (!made && errno != EEXIST)
		return -errno;
	p->dir_fd = openat(store->dir_fd, "packs",
			   O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (p->dir_fd < 0 || (made && fsync(store->dir_fd) < 0))
		return -errno;
	r = cut_all(p, store);
	return r < 0 ? r : sweep(p, store);
}

DEFINE_FREEP(packs)

int packs_new(struct store *store, struct packs **ret, struct err *err)
{
	CLEANUP(packs_freep) struct packs *p = calloc(1, sizeof(*p));
	int r = 0;

	if (!p)
		return -ENOMEM;
	p->dir_fd = -1;
	lock_init(&p->lock, "packs", LOCK_RANK_PACKS);
	if (store->path)
		r = open_packs(p, store);
	if (r < 0)
		return err_set(err, r, "cannot open '%s/packs': %s",
			       store->path, strerrordesc_np(-r));
	*ret = TAKE_PTR(p);
	return 0;
}

struct packs *packs_free(struct packs *p)
{
	if (!p)
		return NULL;
	for (size_t i = 0; i < OPEN_MAX; i++)
		pack_unref(p->open[i]);
	close_fd(&p->dir_fd);
	lock_deinit(&p->lock);
	free(p);
	return NULL;
}

/* Reading */

static struct pack *find_locked(struct packs *p, int64_t id)
{
	for (size_t i = 0; i < OPEN_MAX; i++) {
		struct pack *pack = p->open[i];

		if (pack && pack->id == id) {
			pack->used = ++p->clock;
			atomic_fetch_add(&pack->refs, 1);
			return pack;
		}
	}
	return NULL;
}

static struct pack *find(struct packs *p, int64_t id)
{
	LOCK_SCOPE(&p->lock);

	return find_locked(p, id);
}

/* Puts a pack in; what it displaces is for the caller to let go. */
static struct pack *remember(struct packs *p, struct pack *pack)
{
	LOCK_SCOPE(&p->lock);
	size_t oldest = 0;
	struct pack *old;

	for (size_t i = 0; i < OPEN_MAX; i++) {
		if (!p->open[i]) {
			oldest = i;
			break;
		}
		if (p->open[i]->used < p->open[oldest]->used)
			oldest = i;
	}
	old = p->open[oldest];
	pack->used = ++p->clock;
	atomic_fetch_add(&pack->refs, 1);
	p->open[oldest] = pack;
	return old;
}

static void forget(struct packs *p, int64_t id)
{
	struct pack *gone[OPEN_MAX];
	size_t n = 0;

	/* Two who opened it at once have both left theirs here. */
	lock_take(&p->lock);
	for (size_t i = 0; i < OPEN_MAX; i++) {
		if (!p->open[i] || p->open[i]->id != id)
			continue;
		gone[n++] = p->open[i];
		p->open[i] = NULL;
	}
	lock_drop(&p->lock);
	while (n > 0)
		pack_unref(gone[--n]);
}

int pack_open(struct store *store, int64_t id, struct pack **ret)
{
	struct packs *p = store->packs;
	struct pack *pack;
	int fd;

	if (p->dir_fd < 0)
		return -EROFS;
	pack = find(p, id);
	if (pack) {
		*ret = pack;
		return 0;
	}
	fd = open_file(p, id, O_RDONLY);
	if (fd < 0)
		return fd;
	pack = malloc(sizeof(*pack));
	if (!pack) {
		close_fd(&fd);
		return -ENOMEM;
	}
	/* Two may open one pack at once; that costs a descriptor for a time. */
	*pack = (struct pack){.refs = 1, .id = id, .fd = fd};
	pack_unref(remember(p, pack));
	*ret = pack;
	return 0;
}

void pack_unref(struct pack *pack)
{
	if (!pack || atomic_fetch_sub(&pack->refs, 1) != 1)
		return;
	close_fd(&pack->fd);
	free(pack);
}

static int read_all(int fd, int64_t offset, void *ret, size_t n)
{
	char *p = ret;

	while (n > 0) {
		ssize_t m = pread(fd, p, n, offset);

		if (m < 0 && errno == EINTR)
			continue;
		if (m <= 0)
			return m < 0 ? -errno : -EIO;
		p += m;
		n -= (size_t)m;
		offset += m;
	}
	return 0;
}

int pack_read(struct pack *p, int64_t offset, void *ret, size_t n)
{
	int r = fault("pack-read");

	return r < 0 ? r : read_all(p->fd, offset, ret, n);
}

void pack_remove(struct packs *p, int64_t id)
{
	unlink_file(p, id);
	forget(p, id);
}

/* Appending */

static bool take_turn(struct packs *p)
{
	LOCK_SCOPE(&p->lock);
	bool mine = !p->appending;

	p->appending = true;
	return mine;
}

static void end_turn(struct packs *p)
{
	LOCK_SCOPE(&p->lock);

	p->appending = false;
}

static int add_target_locked(struct pack_append *a, struct target target)
{
	size_t cap = a->cap ? a->cap * 2 : 4;
	struct target *targets = a->targets;

	if (a->n == a->cap) {
		targets = reallocarray(targets, cap, sizeof(*targets));
		if (!targets)
			return -ENOMEM;
		a->targets = targets;
		a->cap = cap;
	}
	a->targets[a->n++] = target;
	return 0;
}

/* Goes on behind the last pack, if that is whole and has room. */
static int continue_last(struct pack_append *a, struct db *db)
{
	const struct packs *p = a->store->packs;
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	CLEANUP(close_fd) int fd = -1;
	struct target last = {.id = 0};
	struct stat st;
	int r;

	r = db_stmt(db, STORE_PACK_LAST, &stmt);
	if (r == 0)
		r = db_step(stmt);
	if (r != 1)
		return r;
	last.id = sqlite3_column_int64(stmt, 0);
	last.begin = sqlite3_column_int64(stmt, 1);
	if (last.begin >= PACK_FULL)
		return 0;
	fd = open_file(p, last.id, O_RDWR);
	if (fd < 0 || fstat(fd, &st) < 0 || st.st_size < last.begin)
		return 0; /* it was said when the store was opened */
	if (st.st_size > last.begin && ftruncate(fd, last.begin) < 0)
		return -errno;
	last.end = last.begin;
	last.fd = fd;
	r = add_target_locked(a, last);
	if (r == 0)
		(void)take_fd(&fd);
	return r;
}

static int begin(struct pack_append *a, struct db *db)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(db, STORE_PACK_NEXT, &stmt);
	if (r == 0)
		r = db_step(stmt);
	if (r < 0)
		return r;
	a->next = sqlite3_column_int64(stmt, 0);
	return continue_last(a, db);
}

int pack_append_begin(struct store *store, struct db *db,
		      struct pack_append **ret)
{
	struct pack_append *a;
	int r;

	if (store->packs->dir_fd < 0)
		return -EROFS;
	if (!take_turn(store->packs))
		return -EBUSY;
	a = calloc(1, sizeof(*a));
	if (!a) {
		end_turn(store->packs);
		return -ENOMEM;
	}
	a->store = store;
	a->left = INT64_MAX;
	r = begin(a, db);
	if (r < 0) {
		pack_append_free(a, false);
		return r;
	}
	*ret = a;
	return 0;
}

void pack_append_limit(struct pack_append *a, int64_t n)
{
	LOCK_SCOPE(&a->store->packs->lock);

	a->left = n;
}

void pack_append_fresh(struct pack_append *a)
{
	for (size_t i = 0; i < a->n; i++)
		close_fd(&a->targets[i].fd);
	a->n = 0;
}

/* Gives out n bytes; *ret is the number of the target. */
static int reserve(struct pack_append *a, int64_t n, size_t *ret,
		   int64_t *ret_offset)
{
	LOCK_SCOPE(&a->store->packs->lock);
	struct target *t;
	int r;

	if (n > a->left)
		return -EDQUOT;
	a->left -= n;
	if (a->n == 0 || a->targets[a->n - 1].end >= PACK_FULL) {
		struct target fresh = {.id = a->next, .is_new = true, .fd = -1};

		r = add_target_locked(a, fresh);
		if (r < 0)
			return r;
		a->next++;
	}
	t = &a->targets[a->n - 1];
	*ret = a->n - 1;
	*ret_offset = t->end;
	t->end += n;
	t->dirty = true;
	return 0;
}

static int had_fd(struct pack_append *a, size_t i, int64_t *ret_id)
{
	LOCK_SCOPE(&a->store->packs->lock);

	*ret_id = a->targets[i].id;
	return a->targets[i].fd;
}

/* The descriptor of a target; whoever comes first makes the file. */
static int target_fd(struct pack_append *a, size_t i, int64_t *ret_id)
{
	struct packs *p = a->store->packs;
	CLEANUP(close_fd) int fd = -1;
	int had = had_fd(a, i, ret_id);
	int r;

	if (had >= 0)
		return had;
	r = fault("pack-create");
	if (r < 0)
		return r;
	fd = open_file(p, *ret_id, O_RDWR | O_CREAT);
	if (fd < 0)
		return take_fd(&fd);
	lock_take(&p->lock);
	if (a->targets[i].fd < 0)
		a->targets[i].fd = take_fd(&fd);
	had = a->targets[i].fd;
	lock_drop(&p->lock);
	return had;
}

static int write_all(int fd, int64_t offset, const void *data, size_t n)
{
	const char *p = data;
	int r = fault("pack-write");

	if (r < 0)
		return r;
	while (n > 0) {
		ssize_t m = pwrite(fd, p, n, offset);

		if (m < 0 && errno == EINTR)
			continue;
		if (m <= 0)
			return m < 0 ? -errno : -EIO;
		p += m;
		n -= (size_t)m;
		offset += m;
	}
	return 0;
}

int pack_append(struct pack_append *a, const void *data, size_t n,
		int64_t *ret_pack, int64_t *ret_offset)
{
	int64_t offset;
	int64_t id;
	size_t i;
	int fd;
	int r;

	r = reserve(a, (int64_t)n, &i, &offset);
	if (r < 0)
		return r;
	fd = target_fd(a, i, &id);
	if (fd < 0)
		return fd;
	r = write_all(fd, offset, data, n);
	if (r < 0)
		return r;
	*ret_pack = id;
	*ret_offset = offset;
	return 0;
}

static int copy(int from, int64_t begin, int to, int64_t offset, int64_t n)
{
	CLEANUP(freep)
	char *data =
		malloc(n < (int64_t)COPY_BYTES ? (size_t)n + 1 : COPY_BYTES);
	int r = 0;

	if (!data)
		return -ENOMEM;
	for (int64_t at = 0; r == 0 && at < n; at += (int64_t)COPY_BYTES) {
		size_t m = n - at < (int64_t)COPY_BYTES ? (size_t)(n - at)
							: COPY_BYTES;

		r = read_all(from, begin + at, data, m);
		if (r == 0)
			r = write_all(to, offset + at, data, m);
	}
	return r;
}

static int append_from(struct pack_append *a, int fd, int64_t begin, int64_t n,
		       int64_t *ret_pack, int64_t *ret_offset)
{
	int64_t offset;
	int64_t id;
	size_t i;
	int to;
	int r;

	r = reserve(a, n, &i, &offset);
	if (r < 0)
		return r;
	to = target_fd(a, i, &id);
	if (to < 0)
		return to;
	r = copy(fd, begin, to, offset, n);
	if (r < 0)
		return r;
	*ret_pack = id;
	*ret_offset = offset;
	return 0;
}

int pack_append_file(struct pack_append *a, int fd, int64_t n,
		     int64_t *ret_pack, int64_t *ret_offset)
{
	return append_from(a, fd, 0, n, ret_pack, ret_offset);
}

int pack_append_copy(struct pack_append *a, const struct pack *from,
		     int64_t offset, int64_t n, int64_t *ret_pack,
		     int64_t *ret_offset)
{
	return append_from(a, from->fd, offset, n, ret_pack, ret_offset);
}

/* Takes note that what was written up to now is about to be durable. */
static bool take_dirty(struct pack_append *a, size_t i, int *ret_fd,
		       bool *ret_new)
{
	LOCK_SCOPE(&a->store->packs->lock);
	struct target *t = &a->targets[i];
	bool dirty = t->dirty && t->fd >= 0;

	t->dirty = false;
	*ret_fd = t->fd;
	*ret_new = t->is_new;
	return dirty;
}

int pack_append_sync(struct pack_append *a)
{
	bool any_new = false;
	bool is_new;
	int fd;
	int r;

	for (size_t i = 0; i < a->n; i++) {
		if (!take_dirty(a, i, &fd, &is_new))
			continue;
		r = fault("pack-sync");
		if (r < 0)
			return r;
		if (fdatasync(fd) < 0)
			return -errno;
		any_new |= is_new;
	}
	if (!any_new)
		return 0;
	r = fault("pack-sync-dir");
	if (r < 0)
		return r;
	return fsync(a->store->packs->dir_fd) < 0 ? -errno : 0;
}

static int index_put(struct db *db, const struct target *t)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(db, STORE_PACK_PUT, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, t->id);
	sqlite3_bind_int64(stmt, 2, t->end);
	return db_step(stmt);
}

int pack_append_index(struct pack_append *a, struct db *db)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < a->n; i++) {
		const struct target *t = &a->targets[i];

		/* A new one may hold nothing but an empty object. */
		if (t->end > t->begin || (t->is_new && t->fd >= 0))
			r = index_put(db, t);
	}
	return r;
}

void pack_append_committed(struct pack_append *a)
{
	LOCK_SCOPE(&a->store->packs->lock);

	for (size_t i = 0; i < a->n; i++) {
		a->targets[i].begin = a->targets[i].end;
		a->targets[i].is_new = a->targets[i].fd < 0;
	}
}

/* Gives back the space behind the end that the index has. */
static void undo(struct packs *p, const struct target *t)
{
	if (t->is_new)
		pack_remove(p, t->id);
	else if (t->end > t->begin && ftruncate(t->fd, t->begin) < 0)
		log_warn("cannot cut off pack %" PRId64 ": %s", t->id,
			 strerrordesc_np(errno));
}

struct pack_append *pack_append_free(struct pack_append *a, bool committed)
{
	struct packs *p;

	if (!a)
		return NULL;
	p = a->store->packs;
	for (size_t i = 0; i < a->n; i++) {
		struct target *t = &a->targets[i];

		if (!committed)
			undo(p, t);
		close_fd(&t->fd);
	}
	free(a->targets);
	end_turn(p);
	free(a);
	return NULL;
}
