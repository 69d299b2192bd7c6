/* SPDX-License-Identifier: MIT */
#pragma once

#include "outboxfs/artifact/model.h"
#include "outboxfs/base/buf.h"

/*
 * The SQL that makes a database tell us what changes: our tables and the
 * triggers on the users' tables. src/artifact/track.c explains them. Pure
 * functions of a bound model; the caller runs the text in one transaction.
 */

/* Our tables, empty. Table ids of the model must be set. */
void track_put_tables(struct buf *b, const struct model *m);

/* Indexes on users' tables where the tree would read whole tables without. */
void track_put_indexes(struct buf *b, const struct model *m, bool pov_indexes);

/* The POVs that exist now, with this change number and time. */
void track_put_registry(struct buf *b, const struct model *m, int64_t change,
			int64_t time);

void track_put_triggers(struct buf *b, const struct model *m);

/* "v1, v2, v3", each with prefix before it. */
void track_put_dims(struct buf *b, const struct model *m, const char *prefix);
