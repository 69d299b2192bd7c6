/* SPDX-License-Identifier: MIT */
/*
 * Attributes, and how long the kernel may believe what it hears.
 *
 * How long the kernel may keep what it hears (unless kernel_cache):
 *
 * - A file's node id is one version. Its entry is kept for long and dropped
 *   when the watcher says so; its attributes are not kept, so each stat asks,
 *   and learns by ESTALE that it must look the name up again. OPEN checks the
 *   same. Both are therefore always of the latest commit.
 * - Attributes from a listing are kept for the time that ls -l takes between
 *   reading a directory and asking for what is in it.
 * - Directories are kept until the watcher says that one has gone or got
 *   another name, or for half a minute.
 * - What the store has never changes under its id. It is kept for a day;
 *   entries that lead elsewhere after an export are taken back (publish.c).
 */
#include "fs/attr.h"

#include <sys/stat.h>

#define DIR_TIMEOUT      30.0
#define LISTED_TIMEOUT   0.01 /* of attributes that came with a listing */
#define FLEETING_TIMEOUT 0.001
#define JOB_TIMEOUT      1.0

/* Mode and group by what people may do there. */
static void fill_access(const struct mount_options *o,
			const struct node_ops *ops, struct stat *st)
{
	bool exporters = o->exporters != (gid_t)-1;
	mode_t mode = ops->type == S_IFDIR ? 0555 : 0444;
	mode_t umask = o->umask;

	switch (ops->access) {
	case ACCESS_READ:
	case ACCESS_READ_ONLY_HERE:
		break;
	case ACCESS_OUTBOX:
		mode = exporters ? 0775 : 0755;
		break;
	case ACCESS_CONTROL:
		mode = exporters ? 0755 : 0750;
		break;
	case ACCESS_COMMAND:
		mode = exporters ? 0660 : 0600;
		break;
	}
	if (ops->type == S_IFLNK) {
		mode = 0777;
		umask = 0;
	}
	/* The umask does not take away what the option gives to the group. */
	if (exporters && ops->access >= ACCESS_OUTBOX) {
		st->st_gid = o->exporters;
		umask &= ~(mode_t)0070;
	}
	st->st_mode = ops->type | (mode & ~umask);
}

void attr_fill(const struct mount *m, const struct node *node, int64_t size,
	       wall_s_t time, struct stat *st)
{
	*st = (struct stat){
		.st_ino = node_stat_ino(node),
		.st_nlink = 1,
		.st_uid = m->options->uid,
		.st_gid = m->options->gid,
		.st_size = size,
		.st_blksize = 131072,
		.st_blocks = (size + 511) / 512,
		.st_atim = {.tv_sec = time},
		.st_mtim = {.tv_sec = time},
		.st_ctim = {.tv_sec = time},
	};
	fill_access(m->options, node_ops(node->kind), st);
}

/* Rendered for one open, under an open mark. */
bool attr_is_provisional(const struct node *node)
{
	/* Tags of what the store has are wider, and their bits mean nothing. */
	return !node_ops(node->kind)->stored &&
	       node->tag & NODE_TAG_PROVISIONAL;
}

static enum node_cache cache_of(const struct node *node)
{
	enum node_cache cache = node_ops(node->kind)->cache;

	if (attr_is_provisional(node))
		return CACHE_BRIEF;
	if (cache == CACHE_DOCUMENT)
		return node->tag ? CACHE_BRIEF : CACHE_LASTING;
	return cache;
}

/* A version that was rendered for this lookup, or a text of ours. */
bool attr_is_fleeting(const struct node *node)
{
	return cache_of(node) == CACHE_BRIEF;
}

/* How long an entry and attributes are believed; listed: from a listing. */
static void fill_timeouts(const struct mount *m, const struct node *node,
			  bool listed, double *ret_entry, double *ret_attr)
{
	bool dir = node_ops(node->kind)->type == S_IFDIR;
	bool always = m->options->kernel_cache;

	switch (cache_of(node)) {
	case CACHE_ASKING:
		*ret_entry = dir ? DIR_TIMEOUT : m->entry_timeout;
		*ret_attr = dir      ? DIR_TIMEOUT
			    : listed ? LISTED_TIMEOUT
				     : m->attr_timeout;
		break;
	case CACHE_LASTING:
		*ret_entry = ATTR_FOREVER;
		*ret_attr = ATTR_FOREVER;
		break;
	case CACHE_BRIEF:
	case CACHE_DOCUMENT:
		/*
		 * Good for the walk that asks; the next to ask gets another.
		 * For a text of ours, a moment does not matter.
		 */
		*ret_entry = attr_is_provisional(node) ? 0 : FLEETING_TIMEOUT;
		*ret_attr = FLEETING_TIMEOUT;
		always = false;
		break;
	case CACHE_JOB:
		*ret_entry = JOB_TIMEOUT;
		*ret_attr = listed ? LISTED_TIMEOUT : 0;
		always = false;
		break;
	case CACHE_NONE:
		*ret_entry = 0;
		*ret_attr = 0;
		always = false;
		break;
	}
	if (always) {
		*ret_entry = ATTR_FOREVER;
		*ret_attr = ATTR_FOREVER;
	}
}

int attr_fill_entry(const struct mount *m, const struct node *node,
		    int64_t size, wall_s_t time, bool listed,
		    struct fuse_entry_param *e)
{
	*e = (struct fuse_entry_param){.ino = 0};
	fill_timeouts(m, node, listed, &e->entry_timeout, &e->attr_timeout);
	attr_fill(m, node, size, time, &e->attr);
	return node_pack(node, &e->ino);
}

void attr_doubt(struct fuse_entry_param *e)
{
	e->attr_timeout = LISTED_TIMEOUT; /* for the stat that asks */
	e->entry_timeout = 0;
}

double attr_timeout(const struct mount *m, const struct node *node)
{
	double entry = 0;
	double attr = 0;

	fill_timeouts(m, node, false, &entry, &attr);
	return attr;
}
