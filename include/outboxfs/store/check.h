/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Looking whether the store is what it says: for verify and --repair. One
 * thread at a time, with nothing else under way.
 */

#include "outboxfs/store/draft.h"

/* The object with the next id above after: 1 and *ret; 0: there is none. */
NODISCARD int object_next(struct store *store, int64_t after,
			  struct object *ret);
/*
 * An object whose bytes are not what they should be: it is stored anew by
 * whatever renders the same bytes again.
 */
NODISCARD int object_mark_damaged(struct store *store, int64_t id);

/* Where an object is shown: "output/Paris/Actual/2026-01/fact.csv". */
typedef int (*check_path_func_t)(const char *path, int64_t since, int64_t until,
				 void *arg);
NODISCARD int object_paths(struct store *store, int64_t id,
			   check_path_func_t func, void *arg);

/*
 * What contradicts itself in the index: intervals that overlap, rows that
 * point nowhere, counts that are wrong. problem: "12 versions overlap".
 */
typedef int (*check_func_t)(const char *problem, void *arg);
NODISCARD int store_check(struct store *store, check_func_t func, void *arg);

/* A draft that takes damaged objects only; see draft_repair(). */
void draft_for_repair(struct draft *d);
/* Ends such a draft: *ret_n damaged objects are whole again. No snapshot. */
NODISCARD int draft_repair(struct draft *d, int64_t *ret_n, struct err *err);
