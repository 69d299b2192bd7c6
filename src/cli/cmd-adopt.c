/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "outboxfs/artifact/adopt.h"

#define PIECE_BYTES 65536

/* A whole file, or stdin for "-". */
static int read_file(const char *path, struct buf *ret, struct err *err)
{
	FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
	size_t n;
	int r = 0;

	if (!file)
		return err_set(err, -errno, "cannot read '%s': %s", path,
			       strerrordesc_np(errno));
	do {
		char *p = buf_reserve(ret, PIECE_BYTES);

		if (!p)
			break;
		n = fread(p, 1, PIECE_BYTES, file);
		ret->len += n;
	} while (n > 0);
	if (ferror(file))
		r = err_set(err, -EIO, "cannot read '%s'", path);
	if (file != stdin)
		fclose(file);
	if (r == 0)
		r = buf_error(ret);
	if (r == -EFBIG || ret->len > MODEL_BYTES_MAX)
		return err_set(err, -EFBIG,
			       "'%s' is too large for a model: %zu MiB at most",
			       path, MODEL_BYTES_MAX >> 20);
	return r;
}

static int suggest(const char *path)
{
	CLEANUP(buf_deinit) struct buf model = BUF_NULL;
	struct err err = ERR_NULL;
	int r;

	r = artifact_suggest(path, &model, &err);
	if (r < 0)
		return cli_fail(&err, r);
	fwrite(model.data, 1, model.len, stdout);
	return 0;
}

static int adopt(const char *path, const char *model_path, bool no_index)
{
	CLEANUP(buf_deinit)
	struct buf model = BUF_INIT(MODEL_BYTES_MAX + PIECE_BYTES);
	struct adopt_options options = {.no_index = no_index};
	struct adopt_result result;
	struct err err = ERR_NULL;
	int r;

	if (model_path)
		r = read_file(model_path, &model, &err);
	else
		r = artifact_model_json(path, &model, &err);
	if (r == 0)
		r = artifact_adopt(path, model.data ? model.data : "",
				   model.len, &options, &result, &err);
	if (r < 0)
		return cli_fail(&err, r);
	printf("%s: adopted; %lld setup tables, %lld data tables, %lld points of view\n",
	       path, (long long)result.n_setup, (long long)result.n_data,
	       (long long)result.n_povs);
	return 0;
}

static int run(int argc, char **argv)
{
	const char *model = NULL;
	bool suggesting = false;
	bool no_index = false;
	const struct cli_option options[] = {
		{.name = "model", .value = &model},
		{.name = "no-index", .flag = &no_index},
		{.name = "suggest", .flag = &suggesting},
	};
	int r;

	r = cli_parse(&cmd_adopt, options, ARRAY_SIZE(options), &argc, argv);
	if (r != 0)
		return r == 1 ? 0 : r;
	if (argc != 1)
		return cli_usage(&cmd_adopt, "one database file is needed");
	if (suggesting && (model || no_index))
		return cli_usage(&cmd_adopt, "--suggest stands alone");
	return suggesting ? suggest(argv[0]) : adopt(argv[0], model, no_index);
}

const struct cli_command cmd_adopt = {
	.name = "adopt",
	.summary = "take an existing database as it is, with a model",
	.usage =
		"usage: outboxfs adopt DATABASE --model FILE [--no-index]\n"
		"       outboxfs adopt DATABASE\n"
		"       outboxfs adopt DATABASE --suggest\n\n"
		"Installs a model and change tracking: tables and triggers whose names\n"
		"begin with outboxfs_. No column is added, no row is touched. Again,\n"
		"without --model, it repairs the tracking after a change of the schema.\n\n"
		"  --model FILE  the model, a JSON document; - is standard input\n"
		"  --no-index    add no index to data tables that have none by point of\n"
		"                view; reading one point of view then reads them whole\n"
		"  --suggest     print a model guessed from foreign keys and column\n"
		"                names, to be edited; changes nothing\n",
	.run = run,
};
