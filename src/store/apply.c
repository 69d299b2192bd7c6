/* SPDX-License-Identifier: MIT */

/*
 * What was staged becomes a snapshot, in one transaction. Invariants that it
 * keeps:
 *
 *  1. A POV's table has at most one open version, and intervals of the same
 *     do not overlap; the time of a version is greater than its former one's.
 *  2. dir.status and dir.output count present children (a POV: open versions),
 *     and an interval of presence is open exactly if the count is not zero.
 *  3. A directory of a POV that has open versions is present, and so are all
 *     above it.
 *
 * The cost is that of what was staged, except where all was looked at.
 */

#include <errno.h>
#include <stdio.h>

#include "outboxfs/base/clock.h"
#include "outboxfs/base/fault.h"
#include "statements.h"
#include "store/draft.h"
#include "store/job.h"

/* A statement that knows the snapshot, or no parameter. */
static int run_all(struct db *db, const size_t *statements, size_t n,
		   int64_t snapshot)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++)
		r = store_run_with(db, statements[i], snapshot, 0);
	return r;
}

static int add_snapshot(struct draft *d, const struct draft_head *head)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	struct db *db = draft_db(d);
	int r;

	r = db_stmt(db, STORE_APPLY_SNAPSHOT, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, head->time);
	sqlite3_bind_int(stmt, 2, head->setup);
	sqlite3_bind_int(stmt, 3, head->data);
	sqlite3_bind_int64(stmt, 4, head->job);
	r = db_step(stmt);
	if (r == 0)
		d->snapshot = sqlite3_last_insert_rowid(db_handle(db));
	return r;
}

/* Objects, tables, values and their names, directories. */
static int apply_things(struct draft *d, wall_s_t time)
{
	static const size_t statements[] = {
		STORE_APPLY_OBJECTS, STORE_APPLY_TBLS,
		STORE_APPLY_VALUES,  STORE_APPLY_MISSING,
		STORE_APPLY_RENAMED, STORE_APPLY_NAMES_END,
		STORE_APPLY_NAMES,   STORE_APPLY_FILE_OBJECTS,
	};
	struct db *db = draft_db(d);
	int64_t lost = 0;
	int r;

	r = run_all(db, statements, ARRAY_SIZE(statements), d->snapshot);
	/* One second less: what changes beneath it now makes it the time. */
	if (r == 0)
		r = store_run_with(db, STORE_APPLY_DIRS, time - 1, 0);
	if (r == 0)
		r = store_number(db, STORE_APPLY_FILE_LOST, &lost);
	return r == 0 && lost ? -EBADMSG : r;
}

static int apply_versions(struct draft *d)
{
	static const size_t always[] = {STORE_APPLY_CHANGED, STORE_APPLY_GONE};
	static const size_t then[] = {
		STORE_APPLY_CLOSE,
		STORE_APPLY_OPEN,
		STORE_APPLY_DELTA,
		STORE_APPLY_TOUCHED,
	};
	struct db *db = draft_db(d);
	int r;

	r = run_all(db, always, ARRAY_SIZE(always), d->snapshot);
	if (r == 0 && d->all_povs)
		r = store_run(db, STORE_APPLY_GONE_ALL);
	if (r == 0 && d->all_setup)
		r = store_run(db, STORE_APPLY_GONE_SETUP);
	if (r == 0)
		r = run_all(db, then, ARRAY_SIZE(then), d->snapshot);
	return r;
}

/* Counts of children, level by level upwards; then who came and went. */
static int apply_counts(struct draft *d, wall_s_t time)
{
	static const size_t each[] = {
		STORE_APPLY_UP,
		STORE_APPLY_COUNT,
		STORE_APPLY_RAISE,
	};
	static const size_t then[] = {
		STORE_APPLY_PRESENCE_END,
		STORE_APPLY_PRESENCE,
	};
	struct db *db = draft_db(d);
	int64_t level;
	int r;

	r = store_number(db, STORE_APPLY_TOP, &level);
	/* The root has nothing above it: the last round leaves that out. */
	for (; r == 0 && level >= 0; level--)
		r = run_all(db, each, level ? ARRAY_SIZE(each) : 2, level);
	if (r == 0)
		r = run_all(db, then, ARRAY_SIZE(then), d->snapshot);
	if (r == 0)
		r = store_run_with(db, STORE_APPLY_TIMES, time, 0);
	return r;
}

static int apply_povs(struct draft *d)
{
	struct db *db = draft_db(d);
	int r;

	r = store_run(db, STORE_APPLY_ORPHANS);
	if (r == 0 && d->all_povs)
		r = store_run(db, STORE_APPLY_ORPHANS_GONE);
	if (r == 0)
		r = store_run(db, d->all_povs ? STORE_APPLY_RULES_CLEAR
					      : STORE_APPLY_RULES_END);
	return r < 0 ? r : store_run(db, STORE_APPLY_RULES);
}

