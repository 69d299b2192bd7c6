/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Memory that lives and dies together: documents, schemas, plans. Nothing in
 * it is freed alone. One thread at a time while it grows; once it is built,
 * any thread may read.
 */

#include "outboxfs/base/defs.h"

struct arena_block;

struct arena {
	struct arena_block *blocks; /* owned */
};

#define ARENA_NULL             \
	{                      \
		.blocks = NULL \
	}

void arena_deinit(struct arena *arena);

/* Zeroed and aligned for anything; NULL: no memory. */
void *arena_alloc(struct arena *arena, size_t n);

/* A copy of n bytes with a NUL behind it; NULL: no memory. */
char *arena_strndup(struct arena *arena, const char *s, size_t n);
char *arena_strdup(struct arena *arena, const char *s); /* NULL gives NULL */

#define ARENA_ARRAY(arena, type, n) \
	((type *)arena_alloc((arena), sizeof(type) * (n)))
