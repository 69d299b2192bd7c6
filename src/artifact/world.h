/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdatomic.h>
#include <sys/stat.h>

#include "outboxfs/artifact/artifact.h"
#include "outboxfs/base/buf.h"
#include "outboxfs/base/lock.h"
#include "outboxfs/db/db.h"

/* Statements by number; those with a + have one for each dim, slot or table. */
enum query {
	Q_SCHEMA_VERSION,
	Q_DATA_VERSION,
	Q_TIMELINE,
	Q_CHANGE,
	Q_OPEN, /* is there any open mark? */
	Q_OPEN_TABLE,
	Q_DIR,
	Q_DIR_FIND, /* by parent and value */
	Q_DIR_ADD,
	Q_DIR_TOUCH,
	Q_POV,
	Q_POV_FIND, /* by values */
	Q_POV_ADD,
	Q_POV_COUNT,
	Q_TABLE,
	Q_HAS_LABELS, /* has any label ever changed? */
	Q_CHANGE_NEXT,
	Q_CHANGE_TIME,
	Q_POV_LIVE,
	Q_OPEN_LABEL_DIMS,
	Q_FOLD_TABLES,
	Q_FOLD_TABLES_DONE,
	Q_FOLD_LABELS,
	Q_FOLD_LABELS_DONE,
	Q_FOLD_TOMBSTONES,
	Q_CHANGED_TABLES,
	Q_CHANGED_LABELS,
	Q_MARKED_POVS,
	Q_ALL_POVS,
	Q_LAST_PROCESS,
	Q_LIST,                                 /* + level */
	Q_GET = Q_LIST + MODEL_DIMS_MAX,        /* + level */
	Q_LABEL = Q_GET + MODEL_DIMS_MAX,       /* + dim: label of a key */
	Q_KEYS = Q_LABEL + MODEL_DIMS_MAX,      /* + dim: keys of a label */
	Q_NEAR = Q_KEYS + MODEL_DIMS_MAX,       /* + dim: children by prefix */
	Q_NEAR_LABEL = Q_NEAR + MODEL_DIMS_MAX, /* + dim: keys by prefix */
	/* + dim: has the table a key that equals this, as references do? */
	Q_HAS_KEY = Q_NEAR_LABEL + MODEL_DIMS_MAX,
	Q_DIRS_AT = Q_HAS_KEY + MODEL_DIMS_MAX,         /* + level */
	Q_TOUCH_LEVEL = Q_DIRS_AT + MODEL_DIMS_MAX,     /* + level */
	Q_LABEL_MARK = Q_TOUCH_LEVEL + MODEL_DIMS_MAX,  /* + dim */
	Q_OPEN_LABEL = Q_LABEL_MARK + MODEL_DIMS_MAX,   /* + dim */
	Q_OPEN_MARK = Q_OPEN_LABEL + MODEL_DIMS_MAX,    /* + slot */
	Q_UNREGISTERED = Q_OPEN_MARK + MODEL_SLOTS_MAX, /* + slot */
	Q_FOLD_READ = Q_UNREGISTERED + MODEL_SLOTS_MAX, /* + slot */
	Q_FOLD_DONE = Q_FOLD_READ + MODEL_SLOTS_MAX,    /* + slot */
	Q_POV_MARK = Q_FOLD_DONE + MODEL_SLOTS_MAX,     /* + slot */
	Q_CHANGED_POVS = Q_POV_MARK + MODEL_SLOTS_MAX,  /* + slot */
	Q_EXISTS = Q_CHANGED_POVS + MODEL_SLOTS_MAX,    /* + slot */
	Q_DELETE = Q_EXISTS + MODEL_SLOTS_MAX,          /* + slot */
	Q_RULES = Q_DELETE + MODEL_SLOTS_MAX,           /* + slot */
	Q_SHORT_ROWS = Q_RULES + MODEL_SLOTS_MAX,       /* + slot */
	Q_SCAN = Q_SHORT_ROWS + MODEL_SLOTS_MAX,        /* + slot */
	Q_SPAN = Q_SCAN + MODEL_SLOTS_MAX,              /* + slot */
	Q_ROWS = Q_SPAN + MODEL_SLOTS_MAX,              /* + table */
	/* then, behind the last table, + orphan: is the required row there? */
};

