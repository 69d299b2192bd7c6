/* SPDX-License-Identifier: MIT */
/*
 * The life of an adopted database: opening it, noticing that it has become
 * another one, and handing out consistent reads.
 *
 * What a connection remembers (db_note) is the data_version at which it found
 * no open marks and the schema unchanged, and whether there were labels that
 * have changed (the lowest bit); while that stands, beginning a read costs one
 * pragma.
 */
#include "outboxfs/artifact/artifact.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "artifact/meta.h"
#include "artifact/world.h"
#include "outboxfs/base/buf.h"
#include "outboxfs/base/clock.h"
#include "outboxfs/base/log.h"

#define FOLD_BUSY_MS 250
#define IMPATIENT_US 1000 /* what an impatient read may take */

static struct artifact_world *world_free(struct artifact_world *w)
{
	if (!w)
		return NULL;
	db_pool_free(w->pool);
	db_free(w->writer);
	lock_deinit(&w->writer_lock);
	lock_deinit(&w->timeline_lock);
	free(w->sql);
	model_free(w->model);
	arena_deinit(&w->arena);
	free(w);
	return NULL;
}

static void world_freep(struct artifact_world **w)
{
	*w = world_free(*w);
}

void world_unref(struct artifact_world *w)
{
	if (w && atomic_fetch_sub(&w->n_refs, 1) == 1)
		world_free(w);
}

/* On a disk that cannot change, and with no log to read, no locks are needed.
 */
static bool is_immutable(const char *path)
{
	char wal[4096];
	struct statvfs fs;
	struct stat st;

	if (statvfs(path, &fs) < 0 || !(fs.f_flag & ST_RDONLY))
		return false;
	(void)snprintf(wal, sizeof(wal), "%s-wal", path);
	return stat(wal, &st) < 0 || st.st_size == 0;
}

static int read_version(struct db *db, enum query query, int64_t *ret)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(db, query, &stmt);
	if (r == 0)
		r = db_step(stmt);
	if (r < 0)
		return r;
	*ret = sqlite3_column_int64(stmt, 0);
	return 0;
}

static int load_identity(struct artifact_world *w, struct db *db,
			 struct err *err)
{
	CLEANUP(db_finalize) sqlite3_stmt *stmt = NULL;
	const char *timeline;
	int r;

	r = db_prepare(db,
		       "SELECT timeline, change FROM outboxfs_model,"
		       " outboxfs_change",
		       &stmt, err);
	if (r == 0)
		r = db_step(stmt);
	if (r <= 0)
		return err_set(err, r < 0 ? r : -EBADMSG,
			       "cannot read the model");
	timeline = (const char *)sqlite3_column_text(stmt, 0);
	(void)snprintf(w->timeline, sizeof(w->timeline), "%s",
		       timeline ? timeline : "");
	atomic_store(&w->last_change, sqlite3_column_int64(stmt, 1));
	return 0;
}

static int world_load(struct artifact_world *w, const char *path,
		      const struct artifact_options *options, struct err *err)
{
	CLEANUP(db_freep) struct db *db = NULL;
	CLEANUP(db_rollback) struct db_txn txn = DB_TXN_NULL;
	struct db_config config = {
		.path = path,
		.readonly = true,
		.immutable = is_immutable(path),
		.busy_ms = options->busy_ms,
		.cache_kib = options->cache_kib,
		.temp_file = true, /* a sorted pass may be large */
	};
	int r;

	w->writable = access(path, W_OK) == 0 && !config.immutable;
	r = db_open(&config, &db, err);
	if (r == 0 && (r = db_begin(db, &txn)) < 0)
		err_set(err, r, "cannot read '%s': %s", path,
			sqlite3_errmsg(db_handle(db)));
	if (r == 0)
		r = db_int(db, "PRAGMA schema_version", &w->schema_version,
			   err);
	if (r == -EBADMSG)
		return err_prefix(
			err, r,
			"'%s' is damaged, encrypted, or not an SQLite database",
			path);
	if (r == 0)
		r = meta_load(db, &w->model, err);
	if (r == 0)
		r = load_identity(w, db, err);
	if (r == 0)
		r = query_build(w);
	if (r < 0)
		return r;
	config.sql = (struct db_sql){.text = w->sql, .n = w->n_sql};
	return db_pool_new(&config, options->n_connections_max, &w->pool);
}

/*
 * A program that died in the midst of a transaction has left a journal, and
 * only a connection that may write can take that transaction back. Until
 * somebody does, others read nothing: -EROFS.
 */
