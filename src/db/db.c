/* SPDX-License-Identifier: MIT */
#include "outboxfs/db/db.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "db/pool.h"
#include "outboxfs/base/buf.h"
#include "outboxfs/base/clock.h"

#define PROGRESS_STEPS 2000 /* of SQLite's machine: some 50 us */

struct db {
	sqlite3 *handle;      /* owned */
	struct db_sql sql;    /* borrowed */
	sqlite3_stmt **stmts; /* owned; NULL where not prepared yet */
	int64_t note;         /* the owner's */
	int busy_ms;
	mono_us_t deadline;       /* statements give up after it; 0: never */
	const _Atomic bool *stop; /* or when this is set; NULL: nobody does */
	mono_us_t busy_since;     /* when the present wait for a lock began */
	struct db *next;          /* in a pool's list of idle ones */
};

/*
 * Writers who commit in a loop leave the lock for microseconds only, so the
 * first tries come quickly; later ones spare the CPU.
 */
static int busy_handler(void *arg, int n)
{
	struct db *db = arg;
	struct timespec pause = {.tv_nsec = n < 40 ? 50000 : 2000000};

	if (n == 0)
		db->busy_since = clock_mono();
	if (clock_mono() - db->busy_since >= (mono_us_t)db->busy_ms * 1000)
		return 0;
	(void)nanosleep(&pause, NULL); /* cut short is as good */
	return 1;
}

static int progress_handler(void *arg)
{
	const struct db *db = arg;

	return (db->stop && atomic_load(db->stop)) ||
	       (db->deadline && clock_mono() > db->deadline);
}

static int configure(struct db *db, const struct db_config *config,
		     struct err *err)
{
	char sql[256];

