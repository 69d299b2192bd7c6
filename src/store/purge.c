/* SPDX-License-Identifier: MIT */

/*
 * A snapshot that is needed by nobody goes with what only it saw. One that a
 * mark or a ZIP needs may be no tree in snapshots/ any more and is still there
 * with all of its versions, names and directories.
 */

#include "outboxfs/store/purge.h"

#include <errno.h>
#include <fnmatch.h>
#include <string.h>

#include "outboxfs/base/clock.h"
#include "outboxfs/base/fault.h"
#include "statements.h"
#include "store/job.h"

extern const char schema_needed_sql[];

/* Versions, names and intervals that no snapshot sees that is needed. */
static int forget(struct db *db)
{
	static const size_t statements[] = {
		STORE_FORGET_NEEDED,   STORE_FORGET_SNAPSHOTS,
		STORE_FORGET_VERSIONS, STORE_FORGET_NAMES,
		STORE_FORGET_PRESENCE,
	};
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(statements); i++)
		r = store_run(db, statements[i]);
	return r;
}

/* What of one kind there is, and how one of it goes. */
struct kind {
	const char *folder;
	size_t list;
	bool spare_first; /* the latest stays in any case */
	int (*drop)(struct db *db, int64_t id);
};

static int drop_snapshot(struct db *db, int64_t id)
{
	return store_run_with(db, STORE_PURGE_SNAPSHOT, id, 0);
}

static int drop_job(struct db *db, int64_t id)
{
	int r = store_run_with(db, STORE_PURGE_JOB, id, 0);

	return r < 0 ? r : store_run_with(db, STORE_PURGE_JOB_LOG, id, 0);
}

static const struct kind kind_outbox = {
	.folder = "outbox",
	.list = STORE_PURGE_OUTBOX,
	.drop = outbox_drop_on,
};

static const struct kind kind_snapshots = {
	.folder = "snapshots",
	.list = STORE_PURGE_SNAPSHOTS,
	.spare_first = true,
	.drop = drop_snapshot,
};

static const struct kind kind_jobs = {
	.folder = "jobs",
	.list = STORE_PURGE_JOBS,
	.drop = drop_job,
};

/* rank: how many later ones of those that are asked for there are. */
static bool goes(const struct purge *p, int64_t id, wall_s_t time, int64_t rank)
{
	if (p->before && time >= p->before)
		return false;
	if (p->keep >= 0 && rank < p->keep)
		return false;
	return !p->not_job || id != p->not_job;
}

static int say(struct db *db, const struct purge *p, const char *path,
	       wall_s_t time)
{
	CLEANUP(buf_deinit) struct buf text = BUF_NULL;
	int r = p->func ? p->func(path, time, p->arg) : 0;

	if (r < 0 || !p->log_job || p->dry_run)
		return r;
	buf_printf(&text, "gone: %s", path);
	return buf_str(&text) ? job_log_on(db, p->log_job, text.data) : -ENOMEM;
}

/* The ids of what goes into ret; each is said. */
static int choose(struct db *db, const struct kind *kind, const struct purge *p,
		  struct buf *ret)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	CLEANUP(buf_deinit) struct buf path = BUF_NULL;
	int64_t rank = 0;
	int r;

	r = db_stmt(db, kind->list, &stmt);
	if (r < 0)
		return r;
	for (bool first = true; (r = db_step(stmt)) == 1; first = false) {
		int64_t id = sqlite3_column_int64(stmt, 0);
		wall_s_t time = sqlite3_column_int64(stmt, 1);
		const char *name = (const char *)sqlite3_column_text(stmt, 2);

		if (p->name && fnmatch(p->name, name, 0) != 0)
			continue;
		if (!goes(p, id, time, rank++) || (first && kind->spare_first))
			continue;
		buf_clear(&path);
		buf_printf(&path, "%s/%s", kind->folder, name);
		buf_add(ret, &id, sizeof(id));
		if (!buf_str(&path) || buf_error(ret))
			return -ENOMEM;
		r = say(db, p, path.data, time);
		if (r < 0)
			return r;
	}
	return r;
}

static int purge_kind(struct store *store, const struct kind *kind,
		      const struct purge *p)
{
	LOCK_SCOPE(&store->lock);
	CLEANUP(db_rollback) struct db_txn txn = DB_TXN_NULL;
	CLEANUP(buf_deinit) struct buf ids = BUF_NULL;
	struct db *db = store->writer;
	int64_t id;
	int r;

	r = db_exec(db, schema_needed_sql, NULL);
	if (r == 0)
		r = db_begin_write(db, &txn);
	if (r == 0)
		r = choose(db, kind, p, &ids);
	if (r < 0 || p->dry_run)
		return r;
	for (size_t i = 0; r == 0 && i < ids.len; i += sizeof(id)) {
		memcpy(&id, ids.data + i, sizeof(id));
		r = kind->drop(db, id);
	}
	if (r == 0)
		r = forget(db);
	if (r == 0)
		r = fault("purge-commit");
	if (r == 0)
		r = db_commit(&txn);
	if (r == 0)
		(void)fault("purge-committed"); /* to be killed at */
	return r;
}

int purge_outbox(struct store *store, const struct purge *p)
{
	struct purge mine = *p;

	mine.not_job = 0; /* an id of another kind */
	return purge_kind(store, &kind_outbox, &mine);
}

int purge_snapshots(struct store *store, const struct purge *p)
{
	struct purge mine = *p;

	mine.not_job = 0;
	mine.name = NULL;
	return purge_kind(store, &kind_snapshots, &mine);
}

int purge_jobs(struct store *store, const struct purge *p)
{
	struct purge mine = *p;

	mine.name = NULL;
	return purge_kind(store, &kind_jobs, &mine);
}

static int last_snapshot(struct db *db, int64_t *ret)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(db, STORE_SNAPSHOT_LAST, &stmt);
	if (r == 0)
		r = db_step(stmt);
	if (r < 0)
		return r;
	*ret = sqlite3_column_int64(stmt, 0);
	return 0;
}

static int end_output(struct db *db)
{
	int64_t last;
	int r;

	r = last_snapshot(db, &last);
	if (r == 0)
		r = store_run_with(db, STORE_PURGE_OUTPUT_VERSIONS, last, 0);
	if (r == 0)
		r = store_run_with(db, STORE_PURGE_OUTPUT_PRESENCE, last, 0);
	if (r == 0)
		r = store_run_with(db, STORE_PURGE_OUTPUT_DIRS, last,
				   clock_wall());
	if (r == 0)
		r = store_run(db, STORE_APPLY_RULES_CLEAR);
	if (r == 0)
		r = store_run(db, STORE_CAPTURED_CLEAR);
	if (r == 0)
		r = store_run(db, STORE_PURGE_OUTPUT_CHANNELS);
	return r < 0 ? r : forget(db);
}

int purge_output(struct store *store, bool dry_run)
{
	LOCK_SCOPE(&store->lock);
	CLEANUP(db_rollback) struct db_txn txn = DB_TXN_NULL;
	int r;

	/* A draft counts on the state that was there when it was begun. */
	if (store->draft)
		return -EBUSY;
	r = db_exec(store->writer, schema_needed_sql, NULL);
	if (r == 0)
		r = db_begin_write(store->writer, &txn);
	if (r == 0 && !dry_run)
		r = end_output(store->writer);
	if (r == 0)
		r = fault("purge-commit");
	if (r == 0 && !dry_run)
		r = db_commit(&txn);
	if (r == 0)
		(void)fault("purge-committed"); /* to be killed at */
	return r;
}
