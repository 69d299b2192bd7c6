/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>

#include "outboxfs/base/fault.h"
#include "store/private.h"

extern const char schema_0001_sql[];
extern const char schema_0002_sql[];

/* A fresh store climbs the same ladder as an old one. */
static const char *const steps[] = {schema_0001_sql, schema_0002_sql};

static int climb(struct db *db, size_t step, struct err *err)
{
	CLEANUP(db_rollback) struct db_txn txn = DB_TXN_NULL;
	char version[64];
	int r;

	r = db_begin_write(db, &txn);
	if (r < 0)
		return err_set(err, r, "cannot write to the store");
	r = db_exec(db, steps[step], err);
	(void)snprintf(version, sizeof(version), "PRAGMA user_version = %zu",
		       step + 1);
	if (r == 0)
		r = db_exec(db, version, err);
	if (r == 0)
		r = fault("store-migrate");
	return r < 0 ? r : db_commit(&txn);
}

int store_migrate(struct db *db, struct err *err)
{
	int64_t version;
	int r;

	r = db_int(db, "PRAGMA user_version", &version, err);
	if (r < 0)
		return r;
	if (version > (int64_t)ARRAY_SIZE(steps))
		return err_set(
			err, -ENOTSUP,
			"the store '%s' was made by a newer outboxfs (version %lld, this one knows up to %zu)",
			sqlite3_db_filename(db_handle(db), "main"),
			(long long)version, ARRAY_SIZE(steps));
	for (size_t step = (size_t)version; r == 0 && step < ARRAY_SIZE(steps);
	     step++)
		r = climb(db, step, err);
	return r;
}
