/* SPDX-License-Identifier: MIT */
#pragma once

#include "outboxfs/base/lock.h"
#include "outboxfs/db/db.h"
#include "outboxfs/store/store.h"

struct store {
	/* fixed after store_open() */
	char *path; /* owned; NULL: in memory */
	int dir_fd; /* -1: in memory */
	int lock_fd;
	struct db_pool *pool; /* owned; of readers; NULL: in memory */

	/* under lock */
	struct lock lock;
	struct db *writer; /* owned */
};

/* schema.c: brings store.db up to this program's version, step by step. */
NODISCARD int store_migrate(struct db *db, struct err *err);
