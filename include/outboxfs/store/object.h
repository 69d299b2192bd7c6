/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Objects: rendered files as the store keeps them, deflated or as they are,
 * in packs. A pack is an append-only file; what is in it never changes. Equal
 * files are one object.
 *
 * Any thread may read. Whoever has an object or pack open reads it to the
 * end, also when a purge has moved or removed it meanwhile.
 */

#include <sys/types.h>

#include "outboxfs/base/err.h"
#include "outboxfs/base/hash.h"
#include "outboxfs/store/store.h"

struct object {
	int64_t id;
	int64_t size;                 /* bytes, as rendered */
	int64_t packed;               /* bytes in the pack */
	int64_t rows;                 /* without the header; documents: 0 */
	int64_t pack;                 /* id */
	int64_t offset;               /* bytes, in the pack */
	uint32_t crc;                 /* CRC-32 of the rendered bytes */
	uint16_t method;              /* as in ZIP: 0 stored, 8 deflate */
	uint8_t sha256[SHA256_BYTES]; /* of the rendered bytes */
};

/* -ENOENT. */
NODISCARD int object_get(struct store *store, int64_t id, struct object *ret);
/* The object with these bytes: 1 and *ret, or 0. */
NODISCARD int object_find(struct store *store,
			  const uint8_t sha256[SHA256_BYTES],
			  struct object *ret);

/* An object that is being read; any thread, several at a time. */
struct object_reader;
NODISCARD int object_open(struct store *store, int64_t id,
			  struct object_reader **ret);
struct object_reader *object_close(struct object_reader *r);
static inline void object_closep(struct object_reader **r)
{
	if (*r)
		*r = object_close(*r);
}
const struct object *object_info(const struct object_reader *r);
/*
 * Rendered bytes from offset on, up to n; fewer only at the end. -EBADMSG:
 * the pack is damaged there; -EIO.
 */
NODISCARD ssize_t object_read(struct object_reader *r, int64_t offset,
			      void *ret, size_t n);

/* A pack that is open: a reference. -ENOENT: there is none with this id. */
struct pack;
NODISCARD int pack_open(struct store *store, int64_t id, struct pack **ret);
void pack_unref(struct pack *p);
/* All n bytes, or an errno (-EIO: it ends before). */
NODISCARD int pack_read(struct pack *p, int64_t offset, void *ret, size_t n);
