/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The pieces of an object over DEFLATE_PIECE bytes, as the column has them:
 * for each so many bytes (the last: for what is left), little-endian
 *
 *	u32	bytes in the pack
 *	u32	CRC-32 of the piece as rendered
 *
 * What is smaller is one piece and has none of this, nor has it what is not
 * deflated: only small objects are stored as they are.
 */

#include <endian.h>

#include "outboxfs/format/deflate.h"
#include "store/private.h"

struct object_piece {
	uint32_t packed;
	uint32_t crc;
};

static inline struct object_piece piece_read(const uint8_t *data, size_t i)
{
	struct object_piece p;

	memcpy(&p, data + i * sizeof(p), sizeof(p));
	p.packed = le32toh(p.packed);
	p.crc = le32toh(p.crc);
	return p;
}

static inline void piece_add(struct buf *b, struct object_piece p)
{
	p.packed = htole32(p.packed);
	p.crc = htole32(p.crc);
	buf_add(b, &p, sizeof(p));
}

/* A row of object_get, object_find, staged_object_find. -EBADMSG. */
NODISCARD int object_of_row(sqlite3_stmt *stmt, struct object *ret);
/* By hash, with a statement that has the same columns. 1 and *ret; 0. */
NODISCARD int object_find_on(struct db *db, size_t statement,
			     const uint8_t sha256[SHA256_BYTES],
			     struct object *ret);
