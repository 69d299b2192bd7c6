/* SPDX-License-Identifier: MIT */

/*
 * Trees are read from intervals, as they stand in the index: nothing is built
 * for a snapshot. A listing goes by id from where the last one ended, so that
 * it may stop anywhere and go on in another call.
 */

#include "outboxfs/store/tree.h"

#include <errno.h>
#include <stdio.h>

#include "statements.h"
#include "store/private.h"

#define PRESENT (UNTIL_OPEN - 1) /* only what is open lasts until then */

static int64_t state_of(int64_t snapshot)
{
	return snapshot ? snapshot : PRESENT;
}

/* enum model_role of an area's files. */
static int role_of(enum tree_area area)
{
	switch (area) {
	case TREE_DATA:
		return 2;
	case TREE_OUTPUT:
		return 1;
	case TREE_SETUP:
		break;
	}
	return 0;
}

static void copy_name(sqlite3_stmt *stmt, int column, char *ret, size_t size)
{
	const char *text = (const char *)sqlite3_column_text(stmt, column);

	(void)snprintf(ret, size, "%s", text ? text : "");
}

static void read_dir(sqlite3_stmt *stmt, struct tree_dir *ret)
{
	ret->id = sqlite3_column_int64(stmt, 0);
	ret->parent = sqlite3_column_int64(stmt, 1);
	ret->is_pov = sqlite3_column_int(stmt, 2) != 0;
	ret->time = sqlite3_column_int64(stmt, 3);
	copy_name(stmt, 4, ret->name, sizeof(ret->name));
}

static void read_file(sqlite3_stmt *stmt, wall_s_t least, struct tree_file *ret)
{
	ret->version = sqlite3_column_int64(stmt, 0);
	ret->dir = sqlite3_column_int64(stmt, 1);
	ret->table = sqlite3_column_int64(stmt, 2);
	ret->object = sqlite3_column_int64(stmt, 3);
	ret->size = sqlite3_column_int64(stmt, 4);
	ret->time = sqlite3_column_int64(stmt, 5);
	if (ret->time < least)
		ret->time = least;
	copy_name(stmt, 6, ret->name, sizeof(ret->name));
}

/* What a statement of tree.sql asks for. */
struct place {
	int64_t snapshot;
	enum tree_area area;
	int64_t dir;
	int64_t after;
	const char *name;
};

static int bind(struct db *db, size_t statement, const struct place *p,
		sqlite3_stmt **ret)
{
	bool files = statement == STORE_TREE_FILES ||
		     statement == STORE_TREE_FIND_FILE;
	int r;

	r = db_stmt(db, statement, ret);
	if (r < 0)
		return r;
	sqlite3_bind_int64(*ret, 1, state_of(p->snapshot));
	sqlite3_bind_int(*ret, 2, files ? role_of(p->area) : (int)p->area);
	sqlite3_bind_int64(*ret, 3, p->dir);
	if (p->name)
		sqlite3_bind_text(*ret, 4, p->name, -1, SQLITE_STATIC);
	else if (sqlite3_bind_parameter_count(*ret) > 3)
		sqlite3_bind_int64(*ret, 4, p->after);
	return 0;
}

/* A directory that is always there, whatever it has. */
static int top_on(struct db *db, const struct place *p, struct tree_dir *ret)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(db,
		    p->area == TREE_SETUP ? STORE_TREE_SETUP : STORE_TREE_ROOT,
		    &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, state_of(p->snapshot));
	r = db_step(stmt);
	if (r < 0)
		return r;
	*ret = (struct tree_dir){
		.id = p->dir,
		.time = r == 1 ? sqlite3_column_int64(stmt, 0) : 0,
	};
	return 0;
}

static int dir_on(struct db *db, const struct place *p, struct tree_dir *ret)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	if (p->dir == (p->area == TREE_SETUP ? TREE_DIR_SETUP : TREE_DIR_ROOT))
		return top_on(db, p, ret);
	if (p->area == TREE_SETUP)
		return -ENOENT;
	r = bind(db, STORE_TREE_DIR, p, &stmt);
	if (r == 0)
		r = db_step(stmt);
	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	read_dir(stmt, ret);
	return 0;
}

