/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The store: the directory <database>.outboxfs/ beside a database, with
 * everything that outboxfs keeps about it.
 *
 *	lock		held by the daemon that serves the database
 *	store.db	what is known of files, durable state
 *
 * Where the directory cannot be written (a read-only disk) the store lives in
 * memory and is gone with the process.
 *
 * Any thread may use a struct store.
 */

#include <stdbool.h>

#include "outboxfs/base/err.h"
#include "outboxfs/base/hash.h"

struct store;

/*
 * Opens the store of a database, making it where it is missing; owner says
 * who has it, for others' error messages ("mounted at '/mnt/x'").
 * -EBUSY: another process has it; err says who.
 */
NODISCARD int store_open(const char *database, const char *owner,
			 struct store **ret, struct err *err);
struct store *store_free(struct store *store);
DEFINE_FREEP(store)

/*
 * Who holds the store of a database: 1 and "process 7, mounted at '/mnt'", in
 * one line; 0: nobody.
 */
NODISCARD int store_holder(const char *database, char *ret, size_t size);

/* Borrowed. NULL: the store lives in memory. */
const char *store_path(const struct store *store);

/* A new unnamed file for contents. 0: in the store; 1: in memory. */
NODISCARD int store_tmpfile(struct store *store, int *ret_fd);

/* The same, in memory always. */
NODISCARD int store_memfile(int *ret_fd);

/* What is known of a file under one change number, without rendering it. */
struct store_known {
	int64_t table; /* id in the model */
	int64_t pov;   /* id; 0: a setup table */
	int64_t change;
	int64_t rows;
	int64_t bytes;
	uint8_t sha256[SHA256_BYTES];
};

/* 1: *ret is known under any change number; 0: nothing is. */
NODISCARD int store_known_get(struct store *store, int64_t table, int64_t pov,
			      struct store_known *ret);

/* All of them or none; replaces what was known of the same files. */
NODISCARD int store_known_put(struct store *store,
			      const struct store_known *known, size_t n,
			      const char *timeline);

/*
 * Timelines of the database under which known facts hold (artifact.h): the
 * one they were stored under, and one that is about to become it.
 */
NODISCARD int store_announce_timeline(struct store *store, const char *next);

/* Forgets all known facts unless they hold under this timeline. */
NODISCARD int store_check_timeline(struct store *store, const char *timeline);
