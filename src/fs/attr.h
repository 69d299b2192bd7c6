/* SPDX-License-Identifier: MIT */
#pragma once

#include "fs/fs.h"

#define ATTR_FOREVER 86400.0 /* s */

void attr_fill(const struct mount *m, const struct node *node, int64_t size,
	       wall_s_t time, struct stat *st);
/* listed: it comes with a listing. -EOVERFLOW. */
NODISCARD int attr_fill_entry(const struct mount *m, const struct node *node,
			      int64_t size, wall_s_t time, bool listed,
			      struct fuse_entry_param *e);
/* Its time is the last that was seen: the kernel is to ask again soon. */
void attr_doubt(struct fuse_entry_param *e);
/* How long attributes that were asked for are believed; s. */
double attr_timeout(const struct mount *m, const struct node *node);
/* Rendered for one open, under an open mark. */
bool attr_is_provisional(const struct node *node);
/* A version that was rendered for this lookup, or a text of ours. */
bool attr_is_fleeting(const struct node *node);
