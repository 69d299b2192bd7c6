/* SPDX-License-Identifier: MIT */

/*
 * Makes objects. What fits into one piece is looked up before it is deflated,
 * so a file that is there already costs its hash. A larger one is deflated as
 * it comes, since nobody wants to hold it, and dropped where it is there.
 */

#include <errno.h>
#include <unistd.h>

#include "outboxfs/base/fault.h"
#include "statements.h"
#include "store/draft.h"
#include "store/object.h"

#define MEMORY_MAX ((size_t)16 << 20) /* packed; more goes to a file */

struct object_writer {
	struct draft *draft;       /* borrowed */
	struct deflater *deflater; /* owned */
	uint8_t *piece;            /* owned; DEFLATE_PIECE bytes */
	size_t piece_n;

	/* of an object over DEFLATE_PIECE bytes */
	struct sha256 hash; /* begun if size > 0 */
	int64_t size;       /* what was deflated */
	uint32_t crc;       /* of the same */
	struct buf packed;  /* what is not in file */
	struct buf pieces;
	int file; /* -1: everything is in packed */
	int64_t file_n;
};

/* Anything but what is damaged is as good as there: 1. */
static int is_wanted_for_repair(struct db *db,
				const uint8_t sha256[SHA256_BYTES],
				struct object *ret)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(db, STORE_CHECK_OBJECT_IS_DAMAGED, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_blob(stmt, 1, sha256, SHA256_BYTES, SQLITE_STATIC);
	r = db_step(stmt);
	if (r != 0)
		return r < 0 ? r : 0;
	memcpy(ret->sha256, sha256, SHA256_BYTES);
	return 1;
}

int draft_find_object(struct draft *d, const uint8_t sha256[SHA256_BYTES],
		      struct object *ret)
{
	LOCK_SCOPE(&d->lock);
	struct db *db = d->db;
	int r;

	r = object_find_on(db, STORE_STAGED_OBJECT_FIND, sha256, ret);
	if (r == 0 && d->repair)
		r = is_wanted_for_repair(db, sha256, ret);
	else if (r == 0)
		r = object_find_on(db, STORE_OBJECT_FIND, sha256, ret);
	return r;
}

static int stage(struct db *db, const struct object *o, const void *pieces,
		 size_t n)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(db, STORE_STAGED_OBJECT_PUT, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_blob(stmt, 1, o->sha256, SHA256_BYTES, SQLITE_STATIC);
	sqlite3_bind_int64(stmt, 2, o->crc);
	sqlite3_bind_int64(stmt, 3, o->size);
	sqlite3_bind_int64(stmt, 4, o->rows);
	sqlite3_bind_int(stmt, 5, o->method);
	sqlite3_bind_int64(stmt, 6, o->packed);
	sqlite3_bind_int64(stmt, 7, o->pack);
	sqlite3_bind_int64(stmt, 8, o->offset);
	if (n > 0)
		sqlite3_bind_blob64(stmt, 9, pieces, n, SQLITE_STATIC);
	return db_step(stmt);
}

int draft_stage_object(struct draft *d, const struct object *o,
		       const void *pieces, size_t n)
{
	LOCK_SCOPE(&d->lock);
	struct db *db = d->db;

	return stage(db, o, pieces, n);
}

int object_writer_new(struct draft *d, struct object_writer **ret)
{
	CLEANUP(object_writer_freep)
	struct object_writer *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	w->draft = d;
	w->file = -1;
	w->packed = (struct buf)BUF_NULL;
	w->pieces = (struct buf)BUF_NULL;
	w->piece = malloc(DEFLATE_PIECE);
	if (!w->piece)
		return -ENOMEM;
	r = deflater_new(&w->deflater);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(w);
	return 0;
}

struct object_writer *object_writer_free(struct object_writer *w)
{
	if (!w)
		return NULL;
	object_cancel(w);
	deflater_free(w->deflater);
	buf_deinit(&w->packed);
	buf_deinit(&w->pieces);
	free(w->piece);
	free(w);
	return NULL;
}

void object_cancel(struct object_writer *w)
{
	sha256_deinit(&w->hash);
	buf_clear(&w->packed);
	buf_clear(&w->pieces);
	close_fd(&w->file);
	w->file = -1;
	w->file_n = 0;
	w->piece_n = 0;
	w->size = 0;
	w->crc = 0;
}

static int write_all(int fd, const char *data, size_t n)
{
	int r = fault("object-spill");

	if (r < 0)
		return r;
	while (n > 0) {
		ssize_t m = write(fd, data, n);

		if (m < 0 && errno == EINTR)
			continue;
		if (m <= 0)
			return m < 0 ? -errno : -EIO;
		data += m;
		n -= (size_t)m;
	}
	return 0;
}

