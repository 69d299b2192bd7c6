/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * SQLite: connections with a cache of prepared statements, transactions that
 * roll back unless they are committed, and SQLite's codes as errno.
 *
 * A connection has one user at a time. Statements are numbered: the number is
 * the place of its SQL in the table that the connection was opened with, and
 * its slot in the cache.
 *
 * Errors everywhere: -EBUSY (locked by others), -EROFS, -ENOSPC, -ENOMEM,
 * -EBADMSG (corrupt, or not a database), -ECANCELED (interrupted), -ESTALE
 * (the schema has changed under a statement), -EEXIST (a constraint), -ENOENT
 * (cannot be opened), -EACCES, -E2BIG (too large a value), else -EIO.
 */

#include <sqlite3.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "outboxfs/base/err.h"

struct db;

/* The table of statements; sql[i] is statement i. Outlives the connection. */
struct db_sql {
	const char *const *text;
	size_t n;
};

struct db_config {
	const char *path; /* NULL: in memory */
	struct db_sql sql;
	bool create; /* make the file where it is missing */
	bool readonly;
	bool immutable;     /* on a disk that nobody can write to */
	int busy_ms;        /* how long to wait for a lock; 0: not at all */
	int64_t mmap_bytes; /* 0: reads by pread */
	int cache_kib;      /* page cache */
	bool temp_file;     /* TEMP tables in files, not in memory */
};

NODISCARD int db_open(const struct db_config *config, struct db **ret,
		      struct err *err);
struct db *db_free(struct db *db);
DEFINE_FREEP(db)

/* Borrowed, for the engine that reads rows by itself. */
sqlite3 *db_handle(struct db *db);

/* How long the next calls wait for a lock. */
void db_set_busy(struct db *db, int busy_ms);

/*
 * Statements that run while this is set end with -ECANCELED; NULL: none do.
 * It is borrowed until the next call.
 */
void db_set_stop(struct db *db, const _Atomic bool *stop);
/* Statements that still run then end with -ECANCELED; 0: no limit. */
void db_set_deadline(struct db *db, mono_us_t deadline);

/* Room for what the owner wants to remember about this connection; 0 at first.
 */
int64_t *db_note(struct db *db);

int db_errno(int rc);

/* -errno for rc; err becomes "<what>: <SQLite's words>". */
int db_fail(struct db *db, int rc, struct err *err, const char *fmt, ...)
	PRINTF(4, 5);

/*
 * Statement id, reset and without bindings; borrowed until the connection is
 * closed or another call asks for the same one.
 */
NODISCARD int db_stmt(struct db *db, size_t id, sqlite3_stmt **ret);

/* Ends the use of a statement: no cursor stays open. For CLEANUP(). */
void db_reset(sqlite3_stmt **stmt);

/* 1: a row is there. 0: done. Negative errno. */
NODISCARD int db_step(sqlite3_stmt *stmt);

/* Runs SQL text that returns nothing; several statements are fine. */
NODISCARD int db_exec(struct db *db, const char *sql, struct err *err);

/* Prepares text that is used once; finalize with db_finalize(). */
NODISCARD int db_prepare(struct db *db, const char *sql, sqlite3_stmt **ret,
			 struct err *err);
void db_finalize(sqlite3_stmt **stmt); /* for CLEANUP() */

/* One integer from a statement that is run once. 0, -ENODATA: no row. */
NODISCARD int db_int(struct db *db, const char *sql, int64_t *ret,
		     struct err *err);

/*
 * A transaction; CLEANUP(db_rollback) struct db_txn txn = DB_TXN_NULL;
 * Leaving the scope without db_commit() undoes it.
 */
struct db_txn {
	struct db *db; /* NULL: none is open */
};

#define DB_TXN_NULL        \
	{                  \
		.db = NULL \
	}

/* Reading begins with the first statement; all of them see one state. */
NODISCARD int db_begin(struct db *db, struct db_txn *ret);
/* Takes the write lock at once, or -EBUSY. */
NODISCARD int db_begin_write(struct db *db, struct db_txn *ret);
NODISCARD int db_commit(struct db_txn *txn);
void db_rollback(struct db_txn *txn);

/*
 * Connections of one database for many threads. A pool belongs to one
 * config; what it hands out has no open transaction.
 */
struct db_pool;

/* Strings of config are copied except the statements. At most max are open. */
NODISCARD int db_pool_new(const struct db_config *config, unsigned max,
			  struct db_pool **ret);
struct db_pool *db_pool_free(struct db_pool *pool); /* all must be back */
DEFINE_FREEP(db_pool)

/* Waits where all are in use; for locks, busy_ms from now on. Any thread. */
NODISCARD int db_pool_get(struct db_pool *pool, int busy_ms, struct db **ret,
			  struct err *err);
void db_pool_put(struct db_pool *pool, struct db *db);

/* Quoting for the query builder: "a""b" and 'a''b'. Appended to b. */
struct buf;
void db_quote_name(struct buf *b, const char *name);
void db_quote_text(struct buf *b, const char *text);