int tree_dir(struct store *store, int64_t snapshot, enum tree_area area,
	     int64_t id, struct tree_dir *ret)
{
	const struct place p = {
		.snapshot = snapshot,
		.area = area,
		.dir = id,
	};
	struct db *db;
	int r;

	r = store_reader_get(store, &db);
	if (r < 0)
		return r;
	r = dir_on(db, &p, ret);
	store_reader_put(store, db);
	return r;
}

static int find_dir(struct db *db, const struct place *p, struct tree_dir *ret)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	if (p->area == TREE_SETUP)
		return 0;
	r = bind(db, STORE_TREE_FIND_DIR, p, &stmt);
	if (r == 0)
		r = db_step(stmt);
	if (r == 1)
		read_dir(stmt, ret);
	return r;
}

/*
 * What a path in output/ shows may have been another POV's before: then its
 * files are at least as young as its names. Paths of snapshots never change.
 */
static int name_time(struct db *db, int64_t dir, wall_s_t *ret)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	*ret = 0;
	r = db_stmt(db, STORE_TREE_NAME_TIME, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, dir);
	r = db_step(stmt);
	if (r == 1)
		*ret = sqlite3_column_int64(stmt, 0);
	return r < 0 ? r : 0;
}

static int place_time(struct db *db, const struct place *p, wall_s_t *ret)
{
	*ret = 0;
	if (p->snapshot || p->area != TREE_OUTPUT)
		return 0;
	return name_time(db, p->dir, ret);
}

static int find_file(struct db *db, const struct place *p,
		     struct tree_file *ret)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	wall_s_t least;
	int r;

	r = place_time(db, p, &least);
	if (r == 0)
		r = bind(db, STORE_TREE_FIND_FILE, p, &stmt);
	if (r == 0)
		r = db_step(stmt);
	if (r == 1)
		read_file(stmt, least, ret);
	return r;
}

int tree_lookup(struct store *store, int64_t snapshot, enum tree_area area,
		int64_t dir, const char *name, struct tree_dir *ret_dir,
		struct tree_file *ret_file)
{
	const struct place p = {
		.snapshot = snapshot,
		.area = area,
		.dir = dir,
		.name = name,
	};
	struct db *db;
	int r;

	r = store_reader_get(store, &db);
	if (r < 0)
		return r;
	r = find_dir(db, &p, ret_dir);
	if (r == 0) {
		r = find_file(db, &p, ret_file);
		if (r >= 0)
			r = r == 1 ? 2 : -ENOENT;
	}
	store_reader_put(store, db);
	return r;
}

/* 1: stopped. */
static int list_dirs(struct db *db, const struct place *p, tree_func_t func,
		     void *arg)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	struct tree_dir dir;
	int r;

	if (p->area == TREE_SETUP)
		return 0;
	r = bind(db, STORE_TREE_DIRS, p, &stmt);
	if (r < 0)
		return r;
	while ((r = db_step(stmt)) == 1) {
		read_dir(stmt, &dir);
		r = func(&dir, NULL, dir.id, arg);
		if (r != 0)
			return r;
	}
	return r;
}

static int list_files(struct db *db, const struct place *p, tree_func_t func,
		      void *arg)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	struct tree_file file;
	wall_s_t least;
	int r;

	r = place_time(db, p, &least);
	if (r == 0)
		r = bind(db, STORE_TREE_FILES, p, &stmt);
	if (r < 0)
		return r;
	while ((r = db_step(stmt)) == 1) {
		read_file(stmt, least, &file);
		r = func(NULL, &file, file.table, arg);
		if (r != 0)
			return r;
	}
	return r;
}

