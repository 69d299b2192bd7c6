/* SPDX-License-Identifier: MIT */
/*
 * The root, and the texts in it that are generated: README.md and status.json.
 * A text whose content has changed gets a new tag and a later time.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/fs.h"
#include "outboxfs/base/clock.h"
#include "outboxfs/format/json.h"
#include "outboxfs/store/outbox.h"
#include "outboxfs/store/tree.h"

/* What the root contains, in the order of the listing. */
static const struct {
	const char *name;
	struct node node;
} root_entries[] = {
	{"README.md", {.kind = NODE_README}},
	{"status.json", {.kind = NODE_STATUS}},
	{"setup", {.kind = NODE_SETUP}},
	{"data", {.kind = NODE_DIR, .id = ARTIFACT_DIR_ROOT}},
	{"output", {.kind = NODE_TREE_OUTPUT, .id = TREE_DIR_ROOT}},
	{"outbox", {.kind = NODE_OUTBOX}},
	{"snapshots", {.kind = NODE_SNAPSHOTS}},
	{"jobs", {.kind = NODE_JOBS}},
	{"control", {.kind = NODE_CONTROL}},
};

int root_entry(const char *name, size_t len, struct node *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(root_entries); i++) {
		if (strlen(root_entries[i].name) != len ||
		    memcmp(root_entries[i].name, name, len) != 0)
			continue;
		*ret = root_entries[i].node;
		return 0;
	}
	return -ENOENT;
}

static int root_lookup(struct call *call, struct artifact_read *rd,
		       const struct node *dir, const char *name, size_t len,
		       struct node *ret)
{
	(void)call;
	(void)rd;
	(void)dir;
	return root_entry(name, len, ret);
}

static int root_list(struct call *call, struct artifact_read *rd,
		     const struct node *dir, off_t cookie, struct lister *l)
{
	size_t first =
		cookie >= COOKIE_FIRST ? (size_t)cookie - COOKIE_FIRST + 1 : 0;
	int r = 0;

	(void)call;
	(void)rd;
	(void)dir;
	/* Names only: they stand without a database, and while it is busy. */
	for (size_t i = first; r == 0 && i < ARRAY_SIZE(root_entries); i++)
		r = lister_add(l, root_entries[i].name, &root_entries[i].node,
			       NULL, 0, COOKIE_FIRST + (off_t)i);
	return r < 0 ? r : 0;
}

static int root_time(struct call *call, struct artifact_read *rd,
		     const struct node *dir, wall_s_t *ret)
{
	(void)rd;
	(void)dir;
	*ret = call->mount->started;
	return 0;
}

const struct node_ops root_ops = {
	.type = S_IFDIR,
	.lookup = root_lookup,
	.list = root_list,
	.time = root_time,
};

/* The first table of a role, for examples; NULL: none. */
static const struct model_table *first_table(const struct model *m,
					     enum model_role role)
{
	for (size_t i = 0; i < m->n_tables; i++)
		if (m->tables[i].role == role)
			return &m->tables[i];
	return NULL;
}

/* <location>/<category>/<period> */
static void put_pov_path(struct buf *b, const struct model *m)
{
	for (size_t i = 0; i < m->n_dims; i++)
		buf_printf(b, "%s<%s>", i ? "/" : "", m->dims[i].name);
}

struct first_name {
	int64_t id;
	struct name name;
};

static int take_first(const struct artifact_entry *entry, void *arg)
{
	struct first_name *first = arg;

	first->id = entry->id;
	first->name = entry->name;
	return 1;
}

