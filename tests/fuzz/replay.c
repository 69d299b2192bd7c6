/* SPDX-License-Identifier: MIT */

/*
 * Runs a fuzzer over the files (or the files of the directories) that are
 * named on the command line. Nothing to run is a failure: a test that found no
 * corpus has tested nothing.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "outboxfs/base/defs.h"

#include "fuzz.h"

static size_t n_inputs;

static int failed(const char *path)
{
	(void)fprintf(stderr, "'%s': %s\n", path, strerror(errno));
	return -1;
}

static int run_file(const char *path)
{
	CLEANUP(freep) uint8_t *data = NULL;
	CLEANUP(close_fd) int fd = -1;
	struct stat st;
	size_t size;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return failed(path);
	size = (size_t)st.st_size;
	data = malloc(size ? size : 1);
	if (!data)
		return failed(path);
	if (read(fd, data, size) != st.st_size)
		return failed(path);
	/* Whoever debugs a crash wants to know where. */
	(void)fprintf(stderr, "%s\n", path);
	(void)LLVMFuzzerTestOneInput(data, size); /* 0 by definition */
	n_inputs++;
	return 0;
}

static int is_visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static int run_directory(const char *path)
{
	struct dirent **entries;
	char file[4096];
	int n = scandir(path, &entries, is_visible, alphasort);
	int r = n < 0 ? failed(path) : 0;

	for (int i = 0; i < n; i++) {
		(void)snprintf(file, sizeof(file), "%s/%s", path,
			       entries[i]->d_name);
		if (r == 0)
			r = run_file(file);
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
	return r;
}

int main(int argc, char **argv)
{
	struct stat st;
	int r;

	for (int i = 1; i < argc; i++) {
		if (stat(argv[i], &st) < 0)
			r = failed(argv[i]);
		else
			r = S_ISDIR(st.st_mode) ? run_directory(argv[i])
						: run_file(argv[i]);
		if (r < 0)
			return 1;
	}
	printf("%zu inputs\n", n_inputs);
	return n_inputs ? 0 : 1;
}
