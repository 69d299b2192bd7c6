/* SPDX-License-Identifier: MIT */
#include "store/paths.h"

#include <errno.h>
#include <string.h>

#include "statements.h"

struct text_slot {
	int64_t key;
	const char *text; /* NULL: empty */
};

/* Fibonacci hashing: ids follow each other. */
static size_t slot_of(const struct text_map *m, int64_t key)
{
	uint64_t hash = (uint64_t)key * 0x9e3779b97f4a7c15U;
	size_t i = (size_t)(hash >> 32) & (m->cap - 1);

	while (m->slots[i].text && m->slots[i].key != key)
		i = (i + 1) & (m->cap - 1);
	return i;
}

static const char *map_get(const struct text_map *m, int64_t key)
{
	return m->cap ? m->slots[slot_of(m, key)].text : NULL;
}

static int map_grow(struct text_map *m)
{
	struct text_map bigger = {.cap = m->cap ? m->cap * 2 : 64, .n = m->n};

	bigger.slots = calloc(bigger.cap, sizeof(*bigger.slots));
	if (!bigger.slots)
		return -ENOMEM;
	for (size_t i = 0; i < m->cap; i++)
		if (m->slots[i].text)
			bigger.slots[slot_of(&bigger, m->slots[i].key)] =
				m->slots[i];
	free(m->slots);
	*m = bigger;
	return 0;
}

static int map_put(struct text_map *m, int64_t key, const char *text)
{
	if (m->n * 2 >= m->cap && map_grow(m) < 0)
		return -ENOMEM;
	m->slots[slot_of(m, key)] =
		(struct text_slot){.key = key, .text = text};
	m->n++;
	return 0;
}

void paths_deinit(struct paths *p)
{
	free(p->names.slots);
	free(p->dirs.slots);
	arena_deinit(&p->arena);
}

int paths_name(struct paths *p, int64_t value, const char **ret)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	const char *name = map_get(&p->names, value);
	int r;

	if (name) {
		*ret = name;
		return 0;
	}
	r = db_stmt(p->db, STORE_PACKAGE_NAME, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, p->snapshot);
	sqlite3_bind_int64(stmt, 2, value);
	r = db_step(stmt);
	if (r <= 0)
		return r < 0 ? r : -EBADMSG;
	name = arena_strndup(&p->arena,
			     (const char *)sqlite3_column_text(stmt, 0),
			     (size_t)sqlite3_column_bytes(stmt, 0));
	if (!name || map_put(&p->names, value, name) < 0)
		return -ENOMEM;
	*ret = name;
	return 0;
}

static int read_dir(struct db *db, int64_t id, int64_t *ret_parent,
		    int64_t *ret_value)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(db, STORE_PACKAGE_DIR, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, id);
	r = db_step(stmt);
	if (r <= 0)
		return r < 0 ? r : -EBADMSG;
	*ret_parent = sqlite3_column_int64(stmt, 0);
	*ret_value = sqlite3_column_int64(stmt, 1);
	return 0;
}

/* Above it, and its own name. */
static int split(struct paths *p, int64_t dir, const char **ret_above,
		 const char **ret_name)
{
	int64_t parent;
	int64_t value;
	int r;

	r = read_dir(p->db, dir, &parent, &value);
	if (r == 0)
		r = paths_name(p, value, ret_name);
	/* As deep as there are dimensions. */
	return r < 0 ? r : paths_dir(p, parent, ret_above);
}

int paths_dir(struct paths *p, int64_t dir, const char **ret)
{
	const char *path = map_get(&p->dirs, dir);
	const char *above;
	const char *name;
	char *text;
	size_t n;
	int r;

	if (dir <= 1)
		path = "";
	if (path) {
		*ret = path;
		return 0;
	}
	r = split(p, dir, &above, &name);
	if (r < 0)
		return r;
	n = strlen(above);
	text = arena_alloc(&p->arena, n + strlen(name) + 2);
	if (!text)
		return -ENOMEM;
	memcpy(text, above, n);
	if (n)
		text[n++] = '/';
	memcpy(text + n, name, strlen(name));
	if (map_put(&p->dirs, dir, text) < 0)
		return -ENOMEM;
	*ret = text;
	return 0;
}

int paths_pov(struct paths *p, int64_t pov, struct buf *ret)
{
	const char *above;
	const char *name;
	int r;

	r = split(p, pov, &above, &name);
	if (r < 0)
		return r;
	buf_puts(ret, above);
	if (*above)
		buf_putc(ret, '/');
	buf_puts(ret, name);
	return buf_error(ret);
}
