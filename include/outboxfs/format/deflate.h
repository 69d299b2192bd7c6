/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Raw deflate (RFC 1951) in pieces of 1 MiB that can be inflated one by one,
 * by ISA-L (level 1). Concatenated, the pieces are one valid stream: each but
 * the last ends in a full flush, so no piece refers to one before it.
 *
 * A struct deflater or inflater has one user at a time and is used again for
 * the next file; both allocate once.
 */

#include <stdbool.h>
#include <sys/types.h>

#include "outboxfs/base/buf.h"

#define DEFLATE_PIECE ((size_t)1 << 20) /* bytes before deflating */

/* CRC-32 (ISO 3309, as in ZIP and gzip) of data that follows crc; begin: 0. */
uint32_t crc32_add(uint32_t crc, const void *data, size_t n);

struct deflater;
NODISCARD int deflater_new(struct deflater **ret); /* -ENOMEM */
struct deflater *deflater_free(struct deflater *d);
DEFINE_FREEP(deflater)

/*
 * Appends one piece of n <= DEFLATE_PIECE bytes, deflated, to out. last: ends
 * the stream; the piece may then be empty. 0, -ENOMEM, -EFBIG.
 */
NODISCARD int deflate_piece(struct deflater *d, const void *data, size_t n,
			    bool last, struct buf *out);

struct inflater;
NODISCARD int inflater_new(struct inflater **ret); /* -ENOMEM */
struct inflater *inflater_free(struct inflater *f);
DEFINE_FREEP(inflater)

/*
 * Inflates one piece of n bytes that gives exactly size bytes. 0; -EBADMSG:
 * it is damaged.
 */
NODISCARD int inflate_piece(struct inflater *f, const void *data, size_t n,
			    void *ret, size_t size);
