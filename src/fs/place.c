/* SPDX-License-Identifier: MIT */
#include "fs/place.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "outboxfs/base/log.h"
#include "outboxfs/fs/mount.h"

extern char **environ;

/* For those who are not root. 0, or -EIO. */
static int run_fusermount(const char *mountpoint, const char *flags)
{
	const char *argv[] = {"fusermount3", flags, mountpoint, NULL};
	pid_t pid;
	int status;

	if (posix_spawnp(&pid, argv[0], NULL, NULL, (char **)(uintptr_t)argv,
			 environ) != 0)
		return -EIO;
	if (waitpid(pid, &status, 0) < 0)
		return -EIO;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
}

void place_unmount(const char *mountpoint)
{
	if (umount2(mountpoint, UMOUNT_NOFOLLOW) == 0)
		return;
	if (errno == EBUSY && umount2(mountpoint, MNT_DETACH) == 0) {
		log_notice("'%s' is in use: open files stay until they are closed",
			   mountpoint);
		return;
	}
	if (run_fusermount(mountpoint, "-uz") < 0)
		log_err("cannot unmount '%s': run fusermount3 -uz on it",
			mountpoint);
}

int place_take_over(const char *path, struct err *err)
{
	struct stat st;

	if (stat(path, &st) == 0 || errno != ENOTCONN)
		return 0;
	log_notice("'%s' is what a killed daemon has left: taken over", path);
	if (umount2(path, MNT_DETACH) < 0 && run_fusermount(path, "-uz") < 0)
		return err_set(err, -errno,
			       "cannot take away the dead mount at '%s': run fusermount3 -uz on it",
			       path);
	return 0;
}

/* Is path the directory or below it? Both absolute, without a final slash. */
static int is_below(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	return strncmp(path, dir, n) == 0 &&
	       (path[n] == '\0' || path[n] == '/' || strcmp(dir, "/") == 0);
}

static int check_empty(const char *mountpoint, struct err *err)
{
	DIR *dir = opendir(mountpoint);
	const struct dirent *e;
	int n = 0;

	if (!dir) {
		/* Unreadable is how we leave it, so it was ours before. */
		if (errno == EACCES)
			return 0;
		return err_set(err, -errno, "cannot read mount point '%s': %s",
			       mountpoint, strerrordesc_np(errno));
	}
	while ((e = readdir(dir)))
		n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
	closedir(dir);
	if (n > 0)
		return err_set(err, -ENOTEMPTY,
			       "mount point '%s' is not empty: take an empty directory",
			       mountpoint);
	return 0;
}

/* Another device than its parent: something is mounted there. */
static int check_free(const char *mountpoint, struct err *err)
{
	char parent[4200];
	struct stat st;
	struct stat up;

	if (stat(mountpoint, &st) < 0)
		return err_set(err, -errno, "cannot look at '%s': %s",
			       mountpoint, strerrordesc_np(errno));
	if (!S_ISDIR(st.st_mode))
		return err_set(err, -ENOTDIR,
			       "mount point '%s' is not a directory",
			       mountpoint);
	(void)snprintf(parent, sizeof(parent), "%s/..", mountpoint);
	if (stat(parent, &up) == 0 && up.st_dev != st.st_dev)
		return err_set(err, -EBUSY,
			       "something is mounted at '%s' already: unmount it first",
			       mountpoint);
	return 0;
}

int place_check(const char *mountpoint, const char *database, struct err *err)
{
	char store[4200];
	int r;

	r = check_free(mountpoint, err);
	if (r < 0)
		return r;
	(void)snprintf(store, sizeof(store), "%s.outboxfs", database);
	if (is_below(database, mountpoint) || is_below(store, mountpoint))
		return err_set(err, -EINVAL,
			       "database '%s' lies below the mount point '%s': mount somewhere else",
			       database, mountpoint);
	if (is_below(mountpoint, store))
		return err_set(err, -EINVAL,
			       "mount point '%s' lies in the store '%s': mount somewhere else",
			       mountpoint, store);
	return check_empty(mountpoint, err);
}

int place_prepare(const char *mountpoint, struct err *err)
{
	struct stat st;

	/* fusermount3 wants to write to it and enter it; root needs neither. */
	if (stat(mountpoint, &st) == 0 && st.st_uid == geteuid() &&
	    chmod(mountpoint, 0300) < 0)
		return err_set(err, -errno,
			       "cannot change the mode of mount point '%s': %s",
			       mountpoint, strerrordesc_np(errno));
	return 0;
}

int mount_find_database(const char *path, char *ret, size_t size,
			struct err *err)
{
	CLEANUP(freep) char *real = realpath(path, NULL);
	struct mntent entry;
	char line[16384];
	FILE *mounts;
	bool found = false;

	if (!real)
		return err_set(err, -errno, "cannot find '%s': %s", path,
			       strerrordesc_np(errno));
	(void)snprintf(ret, size, "%s", real);
	mounts = setmntent("/proc/self/mounts", "re");
	if (!mounts)
		return 0;
	while (getmntent_r(mounts, &entry, line, sizeof(line))) {
		if (strcmp(entry.mnt_dir, real) != 0)
			continue;
		found = strcmp(entry.mnt_type, "fuse.outboxfs") == 0;
		if (found)
			(void)snprintf(ret, size, "%s", entry.mnt_fsname);
	}
	endmntent(mounts);
	if (strcmp(ret, real) == 0 && !found) {
		struct stat st;

		if (stat(real, &st) == 0 && S_ISDIR(st.st_mode))
			return err_set(err, -EINVAL,
				       "nothing of outboxfs is mounted at '%s'",
				       path);
	}
	return 0;
}
