/* SPDX-License-Identifier: MIT */
#pragma once

#include "outboxfs/base/defs.h"

#define FUSE_USE_VERSION 314

#include <fuse_lowlevel.h>

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
	NODE_TREE_OUTPUT, /* output/ and the directories in it */
	NODE_TREE_DATA,   /* data/ of a snapshot, likewise */
	NODE_TREE_SETUP,  /* setup/ of a snapshot */
	NODE_TREE_FILE,   /* a version, in whatever snapshot */
	NODE_OUTPUT_FILE, /* the same in output/, with its time there */
	NODE_PARAMS,      /* SnapshotParams.json */
	NODE_SNAPSHOTS,
	NODE_SNAPSHOT,
	NODE_SNAPSHOT_LATEST,
	NODE_OUTBOX,
	NODE_ZIP,
	NODE_JOBS,
	NODE_JOB,
	NODE_JOB_LATEST,
	NODE_JOB_REQUEST,
	NODE_JOB_STATE,
	NODE_JOB_PROGRESS,
	NODE_JOB_LOG,
	NODE_JOB_RESULT,
	NODE_CONTROL,
	NODE_CONTROL_EXPORT,
	NODE_CONTROL_PURGE,
	NODE_CONTROL_ABORT,
	NODE_KINDS,
};

struct node {
	enum node_kind kind;
	int64_t id;       /* of what it shows; 0: there is one of its kind */
	int64_t snapshot; /* of a directory of a tree; 0: the present one */
	unsigned table;   /* id of a table; else 0 */
	unsigned tag;     /* which version of a file */
};

#define NODE_TAG_PROVISIONAL 0x8000U /* rendered under an open mark */
#define NODE_TAG_MASK        0x7fffU

#define NODE_WIDE_TAG_MASK 0xfffffffU /* of jobs' files and control files */

/* -EOVERFLOW: does not fit. */
NODISCARD int node_pack(const struct node *node, fuse_ino_t *ret);
struct node node_unpack(fuse_ino_t ino);
/* What stat shows: the same for all versions of a file. */
uint64_t node_stat_ino(const struct node *node);
