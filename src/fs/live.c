/* SPDX-License-Identifier: MIT */
/*
 * setup/ and data/: what the database has now.
 *
 * A file's facts are known by its change number, or found out by rendering it.
 * Under an open mark that cannot be folded nothing is final: the file is
 * rendered for whoever asks, under a tag of its own, and remembered by nobody.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fs/fs.h"
#include "outboxfs/base/clock.h"
#include "outboxfs/base/log.h"
#include "outboxfs/base/utf8.h"
#include "outboxfs/format/json.h"
#include "outboxfs/store/object.h"

/* Cookies of a POV's entries: its tables by slot, then pov.json. */
#define COOKIE_POV_JSON (COOKIE_FIRST + MODEL_SLOTS_MAX)

const struct model_table *live_table(const struct model *m, int64_t id)
{
	/* Ids were given in this order when the database was adopted. */
	if (id >= 1 && (size_t)id <= m->n_tables && m->tables[id - 1].id == id)
		return &m->tables[id - 1];
	for (size_t i = 0; i < m->n_tables; i++)
		if (m->tables[i].id == id)
			return &m->tables[i];
	return NULL;
}

static bool has_name(const struct model_table *t, const char *name, size_t len)
{
	struct name own;

	return artifact_file_name(t, &own) == 0 && own.len == len &&
	       memcmp(own.text, name, len) == 0;
}

/*
 * Change numbers may come again in the next epoch, with other content: tags
 * move on by more changes than are made until the kernel has forgotten.
 */
#define EPOCH_STEP 9973

static unsigned settled_tag(const struct call *call, int64_t change)
{
	return ((unsigned)change + call->epoch * EPOCH_STEP) & NODE_TAG_MASK;
}

/* Hashes and keeps what a renderer writes. */
struct render {
	struct version *v;
	struct sha256 hash;
	struct store *store;
	fuse_req_t req;
	bool patient;
};

/* What the thread that takes requests renders by itself. */
#define INLINE_BYTES_MAX 65536

static int render_write(void *arg, const char *data, size_t n)
{
	struct render *render = arg;
	int r;

	if (fuse_req_interrupted(render->req))
		return -EINTR;
	if (!render->patient && render->v->size + (int64_t)n > INLINE_BYTES_MAX)
		return -EWOULDBLOCK;
	r = sha256_add(&render->hash, data, n);
	return r < 0 ? r : versions_write(render->v, data, n, render->store);
}

/*
 * The version of a file that this mark stands for. After a label has changed
 * it is another one, since it shows another time: what a node id stands for
 * never changes.
 */
static unsigned file_tag(const struct call *call,
			 const struct artifact_node *pov,
			 const struct artifact_mark *mark)
{
	if (pov && pov->label.change > mark->change)
		return settled_tag(call, pov->label.change);
	return settled_tag(call, mark->change);
}

/* pov is NULL for a setup table. */
static int render_rows(struct call *call, struct artifact_read *rd,
		       const struct model_table *t,
		       const struct artifact_node *pov, struct version *v)
{
	CLEANUP(sha256_deinit) struct sha256 hash = SHA256_NULL;
	struct render render = {.v = v,
				.store = call->mount->store,
				.req = call->req,
				.patient = call->patient};
	struct artifact_sink sink = {.write = render_write, .arg = &render};
	struct err err = ERR_NULL;
	int r;

	r = sha256_init(&hash);
	if (r < 0)
		return r;
	render.hash = hash;
	r = artifact_rows(rd, t, pov, &sink, &v->rows, &err);
	if (r == 0) {
		r = sha256_end(&render.hash, v->sha256);
		hash = render.hash;
	}
	if (!call->patient && r == -ECANCELED)
		r = -EWOULDBLOCK;
	if (r == -EIO || r == -EBADMSG)
		call->err = err; /* trouble_check() logs it, once */
	else if (r < 0 && r != -EINTR && r != -EWOULDBLOCK)
		log_err("%s", err_text(&err, r));
	return r;
}

