/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What the runner tells: a snapshot is there, a job has another state. The
 * kernel is told what it must not believe any longer, then those who wait for
 * the job are answered. On the runner's thread, with no lock held.
 */

#include "fs/fs.h"

struct publish;

NODISCARD int publish_new(struct mount *m, struct publish **ret);
struct publish *publish_free(struct publish *p);

/* struct runner_events; arg is the mount. */
void publish_snapshot(int64_t snapshot, void *arg);
void publish_job(int64_t job, enum job_state state, void *arg);
