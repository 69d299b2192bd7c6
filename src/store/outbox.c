/* SPDX-License-Identifier: MIT */
#include "outboxfs/store/outbox.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "statements.h"
#include "store/private.h"

static int usage_on(struct db *db, struct store_usage *ret)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(db, STORE_USAGE_GET, &stmt);
	if (r == 0)
		r = db_step(stmt);
	if (r <= 0)
		return r < 0 ? r : -EBADMSG;
	*ret = (struct store_usage){
		.packs = sqlite3_column_int64(stmt, 0),
		.dead = sqlite3_column_int64(stmt, 0) -
			sqlite3_column_int64(stmt, 1),
		.n_outbox = sqlite3_column_int64(stmt, 2),
		.n_snapshots = sqlite3_column_int64(stmt, 3),
		.n_channels = sqlite3_column_int64(stmt, 4),
		.n_queued = sqlite3_column_int64(stmt, 5),
	};
	return 0;
}

int store_usage(struct store *store, struct store_usage *ret)
{
	struct db *db;
	int r;

	r = store_reader_get(store, &db);
	if (r < 0)
		return r;
	r = usage_on(db, ret);
	store_reader_put(store, db);
	return r;
}
