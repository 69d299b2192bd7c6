/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What a draft is made of; draft.c, apply.c and writer.c know it. What is
 * staged lies in TEMP tables of a connection of its own (schema/draft.sql).
 */

#include <stdbool.h>

#include "outboxfs/store/draft.h"
#include "store/private.h"

struct draft {
	struct store *store;        /* borrowed */
	struct lock lock;           /* of what threads stage */
	struct db *db;              /* owned; a connection of its own */
	struct db_txn staging;      /* until draft_apply() */
	struct pack_append *append; /* owned; begun with the draft */
	bool applied;               /* the lock is ours, the transaction open */
	bool all_povs;              /* under lock */
	bool all_setup;
	bool repair;          /* takes damaged objects only */
	int64_t snapshot;     /* after draft_apply() */
	int64_t last_dir;     /* ids given out; under lock */
	int64_t last_value;   /* likewise */
	uint64_t n_timelines; /* the store's, when it began */
	uint64_t n_forgotten; /* likewise */

	/* after draft_apply() */
	struct db_txn txn;
	int64_t outbox; /* id that its ZIP will have */
	int64_t job;
	bool published; /* it has a ZIP */
	bool written;   /* objects were added since the packs were synced */
	bool committed; /* or it may be: what is in the packs stays */
};