/* A POV that exists, as a path; nothing where there is none. */
static int put_example(struct artifact_read *rd, struct buf *b)
{
	int64_t id = ARTIFACT_DIR_ROOT;
	int r;

	for (size_t i = 0; i < rd->model->n_dims; i++) {
		CLEANUP(artifact_node_deinit)
		struct artifact_node dir = ARTIFACT_NODE_NULL;
		struct first_name first = {.id = 0};

		r = artifact_dir(rd, id, &dir);
		if (r == 0)
			r = artifact_list(rd, &dir, 0, take_first, &first);
		if (r < 0)
			return r;
		if (first.id == 0)
			return 0;
		buf_printf(b, "%s%s", i ? "/" : "", first.name.text);
		id = first.id;
	}
	return buf_error(b);
}

/* Between single quotes for a shell. */
static void put_quoted(struct buf *b, const char *s)
{
	buf_putc(b, '\'');
	for (; *s; s++)
		if (*s == '\'')
			buf_puts(b, "'\\''");
		else
			buf_putc(b, *s);
	buf_putc(b, '\'');
}

/* A path in the mount, for a shell: directory and file may be empty. */
static void put_path(struct buf *b, const char *mountpoint, const char *dir,
		     const char *file)
{
	CLEANUP(buf_deinit) struct buf path = BUF_NULL;

	buf_printf(&path, "%s/%s%s", mountpoint, dir, file);
	if (buf_str(&path))
		put_quoted(b, buf_str(&path));
}

/* A command with such a path. */
static void put_command(struct buf *b, const char *command,
			const char *mountpoint, const char *dir,
			const char *file)
{
	buf_printf(b, "    %s ", command);
	put_path(b, mountpoint, dir, file);
}

static int put_setup_command(struct buf *b, const struct model *m,
			     const char *mountpoint)
{
	const struct model_table *t = first_table(m, MODEL_SETUP);
	struct name name;
	int r;

	if (!t)
		return 0;
	r = artifact_file_name(t, &name);
	if (r < 0)
		return r;
	put_command(b, "head", mountpoint, "setup/", name.text);
	buf_putc(b, '\n');
	return 0;
}

/* pov: the path of one that exists, or empty. */
static int put_data_commands(struct buf *b, const struct model *m,
			     const char *mountpoint, const char *pov)
{
	CLEANUP(buf_deinit) struct buf dir = BUF_NULL;
	const struct model_table *t = first_table(m, MODEL_DATA);
	struct name name;
	int r;

	if (!t || !*pov)
		return 0;
	buf_printf(&dir, "data/%s/", pov);
	r = artifact_file_name(t, &name);
	if (r < 0 || !buf_str(&dir))
		return r < 0 ? r : -ENOMEM;
	put_command(b, "cat", mountpoint, buf_str(&dir), name.text);
	buf_putc(b, '\n');
	put_command(b, "jq .", mountpoint, buf_str(&dir), "pov.json");
	buf_putc(b, '\n');
	return 0;
}

/* Of data files alone: output/ has no others. */
static int put_diff_command(struct buf *b, const struct model *m,
			    const char *mnt)
{
	const struct model_table *t = first_table(m, MODEL_STATUS);
	struct name name;
	int r;

	buf_puts(b, "    diff -rq -x '*.json'");
	if (t) {
		r = artifact_file_name(t, &name);
		if (r < 0)
			return r;
		buf_puts(b, " -x ");
		put_quoted(b, name.text);
	}
	buf_putc(b, ' ');
	put_path(b, mnt, "data", "");
	buf_putc(b, ' ');
	put_path(b, mnt, "output", "");
	return 0;
}

