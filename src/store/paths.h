/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Paths of directories as they are in a snapshot. Names and paths of what is
 * not a POV are remembered, because many POVs share them. One thread at a
 * time; the connection must see one state meanwhile.
 */

#include "outboxfs/base/arena.h"
#include "store/private.h"

/* Numbers to texts. */
struct text_map {
	struct text_slot *slots; /* owned */
	size_t n;
	size_t cap; /* a power of two, or 0 */
};

struct paths {
	struct db *db;    /* borrowed */
	int64_t snapshot; /* whose names */
	struct text_map names;
	struct text_map dirs;
	struct arena arena; /* owns the texts */
};

#define PATHS_INIT(d, s)                                        \
	{                                                       \
		.db = (d), .snapshot = (s), .arena = ARENA_NULL \
	}

void paths_deinit(struct paths *p);

/* The name of a value; borrowed from p. -EBADMSG: it has none. */
NODISCARD int paths_name(struct paths *p, int64_t value, const char **ret);
/* "Paris/Actual", or "" for the root; borrowed from p. */
NODISCARD int paths_dir(struct paths *p, int64_t dir, const char **ret);
/* Appends the path of a POV, by its id. */
NODISCARD int paths_pov(struct paths *p, int64_t pov, struct buf *ret);
