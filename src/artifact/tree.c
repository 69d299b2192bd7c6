/* SPDX-License-Identifier: MIT */
/*
 * The tree of POVs: nodes by id, and names of nodes.
 *
 * A node's name is made of its label, which is what the dimension's table
 * says, or the value itself where there is no table or no row. Where another
 * value in the same directory, or another row of the table, would have the
 * same name, the key is added. Looking a name up goes the same way backwards:
 * collect the values that could have it, make the name of each, and compare.
 * So a name finds a node exactly if listing shows the node under that name.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "artifact/world.h"
#include "outboxfs/base/number.h"

void artifact_node_deinit(struct artifact_node *node)
{
	arena_deinit(&node->arena);
}

/* A step of the chain from a directory up to the root. */
static int read_dir(struct db *db, int64_t id, struct arena *arena,
		    struct value *ret_value, int64_t *ret_parent,
		    wall_s_t *ret_time)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	struct value v;
	int r;

	r = db_stmt(db, Q_DIR, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, id);
	r = db_step(stmt);
	if (r < 0)
		return r;
	if (r == 0)
		return -ENOENT;
	*ret_parent = sqlite3_column_int64(stmt, 0);
	*ret_time = sqlite3_column_int64(stmt, 2);
	v = value_column(stmt, 1);
	return value_copy(arena, &v, ret_value);
}

int artifact_dir(struct artifact_read *rd, int64_t id,
		 struct artifact_node *ret)
{
	CLEANUP(artifact_node_deinit)
	struct artifact_node node = ARTIFACT_NODE_NULL;
	struct value chain[MODEL_DIMS_MAX + 1];
	wall_s_t time;
	int64_t at = id;
	unsigned n = 0;
	int r;

	for (;; n++) {
		if (n > rd->model->n_dims)
			return -EBADMSG; /* a circle: not our doing */
		r = read_dir(rd->db, at, &node.arena, &chain[n], &at,
			     n ? &time : &node.time);
		if (r < 0)
			return r;
		if (n == 0)
			node.parent = at;
		if (at == 0)
			break;
	}
	/* The last of the chain is the root, which has no value. */
	node.id = id;
	node.level = n;
	if (node.level >= rd->model->n_dims)
		return -EBADMSG;
	for (unsigned i = 0; i < n; i++)
		node.values[i] = chain[n - 1 - i];
	*ret = node;
	node.arena = (struct arena)ARENA_NULL;
	return 0;
}

int artifact_pov(struct artifact_read *rd, int64_t id,
		 struct artifact_node *ret)
{
	CLEANUP(artifact_node_deinit)
	struct artifact_node node = ARTIFACT_NODE_NULL;
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	const struct model *m = rd->model;
	int r;

	r = db_stmt(rd->db, Q_POV, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, id);
	r = db_step(stmt);
	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	node.id = id;
	node.parent = sqlite3_column_int64(stmt, 0);
	node.level = (unsigned)m->n_dims;
	for (size_t i = 0; i < m->n_dims; i++) {
		struct value v = value_column(stmt, 1 + (int)i);

		r = value_copy(&node.arena, &v, &node.values[i]);
		if (r < 0)
			return r;
	}
	for (int slot = 0; slot < m->n_slots; slot++) {
		int column = 1 + (int)m->n_dims + 2 * slot;
		struct artifact_mark *mark = &node.marks[slot];

		mark->change = sqlite3_column_int64(stmt, column);
		mark->time = sqlite3_column_int64(stmt, column + 1);
	}
	node.time =
		sqlite3_column_int64(stmt, 1 + (int)m->n_dims + 2 * m->n_slots);
	r = read_label_marks(rd, &node);
	if (r < 0)
		return r;
	*ret = node;
	node.arena = (struct arena)ARENA_NULL;
	return 0;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void guess_blob(struct guesses *g, const char *s, size_t n)
{
	if (n < 2 || n % 2 || n / 2 > sizeof(g->blob) || s[0] != '\\' ||
	    s[1] != 'x')
		return;
	for (size_t i = 2; i < n; i += 2) {
		int high = hex_digit(s[i]);
		int low = hex_digit(s[i + 1]);

		if (high < 0 || low < 0)
			return;
		g->blob[i / 2 - 1] = (char)(high * 16 + low);
	}
	g->values[g->n++] =
		(struct value){.type = VALUE_BLOB,
			       .bytes = {.data = g->blob, .len = n / 2 - 1}};
}

void tree_guess(struct guesses *g, const char *s, size_t n, bool null)
{
	int64_t i;
	double d;

	g->n = 0;
	if (null) {
		g->values[g->n++] = (struct value){.type = VALUE_NULL};
		return;
	}
	g->values[g->n++] = (struct value){
		.type = VALUE_TEXT, .bytes = {.data = n ? s : "", .len = n}};
	switch (number_parse(s, n, &i, &d)) {
	case NUMBER_INTEGER:
		g->values[g->n++] =
			(struct value){.type = VALUE_INTEGER, .integer = i};
		break;
	case NUMBER_REAL:
		g->values[g->n++] =
			(struct value){.type = VALUE_REAL, .real = d};
		break;
	case NUMBER_NONE:
		guess_blob(g, s, n);
		break;
	}
}

/* The id of the child with this value. 1, or 0: there is none. */
static int find_child(struct artifact_read *rd, const struct artifact_node *dir,
		      const struct value *value, int64_t *ret)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	bool pov = dir->level + 1 == rd->model->n_dims;
	int r;

