/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Commands: control/, who waits for their jobs, and the runner behind them.
 * The runner may be stopped while requests still come: whoever uses it is
 * counted, and is told when it is gone.
 */

#include "fs/fs.h"

struct controls;

NODISCARD int controls_new(struct mount *m, struct controls **ret);
struct controls *controls_free(struct controls *c);
/* From now on commands are taken. */
NODISCARD int controls_start(struct controls *c, struct err *err);
/*
 * Refuses commands, answers who waits with EINTR, and stops the runner. Any
 * thread, any number of times.
 */
void controls_stop(struct controls *c);
/* A job has ended: answers who waits for it. */
void controls_ended(struct controls *c, int64_t job, enum job_state state);

/* progress.json; -ESHUTDOWN: the mount is ending. */
NODISCARD int control_progress(struct mount *m, const struct job *job,
			       struct buf *ret);

/* jobs.c: a job as JSON, ended or not. */
NODISCARD int job_answer(const struct job *job, struct buf *ret);
