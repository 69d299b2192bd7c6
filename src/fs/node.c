/* SPDX-License-Identifier: MIT */
/*
 * Node ids. They say what they are, so there is no table of inodes, forgetting
 * one costs nothing, and they mean the same after a remount.
 *
 * The id of a file contains a tag of its version: another state of the rows is
 * another node, so the kernel never mixes pages of two versions, a reader that
 * has the old one open reads it to the end, and attributes of a node never
 * change. stat shows the id without the tag. What the store has is numbered
 * there, a number for each content: it needs no tag.
 *
 * 64 bits: 8 for the kind, and 56 that are laid out by it (enum form).
 */
#include "fs/fs.h"

#include <errno.h>

#define KIND_SHIFT 56
#define ID_BITS    28
#define TABLE_BITS 12
#define TAG_BITS   16

enum form {
	FORM_LIVE,   /* id 28, table 12, tag 16 */
	FORM_TREE,   /* snapshot 28, id (of a directory) 28 */
	FORM_WIDE,   /* id 56 */
	FORM_TAGGED, /* id 28, tag 28 */
};

/* The tree is this table, and nothing else says it. */
static const struct {
	const struct node_ops *ops;
	enum form form;
} table[NODE_KINDS] = {
	[NODE_ROOT] = {&root_ops, FORM_LIVE},
	[NODE_README] = {&readme_ops, FORM_LIVE},
	[NODE_STATUS] = {&status_ops, FORM_LIVE},
	[NODE_SETUP] = {&setup_ops, FORM_LIVE},
	[NODE_SETUP_FILE] = {&setup_file_ops, FORM_LIVE},
	[NODE_DIR] = {&dir_ops, FORM_LIVE},
	[NODE_POV] = {&pov_ops, FORM_LIVE},
	[NODE_DATA_FILE] = {&data_file_ops, FORM_LIVE},
	[NODE_POV_JSON] = {&pov_json_ops, FORM_LIVE},
	[NODE_TREE_OUTPUT] = {&tree_dir_ops, FORM_TREE},
	[NODE_TREE_DATA] = {&tree_dir_ops, FORM_TREE},
	[NODE_TREE_SETUP] = {&tree_dir_ops, FORM_WIDE},
	[NODE_TREE_FILE] = {&tree_file_ops, FORM_WIDE},
	[NODE_OUTPUT_FILE] = {&output_file_ops, FORM_WIDE},
	[NODE_PARAMS] = {&params_ops, FORM_WIDE},
	[NODE_SNAPSHOTS] = {&snapshots_ops, FORM_LIVE},
	[NODE_SNAPSHOT] = {&snapshot_ops, FORM_WIDE},
	[NODE_SNAPSHOT_LATEST] = {&latest_ops, FORM_LIVE},
	[NODE_OUTBOX] = {&outbox_ops, FORM_LIVE},
	[NODE_ZIP] = {&zip_ops, FORM_WIDE},
	[NODE_JOBS] = {&jobs_ops, FORM_LIVE},
	[NODE_JOB] = {&job_ops, FORM_WIDE},
	[NODE_JOB_LATEST] = {&latest_ops, FORM_LIVE},
	[NODE_JOB_REQUEST] = {&job_file_ops, FORM_TAGGED},
	[NODE_JOB_STATE] = {&job_file_ops, FORM_TAGGED},
	[NODE_JOB_PROGRESS] = {&job_file_ops, FORM_TAGGED},
	[NODE_JOB_LOG] = {&job_file_ops, FORM_TAGGED},
	[NODE_JOB_RESULT] = {&job_file_ops, FORM_TAGGED},
	[NODE_CONTROL] = {&control_ops, FORM_LIVE},
	[NODE_CONTROL_EXPORT] = {&control_file_ops, FORM_TAGGED},
	[NODE_CONTROL_PURGE] = {&control_file_ops, FORM_TAGGED},
	[NODE_CONTROL_ABORT] = {&control_file_ops, FORM_TAGGED},
};

static bool fits(int64_t v, unsigned bits)
{
	return v >= 0 && v >> bits == 0;
}

/* The 56 bits behind the kind. */
static int pack(const struct node *node, uint64_t *ret)
{
	switch (table[node->kind].form) {
	case FORM_LIVE:
		if (!fits(node->id, ID_BITS) || !fits(node->table, TABLE_BITS))
			return -EOVERFLOW;
		*ret = (uint64_t)node->id << (TABLE_BITS + TAG_BITS) |
		       (uint64_t)node->table << TAG_BITS | (node->tag & 0xffff);
		return 0;
	case FORM_TREE:
		if (!fits(node->id, ID_BITS) || !fits(node->snapshot, ID_BITS))
			return -EOVERFLOW;
		*ret = (uint64_t)node->snapshot << ID_BITS | (uint64_t)node->id;
		return 0;
	case FORM_WIDE:
		if (!fits(node->id, KIND_SHIFT))
			return -EOVERFLOW;
		*ret = (uint64_t)node->id;
		return 0;
	case FORM_TAGGED:
		if (!fits(node->id, ID_BITS))
			return -EOVERFLOW;
		*ret = (uint64_t)node->id << ID_BITS |
		       (node->tag & NODE_WIDE_TAG_MASK);
		return 0;
	}
	return -EOVERFLOW;
}

int node_pack(const struct node *node, fuse_ino_t *ret)
{
	uint64_t bits;
	int r;

	if (node->kind == NODE_ROOT) {
		*ret = FUSE_ROOT_ID;
		return 0;
	}
	r = pack(node, &bits);
	if (r == 0)
		*ret = (uint64_t)node->kind << KIND_SHIFT | bits;
	return r;
}

struct node node_unpack(fuse_ino_t ino)
{
	uint64_t bits = ino & ((1ULL << KIND_SHIFT) - 1);
	unsigned low = (unsigned)bits & ((1U << ID_BITS) - 1);
	int64_t high = (int64_t)(bits >> ID_BITS);
	struct node node = {.kind = (enum node_kind)(ino >> KIND_SHIFT)};

	if (ino == FUSE_ROOT_ID)
		return (struct node){.kind = NODE_ROOT};
	if ((unsigned)node.kind >= NODE_KINDS)
		return (struct node){.kind = NODE_NONE};
	switch (table[node.kind].form) {
	case FORM_LIVE:
		node.id = high;
		node.table = low >> TAG_BITS;
		node.tag = low & 0xffff;
		break;
	case FORM_TREE:
		node.snapshot = high;
		node.id = low;
		break;
	case FORM_WIDE:
		node.id = (int64_t)bits;
		break;
	case FORM_TAGGED:
		node.id = high;
		node.tag = low;
		break;
	}
	return node;
}

uint64_t node_stat_ino(const struct node *node)
{
	struct node plain = *node;
	fuse_ino_t ino;

	plain.tag = 1; /* tools expect the low 32 bits not to be all zero */
	return node_pack(&plain, &ino) < 0 ? 1 : ino;
}

const struct node_ops *node_ops(enum node_kind kind)
{
	return (unsigned)kind < NODE_KINDS ? table[kind].ops : NULL;
}
