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

#include "fs/again.h"
#include "fs/kinds.h"
#include "fs/known.h"
#include "fs/node.h"
#include "fs/trouble.h"
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
	uint64_t first_generation; /* of the artifact then */
	int64_t first_change;      /* the database's last number then */

	_Atomic wall_s_t time_served;  /* the latest of a file so far */
	_Atomic int64_t change_served; /* likewise */
	_Atomic wall_s_t tree_time;    /* of data/ and setup/, as last seen */
	_Atomic unsigned provisional;  /* last provisional tag */
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
	bool again;     /* the version that ino names is new enough; again.c */
	unsigned epoch; /* of what is known: the read's */
	mono_us_t deadline; /* for -EALREADY; 0: it did not happen yet */
	fuse_ino_t ino;
	size_t size;
	off_t off;
	struct handle *handle; /* of an open file, or NULL */
	struct fuse_file_info fi;
	char *data;       /* owned; what is written, size bytes */
	int64_t job;      /* for which a writer waits; control.c */
	bool interrupted; /* a writer that does not wait yet; control.c */
	struct err err;   /* why the database, or this of it, cannot be read */
	int why;          /* the same as -errno; 0: it can */
	char name[NAME_BYTES_MAX + 1];
};

/* Puts a call into the pool, or answers it where that cannot be. */
void call_submit(struct call *call);
/* Answers a WRITE with this result, as it is, and frees the call. */
void call_end_write(struct call *call, int r);

/*
 * Ends the epoch of what is known, and the read, which would be in the way of
 * writing; begins the next, in which everything counts as changed. is_other:
 * the read is of another database, which may be one that the store knows. Else
 * it is the same, and nothing known of it holds. -EALREADY: others are at it.
 */
NODISCARD int mount_renew(struct call *call, struct artifact_read *rd,
			  bool is_other);

/* The table with this id, or NULL. */
const struct model_table *live_table(const struct model *m, int64_t id);
/*
 * What is known of a table's rows in a POV, found out if need be. 1: *ret;
 * 0: there are none.
 */
NODISCARD int live_known(struct call *call, struct artifact_read *rd,
			 const struct model_table *t,
			 const struct artifact_node *pov,
			 struct store_known *ret);

/*
 * version.c: the version of a node, as versions_get(). A provisional one is
 * new, under a tag that is drawn for it.
 */
NODISCARD int version_get(struct call *call, struct node *node,
			  struct version **ret);
/* Puts a content into the cache, for the open to come; draws likewise. */
NODISCARD int version_keep(struct call *call, struct facts *facts,
			   const struct buf *content);

/* mount.c: the kernel has answered, the mount works. */
void mount_ready(struct mount *m);

/* ops.c */
extern const struct fuse_lowlevel_ops fs_ops;

/* session.c: serves requests until the session ends; n threads. */
NODISCARD int session_run(struct fuse_session *session, unsigned n_threads);

/* watch.c: notices commits, tells the kernel what is no longer true. */
NODISCARD int watch_start(struct mount *m, struct watch **ret);
void watch_stop(struct watch *w);
