/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The file system, inside. A request of the kernel is a struct call; it is
 * answered by the thread that received it if that takes microseconds, else
 * it is started again from its beginning in the pool ("patient"), and where
 * it needs a file that another call is rendering, it is parked with that file
 * and started again when it is ready. So no thread ever waits for another.
 *
 * Functions that work on a call return 0, a negative errno, or
 *	-EWOULDBLOCK	 start again in the pool
 *	-EINPROGRESS	 parked; whoever parked it sees to it
 *	-EALREADY		 what others do must end first: try for
 *busy_timeout
 */

#include <stdatomic.h>

#include "fs/again.h"
#include "fs/known.h"
#include "fs/node.h"
#include "fs/trouble.h"
#include "fs/version.h"
#include "outboxfs/artifact/artifact.h"
#include "outboxfs/base/buf.h"
#include "outboxfs/base/lock.h"
#include "outboxfs/base/pool.h"
#include "outboxfs/fs/mount.h"
#include "outboxfs/store/store.h"

/* A generated text that is not in the database; text.c. */
struct text {
	struct buf content;
	unsigned tag;
	wall_s_t time;
	uint64_t generation; /* of the database that it describes */
};

struct mount {
	/* fixed while mounted */
	const struct mount_options *options;
	char *database;   /* owned; absolute */
	char *mountpoint; /* owned; absolute */
	struct artifact *artifact;
	struct store *store;
	struct versions *versions;
	struct knowledge *knowledge;
	struct pool *pool;
	struct fuse_session *session;
	double entry_timeout; /* s; of live files */
	double attr_timeout;  /* s; of live files */
	wall_s_t started;
	int64_t first_change; /* the database's last change number then */

	_Atomic unsigned salt;         /* into tags; moves with the database */
	_Atomic wall_s_t time_served;  /* the latest of a file so far */
	_Atomic int64_t change_served; /* likewise */
	_Atomic unsigned provisional;  /* last provisional tag */
	_Atomic uint64_t generation;   /* of the artifact, as last seen */
	_Atomic uint64_t n_calls;      /* answered */
	_Atomic bool ended;            /* the session has */

	struct lock texts_lock;
	struct text readme; /* under texts_lock */
	struct text status;
	struct handle *handles; /* open files; under texts_lock */

	struct troubles troubles;
	struct again again;

	struct watch *watch;
};

enum call_op {
	CALL_LOOKUP,
	CALL_GETATTR,
	CALL_OPEN,
	CALL_READ,
	CALL_READDIR,
	CALL_READDIRPLUS,
	CALL_STATFS,
};

struct call {
	struct pool_task task; /* first: the pool hands it back */
	struct call *next;     /* in a version's list */
	struct mount *mount;
	fuse_req_t req;
	enum call_op op;
	bool patient;
	bool again; /* the version that ino names is new enough; again.c */
	mono_us_t deadline; /* for -EALREADY; 0: it did not happen yet */
	fuse_ino_t ino;
	size_t size;
	off_t off;
	struct version *handle; /* of an open file, or NULL */
	bool has_fi;
	struct fuse_file_info fi;
	struct err err; /* why the database, or this of it, cannot be read */
	int why;        /* the same as -errno; 0: it can */
	char name[NAME_BYTES_MAX + 1];
};

/* Puts a call into the pool, or answers it where that cannot be. */
void call_submit(struct call *call);

/* A file as stat sees it. */
struct facts {
	struct node node; /* with the tag of the present version */
	int64_t size;
	wall_s_t time;
};

/* node.c: the table of kinds, and the walks over it. */
struct lister; /* a directory being read; ops.c */

/*
 * Adds an entry to a directory's listing. facts NULL: they are not known
 * without work. 0, or 1: it is full.
 */
int lister_add(struct lister *l, const char *name, const struct node *node,
	       const struct facts *facts, wall_s_t time, off_t cookie);

struct node_ops {
	mode_t type; /* S_IFDIR or S_IFREG */
	bool live;   /* changes with the database */
	/* The child of this name; -ENOENT. Files get their tag by facts(). */
	int (*lookup)(struct call *call, struct artifact_read *rd,
		      const struct node *dir, const char *name, size_t len,
		      struct node *ret);
	/* Children from cookie (0: the first) on, by lister_add(). */
	int (*list)(struct call *call, struct artifact_read *rd,
		    const struct node *dir, off_t cookie, struct lister *l);
	/* When a directory was modified; -ESTALE: it is gone. */
	int (*time)(struct call *call, struct artifact_read *rd,
		    const struct node *dir, wall_s_t *ret);
	/* Size and version of a file as of now; -ENOENT. */
	int (*facts)(struct call *call, struct artifact_read *rd,
		     const struct node *node, struct facts *ret);
	/* Renders that version. */
	int (*render)(struct call *call, struct artifact_read *rd,
		      const struct facts *facts, struct version *v);
};

const struct node_ops *node_ops(enum node_kind kind); /* NULL: no such kind */

/* live.c and text.c: rows of the table. */
extern const struct node_ops root_ops;
extern const struct node_ops readme_ops;
extern const struct node_ops status_ops;
extern const struct node_ops setup_ops;
extern const struct node_ops setup_file_ops;
extern const struct node_ops dir_ops;
extern const struct node_ops pov_ops;
extern const struct node_ops data_file_ops;
extern const struct node_ops pov_json_ops;

/*
 * Another database is there now: forget what was known of the former, and see
 * to it that nothing of it looks like something that was shown before.
 */
void mount_refresh(struct mount *m);

/* The table with this id, or NULL. */
const struct model_table *live_table(const struct model *m, int64_t id);
/* "<table>.csv", encoded. 0, -ENOMEM. */
NODISCARD int live_file_name(const struct model_table *t, struct name *ret);
/*
 * What is known of a table's rows in a POV, found out if need be. 1: *ret;
 * 0: there are none.
 */
NODISCARD int live_known(struct call *call, struct artifact_read *rd,
			 const struct model_table *t,
			 const struct artifact_node *pov,
			 struct store_known *ret);

/* mount.c: the kernel has answered, the mount works. */
void mount_ready(struct mount *m);

/* ops.c */
void handles_free(struct mount *m); /* those that no RELEASE came for */
extern const struct fuse_lowlevel_ops fs_ops;

/* session.c: serves requests until the session ends; n threads. */
NODISCARD int session_run(struct fuse_session *session, unsigned n_threads);

/* watch.c: notices commits, tells the kernel what is no longer true. */
NODISCARD int watch_start(struct mount *m, struct watch **ret);
void watch_stop(struct watch *w);
