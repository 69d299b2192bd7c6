/* SPDX-License-Identifier: MIT */
/*
 * Node ids. They say what they are, so there is no table of inodes, forgetting
 * one costs nothing, and they mean the same after a remount.
 *
 * The id of a file contains a tag of its version: another state of the rows is
 * another node, so the kernel never mixes pages of two versions, a reader that
 * has the old one open reads it to the end, and attributes of a node never
 * change. stat shows the id without the tag.
 */
#include "fs/fs.h"

#include <errno.h>

#define ID_BITS    28
#define TABLE_BITS 12
#define TAG_BITS   16

int node_pack(const struct node *node, fuse_ino_t *ret)
{
	if (node->kind == NODE_ROOT) {
		*ret = FUSE_ROOT_ID;
		return 0;
	}
	if (node->id < 0 || node->id >> ID_BITS || node->table >> TABLE_BITS)
		return -EOVERFLOW;
	*ret = (uint64_t)node->kind << 56 |
	       (uint64_t)node->id << (TABLE_BITS + TAG_BITS) |
	       (uint64_t)node->table << TAG_BITS | (node->tag & 0xffff);
	return 0;
}

struct node node_unpack(fuse_ino_t ino)
{
	struct node node = {
		.kind = (enum node_kind)(ino >> 56),
		.id = (int64_t)(ino >> (TABLE_BITS + TAG_BITS) &
				((1U << ID_BITS) - 1)),
		.table = (unsigned)(ino >> TAG_BITS) & ((1U << TABLE_BITS) - 1),
		.tag = (unsigned)ino & 0xffff,
	};

	if (ino == FUSE_ROOT_ID)
		node = (struct node){.kind = NODE_ROOT};
	return node;
}

uint64_t node_stat_ino(const struct node *node)
{
	struct node plain = *node;
	fuse_ino_t ino;

	plain.tag = 1; /* tools expect the low 32 bits not to be all zero */
	return node_pack(&plain, &ino) < 0 ? 1 : ino;
}

/* The tree is this table, and nothing else says it. */
static const struct node_ops *const table[NODE_KINDS] = {
	[NODE_ROOT] = &root_ops,
	[NODE_README] = &readme_ops,
	[NODE_STATUS] = &status_ops,
	[NODE_SETUP] = &setup_ops,
	[NODE_SETUP_FILE] = &setup_file_ops,
	[NODE_DIR] = &dir_ops,
	[NODE_POV] = &pov_ops,
	[NODE_DATA_FILE] = &data_file_ops,
	[NODE_POV_JSON] = &pov_json_ops,
};

const struct node_ops *node_ops(enum node_kind kind)
{
	return (unsigned)kind < NODE_KINDS ? table[kind] : NULL;
}
