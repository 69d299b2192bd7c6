/* SPDX-License-Identifier: MIT */
#include "db/pool.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "outboxfs/base/lock.h"
#include "outboxfs/db/db.h"

struct db_pool {
	/* fixed after db_pool_new() */
	struct db_config config;
	char *path; /* owned; config.path */
	unsigned max;

	/* under lock */
	struct lock lock;
	pthread_cond_t returned;
	struct db *idle; /* owned; a list */
	unsigned n_open; /* idle and handed out */
	unsigned n_out;
};

int db_pool_new(const struct db_config *config, unsigned max,
		struct db_pool **ret)
{
	struct db_pool *pool = calloc(1, sizeof(*pool));

	if (!pool)
		return -ENOMEM;
	pool->path = strdup(config->path);
	if (!pool->path) {
		free(pool);
		return -ENOMEM;
	}
	pool->config = *config;
	pool->config.path = pool->path;
	pool->max = max;
	lock_init(&pool->lock, "db pool", LOCK_RANK_DB_POOL);
	lock_cond_init(&pool->returned);
	*ret = pool;
	return 0;
}

struct db_pool *db_pool_free(struct db_pool *pool)
{
	if (!pool)
		return NULL;
	assert(pool->n_out == 0);
	while (pool->idle) {
		struct db *db = pool->idle;

		pool->idle = *db_next(db);
		db_free(db);
	}
	pthread_cond_destroy(&pool->returned);
	lock_deinit(&pool->lock);
	free(pool->path);
	free(pool);
	return NULL;
}

/* 1: *ret is an idle one. 0: the caller may open one; it is counted. */
static int take_idle(struct db_pool *pool, struct db **ret)
{
	LOCK_SCOPE(&pool->lock);

	while (!pool->idle && pool->n_open >= pool->max)
		lock_wait(&pool->lock, &pool->returned, 0);
	pool->n_out++;
	if (!pool->idle) {
		pool->n_open++;
		return 0;
	}
	*ret = pool->idle;
	pool->idle = *db_next(*ret);
	return 1;
}

int db_pool_get(struct db_pool *pool, int busy_ms, struct db **ret,
		struct err *err)
{
	struct db_config config = pool->config;
	int r;

	if (take_idle(pool, ret) == 1) {
		db_set_busy(*ret, busy_ms);
		return 0;
	}
	config.busy_ms = busy_ms;
	r = db_open(&config, ret, err);
	if (r < 0) {
		LOCK_SCOPE(&pool->lock);

		pool->n_open--;
		pool->n_out--;
		pthread_cond_signal(&pool->returned);
	}
	return r;
}

void db_pool_put(struct db_pool *pool, struct db *db)
{
	LOCK_SCOPE(&pool->lock);

	*db_next(db) = pool->idle;
	pool->idle = db;
	pool->n_out--;
	pthread_cond_signal(&pool->returned);
}
