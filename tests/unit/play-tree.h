/* SPDX-License-Identifier: MIT */
#pragma once

/* What the trees of a store that is played with show. */

#include "unit/play.h"

struct play_walk {
	struct play *p;
	int64_t snapshot;
	enum tree_area area;
	char path[512];
};

static inline void play_show_file(struct play_walk *w,
				  const struct tree_file *file)
{
	struct object_reader *r = NULL;
	struct tree_file again;
	char data[256];
	ssize_t n;

	assert_int_equal(
		tree_version(w->p->w.store, file->version, false, &again), 0);
	assert_string_equal(again.name, file->name);
	assert_int_equal(object_open(w->p->w.store, file->object, &r), 0);
	n = object_read(r, 0, data, sizeof(data));
	assert_int_equal(n, file->size);
	object_close(r);
	buf_printf(&w->p->text, "%s%s=%.*s@%d\n", w->path, file->name, (int)n,
		   data, (int)file->time);
}

static inline int play_walk(const struct tree_dir *dir,
			    const struct tree_file *file, int64_t cookie,
			    void *arg);

static inline void play_show_dir(struct play_walk *w, int64_t dir)
{
	assert_int_equal(tree_list(w->p->w.store, w->snapshot, w->area, dir, 0,
				   play_walk, w),
			 0);
}

static inline int play_walk(const struct tree_dir *dir,
			    const struct tree_file *file, int64_t cookie,
			    void *arg)
{
	struct play_walk *w = arg;
	size_t len = strlen(w->path);
	struct tree_file found_file;
	struct tree_dir found;
	int r;

	assert_true(cookie > 0);
	if (file) {
		r = tree_lookup(w->p->w.store, w->snapshot, w->area, file->dir,
				file->name, &found, &found_file);
		assert_int_equal(r, 2);
		assert_int_equal(found_file.version, file->version);
		play_show_file(w, file);
		return 0;
	}
	assert_int_equal(tree_lookup(w->p->w.store, w->snapshot, w->area,
				     dir->parent, dir->name, &found,
				     &found_file),
			 1);
	assert_int_equal(found.id, dir->id);
	assert_int_equal(
		tree_dir(w->p->w.store, w->snapshot, w->area, dir->id, &found),
		0);
	assert_string_equal(found.name, dir->name);
	assert_int_equal(found.time, dir->time);
	(void)snprintf(w->path + len, sizeof(w->path) - len, "%s/", dir->name);
	play_show_dir(w, dir->id);
	w->path[len] = '\0';
	return 0;
}

static inline void play_expect_text(struct play *p, const char *text)
{
	assert_string_equal(buf_str(&p->text), text);
	buf_clear(&p->text);
}

static inline void play_expect(struct play *p, int64_t snapshot,
			       enum tree_area area, const char *text)
{
	struct play_walk w = {.p = p, .snapshot = snapshot, .area = area};

	play_show_dir(&w, area == TREE_SETUP ? TREE_DIR_SETUP : TREE_DIR_ROOT);
	play_expect_text(p, text);
}

/* The time of a directory of the first level of output/, or -ENOENT. */
static inline void play_expect_dir(struct play *p, int64_t snapshot,
				   const char *name, int64_t time)
{
	struct tree_file file;
	struct tree_dir dir;
	int r;

	if (*name)
		r = tree_lookup(p->w.store, snapshot, TREE_OUTPUT,
				TREE_DIR_ROOT, name, &dir, &file);
	else
		r = tree_dir(p->w.store, snapshot, TREE_OUTPUT, TREE_DIR_ROOT,
			     &dir);
	assert_int_equal(r < 0 ? r : dir.time, time);
}
