/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A fixed number of threads that work off a queue of tasks, in the order in
 * which they become due. A task belongs to the pool from pool_submit() until
 * its function is called, and then to that function. Stopping waits for what
 * is running and calls what is still queued once with stopping set, so that
 * nobody waits for an answer that never comes.
 */

#include <stdbool.h>

#include "outboxfs/base/defs.h"

struct pool;
struct pool_task;

typedef void (*pool_func_t)(struct pool_task *task, bool stopping);

struct pool_task {
	pool_func_t func;
	mono_us_t due;          /* not before this; 0: at once */
	struct pool_task *next; /* the pool's */
};

/* n_threads of them; at most n_tasks_max queued. 0, -ENOMEM, -EAGAIN. */
NODISCARD int pool_new(unsigned n_threads, size_t n_tasks_max,
		       struct pool **ret);
struct pool *pool_free(struct pool *pool); /* stops it first */
DEFINE_FREEP(pool)

/* Any thread. 0; -EAGAIN: the queue is full; -ESHUTDOWN: it is stopping. */
NODISCARD int pool_submit(struct pool *pool, struct pool_task *task);

/* Waits for the running tasks, hands the queued ones their stop, returns. */
void pool_stop(struct pool *pool);