static int roll_back(const struct artifact *a, struct err *err)
{
	CLEANUP(db_freep) struct db *db = NULL;
	struct db_config config = {
		.path = a->path,
		.busy_ms = a->options.busy_ms,
	};
	int64_t version;
	int r;

	r = db_open(&config, &db, err);
	if (r == 0)
		r = db_int(db, "PRAGMA schema_version", &version, err);
	if (r == 0)
		log_notice(
			"took back what a program had left half done in '%s'",
			a->path);
	return r;
}

static int world_open(struct artifact *a, struct artifact_world **ret,
		      struct err *err)
{
	CLEANUP(world_freep) struct artifact_world *w = calloc(1, sizeof(*w));
	struct stat st;
	int r;

	if (!w)
		return -ENOMEM;
	w->path = arena_strdup(&w->arena, a->path);
	if (!w->path)
		return -ENOMEM;
	w->n_refs = 1;
	lock_init(&w->writer_lock, "writer", LOCK_RANK_WRITER);
	lock_init(&w->timeline_lock, "timeline", LOCK_RANK_TIMELINE);
	if (stat(a->path, &st) < 0)
		return err_set(
			err, -errno,
			"database '%s' is gone: put it back, and the mount goes on",
			a->path);
	w->dev = st.st_dev;
	w->ino = st.st_ino;
	r = world_load(w, a->path, &a->options, err);
	if (r == -EROFS && w->writable) {
		r = roll_back(a, err);
		if (r == 0)
			r = world_load(w, a->path, &a->options, err);
	}
	if (r < 0)
		return r;
	*ret = TAKE_PTR(w);
	return 0;
}

int world_writer_locked(struct artifact_world *w, struct err *err)
{
	struct db_config config = {
		.path = w->path,
		.sql = {.text = w->sql, .n = w->n_sql},
		.cache_kib = 2048,
	};

	lock_assert_held(&w->writer_lock);
	return w->writer ? 0 : db_open(&config, &w->writer, err);
}

int artifact_open(const char *path, const struct artifact_options *options,
		  struct artifact **ret, struct err *err)
{
	CLEANUP(artifact_freep) struct artifact *a = calloc(1, sizeof(*a));
	int r;

	if (!a)
		return -ENOMEM;
	lock_init(&a->open_lock, "open", LOCK_RANK_OPEN);
	lock_init(&a->lock, "world", LOCK_RANK_WORLD);
	a->options = *options;
	a->path = realpath(path, NULL);
	if (!a->path)
		return err_set(err, -errno, "cannot find database '%s': %s",
			       path, strerrordesc_np(errno));
	r = world_open(a, &a->world, err);
	if (r < 0)
		return r;
	a->generation = a->world->generation = 1;
	*ret = TAKE_PTR(a);
	return 0;
}

struct artifact *artifact_free(struct artifact *a)
{
	if (!a)
		return NULL;
	world_unref(a->world);
	lock_deinit(&a->lock);
	lock_deinit(&a->open_lock);
	free(a->path);
	free(a);
	return NULL;
}

struct artifact_world *world_get(struct artifact *a)
{
	LOCK_SCOPE(&a->lock);

	if (a->world)
		atomic_fetch_add(&a->world->n_refs, 1);
	return a->world;
}

/* Is the file at the path still the one that this world is of? */
static bool same_file(const struct artifact *a, const struct artifact_world *w)
{
	struct stat st;

	return stat(a->path, &st) == 0 && st.st_dev == w->dev &&
	       st.st_ino == w->ino;
}

static struct identity identify(struct artifact_world *w)
{
	struct identity id = {
		.dev = w->dev,
		.ino = w->ino,
		.change = atomic_load(&w->last_change),
	};
	LOCK_SCOPE(&w->timeline_lock);

	memcpy(id.timeline, w->timeline, TIMELINE_BYTES);
	memcpy(id.next_timeline, w->next_timeline, TIMELINE_BYTES);
	return id;
}

/* Is this world what the former has become, and nothing else? */
static bool is_same(const struct identity *former, struct artifact_world *w)
{
	struct identity now = identify(w);

	return now.dev == former->dev && now.ino == former->ino &&
	       now.change >= former->change &&
	       (strcmp(now.timeline, former->timeline) == 0 ||
		strcmp(now.timeline, former->next_timeline) == 0);
}

static bool is_news_locked(struct artifact *a, const char *text)
{
	uint64_t hash = 0xcbf29ce484222325ULL; /* FNV-1a */

	for (; *text; text++)
		hash = (hash ^ (uint8_t)*text) * 0x100000001b3ULL;
	for (unsigned i = 0; i < ARRAY_SIZE(a->said) && i < a->n_said; i++)
		if (a->said[i] == hash)
			return false;
	a->said[a->n_said++ % ARRAY_SIZE(a->said)] = hash;
	return true;
}