/* Moves what is packed in memory behind what is in the file. */
static int spill(struct object_writer *w)
{
	int r = 0;

	if (w->file < 0)
		r = store_tmpfile(w->draft->store, &w->file);
	if (r >= 0) /* 1: in memory, where the disk is full */
		r = write_all(w->file, w->packed.data, w->packed.len);
	if (r < 0)
		return r;
	w->file_n += (int64_t)w->packed.len;
	buf_clear(&w->packed);
	return 0;
}

/* Deflates the piece that is full; last: or the rest. */
static int end_piece(struct object_writer *w, bool last)
{
	uint32_t crc = crc32_add(0, w->piece, w->piece_n);
	size_t before = w->packed.len;
	int r = 0;

	if (w->size == 0)
		r = sha256_init(&w->hash);
	if (r == 0)
		r = sha256_add(&w->hash, w->piece, w->piece_n);
	if (r == 0)
		r = deflate_piece(w->deflater, w->piece, w->piece_n, last,
				  &w->packed);
	if (r < 0)
		return r;
	piece_add(&w->pieces,
		  (struct object_piece){
			  .packed = (uint32_t)(w->packed.len - before),
			  .crc = crc,
		  });
	w->crc = crc32_add(w->crc, w->piece, w->piece_n);
	w->size += (int64_t)w->piece_n;
	w->piece_n = 0;
	r = buf_error(&w->pieces);
	if (r == 0 && w->packed.len > MEMORY_MAX)
		r = spill(w);
	return r;
}

/* A piece is ended by the byte behind it: the last one must be known. */
static int add(struct object_writer *w, const uint8_t *data, size_t n)
{
	while (n > 0) {
		size_t m = DEFLATE_PIECE - w->piece_n;

		if (m == 0) {
			int r = end_piece(w, false);

			if (r < 0)
				return r;
			continue;
		}
		if (m > n)
			m = n;
		memcpy(w->piece + w->piece_n, data, m);
		w->piece_n += m;
		data += m;
		n -= m;
	}
	return 0;
}

int object_add(struct object_writer *w, const void *data, size_t n)
{
	int r = add(w, data, n);

	if (r < 0)
		object_cancel(w);
	return r;
}

/* Packs what fits into a piece: as it is, where deflating does not pay. */
static int end_small(struct object_writer *w, struct object *o)
{
	struct pack_append *to = w->draft->append;
	int r;

	r = sha256_bytes(w->piece, w->piece_n, o->sha256);
	if (r == 0)
		r = draft_find_object(w->draft, o->sha256, o);
	if (r != 0)
		return r;
	r = deflate_piece(w->deflater, w->piece, w->piece_n, true, &w->packed);
	if (r < 0)
		return r;
	o->size = (int64_t)w->piece_n;
	o->crc = crc32_add(0, w->piece, w->piece_n);
	o->method = w->packed.len < w->piece_n ? 8 : 0;
	if (o->method == 8) {
		o->packed = (int64_t)w->packed.len;
		return pack_append(to, w->packed.data, w->packed.len, &o->pack,
				   &o->offset);
	}
	o->packed = o->size;
	return pack_append(to, w->piece, w->piece_n, &o->pack, &o->offset);
}

static int end_large(struct object_writer *w, struct object *o)
{
	struct pack_append *to = w->draft->append;
	int r;

	r = end_piece(w, true);
	if (r == 0)
		r = sha256_end(&w->hash, o->sha256);
	if (r == 0)
		r = draft_find_object(w->draft, o->sha256, o);
	if (r != 0)
		return r;
	o->size = w->size;
	o->crc = w->crc;
	o->method = 8;
	o->packed = w->file_n + (int64_t)w->packed.len;
	if (w->file < 0)
		return pack_append(to, w->packed.data, w->packed.len, &o->pack,
				   &o->offset);
	r = spill(w);
	return r < 0 ? r
		     : pack_append_file(to, w->file, o->packed, &o->pack,
					&o->offset);
}

int object_end(struct object_writer *w, int64_t rows, struct object *ret)
{
	struct object o = {.rows = rows};
	int r;

	r = w->size > 0 ? end_large(w, &o) : end_small(w, &o);
	if (r == 0)
		r = draft_stage_object(w->draft, &o, w->pieces.data,
				       w->pieces.len);
	object_cancel(w);
	if (r < 0)
		return r;
	*ret = o;
	return 0;
}
