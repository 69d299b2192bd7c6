/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "cli/cli.h"
#include "outboxfs/artifact/adopt.h"

static int run(int argc, char **argv)
{
	struct err err = ERR_NULL;
	int r;

	r = cli_parse(&cmd_abandon, NULL, 0, &argc, argv);
	if (r != 0)
		return r == 1 ? 0 : r;
	if (argc != 1)
		return cli_usage(&cmd_abandon, "one database file is needed");
	r = artifact_abandon(argv[0], &err);
	if (r < 0)
		return cli_fail(&err, r);
	printf("%s: nothing of outboxfs is left in it\n", argv[0]);
	return 0;
}

const struct cli_command cmd_abandon = {
	.name = "abandon",
	.summary = "remove everything of ours from a database",
	.usage =
		"usage: outboxfs abandon DATABASE\n\n"
		"Removes the tables, triggers and indexes whose names begin with\n"
		"outboxfs_. The users' tables and rows stay as they are. The store beside\n"
		"the database is not touched.\n",
	.run = run,
};
