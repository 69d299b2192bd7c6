/* SPDX-License-Identifier: MIT */

/*
 * Entries of outbox/ and who reads them.
 *
 * Readers of an entry share one object: the layout of its ZIP, and references
 * to the packs that it reads from, so that it is readable to its end whatever
 * is withdrawn, purged or compacted meanwhile. When the last one closes, the
 * packs are let go, and the layout stays for a while: making it again costs a
 * query of all its files. A layout is right as long as all its packs are there,
 * because packs do not change and their ids are not given out again.
 */

#include "outboxfs/store/outbox.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "outboxfs/base/fault.h"
#include "outboxfs/base/log.h"
#include "statements.h"
#include "store/private.h"

#define IDLE_BYTES ((size_t)64 << 20) /* of layouts that nobody reads */
/* References to packs of one ZIP, 64 GiB; others are opened as they are read */
#define PACKS_HELD 256

struct outbox_reader {
	struct store *store; /* borrowed */
	int64_t id;
	struct zip_layout *zip; /* owned */
	uint32_t *pack_ids;     /* owned; sorted */
	size_t n_packs;

	/* fixed while there are readers; NULL where the file is not there */
	struct pack **packs; /* owned; NULL: idle */

	/* under the lock of zips */
	unsigned refs;
	uint64_t used;
	struct outbox_reader *next;
};

struct zips {
	struct lock lock;

	/* under lock */
	struct outbox_reader *list;
	uint64_t clock;
	size_t idle_bytes;
};

static size_t memory_of(const struct outbox_reader *z)
{
	return zip_layout_memory(z->zip) + z->n_packs * sizeof(*z->pack_ids);
}

static void unref_packs(struct pack **packs, size_t n)
{
	for (size_t i = 0; packs && i < n; i++)
		pack_unref(packs[i]);
	free(packs);
}

static struct outbox_reader *outbox_reader_free(struct outbox_reader *z)
{
	if (!z)
		return NULL;
	unref_packs(z->packs, z->n_packs);
	zip_layout_free(z->zip);
	free(z->pack_ids);
	free(z);
	return NULL;
}
DEFINE_FREEP(outbox_reader)

int zips_new(struct zips **ret)
{
	struct zips *zips = calloc(1, sizeof(*zips));

	if (!zips)
		return -ENOMEM;
	lock_init(&zips->lock, "zips", LOCK_RANK_ZIPS);
	*ret = zips;
	return 0;
}

struct zips *zips_free(struct zips *zips)
{
	struct outbox_reader *next;

	if (!zips)
		return NULL;
	for (struct outbox_reader *z = zips->list; z; z = next) {
		next = z->next;
		outbox_reader_free(z);
	}
	lock_deinit(&zips->lock);
	free(zips);
	return NULL;
}

static void read_entry(sqlite3_stmt *stmt, struct outbox_entry *ret)
{
	ret->id = sqlite3_column_int64(stmt, 0);
	ret->snapshot = sqlite3_column_int64(stmt, 1);
	ret->bytes = sqlite3_column_int64(stmt, 2);
	ret->entries = sqlite3_column_int64(stmt, 3);
	ret->job = sqlite3_column_int64(stmt, 4);
	ret->time = sqlite3_column_int64(stmt, 5);
	(void)snprintf(ret->type, sizeof(ret->type), "%s",
		       (const char *)sqlite3_column_text(stmt, 6));
	(void)snprintf(ret->name, sizeof(ret->name), "%s",
		       (const char *)sqlite3_column_text(stmt, 7));
}

/* By name, or, where that is NULL, by id. */
static int get_on(struct db *db, int64_t id, const char *name,
		  struct outbox_entry *ret)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(db, name ? STORE_OUTBOX_FIND : STORE_OUTBOX_GET, &stmt);
	if (r < 0)
		return r;
	if (name)
		sqlite3_bind_text(stmt, 1, name, -1, SQLITE_STATIC);
	else
		sqlite3_bind_int64(stmt, 1, id);
	r = db_step(stmt);
	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	read_entry(stmt, ret);
	return 0;
}

static int get(struct store *store, int64_t id, const char *name,
	       struct outbox_entry *ret)
{
	struct db *db;
	int r;

	r = store_reader_get(store, &db);
	if (r < 0)
		return r;
	r = get_on(db, id, name, ret);
	store_reader_put(store, db);
	return r;
}

