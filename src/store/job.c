/* SPDX-License-Identifier: MIT */
#include "outboxfs/store/job.h"

#include <errno.h>
#include <string.h>

#include "outboxfs/base/clock.h"
#include "outboxfs/base/fault.h"
#include "statements.h"
#include "store/job.h"

static const char *const state_names[] = {
	[JOB_QUEUED] = "queued",
	[JOB_PROCESSING] = "processing",
	[JOB_ABORTING] = "aborting",
	[JOB_DONE] = "done",
	[JOB_FAILED] = "failed",
	[JOB_ABORTED] = "aborted",
	[JOB_LIMIT_REACHED] = "limit_reached",
};

static const char aborted_text[] = "it was aborted";

const char *job_state_name(enum job_state state)
{
	return state_names[state];
}

static int job_state_parse(const char *name, enum job_state *ret)
{
	for (size_t i = 0; name && i < ARRAY_SIZE(state_names); i++)
		if (strcmp(name, state_names[i]) == 0) {
			*ret = (enum job_state)i;
			return 0;
		}
	return -EBADMSG;
}

void job_deinit(struct job *job)
{
	free(job->kind);
	free(job->request);
	free(job->requested_by);
	free(job->error);
	free(job->file);
	free(job->counts);
	*job = (struct job)JOB_NULL;
}

/* One statement that changes a job: 1, or 0 where no row was meant. */
static int job_step(struct db *db, sqlite3_stmt *stmt)
{
	int r = db_step(stmt);

	return r < 0 ? r : sqlite3_changes(db_handle(db)) > 0;
}

int job_submit(struct store *store, const char *kind, const char *request,
	       const char *requested_by, unsigned max_queued, int64_t *ret)
{
	LOCK_SCOPE(&store->lock);
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	if (!store->path)
		return -EROFS;
	r = fault("job-submit");
	if (r == 0)
		r = db_stmt(store->writer, STORE_JOB_ADD, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_text(stmt, 1, kind, -1, SQLITE_STATIC);
	sqlite3_bind_text(stmt, 2, request, -1, SQLITE_STATIC);
	sqlite3_bind_text(stmt, 3, requested_by, -1, SQLITE_STATIC);
	sqlite3_bind_int64(stmt, 4, clock_wall());
	sqlite3_bind_int64(stmt, 5, max_queued);
	r = job_step(store->writer, stmt);
	if (r < 0)
		return r;
	if (r == 0)
		return -EDQUOT;
	*ret = sqlite3_last_insert_rowid(db_handle(store->writer));
	return 0;
}

static int copy_text(sqlite3_stmt *stmt, int column, char **ret)
{
	const unsigned char *text = sqlite3_column_text(stmt, column);

	if (!text)
		return 0;
	*ret = strdup((const char *)text);
	return *ret ? 0 : -ENOMEM;
}

static int read_job(sqlite3_stmt *stmt, struct job *ret)
{
	int r;

	ret->id = sqlite3_column_int64(stmt, 0);
	ret->error_number = sqlite3_column_int(stmt, 2);
	ret->snapshot = sqlite3_column_int64(stmt, 3);
	ret->queued_at = sqlite3_column_int64(stmt, 4);
	ret->started_at = sqlite3_column_int64(stmt, 5);
	ret->finished_at = sqlite3_column_int64(stmt, 6);
	r = job_state_parse((const char *)sqlite3_column_text(stmt, 1),
			    &ret->state);
	if (r == 0)
		r = copy_text(stmt, 7, &ret->kind);
	if (r == 0)
		r = copy_text(stmt, 8, &ret->request);
	if (r == 0)
		r = copy_text(stmt, 9, &ret->requested_by);
	if (r == 0)
		r = copy_text(stmt, 10, &ret->error);
	if (r == 0)
		r = copy_text(stmt, 11, &ret->file);
	if (r == 0)
		r = copy_text(stmt, 12, &ret->counts);
	return r;
}

static int get_on(struct db *db, int64_t id, struct job *ret)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	CLEANUP(job_deinit) struct job job = JOB_NULL;
	int r;

	r = db_stmt(db, STORE_JOB_GET, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, id);
	r = db_step(stmt);
	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	r = read_job(stmt, &job);
	if (r < 0)
		return r;
	job_deinit(ret);
	*ret = job;
	job = (struct job)JOB_NULL;
	return 0;
}

