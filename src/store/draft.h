/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What a draft is made of; draft.c, apply.c and writer.c know it.
 *
 * Objects are staged in a TEMP table of the writing connection, which
 * draft_begin() makes and draft_free() drops:
 *
 *	CREATE TEMP TABLE staged_object (
 *	  sha256 BLOB PRIMARY KEY, crc INTEGER, size INTEGER, rows INTEGER,
 *	  method INTEGER, packed INTEGER, pack INTEGER, offset INTEGER,
 *	  pieces BLOB) WITHOUT ROWID
 */

#include <stdbool.h>

#include "outboxfs/store/draft.h"
#include "store/private.h"

struct draft {
	struct store *store;        /* borrowed */
	struct pack_append *append; /* owned; begun with the draft */
	bool applied;               /* the lock is ours, the transaction open */
	int64_t snapshot;           /* after draft_apply() */
};
