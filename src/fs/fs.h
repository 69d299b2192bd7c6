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
 *	-EALREADY	 what others do must end first: try for busy_timeout
 */

#include <stdatomic.h>

#include "fs/known.h"
#include "fs/node.h"
#include "fs/version.h"
#include "outboxfs/artifact/artifact.h"
#include "outboxfs/base/buf.h"
#include "outboxfs/base/lock.h"
#include "outboxfs/base/pool.h"
#include "outboxfs/fs/mount.h"
#include "outboxfs/run/runner.h"
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

	struct sources *sources;   /* open files of the store; handle.c */
	struct controls *controls; /* commands and the runner; control.c */
	struct publish *publish;   /* what the kernel is told; publish.c */
	struct pool *render_pool;  /* for jobs */
	struct work work;

	_Atomic wall_s_t outbox_time; /* of the directory */
	_Atomic wall_s_t snapshots_time;

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
	CALL_READLINK,
	CALL_UNLINK,
	CALL_WRITE,
};

struct handle;

struct call {
	struct pool_task task; /* first: the pool hands it back */
	struct call *next;     /* in a version's list */
	struct mount *mount;
	fuse_req_t req;
	enum call_op op;
	bool patient;
	mono_us_t deadline; /* for -EALREADY; 0: it did not happen yet */
	fuse_ino_t ino;
	size_t size;
	off_t off;
	struct handle *handle; /* of an open file, or NULL */
	struct fuse_file_info fi;
	char *data;       /* owned; what is written, size bytes */
	int64_t job;      /* for which a writer waits; control.c */
	bool interrupted; /* a writer that does not wait yet; control.c */
	struct err err;   /* why the database cannot be read */
	int why;          /* the same as -errno; 0: it can */
	char name[NAME_BYTES_MAX + 1];
};

/* Puts a call into the pool, or answers it where that cannot be. */
void call_submit(struct call *call);
/* Answers a WRITE with this result, as it is, and frees the call. */
void call_end_write(struct call *call, int r);

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

/* How long the kernel believes what it heard of a node; see ops.c. */
enum node_cache {
	CACHE_ASKING,   /* directories for half a minute, files by asking */
	CACHE_LASTING,  /* it never changes, or a notice takes it back */
	CACHE_BRIEF,    /* for the open that follows */
	CACHE_DOCUMENT, /* brief with a tag, lasting without */
	CACHE_JOB,      /* its name for a second, its time by asking */
	CACHE_NONE,     /* each look finds another node */
};

/* Who may do what, beside reading; see fill_attr(). */
enum node_access {
	ACCESS_READ,
	ACCESS_READ_ONLY_HERE, /* as above, but says EPERM instead of EROFS */
	ACCESS_OUTBOX,         /* exporters may remove what is in it */
	ACCESS_CONTROL,        /* exporters may go there */
	ACCESS_COMMAND,        /* exporters may write */
};

struct node_ops {
	mode_t type; /* S_IFDIR, S_IFREG or S_IFLNK */
	bool live;   /* changes with the database */
	bool stored; /* nothing of the database is needed */
	enum node_cache cache;
	enum node_access access;
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
	/*
	 * A handle of its own, and in call->fi how the kernel is to treat it.
	 * 1: none; a version by render(), as where this is NULL.
	 */
	int (*open)(struct call *call, const struct node *node,
		    struct handle **ret);
	/* A symbolic link: where it leads. */
	int (*link)(struct call *call, const struct node *node, char *ret,
		    size_t size);
	/* Takes a child away. */
	int (*remove)(struct call *call, const char *name);
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
/* output.c, outbox.c, jobs.c, control.c */
extern const struct node_ops tree_dir_ops;
extern const struct node_ops tree_file_ops;
extern const struct node_ops params_ops;
extern const struct node_ops snapshots_ops;
extern const struct node_ops snapshot_ops;
extern const struct node_ops latest_ops;
extern const struct node_ops outbox_ops;
extern const struct node_ops zip_ops;
extern const struct node_ops jobs_ops;
extern const struct node_ops job_ops;
extern const struct node_ops job_file_ops;
extern const struct node_ops control_ops;
extern const struct node_ops control_file_ops;

#define PARAMS_NAME "SnapshotParams.json"
/* Cookies of what is listed begin here; 1 and 2 are "." and "..". */
#define COOKIE_FIRST 3
/* What the root has under a name; text.c. -ENOENT. */
int root_entry(const char *name, size_t len, struct node *ret);
/* The last snapshot's SnapshotParams.json: 0, or -ENOENT. */
NODISCARD int params_latest(struct call *call, struct facts *ret);
/* Puts content into the cache of versions, for the open to come. */
NODISCARD int text_keep(struct call *call, const struct facts *facts,
			const struct buf *content);
/* A number in decimal as a name: 1 and above, or 0: it is none. */
int64_t name_number(const char *name, size_t len);

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
extern const struct fuse_lowlevel_ops fs_ops;

/* session.c: serves requests until the session ends; n threads. */
NODISCARD int session_run(struct fuse_session *session, unsigned n_threads);

/* watch.c: notices commits, tells the kernel what is no longer true. */
NODISCARD int watch_start(struct mount *m, struct watch **ret);
void watch_stop(struct watch *w);