/* A copy of an object; pieces as large as a render's. */
static int copy_object(struct call *call, int64_t id, struct version *v)
{
	CLEANUP(object_closep) struct object_reader *reader = NULL;
	CLEANUP(freep) char *data = NULL;
	size_t piece = (size_t)256 << 10;
	ssize_t n;
	int r;

	r = object_open(call->mount->store, id, &reader);
	if (r < 0)
		return r;
	data = malloc(piece);
	if (!data)
		return -ENOMEM;
	do {
		if (fuse_req_interrupted(call->req))
			return -EINTR;
		n = object_read(reader, v->size, data, piece);
		if (n < 0)
			return (int)n;
		r = versions_write(v, data, (size_t)n, call->mount->store);
		if (r < 0)
			return r;
	} while (n > 0);
	return 0;
}

/*
 * What was exported and has not changed since is in the store: inflating it is
 * several times as fast as rendering. 1: the version is filled; 0: it must be
 * rendered.
 */
static int fill_from_store(struct call *call, const struct model_table *t,
			   const struct artifact_node *pov, int64_t change,
			   struct version *v)
{
	struct store_known known;
	struct object object;
	int r;

	if (knowledge_get(call->mount->knowledge, call->epoch, t->id,
			  pov ? pov->id : 0, change, &known) != 1 ||
	    object_find(call->mount->store, known.sha256, &object) != 1 ||
	    object.size != known.bytes)
		return 0;
	if (!call->patient && object.size > INLINE_BYTES_MAX)
		return -EWOULDBLOCK;
	r = copy_object(call, object.id, v);
	if (r == 0 && v->size == known.bytes) {
		v->rows = known.rows;
		memcpy(v->sha256, known.sha256, SHA256_BYTES);
		return 1;
	}
	versions_empty(v);
	if (r == -EINTR || r == -ENOMEM)
		return r;
	log_err("an exported file cannot be read back (object %lld): %s; run outboxfs verify",
		(long long)object.id, strerrordesc_np(r < 0 ? -r : EBADMSG));
	return 0;
}

static struct store_known known_of(const struct model_table *t,
				   const struct artifact_node *pov,
				   const struct artifact_mark *mark,
				   const struct version *v)
{
	struct store_known known = {
		.table = t->id,
		.pov = pov ? pov->id : 0,
		.change = mark->change,
		.rows = v->rows,
		.bytes = v->size,
	};

	memcpy(known.sha256, v->sha256, SHA256_BYTES);
	return known;
}

static struct node file_node(const struct model_table *t,
			     const struct artifact_node *pov, unsigned tag)
{
	return (struct node){
		.kind = pov ? NODE_DATA_FILE : NODE_SETUP_FILE,
		.id = pov ? pov->id : 0,
		.table = (unsigned)t->id,
		.tag = tag,
	};
}

/* A file's time, noted: no other content may ever have one that was shown. */
static wall_s_t served_time(const struct call *call, wall_s_t time)
{
	struct mount *m = call->mount;
	wall_s_t seen = atomic_load(&m->time_served);

	while (seen < time &&
	       !atomic_compare_exchange_weak(&m->time_served, &seen, time))
		;
	return time;
}

/* Renders a version unless it is there, and says what is known then. */
static int render_version(struct call *call, struct artifact_read *rd,
			  const struct model_table *t,
			  const struct artifact_node *pov,
			  const struct artifact_mark *mark, struct node *node,
			  struct store_known *ret)
{
	struct versions *vs = call->mount->versions;
	struct version *v;
	int r;

	r = version_get(call, node, &v);
	if (r < 0)
		return r;
	if (r == 1) {
		r = render_rows(call, rd, t, pov, v);
		v->time = served_time(call, mark->time);
		versions_done(vs, v, r);
	}
	if (r == 0)
		*ret = known_of(t, pov, mark, v);
	if (r == 0 && !(node->tag & NODE_TAG_PROVISIONAL))
		knowledge_put(call->mount->knowledge, call->epoch, ret);
	versions_unref(vs, v);
	return r;
}

/* The mark of a file. -ENOENT: the table never had rows of this POV. */
static int get_mark(struct artifact_read *rd, const struct model_table *t,
		    const struct artifact_node *pov, struct artifact_mark *ret)
{
	if (!pov)
		return artifact_setup_mark(rd, t, ret);
	*ret = pov->marks[t->slot];
	/* Before that, another POV's file may have been at the path. */
	if (ret->time < pov->label.time)
		ret->time = pov->label.time;
	return ret->change || rd->unsettled ? 0 : -ENOENT;
}

