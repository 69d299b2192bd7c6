/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "cli/cli.h"
#include "outboxfs/artifact/adopt.h"

static int run(int argc, char **argv)
{
	struct err err = ERR_NULL;
	int r;

	r = cli_parse(&cmd_init, NULL, 0, &argc, argv);
	if (r != 0)
		return r == 1 ? 0 : r;
	if (argc != 1)
		return cli_usage(&cmd_init, "one database file is needed");
	r = artifact_init(argv[0], &err);
	if (r < 0)
		return cli_fail(&err, r);
	printf("%s: made with the data-management model\n", argv[0]);
	return 0;
}

const struct cli_command cmd_init = {
	.name = "init",
	.summary = "make a database with the built-in data-management model",
	.usage =
		"usage: outboxfs init DATABASE\n\n"
		"Makes a new SQLite database with the tables of the data-management\n"
		"model: source systems, target applications, locations, categories,\n"
		"periods, load rules and mappings (setup), data and mapping segments\n"
		"(data), and the process status of each point of view.\n",
	.run = run,
};
