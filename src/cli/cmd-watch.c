/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "cli/follow.h"

/* The first that has not ended; 0: all have. */
static int find_running(struct follow *f, int64_t *ret, struct err *err)
{
	CLEANUP(freep) int64_t *ids = NULL;
	enum job_state state;
	size_t n;
	int r;

	*ret = 0;
	r = follow_list(f, &ids, &n, err);
	if (r < 0)
		return r;
	/* Jobs run in order: behind one that has ended, going back, all have,
	 * but for those that were aborted while they were queued. */
	for (size_t i = n; i > 0; i--) {
		r = follow_state(f, ids[i - 1], &state, err);
		if (r < 0)
			return r;
		if (!job_has_ended(state))
			*ret = ids[i - 1];
		else if (state != JOB_ABORTED)
			break;
	}
	return 0;
}

static int watch(struct follow *f, int64_t job)
{
	struct err err = ERR_NULL;
	enum job_state state;
	int r = 0;

	if (!job)
		r = find_running(f, &job, &err);
	if (r == 0 && !job) {
		puts("no job is running");
		return 0;
	}
	if (r == 0)
		r = follow_state(f, job, &state, &err);
	if (r < 0)
		return cli_fail(&err, r);
	if (!job_has_ended(state) && !f->mountpoint[0]) {
		(void)fprintf(
			stderr,
			"outboxfs: job %lld waits for the next mount or command: nobody serves '%s'\n",
			(long long)job, f->database);
		return 1;
	}
	r = follow_wait(f, job, &state, &err);
	return r < 0 ? cli_fail(&err, r) : follow_report(f, job, false);
}

static int run(int argc, char **argv)
{
	CLEANUP(follow_close) struct follow f = FOLLOW_NULL;
	struct err err = ERR_NULL;
	int64_t job = 0;
	int r;

	r = cli_parse(&cmd_watch, NULL, 0, &argc, argv);
	if (r != 0)
		return r == 1 ? 0 : r;
	if (argc != 1 && argc != 2)
		return cli_usage(
			&cmd_watch,
			"one mount point or database is needed, and at most one job");
	r = argc == 2 ? follow_parse_job(&cmd_watch, argv[1], &job) : 0;
	if (r != 0)
		return r;
	r = follow_open(argv[0], FOLLOW_LOOK, "watch", &f, &err);
	return r < 0 ? cli_fail(&err, r) : watch(&f, job);
}

const struct cli_command cmd_watch = {
	.name = "watch",
	.summary = "show how far the running job is",
	.usage =
		"usage: outboxfs watch MOUNTPOINT|DATABASE [JOB]\n\n"
		"Shows a progress bar, on a terminal, until the job has ended, and then how.\n"
		"Without a number, it is the job that is running. Ctrl-C ends the watching\n"
		"only.\n",
	.run = run,
};
