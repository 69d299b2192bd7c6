/* SPDX-License-Identifier: MIT */

/*
 * Gives space back: objects that nothing needs leave the index, and packs
 * that are mostly dead are written anew, one by one:
 *
 * 1. copy what lives behind the end of the packs, make it durable;
 * 2. in one transaction, let the index point there and drop the old pack;
 * 3. remove its file. Whoever has it open reads on; whoever read the index
 *    before 2 finds no file and looks again.
 *
 * A crash between any two of them leaves bytes that the next start cuts off.
 */

#include "outboxfs/store/purge.h"

#include <errno.h>
#include <inttypes.h>

#include "outboxfs/base/fault.h"
#include "outboxfs/base/log.h"
#include "statements.h"
#include "store/private.h"

#define SMALL ((int64_t)32 << 20) /* bytes of a pack; several are joined */

struct victim {
	int64_t pack;
	int64_t bytes; /* of the file */
	int64_t live;
};

struct move {
	int64_t object;
	int64_t from; /* in the old pack */
	int64_t n;    /* bytes */
	int64_t pack; /* the new one */
	int64_t offset;
};

struct compaction {
	struct store *store;        /* borrowed */
	struct pack_append *append; /* owned */
	bool unsure; /* a commit has failed that may have succeeded */
	int (*go_on)(void *arg);
	void *arg;
	struct buf victims; /* of struct victim */
	struct buf moves;   /* of struct move; of one victim */
	int64_t bytes;      /* given back */
};

static int drop_objects(struct db *db, int64_t *ret_bytes)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int64_t bytes = 0;
	int r;

	r = db_stmt(db, STORE_COMPACT_OBJECTS, &stmt);
	if (r < 0)
		return r;
	while ((r = db_step(stmt)) == 1)
		bytes += sqlite3_column_int64(stmt, 0);
	*ret_bytes = bytes;
	return r;
}

/*
 * Not while there is a draft: it has found objects in the index that nothing
 * refers to before it is applied.
 */
int purge_objects(struct store *store, int64_t *ret_bytes)
{
	LOCK_SCOPE(&store->lock);
	CLEANUP(db_rollback) struct db_txn txn = DB_TXN_NULL;
	int64_t bytes = 0;
	int r;

	if (store->draft)
		return -EBUSY;
	r = db_begin_write(store->writer, &txn);
	if (r == 0)
		r = drop_objects(store->writer, &bytes);
	if (r == 0)
		r = fault("purge-objects-commit");
	if (r == 0)
		r = db_commit(&txn);
	if (r < 0)
		return r;
	*ret_bytes = bytes;
	return 0;
}

static int list_packs(struct compaction *c, struct db *db)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(db, STORE_COMPACT_PACKS, &stmt);
	if (r < 0)
		return r;
	while ((r = db_step(stmt)) == 1) {
		struct victim v = {
			.pack = sqlite3_column_int64(stmt, 0),
			.bytes = sqlite3_column_int64(stmt, 1),
			.live = sqlite3_column_int64(stmt, 2),
		};

		buf_add(&c->victims, &v, sizeof(v));
	}
	return r < 0 ? r : buf_error(&c->victims);
}

static bool is_dead(const struct victim *v)
{
	return v->live < v->bytes - v->live;
}

static bool is_small(const struct victim *v)
{
	return !is_dead(v) && v->bytes < SMALL;
}

/* Leaves the packs in the list that are to be written anew. */
static void choose(struct compaction *c)
{
	struct victim *v = (void *)c->victims.data;
	size_t n = c->victims.len / sizeof(*v);
	size_t small = 0;
	size_t kept = 0;

	for (size_t i = 0; i < n; i++)
		small += is_small(&v[i]);
	for (size_t i = 0; i < n; i++)
		if (is_dead(&v[i]) || (small > 1 && is_small(&v[i])))
			v[kept++] = v[i];
	c->victims.len = kept * sizeof(*v);
}

static int begin(struct compaction *c)
{
	LOCK_SCOPE(&c->store->lock);
	int r;

	if (c->store->draft)
		return -EBUSY;
	r = list_packs(c, c->store->writer);
	if (r < 0)
		return r;
	choose(c);
	if (c->victims.len == 0)
		return 0;
	r = pack_append_begin(c->store, c->store->writer, &c->append);
	if (r < 0)
		return r;
	/* The last pack may be one of those that go. */
	pack_append_fresh(c->append);
	return 0;
}