/*
 * What can be said without rendering: 1: *ret is known; 0: the file is there,
 * but its size is not known; -ENOENT.
 */
static int known_facts(struct call *call, struct artifact_read *rd,
		       const struct model_table *t,
		       const struct artifact_node *pov,
		       struct artifact_mark *ret_mark, bool *ret_open,
		       struct store_known *ret)
{
	int r;

	*ret_open = false;
	r = get_mark(rd, t, pov, ret_mark);
	if (r == 0)
		r = artifact_is_open(rd, t, pov);
	if (r < 0)
		return r;
	*ret_open = r == 1 || (pov && pov->label_open);
	if (!*ret_open &&
	    knowledge_get(call->mount->knowledge, call->epoch, t->id,
			  pov ? pov->id : 0, ret_mark->change, ret) == 1)
		return pov && ret->rows == 0 ? -ENOENT : 1;
	if (!pov)
		return 0;
	r = artifact_has_rows(rd, t, pov);
	return r < 0 ? r : r == 1 ? 0 : -ENOENT;
}

static void note_change(const struct call *call, int64_t change)
{
	struct mount *m = call->mount;
	int64_t seen = atomic_load(&m->change_served);

	while (seen < change &&
	       !atomic_compare_exchange_weak(&m->change_served, &seen, change))
		;
}

/* The facts of a file as of now; renders it if it must. */
static int find_facts(struct call *call, struct artifact_read *rd,
		      const struct model_table *t,
		      const struct artifact_node *pov,
		      struct store_known *ret_known, struct facts *ret)
{
	struct artifact_mark mark;
	bool open;
	int r;

	r = known_facts(call, rd, t, pov, &mark, &open, ret_known);
	if (r < 0)
		return r;
	note_change(call, mark.change);
	if (pov)
		note_change(call, pov->label.change);
	ret->node = file_node(t, pov, file_tag(call, pov, &mark));
	if (r == 0) {
		if (open) {
			ret->node.tag = NODE_TAG_PROVISIONAL;
			if (mark.time < clock_wall())
				mark.time = clock_wall();
			else
				mark.time++;
		}
		r = render_version(call, rd, t, pov, &mark, &ret->node,
				   ret_known);
		if (r < 0)
			return r;
		if (pov && ret_known->rows == 0)
			return -ENOENT;
	}
	ret->size = ret_known->bytes;
	ret->time = served_time(call, mark.time);
	return 0;
}

int live_known(struct call *call, struct artifact_read *rd,
	       const struct model_table *t, const struct artifact_node *pov,
	       struct store_known *ret)
{
	struct facts facts;
	int r;

	r = find_facts(call, rd, t, pov, ret, &facts);
	return r == -ENOENT ? 0 : r < 0 ? r : 1;
}

/* An entry of a listing: with facts where they are known. 1: full. */
static int list_file(struct call *call, struct artifact_read *rd,
		     const struct model_table *t,
		     const struct artifact_node *pov, off_t cookie,
		     struct lister *l)
{
	struct store_known known = {.bytes = 0};
	struct artifact_mark mark;
	struct facts facts;
	struct name name;
	bool open;
	int r;

	r = known_facts(call, rd, t, pov, &mark, &open, &known);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	facts.node = file_node(t, pov, file_tag(call, pov, &mark));
	facts.size = known.bytes;
	facts.time = served_time(call, mark.time);
	if (artifact_file_name(t, &name) < 0)
		return -ENOMEM;
	return lister_add(l, name.text, &facts.node, r == 1 ? &facts : NULL,
			  facts.time, cookie);
}

/* When data/ was modified, noted for when the database is not at hand. */
static wall_s_t tree_time(const struct call *call,
			  const struct artifact_node *root)
{
	atomic_store(&call->mount->tree_time, root->time);
	return root->time;
}

/* setup/ */

static int setup_lookup(struct call *call, struct artifact_read *rd,
			const struct node *dir, const char *name, size_t len,
			struct node *ret)
{
	const struct model *m = rd->model;

