/* SPDX-License-Identifier: MIT */
#include "outboxfs/store/purge.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "outboxfs/store/object.h"
#include "store-world.h"
#include "store/draft.h"

#define FILES 60

/* File i: lines that name it, 1 KiB to 60 KiB; one of 3 MiB. */
static char *make(unsigned i, size_t *ret_n)
{
	size_t n = i == 30 ? (size_t)3 << 20 : 1024 * (i + 1);
	char *data = malloc(n + 64);
	uint32_t seed = i;

	assert_non_null(data);
	for (size_t len = 0; len < n;) {
		seed = seed * 1664525 + 1013904223;
		len += (size_t)sprintf(data + len, "%u,%u\n", i, seed);
	}
	*ret_n = n;
	return data;
}

static void run(struct store_world *w, const char *sql)
{
	struct err err = ERR_NULL;
	int r = db_exec(w->store->writer, sql, &err);

	if (r < 0)
		fail_msg("%s", err_text(&err, r));
}

/* Files from..to-1 in one draft, which nothing refers to; ids grow. */
static void put(struct store_world *w, unsigned from, unsigned to, bool fresh)
{
	struct draft_head head = {.timeline = "t"};
	struct object_writer *x;
	struct draft *d;
	int64_t snapshot;

	assert_int_equal(draft_begin(w->store, &d, NULL), 0);
	if (fresh)
		pack_append_fresh(d->append);
	assert_int_equal(object_writer_new(d, &x), 0);
	for (unsigned i = from; i < to; i++) {
		struct object o;
		size_t n;
		CLEANUP(freep) char *data = make(i, &n);

		assert_int_equal(object_add(x, data, n), 0);
		assert_int_equal(object_end(x, 1, &o), 0);
	}
	object_writer_free(x);
	assert_int_equal(draft_apply(d, &head, &snapshot, NULL), 0);
	assert_int_equal(draft_commit(d, NULL), 0);
	draft_free(d);
}

/* 1: file i is an object. */
static int find(struct store *store, unsigned i, struct object *ret)
{
	uint8_t sha256[SHA256_BYTES];
	size_t n;
	CLEANUP(freep) char *data = make(i, &n);

	assert_int_equal(sha256_bytes(data, n, sha256), 0);
	return object_find(store, sha256, ret);
}

static bool reads(struct object_reader *r, unsigned i)
{
	size_t n;
	CLEANUP(freep) char *data = make(i, &n);
	CLEANUP(freep) char *back = malloc(n + 1);

	return object_read(r, 0, back, n + 1) == (ssize_t)n &&
	       memcmp(back, data, n) == 0;
}

static void assert_reads(struct store_world *w, unsigned i)
{
	CLEANUP(object_closep) struct object_reader *r = NULL;
	struct object o;

	assert_int_equal(find(w->store, i, &o), 1);
	assert_int_equal(object_open(w->store, o.id, &r), 0);
	assert_true(reads(r, i));
}

/* Keeps files whose number these are a multiple of, as versions. */
static void keep_every(struct store_world *w, unsigned step, unsigned to)
{
	run(w, "DELETE FROM version");
	for (unsigned i = 0; i < to; i += step) {
		struct object o;
		char sql[200];

		assert_int_equal(find(w->store, i, &o), 1);
		(void)snprintf(sql, sizeof(sql),
			       "INSERT INTO version(dir, tbl, since, until, "
			       "object, time) VALUES (%u, 1, 1, 2, %lld, 0)",
			       i, (long long)o.id);
		run(w, sql);
	}
}

struct disk {
	unsigned files;
	int64_t bytes;
};

static struct disk disk(const struct store_world *w)
{
	struct disk sum = {.files = 0};
	char path[160];
	const struct dirent *e;
	DIR *dir;

	(void)snprintf(path, sizeof(path), "%s/packs", store_path(w->store));
	dir = opendir(path);
	assert_non_null(dir);
	while ((e = readdir(dir))) {
		struct stat st;

		if (e->d_name[0] == '.')
			continue;
		assert_int_equal(fstatat(dirfd(dir), e->d_name, &st, 0), 0);
		sum.files++;
		sum.bytes += st.st_size;
	}
	closedir(dir);
	return sum;
}