int outbox_get(struct store *store, int64_t id, struct outbox_entry *ret)
{
	return get(store, id, NULL, ret);
}

int outbox_find(struct store *store, const char *name, struct outbox_entry *ret)
{
	return get(store, 0, name, ret);
}

static int list_on(struct db *db, int64_t after, outbox_func_t func, void *arg)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	struct outbox_entry e;
	int r;

	r = db_stmt(db, STORE_OUTBOX_LIST, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, after);
	while ((r = db_step(stmt)) == 1) {
		read_entry(stmt, &e);
		r = func(&e, arg);
		if (r != 0)
			return r < 0 ? r : 0;
	}
	return r;
}

int outbox_list(struct store *store, int64_t after, outbox_func_t func,
		void *arg)
{
	struct db *db;
	int r;

	r = store_reader_get(store, &db);
	if (r < 0)
		return r;
	r = list_on(db, after, func, arg);
	store_reader_put(store, db);
	return r;
}

static int drop_row(struct db *db, size_t statement, int64_t id)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(db, statement, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, id);
	r = db_step(stmt);
	return r < 0 ? r : sqlite3_changes(db_handle(db)) > 0;
}

int outbox_drop_on(struct db *db, int64_t id)
{
	int r = drop_row(db, STORE_OUTBOX_DROP, id);

	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	r = drop_row(db, STORE_DRAFT_SELECTION_DROP, id);
	return r < 0 ? r : 0;
}

int outbox_withdraw(struct store *store, int64_t id)
{
	LOCK_SCOPE(&store->lock);
	CLEANUP(db_rollback) struct db_txn txn = DB_TXN_NULL;
	int r;

	r = db_begin_write(store->writer, &txn);
	if (r == 0)
		r = outbox_drop_on(store->writer, id);
	if (r == 0)
		r = fault("outbox-withdraw");
	return r < 0 ? r : db_commit(&txn);
}

/* Reading */

/* What an entry shows, and the size that its ZIP must have. */
static int spec_on(struct db *db, int64_t id, struct package_spec *ret,
		   int64_t *ret_bytes)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(db, STORE_OUTBOX_SHOWS, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, id);
	r = db_step(stmt);
	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	*ret = (struct package_spec){
		.snapshot = sqlite3_column_int64(stmt, 0),
		.setup_only =
			strcasecmp((const char *)sqlite3_column_text(stmt, 1),
				   "setup") == 0,
		.selected = sqlite3_column_int(stmt, 2) != 0,
		.outbox = id,
		.params = sqlite3_column_int64(stmt, 3),
		.document = sqlite3_column_int64(stmt, 4),
		.time = sqlite3_column_int64(stmt, 5),
	};
	*ret_bytes = sqlite3_column_int64(stmt, 6);
	return 0;
}

static int list_files(struct store *store, int64_t id, struct package **ret,
		      int64_t *ret_bytes)
{
	CLEANUP(db_rollback) struct db_txn txn = DB_TXN_NULL;
	struct package_spec spec;
	struct db *db;
	int r;

	r = store_reader_get(store, &db);
	if (r < 0)
		return r;
	r = db_begin(db, &txn);
	if (r == 0)
		r = spec_on(db, id, &spec, ret_bytes);
	if (r == 0)
		r = package_list_on(db, id, &spec, ret);
	db_rollback(&txn);
	store_reader_put(store, db);
	return r;
}