	(void)call;
	(void)dir;
	for (size_t i = 0; i < m->n_tables; i++) {
		if (m->tables[i].role != MODEL_SETUP ||
		    !has_name(&m->tables[i], name, len))
			continue;
		*ret = file_node(&m->tables[i], NULL, 0);
		return 0;
	}
	return -ENOENT;
}

static int setup_list(struct call *call, struct artifact_read *rd,
		      const struct node *dir, off_t cookie, struct lister *l)
{
	const struct model *m = rd->model;
	size_t first =
		cookie >= COOKIE_FIRST ? (size_t)cookie - COOKIE_FIRST + 1 : 0;
	int r = 0;

	(void)dir;
	for (size_t i = first; r == 0 && i < m->n_tables; i++)
		if (m->tables[i].role == MODEL_SETUP)
			r = list_file(call, rd, &m->tables[i], NULL,
				      COOKIE_FIRST + (off_t)i, l);
	return r < 0 ? r : 0;
}

/* As old as the model: files come and go only with it. */
static int setup_time(struct call *call, struct artifact_read *rd,
		      const struct node *dir, wall_s_t *ret)
{
	CLEANUP(artifact_node_deinit)
	struct artifact_node root = ARTIFACT_NODE_NULL;
	int r;

	(void)dir;
	r = artifact_dir(rd, ARTIFACT_DIR_ROOT, &root);
	if (r == 0)
		*ret = tree_time(call, &root);
	return r;
}

const struct node_ops setup_ops = {
	.type = S_IFDIR,
	.lookup = setup_lookup,
	.list = setup_list,
	.time = setup_time,
};

static int setup_file_facts(struct call *call, struct artifact_read *rd,
			    const struct node *node, struct facts *ret)
{
	const struct model_table *t = live_table(rd->model, node->table);
	struct store_known known;

	if (!t || t->role != MODEL_SETUP)
		return -ENOENT;
	return find_facts(call, rd, t, NULL, &known, ret);
}

/* The settled version that facts() found. */
static int render_settled(struct call *call, struct artifact_read *rd,
			  const struct facts *facts,
			  const struct artifact_node *pov, struct version *v)
{
	const struct model_table *t = live_table(rd->model, facts->node.table);
	struct artifact_mark mark;
	int r;

	v->time = facts->time;
	r = get_mark(rd, t, pov, &mark);
	if (r == 0)
		r = fill_from_store(call, t, pov, mark.change, v);
	if (r != 0)
		return r < 0 ? r : 0;
	return render_rows(call, rd, t, pov, v);
}

static int setup_file_render(struct call *call, struct artifact_read *rd,
			     const struct facts *facts, struct version *v)
{
	return render_settled(call, rd, facts, NULL, v);
}

const struct node_ops setup_file_ops = {
	.type = S_IFREG,
	.facts = setup_file_facts,
	.render = setup_file_render,
};

/* data/ and the directories in it */

/* May it be said what there is, and what there is not? */
static int check_listing(struct artifact_read *rd)
{
	int r = artifact_check_listing(rd);

	return r == -EBUSY ? -EALREADY : r;
}

static int dir_lookup(struct call *call, struct artifact_read *rd,
		      const struct node *node, const char *name, size_t len,
		      struct node *ret)
{
	CLEANUP(artifact_node_deinit)
	struct artifact_node dir = ARTIFACT_NODE_NULL;
	struct artifact_entry entry;
	int r;

	/* It hides a value of that name; the store answers for it. */
	if (node->id == ARTIFACT_DIR_ROOT && strcmp(name, PARAMS_NAME) == 0) {
		struct facts params;

		r = params_latest(call, &params);
		*ret = params.node;
		return r;
	}
	r = artifact_dir(rd, node->id, &dir);
	if (r == 0)
		r = artifact_lookup(rd, &dir, name, len, &entry);
	if (r == -ENOENT) {
		r = check_listing(rd);
		if (r == 0)
			r = -ENOENT;
	}
	if (r < 0)
		return r;
	*ret = (struct node){
		.kind = dir.level + 1 == rd->model->n_dims ? NODE_POV
							   : NODE_DIR,
		.id = entry.id,
	};
	return 0;
}