/* What to write to get data out. */
static int put_export_section(struct buf *b, const struct model *m,
			      const char *mnt, const char *pov)
{
	int r;

	buf_puts(
		b,
		"\n## Export\n\nOne line written into `control/export` makes a ZIP in `outbox/`. `cat` the\n"
		"control file to see what it takes. `incremental` has what has changed since the\n"
		"last export; `diff` shows it before.\n\n");
	put_command(b, "echo 'all file=first.zip wait=yes' >", mnt, "control/",
		    "export");
	buf_putc(b, '\n');
	put_command(b, "unzip -t", mnt, "outbox/", "first.zip");
	buf_putc(b, '\n');
	put_command(b, "echo 'incremental wait=yes' >", mnt, "control/",
		    "export");
	buf_putc(b, '\n');
	put_command(b, "rsync -a", mnt, "outbox/", "");
	buf_puts(b, " partner:/drop/\n");
	put_command(b, "cat", mnt, "jobs/latest/", "result.json");
	buf_putc(b, '\n');
	r = put_diff_command(b, m, mnt);
	if (r < 0)
		return r;
	if (*pov) {
		buf_putc(b, '\n');
		put_command(b, "ls", mnt, "snapshots/latest/output/", pov);
	}
	buf_puts(
		b,
		"\n\n    output/              data files as last exported\n"
		"    data/SnapshotParams.json\n"
		"                         what the last export was\n"
		"    outbox/<name>.zip    finished exports; rm withdraws one\n"
		"    snapshots/<n>/       setup, data and output as they were\n"
		"    jobs/<n>/            request.json, state, progress.json, log, result.json\n"
		"    control/             export, purge, abort: one command a write\n");
	return 0;
}

static int put_readme(struct call *call, struct artifact_read *rd,
		      struct buf *b)
{
	CLEANUP(buf_deinit) struct buf example = BUF_NULL;
	const struct model *m = rd->model;
	const char *mnt = call->mount->mountpoint;
	int r;

	r = put_example(rd, &example);
	if (r < 0 || !buf_str(&example))
		return r < 0 ? r : -ENOMEM;
	buf_printf(
		b,
		"# %s\n\nThis directory is the database `%s`, mounted by outboxfs. Every file is\n"
		"generated when it is read; those in setup/ and data/ show the latest committed\n"
		"state.\n\n"
		"    setup/<table>.csv    %zu setup tables, one file each\n    data/",
		m->name, call->mount->database,
		m->n_tables - (size_t)m->n_slots);
	put_pov_path(b, m);
	buf_puts(b, "/\n");
	for (int slot = 0; r == 0 && slot < m->n_slots; slot++) {
		struct name name;

		r = artifact_file_name(model_slot(m, slot), &name);
		if (r == 0)
			buf_printf(b, "        %s\n", name.text);
	}
	buf_puts(
		b,
		"        pov.json         values, rows, bytes, SHA-256 of the files\n"
		"    status.json          health, model, counts\n\n"
		"Size and modification time are right before a file is opened. Names are\n"
		"made of values: what a path cannot carry is written as %XX; pov.json has\n"
		"the values as they are. CSV: NULL is an empty field, the empty string is\n"
		"`\"\"`, blobs are `\\x` and hex.\n\n## Try\n\n");
	if (r == 0)
		r = put_setup_command(b, m, mnt);
	if (r == 0)
		r = put_data_commands(b, m, mnt, buf_str(&example));
	if (r < 0)
		return r;
	put_command(b, "rsync -a", mnt, "data/", "");
	buf_puts(b, " copy/\n");
	put_command(b, "diff -rq", mnt, "data", "");
	buf_puts(
		b,
		" copy\n\nSynchronise directories of this mount, never the mount point itself: when it\n"
		"is not mounted it is empty, and `rsync --delete` would believe that.\n");
	r = put_export_section(b, m, mnt, buf_str(&example));
	return r < 0 ? r : buf_error(b);
}

/* Bytes on disk of the files in the store. */
static int64_t store_bytes(const struct store *store)
{
	static const char *const names[] = {"store.db", "store.db-wal"};
	int64_t sum = 0;

	for (size_t i = 0; store_path(store) && i < ARRAY_SIZE(names); i++) {
		char path[4096];
		struct stat st;

		(void)snprintf(path, sizeof(path), "%s/%s", store_path(store),
			       names[i]);
		if (stat(path, &st) == 0)
			sum += st.st_size;
	}
	return sum;
}

