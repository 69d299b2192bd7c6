/* SPDX-License-Identifier: MIT */
/*
 * The database and the store are opened before the mount is made, so that what
 * the user may not do is refused in time, and the mount after it, as root. In
 * between the process is the user by its effective id, and root by its saved
 * one only. The real id is the user's from the beginning: libfuse tells it to
 * the kernel, which then lets the user, not root, into a mount without
 * allow_other, and fusermount3 let him take it away.
 */
#include "fs/user.h"

#include <errno.h>
#include <grp.h>
#include <string.h>
#include <unistd.h>

/* Root who serves as root, or a user as himself, has nothing to do. */
static bool is_asked(const struct mount_options *o)
{
	return o->user[0] && o->user_uid != 0 && getuid() != o->user_uid;
}

static int fail(const struct mount_options *o, struct err *err)
{
	return err_set(err, -errno, "cannot become user '%s': %s", o->user,
		       strerrordesc_np(errno));
}

int user_borrow(const struct mount_options *o, struct err *err)
{
	if (!is_asked(o))
		return 0;
	if (initgroups(o->user, o->user_gid) < 0 ||
	    setresgid(o->user_gid, o->user_gid, o->user_gid) < 0 ||
	    setresuid(o->user_uid, o->user_uid, 0) < 0)
		return fail(o, err);
	return 0;
}

/* The saved id tells whether user_borrow() has done something. */
static bool is_borrowed(void)
{
	uid_t real;
	uid_t effective;
	uid_t saved;

	return getresuid(&real, &effective, &saved) == 0 && real != 0 &&
	       saved == 0;
}

int user_return(const struct mount_options *o, struct err *err)
{
	if (is_borrowed() && seteuid(0) < 0)
		return fail(o, err);
	return 0;
}

int user_become(const struct mount_options *o, struct err *err)
{
	if (!is_borrowed())
		return 0;
	if (setresuid(o->user_uid, o->user_uid, o->user_uid) < 0)
		return fail(o, err);
	/* Whoever has given up root must not be able to take it back. */
	if (setresuid((uid_t)-1, 0, (uid_t)-1) == 0)
		return err_set(err, -EPERM, "user '%s' could become root again",
			       o->user);
	return 0;
}