int tree_list(struct store *store, int64_t snapshot, enum tree_area area,
	      int64_t dir, int64_t after, tree_func_t func, void *arg)
{
	const struct place p = {
		.snapshot = snapshot,
		.area = area,
		.dir = dir,
		.after = after,
	};
	struct db *db;
	int r;

	r = store_reader_get(store, &db);
	if (r < 0)
		return r;
	/* One of the two has nothing: POVs have no directories beneath. */
	r = list_dirs(db, &p, func, arg);
	if (r == 0)
		r = list_files(db, &p, func, arg);
	store_reader_put(store, db);
	return r < 0 ? r : 0;
}

static int version_on(struct db *db, int64_t version, bool present,
		      struct tree_file *ret)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	wall_s_t least;
	int r;

	r = db_stmt(db, STORE_TREE_VERSION, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, version);
	r = db_step(stmt);
	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	read_file(stmt, 0, ret);
	if (!present)
		return 0;
	r = name_time(db, ret->dir, &least);
	if (ret->time < least)
		ret->time = least;
	return r;
}

int tree_version(struct store *store, int64_t version, bool present,
		 struct tree_file *ret)
{
	struct db *db;
	int r;

	r = store_reader_get(store, &db);
	if (r < 0)
		return r;
	r = version_on(db, version, present, ret);
	store_reader_put(store, db);
	return r;
}

static void read_snapshot(sqlite3_stmt *stmt, struct tree_snapshot *ret)
{
	ret->id = sqlite3_column_int64(stmt, 0);
	ret->time = sqlite3_column_int64(stmt, 1);
	ret->params = sqlite3_column_int64(stmt, 2);
}

static int snapshot_on(struct db *db, int64_t id, struct tree_snapshot *ret)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(db, id ? STORE_TREE_SNAPSHOT : STORE_TREE_SNAPSHOT_LAST,
		    &stmt);
	if (r < 0)
		return r;
	if (id)
		sqlite3_bind_int64(stmt, 1, id);
	r = db_step(stmt);
	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	read_snapshot(stmt, ret);
	return 0;
}

int tree_snapshot(struct store *store, int64_t id, struct tree_snapshot *ret)
{
	struct db *db;
	int r;

	r = store_reader_get(store, &db);
	if (r < 0)
		return r;
	r = snapshot_on(db, id, ret);
	store_reader_put(store, db);
	return r;
}

static int snapshots_on(struct db *db, int64_t after, tree_snapshot_func_t func,
			void *arg)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	struct tree_snapshot s;
	int r;

	r = db_stmt(db, STORE_TREE_SNAPSHOTS, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, after);
	while ((r = db_step(stmt)) == 1) {
		read_snapshot(stmt, &s);
		r = func(&s, arg);
		if (r != 0)
			return r < 0 ? r : 0;
	}
	return r;
}

int tree_snapshots(struct store *store, int64_t after,
		   tree_snapshot_func_t func, void *arg)
{
	struct db *db;
	int r;

	r = store_reader_get(store, &db);
	if (r < 0)
		return r;
	r = snapshots_on(db, after, func, arg);
	store_reader_put(store, db);
	return r;
}

static int changes_on(struct db *db, int64_t snapshot, size_t max,
		      tree_change_func_t func, void *arg)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	size_t n = 0;
	int r;

	r = db_stmt(db, STORE_TREE_CHANGES, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, snapshot);
	sqlite3_bind_int64(stmt, 2, (int64_t)max + 1);
	while ((r = db_step(stmt)) == 1) {
		if (n++ == max)
			return 1;
		r = func(sqlite3_column_int64(stmt, 0),
			 (const char *)sqlite3_column_text(stmt, 1), arg);
		if (r < 0)
			return r;
	}
	return r;
}

int tree_changes(struct store *store, int64_t snapshot, size_t max,
		 tree_change_func_t func, void *arg)
{
	struct db *db;
	int r;

	r = store_reader_get(store, &db);
	if (r < 0)
		return r;
	r = changes_on(db, snapshot, max, func, arg);
	store_reader_put(store, db);
	return r;
}
