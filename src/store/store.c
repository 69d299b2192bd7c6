/* SPDX-License-Identifier: MIT */
#include "outboxfs/store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "outboxfs/base/buf.h"
#include "outboxfs/base/fault.h"
#include "outboxfs/base/log.h"
#include "statements.h"
#include "store/private.h"

#define READERS_MAX 16

static int store_dir(const char *database, char **ret)
{
	return asprintf(ret, "%s.outboxfs", database) < 0 ? -ENOMEM : 0;
}

/* What the lock file says about the process that holds it. */
static void read_holder(int fd, char *ret, size_t size)
{
	ssize_t n = pread(fd, ret, size - 1, 0);

	ret[n > 0 ? n : 0] = '\0';
	ret[strcspn(ret, "\n")] = '\0';
}

/*
 * An open file description lock: it goes with the process, however it ends,
 * and it is not dropped when something else of ours closes the file.
 */
static int try_lock(int fd)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
		return 0;
	return errno == EACCES || errno == EAGAIN ? -EBUSY : -errno;
}

/* One line, whatever is in the name of a mount point: as in /proc/mounts. */
static void write_holder(int fd, const char *owner, const char *path)
{
	CLEANUP(buf_deinit) struct buf b = BUF_NULL;

	buf_printf(&b, "process %ld, ", (long)getpid());
	for (const char *p = owner; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			buf_printf(&b, "\\%03o", (unsigned char)*p);
		else
			buf_putc(&b, *p);
	buf_putc(&b, '\n');
	if (!buf_str(&b) || ftruncate(fd, 0) < 0 ||
	    pwrite(fd, b.data, b.len, 0) < 0)
		log_warn("cannot write to '%s/lock'", path);
}

static int take_store(struct store *store, const char *database,
		      const char *owner, struct err *err)
{
	static const struct timespec pause = {.tv_nsec = 10000000};
	char text[512];
	int r;

	store->lock_fd = openat(store->dir_fd, "lock",
				O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (store->lock_fd < 0)
		return err_set(err, -errno, "cannot open '%s/lock': %s",
			       store->path, strerrordesc_np(errno));
	r = try_lock(store->lock_fd);
	/* A daemon whose mount has just gone is about to let go. */
	for (int i = 0; r == -EBUSY && i < 100; i++) {
		(void)nanosleep(&pause, NULL);
		r = try_lock(store->lock_fd);
	}
	if (r == -EBUSY) {
		read_holder(store->lock_fd, text, sizeof(text));
		return err_set(err, r,
			       "database '%s' is in use by %s: stop that first",
			       database, text[0] ? text : "another process");
	}
	if (r < 0)
		return err_set(err, r, "cannot lock '%s/lock': %s", store->path,
			       strerrordesc_np(-r));
	write_holder(store->lock_fd, owner, store->path);
	return 0;
}

int store_holder(const char *database, char *ret, size_t size)
{
	CLEANUP(freep) char *dir = NULL;
	CLEANUP(freep) char *path = NULL;
	CLEANUP(close_fd) int fd = -1;
	int r;

	if (store_dir(database, &dir) < 0 ||
	    asprintf(&path, "%s/lock", dir) < 0)
		return -ENOMEM;
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return 0;
	r = try_lock(fd);
	if (r != -EBUSY)
		return 0;
	read_holder(fd, ret, size);
	return 1;
}

static int open_dir(struct store *store, const char *database, struct err *err)
{
	char *path;
	int r;

	r = store_dir(database, &path);
	if (r < 0)
		return r;
	store->path = path;
	if (mkdir(path, 0700) < 0 && errno != EEXIST) {
		if (errno != EROFS && errno != EACCES && errno != EPERM)
			return err_set(err, -errno, "cannot make '%s': %s",
				       path, strerrordesc_np(errno));
		log_notice(
			"cannot make the store '%s': %s; sizes are not remembered",
			path, strerrordesc_np(errno));
		freep(&store->path);
		return 0;
	}
	store->dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (store->dir_fd < 0)
		return err_set(err, -errno, "cannot open '%s': %s", path,
			       strerrordesc_np(errno));
	if (faccessat(store->dir_fd, ".", W_OK, AT_EACCESS) < 0) {
		log_notice(
			"cannot write to the store '%s'; sizes are not remembered",
			path);
		close_fd(&store->dir_fd);
		freep(&store->path);
	}
	return 0;
}

static int open_db(struct store *store, struct err *err)
{
	CLEANUP(freep) char *path = NULL;
	struct db_config config = {
		.sql = {.text = store_statements, .n = STORE_STATEMENTS_N},
		.create = true,
		.busy_ms = 5000,
		.cache_kib = 2048,
	};
	int r;

	if (store->path && asprintf(&path, "%s/store.db", store->path) < 0)
		return -ENOMEM;
	config.path = path;
	r = fault("store-open");
	if (r < 0)
		return err_set(err, r, "cannot open '%s': %s", path,
			       strerrordesc_np(-r));
	r = db_open(&config, &store->writer, err);
	/* What is said to others is on the disk before. */
	if (r == 0 && path)
		r = db_exec(store->writer,
			    "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL",
			    err);
	if (r == 0)
		r = store_migrate(store->writer, err);
	if (r < 0 || !path)
		return r;
	config.create = false;
	config.readonly = true;
	return db_pool_new(&config, READERS_MAX, &store->pool);
}

int store_open(const char *database, const char *owner, struct store **ret,
	       struct err *err)
{
	CLEANUP(store_freep) struct store *store = calloc(1, sizeof(*store));
	int r;

	if (!store)
		return -ENOMEM;
	store->dir_fd = -1;
	store->lock_fd = -1;
	lock_init(&store->lock, "store", LOCK_RANK_STORE);
	r = open_dir(store, database, err);
	if (r == 0 && store->path)
		r = take_store(store, database, owner, err);
	if (r == 0)
		r = open_db(store, err);
	if (r == 0)
		r = packs_new(store, &store->packs, err);
	if (r == 0)
		r = zips_new(&store->zips);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(store);
	return 0;
}

struct store *store_free(struct store *store)
{
	if (!store)
		return NULL;
	zips_free(store->zips);
	packs_free(store->packs);
	db_pool_free(store->pool);
	db_free(store->writer);
	close_fd(&store->lock_fd);
	close_fd(&store->dir_fd);
	lock_deinit(&store->lock);
	free(store->path);
	free(store);
	return NULL;
}

const char *store_path(const struct store *store)
{
	return store->path;
}

int store_tmpfile(struct store *store, int *ret_fd)
{
	int fd = -1;

	if (store->dir_fd >= 0)
		fd = openat(store->dir_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC,
			    0600);
	if (fd < 0) {
		int r = store_memfile(ret_fd);

		return r < 0 ? r : 1;
	}
	*ret_fd = fd;
	return 0;
}

int store_memfile(int *ret_fd)
{
	int fd = memfd_create("outboxfs", MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

/* A reader's connection, or the only one there is, with the lock held. */
int store_reader_get(struct store *store, struct db **ret)
{
	if (store->pool)
		return db_pool_get(store->pool, 5000, ret, NULL);
	lock_take(&store->lock);
	*ret = store->writer;
	return 0;
}

void store_reader_put(struct store *store, struct db *db)
{
	if (store->pool)
		db_pool_put(store->pool, db);
	else
		lock_drop(&store->lock);
}

int store_run_with(struct db *db, size_t statement, int64_t a, int64_t b)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int n;
	int r;

	r = db_stmt(db, statement, &stmt);
	if (r < 0)
		return r;
	n = sqlite3_bind_parameter_count(stmt);
	if (n > 0)
		sqlite3_bind_int64(stmt, 1, a);
	if (n > 1)
		sqlite3_bind_int64(stmt, 2, b);
	return db_step(stmt);
}

int store_run(struct db *db, size_t statement)
{
	return store_run_with(db, statement, 0, 0);
}

int store_number(struct db *db, size_t statement, int64_t *ret)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(db, statement, &stmt);
	if (r == 0)
		r = db_step(stmt);
	if (r < 0)
		return r;
	*ret = r == 1 ? sqlite3_column_int64(stmt, 0) : 0;
	return 0;
}

static int known_get(struct db *db, int64_t table, int64_t pov,
		     struct store_known *ret)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(db, STORE_KNOWN_GET, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, pov);
	sqlite3_bind_int64(stmt, 2, table);
	r = db_step(stmt);
	if (r != 1)
		return r;
	if (sqlite3_column_bytes(stmt, 3) != SHA256_BYTES)
		return -EBADMSG;
	*ret = (struct store_known){
		.table = table,
		.pov = pov,
		.change = sqlite3_column_int64(stmt, 0),
		.rows = sqlite3_column_int64(stmt, 1),
		.bytes = sqlite3_column_int64(stmt, 2),
	};
	memcpy(ret->sha256, sqlite3_column_blob(stmt, 3), SHA256_BYTES);
	return 1;
}

int store_known_get(struct store *store, int64_t table, int64_t pov,
		    struct store_known *ret)
{
	struct db *db;
	int r;

	r = store_reader_get(store, &db);
	if (r < 0)
		return r;
	r = known_get(db, table, pov, ret);
	store_reader_put(store, db);
	return r;
}

int store_setting_put(struct db *db, const char *name, const char *value)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(db, STORE_SETTING_PUT, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_text(stmt, 1, name, -1, SQLITE_STATIC);
	sqlite3_bind_text(stmt, 2, value, -1, SQLITE_STATIC);
	return db_step(stmt);
}

/* 1: the setting has this value. */
int store_setting_is(struct db *db, const char *name, const char *value)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(db, STORE_SETTING_GET, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_text(stmt, 1, name, -1, SQLITE_STATIC);
	r = db_step(stmt);
	if (r != 1)
		return r;
	return strcmp((const char *)sqlite3_column_text(stmt, 0), value) == 0;
}

static int put_known(struct db *db, const struct store_known *known)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(db, STORE_KNOWN_PUT, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, known->pov);
	sqlite3_bind_int64(stmt, 2, known->table);
	sqlite3_bind_int64(stmt, 3, known->change);
	sqlite3_bind_int64(stmt, 4, known->rows);
	sqlite3_bind_int64(stmt, 5, known->bytes);
	sqlite3_bind_blob(stmt, 6, known->sha256, SHA256_BYTES, SQLITE_STATIC);
	return db_step(stmt);
}