/*
 * Where known facts were saved meanwhile under a timeline that came after this
 * one, the database bears that, and what was captured holds under it, too.
 */
static int apply_timeline(struct draft *d, const char *timeline)
{
	struct db *db = draft_db(d);
	int r = d->store->n_timelines == d->n_timelines;

	if (!timeline || !*timeline)
		return 0;
	if (r == 0)
		r = store_setting_is(db, "next_timeline", timeline);
	return r == 1 ? store_setting_put(db, "timeline", timeline) : r;
}

static int apply_captured(struct draft *d, const struct draft_head *head)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(draft_db(d), STORE_APPLY_CAPTURED, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, d->snapshot);
	sqlite3_bind_int(stmt, 2, head->setup);
	sqlite3_bind_int(stmt, 3, head->data);
	sqlite3_bind_int64(stmt, 4, head->change);
	sqlite3_bind_text(stmt, 5, head->model, -1, SQLITE_STATIC);
	r = db_step(stmt);
	return r < 0 ? r : apply_timeline(d, head->timeline);
}

static int apply_all(struct draft *d, const struct draft_head *head,
		     struct err *err)
{
	int r;

	if (d->store->n_forgotten != d->n_forgotten)
		return err_set(
			err, -ESTALE,
			"the database was replaced while it was read: export again");
	r = add_snapshot(d, head);
	if (r == 0)
		r = fault("draft-apply");
	if (r == 0)
		r = pack_append_index(d->append, draft_db(d));
	if (r == 0)
		r = apply_things(d, head->time);
	if (r == 0)
		r = apply_versions(d);
	if (r == 0)
		r = apply_counts(d, head->time);
	if (r == 0)
		r = apply_povs(d);
	if (r == 0)
		r = store_run(draft_db(d), STORE_APPLY_KNOWN);
	if (r == 0)
		r = apply_captured(d, head);
	if (r == 0)
		r = store_number(draft_db(d), STORE_APPLY_LAST_OUTBOX,
				 &d->outbox);
	d->outbox++;
	/* A constraint: the store contradicts itself. */
	if (r == -EEXIST)
		r = -EBADMSG;
	if (r < 0)
		return err_set(err, r,
			       "cannot apply a snapshot to the store: %s",
			       strerrordesc_np(-r));
	return 0;
}

int draft_apply(struct draft *d, const struct draft_head *head,
		int64_t *ret_snapshot, struct err *err)
{
	int r;

	r = pack_append_sync(d->append);
	if (r < 0)
		return err_set(err, r, "cannot write packs of the store: %s",
			       strerrordesc_np(-r));
	r = db_commit(&d->staging);
	if (r < 0)
		return err_set(err, r, "cannot write temporary files: %s",
			       strerrordesc_np(-r));
	lock_take(&d->store->lock);
	r = db_begin_write(d->db, &d->txn);
	if (r < 0) {
		lock_drop(&d->store->lock);
		return err_set(err, r, "cannot write to the store: %s",
			       strerrordesc_np(-r));
	}
	d->applied = true;
	d->job = head->job;
	r = apply_all(d, head, err);
	if (r == 0)
		*ret_snapshot = d->snapshot;
	return r;
}

int draft_select(struct draft *d, int64_t pov, int what)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(draft_db(d), STORE_DRAFT_SELECT, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, d->outbox);
	sqlite3_bind_int64(stmt, 2, pov);
	sqlite3_bind_int(stmt, 3, what);
	return db_step(stmt);
}

static int stage_document(struct draft *d, const void *data, size_t n,
			  struct object *ret)
{
	CLEANUP(object_writer_freep) struct object_writer *w = NULL;
	int r;

	r = object_writer_new(d, &w);
	if (r == 0)
		r = object_add(w, data, n);
	return r < 0 ? r : object_end(w, 0, ret);
}

static int object_id(struct db *db, const uint8_t sha256[SHA256_BYTES],
		     int64_t *ret)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(db, STORE_DRAFT_OBJECT_ID, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_blob(stmt, 1, sha256, SHA256_BYTES, SQLITE_STATIC);
	r = db_step(stmt);
	if (r <= 0)
		return r < 0 ? r : -EBADMSG;
	*ret = sqlite3_column_int64(stmt, 0);
	return 0;
}

int draft_document(struct draft *d, const void *data, size_t n,
		   struct object *ret)
{
	struct object o;
	int r;

