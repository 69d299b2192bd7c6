/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * One SQL value with its storage class (SQLite, "Datatypes In SQLite", 2).
 * Text and blobs are borrowed from whoever made the value.
 */

#include <stdbool.h>

#include "outboxfs/base/arena.h"

enum value_type {
	VALUE_NULL,
	VALUE_INTEGER,
	VALUE_REAL,
	VALUE_TEXT, /* bytes as stored; not always valid UTF-8, may hold NULs */
	VALUE_BLOB,
};

struct value {
	enum value_type type;
	union {
		int64_t integer;
		double real;
		struct {
			const void *data;
			size_t len; /* bytes */
		} bytes;
	};
};

/* Column affinities (SQLite, "Datatypes In SQLite", 3.1). */
enum affinity {
	AFFINITY_BLOB, /* also called NONE: stores what it is given */
	AFFINITY_TEXT,
	AFFINITY_NUMERIC,
	AFFINITY_INTEGER,
	AFFINITY_REAL,
};

/* The same storage class and the same bytes: 1 is not the same as 1.0. */
bool value_same(const struct value *a, const struct value *b);

/* A copy whose bytes the arena owns. 0, -ENOMEM. */
NODISCARD int value_copy(struct arena *arena, const struct value *v,
			 struct value *ret);