	r = db_stmt(rd->db, pov ? Q_POV_FIND : Q_DIR_FIND, &stmt);
	if (r < 0)
		return r;
	if (pov) {
		for (unsigned i = 0; r == 0 && i < dir->level; i++)
			r = value_bind(stmt, (int)i + 1, &dir->values[i]);
		if (r == 0)
			r = value_bind(stmt, (int)dir->level + 1, value);
	} else {
		sqlite3_bind_int64(stmt, 1, dir->id);
		r = value_bind(stmt, 2, value);
	}
	if (r == 0)
		r = db_step(stmt);
	if (r == 1)
		*ret = sqlite3_column_int64(stmt, 0);
	return r;
}

/* A child as Q_LIST and Q_GET describe it. */
struct child {
	int64_t id;
	struct value value;
	bool has_label;
	struct value label;
	bool shared; /* rows of the dimension's table share the label */
	wall_s_t time;
	bool alive;
};

static struct child read_child(sqlite3_stmt *stmt)
{
	struct child c = {
		.id = sqlite3_column_int64(stmt, 0),
		.value = value_column(stmt, 1),
		.has_label = sqlite3_column_int(stmt, 2),
		.shared = sqlite3_column_int(stmt, 4),
		.time = sqlite3_column_int64(stmt, 5),
		.alive = sqlite3_column_int(stmt, 6),
	};

	c.label = c.has_label ? value_column(stmt, 3) : c.value;
	return c;
}

static int bind_children(sqlite3_stmt *stmt, const struct artifact_node *dir,
			 int64_t first, int64_t second)
{
	int r = 0;

	sqlite3_bind_int64(stmt, 1, first);
	sqlite3_bind_int64(stmt, 2, second);
	for (unsigned i = 0; r == 0 && i < dir->level; i++)
		if (sqlite3_bind_parameter_count(stmt) >= 3 + (int)i)
			r = value_bind(stmt, 3 + (int)i, &dir->values[i]);
	return r;
}

/* Does the dimension's table have this key? */
static int has_row(struct artifact_read *rd, unsigned dim,
		   const struct value *key)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	if (!rd->model->dims[dim].table)
		return 0;
	r = db_stmt(rd->db, Q_LABEL + dim, &stmt);
	if (r == 0)
		r = value_bind(stmt, 1, key);
	return r < 0 ? r : db_step(stmt);
}

/* Does a row other than this key's have the label? */
static int label_taken(struct artifact_read *rd, unsigned dim,
		       const struct value *label, const struct child *c)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	if (!rd->model->dims[dim].table)
		return 0;
	r = db_stmt(rd->db, Q_KEYS + dim, &stmt);
	if (r == 0)
		r = value_bind(stmt, 1, label);
	while (r == 0 && (r = db_step(stmt)) == 1) {
		struct value key = value_column(stmt, 0);

		if (!c->has_label || !value_same(&key, &c->value))
			return 1;
		r = 0;
	}
	return r;
}

/*
 * Is there another value whose label reads the same: a sibling without a row
 * of its own, or a row whose label is of another storage class?
 */
static int is_shadowed(struct artifact_read *rd,
		       const struct artifact_node *dir, const struct child *c,
		       struct buf *text)
{
	struct guesses g;
	int64_t id;
	int r;

