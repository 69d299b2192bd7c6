/* SPDX-License-Identifier: MIT */
#include "outboxfs/artifact/adopt.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "artifact/check.h"
#include "artifact/meta.h"
#include "artifact/track.h"
#include "outboxfs/base/clock.h"
#include "outboxfs/db/db.h"

#define BUSY_MS 10000

/* What a former adoption leaves to the next one. */
struct legacy {
	int64_t change; /* the last change number given out, 0 at first */
	int64_t time;   /* nothing was modified after this */
	int64_t dir_id; /* ids up to these were used */
	int64_t pov_id;
};

static int open_db(const char *path, bool readonly, struct db **ret,
		   struct err *err)
{
	struct db_config config = {
		.path = path,
		.readonly = readonly,
		.busy_ms = BUSY_MS,
		.cache_kib = 64 * 1024,
	};
	int64_t dummy;
	int r;

	if (access(path, F_OK) < 0)
		return err_set(
			err, -ENOENT,
			"database '%s' does not exist: outboxfs init makes a new one",
			path);
	r = db_open(&config, ret, err);
	if (r == 0)
		r = db_int(*ret, "SELECT count(*) FROM sqlite_schema", &dummy,
			   err);
	/* Who may write takes back what a dead program left half done. */
	if (r == -EROFS && readonly && access(path, W_OK) == 0) {
		*ret = db_free(*ret);
		return open_db(path, false, ret, err);
	}
	if (r == -EBADMSG)
		return err_prefix(
			err, r,
			"'%s' is damaged, encrypted, or not an SQLite database",
			path);
	return r;
}

static int read_legacy(struct db *db, struct legacy *ret, struct err *err)
{
	int64_t adopted;
	int r;

	*ret = (struct legacy){0};
	r = meta_is_adopted(db, &adopted, err);
	if (r < 0 || !adopted)
		return r;
	r = db_int(db, "SELECT change FROM outboxfs_change", &ret->change, err);
	if (r == 0)
		r = db_int(db, "SELECT time FROM outboxfs_change", &ret->time,
			   err);
	if (r == 0)
		r = db_int(db, "SELECT ifnull(max(id), 0) FROM outboxfs_dir",
			   &ret->dir_id, err);
	if (r == 0)
		r = db_int(db, "SELECT ifnull(max(id), 0) FROM outboxfs_pov",
			   &ret->pov_id, err);
	return r == -ENODATA ? 0 : r;
}

/* Drops what is ours; tombstones outlive a change of model. */
static int drop_ours(struct db *db, bool all, struct err *err)
{
	CLEANUP(buf_deinit) struct buf b = BUF_NULL;
	CLEANUP(db_finalize) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_prepare(db,
		       "SELECT type, name FROM sqlite_schema"
		       " WHERE name LIKE 'outboxfs\\_%' ESCAPE '\\'"
		       " AND sql IS NOT NULL"
		       " ORDER BY type = 'table', type = 'index'",
		       &stmt, err);
	if (r < 0)
		return r;
	while ((r = db_step(stmt)) == 1) {
		const char *name = (const char *)sqlite3_column_text(stmt, 1);

		if (!all && strcmp(name, "outboxfs_tombstone") == 0)
			continue;
		buf_printf(&b, "DROP %s IF EXISTS ",
			   (const char *)sqlite3_column_text(stmt, 0));
		db_quote_name(&b, name);
		buf_puts(&b, ";\n");
	}
	if (r < 0)
		return err_set(err, r, "cannot read the schema");
	db_finalize(&stmt);
	return buf_str(&b) ? db_exec(db, buf_str(&b), err) : buf_error(&b);
}

