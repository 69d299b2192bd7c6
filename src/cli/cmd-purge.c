/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "cli/follow.h"

/* What went, or would go: that stands in the job's log. */
static int print_log(struct follow *f, int64_t job)
{
	CLEANUP(buf_deinit) struct buf b = BUF_NULL;
	struct err err = ERR_NULL;
	int r;

	r = follow_read(f, job, "log", &b, &err);
	if (r < 0)
		return cli_fail(&err, r);
	fwrite(b.data, 1, b.len, stdout);
	return 0;
}

static int purge(const char *path, const struct command *c, bool json)
{
	CLEANUP(follow_close) struct follow f = FOLLOW_NULL;
	struct err err = ERR_NULL;
	enum job_state state;
	int64_t job = 0;
	int r;

	r = follow_open(path, FOLLOW_RUN, "purge", &f, &err);
	if (r == 0)
		r = follow_submit(&f, c, &job, &err);
	if (r == 0)
		r = follow_wait(&f, job, &state, &err);
	if (r < 0)
		return cli_fail(&err, r);
	if (!json && print_log(&f, job) != 0)
		return 1;
	return follow_report(&f, job, json);
}

static int run(int argc, char **argv)
{
	CLEANUP(command_freep) struct command *c = NULL;
	bool json = false;
	const struct cli_option options[] = {
		{.name = "json", .flag = &json},
	};
	int r;

	r = cli_parse(&cmd_purge, options, ARRAY_SIZE(options), &argc, argv);
	if (r != 0)
		return r == 1 ? 0 : r;
	if (argc < 2)
		return cli_usage(
			&cmd_purge,
			"a database or mount point and what to purge are needed");
	r = follow_parse(&cmd_purge, COMMAND_PURGE, argc - 1, argv + 1, &c);
	if (r != 0)
		return r;
	c->wait = false; /* we wait ourselves, and show how far it is */
	return purge(argv[0], c, json);
}

const struct cli_command cmd_purge = {
	.name = "purge",
	.summary = "remove what is old: ZIPs, snapshots, jobs, rows",
	.usage =
		"usage: outboxfs purge DATABASE|MOUNTPOINT WHAT [KEY=VALUE]…\n"
		"                      [--json]\n\n"
		"Removes, and prints what went. What a channel still needs stays.\n\n"
		"  outbox      ZIPs: older=, keep=, name=\n"
		"  snapshots   snapshots: older=, keep=\n"
		"  inbox       what was imported: older=\n"
		"  jobs        jobs that have ended: older=\n"
		"  orphans     rows of orphans in the database\n"
		"  data        rows in the database: from=, to=, and dimensions, as\n"
		"              location=Paris\n"
		"  output      the exported state: the next incremental is an all\n\n"
		"  older=30d   what is older: s, m, h, d, w\n"
		"  keep=N      all but the latest N\n"
		"  name=GLOB   what has such a name, as name='close-*'\n"
		"  dry_run=yes only print what would go\n\n"
		"  --json      print the job's result as JSON\n",
	.run = run,
};