	r = fault("draft-document");
	if (r == 0)
		r = stage_document(d, data, n, &o);
	if (r < 0)
		return r;
	d->written = true;
	r = store_run(draft_db(d), STORE_APPLY_OBJECTS);
	if (r == 0)
		r = object_id(draft_db(d), o.sha256, &o.id);
	return r < 0 ? r : object_get_on(draft_db(d), o.id, ret);
}

/* 1: a ZIP has this name. */
static int find_outbox(struct draft *d, const char *name, int64_t *ret,
		       wall_s_t *ret_time)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(draft_db(d), STORE_OUTBOX_FIND, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_text(stmt, 1, name, -1, SQLITE_STATIC);
	r = db_step(stmt);
	if (r == 1) {
		*ret = sqlite3_column_int64(stmt, 0);
		*ret_time = sqlite3_column_int64(stmt, 5);
	}
	return r;
}

static int add_outbox(struct draft *d, const struct draft_outbox *o,
		      wall_s_t time)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(draft_db(d), STORE_DRAFT_OUTBOX_ADD, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, d->outbox);
	sqlite3_bind_text(stmt, 2, o->name, -1, SQLITE_STATIC);
	sqlite3_bind_text(stmt, 3, o->type, -1, SQLITE_STATIC);
	sqlite3_bind_int64(stmt, 4, d->snapshot);
	sqlite3_bind_int(stmt, 5, o->selected);
	sqlite3_bind_int64(stmt, 6, o->params);
	sqlite3_bind_int64(stmt, 7, o->package);
	sqlite3_bind_int64(stmt, 8, o->bytes);
	sqlite3_bind_int64(stmt, 9, o->entries);
	sqlite3_bind_int64(stmt, 10, time);
	sqlite3_bind_int64(stmt, 11, d->job);
	return db_step(stmt);
}

static int move_mark(struct draft *d, const char *channel)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(draft_db(d), STORE_DRAFT_CHANNEL_SET, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_text(stmt, 1, channel, -1, SQLITE_STATIC);
	sqlite3_bind_int64(stmt, 2, d->snapshot);
	sqlite3_bind_int64(stmt, 3, clock_wall());
	return db_step(stmt);
}

static int end_job(struct draft *d, const struct draft_outbox *o)
{
	const struct job_ending ending = {
		.state = JOB_DONE,
		.counts = o->counts,
		.file = o->name,
		.snapshot = d->snapshot,
	};

	return d->job ? job_end_on(draft_db(d), d->job, &ending) : 0;
}

int draft_outbox(struct draft *d, const struct draft_outbox *o, int64_t *ret_id,
		 struct err *err)
{
	wall_s_t time = clock_wall();
	wall_s_t former = 0;
	int64_t id = 0;
	int r;

	r = fault("draft-outbox");
	if (r == 0)
		r = find_outbox(d, o->name, &id, &former);
	if (r == 1 && !o->overwrite)
		return err_set(err, -EEXIST, "'outbox/%s' is there already",
			       o->name);
	if (r == 1)
		r = outbox_drop_on(draft_db(d), id);
	/* Another ZIP under the same name must not look like the same. */
	if (r == 0)
		r = add_outbox(d, o, time > former ? time : former + 1);
	if (r == 0 && o->channel)
		r = move_mark(d, o->channel);
	if (r == 0 && o->params)
		r = store_run_with(draft_db(d), STORE_DRAFT_PARAMS, d->snapshot,
				   o->params);
	if (r == 0)
		r = end_job(d, o);
	if (r < 0)
		return err_set(err, r == -EEXIST ? -EBADMSG : r,
			       "cannot put 'outbox/%s' into the store: %s",
			       o->name, strerrordesc_np(-r));
	d->published = true;
	*ret_id = d->outbox;
	return 0;
}

int draft_commit(struct draft *d, struct err *err)
{
	int r = 0;

	if (!d->published)
		r = store_run_with(draft_db(d), STORE_DRAFT_SELECTION_DROP,
				   d->outbox, 0);
	if (r == 0 && d->written)
		r = pack_append_sync(d->append);
	if (r == 0 && d->written)
		r = pack_append_index(d->append, draft_db(d));
	if (r == 0)
		r = fault("draft-commit");
	if (r < 0)
		return err_set(err, r, "cannot complete a snapshot: %s",
			       strerrordesc_np(-r));
	/* A commit that fails may yet be found on the disk. */
	d->committed = true;
	r = db_commit(&d->txn);
	if (r < 0)
		return err_set(err, r,
			       "cannot commit a snapshot to the store: %s",
			       strerrordesc_np(-r));
	d->applied = false;
	lock_drop(&d->store->lock);
	(void)fault("draft-committed"); /* to be killed at */
	return 0;
}