static void reopen(struct store_world *w)
{
	w->store = store_free(w->store);
	assert_int_equal(store_open(w->path, "test", &w->store, NULL), 0);
}

static int64_t compact(struct store_world *w)
{
	struct err err = ERR_NULL;
	int64_t bytes;
	int r = purge_compact(w->store, NULL, NULL, &bytes, &err);

	if (r < 0)
		fail_msg("%s", err_text(&err, r));
	return bytes;
}

static void test_objects_that_nothing_needs_go(void **state)
{
	struct store_world *w = *state;
	struct object o[6];
	char sql[400];
	int64_t bytes;

	put(w, 0, 6, false);
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(find(w->store, i, &o[i]), 1);
	(void)snprintf(
		sql, sizeof(sql),
		"DELETE FROM snapshot;"
		"INSERT INTO version VALUES (1, 1, 1, 1, 2, %lld, 0);"
		"INSERT INTO snapshot VALUES (9, 0, 1, 1, %lld, 1, 1);"
		"INSERT INTO outbox VALUES (1, 'x', 'all', 9, 0, %lld, %lld, "
		"1, 1, 1, 1)",
		(long long)o[0].id, (long long)o[1].id, (long long)o[2].id,
		(long long)o[3].id);
	run(w, sql);
	assert_int_equal(purge_objects(w->store, &bytes), 0);
	assert_int_equal(bytes, o[4].packed + o[5].packed);
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(find(w->store, i, &o[i]), i < 4);
	assert_int_equal(purge_objects(w->store, &bytes), 0);
	assert_int_equal(bytes, 0);
}

static void test_mostly_dead_pack_is_rewritten(void **state)
{
	struct store_world *w = *state;
	CLEANUP(object_closep) struct object_reader *r = NULL;
	struct disk before;
	struct disk after;
	struct object o;
	int64_t bytes;
	int64_t dropped;

	put(w, 0, FILES, false);
	keep_every(w, 11, FILES);
	assert_int_equal(find(w->store, 7, &o), 1);
	assert_int_equal(object_open(w->store, o.id, &r), 0);
	assert_int_equal(purge_objects(w->store, &dropped), 0);
	before = disk(w);
	bytes = compact(w);
	after = disk(w);
	assert_int_equal(bytes, dropped);
	assert_int_equal(after.bytes, before.bytes - bytes);
	assert_int_equal(after.files, 1);
	/* who has it open reads what is gone */
	assert_true(reads(r, 7));
	for (int round = 0; round < 2; round++) {
		for (unsigned i = 0; i < FILES; i += 11)
			assert_reads(w, i);
		assert_int_equal(find(w->store, 7, &o), 0);
		reopen(w);
		assert_int_equal(disk(w).bytes, after.bytes);
	}
	/* and what comes next goes behind it */
	put(w, 5, 6, false);
	assert_reads(w, 5);
	assert_int_equal(disk(w).files, 1);
	assert_int_equal(compact(w), 0);
}

static void test_dead_pack_is_removed(void **state)
{
	struct store_world *w = *state;
	int64_t dropped;

	put(w, 0, 5, false);
	assert_int_equal(purge_objects(w->store, &dropped), 0);
	assert_int_equal(compact(w), dropped);
	assert_int_equal(disk(w).files, 0);
	put(w, 0, 5, false);
	assert_reads(w, 3);
}

static void test_packs_in_use_stay(void **state)
{
	struct store_world *w = *state;
	struct object before;
	struct object after;
	int64_t dropped;

	put(w, 0, FILES, false);
	keep_every(w, 1, FILES);
	assert_int_equal(purge_objects(w->store, &dropped), 0);
	assert_int_equal(dropped, 0);
	assert_int_equal(find(w->store, 3, &before), 1);
	assert_int_equal(compact(w), 0);
	assert_int_equal(find(w->store, 3, &after), 1);
	assert_int_equal(before.pack, after.pack);
}

static void test_small_packs_are_joined(void **state)
{
	struct store_world *w = *state;

	put(w, 0, 10, false);
	put(w, 10, 20, true);
	put(w, 20, FILES, true);
	assert_int_equal(disk(w).files, 3);
	assert_int_equal(compact(w), 0);
	assert_int_equal(disk(w).files, 1);
	for (unsigned i = 0; i < FILES; i++)
		assert_reads(w, i);
}