	sqlite3_extended_result_codes(db->handle, 1);
	sqlite3_busy_handler(db->handle, busy_handler, db);
	sqlite3_progress_handler(db->handle, PROGRESS_STEPS, progress_handler,
				 db);
	sqlite3_db_config(db->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(db->handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	/* "name" is a column or an error, never a string (the misfeature). */
	sqlite3_db_config(db->handle, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
	(void)snprintf(sql, sizeof(sql),
		       "PRAGMA foreign_keys=ON; PRAGMA synchronous=NORMAL;"
		       "PRAGMA temp_store=%s;"
		       "PRAGMA cache_size=-%d; PRAGMA mmap_size=%lld;",
		       config->temp_file ? "FILE" : "MEMORY",
		       config->cache_kib ? config->cache_kib : 2048,
		       (long long)config->mmap_bytes);
	return db_exec(db, sql, err);
}

/* The path as a URI, so that immutable=1 can be said. */
static char *uri(const char *path, bool immutable)
{
	CLEANUP(buf_deinit) struct buf b = BUF_NULL;

	if (!path)
		return strdup("file::memory:");
	/* An empty authority, so that no part of the path is taken for one. */
	buf_puts(&b, *path == '/' ? "file:///" : "file:./");
	path += strspn(path, "/");
	for (const char *p = path; *p; p++) {
		if (*p == '%' || *p == '?' || *p == '#')
			buf_printf(&b, "%%%02X", (unsigned char)*p);
		else
			buf_putc(&b, *p);
	}
	if (immutable)
		buf_puts(&b, "?immutable=1");
	return buf_steal(&b);
}

/* SQLite makes a directory's handle and complains later, in other words. */
static int check_path(const char *path, struct err *err)
{
	struct stat st;

	if (path && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return err_set(err, -EISDIR,
			       "'%s' is a directory, not a database", path);
	return 0;
}

int db_open(const struct db_config *config, struct db **ret, struct err *err)
{
	CLEANUP(db_freep) struct db *db = calloc(1, sizeof(*db));
	CLEANUP(freep) char *name = uri(config->path, config->immutable);
	int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_URI;
	int rc;
	int r;

	if (!db || !name)
		return -ENOMEM;
	r = check_path(config->path, err);
	if (r < 0)
		return r;
	db->sql = config->sql;
	db->busy_ms = config->busy_ms;
	db->stmts = calloc(config->sql.n + 1, sizeof(sqlite3_stmt *));
	if (!db->stmts)
		return -ENOMEM;

	flags |= config->readonly ? SQLITE_OPEN_READONLY
				  : SQLITE_OPEN_READWRITE;
	if (config->create)
		flags |= SQLITE_OPEN_CREATE;
	rc = sqlite3_open_v2(name, &db->handle, flags, NULL);
	if (rc != SQLITE_OK && config->path && access(config->path, R_OK) < 0)
		return err_set(err, db_errno(rc), "cannot open '%s': %s",
			       config->path, strerrordesc_np(errno));
	if (rc != SQLITE_OK)
		return db_fail(db, rc, err, "cannot open '%s'",
			       config->path ? config->path : "in memory");
	/* SQLite makes do with less than it was asked for, and says nothing. */
	if (!config->readonly && config->path &&
	    sqlite3_db_readonly(db->handle, "main") == 1)
		return err_set(err, -EROFS, "'%s' cannot be written to",
			       config->path);
	r = configure(db, config, err);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(db);
	return 0;
}

struct db *db_free(struct db *db)
{
	if (!db)
		return NULL;
	for (size_t i = 0; db->stmts && i < db->sql.n; i++)
		sqlite3_finalize(db->stmts[i]);
	free(db->stmts);
	sqlite3_close(db->handle);
	free(db);
	return NULL;
}

sqlite3 *db_handle(struct db *db)
{
	return db->handle;
}

void db_set_busy(struct db *db, int busy_ms)
{
	db->busy_ms = busy_ms;
}

/* The header says so in two bytes (sqlite.org/fileformat.html, 1.3.3). */
static bool is_wal(const char *path)
{
	CLEANUP(close_fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
	char modes[2];

	return fd >= 0 && pread(fd, modes, 2, 18) == 2 && modes[0] == 2 &&
	       modes[1] == 2;
}

static bool is_full(const char *dir)
{
	struct statvfs st;

	return statvfs(dir, &st) == 0 && st.f_bavail == 0;
}

/*
 * Why SQLite cannot open a file, where it does not say. In WAL mode even a
 * reader makes a file beside the database, unless another program has done so.
 * To read without it (immutable=1) would be wrong as soon as one writes.
 */
static const char *explain(const char *path, int rc)
{
	CLEANUP(freep) char *dir = path ? strdup(path) : NULL;
	int primary = rc & 0xff;

	if (!dir)
		return NULL;
	if (primary == SQLITE_IOERR && is_full(dirname(dir)))
		return "no space is left on its disk";
	if (primary != SQLITE_CANTOPEN && primary != SQLITE_READONLY)
		return NULL;
	if (rc == SQLITE_READONLY || !is_wal(path) ||
	    access(dirname(dir), W_OK) == 0)
		return NULL;
	return "it is in WAL mode, which wants to write to its directory, and you may not: ask as somebody who may, or take it out of WAL mode (PRAGMA journal_mode=DELETE)";
}

int db_fail(struct db *db, int rc, struct err *err, const char *fmt, ...)
{
	char what[256];
	const char *why;
	va_list args;
	int r = db_errno(rc);

	if (r == 0)
		r = -EIO;
	if (!err)
		return r;
	va_start(args, fmt);
	(void)vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	why = explain(sqlite3_db_filename(db->handle, "main"), rc);
	if (!why)
		why = db->handle ? sqlite3_errmsg(db->handle)
				 : sqlite3_errstr(rc);
	return err_set(err, r, "%s: %s", what, why);
}

int db_stmt(struct db *db, size_t id, sqlite3_stmt **ret)
{
	sqlite3_stmt **slot = &db->stmts[id];
	int rc;

	if (*slot) {
		sqlite3_reset(*slot);
		sqlite3_clear_bindings(*slot);
		*ret = *slot;
		return 0;
	}
	rc = sqlite3_prepare_v3(db->handle, db->sql.text[id], -1,
				SQLITE_PREPARE_PERSISTENT, slot, NULL);
	if (rc != SQLITE_OK)
		return db_errno(rc);
	*ret = *slot;
	return 0;
}

void db_reset(sqlite3_stmt **stmt)
{
	sqlite3_reset(*stmt);
	*stmt = NULL;
}

int db_step(sqlite3_stmt *stmt)
{
	int rc = sqlite3_step(stmt);

	if (rc == SQLITE_ROW)
		return 1;
	if (rc == SQLITE_DONE)
		return 0;
	return db_errno(rc);
}

int db_exec(struct db *db, const char *sql, struct err *err)
{
	int rc = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);

	if (rc == SQLITE_OK)
		return 0;
	return db_fail(db, rc, err, "database '%s'",
		       sqlite3_db_filename(db->handle, "main"));
}

int db_prepare(struct db *db, const char *sql, sqlite3_stmt **ret,
	       struct err *err)
{
	int rc = sqlite3_prepare_v2(db->handle, sql, -1, ret, NULL);

	if (rc == SQLITE_OK)
		return 0;
	return db_fail(db, rc, err, "database '%s'",
		       sqlite3_db_filename(db->handle, "main"));
}

void db_finalize(sqlite3_stmt **stmt)
{
	sqlite3_finalize(*stmt);
	*stmt = NULL;
}

int db_int(struct db *db, const char *sql, int64_t *ret, struct err *err)
{
	CLEANUP(db_finalize) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_prepare(db, sql, &stmt, err);
	if (r < 0)
		return r;
	r = db_step(stmt);
	if (r < 0)
		return db_fail(db, sqlite3_errcode(db->handle), err,
			       "database '%s'",
			       sqlite3_db_filename(db->handle, "main"));
	if (r == 0)
		return -ENODATA;
	*ret = sqlite3_column_int64(stmt, 0);
	return 0;
}

static int begin(struct db *db, const char *sql, struct db_txn *ret)
{
	int rc = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);

	if (rc != SQLITE_OK)
		return db_errno(rc);
	ret->db = db;
	return 0;
}

int db_begin(struct db *db, struct db_txn *ret)
{
	return begin(db, "BEGIN", ret);
}

int db_begin_write(struct db *db, struct db_txn *ret)
{
	return begin(db, "BEGIN IMMEDIATE", ret);
}

int db_commit(struct db_txn *txn)
{
	int rc = sqlite3_exec(txn->db->handle, "COMMIT", NULL, NULL, NULL);

	if (rc != SQLITE_OK)
		return db_errno(rc); /* the scope's end rolls it back */
	txn->db = NULL;
	return 0;
}

void db_rollback(struct db_txn *txn)
{
	if (!txn->db)
		return;
	/* An error may have ended it already; then there is nothing to do. */
	if (!sqlite3_get_autocommit(txn->db->handle))
		(void)sqlite3_exec(txn->db->handle, "ROLLBACK", NULL, NULL,
				   NULL);
	txn->db = NULL;
}

static void quote(struct buf *b, const char *s, char q)
{
	buf_putc(b, q);
	for (; *s; s++) {
		if (*s == q)
			buf_putc(b, q);
		buf_putc(b, *s);
	}
	buf_putc(b, q);
}

void db_quote_name(struct buf *b, const char *name)
{
	quote(b, name, '"');
}

void db_quote_text(struct buf *b, const char *text)
{
	quote(b, text, '\'');
}

void db_set_stop(struct db *db, const _Atomic bool *stop)
{
	db->stop = stop;
}

void db_set_deadline(struct db *db, mono_us_t deadline)
{
	db->deadline = deadline;
}

int64_t *db_note(struct db *db)
{
	return &db->note;
}

struct db **db_next(struct db *db)
{
	return &db->next;
}
