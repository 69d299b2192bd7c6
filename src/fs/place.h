/* SPDX-License-Identifier: MIT */
#pragma once

#include <sys/types.h>

#include "outboxfs/base/err.h"

/*
 * The mount point as a place in the file system: who else is there, and how it
 * is left. Paths are absolute and resolved unless said otherwise.
 */

/* Takes a dead mount of ours (its daemon was killed) away from path. */
NODISCARD int place_take_over(const char *path, struct err *err);

/*
 * Refuses what would go wrong: not a directory, not empty, something mounted
 * there, the database or its store below it, or it inside the store.
 */
NODISCARD int place_check(const char *mountpoint, const char *database,
			  struct err *err);

/*
 * Makes the bare directory unreadable, so that nobody takes it for the mount,
 * and says what its mode was, for place_restore() if it is not mounted then.
 */
NODISCARD int place_prepare(const char *mountpoint, mode_t *ret_mode,
			    struct err *err);
void place_restore(const char *mountpoint, mode_t mode);

/* Takes the mount away; lazily if it is busy. */
void place_unmount(const char *mountpoint);
