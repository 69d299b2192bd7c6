/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A store that is played with: POVs of two dimensions, whose keys are their
 * first names; a data file f.csv and a status file st.csv in each.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "outboxfs/store/outbox.h"
#include "outboxfs/store/tree.h"
#include "unit/store-world.h"

#define PLAY_SAME "(same)" /* the file as it was */

struct play {
	struct store_world w;
	struct draft *draft;
	struct object_writer *writer;
	struct draft_head head;
	wall_s_t time;   /* of files */
	struct buf text; /* what callbacks said */
};

static inline int play_setup_world(void **state)
{
	struct play *p = calloc(1, sizeof(*p));
	void *world;

	assert_non_null(p);
	assert_int_equal(store_world_setup(&world), 0);
	p->w = *(struct store_world *)world;
	free(world);
	p->text = (struct buf)BUF_NULL;
	*state = p;
	return 0;
}

static inline int play_end(void **state)
{
	struct play *p = *state;
	struct store_world *world = malloc(sizeof(*world));
	void *s = world;

	assert_non_null(world);
	p->writer = object_writer_free(p->writer);
	p->draft = draft_free(p->draft);
	buf_deinit(&p->text);
	*world = p->w;
	free(p);
	return store_world_end(&s);
}

static inline void play_reopen(struct play *p)
{
	p->w.store = store_free(p->w.store);
	assert_int_equal(store_open(p->w.path, "test", &p->w.store, NULL), 0);
}

static inline void play_begin(struct play *p)
{
	assert_int_equal(draft_begin(p->w.store, &p->draft, NULL), 0);
	assert_int_equal(object_writer_new(p->draft, &p->writer), 0);
	p->time = 100;
	p->head.setup = true;
	p->head.data = true;
}

static inline void play_drop(struct play *p)
{
	p->writer = object_writer_free(p->writer);
	p->draft = draft_free(p->draft);
}

static inline int64_t play_apply(struct play *p, wall_s_t time)
{
	struct err err = ERR_NULL;
	int64_t snapshot = 0;

	p->head.time = time;
	if (draft_apply(p->draft, &p->head, &snapshot, &err) < 0)
		fail_msg("%s", err.text);
	return snapshot;
}

static inline int64_t play_commit(struct play *p, wall_s_t time)
{
	int64_t snapshot = play_apply(p, time);

	assert_int_equal(draft_commit(p->draft, NULL), 0);
	play_drop(p);
	return snapshot;
}

static inline int64_t play_table(struct play *p, const char *file, int role)
{
	int64_t id = 0;

	assert_int_equal(draft_table(p->draft, file, role, file, &id), 0);
	return id;
}

static inline int64_t play_value(struct play *p, int dim, const char *key)
{
	const struct value v = {.type = VALUE_TEXT,
				.bytes = {.data = key, .len = strlen(key)}};
	struct name name = {.len = strlen(key)};
	int64_t id = 0;
	bool missing;
	int r;

	(void)snprintf(name.text, sizeof(name.text), "%s", key);
	r = draft_value(p->draft, dim, &v, &id, &missing);
	if (r == 0)
		r = draft_value_add(p->draft, dim, &v, &name, false, &id);
	assert_true(r >= 0);
	return id;
}

static inline void play_rename(struct play *p, const char *key, const char *to)
{
	struct name name = {.len = strlen(to)};

	(void)snprintf(name.text, sizeof(name.text), "%s", to);
	assert_int_equal(
		draft_value_set(p->draft, play_value(p, 0, key), &name, false),
		0);
}

static inline void play_file(struct play *p, int64_t pov, int64_t table,
			     const char *text, wall_s_t time)
{
	struct object o;

	if (!text)
		return;
	if (strcmp(text, PLAY_SAME) == 0) {
		assert_int_equal(draft_same_file(p->draft, pov, table), 0);
		return;
	}
	assert_int_equal(object_add(p->writer, text, strlen(text)), 0);
	assert_int_equal(object_end(p->writer, 1, &o), 0);
	assert_int_equal(draft_file(p->draft, pov, table, o.sha256, time), 0);
}

static inline void play_setup(struct play *p, const char *file,
			      const char *text, wall_s_t time)
{
	play_file(p, 0, play_table(p, file, 0), text, time);
}

static inline int64_t play_pov_id(struct play *p, const char *a, const char *b)
{
	int64_t values[2];
	int64_t id = 0;

	values[0] = play_value(p, 0, a);
	values[1] = play_value(p, 1, b);
	assert_int_equal(draft_pov(p->draft, values, 2, &id), 0);
	return id;
}

/* Looks at a POV, which has these files. */
static inline int64_t play_pov(struct play *p, const char *a, const char *b,
			       const char *fact, const char *status)
{
	int64_t id = play_pov_id(p, a, b);

	assert_int_equal(draft_examined(p->draft, id, false, NULL, 0), 0);
	play_file(p, id, play_table(p, "f.csv", 1), fact, p->time);
	play_file(p, id, play_table(p, "st.csv", 2), status, p->time);
	return id;
}