static int latest_on(struct db *db, int64_t *ret)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(db, STORE_JOB_LATEST, &stmt);
	if (r == 0)
		r = db_step(stmt);
	if (r < 0)
		return r;
	*ret = sqlite3_column_int64(stmt, 0);
	return *ret ? 0 : -ENOENT;
}

int job_get(struct store *store, int64_t id, struct job *ret)
{
	struct db *db;
	int r;

	r = store_reader_get(store, &db);
	if (r < 0)
		return r;
	if (id == 0)
		r = latest_on(db, &id);
	if (r == 0)
		r = get_on(db, id, ret);
	store_reader_put(store, db);
	return r;
}

static int list_on(struct db *db, int64_t after, job_func_t func, void *arg)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	enum job_state state;
	int r;

	r = db_stmt(db, STORE_JOB_LIST, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, after);
	while ((r = db_step(stmt)) == 1) {
		r = job_state_parse((const char *)sqlite3_column_text(stmt, 1),
				    &state);
		if (r == 0)
			r = func(sqlite3_column_int64(stmt, 0), state,
				 sqlite3_column_int64(stmt, 2), arg);
		if (r != 0)
			return r < 0 ? r : 0;
	}
	return r;
}

int job_list(struct store *store, int64_t after, job_func_t func, void *arg)
{
	struct db *db;
	int r;

	r = store_reader_get(store, &db);
	if (r < 0)
		return r;
	r = list_on(db, after, func, arg);
	store_reader_put(store, db);
	return r;
}

/* Who was to end these has died. */
static int end_aborting(struct db *db)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(db, STORE_JOB_END_ABORTING, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, clock_wall());
	sqlite3_bind_int64(stmt, 2, ECANCELED);
	sqlite3_bind_text(stmt, 3, aborted_text, -1, SQLITE_STATIC);
	return db_step(stmt);
}

/* 1: *ret is the job that comes next. */
static int next_on(struct db *db, int64_t *ret)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(db, STORE_JOB_NEXT, &stmt);
	if (r == 0)
		r = db_step(stmt);
	if (r == 1)
		*ret = sqlite3_column_int64(stmt, 0);
	return r;
}

static int claim_on(struct db *db, int64_t id)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(db, STORE_JOB_CLAIM, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, id);
	sqlite3_bind_int64(stmt, 2, clock_wall());
	return job_step(db, stmt);
}

int job_claim(struct store *store, struct job *ret)
{
	LOCK_SCOPE(&store->lock);
	CLEANUP(db_rollback) struct db_txn txn = DB_TXN_NULL;
	int64_t id = 0;
	int claimed;
	int r;

	r = db_begin_write(store->writer, &txn);
	if (r == 0)
		r = end_aborting(store->writer);
	if (r < 0)
		return r;
	r = next_on(store->writer, &id);
	if (r == 1)
		r = claim_on(store->writer, id);
	if (r < 0)
		return r;
	claimed = r;
	r = claimed ? get_on(store->writer, id, ret) : 0;
	if (r == 0)
		r = fault("job-claim");
	if (r == 0)
		r = db_commit(&txn);
	return r < 0 ? r : claimed;
}

static int exists_on(struct db *db, int64_t id)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(db, STORE_JOB_GET, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, id);
	return db_step(stmt);
}

/* Why an update found no job that could be changed. */
static int why_not(struct db *db, int64_t id)
{
	int r = exists_on(db, id);

	if (r < 0)
		return r;
	return r == 0 ? -ENOENT : -EALREADY;
}

