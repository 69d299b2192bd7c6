/* SPDX-License-Identifier: MIT */
#include "store/object.h"

#include <errno.h>

#include "statements.h"

#define MOVES_MAX 10 /* a purge that overtakes us so often never ends */

/* A piece that was inflated last, and what it takes to inflate one. */
struct scratch {
	size_t piece; /* SIZE_MAX: none */
	uint8_t *data;
	struct buf packed;
	struct inflater *inflater; /* NULL: none is needed */
};

struct part {
	int64_t offset; /* in the object's packed bytes */
	struct object_piece piece;
};

struct object_reader {
	/* fixed after object_open() */
	struct object object;
	struct pack *pack;  /* a reference */
	struct part *parts; /* owned */
	size_t n_parts;

	/* under lock; NULL while someone uses it */
	struct lock lock;
	struct scratch *scratch; /* owned */
};

int object_of_row(sqlite3_stmt *stmt, struct object *ret)
{
	if (sqlite3_column_bytes(stmt, 8) != SHA256_BYTES)
		return -EBADMSG;
	*ret = (struct object){
		.id = sqlite3_column_int64(stmt, 0),
		.size = sqlite3_column_int64(stmt, 1),
		.packed = sqlite3_column_int64(stmt, 2),
		.rows = sqlite3_column_int64(stmt, 3),
		.pack = sqlite3_column_int64(stmt, 4),
		.offset = sqlite3_column_int64(stmt, 5),
		.crc = (uint32_t)sqlite3_column_int64(stmt, 6),
		.method = (uint16_t)sqlite3_column_int(stmt, 7),
	};
	memcpy(ret->sha256, sqlite3_column_blob(stmt, 8), SHA256_BYTES);
	return 0;
}

static int get_row(struct db *db, int64_t id, sqlite3_stmt **ret)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(db, STORE_OBJECT_GET, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, id);
	r = db_step(stmt);
	if (r != 1)
		return r < 0 ? r : -ENOENT;
	*ret = TAKE_PTR(stmt);
	return 0;
}

int object_get_on(struct db *db, int64_t id, struct object *ret)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r = get_row(db, id, &stmt);

	return r < 0 ? r : object_of_row(stmt, ret);
}

int object_get(struct store *store, int64_t id, struct object *ret)
{
	struct db *db;
	int r;

	r = store_reader_get(store, &db);
	if (r < 0)
		return r;
	r = object_get_on(db, id, ret);
	store_reader_put(store, db);
	return r;
}

int object_find_on(struct db *db, size_t statement,
		   const uint8_t sha256[SHA256_BYTES], struct object *ret)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(db, statement, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_blob(stmt, 1, sha256, SHA256_BYTES, SQLITE_STATIC);
	r = db_step(stmt);
	if (r != 1)
		return r;
	r = object_of_row(stmt, ret);
	return r < 0 ? r : 1;
}

int object_find(struct store *store, const uint8_t sha256[SHA256_BYTES],
		struct object *ret)
{
	struct db *db;
	int r;

	r = store_reader_get(store, &db);
	if (r < 0)
		return r;
	r = object_find_on(db, STORE_OBJECT_FIND, sha256, ret);
	store_reader_put(store, db);
	return r;
}

/* Reading */

/* Bytes of a piece as rendered. */
static size_t piece_size(const struct object *o, size_t i)
{
	int64_t left = o->size - (int64_t)(i * DEFLATE_PIECE);

	return left < (int64_t)DEFLATE_PIECE ? (size_t)left : DEFLATE_PIECE;
}

static int read_parts(struct object_reader *r, const void *pieces, size_t n)
{
	const struct object *o = &r->object;
	int64_t offset = 0;

	for (size_t i = 0; i < r->n_parts; i++) {
		r->parts[i].offset = offset;
		r->parts[i].piece = piece_read(pieces, i);
		offset += r->parts[i].piece.packed;
	}
	if (n != r->n_parts * sizeof(struct object_piece) ||
	    offset != o->packed || o->method != 8)
		return -EBADMSG;
	return 0;
}

/* Where the pieces lie. */
static int set_parts(struct object_reader *r, sqlite3_stmt *row)
{
	const struct object *o = &r->object;
	size_t n = (size_t)sqlite3_column_bytes(row, 9);

	if (o->size < 0 || o->packed < 0 || o->offset < 0 ||
	    (o->method != 0 && o->method != 8) ||
	    (o->method == 0 && o->packed != o->size))
		return -EBADMSG;
	r->n_parts = o->size > (int64_t)DEFLATE_PIECE
			     ? (size_t)((o->size - 1) / DEFLATE_PIECE + 1)
			     : 1;
	if (r->n_parts > 1 && n / sizeof(struct object_piece) < r->n_parts)
		return -EBADMSG;
	r->parts = calloc(r->n_parts, sizeof(*r->parts));
	if (!r->parts)
		return -ENOMEM;
	if (r->n_parts > 1)
		return read_parts(r, sqlite3_column_blob(row, 9), n);
	if (o->packed > UINT32_MAX)
		return -EBADMSG;
	r->parts[0].piece.packed = (uint32_t)o->packed;
	r->parts[0].piece.crc = o->crc;
	return 0;
}