/* Numbers the tables, and says in outboxfs_table what they look like. */
static int put_model(struct buf *b, struct model *m, const struct legacy *old,
		     int64_t now)
{
	buf_puts(b, META_TABLES);
	buf_puts(b, "INSERT INTO outboxfs_model VALUES(1, 1, ");
	db_quote_text(b, m->json);
	buf_puts(b, ", ");
	db_quote_text(b, m->hash);
	buf_printf(b, ", %lld, lower(hex(randomblob(16))), '');\n",
		   (long long)now);
	buf_printf(b, "INSERT INTO outboxfs_change VALUES(%lld, %lld);\n",
		   (long long)old->change + 1, (long long)now);

	for (size_t i = 0; i < m->n_tables; i++) {
		CLEANUP(freep) char *print = NULL;
		struct model_table *t = &m->tables[i];
		int r;

		t->id = (int64_t)i + 1;
		r = model_fingerprint(t, &print);
		if (r < 0)
			return r;
		buf_printf(b, "INSERT INTO outboxfs_table VALUES(%lld, ",
			   (long long)t->id);
		db_quote_text(b, t->name);
		buf_printf(b, ", %d, %lld, %lld, ", t->slot,
			   (long long)old->change + 1, (long long)now);
		db_quote_text(b, print);
		buf_puts(b, ");\n");
	}
	return buf_error(b);
}

/*
 * Ids go on, so that none ever stands for two things: a row that is nobody's
 * child holds the place of those that were used. (AUTOINCREMENT would leave
 * sqlite_sequence behind.)
 */
static void put_places(struct buf *b, const struct legacy *old)
{
	if (old->dir_id > 0)
		buf_printf(b,
			   "INSERT INTO outboxfs_dir(id, parent, time)"
			   " VALUES(%lld, -1, 0);\n",
			   (long long)old->dir_id + 1);
	if (old->pov_id > 0)
		buf_printf(b,
			   "INSERT INTO outboxfs_pov(id, parent, v1)"
			   " VALUES(%lld, -1, x'6f7574626f786673');\n",
			   (long long)old->pov_id + 1);
}

static int install(struct db *db, struct model *m,
		   const struct adopt_options *options,
		   const struct legacy *old, struct err *err)
{
	CLEANUP(buf_deinit) struct buf b = BUF_NULL;
	int64_t now = clock_wall();
	int r;

	if (now <= old->time)
		now = old->time + 1;
	r = put_model(&b, m, old, now);
	if (r < 0)
		return r;
	track_put_tables(&b, m);
	track_put_indexes(&b, m, !options->no_index);
	put_places(&b, old);
	track_put_registry(&b, m, old->change + 1, now);
	track_put_triggers(&b, m);
	buf_puts(&b,
		 "UPDATE outboxfs_model SET triggers = (" META_TRIGGERS ");\n");
	return buf_str(&b) ? db_exec(db, buf_str(&b), err) : buf_error(&b);
}

static int count(struct db *db, const struct model *m, struct adopt_result *ret,
		 struct err *err)
{
	*ret = (struct adopt_result){0};
	for (size_t i = 0; i < m->n_tables; i++)
		*(m->tables[i].slot < 0 ? &ret->n_setup : &ret->n_data) += 1;
	return db_int(db, "SELECT count(*) FROM outboxfs_pov WHERE parent > 0",
		      &ret->n_povs, err);
}

/* SQLite's parser accepts less than json-c's, so a document must pass both. */
static int check_json(struct db *db, const char *json, size_t len,
		      struct err *err)
{
	CLEANUP(db_finalize) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_prepare(db, "SELECT json_valid(?1)", &stmt, err);
	if (r < 0)
		return r;
	if (len > MODEL_BYTES_MAX ||
	    sqlite3_bind_text(stmt, 1, json, (int)len, SQLITE_STATIC) ||
	    db_step(stmt) != 1 || !sqlite3_column_int(stmt, 0))
		return err_set(
			err, -EINVAL,
			"model: not a JSON document (RFC 8259) of at most %zu bytes",
			MODEL_BYTES_MAX);
	return 0;
}

