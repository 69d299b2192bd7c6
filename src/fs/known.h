/* SPDX-License-Identifier: MIT */
#pragma once

#include "outboxfs/artifact/artifact.h"
#include "outboxfs/store/store.h"

/* What is known of files; known.c. */
struct knowledge;
NODISCARD int knowledge_new(struct store *store, struct knowledge **ret);
struct knowledge *knowledge_free(struct knowledge *k);
/* 1: known under this change number; 0: not. */
NODISCARD int knowledge_get(struct knowledge *k, int64_t table, int64_t pov,
			    int64_t change, struct store_known *ret);
/* generation: of the read in which it was found out. */
void knowledge_put(struct knowledge *k, uint64_t generation,
		   const struct store_known *known);
/*
 * Forgets what is in memory, and what the store has if the database's
 * timeline is another one: from now on for reads of this generation.
 */
void knowledge_reset(struct knowledge *k, uint64_t generation,
		     struct artifact_read *rd);
/* Writes what is new to the store, under a new timeline. */
void knowledge_save(struct knowledge *k, struct artifact *a);
/* Is there so much new that it should be saved soon? */
bool knowledge_is_full(struct knowledge *k);
