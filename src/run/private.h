/* SPDX-License-Identifier: MIT */
#pragma once

#include <pthread.h>

#include "outboxfs/base/lock.h"
#include "outboxfs/run/runner.h"

struct runner {
	/* fixed after runner_start() */
	struct work *work; /* borrowed */
	struct runner_events events;
	pthread_t thread;

	/* under lock */
	struct lock lock;
	pthread_cond_t changed;
	int64_t current; /* the job that the thread works at; 0: none */
	bool wake;       /* there may be something to claim */
	bool stopping;
};
