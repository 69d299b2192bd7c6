/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Inside the store. There is one writing connection, behind lock, and a pool
 * of readers. A draft has a connection of its own, in whose TEMP tables it
 * stages what it is given; from draft_apply() to draft_commit() (or
 * draft_free()) its thread holds the lock, because only one may write.
 */

#include "outboxfs/base/buf.h"
#include "outboxfs/base/lock.h"
#include "outboxfs/base/value.h"
#include "outboxfs/db/db.h"
#include "outboxfs/store/object.h"
#include "outboxfs/store/store.h"

struct packs;
struct zips;
struct draft;

struct store {
	/* fixed after store_open() */
	char *path; /* owned; NULL: in memory */
	int dir_fd; /* -1: in memory */
	int lock_fd;
	struct db_pool *pool; /* owned; of readers; NULL: in memory */
	struct packs *packs;  /* owned; pack.c */
	struct zips *zips;    /* owned; outbox.c */

	/* under lock */
	struct lock lock;
	struct db *writer;    /* owned */
	struct draft *draft;  /* the one there is, or NULL; borrowed */
	uint64_t n_timelines; /* how often the timeline was written */
	uint64_t n_forgotten; /* how often what was captured was forgotten */
};

#define UNTIL_OPEN INT64_MAX /* of what lasts */

/* schema.c: brings store.db up to this program's version, step by step. */
NODISCARD int store_migrate(struct db *db, struct err *err);

/* A connection for reading what is committed; put back what was got. */
NODISCARD int store_reader_get(struct store *store, struct db **ret);
void store_reader_put(struct store *store, struct db *db);

/* A statement without parameters and without rows. */
NODISCARD int store_run(struct db *db, size_t statement);
/* The same with numbers: as many of them as it has parameters. */
NODISCARD int store_run_with(struct db *db, size_t statement, int64_t a,
			     int64_t b);
/* The number in its first row, without parameters; 0 where there is none. */
NODISCARD int store_number(struct db *db, size_t statement, int64_t *ret);
/* A setting, in whatever transaction there is. */
NODISCARD int store_setting_is(struct db *db, const char *name,
			       const char *value); /* 1: it has this value */
NODISCARD int store_setting_put(struct db *db, const char *name,
				const char *value);

/* value.c: a value as bytes, equal exactly for equal values; and back. */
NODISCARD int value_encode(const struct value *v, struct buf *ret);
/* Bytes stay in data. -EBADMSG. */
NODISCARD int value_decode(const void *data, size_t n, struct value *ret);

/* object.c: a row of the statement object_get, object_find, … */
NODISCARD int object_get_on(struct db *db, int64_t id, struct object *ret);

/*
 * pack.c. At the start packs end where store.db says: what is behind is cut
 * off, and files that it does not name are removed.
 */
NODISCARD int packs_new(struct store *store, struct packs **ret,
			struct err *err);
struct packs *packs_free(struct packs *p);

/*
 * Appending: a draft's, or compaction's. Space is given out to any thread;
 * pack_append_sync() makes all of it durable, new files' names too. Unless
 * the index says then that the bytes are there, pack_append_free() cuts them
 * off again.
 */
struct pack_append;
/* One at a time: -EBUSY. -EROFS: the store lives in memory. */
NODISCARD int pack_append_begin(struct store *store, struct db *db,
				struct pack_append **ret);
/* So many bytes may be appended from now on; then it is -EDQUOT. */
void pack_append_limit(struct pack_append *a, int64_t n);
/* What follows goes to a pack that did not exist before. Before the first. */
void pack_append_fresh(struct pack_append *a);
NODISCARD int pack_append(struct pack_append *a, const void *data, size_t n,
			  int64_t *ret_pack, int64_t *ret_offset);
/* The same for n bytes of a file. */
NODISCARD int pack_append_file(struct pack_append *a, int fd, int64_t n,
			       int64_t *ret_pack, int64_t *ret_offset);
/* The same for n bytes of another pack. */
NODISCARD int pack_append_copy(struct pack_append *a, const struct pack *from,
			       int64_t offset, int64_t n, int64_t *ret_pack,
			       int64_t *ret_offset);
NODISCARD int pack_append_sync(struct pack_append *a);
/* Writes the packs' new ends into the index: part of its transaction. */
NODISCARD int pack_append_index(struct pack_append *a, struct db *db);
/* The transaction was committed, and more follows. */
void pack_append_committed(struct pack_append *a);
/* committed: the transaction was. */
struct pack_append *pack_append_free(struct pack_append *a, bool committed);

/* A pack that the index does not name any more: readers of it go on. */
void pack_remove(struct packs *p, int64_t id);

/*
 * writer.c: objects of a draft, from any thread. 1 and *ret: an object with
 * these bytes is in the index or staged (then its id is 0); 0: there is none.
 */
NODISCARD int draft_find_object(struct draft *d,
				const uint8_t sha256[SHA256_BYTES],
				struct object *ret);
/* pieces: n bytes for object.pieces; NULL: none. Staged twice is once. */
NODISCARD int draft_stage_object(struct draft *d, const struct object *o,
				 const void *pieces, size_t n);

/* outbox.c: ZIPs that are read. */
NODISCARD int zips_new(struct zips **ret);
struct zips *zips_free(struct zips *zips); /* no reader is open */
/* Withdraws an entry in a transaction. -ENOENT. */
NODISCARD int outbox_drop_on(struct db *db, int64_t id);

/* package.c: the same on a connection that sees one state. */
struct package;
struct package_spec;
NODISCARD int package_list_on(struct db *db, int64_t outbox,
			      const struct package_spec *spec,
			      struct package **ret);

/* draft.c: the connection in its transaction, after draft_apply(). */
struct db *draft_db(struct draft *d);
int64_t draft_snapshot(const struct draft *d);