struct dir_list {
	struct lister *l;
	enum node_kind kind;
};

static int dir_list_entry(const struct artifact_entry *entry, void *arg)
{
	struct dir_list *list = arg;
	struct node node = {.kind = list->kind, .id = entry->id};

	return lister_add(list->l, entry->name.text, &node, NULL, entry->time,
			  COOKIE_FIRST + entry->id);
}

static int dir_list(struct call *call, struct artifact_read *rd,
		    const struct node *node, off_t cookie, struct lister *l)
{
	CLEANUP(artifact_node_deinit)
	struct artifact_node dir = ARTIFACT_NODE_NULL;
	struct dir_list list = {.l = l, .kind = NODE_DIR};
	struct facts params;
	int r;

	r = check_listing(rd);
	if (r == 0)
		r = artifact_dir(rd, node->id, &dir);
	if (r < 0)
		return r;
	if (dir.level + 1 == rd->model->n_dims)
		list.kind = NODE_POV;
	if (node->id == ARTIFACT_DIR_ROOT && cookie < COOKIE_FIRST) {
		r = params_latest(call, &params);
		if (r == 0)
			r = lister_add(l, PARAMS_NAME, &params.node, &params,
				       params.time, COOKIE_FIRST);
		if (r != 0 && r != -ENOENT)
			return r < 0 ? r : 0;
	}
	return artifact_list(rd, &dir,
			     cookie > COOKIE_FIRST ? cookie - COOKIE_FIRST : 0,
			     dir_list_entry, &list);
}

static int dir_time(struct call *call, struct artifact_read *rd,
		    const struct node *node, wall_s_t *ret)
{
	CLEANUP(artifact_node_deinit)
	struct artifact_node dir = ARTIFACT_NODE_NULL;
	int r;

	r = artifact_dir(rd, node->id, &dir);
	if (r == 0 && node->id != ARTIFACT_DIR_ROOT)
		r = artifact_is_alive(rd, &dir);
	if (r < 0)
		return r == -ENOENT ? -ESTALE : r;
	*ret = node->id == ARTIFACT_DIR_ROOT ? tree_time(call, &dir) : dir.time;
	return 0;
}

const struct node_ops dir_ops = {
	.type = S_IFDIR,
	.lookup = dir_lookup,
	.list = dir_list,
	.time = dir_time,
};

/* data/<loc>/<cat>/<per>/ */

static int pov_lookup(struct call *call, struct artifact_read *rd,
		      const struct node *dir, const char *name, size_t len,
		      struct node *ret)
{
	(void)call;
	if (len == 8 && memcmp(name, "pov.json", 8) == 0) {
		*ret = (struct node){.kind = NODE_POV_JSON, .id = dir->id};
		return 0;
	}
	for (int slot = 0; slot < rd->model->n_slots; slot++) {
		const struct model_table *t = model_slot(rd->model, slot);

		if (!has_name(t, name, len))
			continue;
		*ret = (struct node){.kind = NODE_DATA_FILE,
				     .id = dir->id,
				     .table = (unsigned)t->id};
		return 0;
	}
	return -ENOENT;
}

static int pov_time(struct call *call, struct artifact_read *rd,
		    const struct node *node, wall_s_t *ret)
{
	CLEANUP(artifact_node_deinit)
	struct artifact_node pov = ARTIFACT_NODE_NULL;
	int r;

	(void)call;
	r = artifact_pov(rd, node->id, &pov);
	if (r == 0)
		r = artifact_is_alive(rd, &pov);
	if (r < 0)
		return r == -ENOENT ? -ESTALE : r;
	*ret = pov.time;
	return 0;
}

static int data_file_facts(struct call *call, struct artifact_read *rd,
			   const struct node *node, struct facts *ret)
{
	CLEANUP(artifact_node_deinit)
	struct artifact_node pov = ARTIFACT_NODE_NULL;
	const struct model_table *t = live_table(rd->model, node->table);
	struct store_known known;
	int r;

	if (!t || t->slot < 0)
		return -ENOENT;
	r = artifact_pov(rd, node->id, &pov);
	return r < 0 ? r : find_facts(call, rd, t, &pov, &known, ret);
}

