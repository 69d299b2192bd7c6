/* SPDX-License-Identifier: MIT */
#pragma once

#include "outboxfs/artifact/artifact.h"
#include "outboxfs/store/store.h"

/*
 * What is known of files; known.c. Any thread.
 *
 * An epoch is a time in which change numbers stand for the same states. It
 * ends when the database has become another one, or when rows have changed
 * that nobody counted. Whoever works in an older one finds nothing and leaves
 * nothing behind.
 */
struct knowledge;
NODISCARD int knowledge_new(struct store *store, struct knowledge **ret);
struct knowledge *knowledge_free(struct knowledge *k);

/*
 * The present epoch, for a read of this generation. 0: it is of the same
 * database; 1: the read is of a newer one, so the epoch must end; -EALREADY:
 * the epoch is ending, or the read is of an older database: begin again.
 */
NODISCARD int knowledge_enter(struct knowledge *k, uint64_t generation,
			      unsigned *ret_epoch);
/* 1: known under this change number; 0: not. */
NODISCARD int knowledge_get(struct knowledge *k, unsigned epoch, int64_t table,
			    int64_t pov, int64_t change,
			    struct store_known *ret);
/* epoch: in which it was found out. */
void knowledge_put(struct knowledge *k, unsigned epoch,
		   const struct store_known *known);

/*
 * Ends an epoch: nobody enters, and nothing is saved, until the next begins.
 * -EALREADY: it has ended, or something is being saved.
 */
NODISCARD int knowledge_end(struct knowledge *k, unsigned epoch);
/*
 * Begins the next one, in which reads of this generation may enter. What the
 * store has is kept if it holds under this timeline; NULL: it is forgotten.
 */
void knowledge_begin(struct knowledge *k, uint64_t generation,
		     const char *timeline);

/* Writes what is new to the store, under a new timeline. */
void knowledge_save(struct knowledge *k, struct artifact *a);
/* Is there so much new that it should be saved soon? */
bool knowledge_is_full(struct knowledge *k);
