/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Kinds of nodes: what can be asked of each. The operations of ops.c are walks
 * over this table, which node.c has.
 */

#include <stdbool.h>
#include <sys/types.h>

#include "fs/node.h"
#include "outboxfs/base/buf.h"

struct artifact_read;
struct call;
struct handle;
struct version;

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
 * without work; so is time 0 of a directory. 0, or 1: it is full.
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
extern const struct node_ops output_file_ops;
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
/* A number in decimal as a name: 1 and above, or 0: it is none. */
int64_t name_number(const char *name, size_t len);