	buf_clear(text);
	name_text(text, &c->label);
	if (buf_error(text))
		return buf_error(text);
	tree_guess(&g, text->data, text->len, c->label.type == VALUE_NULL);
	for (size_t i = 0; i < g.n; i++) {
		if (!value_same(&g.values[i], &c->value)) {
			r = find_child(rd, dir, &g.values[i], &id);
			if (r == 1 &&
			    (r = has_row(rd, dir->level, &g.values[i])) == 0)
				return 1;
			if (r < 0)
				return r;
		}
		if (c->has_label && value_same(&g.values[i], &c->label))
			continue; /* c->shared knows */
		r = label_taken(rd, dir->level, &g.values[i], c);
		if (r != 0)
			return r;
	}
	return 0;
}

static int make_entry(struct artifact_read *rd, const struct artifact_node *dir,
		      const struct child *c, struct buf *text,
		      struct artifact_entry *ret)
{
	bool keyed = c->shared;
	int r;

	if (!keyed) {
		r = is_shadowed(rd, dir, c, text);
		if (r < 0)
			return r;
		keyed = r == 1;
	}
	ret->id = c->id;
	ret->time = c->time;
	return name_make(&c->label, keyed ? &c->value : NULL, &ret->name);
}

int artifact_list(struct artifact_read *rd, const struct artifact_node *dir,
		  int64_t after, artifact_list_func_t func, void *arg)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	CLEANUP(buf_deinit) struct buf text = BUF_NULL;
	struct artifact_entry entry;
	int r;

	r = db_stmt(rd->db, Q_LIST + dir->level, &stmt);
	if (r == 0)
		r = bind_children(stmt, dir, dir->id, after);
	while (r == 0 && (r = db_step(stmt)) == 1) {
		struct child c = read_child(stmt);

		r = 0;
		if (!c.alive)
			continue;
		r = make_entry(rd, dir, &c, &text, &entry);
		if (r == 0)
			r = func(&entry, arg);
	}
	return r < 0 ? r : 0;
}

/* The entry of one child, by id. -ENOENT: it has no rows, and must have. */
static int get_entry(struct artifact_read *rd, const struct artifact_node *dir,
		     int64_t id, bool alive, struct artifact_entry *ret)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	CLEANUP(buf_deinit) struct buf text = BUF_NULL;
	struct child c;
	int r;

	r = db_stmt(rd->db, Q_GET + dir->level, &stmt);
	if (r == 0)
		r = bind_children(stmt, dir, id, id);
	if (r == 0)
		r = db_step(stmt);
	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	c = read_child(stmt);
	if (alive && !c.alive)
		return -ENOENT;
	return make_entry(rd, dir, &c, &text, ret);
}

int artifact_name(struct artifact_read *rd, const struct artifact_node *node,
		  struct name *ret)
{
	CLEANUP(artifact_node_deinit)
	struct artifact_node dir = ARTIFACT_NODE_NULL;
	struct artifact_entry entry;
	int r;

	r = artifact_dir(rd, node->parent, &dir);
	if (r == 0)
		r = get_entry(rd, &dir, node->id, false, &entry);
	if (r == 0)
		*ret = entry.name;
	return r;
}

int artifact_is_alive(struct artifact_read *rd,
		      const struct artifact_node *node)
{
	CLEANUP(artifact_node_deinit)
	struct artifact_node dir = ARTIFACT_NODE_NULL;
	struct artifact_entry entry;
	int r;

	r = artifact_dir(rd, node->parent, &dir);
	return r < 0 ? r : get_entry(rd, &dir, node->id, true, &entry);
}

/* What a search for a name carries along. */
struct search {
	struct artifact_read *rd;
	const struct artifact_node *dir;
	const char *name;
	size_t len;
	struct artifact_entry *ret;
};

/* Is the child with this value the one? 1, 0, or an error. */
static int try_value(struct search *s, const struct value *value)
{
	int64_t id;
	int r;

	r = find_child(s->rd, s->dir, value, &id);
	if (r != 1)
		return r;
	r = get_entry(s->rd, s->dir, id, true, s->ret);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	return s->ret->name.len == s->len &&
	       memcmp(s->ret->name.text, s->name, s->len) == 0;
}

/* Tries the values in the first column of a statement that is bound already. */
static int try_rows(struct search *s, sqlite3_stmt *stmt)
{
	CLEANUP(arena_deinit) struct arena arena = ARENA_NULL;
	struct value copy;
	int r = 0;

	while (r == 0 && (r = db_step(stmt)) == 1) {
		struct value v = value_column(stmt, 0);

		/* The same statement may be needed while a name is made. */
		r = value_copy(&arena, &v, &copy);
		if (r == 0)
			r = try_value(s, &copy);
	}
	return r;
}

