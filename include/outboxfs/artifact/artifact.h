/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * An adopted database as the rest of outboxfs sees it: POVs and their
 * directories, numbered; what changed and when; rows as CSV. No SQL leaks
 * above this header.
 *
 * All reading happens in an artifact_read: one consistent, latest committed
 * state. Beginning one notices what others have done to the database since
 * the last: commits (open marks are folded first), a changed schema, another
 * file in its place.
 *
 * Any thread may use a struct artifact; an artifact_read has one user.
 */

#include <sys/types.h>

#include "outboxfs/artifact/model.h"
#include "outboxfs/base/name.h"

struct artifact;

struct artifact_options {
	int busy_ms;   /* how long a patient caller waits for a lock */
	int cache_kib; /* page cache of each connection */
	unsigned n_connections_max;
};

#define ARTIFACT_OPTIONS_DEFAULT                                            \
	{                                                                   \
		.busy_ms = 5000, .cache_kib = 2048, .n_connections_max = 32 \
	}

/*
 * path is copied. -ENODATA: not adopted; -ESTALE: the schema has changed since
 * (run adopt again); or as db.h says.
 */
NODISCARD int artifact_open(const char *path,
			    const struct artifact_options *options,
			    struct artifact **ret, struct err *err);
struct artifact *artifact_free(struct artifact *a); /* no reads are left */
DEFINE_FREEP(artifact)

/* Change number and modification time of one file. change 0: never had rows. */
struct artifact_mark {
	int64_t change;
	wall_s_t time;
};

struct artifact_read {
	const struct model *model; /* borrowed until the read ends */
	/*
	 * There are open marks that could not be folded (a long writer, a
	 * database that cannot be written): what carries one is not final.
	 */
	bool unsettled;
	/*
	 * Tells one database file, schema and timeline from the next: whoever
	 * caches by change number drops everything when it moves.
	 */
	uint64_t generation;
	bool has_labels;              /* private: some label has ever changed */
	struct artifact_world *world; /* private */
	struct db *db;                /* private */
};

#define ARTIFACT_READ_NULL    \
	{                     \
		.world = NULL \
	}

/*
 * patient: may wait for locks, fold, reopen, read much. Else -EWOULDBLOCK
 * says that a patient call is needed, and so does -ECANCELED from what reads
 * for longer than about a millisecond. Errors as artifact_open(), and -EBUSY.
 */
NODISCARD int artifact_read_begin(struct artifact *a, bool patient,
				  struct artifact_read *ret, struct err *err);
/* Lets the state go and keeps the model, until artifact_read_end(). */
void artifact_read_rest(struct artifact_read *rd);
void artifact_read_end(struct artifact_read *rd); /* for CLEANUP() */

/* A directory of data/ (level < n_dims) or a POV (level == n_dims). */
struct artifact_node {
	struct arena arena; /* owns the values' bytes */
	int64_t id;         /* of a directory, or of a POV; never reused */
	int64_t parent;     /* of a directory; 0 above the root */
	unsigned level;     /* how many values it has */
	struct value values[MODEL_DIMS_MAX];
	wall_s_t time;                               /* modified */
	struct artifact_mark marks[MODEL_SLOTS_MAX]; /* POV: by slot */
	/*
	 * POV: when a label of its values changed last, or zeros. A path may
	 * have stood for another POV before that, so no file of this one shows
	 * an earlier time.
	 */
	struct artifact_mark label;
	bool label_open; /* and one has changed that could not be folded */
};

#define ARTIFACT_NODE_NULL          \
	{                           \
		.arena = ARENA_NULL \
	}
#define ARTIFACT_DIR_ROOT 1 /* the id of data/ itself */

void artifact_node_deinit(struct artifact_node *node); /* for CLEANUP() */

/* -ENOENT: there is none with this id. */
NODISCARD int artifact_dir(struct artifact_read *rd, int64_t id,
			   struct artifact_node *ret);
NODISCARD int artifact_pov(struct artifact_read *rd, int64_t id,
			   struct artifact_node *ret);

/* A child of a directory: a directory again, or at the last level a POV. */
struct artifact_entry {
	int64_t id;
	struct name name;
	wall_s_t time;
};

/* The child of this name. -ENOENT. */
NODISCARD int artifact_lookup(struct artifact_read *rd,
			      const struct artifact_node *dir, const char *name,
			      size_t len, struct artifact_entry *ret);

/*
 * Children that have rows, with ids above after, in order of id. The callback
 * returns 0 to go on, 1 to stop, or an error.
 */
typedef int (*artifact_list_func_t)(const struct artifact_entry *entry,
				    void *arg);
NODISCARD int artifact_list(struct artifact_read *rd,
			    const struct artifact_node *dir, int64_t after,
			    artifact_list_func_t func, void *arg);

