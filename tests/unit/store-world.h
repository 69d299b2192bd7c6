/* SPDX-License-Identifier: MIT */
#pragma once

/* A store in a directory of its own, which goes with the test. */

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "outboxfs/store/store.h"

struct store_world {
	char dir[64];
	char path[80]; /* of a database that is not there */
	struct store *store;
};

static inline int store_world_setup(void **state)
{
	struct store_world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	(void)snprintf(w->dir, sizeof(w->dir), "/tmp/outboxfs-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	(void)snprintf(w->path, sizeof(w->path), "%s/t.db", w->dir);
	assert_int_equal(store_open(w->path, "test", &w->store, NULL), 0);
	*state = w;
	return 0;
}

static inline int store_world_remove(const char *path, const struct stat *st,
				     int kind, struct FTW *ftw)
{
	(void)st;
	(void)kind;
	(void)ftw;
	return remove(path);
}

static inline int store_world_end(void **state)
{
	struct store_world *w = *state;

	store_free(w->store);
	(void)nftw(w->dir, store_world_remove, 8, FTW_DEPTH | FTW_PHYS);
	free(w);
	return 0;
}