static int list_live(struct compaction *c, int64_t pack)
{
	LOCK_SCOPE(&c->store->lock);
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	buf_clear(&c->moves);
	r = db_stmt(c->store->writer, STORE_COMPACT_LIVE, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, pack);
	while ((r = db_step(stmt)) == 1) {
		struct move m = {
			.object = sqlite3_column_int64(stmt, 0),
			.from = sqlite3_column_int64(stmt, 1),
			.n = sqlite3_column_int64(stmt, 2),
		};

		buf_add(&c->moves, &m, sizeof(m));
	}
	return r < 0 ? r : buf_error(&c->moves);
}

/* 1: go_on() said no. */
static int copy_live(struct compaction *c, struct pack *from)
{
	struct move *m = (void *)c->moves.data;
	size_t n = c->moves.len / sizeof(*m);

	for (size_t i = 0; i < n; i++) {
		int r;

		if (c->go_on && c->go_on(c->arg) != 0)
			return 1;
		r = fault("compact-copy");
		if (r == 0)
			r = pack_append_copy(c->append, from, m[i].from, m[i].n,
					     &m[i].pack, &m[i].offset);
		if (r < 0)
			return r;
	}
	return pack_append_sync(c->append);
}

static int move_object(struct db *db, const struct move *m)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(db, STORE_COMPACT_MOVE, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, m->object);
	sqlite3_bind_int64(stmt, 2, m->pack);
	sqlite3_bind_int64(stmt, 3, m->offset);
	return db_step(stmt);
}

static int drop_pack(struct db *db, int64_t pack)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(db, STORE_COMPACT_DROP, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, pack);
	r = db_step(stmt);
	if (r < 0)
		return r;
	return sqlite3_changes(db_handle(db)) == 1 ? 0 : -EBADMSG;
}

/* The index points to the copies from now on. */
static int publish(struct compaction *c, int64_t pack)
{
	LOCK_SCOPE(&c->store->lock);
	CLEANUP(db_rollback) struct db_txn txn = DB_TXN_NULL;
	struct db *db = c->store->writer;
	const struct move *m = (const void *)c->moves.data;
	size_t n = c->moves.len / sizeof(*m);
	int r;

	r = db_begin_write(db, &txn);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = move_object(db, &m[i]);
	if (r == 0)
		r = drop_pack(db, pack);
	if (r == 0)
		r = pack_append_index(c->append, db);
	if (r == 0)
		r = fault("compact-commit");
	if (r < 0)
		return r;
	c->unsure = true;
	r = db_commit(&txn);
	if (r < 0)
		return r;
	c->unsure = false;
	pack_append_committed(c->append);
	return 0;
}

/* What is damaged stays where it is; verify says what it is. */
static bool is_whole(struct pack *pack, const struct victim *v)
{
	char c;

	if (v->bytes == 0 || pack_read(pack, v->bytes - 1, &c, 1) == 0)
		return true;
	log_warn("pack %" PRId64 " is damaged and is not compacted", v->pack);
	return false;
}

/* 1: go_on() said no. */
static int compact_pack(struct compaction *c, const struct victim *v)
{
	struct pack *pack;
	int r;

	r = list_live(c, v->pack);
	if (r < 0)
		return r;
	if (c->moves.len > 0) {
		r = pack_open(c->store, v->pack, &pack);
		if (r == -ENOENT)
			return 0; /* it was said when the store was opened */
		if (r < 0)
			return r;
		if (is_whole(pack, v))
			r = copy_live(c, pack);
		else
			r = -ENODATA;
		pack_unref(pack);
	}
	if (r != 0)
		return r == -ENODATA ? 0 : r;
	r = publish(c, v->pack);
	if (r < 0)
		return r;
	(void)fault("compact-committed"); /* to be killed at */
	pack_remove(c->store->packs, v->pack);
	c->bytes += v->bytes - v->live;
	return 0;
}

static int compact_all(struct compaction *c)
{
	const struct victim *v = (const void *)c->victims.data;
	size_t n = c->victims.len / sizeof(*v);
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++)
		r = compact_pack(c, &v[i]);
	return r;
}

int purge_compact(struct store *store, int (*go_on)(void *arg), void *arg,
		  int64_t *ret_bytes, struct err *err)
{
	struct compaction c = {
		.store = store,
		.go_on = go_on,
		.arg = arg,
		.victims = BUF_NULL,
		.moves = BUF_NULL,
	};
	int r;

	r = begin(&c);
	if (r == 0)
		r = compact_all(&c);
	pack_append_free(c.append, c.unsure);
	buf_deinit(&c.victims);
	buf_deinit(&c.moves);
	*ret_bytes = c.bytes;
	if (r < 0)
		return err_set(err, r, "cannot compact '%s/packs': %s",
			       store->path ? store->path : "",
			       strerrordesc_np(-r));
	return 0;
}