static int try_keys_of(struct search *s, const struct value *label)
{
	CLEANUP(db_finalize) sqlite3_stmt *stmt = NULL;
	int r;

	/* Not from the cache: making a name uses Q_KEYS as well. */
	r = db_prepare(s->rd->db, s->rd->world->sql[Q_KEYS + s->dir->level],
		       &stmt, NULL);
	if (r == 0)
		r = value_bind(stmt, 1, label);
	return r < 0 ? r : try_rows(s, stmt);
}

/* The values whose text, or whose label's text, is this. */
static int try_text(struct search *s, const struct buf *text, bool null,
		    bool labels)
{
	struct guesses g;
	int r = 0;

	tree_guess(&g, text->data, text->len, null);
	for (size_t i = 0; r == 0 && i < g.n; i++) {
		r = try_value(s, &g.values[i]);
		if (r == 0 && labels && s->rd->model->dims[s->dir->level].table)
			r = try_keys_of(s, &g.values[i]);
	}
	return r;
}

/* Tries what begins with a prefix. */
static int try_range(struct search *s, size_t query, enum value_type type,
		     const char *prefix, size_t n)
{
	CLEANUP(db_finalize) sqlite3_stmt *stmt = NULL;
	char end[1024];
	struct value from = {.type = type, .bytes = {.data = prefix, .len = n}};
	struct value to = {.type = VALUE_BLOB, .bytes = {.data = "", .len = 0}};
	size_t last = n;
	int r;

	if (n > NAME_BYTES_MAX)
		return 0;
	memcpy(end, prefix, n);
	/* The least that does not begin so; blobs come after all texts. */
	while (last > 0 && (uint8_t)end[last - 1] == 0xff)
		last--;
	if (last > 0) {
		end[last - 1] = (char)((uint8_t)end[last - 1] + 1);
		to = (struct value){.type = type,
				    .bytes = {.data = end, .len = last}};
	} else if (type == VALUE_BLOB) {
		memset(end, 0xff, sizeof(end));
		to.bytes.data = end;
		to.bytes.len = sizeof(end);
	}
	r = db_prepare(s->rd->db, s->rd->world->sql[query], &stmt, NULL);
	if (r == 0)
		r = bind_children(stmt, s->dir, 0, 0);
	if (r == 0 && query < Q_NEAR_LABEL &&
	    s->dir->level + 1 < s->rd->model->n_dims)
		r = db_errno(sqlite3_bind_int64(stmt, 3, s->dir->id));
	if (r == 0)
		r = value_bind(stmt, 1, &from);
	if (r == 0)
		r = value_bind(stmt, 2, &to);
	return r < 0 ? r : try_rows(s, stmt);
}

/* A name that was cut: go through what begins alike, as text and as blob. */
static int try_near(struct search *s, const struct buf *prefix)
{
	size_t queries[] = {Q_NEAR + s->dir->level,
			    Q_NEAR_LABEL + s->dir->level};
	bool table = s->rd->model->dims[s->dir->level].table;
	struct guesses g = {.n = 0};
	int r = 0;

	guess_blob(&g, prefix->data, prefix->len / 2 * 2);
	for (size_t i = 0; r == 0 && i < (table ? 2 : 1); i++) {
		r = try_range(s, queries[i], VALUE_TEXT,
			      prefix->len ? prefix->data : "", prefix->len);
		if (r == 0 && g.n)
			r = try_range(s, queries[i], VALUE_BLOB, g.blob,
				      g.values[0].bytes.len);
	}
	return r;
}

int artifact_lookup(struct artifact_read *rd, const struct artifact_node *dir,
		    const char *name, size_t len, struct artifact_entry *ret)
{
	CLEANUP(name_parts_deinit) struct name_parts parts = NAME_PARTS_NULL;
	struct search s = {
		.rd = rd, .dir = dir, .name = name, .len = len, .ret = ret};
	int r;

	r = name_parse(name, len, &parts);
	if (r < 0)
		return r == -EINVAL ? -ENOENT : r;
	switch (parts.form) {
	case NAME_PLAIN:
		r = try_text(&s, &parts.label, parts.label_null, true);
		break;
	case NAME_KEYED:
		r = try_text(&s, &parts.key, parts.key_null, false);
		break;
	case NAME_HASHED:
		/* Else whatever begins so would be looked at, for nothing. */
		if (parts.label_cut)
			r = try_near(&s, &parts.label);
		/* The label may be whole, or NULL, and the key too long. */
		if (r == 0)
			r = try_text(&s, &parts.label, parts.label_null, true);
		break;
	}
	if (r < 0)
		return r;
	return r == 1 ? 0 : -ENOENT;
}