static int compare_ids(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a;
	uint32_t y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static int collect_packs(struct outbox_reader *z, const struct package *p)
{
	uint32_t *ids = calloc(p->n + 1, sizeof(*ids));
	size_t n = 0;

	z->pack_ids = ids;
	if (!ids)
		return -ENOMEM;
	for (size_t i = 0; i < p->n; i++)
		if (i == 0 || p->files[i].pack != p->files[i - 1].pack)
			ids[n++] = (uint32_t)p->files[i].pack;
	qsort(ids, n, sizeof(*ids), compare_ids);
	for (size_t i = 0; i < n; i++)
		if (z->n_packs == 0 || ids[i] != ids[z->n_packs - 1])
			ids[z->n_packs++] = ids[i];
	/* It only gets smaller. */
	ids = reallocarray(ids, z->n_packs + 1, sizeof(*ids));
	if (ids)
		z->pack_ids = ids;
	return 0;
}

/* -ENOENT: a pack is not there (any more). */
static int hold_packs(struct outbox_reader *z)
{
	int r = 0;

	z->packs = calloc(z->n_packs + 1, sizeof(struct pack *));
	if (!z->packs)
		return -ENOMEM;
	for (size_t i = 0; i < z->n_packs && i < PACKS_HELD; i++) {
		int one = pack_open(z->store, z->pack_ids[i], &z->packs[i]);

		if (one < 0)
			r = one;
	}
	return r;
}

static int build(struct store *store, int64_t id, struct outbox_reader **ret)
{
	CLEANUP(package_freep) struct package *files = NULL;
	CLEANUP(outbox_reader_freep)
	struct outbox_reader *z = calloc(1, sizeof(*z));
	int64_t bytes = 0;
	int r;

	if (!z)
		return -ENOMEM;
	z->store = store;
	z->id = id;
	r = list_files(store, id, &files, &bytes);
	if (r == 0)
		r = package_zip(files, &z->zip);
	if (r == 0)
		r = collect_packs(z, files);
	if (r < 0)
		return r;
	if (zip_layout_size(z->zip) != bytes) {
		log_err("ZIP %lld of outbox/ has %lld bytes and should have %lld",
			(long long)id, (long long)zip_layout_size(z->zip),
			(long long)bytes);
		return -EBADMSG;
	}
	*ret = TAKE_PTR(z);
	return 0;
}

/*
 * A pack may go between the listing and here; then it is listed again. One
 * that is still missing is an error of whoever reads what is in it.
 */
static int build_and_hold(struct store *store, int64_t id,
			  struct outbox_reader **ret)
{
	CLEANUP(outbox_reader_freep) struct outbox_reader *z = NULL;
	int r = -ENOENT;

	for (int i = 0; r == -ENOENT && i < 3; i++) {
		z = outbox_reader_free(z);
		r = build(store, id, &z);
		if (r < 0)
			return r;
		r = hold_packs(z);
	}
	if (r < 0 && r != -ENOENT)
		return r;
	*ret = TAKE_PTR(z);
	return 0;
}

static void unlink_locked(struct zips *zips, struct outbox_reader *z)
{
	struct outbox_reader **at = &zips->list;

	while (*at != z)
		at = &(*at)->next;
	*at = z->next;
	z->next = NULL;
}

/* 1: one that is in use, with a reference; 0: *ret is idle and ours, or NULL */
static int take(struct zips *zips, int64_t id, struct outbox_reader **ret)
{
	LOCK_SCOPE(&zips->lock);

	for (struct outbox_reader *z = zips->list; z; z = z->next) {
		if (z->id != id)
			continue;
		*ret = z;
		if (z->refs) {
			z->refs++;
			return 1;
		}
		unlink_locked(zips, z);
		zips->idle_bytes -= memory_of(z);
		return 0;
	}
	*ret = NULL;
	return 0;
}

/* The one to use, if another thread has put it in first. */
static struct outbox_reader *publish(struct zips *zips, struct outbox_reader *z)
{
	LOCK_SCOPE(&zips->lock);

	for (struct outbox_reader *other = zips->list; other;
	     other = other->next)
		if (other->id == z->id && other->refs) {
			other->refs++;
			return other;
		}
	z->refs = 1;
	z->next = zips->list;
	zips->list = z;
	return z;
}

int outbox_open(struct store *store, int64_t id, struct outbox_reader **ret)
{
	CLEANUP(outbox_reader_freep) struct outbox_reader *z = NULL;
	struct outbox_reader *used;
	struct outbox_entry e;
	int r;

	r = outbox_get(store, id, &e);
	if (r < 0)
		return r;
	r = take(store->zips, id, &used);
	if (r == 1) {
		*ret = used;
		return 0;
	}
	z = used;
	if (z && hold_packs(z) < 0)
		z = outbox_reader_free(z);
	if (!z) {
		r = build_and_hold(store, id, &z);
		if (r < 0)
			return r;
	}
	*ret = publish(store->zips, z);
	if (*ret == z)
		z = NULL;
	return 0;
}

/* Idle ones that are too many, least recently used first. */
static struct outbox_reader *evict_locked(struct zips *zips)
{
	struct outbox_reader *gone = NULL;

	while (zips->idle_bytes > IDLE_BYTES) {
		struct outbox_reader *oldest = NULL;

		for (struct outbox_reader *z = zips->list; z; z = z->next)
			if (!z->refs && (!oldest || z->used < oldest->used))
				oldest = z;
		if (!oldest)
			break;
		unlink_locked(zips, oldest);
		zips->idle_bytes -= memory_of(oldest);
		oldest->next = gone;
		gone = oldest;
	}
	return gone;
}

struct outbox_reader *outbox_close(struct outbox_reader *r)
{
	struct zips *zips = r->store->zips;
	struct outbox_reader *gone = NULL;
	struct pack **packs = NULL;
	size_t n = r->n_packs;

	lock_take(&zips->lock);
	if (--r->refs == 0) {
		packs = TAKE_PTR(r->packs);
		r->used = ++zips->clock;
		zips->idle_bytes += memory_of(r);
		gone = evict_locked(zips);
	}
	lock_drop(&zips->lock);
	unref_packs(packs, n);
	while (gone) {
		struct outbox_reader *next = gone->next;

		outbox_reader_free(gone);
		gone = next;
	}
	return NULL;
}

static int read_pack(void *arg, uint32_t source, int64_t position, void *ret,
		     size_t n)
{
	const struct outbox_reader *z = arg;
	const uint32_t *id = bsearch(&source, z->pack_ids, z->n_packs,
				     sizeof(source), compare_ids);
	struct pack *pack;
	int r;

	if (!id)
		return -EBADMSG;
	pack = z->packs[id - z->pack_ids];
	if (pack)
		return pack_read(pack, position, ret, n);
	r = pack_open(z->store, source, &pack);
	if (r < 0)
		return r == -ENOENT ? -EIO : r;
	r = pack_read(pack, position, ret, n);
	pack_unref(pack);
	return r;
}

ssize_t outbox_read(struct outbox_reader *r, int64_t offset, void *ret,
		    size_t n)
{
	return zip_layout_read(r->zip, offset, ret, n, read_pack, r);
}

static int channel_on(struct db *db, const char *name, int64_t *ret)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(db, STORE_CHANNEL_GET, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_text(stmt, 1, name, -1, SQLITE_STATIC);
	r = db_step(stmt);
	if (r == 1)
		*ret = sqlite3_column_int64(stmt, 0);
	return r;
}

int channel_get(struct store *store, const char *name, int64_t *ret)
{
	struct db *db;
	int r;

	r = store_reader_get(store, &db);
	if (r < 0)
		return r;
	r = channel_on(db, name, ret);
	store_reader_put(store, db);
	return r;
}

static int usage_on(struct db *db, struct store_usage *ret)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(db, STORE_USAGE_GET, &stmt);
	if (r == 0)
		r = db_step(stmt);
	if (r <= 0)
		return r < 0 ? r : -EBADMSG;
	*ret = (struct store_usage){
		.packs = sqlite3_column_int64(stmt, 0),
		.dead = sqlite3_column_int64(stmt, 0) -
			sqlite3_column_int64(stmt, 1),
		.n_outbox = sqlite3_column_int64(stmt, 2),
		.n_snapshots = sqlite3_column_int64(stmt, 3),
		.n_channels = sqlite3_column_int64(stmt, 4),
		.n_queued = sqlite3_column_int64(stmt, 5),
	};
	return 0;
}

int store_usage(struct store *store, struct store_usage *ret)
{
	struct db *db;
	int r;

	r = store_reader_get(store, &db);
	if (r < 0)
		return r;
	r = usage_on(db, ret);
	store_reader_put(store, db);
	return r;
}

static int limited_on(struct db *db, int64_t *ret_packs, int64_t *ret_n_outbox)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(db, STORE_USAGE_LIMITED, &stmt);
	if (r == 0)
		r = db_step(stmt);
	if (r <= 0)
		return r < 0 ? r : -EBADMSG;
	*ret_packs = sqlite3_column_int64(stmt, 0);
	*ret_n_outbox = sqlite3_column_int64(stmt, 1);
	return 0;
}

int store_limited(struct store *store, int64_t *ret_packs,
		  int64_t *ret_n_outbox)
{
	struct db *db;
	int r;

	r = store_reader_get(store, &db);
	if (r < 0)
		return r;
	r = limited_on(db, ret_packs, ret_n_outbox);
	store_reader_put(store, db);
	return r;
}
