/* SPDX-License-Identifier: MIT */
#include "outboxfs/base/pool.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include "outboxfs/base/clock.h"
#include "outboxfs/base/lock.h"

struct pool {
	/* fixed after pool_new() */
	pthread_t *threads; /* owned */
	unsigned n_threads;
	size_t n_tasks_max;

	/* under lock */
	struct lock lock;
	pthread_cond_t changed;
	struct pool_task *tasks; /* sorted by due */
	size_t n_tasks;
	bool stopping;
};

/* The first task if it is due; else when to look again (0: when told). */
static struct pool_task *take_due_locked(struct pool *pool, mono_us_t *ret_when)
{
	struct pool_task *task = pool->tasks;

	*ret_when = 0;
	if (!task)
		return NULL;
	if (task->due > 0 && task->due > clock_mono()) {
		*ret_when = task->due;
		return NULL;
	}
	pool->tasks = task->next;
	pool->n_tasks--;
	return task;
}

static void *pool_thread(void *arg)
{
	struct pool *pool = arg;
	mono_us_t when;

	lock_take(&pool->lock);
	while (!pool->stopping) {
		struct pool_task *task = take_due_locked(pool, &when);

		if (!task) {
			lock_wait(&pool->lock, &pool->changed, when);
			continue;
		}
		lock_drop(&pool->lock);
		task->func(task, false);
		lock_take(&pool->lock);
	}
	lock_drop(&pool->lock);
	return NULL;
}

static int start_threads(struct pool *pool, unsigned n)
{
	sigset_t all;
	sigset_t old;
	int r = 0;

	/* Signals are for the main thread alone. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	while (r == 0 && pool->n_threads < n) {
		r = pthread_create(&pool->threads[pool->n_threads], NULL,
				   pool_thread, pool);
		if (r == 0)
			pool->n_threads++;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -r;
}

int pool_new(unsigned n_threads, size_t n_tasks_max, struct pool **ret)
{
	CLEANUP(pool_freep) struct pool *pool = calloc(1, sizeof(*pool));
	int r;

	if (!pool)
		return -ENOMEM;
	lock_init(&pool->lock, "pool", LOCK_RANK_POOL);
	lock_cond_init(&pool->changed);
	pool->n_tasks_max = n_tasks_max;
	pool->threads = calloc(n_threads, sizeof(*pool->threads));
	if (!pool->threads)
		return -ENOMEM;
	r = start_threads(pool, n_threads);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(pool);
	return 0;
}

struct pool *pool_free(struct pool *pool)
{
	if (!pool)
		return NULL;
	pool_stop(pool);
	pthread_cond_destroy(&pool->changed);
	lock_deinit(&pool->lock);
	free(pool->threads);
	free(pool);
	return NULL;
}

int pool_submit(struct pool *pool, struct pool_task *task)
{
	LOCK_SCOPE(&pool->lock);
	struct pool_task **at = &pool->tasks;

	if (pool->stopping)
		return -ESHUTDOWN;
	if (pool->n_tasks >= pool->n_tasks_max)
		return -EAGAIN;
	while (*at && (*at)->due <= task->due)
		at = &(*at)->next;
	task->next = *at;
	*at = task;
	pool->n_tasks++;
	pthread_cond_signal(&pool->changed);
	return 0;
}

void pool_stop(struct pool *pool)
{
	struct pool_task *task;

	lock_take(&pool->lock);
	pool->stopping = true;
	pthread_cond_broadcast(&pool->changed);
	lock_drop(&pool->lock);
	for (unsigned i = 0; i < pool->n_threads; i++)
		pthread_join(pool->threads[i], NULL);
	pool->n_threads = 0;

	/* Nobody else is left; tasks cannot be added any more. */
	while ((task = pool->tasks)) {
		pool->tasks = task->next;
		pool->n_tasks--;
		task->func(task, true);
	}
}