static void put_model(struct json *j, const struct model *m)
{
	json_key(j, "model");
	json_begin_object(j);
	json_key_string(j, "name", m->name);
	json_key_string(j, "sha256", m->hash);
	json_key(j, "pov");
	json_begin_array(j);
	for (size_t i = 0; i < m->n_dims; i++)
		json_string(j, m->dims[i].name, strlen(m->dims[i].name));
	json_end_array(j);
	json_end_object(j);
}

struct counts {
	int64_t change;
	int64_t povs;
};

/* -EIO, -EBADMSG: they cannot be read, and trouble_get() says why. */
static int count(struct call *call, struct artifact_read *rd,
		 struct counts *ret)
{
	int r;

	r = artifact_change(rd, &ret->change);
	if (r == 0)
		r = artifact_count_povs(rd, &ret->povs);
	return r < 0 ? trouble_check(call, rd, r) : 0;
}

static void put_counts(const struct model *m, const struct counts *counts,
		       struct json *j)
{
	json_key(j, "counts");
	json_begin_object(j);
	json_key_int(j, "setup_tables",
		     (int64_t)(m->n_tables - (size_t)m->n_slots));
	json_key_int(j, "data_tables", m->n_slots);
	json_key_int(j, "povs", counts->povs);
	json_end_object(j);
	json_key_int(j, "last_change", counts->change);
}

/* stored: 0, or why the store cannot be read. */
static void put_health(struct json *j, const struct call *call,
		       const struct artifact_read *rd, int stored)
{
	const char *health = "ok";
	const char *message = NULL;
	struct err why;

	if (!rd->model) {
		health = "error";
		message = err_text(&call->err, -EIO);
	} else if (trouble_get(call->mount, rd->generation, &why)) {
		health = "error";
		message = why.text;
	} else if (stored < 0) {
		health = "error";
		message = "the store cannot be read: run outboxfs verify";
	} else if (rd->unsettled) {
		health = "waiting";
		message =
			"the database cannot be written now (another program holds it, or it is read-only): changed files are rendered anew at each open";
	}
	json_key_string(j, "health", health);
	json_key(j, "message");
	if (message)
		json_string(j, message, strlen(message));
	else
		json_null(j);
}

/* What the store says of exports. */
struct exports {
	struct store_usage usage;
	struct tree_snapshot last; /* id 0: there is none */
};

static int get_exports(const struct mount *m, struct exports *ret)
{
	int r;

	r = store_usage(m->store, &ret->usage);
	if (r < 0)
		return r;
	r = tree_snapshot(m->store, 0, &ret->last);
	if (r == -ENOENT)
		ret->last.id = 0;
	return r == -ENOENT ? 0 : r;
}

static void put_exports(const struct mount *m, const struct exports *exports,
			struct json *j)
{
	const struct work_limits *limits = &m->options->limits;
	const struct store_usage *usage = &exports->usage;
	char time[CLOCK_TEXT_BYTES];

	json_key(j, "last_snapshot");
	if (exports->last.id) {
		json_begin_object(j);
		json_key_int(j, "snapshot", exports->last.id);
		json_key_string(j, "time",
				clock_format(exports->last.time, time));
		json_end_object(j);
	} else {
		json_null(j);
	}
	json_key_int(j, "pending_jobs", usage->n_queued);
	json_key(j, "space");
	json_begin_object(j);
	json_key_int(j, "store_bytes", store_bytes(m->store));
	json_key_int(j, "pack_bytes", usage->packs);
	json_key_int(j, "dead_bytes", usage->dead);
	json_key_int(j, "snapshots", usage->n_snapshots);
	json_key_int(j, "outbox", usage->n_outbox);
	json_end_object(j);
	json_key(j, "limits");
	json_begin_object(j);
	json_key_int(j, "max_store", limits->store_bytes);
	json_key_int(j, "max_outbox", limits->outbox_max);
	json_key_int(j, "queue", limits->queued_max);
	json_key_int(j, "waiting", limits->waiting_max);
	json_end_object(j);
}

