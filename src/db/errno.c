/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "outboxfs/db/db.h"

/* SQLite's primary result codes (sqlite3.h, "Result Codes") as errno. */
static const int codes[] = {
	[SQLITE_OK] = 0,
	[SQLITE_PERM] = -EACCES,
	[SQLITE_ABORT] = -ECANCELED,
	[SQLITE_BUSY] = -EBUSY,
	[SQLITE_LOCKED] = -EBUSY,
	[SQLITE_NOMEM] = -ENOMEM,
	[SQLITE_READONLY] = -EROFS,
	[SQLITE_INTERRUPT] = -ECANCELED,
	[SQLITE_IOERR] = -EIO,
	[SQLITE_CORRUPT] = -EBADMSG,
	[SQLITE_FULL] = -ENOSPC,
	[SQLITE_CANTOPEN] = -ENOENT,
	[SQLITE_PROTOCOL] = -EBUSY,
	[SQLITE_SCHEMA] = -ESTALE,
	[SQLITE_TOOBIG] = -E2BIG,
	[SQLITE_CONSTRAINT] = -EEXIST,
	[SQLITE_AUTH] = -EACCES,
	[SQLITE_NOTADB] = -EBADMSG,
};

int db_errno(int rc)
{
	size_t primary = (size_t)(rc & 0xff);

	if (rc == SQLITE_ROW || rc == SQLITE_DONE)
		return 0;
	if (rc == SQLITE_IOERR_NOMEM)
		return -ENOMEM;
	if (primary < sizeof(codes) / sizeof(codes[0]) &&
	    (codes[primary] != 0 || primary == SQLITE_OK))
		return codes[primary];
	return -EIO;
}
