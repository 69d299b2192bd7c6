/* SPDX-License-Identifier: MIT */
/*
 * A ZIP as a file in a directory. It is written under another name and gets
 * its own when all of it is on the disk, so that nobody finds half a ZIP.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/follow.h"
#include "outboxfs/base/fault.h"
#include "outboxfs/store/outbox.h"

#define PIECE_BYTES ((size_t)1 << 20)

/* Where the bytes come from: an entry of the store, or a file of a mount. */
struct source {
	struct outbox_reader *reader; /* owned */
	int fd;                       /* owned */
};

static void source_close(struct source *s)
{
	if (s->reader)
		s->reader = outbox_close(s->reader);
	close_fd(&s->fd);
}

static int open_source(struct follow *f, const char *file, struct source *ret)
{
	CLEANUP(freep) char *path = NULL;
	struct outbox_entry entry;
	int r;

	if (!f->mountpoint[0]) {
		r = outbox_find(f->store, file, &entry);
		return r < 0 ? r
			     : outbox_open(f->store, entry.id, &ret->reader);
	}
	if (asprintf(&path, "%s/outbox/%s", f->mountpoint, file) < 0)
		return -ENOMEM;
	ret->fd = open(path, O_RDONLY | O_CLOEXEC);
	return ret->fd < 0 ? -errno : 0;
}

static ssize_t read_source(struct source *s, int64_t offset, void *ret,
			   size_t n)
{
	ssize_t got;

	if (s->reader)
		return outbox_read(s->reader, offset, ret, n);
	got = pread(s->fd, ret, n, offset);
	return got < 0 ? -errno : got;
}

static int write_all(int fd, const char *data, size_t n)
{
	ssize_t got;

	for (; n > 0; data += got, n -= (size_t)got) {
		got = write(fd, data, n);
		if (got < 0)
			return -errno;
	}
	return 0;
}

static int copy(struct follow *f, struct source *from, int to)
{
	CLEANUP(freep) char *piece = malloc(PIECE_BYTES);
	int64_t offset = 0;
	ssize_t n;
	int r;

	if (!piece)
		return -ENOMEM;
	while ((n = read_source(from, offset, piece, PIECE_BYTES)) > 0) {
		r = fault("deliver-write");
		if (r == 0)
			r = write_all(to, piece, (size_t)n);
		if (r == 0 && follow_signalled(f))
			r = -EINTR;
		if (r < 0)
			return r;
		offset += n;
	}
	if (n < 0)
		return (int)n;
	r = fault("deliver-sync");
	return r < 0 ? r : fsync(to) < 0 ? -errno : 0;
}

/* Not all file systems know RENAME_NOREPLACE; all that matter know link(). */
static int give_name(int dir, const char *temporary, const char *file,
		     bool overwrite)
{
	if (overwrite)
		return renameat(dir, temporary, dir, file) < 0 ? -errno : 0;
	if (renameat2(dir, temporary, dir, file, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -errno;
	if (linkat(dir, temporary, dir, file, 0) < 0)
		return -errno;
	return unlinkat(dir, temporary, 0) < 0 ? -errno : 0;
}

/* Modes as any other program would have made it. */
static int set_mode(int fd)
{
	mode_t mask = umask(0);

	(void)umask(mask);
	return fchmod(fd, 0666 & ~mask) < 0 ? -errno : 0;
}

static int make_file(struct follow *f, struct source *from, int dir,
		     const char *file, bool overwrite)
{
	CLEANUP(close_fd) int fd = -1;
	char temporary[64];
	int r;

	(void)snprintf(temporary, sizeof(temporary), ".outboxfs-%ld.part",
		       (long)getpid());
	/* One of a dead process with our number is nobody's. */
	(void)unlinkat(dir, temporary, 0);
	fd = openat(dir, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
		    0600);
	if (fd < 0)
		return -errno;
	r = copy(f, from, fd);
	if (r == 0)
		r = set_mode(fd);
	if (r == 0)
		r = fault("deliver-rename");
	if (r == 0)
		r = give_name(dir, temporary, file, overwrite);
	if (r < 0)
		(void)unlinkat(dir, temporary, 0);
	else if (fsync(dir) < 0)
		r = -errno;
	return r;
}

int follow_deliver(struct follow *f, const char *file, const char *dir,
		   bool overwrite, struct err *err)
{
	CLEANUP(source_close) struct source from = {.fd = -1};
	CLEANUP(close_fd) int dir_fd = -1;
	int r;

	r = open_source(f, file, &from);
	if (r < 0)
		return err_set(err, r, "cannot read '%s' in outbox/: %s", file,
			       strerrordesc_np(-r));
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0)
		return err_set(err, -errno, "cannot open directory '%s': %s",
			       dir, strerrordesc_np(errno));
	r = make_file(f, &from, dir_fd, file, overwrite);
	if (r == -EEXIST)
		return err_set(
			err, r,
			"'%s/%s' is there already; the ZIP is in outbox/ only. Say overwrite=yes, or remove it",
			dir, file);
	if (r < 0)
		return err_set(err, r, "cannot write '%s/%s': %s", dir, file,
			       strerrordesc_np(-r));
	return 0;
}
