/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "outboxfs/artifact/artifact.h"
#include "outboxfs/format/json.h"
#include "outboxfs/fs/mount.h"
#include "outboxfs/store/store.h"

struct status {
	char database[PATH_MAX];
	char mountpoint[PATH_MAX];  /* that was asked about; or "" */
	char holder[PATH_MAX + 64]; /* "" where nobody serves it */
	const struct model *model;
	int64_t povs;
	int64_t change;
	bool unsettled;
};

static void print_text(const struct status *s)
{
	const struct model *m = s->model;

	printf("database     %s\n", s->database);
	printf("model        %s, sha256 %.12s…\n", m->name, m->hash);
	printf("point of view");
	for (size_t i = 0; i < m->n_dims; i++)
		printf("%s%s", i ? " x " : " ", m->dims[i].name);
	printf("\nsetup        %zu tables\n", m->n_tables - (size_t)m->n_slots);
	printf("data         %d tables, %lld points of view\n", m->n_slots,
	       (long long)s->povs);
	printf("last change  %lld%s\n", (long long)s->change,
	       s->unsettled ? ", and more that is not counted yet" : "");
	printf("in use by    %s\n", s->holder[0] ? s->holder : "nobody");
}

static void print_json(const struct status *s)
{
	CLEANUP(buf_deinit) struct buf b = BUF_NULL;
	struct json j = JSON_INIT(&b);
	const struct model *m = s->model;

	json_begin_object(&j);
	json_key_string(&j, "database", s->database);
	json_key_string(&j, "model", m->name);
	json_key_string(&j, "model_sha256", m->hash);
	json_key_int(&j, "setup_tables",
		     (int64_t)(m->n_tables - (size_t)m->n_slots));
	json_key_int(&j, "data_tables", m->n_slots);
	json_key_int(&j, "povs", s->povs);
	json_key_int(&j, "last_change", s->change);
	json_key_boolean(&j, "unsettled", s->unsettled);
	if (s->holder[0])
		json_key_string(&j, "in_use_by", s->holder);
	else
		json_key_null(&j, "in_use_by");
	json_end_object(&j);
	json_end_document(&j);
	fwrite(b.data, 1, b.len, stdout);
}

static int show(struct status *s, bool json, struct err *err)
{
	CLEANUP(artifact_freep) struct artifact *a = NULL;
	CLEANUP(artifact_read_end) struct artifact_read rd = ARTIFACT_READ_NULL;
	struct artifact_options options = ARTIFACT_OPTIONS_DEFAULT;
	int r;

	r = artifact_open(s->database, &options, &a, err);
	if (r == 0)
		r = artifact_read_begin(a, true, &rd, err);
	if (r == 0)
		r = artifact_count_povs(&rd, &s->povs);
	if (r == 0)
		r = artifact_change(&rd, &s->change);
	if (r == 0)
		r = store_holder(s->database, s->holder, sizeof(s->holder));
	if (r < 0)
		return r;
	/* On a read-only disk the store is in memory and says nothing. */
	if (!s->holder[0] && s->mountpoint[0])
		(void)snprintf(s->holder, sizeof(s->holder), "mounted at '%s'",
			       s->mountpoint);
	s->model = rd.model;
	s->unsettled = rd.unsettled;
	if (json)
		print_json(s);
	else
		print_text(s);
	return 0;
}

static int run(int argc, char **argv)
{
	struct status status = {.povs = 0};
	bool json = false;
	const struct cli_option options[] = {
		{.name = "json", .flag = &json},
	};
	struct err err = ERR_NULL;
	int r;

	r = cli_parse(&cmd_status, options, ARRAY_SIZE(options), &argc, argv);
	if (r != 0)
		return r == 1 ? 0 : r;
	if (argc != 1)
		return cli_usage(&cmd_status,
				 "one database file or mount point is needed");
	r = mount_find_database(argv[0], status.database, status.mountpoint,
				&err);
	if (r >= 0)
		r = show(&status, json, &err);
	return r < 0 ? cli_fail(&err, r) : 0;
}

const struct cli_command cmd_status = {
	.name = "status",
	.summary = "show model, counts and who serves a database",
	.usage =
		"usage: outboxfs status DATABASE|MOUNTPOINT [--json]\n\n"
		"Shows the model, how much there is, the last change number, and which\n"
		"process serves the database, mounted or not.\n",
	.run = run,
};