static int data_file_render(struct call *call, struct artifact_read *rd,
			    const struct facts *facts, struct version *v)
{
	CLEANUP(artifact_node_deinit)
	struct artifact_node pov = ARTIFACT_NODE_NULL;
	int r;

	r = artifact_pov(rd, facts->node.id, &pov);
	return r < 0 ? r : render_settled(call, rd, facts, &pov, v);
}

const struct node_ops data_file_ops = {
	.type = S_IFREG,
	.facts = data_file_facts,
	.render = data_file_render,
};

/* pov.json */

/* Bytes that JSON cannot carry as text stand beside it as hex. */
static void put_value(struct json *j, const char *key, const struct value *v)
{
	static const char *const types[] = {"null", "integer", "real", "text",
					    "blob"};
	char hex[2 * 512 + 1];

	json_key(j, key);
	json_value(j, v);
	if (v->type == VALUE_INTEGER || v->type == VALUE_REAL ||
	    v->type == VALUE_NULL)
		return;
	if (v->type == VALUE_TEXT && utf8_is_valid(v->bytes.data, v->bytes.len))
		return;
	json_key(j, strcmp(key, "label") == 0 ? "label_type" : "type");
	json_string(j, types[v->type], strlen(types[v->type]));
	if (v->bytes.len > 512)
		return;
	hex_format(v->bytes.data, v->bytes.len, hex);
	json_key_string(j, strcmp(key, "label") == 0 ? "label_hex" : "hex",
			hex);
}

/* The latest change and time over everything that a document shows. */
static void later(struct artifact_mark *mark, const struct artifact_mark *other)
{
	if (other->change > mark->change)
		mark->change = other->change;
	if (other->time > mark->time)
		mark->time = other->time;
}

static int put_pov_values(struct artifact_read *rd, struct json *j,
			  struct artifact_node *pov, struct artifact_mark *mark)
{
	json_key(j, "pov");
	json_begin_object(j);
	for (unsigned i = 0; i < rd->model->n_dims; i++) {
		struct artifact_mark label_mark;
		struct value label;
		int r;

		json_key(j, rd->model->dims[i].name);
		json_begin_object(j);
		put_value(j, "value", &pov->values[i]);
		r = artifact_label(rd, i, &pov->values[i], &pov->arena, &label,
				   &label_mark);
		if (r < 0)
			return r;
		if (r == 1)
			put_value(j, "label", &label);
		later(mark, &label_mark);
		json_end_object(j);
	}
	json_end_object(j);
	return 0;
}

static int put_pov_table(struct call *call, struct artifact_read *rd,
			 struct json *j, const struct model_table *t,
			 const struct artifact_node *pov,
			 struct artifact_mark *mark)
{
	struct store_known known;
	struct facts facts;
	char hex[SHA256_HEX + 1];
	char time[CLOCK_TEXT_BYTES];
	int r;

	later(mark,
	      &(struct artifact_mark){.change = pov->marks[t->slot].change});
	r = find_facts(call, rd, t, pov, &known, &facts);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (facts.node.tag & NODE_TAG_PROVISIONAL && facts.time > mark->time)
		mark->time = facts.time;
	json_key(j, t->name);
	json_begin_object(j);
	json_key_int(j, "rows", known.rows);
	json_key_int(j, "bytes", known.bytes);
	json_key_int(j, "change", known.change);
	json_key_string(j, "time", clock_format(facts.time, time));
	hex_format(known.sha256, SHA256_BYTES, hex);
	json_key_string(j, "sha256", hex);
	json_end_object(j);
	return 1;
}

/* The whole document, and which version of it this is. */
static int put_pov(struct call *call, struct artifact_read *rd, int64_t id,
		   struct buf *b, struct facts *ret)
{
	CLEANUP(artifact_node_deinit)
	struct artifact_node pov = ARTIFACT_NODE_NULL;
	struct artifact_mark mark = {0};
	struct json j = JSON_INIT(b);
	/* A label, or a table whose rows have gone, may be marked as well. */
	bool open = rd->unsettled;
	int n = 0;
	int r;