bool artifact_is_news(struct artifact *a, const struct err *why)
{
	LOCK_SCOPE(&a->lock);

	return is_news_locked(a, why->text);
}

/* The database is the one that it was, but cannot be read. Returns r. */
static int fail(struct artifact *a, int r, struct err *err)
{
	if (r != -EBADMSG && r != -EIO && r != -ENOENT)
		return r;
	(void)explain(a->path, r, err);
	if (artifact_is_news(a, err))
		log_err("%s", err_text(err, r));
	return r;
}

/* Puts another world in the place of old, if nobody has done so already. */
static int reopen(struct artifact *a, const struct artifact_world *old,
		  struct err *err)
{
	LOCK_SCOPE(&a->open_lock);
	struct artifact_world *fresh = NULL;
	struct artifact_world *gone;
	struct err why = ERR_NULL;
	bool news;
	int r;

	lock_take(&a->lock);
	if (a->world != old) {
		lock_drop(&a->lock);
		return 0;
	}
	lock_drop(&a->lock);

	r = world_open(a, &fresh, &why);
	if (r < 0)
		(void)explain(a->path, r, &why);

	lock_take(&a->lock);
	/* Everybody who asks tries again; only what is new is worth a line. */
	if (r == 0)
		a->n_said = 0;
	news = r == 0 || is_news_locked(a, why.text);
	gone = a->world;
	a->world = fresh;
	if (gone)
		a->former = identify(gone);
	if (fresh && !is_same(&a->former, fresh))
		a->generation++;
	if (fresh)
		fresh->generation = a->generation;
	lock_drop(&a->lock);

	if (news && r < 0)
		log_err("%s", err_text(&why, r));
	else if (news)
		log_notice("database '%s' was changed or replaced: read anew",
			   a->path);
	world_unref(gone);
	if (r < 0)
		*err = why;
	return r;
}

static int read_timeline(struct db *db, char ret[TIMELINE_BYTES])
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	const char *text;
	int r;

	r = db_stmt(db, Q_TIMELINE, &stmt);
	if (r == 0)
		r = db_step(stmt);
	if (r < 0)
		return r;
	text = r == 1 ? (const char *)sqlite3_column_text(stmt, 0) : NULL;
	(void)snprintf(ret, TIMELINE_BYTES, "%s", text ? text : "");
	return 0;
}

/*
 * Is this the database that it was? One that was restored, or overwritten in
 * place, has an older timeline or goes back in its change numbers. before: the
 * last change number, read before the transaction began. 0, or -ESTALE.
 */
static int check_timeline(struct artifact_read *rd, int64_t before)
{
	struct artifact_world *w = rd->world;
	char timeline[TIMELINE_BYTES];
	int64_t change;
	int r;

	r = read_timeline(rd->db, timeline);
	if (r == 0)
		r = read_version(rd->db, Q_CHANGE, &change);
	if (r < 0)
		return r;
	if (change < before)
		return -ESTALE;
	while (before < change &&
	       !atomic_compare_exchange_weak(&w->last_change, &before, change))
		;

	LOCK_SCOPE(&w->timeline_lock);

	if (strcmp(timeline, w->timeline) != 0 &&
	    strcmp(timeline, w->next_timeline) != 0)
		return -ESTALE;
	return 0;
}

/*
 * Looks what has happened since this connection looked last. 0: nothing that
 * matters, or it was dealt with; 1: begin again; -ESTALE: the schema is
 * another one; -EWOULDBLOCK: only a patient caller can go on.
 */
static int look(struct artifact_read *rd, bool patient, int64_t before,
		struct err *err)
{
	struct artifact_world *w = rd->world;
	int64_t *seen = db_note(rd->db);
	int64_t version;
	int64_t schema;
	int64_t labels;
	int64_t open;
	int r;

	r = read_version(rd->db, Q_DATA_VERSION, &version);
	if (r < 0)
		return r;
	rd->has_labels = *seen & 1;
	if (version == *seen >> 1)
		return 0;
	r = read_version(rd->db, Q_SCHEMA_VERSION, &schema);
	if (r == 0 && schema != w->schema_version)
		return -ESTALE;
	if (r == 0)
		r = check_timeline(rd, before);
	if (r == 0)
		r = read_version(rd->db, Q_OPEN, &open);
	if (r == 0)
		r = read_version(rd->db, Q_HAS_LABELS, &labels);
	if (r < 0)
		return r;
	rd->has_labels = labels;
	if (!open) {
		*seen = version << 1 | labels;
		return 0;
	}
	if (!patient)
		return -EWOULDBLOCK;
	(void)sqlite3_exec(db_handle(rd->db), "ROLLBACK", NULL, NULL, NULL);
	r = fold(w, FOLD_BUSY_MS, err);
	if (r < 0)
		return r;
	rd->unsettled = r == 0;
	return 1;
}