int artifact_adopt(const char *path, const char *json, size_t len,
		   const struct adopt_options *options,
		   struct adopt_result *ret, struct err *err)
{
	CLEANUP(db_freep) struct db *db = NULL;
	CLEANUP(model_freep) struct model *model = NULL;
	CLEANUP(db_rollback) struct db_txn txn = DB_TXN_NULL;
	struct legacy old;
	int r;

	r = open_db(path, false, &db, err);
	if (r < 0)
		return r;
	r = model_parse(json, len, &model, err);
	if (r == 0)
		r = check_json(db, json, len, err);
	if (r == 0)
		r = db_exec(db, "PRAGMA synchronous=FULL", err);
	if (r < 0)
		return r;

	r = db_begin_write(db, &txn);
	if (r < 0)
		return err_set(err, r, "cannot write to '%s': %s", path,
			       sqlite3_errmsg(db_handle(db)));
	r = read_legacy(db, &old, err);
	if (r == 0)
		r = drop_ours(db, false, err);
	if (r == 0)
		r = model_bind(model, db, err);
	if (r == 0)
		r = install(db, model, options, &old, err);
	if (r == 0)
		r = count(db, model, ret, err);
	if (r < 0)
		return r;
	r = db_commit(&txn);
	return r < 0 ? err_set(err, r, "cannot write to '%s': %s", path,
			       sqlite3_errmsg(db_handle(db)))
		     : 0;
}

int artifact_abandon(const char *path, struct err *err)
{
	CLEANUP(db_freep) struct db *db = NULL;
	CLEANUP(db_rollback) struct db_txn txn = DB_TXN_NULL;
	int64_t n;
	int r;

	r = open_db(path, false, &db, err);
	if (r < 0)
		return r;
	r = db_begin_write(db, &txn);
	if (r < 0)
		return err_set(err, r, "cannot write to '%s': %s", path,
			       sqlite3_errmsg(db_handle(db)));
	r = db_int(db,
		   "SELECT count(*) FROM sqlite_schema"
		   " WHERE name LIKE 'outboxfs\\_%' ESCAPE '\\'",
		   &n, err);
	if (r == 0 && n == 0)
		return err_set(err, -ENODATA,
			       "database '%s' has nothing of outboxfs in it",
			       path);
	if (r == 0)
		r = drop_ours(db, true, err);
	return r < 0 ? r : db_commit(&txn);
}

/* The tables and the model of init, embedded at build time. */
extern const char init_tables_sql[];
extern const char init_model_json[];

/* Makes an empty file that was not there: it is ours to fill or to remove. */
static int make_file(const char *path, struct err *err)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	if (fd >= 0) {
		close(fd);
		return 0;
	}
	if (errno == EEXIST)
		return err_set(
			err, -EEXIST,
			"'%s' exists already: outboxfs adopt takes an existing database",
			path);
	return err_set(err, -errno, "cannot make '%s': %s", path,
		       strerrordesc_np(errno));
}

int artifact_init(const char *path, struct err *err)
{
	struct db_config config = {.path = path};
	struct adopt_options options = {.no_index = false};
	struct adopt_result result;
	int r;

	r = make_file(path, err);
	if (r < 0)
		return r;
	{
		CLEANUP(db_freep) struct db *db = NULL;

		r = db_open(&config, &db, err);
		if (r == 0)
			r = db_exec(db, "PRAGMA journal_mode=WAL", err);
		if (r == 0)
			r = db_exec(db, init_tables_sql, err);
	}
	if (r == 0)
		r = artifact_adopt(path, init_model_json,
				   strlen(init_model_json), &options, &result,
				   err);
	if (r < 0)
		(void)unlink(path); /* what is half made helps nobody */
	return r;
}

int artifact_model_json(const char *path, struct buf *ret, struct err *err)
{
	CLEANUP(db_freep) struct db *db = NULL;
	int r;

	r = open_db(path, true, &db, err);
	if (r < 0)
		return r;
	return meta_load_json(db, ret, err);
}
