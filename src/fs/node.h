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
