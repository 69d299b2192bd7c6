/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>

#include "cli/follow.h"

static int find_latest(struct follow *f, int64_t *ret, struct err *err)
{
	CLEANUP(freep) int64_t *ids = NULL;
	size_t n;
	int r;

	r = follow_list(f, &ids, &n, err);
	if (r < 0)
		return r;
	if (n == 0)
		return err_set(err, -ENOENT, "there has been no job yet");
	*ret = ids[n - 1];
	return 0;
}

static int wait_for(struct follow *f, int64_t job, struct err *err)
{
	enum job_state state;
	int r;

	r = job ? 0 : find_latest(f, &job, err);
	if (r == 0)
		r = follow_state(f, job, &state, err);
	if (r == 0 && !job_has_ended(state) && !f->mountpoint[0])
		r = err_set(
			err, -EAGAIN,
			"job %lld waits for the next mount or command: nobody serves '%s'",
			(long long)job, f->database);
	if (r == 0)
		r = follow_wait(f, job, &state, err);
	if (r == 0 && state != JOB_DONE)
		r = err_set(err, -EIO, "job %lld: %s", (long long)job,
			    job_state_name(state));
	return r;
}

static int run(int argc, char **argv)
{
	CLEANUP(follow_close) struct follow f = FOLLOW_NULL;
	struct err err = ERR_NULL;
	int64_t job = 0;
	int r;

	r = cli_parse(&cmd_wait, NULL, 0, &argc, argv);
	if (r != 0)
		return r == 1 ? 0 : r;
	if (argc != 1 && argc != 2)
		return cli_usage(
			&cmd_wait,
			"one database or mount point is needed, and at most one job");
	r = argc == 2 ? follow_parse_job(&cmd_wait, argv[1], &job) : 0;
	if (r != 0)
		return r;
	r = follow_open(argv[0], FOLLOW_LOOK, "wait", &f, &err);
	if (r == 0)
		r = wait_for(&f, job, &err);
	return r < 0 ? cli_fail(&err, r) : 0;
}

const struct cli_command cmd_wait = {
	.name = "wait",
	.summary = "wait until a job has ended",
	.usage =
		"usage: outboxfs wait DATABASE|MOUNTPOINT [JOB]\n\n"
		"Waits until a job has ended, without a number the latest one. Exit status\n"
		"0: it is done; 1: it failed, was aborted or reached a limit.\n",
	.run = run,
};
