/* SPDX-License-Identifier: MIT */
/*
 * The root, and the texts in it that are generated: README.md and status.json.
 * A text whose content has changed gets a new tag and a later time.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs/fs.h"
#include "outboxfs/base/clock.h"
#include "outboxfs/format/json.h"

/* What the root contains, in the order of the listing. */
static const struct {
	const char *name;
	struct node node;
} root_entries[] = {
	{"README.md", {.kind = NODE_README}},
	{"status.json", {.kind = NODE_STATUS}},
	{"setup", {.kind = NODE_SETUP}},
	{"data", {.kind = NODE_DIR, .id = ARTIFACT_DIR_ROOT}},
};

#define COOKIE_FIRST 3

static int root_lookup(struct call *call, struct artifact_read *rd,
		       const struct node *dir, const char *name, size_t len,
		       struct node *ret)
{
	(void)call;
	(void)rd;
	(void)dir;
	for (size_t i = 0; i < ARRAY_SIZE(root_entries); i++) {
		if (strlen(root_entries[i].name) != len ||
		    memcmp(root_entries[i].name, name, len) != 0)
			continue;
		*ret = root_entries[i].node;
		return 0;
	}
	return -ENOENT;
}

static int root_list(struct call *call, struct artifact_read *rd,
		     const struct node *dir, off_t cookie, struct lister *l)
{
	size_t first =
		cookie >= COOKIE_FIRST ? (size_t)cookie - COOKIE_FIRST + 1 : 0;
	int r = 0;

	(void)dir;
	for (size_t i = first; r == 0 && i < ARRAY_SIZE(root_entries); i++) {
		const struct node *node = &root_entries[i].node;
		const struct node_ops *ops = node_ops(node->kind);
		wall_s_t time = 0;

		/* Without its database the mount still says what is wrong. */
		if (ops->time && rd->model)
			r = ops->time(call, rd, node, &time);
		if (r == 0)
			r = lister_add(l, root_entries[i].name, node, NULL,
				       time, COOKIE_FIRST + (off_t)i);
	}
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

static void put_shell_path(struct buf *b, const char *mountpoint,
			   const char *fmt, ...) PRINTF(3, 4);
static void put_shell_path(struct buf *b, const char *mountpoint,
			   const char *fmt, ...)
{
	CLEANUP(buf_deinit) struct buf path = BUF_NULL;
	char rest[1024];
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(rest, sizeof(rest), fmt, args);
	va_end(args);
	buf_printf(&path, "%s/%s", mountpoint, rest);
	if (buf_str(&path))
		put_quoted(b, buf_str(&path));
}

static int put_readme(struct call *call, struct artifact_read *rd,
		      struct buf *b)
{
	CLEANUP(buf_deinit) struct buf example = BUF_NULL;
	const struct model *m = rd->model;
	const struct model_table *setup = first_table(m, MODEL_SETUP);
	const struct model_table *data = first_table(m, MODEL_DATA);
	const char *mnt = call->mount->mountpoint;
	int r;

	r = put_example(rd, &example);
	if (r < 0 || !buf_str(&example))
		return r < 0 ? r : -ENOMEM;
	buf_printf(
		b,
		"# %s\n\nThis directory is the database `%s`, mounted by outboxfs. Every file is\n"
		"generated when it is read and shows the latest committed state.\n\n"
		"    setup/<table>.csv    %zu setup tables, one file each\n    data/",
		m->name, call->mount->database,
		m->n_tables - (size_t)m->n_slots);
	put_pov_path(b, m);
	buf_puts(b, "/\n");
	for (int slot = 0; slot < m->n_slots; slot++)
		buf_printf(b, "        %s.csv\n", model_slot(m, slot)->name);
	buf_puts(
		b,
		"        pov.json         values, rows, bytes, SHA-256 of the files\n"
		"    status.json          health, model, counts\n\n"
		"Size and modification time are right before a file is opened. Names are\n"
		"made of values: what a path cannot carry is written as %XX; pov.json has\n"
		"the values as they are. CSV: NULL is an empty field, the empty string is\n"
		"`\"\"`, blobs are `\\x` and hex.\n\n## Try\n\n");
	if (setup) {
		buf_puts(b, "    head ");
		put_shell_path(b, mnt, "setup/%s.csv", setup->name);
		buf_putc(b, '\n');
	}
	if (data && example.len) {
		buf_puts(b, "    cat ");
		put_shell_path(b, mnt, "data/%s/%s.csv", buf_str(&example),
			       data->name);
		buf_puts(b, "\n    jq . ");
		put_shell_path(b, mnt, "data/%s/pov.json", buf_str(&example));
		buf_putc(b, '\n');
	}
	buf_puts(b, "    rsync -a ");
	put_shell_path(b, mnt, "data/");
	buf_puts(b, " copy/\n    diff -rq ");
	put_shell_path(b, mnt, "data");
	buf_puts(
		b,
		" copy\n\nSynchronise directories of this mount, never the mount point itself: when it\n"
		"is not mounted it is empty, and `rsync --delete` would believe that.\n");
	return buf_error(b);
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
	json_key_null(j, "last_snapshot");
}

static void put_health(struct json *j, const struct call *call,
		       const struct artifact_read *rd)
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

static int put_status(struct call *call, struct artifact_read *rd,
		      struct buf *b)
{
	struct mount *mount = call->mount;
	struct json j = JSON_INIT(b);
	char time[CLOCK_TEXT_BYTES];
	struct counts counts;
	int r = 0;

	if (rd->model)
		r = count(call, rd, &counts);
	/* What cannot be counted is left out: the rest says why. */
	if (r < 0 && r != -EIO && r != -EBADMSG)
		return r;
	json_begin_object(&j);
	put_health(&j, call, rd);
	json_key_string(&j, "database", mount->database);
	json_key_string(&j, "mounted", clock_format(mount->started, time));
	json_key_int(&j, "process", getpid());
	if (rd->model) {
		put_model(&j, rd->model);
		if (r == 0)
			put_counts(rd->model, &counts, &j);
	}
	json_key(&j, "space");
	json_begin_object(&j);
	json_key_int(&j, "store_bytes", store_bytes(mount->store));
	json_end_object(&j);
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

/* Puts the present content into the cache of versions, for the open to come. */
static int keep_version(struct call *call, const struct facts *facts,
			const struct buf *content)
{
	struct versions *vs = call->mount->versions;
	struct version *v;
	fuse_ino_t ino;
	int r;

	r = node_pack(&facts->node, &ino);
	if (r == 0)
		r = versions_get(vs, ino, call, &v);
	if (r < 0)
		return r;
	if (r == 1) {
		v->time = facts->time;
		r = versions_write(v, content->data, content->len,
				   call->mount->store);
		versions_done(vs, v, r);
	}
	versions_unref(vs, v);
	return r;
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
				: keep_version(call, ret, &copy);
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
	.live = true,
	.facts = readme_facts,
	.render = text_render,
};

const struct node_ops status_ops = {
	.type = S_IFREG,
	.live = true,
	.facts = status_facts,
	.render = text_render,
};