static int load(struct object_reader *r, struct store *store, int64_t id)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	struct db *db;
	int x;

	x = store_reader_get(store, &db);
	if (x < 0)
		return x;
	freep(&r->parts);
	x = get_row(db, id, &stmt);
	if (x == 0)
		x = object_of_row(stmt, &r->object);
	if (x == 0)
		x = set_parts(r, stmt);
	db_reset(&stmt);
	stmt = NULL;
	store_reader_put(store, db);
	return x;
}

/* A purge may move the object after we have read where it is. */
static int open_object(struct object_reader *r, struct store *store, int64_t id)
{
	int64_t pack = 0;
	int x;

	for (int i = 0; i < MOVES_MAX; i++) {
		x = load(r, store, id);
		if (x < 0)
			return x;
		if (r->object.pack == pack)
			return -EIO; /* it is really gone */
		pack = r->object.pack;
		x = pack_open(store, pack, &r->pack);
		if (x != -ENOENT)
			return x;
	}
	return -EIO;
}

int object_open(struct store *store, int64_t id, struct object_reader **ret)
{
	CLEANUP(object_closep) struct object_reader *r = calloc(1, sizeof(*r));
	int x;

	if (!r)
		return -ENOMEM;
	lock_init(&r->lock, "object", LOCK_RANK_OBJECT);
	x = open_object(r, store, id);
	if (x < 0)
		return x;
	*ret = TAKE_PTR(r);
	return 0;
}

static struct scratch *scratch_free(struct scratch *s)
{
	if (!s)
		return NULL;
	free(s->data);
	buf_deinit(&s->packed);
	inflater_free(s->inflater);
	free(s);
	return NULL;
}

DEFINE_FREEP(scratch)

struct object_reader *object_close(struct object_reader *r)
{
	if (!r)
		return NULL;
	pack_unref(r->pack);
	scratch_free(r->scratch);
	free(r->parts);
	lock_deinit(&r->lock);
	free(r);
	return NULL;
}

const struct object *object_info(const struct object_reader *r)
{
	return &r->object;
}

static int scratch_new(const struct object *o, struct scratch **ret)
{
	CLEANUP(scratch_freep) struct scratch *s = calloc(1, sizeof(*s));
	int r = 0;

	if (!s)
		return -ENOMEM;
	s->piece = SIZE_MAX;
	s->packed = (struct buf)BUF_NULL;
	s->data = malloc(piece_size(o, 0));
	if (!s->data)
		return -ENOMEM;
	if (o->method != 0)
		r = inflater_new(&s->inflater);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(s);
	return 0;
}

static int scratch_take(struct object_reader *r, struct scratch **ret)
{
	struct scratch *s;

	lock_take(&r->lock);
	s = TAKE_PTR(r->scratch);
	lock_drop(&r->lock);
	if (!s)
		return scratch_new(&r->object, ret);
	*ret = s;
	return 0;
}

static void scratch_put(struct object_reader *r, struct scratch *s)
{
	lock_take(&r->lock);
	if (!r->scratch)
		r->scratch = TAKE_PTR(s);
	lock_drop(&r->lock);
	scratch_free(s);
}

static int unpack(struct object_reader *r, struct scratch *s,
		  const struct part *part, size_t size)
{
	size_t n = part->piece.packed;
	char *packed;
	int x;

	if (!s->inflater)
		return pack_read(r->pack, r->object.offset, s->data, size);
	buf_clear(&s->packed);
	packed = buf_reserve(&s->packed, n);
	if (!packed)
		return buf_error(&s->packed);
	x = pack_read(r->pack, r->object.offset + part->offset, packed, n);
	if (x < 0)
		return x;
	return inflate_piece(s->inflater, packed, n, s->data, size);
}

static int need_piece(struct object_reader *r, struct scratch *s, size_t i)
{
	const struct part *part = &r->parts[i];
	size_t size = piece_size(&r->object, i);
	int x;

	if (s->piece == i)
		return 0;
	s->piece = SIZE_MAX;
	x = unpack(r, s, part, size);
	if (x < 0)
		return x;
	if (crc32_add(0, s->data, size) != part->piece.crc)
		return -EBADMSG;
	s->piece = i;
	return 0;
}

static int read_bytes(struct object_reader *r, struct scratch *s,
		      int64_t offset, char *ret, size_t n)
{
	while (n > 0) {
		size_t i = (size_t)offset / DEFLATE_PIECE;
		size_t at = (size_t)offset % DEFLATE_PIECE;
		size_t m = piece_size(&r->object, i) - at;
		int x;

		x = need_piece(r, s, i);
		if (x < 0)
			return x;
		if (m > n)
			m = n;
		memcpy(ret, s->data + at, m);
		ret += m;
		n -= m;
		offset += (int64_t)m;
	}
	return 0;
}

ssize_t object_read(struct object_reader *r, int64_t offset, void *ret,
		    size_t n)
{
	struct scratch *s;
	int x;

	if (offset < 0)
		return -EINVAL;
	if (offset >= r->object.size)
		return 0;
	if ((uint64_t)(r->object.size - offset) < n)
		n = (size_t)(r->object.size - offset);
	x = scratch_take(r, &s);
	if (x < 0)
		return x;
	x = read_bytes(r, s, offset, ret, n);
	scratch_put(r, s);
	return x < 0 ? x : (ssize_t)n;
}