int job_abort(struct store *store, int64_t id)
{
	LOCK_SCOPE(&store->lock);
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = fault("job-abort");
	if (r == 0)
		r = db_stmt(store->writer, STORE_JOB_ABORT, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, id);
	sqlite3_bind_int64(stmt, 2, clock_wall());
	sqlite3_bind_int64(stmt, 3, ECANCELED);
	sqlite3_bind_text(stmt, 4, aborted_text, -1, SQLITE_STATIC);
	r = job_step(store->writer, stmt);
	if (r == 0)
		return why_not(store->writer, id);
	return r < 0 ? r : 0;
}

int job_end_on(struct db *db, int64_t id, const struct job_ending *e)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(db, STORE_JOB_END, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, id);
	sqlite3_bind_text(stmt, 2, job_state_name(e->state), -1, SQLITE_STATIC);
	sqlite3_bind_int64(stmt, 3, e->error_number);
	sqlite3_bind_text(stmt, 4, e->error, -1, SQLITE_STATIC);
	sqlite3_bind_text(stmt, 5, e->counts, -1, SQLITE_STATIC);
	sqlite3_bind_int64(stmt, 6, clock_wall());
	if (e->snapshot)
		sqlite3_bind_int64(stmt, 7, e->snapshot);
	sqlite3_bind_text(stmt, 8, e->file, -1, SQLITE_STATIC);
	r = job_step(db, stmt);
	if (r == 0)
		return why_not(db, id);
	return r < 0 ? r : 0;
}

int job_end(struct store *store, int64_t id, enum job_state state,
	    int error_number, const char *error, const char *counts)
{
	LOCK_SCOPE(&store->lock);
	const struct job_ending ending = {
		.state = state,
		.error_number = error_number,
		.error = error,
		.counts = counts,
	};
	int r;

	r = fault("job-end");
	return r < 0 ? r : job_end_on(store->writer, id, &ending);
}

int job_log_on(struct db *db, int64_t id, const char *text)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = fault("job-log");
	if (r == 0)
		r = db_stmt(db, STORE_JOB_LOG_ADD, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, id);
	sqlite3_bind_int64(stmt, 2, clock_wall());
	sqlite3_bind_text(stmt, 3, text, -1, SQLITE_STATIC);
	r = job_step(db, stmt);
	if (r == 0)
		return -ENOENT;
	return r < 0 ? r : 0;
}

int job_log(struct store *store, int64_t id, const char *text)
{
	LOCK_SCOPE(&store->lock);

	return job_log_on(store->writer, id, text);
}

int job_log_all(struct store *store, int64_t id, const char *texts, size_t n)
{
	LOCK_SCOPE(&store->lock);
	CLEANUP(db_rollback) struct db_txn txn = DB_TXN_NULL;
	int r;

	if (n == 0)
		return 0;
	r = db_begin_write(store->writer, &txn);
	for (size_t at = 0; r == 0 && at < n; at += strlen(texts + at) + 1)
		r = job_log_on(store->writer, id, texts + at);
	return r < 0 ? r : db_commit(&txn);
}

static int read_log(struct db *db, int64_t id, struct buf *ret)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	char time[CLOCK_TEXT_BYTES];
	int r;

	r = db_stmt(db, STORE_JOB_LOG_READ, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, id);
	while ((r = db_step(stmt)) == 1) {
		buf_puts(ret,
			 clock_format(sqlite3_column_int64(stmt, 0), time));
		buf_putc(ret, ' ');
		buf_add(ret, sqlite3_column_text(stmt, 1),
			(size_t)sqlite3_column_bytes(stmt, 1));
		buf_putc(ret, '\n');
	}
	return r < 0 ? r : buf_error(ret);
}

int job_read_log(struct store *store, int64_t id, struct buf *ret)
{
	struct db *db;
	int r;

	r = store_reader_get(store, &db);
	if (r < 0)
		return r;
	r = exists_on(db, id);
	if (r >= 0)
		r = r == 0 ? -ENOENT : read_log(db, id, ret);
	store_reader_put(store, db);
	return r;
}
