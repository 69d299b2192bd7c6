/* SPDX-License-Identifier: MIT */
#include "fs/place.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
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

int place_take_over(const char *path, struct err *err)
{
	struct statfs fs;

	/* Not stat(): the kernel may remember the attributes of the dead. */
	if (statfs(path, &fs) == 0 ||
	    (errno != ENOTCONN && errno != ECONNABORTED))
		return 0;
	log_notice("'%s' is what a killed daemon has left: taken over", path);
	if (umount2(path, MNT_DETACH) < 0 && run_fusermount(path, "-uz") < 0)
		return err_set(
			err, -errno,
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
		n += strcmp(e->d_name, ".") != 0 &&
		     strcmp(e->d_name, "..") != 0;
	closedir(dir);
	if (n > 0)
		return err_set(
			err, -ENOTEMPTY,
			"mount point '%s' is not empty: take an empty directory",
			mountpoint);
	return 0;
}

/* Undoes the octal escapes of /proc/self/mounts, in place. */
static void unescape(char *s)
{
	char *to = s;

	for (; *s; s++, to++) {
		*to = *s;
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' &&
		    s[2] <= '7' && s[3] >= '0' && s[3] <= '7') {
			*to = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 +
				     (s[3] - '0'));
			s += 3;
		}
	}
	*to = '\0';
}

/*
 * What is mounted at a path, the topmost: its source and type, or nothing.
 * 1, 0, or -errno.
 */
static int find_mount(const char *path, char *ret_source, size_t source_size,
		      char *ret_type, size_t type_size)
{
	char source[4096];
	char where[4096];
	char type[128];
	char *line = NULL;
	size_t size = 0;
	int found = 0;
	FILE *mounts = fopen("/proc/self/mounts", "re");

	if (!mounts)
		return -errno;
	while (getline(&line, &size, mounts) > 0) {
		if (sscanf(line, "%4095s %4095s %127s", source, where, type) !=
		    3)
			continue;
		unescape(where);
		if (strcmp(where, path) != 0)
			continue;
		unescape(source);
		(void)snprintf(ret_source, source_size, "%s", source);
		(void)snprintf(ret_type, type_size, "%s", type);
		found = 1;
	}
	free(line);
	fclose(mounts);
	return found;
}

static int check_free(const char *mountpoint, struct err *err)
{
	char source[4096];
	char type[128];
	struct stat st;

	if (stat(mountpoint, &st) < 0)
		return err_set(err, -errno, "cannot look at '%s': %s",
			       mountpoint, strerrordesc_np(errno));
	if (!S_ISDIR(st.st_mode))
		return err_set(err, -ENOTDIR,
			       "mount point '%s' is not a directory",
			       mountpoint);
	if (find_mount(mountpoint, source, sizeof(source), type,
		       sizeof(type)) == 1)
		return err_set(
			err, -EBUSY,
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
	if (is_below(mountpoint, store))
		return err_set(
			err, -EINVAL,
			"mount point '%s' lies in the store '%s': mount somewhere else",
			mountpoint, store);
	if (is_below(database, mountpoint))
		return err_set(
			err, -EINVAL,
			"database '%s' lies below the mount point '%s': mount somewhere else",
			database, mountpoint);
	return check_empty(mountpoint, err);
}

int place_prepare(const char *mountpoint, mode_t *ret_mode, struct err *err)
{
	struct stat st;

	if (stat(mountpoint, &st) < 0)
		return err_set(err, -errno, "cannot look at '%s': %s",
			       mountpoint, strerrordesc_np(errno));
	/* fusermount3 wants to write to it and enter it; root needs neither. */
	if (st.st_uid == geteuid() && chmod(mountpoint, 0300) < 0)
		return err_set(err, -errno,
			       "cannot change the mode of mount point '%s': %s",
			       mountpoint, strerrordesc_np(errno));
	*ret_mode = st.st_mode & 07777;
	return 0;
}

void place_restore(const char *mountpoint, mode_t mode)
{
	struct stat st;

	if (stat(mountpoint, &st) == 0 && st.st_uid == geteuid() &&
	    chmod(mountpoint, mode) < 0)
		log_warn("cannot change the mode of '%s' back", mountpoint);
}

/* A dead mount still has its attributes in the kernel, but no statfs. */
static bool is_alive(const char *mountpoint)
{
	struct statfs fs;

	return statfs(mountpoint, &fs) == 0;
}

int mount_find_database(const char *path, char ret[PATH_MAX],
			char ret_mountpoint[PATH_MAX], struct err *err)
{
	CLEANUP(freep) char *real = realpath(path, NULL);
	char source[PATH_MAX];
	char type[128];
	struct stat st;
	int r;

	if (!real)
		return err_set(err, -errno, "cannot find '%s': %s", path,
			       strerrordesc_np(errno));
	(void)snprintf(ret, PATH_MAX, "%s", real);
	if (stat(real, &st) < 0 || !S_ISDIR(st.st_mode))
		return 0;
	r = find_mount(real, source, sizeof(source), type, sizeof(type));
	if (r != 1 || strcmp(type, "fuse.outboxfs") != 0)
		return err_set(err, -EINVAL,
			       "nothing of outboxfs is mounted at '%s'", path);
	(void)snprintf(ret, PATH_MAX, "%s", source);
	if (!is_alive(real))
		return 0;
	(void)snprintf(ret_mountpoint, PATH_MAX, "%s", real);
	return 1;
}

/* Somebody else may have taken it away just before. */
static bool is_gone(const char *mountpoint)
{
	char source[4096];
	char type[128];

	return find_mount(mountpoint, source, sizeof(source), type,
			  sizeof(type)) == 0;
}

void place_unmount(const char *mountpoint)
{
	if (is_gone(mountpoint))
		return;
	if (umount2(mountpoint, UMOUNT_NOFOLLOW) == 0)
		return;
	if (errno == EBUSY && umount2(mountpoint, MNT_DETACH) == 0) {
		log_notice(
			"'%s' is in use: open files stay until they are closed",
			mountpoint);
		return;
	}
	if (run_fusermount(mountpoint, "-uz") < 0)
		log_err("cannot unmount '%s': run fusermount3 -uz on it",
			mountpoint);
}
