/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Snapshots as trees of files, for those who show them. A snapshot never
 * changes. Ids of directories and versions are never reused. Snapshot 0 is
 * the present state, which is that of the last commit.
 *
 * Any thread. Errors as db.h; -ENOENT as said.
 */

#include "outboxfs/store/object.h"

enum tree_area {
	TREE_DATA, /* status files */
	TREE_OUTPUT,
	TREE_SETUP, /* one directory, id TREE_DIR_SETUP */
};

#define TREE_DIR_SETUP 0
#define TREE_DIR_ROOT  1 /* of data/ and output/ */

struct tree_dir {
	int64_t id;
	int64_t parent;
	bool is_pov;
	wall_s_t time;
	char name[256];
};

struct tree_file {
	int64_t version; /* id: this content, in every snapshot that has it */
	int64_t dir;     /* POV, or TREE_DIR_SETUP */
	int64_t table;
	int64_t object;
	int64_t size; /* bytes */
	wall_s_t time;
	char name[256];
};

/* A directory by id. -ENOENT: it has nothing in this snapshot. */
NODISCARD int tree_dir(struct store *store, int64_t snapshot,
		       enum tree_area area, int64_t id, struct tree_dir *ret);
/* A child by name: 1 and *ret_dir, 2 and *ret_file; -ENOENT. */
NODISCARD int tree_lookup(struct store *store, int64_t snapshot,
			  enum tree_area area, int64_t dir, const char *name,
			  struct tree_dir *ret_dir, struct tree_file *ret_file);
/*
 * Children with a cookie above after, in order of cookie: directories in
 * directories, files in POVs and setup/. The callback gets one of the two (the
 * other is NULL), and returns 0 to go on, 1 to stop, or an errno.
 */
typedef int (*tree_func_t)(const struct tree_dir *dir,
			   const struct tree_file *file, int64_t cookie,
			   void *arg);
NODISCARD int tree_list(struct store *store, int64_t snapshot,
			enum tree_area area, int64_t dir, int64_t after,
			tree_func_t func, void *arg);
/*
 * A version by id, whatever snapshots have it. present: with the time that it
 * has in output/, where paths may come to mean others. -ENOENT.
 */
NODISCARD int tree_version(struct store *store, int64_t version, bool present,
			   struct tree_file *ret);

struct tree_snapshot {
	int64_t id;
	wall_s_t time;
	int64_t params; /* object: SnapshotParams.json */
};
/* One that is kept. id 0: the last one. -ENOENT. */
NODISCARD int tree_snapshot(struct store *store, int64_t id,
			    struct tree_snapshot *ret);
/* Those that are kept, ids above after, in order. As tree_list(). */
typedef int (*tree_snapshot_func_t)(const struct tree_snapshot *s, void *arg);
NODISCARD int tree_snapshots(struct store *store, int64_t after,
			     tree_snapshot_func_t func, void *arg);

/*
 * What output/ shows otherwise since snapshot n was published (versions opened
 * and closed, names, directories that came and went): the entries to take back
 * from the kernel, by directory and name. 1: more than max; nothing was
 * called for the rest.
 */
typedef int (*tree_change_func_t)(int64_t dir, const char *name, void *arg);
NODISCARD int tree_changes(struct store *store, int64_t snapshot, size_t max,
			   tree_change_func_t func, void *arg);
