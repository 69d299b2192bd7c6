/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A mutex with a name and a rank. A thread takes locks in rising rank only;
 * taking them otherwise is a bug that asserts at once instead of deadlocking
 * one day. No lock is held over I/O, a callback, or a reply, except a writer
 * lock over SQLite.
 */

#include <pthread.h>
#include <stdbool.h>

#include "outboxfs/base/defs.h"

enum lock_rank {
	LOCK_RANK_CAPTURE, /* a capture's threads */
	LOCK_RANK_OPEN,    /* while a database is opened */
	LOCK_RANK_WRITER,  /* the one writing connection of a database */
	LOCK_RANK_WORLD,
	LOCK_RANK_TIMELINE,
	LOCK_RANK_VERSIONS,
	LOCK_RANK_TEXTS,
	LOCK_RANK_KNOWLEDGE,
	LOCK_RANK_STORE,
	LOCK_RANK_DRAFT,
	LOCK_RANK_ZIPS,
	LOCK_RANK_PACKS,
	LOCK_RANK_OBJECT,
	LOCK_RANK_DB_POOL,
	LOCK_RANK_SESSION,
	LOCK_RANK_RUNNER,
	LOCK_RANK_POOL,
	LOCK_RANK_N,
};

struct lock {
	pthread_mutex_t mutex;
	const char *name;
	enum lock_rank rank;
};

#define LOCK_INIT(n, r)                                                      \
	{                                                                    \
		.mutex = PTHREAD_MUTEX_INITIALIZER, .name = (n), .rank = (r) \
	}

void lock_init(struct lock *lock, const char *name, enum lock_rank rank);
void lock_deinit(struct lock *lock);
void lock_take(struct lock *lock);
void lock_drop(struct lock *lock);
void lock_assert_held(const struct lock *lock);

/* Waits on cond with the lock given up meanwhile; until_us 0: for ever. */
void lock_wait(struct lock *lock, pthread_cond_t *cond, mono_us_t until_us);

/* A condition that counts on CLOCK_MONOTONIC, as lock_wait() does. */
void lock_cond_init(pthread_cond_t *cond);

/* Holds a lock until the end of the scope: LOCK_SCOPE(&x->lock); */
static inline void lock_scope_end(struct lock **lock)
{
	lock_drop(*lock);
}

static inline struct lock *lock_scope_begin(struct lock *lock)
{
	lock_take(lock);
	return lock;
}

#define LOCK_SCOPE(l) \
	CLEANUP(lock_scope_end) UNUSED struct lock *_scope = lock_scope_begin(l)