int world_begin(struct artifact *a, struct artifact_world *w, bool patient,
		struct artifact_read *rd, struct err *err)
{
	struct db_txn txn = DB_TXN_NULL;
	int r;

	r = db_pool_get(w->pool, patient ? a->options.busy_ms : 0, &rd->db,
			err);
	if (r < 0)
		return r;
	rd->world = w;
	rd->model = w->model;
	rd->generation = w->generation;
	rd->unsettled = false;
	db_set_stop(rd->db, NULL);
	db_set_deadline(rd->db, patient ? 0 : clock_mono() + IMPATIENT_US);

	/* A writer in a loop can open marks faster than we fold: give up soon.
	 */
	for (int i = 0; i < 4; i++) {
		int64_t before = atomic_load(&w->last_change);

		r = db_begin(rd->db, &txn);
		if (r < 0)
			return r;
		rd->has_labels = true; /* unless look() knows better */
		if (rd->unsettled)
			return 0;
		r = look(rd, patient, before, err);
		if (r != 1)
			return r;
	}
	r = db_begin(rd->db, &txn);
	rd->has_labels = true;
	rd->unsettled = true;
	return r;
}

int artifact_read_begin(struct artifact *a, bool patient,
			struct artifact_read *ret, struct err *err)
{
	struct artifact_read rd = ARTIFACT_READ_NULL;
	struct artifact_world *w;
	bool writable;
	int r = -ESTALE;

	for (int i = 0; i < 3; i++) {
		w = world_get(a);
		writable = w && w->writable;
		if (w && same_file(a, w)) {
			r = world_begin(a, w, patient, &rd, err);
			if (r == 0) {
				*ret = rd;
				return 0;
			}
			rd.world = w;
			artifact_read_end(&rd);
			if (!patient &&
			    (r == -EBUSY || (r == -EROFS && writable)))
				return -EWOULDBLOCK;
			if (r == -EROFS && writable && roll_back(a, NULL) == 0)
				continue;
			if (r != -ESTALE)
				return fail(a, r, err);
		} else {
			world_unref(w);
		}
		if (!patient)
			return -EWOULDBLOCK;
		r = reopen(a, w, err);
		if (r < 0)
			return r;
	}
	return r;
}

void artifact_read_rest(struct artifact_read *rd)
{
	if (!rd->db)
		return;
	if (!sqlite3_get_autocommit(db_handle(rd->db)))
		(void)sqlite3_exec(db_handle(rd->db), "COMMIT", NULL, NULL,
				   NULL);
	db_set_stop(rd->db, NULL);
	db_pool_put(rd->world->pool, rd->db);
	rd->db = NULL;
}

void artifact_read_end(struct artifact_read *rd)
{
	if (!rd->world)
		return;
	artifact_read_rest(rd);
	world_unref(rd->world);
	*rd = (struct artifact_read)ARTIFACT_READ_NULL;
}

int artifact_change(struct artifact_read *rd, int64_t *ret)
{
	return read_version(rd->db, Q_CHANGE, ret);
}

int artifact_count_povs(struct artifact_read *rd, int64_t *ret)
{
	return read_version(rd->db, Q_POV_COUNT, ret);
}

int artifact_timeline(struct artifact_read *rd, char ret[TIMELINE_BYTES])
{
	return read_timeline(rd->db, ret);
}

static void expect_timeline(struct artifact_world *w, const char *timeline,
			    bool is_there)
{
	LOCK_SCOPE(&w->timeline_lock);

	(void)snprintf(is_there ? w->timeline : w->next_timeline,
		       TIMELINE_BYTES, "%s", timeline);
}

/*
 * The database may have been restored in place since anybody looked: then it
 * has an older timeline, or goes back in its change numbers.
 */
static int write_timeline(struct artifact_world *w, const char *timeline,
			  struct err *err)
{
	CLEANUP(db_finalize) sqlite3_stmt *stmt = NULL;
	struct identity now = identify(w);
	const char *next = now.next_timeline[0] ? now.next_timeline
						: now.timeline;
	int r;

