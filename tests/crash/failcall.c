/* SPDX-License-Identifier: MIT */

/*
 * Preloaded, it lets the n-th call of a kind fail, or the process die there:
 *
 *	OUTBOXFS_FAILCALL=<kind>:<action>:<n>
 *
 * Kinds: write (and ftruncate), sync, open (of files that may be written),
 * name (unlink, rename, mkdir), alloc. Actions: kill, or the name of an errno.
 * Files only, and none of /proc: what is written to pipes and events does not
 * count. OUTBOXFS_FAILCALL_COUNT names a file that gets the number of calls.
 */

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PUBLIC __attribute__((visibility("default")))

static const char *kind = ""; /* which calls count */
static int error;             /* errno; 0: kill */
static unsigned at;           /* 0: never */
static atomic_uint passed;

static int find_error(const char *name)
{
	static const struct {
		const char *name;
		int error;
	} names[] = {{"EIO", EIO}, {"ENOSPC", ENOSPC}, {"ENOMEM", ENOMEM}};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (strcmp(name, names[i].name) == 0)
			return names[i].error;
	return 0;
}

static __attribute__((constructor)) void begin(void)
{
	static char text[64];
	const char *rule = getenv("OUTBOXFS_FAILCALL");
	char *save = NULL;
	const char *action;
	const char *n;

	if (!rule || strlen(rule) >= sizeof(text))
		return;
	memcpy(text, rule, strlen(rule) + 1);
	kind = strtok_r(text, ":", &save);
	action = strtok_r(NULL, ":", &save);
	n = strtok_r(NULL, ":", &save);
	error = action ? find_error(action) : 0;
	at = n ? (unsigned)strtoul(n, NULL, 10) : 0;
	atomic_store(&passed, 0);
}

static __attribute__((destructor)) void end(void)
{
	const char *path = getenv("OUTBOXFS_FAILCALL_COUNT");
	FILE *file;
	unsigned n = atomic_load(&passed);

	kind = "";
	file = path ? fopen(path, "w") : NULL;
	if (!file)
		return;
	(void)fprintf(file, "%u\n", n);
	(void)fclose(file);
}

/* True: this call is the one, and errno is set. */
static bool fails(const char *what)
{
	if (strcmp(kind, what) != 0 || atomic_fetch_add(&passed, 1) + 1 != at)
		return false;
	if (error == 0)
		(void)kill(getpid(), SIGKILL);
	errno = error;
	return true;
}

static bool is_file(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

#define NEXT(name) ((__typeof__(&(name)))dlsym(RTLD_NEXT, #name))

PUBLIC ssize_t write(int fd, const void *data, size_t n)
{
	return is_file(fd) && fails("write") ? -1 : NEXT(write)(fd, data, n);
}

PUBLIC ssize_t pwrite64(int fd, const void *data, size_t n, off_t offset)
{
	return fails("write") ? -1 : NEXT(pwrite64)(fd, data, n, offset);
}

PUBLIC ssize_t pwrite(int fd, const void *data, size_t n, off_t offset)
{
	return pwrite64(fd, data, n, offset);
}

PUBLIC int ftruncate64(int fd, off_t n)
{
	return fails("write") ? -1 : NEXT(ftruncate64)(fd, n);
}

PUBLIC int ftruncate(int fd, off_t n)
{
	return ftruncate64(fd, n);
}

PUBLIC int fsync(int fd)
{
	return fails("sync") ? -1 : NEXT(fsync)(fd);
}

PUBLIC int fdatasync(int fd)
{
	return fails("sync") ? -1 : NEXT(fdatasync)(fd);
}

PUBLIC int openat64(int dir, const char *path, int flags, ...)
{
	va_list args;
	mode_t mode;

	va_start(args, flags);
	mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(args, mode_t) : 0;
	va_end(args);
	if ((flags & O_ACCMODE) != O_RDONLY &&
	    strncmp(path, "/proc/", 6) != 0 && fails("open"))
		return -1;
	return NEXT(openat64)(dir, path, flags, mode);
}

PUBLIC int openat(int dir, const char *path, int flags, ...)
{
	va_list args;
	mode_t mode;

	va_start(args, flags);
	mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(args, mode_t) : 0;
	va_end(args);
	return openat64(dir, path, flags, mode);
}

PUBLIC int open64(const char *path, int flags, ...)
{
	va_list args;
	mode_t mode;

	va_start(args, flags);
	mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(args, mode_t) : 0;
	va_end(args);
	return openat64(AT_FDCWD, path, flags, mode);
}

PUBLIC int open(const char *path, int flags, ...)
{
	va_list args;
	mode_t mode;

	va_start(args, flags);
	mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(args, mode_t) : 0;
	va_end(args);
	return openat64(AT_FDCWD, path, flags, mode);
}

PUBLIC int unlink(const char *path)
{
	return fails("name") ? -1 : NEXT(unlink)(path);
}

PUBLIC int unlinkat(int dir, const char *path, int flags)
{
	return fails("name") ? -1 : NEXT(unlinkat)(dir, path, flags);
}

PUBLIC int mkdir(const char *path, mode_t mode)
{
	return fails("name") ? -1 : NEXT(mkdir)(path, mode);
}

PUBLIC int mkdirat(int dir, const char *path, mode_t mode)
{
	return fails("name") ? -1 : NEXT(mkdirat)(dir, path, mode);
}

PUBLIC int renameat2(int from, const char *a, int to, const char *b,
		     unsigned flags)
{
	return fails("name") ? -1 : NEXT(renameat2)(from, a, to, b, flags);
}

/* json-c does not look whether it got the memory for a key. */
static bool is_careless(void *caller)
{
	Dl_info info;

	return dladdr(caller, &info) && info.dli_fname &&
	       strstr(info.dli_fname, "json-c");
}

#define NO_MEMORY() alloc_fails(__builtin_return_address(0))

static bool alloc_fails(void *caller)
{
	if (strcmp(kind, "alloc") != 0 ||
	    atomic_fetch_add(&passed, 1) + 1 != at || is_careless(caller))
		return false;
	errno = error;
	return true;
}

/* dlsym() allocates, so these go to glibc's own names. */
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);

PUBLIC void *malloc(size_t n)
{
	return NO_MEMORY() ? NULL : __libc_malloc(n);
}

PUBLIC void *calloc(size_t n, size_t size)
{
	return NO_MEMORY() ? NULL : __libc_calloc(n, size);
}

PUBLIC void *realloc(void *p, size_t n)
{
	return NO_MEMORY() ? NULL : __libc_realloc(p, n);
}

/* So that it is not glibc that asks for the copy. */
PUBLIC char *strdup(const char *s)
{
	size_t n = strlen(s) + 1;
	char *copy = NO_MEMORY() ? NULL : __libc_malloc(n);

	return copy ? memcpy(copy, s, n) : NULL;
}