/* 0: there are rows below this node; -ENOENT: none any more. */
NODISCARD int artifact_is_alive(struct artifact_read *rd,
				const struct artifact_node *node);

/* The name of a node, as lookup and list have it; with rows or without. */
NODISCARD int artifact_name(struct artifact_read *rd,
			    const struct artifact_node *node, struct name *ret);

/* 1: the table has rows of this POV; 0: none. */
NODISCARD int artifact_has_rows(struct artifact_read *rd,
				const struct model_table *t,
				const struct artifact_node *pov);

/*
 * -EBUSY: there are POVs that cannot be shown because their marks could not be
 * folded, so that "there is none" must not be said. 0: there are none.
 */
NODISCARD int artifact_check_listing(struct artifact_read *rd);

/* 1: under an open mark, so not final; 0: settled. pov NULL: a setup table. */
NODISCARD int artifact_is_open(struct artifact_read *rd,
			       const struct model_table *t,
			       const struct artifact_node *pov);

NODISCARD int artifact_setup_mark(struct artifact_read *rd,
				  const struct model_table *t,
				  struct artifact_mark *ret);

/*
 * The label that the dimension's table has for a node's value; 0: none, the
 * value is its own label. *ret_mark: when it changed last, or zeros. The
 * label's bytes are owned by arena.
 */
NODISCARD int artifact_label(struct artifact_read *rd, unsigned dim,
			     const struct value *value, struct arena *arena,
			     struct value *ret_label,
			     struct artifact_mark *ret_mark);

/*
 * Rows as CSV with a header, in pieces of about 256 KiB. write returns 0 or
 * an error, which ends it. pov is NULL for a setup table. rule, unless it is
 * NULL, is told the load rules that the rows name, some of them repeatedly;
 * the value is borrowed during the call.
 */
struct artifact_sink {
	int (*write)(void *arg, const char *data, size_t n);
	int (*rule)(void *arg, const struct value *v);
	void *arg;
};
NODISCARD int artifact_rows(struct artifact_read *rd,
			    const struct model_table *t,
			    const struct artifact_node *pov,
			    const struct artifact_sink *sink, int64_t *ret_rows,
			    struct err *err);

/*
 * After -EBADMSG or -EIO, r: err becomes what is damaged, and what to do. Where
 * err is empty, tables are searched for the damage, for a second at most.
 * Returns r.
 */
int artifact_explain(struct artifact_read *rd, int r, struct err *err);

/* Is this reason worth a line in the log: was it not said of this database? */
bool artifact_is_news(struct artifact *a, const struct err *why);

/* "<table>.csv", encoded. 0, -ENOMEM. */
NODISCARD int artifact_file_name(const struct model_table *t, struct name *ret);

/* The last change number given out. */
NODISCARD int artifact_change(struct artifact_read *rd, int64_t *ret);
/* Registered POVs, with rows or once with rows. Counts an index. */
NODISCARD int artifact_count_povs(struct artifact_read *rd, int64_t *ret);

/*
 * What has changed after a change number, for those who cache: every POV and
 * setup table that was marked, and every dimension value whose name may have
 * changed. Values are borrowed during the call.
 */
struct artifact_watch {
	int (*pov)(int64_t id, int64_t parent, void *arg);
	int (*table)(const struct model_table *t, void *arg);
	int (*label)(unsigned dim, const struct value *value,
		     const struct value *old_label, bool had_label, void *arg);
	void *arg;
};
NODISCARD int artifact_changes(struct artifact_read *rd, int64_t after,
			       const struct artifact_watch *watch);

/* Ids of the directories with this many values; at most n_max of them. */
NODISCARD int artifact_dirs_at(struct artifact_read *rd, unsigned level,
			       int64_t *ret_ids, size_t n_max, size_t *ret_n);

/*
 * The name of the database's present timeline. It is drawn anew by
 * artifact_set_timeline(), durably: what was cached under a name holds as
 * long as the database bears it, and after a restore from a backup it bears
 * an older one.
 */
#define TIMELINE_BYTES 40
NODISCARD int artifact_timeline(struct artifact_read *rd,
				char ret[TIMELINE_BYTES]);
/* A name that no timeline has had; nothing is written. -EIO. */
NODISCARD int artifact_draw_timeline(char ret[TIMELINE_BYTES]);
/*
 * generation: of the database that is meant; -ESTALE: it is another one now.
 * patient: waits for the write lock as long as readers do; else for a moment.
 */
NODISCARD int artifact_set_timeline(struct artifact *a, uint64_t generation,
				    const char *timeline, bool patient,
				    struct err *err);

/*
 * After a restore: counts everything as changed, with change numbers and times
 * above those that were given out before. -EROFS, -EBUSY: it cannot be noted.
 */
NODISCARD int artifact_renumber(struct artifact *a, int64_t change,
				wall_s_t time, struct err *err);
