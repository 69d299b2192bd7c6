/* SPDX-License-Identifier: MIT */

/*
 * copy-outbox DATABASE DIRECTORY: writes every ZIP of outbox/ to a file of
 * DIRECTORY that is called <id>-<name>. Opening the store cuts off what a dead
 * process left.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "outboxfs/store/outbox.h"

#define PIECE_BYTES ((size_t)1 << 16)

struct copying {
	struct store *store;
	const char *dir;
};

static int copy(struct outbox_reader *from, FILE *to)
{
	static char piece[PIECE_BYTES];
	int64_t at = 0;
	ssize_t n;

	while ((n = outbox_read(from, at, piece, sizeof(piece))) > 0) {
		if (fwrite(piece, 1, (size_t)n, to) != (size_t)n)
			return -EIO;
		at += n;
	}
	return (int)n;
}

static int copy_entry(const struct outbox_entry *e, void *arg)
{
	const struct copying *c = arg;
	struct outbox_reader *from;
	char path[4096];
	FILE *to;
	int r;

	(void)snprintf(path, sizeof(path), "%s/%lld-%s", c->dir,
		       (long long)e->id, e->name);
	r = outbox_open(c->store, e->id, &from);
	if (r < 0)
		return r;
	to = fopen(path, "w");
	r = to ? copy(from, to) : -errno;
	if (to && fclose(to) != 0 && r == 0)
		r = -errno;
	outbox_close(from);
	return r;
}

int main(int argc, char **argv)
{
	struct copying c = {.store = NULL};
	struct err err = ERR_NULL;
	int r;

	if (argc != 3)
		return 2;
	c.dir = argv[2];
	r = store_open(argv[1], "copy-outbox", &c.store, &err);
	if (r == 0)
		r = outbox_list(c.store, 0, copy_entry, &c);
	store_free(c.store);
	if (r < 0)
		fprintf(stderr, "copy-outbox: %s\n", err_text(&err, r));
	return r < 0;
}
