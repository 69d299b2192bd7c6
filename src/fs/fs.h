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
 */

#define FUSE_USE_VERSION 314

#include <fuse_lowlevel.h>
#include <stdatomic.h>

#include "outboxfs/artifact/artifact.h"
#include "outboxfs/base/buf.h"
#include "outboxfs/base/lock.h"
#include "outboxfs/base/pool.h"
#include "outboxfs/fs/mount.h"
#include "outboxfs/store/store.h"

/* What a node id stands for; see node.c. */
enum node_kind {
	NODE_NONE,
	NODE_ROOT,
	NODE_README,
	NODE_STATUS,
	NODE_SETUP,
	NODE_SETUP_FILE,
	NODE_DIR, /* data/ and the directories in it */
	NODE_POV,
	NODE_DATA_FILE, /* of a data or status table */
	NODE_POV_JSON,
	NODE_KINDS,
};

struct node {
	enum node_kind kind;
	int64_t id;     /* of a directory or POV; else 0 */
	unsigned table; /* id of a table; else 0 */
	unsigned tag;   /* which version of a file */
};

#define NODE_TAG_PROVISIONAL 0x8000U /* rendered under an open mark */
#define NODE_TAG_MASK        0x7fffU

/* 64 bits: kind 8, id 28, table 12, tag 16. -EOVERFLOW: does not fit. */
NODISCARD int node_pack(const struct node *node, fuse_ino_t *ret);
struct node node_unpack(fuse_ino_t ino);
/* What stat shows: the same for all versions of a file. */
uint64_t node_stat_ino(const struct node *node);

/* A version of a file: its bytes, as they are read by offset. */
struct version {
	struct version *hash_next;
	struct version *lru_prev; /* in the list of unused ones */
	struct version *lru_next;
	fuse_ino_t ino;

	/* under the cache's lock */
	unsigned n_refs;
	unsigned n_open;        /* handles of open files among them */
	enum { VERSION_RENDERING, VERSION_READY, VERSION_FAILED } state;
	int error;              /* of a failed one */
	struct call *waiting;   /* parked calls */

	/* the renderer's until ready, then fixed */
	struct buf mem;         /* the bytes, unless they are in fd */
	int fd;                 /* -1, or an unnamed file */
	int64_t size;           /* bytes */
	int64_t rows;
	wall_s_t time;
	uint8_t sha256[SHA256_BYTES];
};

struct versions;

NODISCARD int versions_new(struct store *store, struct versions **ret);
struct versions *versions_free(struct versions *vs);

/*
 * The version with this node id. 0: *ret is ready, and a reference.
 * 1: the caller renders it into *ret and calls versions_done().
 * -EINPROGRESS: the call is parked. Another errno: rendering failed for the
 * one this call waited for.
 */
NODISCARD int versions_get(struct versions *vs, fuse_ino_t ino,
			   struct call *call, struct version **ret);
/* As above, but only what is ready: -ENOENT. */
NODISCARD int versions_find(struct versions *vs, fuse_ino_t ino,
			    struct version **ret);
/* Ends rendering with r (0: ready); parked calls start again. Keeps the ref. */
void versions_done(struct versions *vs, struct version *v, int r);
void versions_unref(struct versions *vs, struct version *v);
/* Another database: what is there stays with who has it open, and no more. */
void versions_reset(struct versions *vs);
/* Takes bytes while rendering, in order. For artifact_sink. */
int versions_write(struct version *v, const char *data, size_t n,
		   struct store *store);
/* A reference becomes that of an open file, until versions_close(). */
void versions_open(struct versions *vs, struct version *v);
void versions_close(struct versions *vs, struct version *v);
/* Does anybody have this version open? */
bool versions_is_open(struct versions *vs, fuse_ino_t ino);
/* Bytes in use: of memory and of files. */
void versions_usage(struct versions *vs, int64_t *ret_mem, int64_t *ret_disk);

/* What is known of files; known.c. */
struct knowledge;
NODISCARD int knowledge_new(struct store *store, struct knowledge **ret);
struct knowledge *knowledge_free(struct knowledge *k);
/* 1: known under this change number; 0: not. */
NODISCARD int knowledge_get(struct knowledge *k, int64_t table, int64_t pov,
			    int64_t change, struct store_known *ret);
/* generation: of the read in which it was found out. */
void knowledge_put(struct knowledge *k, uint64_t generation,
		   const struct store_known *known);
/*
 * Forgets what is in memory, and what the store has if the database's
 * timeline is another one: from now on for reads of this generation.
 */
void knowledge_reset(struct knowledge *k, uint64_t generation,
		     struct artifact_read *rd);
/* Writes what is new to the store, under a new timeline. */
void knowledge_save(struct knowledge *k, struct artifact *a);
/* Is there so much new that it should be saved soon? */
bool knowledge_is_full(struct knowledge *k);

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

	_Atomic unsigned salt;        /* into tags; moves with the database */
	_Atomic wall_s_t time_served;  /* the latest of a file so far */
	_Atomic int64_t change_served; /* likewise */
	_Atomic unsigned provisional; /* last provisional tag */
	_Atomic uint64_t generation;  /* of the artifact, as last seen */
	_Atomic uint64_t n_calls;     /* answered */
	_Atomic bool ended;           /* the session has */

	struct lock texts_lock;
	struct text readme; /* under texts_lock */
	struct text status;

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
	fuse_ino_t ino;
	size_t size;
	off_t off;
	struct version *handle; /* of an open file, or NULL */
	bool has_fi;
	struct fuse_file_info fi;
	struct err err;        /* why the database cannot be read */
	int why;               /* the same as -errno; 0: it can */
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
	mode_t type;  /* S_IFDIR or S_IFREG */
	bool live;    /* changes with the database */
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
extern const struct fuse_lowlevel_ops fs_ops;

/* session.c: serves requests until the session ends; n threads. */
NODISCARD int session_run(struct fuse_session *session, unsigned n_threads);

/* watch.c: notices commits, tells the kernel what is no longer true. */
NODISCARD int watch_start(struct mount *m, struct watch **ret);
void watch_stop(struct watch *w);
