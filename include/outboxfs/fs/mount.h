/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Mounting a database: from the words of the command line to the end of the
 * mount. mount_run() is a whole daemon's life and is called once a process.
 */

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

#include "outboxfs/base/err.h"
#include "outboxfs/work/work.h"

struct mount_options {
	const char *database;
	const char *mountpoint;
	bool foreground;
	bool debug; /* log every request */
	bool allow_other;
	bool read_only;
	/*
	 * The kernel keeps what it knows until it is told of a change, instead
	 * of asking at each open and stat: a commit shows within milliseconds
	 * instead of at once. Implies read_only.
	 */
	bool kernel_cache;
	bool allow_root;
	uid_t uid; /* owner of everything */
	gid_t gid;
	bool has_uid; /* they were asked for */
	bool has_gid;
	char user[256]; /* who is to serve; "": whoever mounts */
	uid_t user_uid; /* with user */
	gid_t user_gid;
	mode_t umask;    /* bits that no file has */
	gid_t exporters; /* group that may give commands; (gid_t)-1: none */
	int busy_ms;     /* how long to wait for a locked database */
	struct work_limits limits;
	unsigned max_read; /* bytes of one read; 0: the kernel's choice */
	char extra[512];   /* further options for mount(2) or fusermount3 */
};

/* The defaults: owned by whoever mounts. */
void mount_options_init(struct mount_options *options);

/*
 * Reads the text behind -o ("allow_other,umask=027,…"); may be called several
 * times. -EINVAL: an unknown option or a bad value; err names it.
 */
NODISCARD int mount_options_parse(struct mount_options *options,
				  const char *text, struct err *err);

/*
 * Mounts, serves until the mount is gone (umount, SIGTERM, SIGINT), returns.
 * Without foreground it returns in the parent as soon as the mount works, and
 * the daemon's own end ends the process. 0, or why it failed.
 */
NODISCARD int mount_run(const struct mount_options *options, struct err *err);

/*
 * The database behind a path: itself, 0; or, for a mount point of ours, what
 * is mounted there, 1, and where that is. Or -errno.
 */
NODISCARD int mount_find_database(const char *path, char ret[PATH_MAX],
				  char ret_mountpoint[PATH_MAX],
				  struct err *err);
