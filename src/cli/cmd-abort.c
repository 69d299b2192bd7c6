/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "cli/follow.h"

static int run(int argc, char **argv)
{
	CLEANUP(follow_close) struct follow f = FOLLOW_NULL;
	struct err err = ERR_NULL;
	int64_t job = 0;
	int r;

	r = cli_parse(&cmd_abort, NULL, 0, &argc, argv);
	if (r != 0)
		return r == 1 ? 0 : r;
	if (argc != 2)
		return cli_usage(
			&cmd_abort,
			"a database or mount point and a job are needed");
	r = follow_parse_job(&cmd_abort, argv[1], &job);
	if (r != 0)
		return r;
	r = follow_open(argv[0], FOLLOW_LOOK, "abort", &f, &err);
	if (r == 0)
		r = follow_abort(&f, job, &err);
	return r < 0 ? cli_fail(&err, r) : 0;
}

const struct cli_command cmd_abort = {
	.name = "abort",
	.summary = "stop a job",
	.usage =
		"usage: outboxfs abort DATABASE|MOUNTPOINT JOB\n\n"
		"Stops a job that is queued or under way, at its next safe point. It leaves\n"
		"nothing but its log. outboxfs jobs lists the numbers.\n",
	.run = run,
};
