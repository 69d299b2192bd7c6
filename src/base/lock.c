/* SPDX-License-Identifier: MIT */
#include "outboxfs/base/lock.h"

#include <assert.h>
#include <time.h>

/* Which ranks this thread holds, a bit each. */
static __thread unsigned held;

void lock_init(struct lock *lock, const char *name, enum lock_rank rank)
{
	pthread_mutex_init(&lock->mutex, NULL);
	lock->name = name;
	lock->rank = rank;
}

void lock_deinit(struct lock *lock)
{
	pthread_mutex_destroy(&lock->mutex);
}

void lock_take(struct lock *lock)
{
	assert(held >> lock->rank == 0);
	pthread_mutex_lock(&lock->mutex);
	held |= 1U << lock->rank;
}

void lock_drop(struct lock *lock)
{
	lock_assert_held(lock);
	held &= ~(1U << lock->rank);
	pthread_mutex_unlock(&lock->mutex);
}

void lock_assert_held(const struct lock *lock)
{
	assert(held & (1U << lock->rank));
}

void lock_wait(struct lock *lock, pthread_cond_t *cond, mono_us_t until_us)
{
	struct timespec ts = {
		.tv_sec = until_us / 1000000,
		.tv_nsec = until_us % 1000000 * 1000,
	};

	lock_assert_held(lock);
	if (until_us == 0)
		pthread_cond_wait(cond, &lock->mutex);
	else
		pthread_cond_timedwait(cond, &lock->mutex, &ts);
}

void lock_cond_init(pthread_cond_t *cond)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(cond, &attr);
	pthread_condattr_destroy(&attr);
}