	r = db_prepare(w->writer,
		       "UPDATE outboxfs_model SET timeline = ?1"
		       " WHERE ifnull(timeline, '') IN (?2, ?3)"
		       " AND (SELECT change FROM outboxfs_change) >= ?4",
		       &stmt, err);
	if (r < 0)
		return r;
	expect_timeline(w, timeline, false);
	sqlite3_bind_text(stmt, 1, timeline, -1, SQLITE_STATIC);
	sqlite3_bind_text(stmt, 2, now.timeline, -1, SQLITE_STATIC);
	sqlite3_bind_text(stmt, 3, next, -1, SQLITE_STATIC);
	sqlite3_bind_int64(stmt, 4, now.change);
	r = db_step(stmt);
	if (r == 0 && sqlite3_changes64(db_handle(w->writer)) == 0)
		r = err_set(err, -ESTALE, "'%s' is another database now",
			    w->path);
	if (r == 0)
		expect_timeline(w, timeline, true);
	return r;
}

int artifact_draw_timeline(char ret[TIMELINE_BYTES])
{
	uint8_t bytes[16];

	if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		return -EIO;
	hex_format(bytes, sizeof(bytes), ret);
	return 0;
}

int artifact_set_timeline(struct artifact *a, uint64_t generation,
			  const char *timeline, bool patient, struct err *err)
{
	struct artifact_world *w = world_get(a);
	int r;

	if (!w)
		return -EIO;
	lock_take(&w->writer_lock);
	if (w->generation != generation)
		r = err_set(err, -ESTALE, "'%s' is another database now",
			    w->path);
	else
		r = w->writable ? world_writer_locked(w, err) : -EROFS;
	if (r == 0) {
		db_set_busy(w->writer,
			    patient ? a->options.busy_ms : FOLD_BUSY_MS);
		r = db_exec(w->writer, "PRAGMA synchronous=FULL", err);
	}
	if (r == 0) {
		r = write_timeline(w, timeline, err);
		/* What comes back when the power goes is as old, not wrong. */
		if (db_exec(w->writer, "PRAGMA synchronous=NORMAL", NULL) < 0)
			w->writer = db_free(w->writer);
	}
	lock_drop(&w->writer_lock);
	world_unref(w);
	return r;
}

static void put_renumber(struct buf *b, const struct model *m, int64_t change,
			 wall_s_t time)
{
	buf_printf(b,
		   "UPDATE outboxfs_change SET change = max(change, %lld) + 1,"
		   " time = max(time, %lld) + 1;\n"
		   "UPDATE outboxfs_table SET change = n.change, time = n.time"
		   " FROM outboxfs_change AS n;\n"
		   "UPDATE outboxfs_label SET change = n.change, time = n.time"
		   " FROM outboxfs_change AS n;\n"
		   "UPDATE outboxfs_dir SET time = n.time"
		   " FROM outboxfs_change AS n;\n"
		   "UPDATE outboxfs_pov SET time = n.time",
		   (long long)change, (long long)time);
	for (int i = 0; i < m->n_slots; i++)
		buf_printf(b, ", c%d = iif(c%d > 0, n.change, 0), t%d = n.time",
			   i, i, i);
	buf_puts(b, " FROM outboxfs_change AS n;\n");
}

static int renumber(struct artifact_world *w, const char *sql, struct err *err)
{
	CLEANUP(db_rollback) struct db_txn txn = DB_TXN_NULL;
	LOCK_SCOPE(&w->writer_lock);
	int r;

	r = w->writable ? world_writer_locked(w, err) : -EROFS;
	if (r < 0)
		return r;
	db_set_busy(w->writer, FOLD_BUSY_MS);
	r = db_begin_write(w->writer, &txn);
	if (r == 0)
		r = db_exec(w->writer, sql, err);
	if (r == 0)
		r = db_commit(&txn);
	db_rollback(&txn); /* while the connection is still ours */
	/*
	 * Files are being moved about: no log may stay behind that would be
	 * taken for another file's.
	 */
	if (r == 0 &&
	    db_exec(w->writer, "PRAGMA wal_checkpoint(TRUNCATE)", NULL) < 0)
		log_debug("the log of '%s' is in use", w->path);
	return r;
}

int artifact_renumber(struct artifact *a, int64_t change, wall_s_t time,
		      struct err *err)
{
	CLEANUP(buf_deinit) struct buf b = BUF_NULL;
	struct artifact_world *w = world_get(a);
	int r;

	if (!w)
		return -EIO;
	put_renumber(&b, w->model, change, time);
	r = buf_str(&b) ? renumber(w, buf_str(&b), err) : buf_error(&b);
	world_unref(w);
	return r;
}
