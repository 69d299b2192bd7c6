/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>

#include "cli/follow.h"

static int print_damage(const char *what, const char *problem, void *arg)
{
	(void)arg;
	printf("%s: %s\n", what, problem);
	return 0;
}

/* Repairing writes, and what a daemon shows meanwhile may be what is mended. */
static int open_alone(const char *path, struct follow *f, struct err *err)
{
	int r;

	r = follow_find(path, f, err);
	if (r == 0 && f->mountpoint[0])
		return err_set(err, -EBUSY,
			       "'%s' is mounted at '%s': unmount it to verify",
			       f->database, f->mountpoint);
	return r < 0 ? r : follow_open(path, FOLLOW_WORK, "verify", f, err);
}

static int verify(const char *path, bool repair)
{
	CLEANUP(follow_close) struct follow f = FOLLOW_NULL;
	struct verify_result result = {.n_objects = 0};
	struct err err = ERR_NULL;
	int r;

	r = open_alone(path, &f, &err);
	if (r == 0)
		r = work_verify(&f.work, repair, print_damage, NULL, &result,
				&err);
	if (r < 0)
		return cli_fail(&err, r);
	printf("%s: %lld objects with %lld bytes, %lld ZIPs; %lld damaged",
	       f.database, (long long)result.n_objects,
	       (long long)result.n_bytes, (long long)result.n_zips,
	       (long long)result.n_damaged);
	if (repair)
		printf(", %lld of them repaired", (long long)result.n_repaired);
	putchar('\n');
	return result.n_damaged > result.n_repaired ? 1 : 0;
}

static int run(int argc, char **argv)
{
	bool repair = false;
	const struct cli_option options[] = {
		{.name = "repair", .flag = &repair},
	};
	int r;

	r = cli_parse(&cmd_verify, options, ARRAY_SIZE(options), &argc, argv);
	if (r != 0)
		return r == 1 ? 0 : r;
	if (argc != 1)
		return cli_usage(&cmd_verify, "one database file is needed");
	return verify(argv[0], repair);
}

const struct cli_command cmd_verify = {
	.name = "verify",
	.summary = "read everything that was exported back and check it",
	.usage =
		"usage: outboxfs verify DATABASE [--repair]\n\n"
		"Reads every object, hash, interval and ZIP of the store back and prints\n"
		"what is damaged. The database must not be mounted. Exit status 1 if\n"
		"damage is left.\n\n"
		"  --repair  render again what is damaged and the database still has\n",
	.run = run,
};
