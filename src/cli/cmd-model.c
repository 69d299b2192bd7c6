/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "cli/cli.h"
#include "outboxfs/artifact/adopt.h"

static int run(int argc, char **argv)
{
	CLEANUP(buf_deinit) struct buf model = BUF_NULL;
	struct err err = ERR_NULL;
	int r;

	r = cli_parse(&cmd_model, NULL, 0, &argc, argv);
	if (r != 0)
		return r == 1 ? 0 : r;
	if (argc != 1)
		return cli_usage(&cmd_model, "one database file is needed");
	r = artifact_model_json(argv[0], &model, &err);
	if (r < 0)
		return cli_fail(&err, r);
	fwrite(model.data, 1, model.len, stdout);
	if (model.len == 0 || model.data[model.len - 1] != '\n')
		putchar('\n');
	return 0;
}

const struct cli_command cmd_model = {
	.name = "model",
	.summary = "print the model of a database",
	.usage =
		"usage: outboxfs model DATABASE\n\n"
		"Prints the model document that the database was adopted with.\n",
	.run = run,
};
