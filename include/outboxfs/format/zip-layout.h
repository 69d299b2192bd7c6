/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The layout of a ZIP (APPNOTE.TXT 6.3.9): headers are computed from what is
 * known of the entries, the bytes between them are the entries' own. A ZIP is
 * never built; any range of its bytes is made when it is read, and the same
 * entries give the same bytes for ever.
 *
 * Names are UTF-8 (general purpose bit 11), times UTC: the DOS fields, and
 * exactly in an extended timestamp (Info-ZIP, 0x5455) from 1970 to 2038. No
 * data descriptors. ZIP64 (4.5.3) where a size, an offset or the number of
 * entries wants it, and only there.
 */

#include <stdbool.h>
#include <sys/types.h>

#include "outboxfs/base/buf.h"

struct zip_entry {
	const char *name; /* path, without a leading slash; borrowed */
	wall_s_t time;
	int64_t size;   /* bytes, inflated */
	int64_t packed; /* bytes in the ZIP */
	uint32_t crc;
	uint16_t method;  /* 0 stored, 8 deflate */
	uint32_t source;  /* whose bytes; zip_source_t makes sense of it */
	int64_t position; /* where they begin there */
};

struct zip_layout;

/* -EINVAL: a name is empty or over 65,535 bytes; -ENOMEM, -EFBIG. */
struct zip_layout_draft;
NODISCARD int zip_layout_begin(struct zip_layout_draft **ret);
struct zip_layout_draft *zip_layout_draft_free(struct zip_layout_draft *b);
DEFINE_FREEP(zip_layout_draft)
/* The next entry; everything is copied. Callers give them sorted by name. */
NODISCARD int zip_layout_add(struct zip_layout_draft *b,
			     const struct zip_entry *e);
/* Ends building: *ret is immutable, and any thread may read it. */
NODISCARD int zip_layout_end(struct zip_layout_draft *b,
			     struct zip_layout **ret);
struct zip_layout *zip_layout_free(struct zip_layout *z);
DEFINE_FREEP(zip_layout)

int64_t zip_layout_size(const struct zip_layout *z);  /* bytes of the whole */
size_t zip_layout_count(const struct zip_layout *z);  /* entries */
size_t zip_layout_memory(const struct zip_layout *z); /* bytes that it takes */

/* Reads n bytes at position of a source, all of them; 0 or an errno. */
typedef int (*zip_source_t)(void *arg, uint32_t source, int64_t position,
			    void *ret, size_t n);

/*
 * The bytes from offset on, up to n; fewer only at the end. Returns how many,
 * or an errno of the source.
 */
NODISCARD ssize_t zip_layout_read(const struct zip_layout *z, int64_t offset,
				  void *ret, size_t n, zip_source_t source,
				  void *arg);
