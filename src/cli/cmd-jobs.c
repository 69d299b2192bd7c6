/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "cli/follow.h"

static const char *text_of(struct json_object *o, const char *key)
{
	struct json_object *val;
	const char *s = NULL;

	if (o && json_object_object_get_ex(o, key, &val))
		s = json_object_get_string(val);
	return s ? s : "";
}

static void print_row(const char *document)
{
	struct json_object *o = json_tokener_parse(document);
	const char *error = text_of(o, "error");

	printf("%6s  %-7s %-13s  %-20s  %s\n", text_of(o, "job"),
	       text_of(o, "kind"), text_of(o, "state"),
	       text_of(o, "finished_at"),
	       error[0] ? error : text_of(o, "file"));
	json_object_put(o);
}

/* A job may be purged while we list: then it is no more. */
static int print_jobs(struct follow *f, bool json, struct err *err)
{
	CLEANUP(freep) int64_t *ids = NULL;
	bool is_first = true;
	size_t n;
	int r;

	r = follow_list(f, &ids, &n, err);
	if (r < 0)
		return r;
	if (json)
		putchar('[');
	else if (n > 0)
		printf("%6s  %-7s %-13s  %-20s  %s\n", "JOB", "KIND", "STATE",
		       "ENDED", "FILE OR ERROR");
	for (size_t i = 0; i < n; i++) {
		CLEANUP(buf_deinit) struct buf b = BUF_NULL;

		r = follow_document(f, ids[i], &b, err);
		if (r == -ENOENT)
			continue;
		if (r < 0 || !buf_str(&b))
			return r < 0 ? r : -ENOMEM;
		if (json)
			printf("%s\n%.*s", is_first ? "" : ",",
			       (int)(b.len > 0 ? b.len - 1 : 0), b.data);
		else
			print_row(b.data);
		is_first = false;
	}
	if (json)
		fputs(is_first ? "]\n" : "\n]\n", stdout);
	return 0;
}

static int print_job(struct follow *f, int64_t job, bool json, struct err *err)
{
	CLEANUP(buf_deinit) struct buf document = BUF_NULL;
	CLEANUP(buf_deinit) struct buf log = BUF_NULL;
	int r;

	r = follow_document(f, job, &document, err);
	if (r == 0)
		r = follow_read(f, job, "log", &log, err);
	if (r < 0)
		return r;
	fwrite(document.data, 1, document.len, stdout);
	if (!json)
		fwrite(log.data, 1, log.len, stdout);
	return 0;
}

static int run(int argc, char **argv)
{
	CLEANUP(follow_close) struct follow f = FOLLOW_NULL;
	bool json = false;
	const struct cli_option options[] = {
		{.name = "json", .flag = &json},
	};
	struct err err = ERR_NULL;
	int64_t job = 0;
	int r;

	r = cli_parse(&cmd_jobs, options, ARRAY_SIZE(options), &argc, argv);
	if (r != 0)
		return r == 1 ? 0 : r;
	if (argc != 1 && argc != 2)
		return cli_usage(
			&cmd_jobs,
			"one database or mount point is needed, and at most one job");
	r = argc == 2 ? follow_parse_job(&cmd_jobs, argv[1], &job) : 0;
	if (r != 0)
		return r;
	r = follow_open(argv[0], FOLLOW_LOOK, "jobs", &f, &err);
	if (r == 0)
		r = job ? print_job(&f, job, json, &err)
			: print_jobs(&f, json, &err);
	return r < 0 ? cli_fail(&err, r) : 0;
}

const struct cli_command cmd_jobs = {
	.name = "jobs",
	.summary = "list jobs, or show one with its log",
	.usage = "usage: outboxfs jobs DATABASE|MOUNTPOINT [JOB] [--json]\n\n"
		 "Lists all jobs, or shows one and its log.\n\n"
		 "  --json  print JSON: an array of jobs, or one job\n",
	.run = run,
};