static int put_status(struct call *call, struct artifact_read *rd,
		      struct buf *b)
{
	struct mount *mount = call->mount;
	struct json j = JSON_INIT(b);
	char time[CLOCK_TEXT_BYTES];
	struct exports exports;
	struct counts counts;
	int stored;
	int r = 0;

	if (rd->model)
		r = count(call, rd, &counts);
	/* What cannot be counted is left out: the rest says why. */
	if (r < 0 && r != -EIO && r != -EBADMSG)
		return r;
	stored = get_exports(mount, &exports);
	if (stored < 0 && stored != -EIO && stored != -EBADMSG)
		return stored;
	json_begin_object(&j);
	put_health(&j, call, rd, stored);
	json_key_string(&j, "database", mount->database);
	json_key_string(&j, "mounted", clock_format(mount->started, time));
	json_key_int(&j, "process", getpid());
	if (rd->model) {
		put_model(&j, rd->model);
		if (r == 0)
			put_counts(rd->model, &counts, &j);
	}
	if (stored == 0)
		put_exports(mount, &exports, &j);
	json_end_object(&j);
	json_end_document(&j);
	return buf_error(b);
}

typedef int (*put_func_t)(struct call *call, struct artifact_read *rd,
			  struct buf *b);

/* Takes over content that differs from what the text was. */
static void renew_locked(struct text *text, struct buf *content)
{
	wall_s_t now = clock_wall();

	if (text->content.data && text->content.len == content->len &&
	    memcmp(text->content.data, content->data, content->len) == 0)
		return;
	buf_deinit(&text->content);
	text->content = *content;
	*content = (struct buf)BUF_NULL;
	text->tag = (text->tag + 1) & NODE_TAG_MASK;
	text->time = now > text->time ? now : text->time + 1;
}

static int text_facts(struct call *call, struct artifact_read *rd,
		      struct text *text, enum node_kind kind, put_func_t put,
		      struct facts *ret)
{
	CLEANUP(buf_deinit) struct buf content = BUF_NULL;
	CLEANUP(buf_deinit) struct buf copy = BUF_NULL;
	int r;

	if (!call->patient)
		return -EWOULDBLOCK;
	r = put(call, rd, &content);
	if (r < 0)
		return r;
	{
		LOCK_SCOPE(&call->mount->texts_lock);

		renew_locked(text, &content);
		buf_add(&copy, text->content.data, text->content.len);
		ret->node = (struct node){.kind = kind, .tag = text->tag};
		ret->size = (int64_t)text->content.len;
		ret->time = text->time;
	}
	return buf_error(&copy) ? buf_error(&copy)
				: version_keep(call, ret, &copy);
}

static int readme_facts(struct call *call, struct artifact_read *rd,
			const struct node *node, struct facts *ret)
{
	(void)node;
	if (!rd->model)
		return call->why;
	return text_facts(call, rd, &call->mount->readme, NODE_README,
			  put_readme, ret);
}

static int status_facts(struct call *call, struct artifact_read *rd,
			const struct node *node, struct facts *ret)
{
	(void)node;
	return text_facts(call, rd, &call->mount->status, NODE_STATUS,
			  put_status, ret);
}

/* The facts have put the version into the cache; if it is gone, so be it. */
static int text_render(struct call *call, struct artifact_read *rd,
		       const struct facts *facts, struct version *v)
{
	(void)call;
	(void)rd;
	(void)facts;
	(void)v;
	return -ESTALE;
}

const struct node_ops readme_ops = {
	.type = S_IFREG,
	.cache = CACHE_BRIEF,
	.facts = readme_facts,
	.render = text_render,
};

const struct node_ops status_ops = {
	.type = S_IFREG,
	.cache = CACHE_BRIEF,
	.facts = status_facts,
	.render = text_render,
};
