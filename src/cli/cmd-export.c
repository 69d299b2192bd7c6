/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/follow.h"

/* A name that is taken is found before anything is done. */
static int check_target(const char *dir, const struct command *c,
			struct err *err)
{
	CLEANUP(freep) char *path = NULL;

	if (!dir)
		return 0;
	if (access(dir, W_OK | X_OK) < 0)
		return err_set(err, -errno, "cannot write into '%s': %s", dir,
			       strerrordesc_np(errno));
	if (!c->file || c->overwrite)
		return 0;
	if (asprintf(&path, "%s/%s", dir, c->file) < 0)
		return -ENOMEM;
	if (access(path, F_OK) == 0)
		return err_set(
			err, -EEXIST,
			"'%s' is there already: say overwrite=yes, or remove it",
			path);
	return 0;
}

static int deliver(struct follow *f, int64_t job, const char *dir,
		   bool overwrite, struct err *err)
{
	CLEANUP(buf_deinit) struct buf b = BUF_NULL;
	struct json_object *o;
	struct json_object *val;
	const char *file = NULL;
	int r;

	r = follow_read(f, job, "result.json", &b, err);
	if (r < 0 || !buf_str(&b))
		return r < 0 ? r : -ENOMEM;
	o = json_tokener_parse(b.data);
	if (o && json_object_object_get_ex(o, "file", &val))
		file = json_object_get_string(val);
	r = file ? follow_deliver(f, file, dir, overwrite, err)
		 : err_set(err, -ENOENT, "job %lld has made no file",
			   (long long)job);
	json_object_put(o);
	return r;
}

static int export(const char *path, const struct command *c, const char *dir,
		  bool json)
{
	CLEANUP(follow_close) struct follow f = FOLLOW_NULL;
	struct err err = ERR_NULL;
	enum job_state state = JOB_QUEUED;
	int64_t job = 0;
	int r;

	r = check_target(dir, c, &err);
	if (r == 0)
		r = follow_open(path, FOLLOW_RUN, "export", &f, &err);
	if (r == 0)
		r = follow_submit(&f, c, &job, &err);
	if (r == 0)
		r = follow_wait(&f, job, &state, &err);
	if (r == 0 && state == JOB_DONE && dir)
		r = deliver(&f, job, dir, c->overwrite, &err);
	if (r < 0)
		return cli_fail(&err, r);
	return follow_report(&f, job, json);
}

static int run(int argc, char **argv)
{
	CLEANUP(command_freep) struct command *c = NULL;
	const char *dir = NULL;
	bool json = false;
	const struct cli_option options[] = {
		{.name = "json", .flag = &json},
		{.name = "o", .value = &dir},
	};
	int r;

	r = cli_parse(&cmd_export, options, ARRAY_SIZE(options), &argc, argv);
	if (r != 0)
		return r == 1 ? 0 : r;
	if (argc < 2)
		return cli_usage(
			&cmd_export,
			"a database or mount point and a type are needed");
	r = follow_parse(&cmd_export, COMMAND_EXPORT, argc - 1, argv + 1, &c);
	if (r != 0)
		return r;
	c->wait = false; /* we wait ourselves, and show how far it is */
	return export(argv[0], c, dir, json);
}

const struct cli_command cmd_export = {
	.name = "export",
	.summary = "make a ZIP in outbox/",
	.usage =
		"usage: outboxfs export DATABASE|MOUNTPOINT TYPE [KEY=VALUE]…\n"
		"                       [-o DIR] [--json]\n\n"
		"Exports, by the daemon that serves the database or, where none does, in\n"
		"this process, and waits until it is done. Ctrl-C aborts an export in this\n"
		"process; a daemon goes on.\n\n"
		"  all               everything, rendered afresh\n"
		"  all_incremental   everything; reads only what is new or changed\n"
		"  incremental       setup, and what is new or changed\n"
		"  setup             setup tables alone\n\n"
		"  file=NAME         name of the ZIP; .zip is appended\n"
		"  overwrite=yes     take the place of a ZIP with this name\n"
		"  channel=NAME      whose mark says what is new, and moves (main)\n"
		"  base=N            new since snapshot N instead; incremental types\n"
		"  orphans=delete    delete rows of orphans in the database, too\n\n"
		"  -o DIR            also write the ZIP as a file into this directory\n"
		"  --json            print the job's result as JSON\n",
	.run = run,
};