int store_known_put(struct store *store, const struct store_known *known,
		    size_t n, const char *timeline)
{
	LOCK_SCOPE(&store->lock);
	CLEANUP(db_rollback) struct db_txn txn = DB_TXN_NULL;
	int again;
	int r;

	/* Often, and nothing is lost with it that cannot be rendered again. */
	r = db_exec(store->writer, "PRAGMA synchronous=NORMAL", NULL);
	if (r == 0)
		r = db_begin_write(store->writer, &txn);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = put_known(store->writer, &known[i]);
	if (r == 0)
		r = store_setting_put(store->writer, "timeline", timeline);
	if (r == 0)
		r = db_commit(&txn);
	db_rollback(&txn);
	if (r == 0)
		store->n_timelines++;
	again = db_exec(store->writer, "PRAGMA synchronous=FULL", NULL);
	return r < 0 ? r : again;
}

int store_announce_timeline(struct store *store, const char *next)
{
	LOCK_SCOPE(&store->lock);

	return store_setting_put(store->writer, "next_timeline", next);
}

int store_check_timeline(struct store *store, const char *timeline)
{
	LOCK_SCOPE(&store->lock);
	CLEANUP(db_rollback) struct db_txn txn = DB_TXN_NULL;
	int r;

	r = store_setting_is(store->writer, "timeline", timeline);
	if (r == 0)
		r = store_setting_is(store->writer, "next_timeline", timeline);
	if (r != 0)
		return r < 0 ? r : 0;
	r = db_begin_write(store->writer, &txn);
	if (r == 0)
		r = store_run(store->writer, STORE_KNOWN_CLEAR);
	if (r == 0)
		r = store_run(store->writer, STORE_CAPTURED_CLEAR);
	/* Nothing holds under this one, either: so asking again is idle. */
	if (r == 0)
		r = store_setting_put(store->writer, "timeline", timeline);
	if (r == 0)
		r = db_commit(&txn);
	if (r == 0)
		store->n_forgotten++;
	return r;
}