static int count_down(void *arg)
{
	int *left = arg;

	return (*left)-- == 0;
}

static void test_ended_early_leaves_all_as_it_was(void **state)
{
	struct store_world *w = *state;
	struct disk before;
	int64_t dropped;
	int64_t bytes;

	put(w, 0, FILES, false);
	keep_every(w, 11, FILES);
	assert_int_equal(purge_objects(w->store, &dropped), 0);
	before = disk(w);
	for (int n = 0; n < 6; n++) {
		int left = n;

		assert_int_equal(purge_compact(w->store, count_down, &left,
					       &bytes, NULL),
				 0);
		assert_int_equal(bytes, 0);
		assert_int_equal(disk(w).bytes, before.bytes);
		assert_int_equal(disk(w).files, before.files);
	}
	for (unsigned i = 0; i < FILES; i += 11)
		assert_reads(w, i);
	assert_int_equal(compact(w), dropped);
}

/* What a draft has found in the index must be there when it is applied. */
static void test_draft_and_purge_exclude_each_other(void **state)
{
	struct store_world *w = *state;
	struct draft *d;
	int64_t bytes;

	put(w, 0, 5, false);
	assert_int_equal(draft_begin(w->store, &d, NULL), 0);
	assert_int_equal(purge_objects(w->store, &bytes), -EBUSY);
	assert_int_equal(purge_compact(w->store, NULL, NULL, &bytes, NULL),
			 -EBUSY);
	draft_free(d);
	assert_int_equal(purge_objects(w->store, &bytes), 0);
}

static void test_damaged_pack_stays(void **state)
{
	struct store_world *w = *state;
	char path[160];
	struct disk before;
	int64_t dropped;

	put(w, 0, FILES, false);
	keep_every(w, 11, FILES);
	assert_int_equal(purge_objects(w->store, &dropped), 0);
	(void)snprintf(path, sizeof(path), "%s/packs/1", store_path(w->store));
	assert_int_equal(truncate(path, disk(w).bytes - 5), 0);
	before = disk(w);
	assert_int_equal(compact(w), 0);
	assert_int_equal(disk(w).bytes, before.bytes);
	assert_reads(w, 0);
}

struct reading {
	struct store *store;
	atomic_bool stop;
	unsigned n;
};

/* Opens files anew all the time while they move. */
static void *read_on(void *arg)
{
	struct reading *x = arg;

	while (!x->stop) {
		unsigned i = x->n++ % 3 * 20;
		CLEANUP(object_closep) struct object_reader *r = NULL;
		struct object o;

		if (find(x->store, i, &o) != 1 ||
		    object_open(x->store, o.id, &r) != 0 || !reads(r, i))
			return arg;
	}
	return NULL;
}

static void test_readers_go_on_while_packs_move(void **state)
{
	struct store_world *w = *state;
	struct reading x = {.n = 0};
	pthread_t thread;
	void *failed;

	put(w, 0, FILES, false);
	x.store = w->store;
	assert_int_equal(pthread_create(&thread, NULL, read_on, &x), 0);
	for (int i = 0; i < 12; i++) {
		int64_t dropped;

		put(w, 0, 50, true);
		keep_every(w, 20, 50);
		assert_int_equal(purge_objects(w->store, &dropped), 0);
		(void)compact(w);
	}
	x.stop = true;
	assert_int_equal(pthread_join(thread, &failed), 0);
	assert_null(failed);
	assert_true(x.n > 0);
}

#define TEST(f) \
	cmocka_unit_test_setup_teardown(f, store_world_setup, store_world_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_objects_that_nothing_needs_go),
		TEST(test_mostly_dead_pack_is_rewritten),
		TEST(test_dead_pack_is_removed),
		TEST(test_packs_in_use_stay),
		TEST(test_small_packs_are_joined),
		TEST(test_ended_early_leaves_all_as_it_was),
		TEST(test_draft_and_purge_exclude_each_other),
		TEST(test_damaged_pack_stays),
		TEST(test_readers_go_on_while_packs_move),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