	r = artifact_pov(rd, id, &pov);
	if (r < 0)
		return r;
	json_begin_object(&j);
	mark.time = pov.time;
	r = put_pov_values(rd, &j, &pov, &mark);
	if (r < 0)
		return r;
	json_key(&j, "tables");
	json_begin_object(&j);
	for (int slot = 0; slot < rd->model->n_slots; slot++) {
		r = put_pov_table(call, rd, &j, model_slot(rd->model, slot),
				  &pov, &mark);
		if (r < 0)
			return r;
		n += r;
	}
	json_end_object(&j);
	json_end_object(&j);
	json_end_document(&j);
	if (n == 0)
		return -ENOENT;
	ret->node = (struct node){
		.kind = NODE_POV_JSON,
		.id = id,
		.tag = open ? NODE_TAG_PROVISIONAL
			    : settled_tag(call, mark.change),
	};
	if (open && mark.time < clock_wall())
		mark.time = clock_wall();
	ret->size = (int64_t)b->len;
	ret->time = served_time(call, mark.time);
	return buf_error(b);
}

static int pov_json_facts(struct call *call, struct artifact_read *rd,
			  const struct node *node, struct facts *ret)
{
	CLEANUP(buf_deinit) struct buf b = BUF_NULL;
	int r;

	r = put_pov(call, rd, node->id, &b, ret);
	if (r < 0 || !(ret->node.tag & NODE_TAG_PROVISIONAL))
		return r;
	/* Nobody can render this one again: it is kept for the open to come. */
	return version_keep(call, ret, &b);
}

static int pov_json_render(struct call *call, struct artifact_read *rd,
			   const struct facts *facts, struct version *v)
{
	CLEANUP(buf_deinit) struct buf b = BUF_NULL;
	struct facts now;
	int r;

	r = put_pov(call, rd, facts->node.id, &b, &now);
	if (r == 0 && now.node.tag != facts->node.tag)
		r = -ESTALE;
	if (r < 0)
		return r;
	v->time = now.time;
	return versions_write(v, b.data, b.len, call->mount->store);
}

const struct node_ops pov_json_ops = {
	.type = S_IFREG,
	.facts = pov_json_facts,
	.render = pov_json_render,
};

/* pov.json in a listing: with facts if those of all tables are known. */
static int list_pov_json(struct call *call, struct artifact_read *rd,
			 const struct node *dir, bool known, bool any,
			 struct lister *l)
{
	CLEANUP(buf_deinit) struct buf b = BUF_NULL;
	struct node node = {.kind = NODE_POV_JSON, .id = dir->id};
	struct facts facts;
	int r;

	if (!any)
		return 0;
	if (!known)
		return lister_add(l, "pov.json", &node, NULL, 0,
				  COOKIE_POV_JSON);
	r = put_pov(call, rd, dir->id, &b, &facts);
	if (r < 0)
		return r;
	return lister_add(l, "pov.json", &facts.node, &facts, facts.time,
			  COOKIE_POV_JSON);
}

static int pov_list(struct call *call, struct artifact_read *rd,
		    const struct node *dir, off_t cookie, struct lister *l)
{
	CLEANUP(artifact_node_deinit)
	struct artifact_node pov = ARTIFACT_NODE_NULL;
	bool known = !rd->unsettled;
	bool any = false;
	int r;

	if (cookie >= COOKIE_POV_JSON)
		return 0;
	r = artifact_pov(rd, dir->id, &pov);
	for (int slot = 0; r == 0 && slot < rd->model->n_slots; slot++) {
		const struct model_table *t = model_slot(rd->model, slot);
		struct artifact_mark mark;
		struct store_known k;
		bool open;

		r = known_facts(call, rd, t, &pov, &mark, &open, &k);
		if (r == -ENOENT) {
			r = 0;
			continue;
		}
		if (r < 0)
			return r;
		any = true;
		known &= r == 1;
		r = 0;
		if (COOKIE_FIRST + slot > cookie)
			r = list_file(call, rd, t, &pov, COOKIE_FIRST + slot,
				      l);
	}
	if (r == 0)
		r = list_pov_json(call, rd, dir, known, any, l);
	return r < 0 ? r : 0;
}

const struct node_ops pov_ops = {
	.type = S_IFDIR,
	.lookup = pov_lookup,
	.list = pov_list,
	.time = pov_time,
};