#define FOLD_BATCH 5000 /* marks in one transaction */

/*
 * One model over one schema in one file. Replaced as a whole when any of them
 * changes; readers keep the one they began with.
 */
struct artifact_world {
	_Atomic unsigned n_refs;

	/* fixed after world_open() */
	const char *path;    /* absolute */
	struct model *model; /* owned */
	const char **sql;    /* owned; by enum query */
	size_t n_sql;
	struct arena arena;   /* owns the statements' text */
	struct db_pool *pool; /* owned */
	dev_t dev;            /* of the database file */
	ino_t ino;
	int64_t schema_version;
	bool writable;
	uint64_t generation;

	_Atomic int64_t last_change; /* the database was there already */

	/* under timeline_lock */
	struct lock timeline_lock;
	char timeline[TIMELINE_BYTES];
	char next_timeline[TIMELINE_BYTES]; /* it may become this one */

	/* under writer_lock */
	struct lock writer_lock;
	struct db *writer;          /* owned; opened when first needed */
	mono_us_t fold_patience_at; /* until then, folding does not wait */
	atomic_int fold_error;      /* of the last try to fold; read anywhere */
};

/* What tells a database from another one in its place. */
struct identity {
	dev_t dev;
	ino_t ino;
	char timeline[TIMELINE_BYTES];
	char next_timeline[TIMELINE_BYTES];
	int64_t change; /* it had come so far */
};

struct artifact {
	/* fixed after artifact_open() */
	char *path; /* owned */
	struct artifact_options options;

	struct lock open_lock; /* held while a world is opened */

	/* under lock */
	struct lock lock;
	struct artifact_world *world; /* a reference, or NULL: see why */
	struct identity former;       /* of the last world */
	uint64_t said[16];            /* reasons that were logged, as hashes */
	unsigned n_said;
	uint64_t generation;
};

/* query.c: reads all rows of a table, in the order of its pages. */
void query_put_scan(struct buf *b, const char *table);

/* artifact.c: the present world, with a reference; NULL: there is none. */
struct artifact_world *world_get(struct artifact *a);
void world_unref(struct artifact_world *w);
/* Begins a read in it; as artifact_read_begin(). On failure rd is to be ended.
 */
NODISCARD int world_begin(struct artifact *a, struct artifact_world *w,
			  bool patient, struct artifact_read *rd,
			  struct err *err);

/* tree.c: values of every storage class that a text could be the text of. */
struct guesses {
	struct value values[3];
	size_t n;
	char blob[1024]; /* bytes of the value that is a blob */
};
void tree_guess(struct guesses *g, const char *s, size_t n, bool null);

/* query.c: the text of all statements of a model. -ENOMEM. */
NODISCARD int query_build(struct artifact_world *w);

/*
 * fold.c: 1: nothing is open any more; 0: the lock could not be had; -ESTALE:
 * the schema is not the one of this world.
 */
NODISCARD int fold(struct artifact_world *w, int busy_ms, struct err *err);

/* rows.c: fills in what a POV's labels say about its times. */
NODISCARD int read_label_marks(struct artifact_read *rd,
			       struct artifact_node *pov);

/*
 * rows.c: says in err of a database that cannot be read what it is, and what
 * to do; r is not always about that, and then err stays. Returns r.
 */
int explain(const char *path, int r, struct err *err);

/* The writer's connection; writer_lock is held. */
NODISCARD int world_writer_locked(struct artifact_world *w, struct err *err);

/* A value of the present row, borrowed until the next step. */
struct value value_column(sqlite3_stmt *stmt, int column);
/* Bytes are borrowed until the statement is reset. 0, -ENOMEM, -E2BIG. */
NODISCARD int value_bind(sqlite3_stmt *stmt, int index, const struct value *v);
