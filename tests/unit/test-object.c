/* SPDX-License-Identifier: MIT */
#include "outboxfs/store/object.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "outboxfs/format/deflate.h"
#include "outboxfs/store/draft.h"
#include "store-world.h"
#include "store/private.h"

#define MIB ((size_t)1 << 20)

static uint32_t next(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

/* Contents that are a function of seed; noise does not compress. */
static char *make(uint32_t seed, size_t n, bool noise)
{
	char *data = malloc(n + 64);
	size_t len = 0;

	assert_non_null(data);
	while (len < n && noise)
		data[len++] = (char)next(&seed);
	while (len < n)
		len += (size_t)sprintf(data + len, "Texas,%u,%u.5\n",
				       next(&seed) % 1000, next(&seed) % 77);
	return data;
}

static struct draft *begin(struct store_world *w)
{
	CLEANUP(freep) struct err *err = calloc(1, sizeof(*err));
	struct draft *d;
	int r = draft_begin(w->store, &d, err);

	if (r < 0)
		fail_msg("draft_begin: %s", err_text(err, r));
	return d;
}

static void commit(struct draft *d)
{
	struct draft_head head = {.time = 1700000000, .timeline = "t"};
	struct err err = ERR_NULL;
	int64_t snapshot;
	int r = draft_apply(d, &head, &snapshot, &err);

	if (r == 0)
		r = draft_commit(d, &err);
	if (r < 0)
		fail_msg("commit: %s", err_text(&err, r));
	draft_free(d);
}

static struct object put(struct object_writer *w, const char *data, size_t n)
{
	struct object o;
	uint32_t seed = (uint32_t)n;

	for (size_t at = 0; at < n;) {
		size_t m = 1 + next(&seed) % (n > MIB ? 300000 : 700);

		if (m > n - at)
			m = n - at;
		assert_int_equal(object_add(w, data + at, m), 0);
		at += m;
	}
	assert_int_equal(object_end(w, 3, &o), 0);
	return o;
}

/* One file in a draft of its own; its id. */
static struct object put_one(struct store_world *w, const char *data, size_t n)
{
	struct draft *d = begin(w);
	struct object_writer *x;
	struct object o;

	assert_int_equal(object_writer_new(d, &x), 0);
	o = put(x, data, n);
	object_writer_free(x);
	commit(d);
	assert_int_equal(object_find(w->store, o.sha256, &o), 1);
	return o;
}

static void assert_reads(struct store_world *w, int64_t id, const char *data,
			 size_t n)
{
	CLEANUP(object_closep) struct object_reader *r = NULL;
	CLEANUP(freep) char *back = malloc(n + 1);
	uint32_t seed = (uint32_t)n + 1;

	assert_int_equal(object_open(w->store, id, &r), 0);
	assert_int_equal(object_info(r)->size, n);
	assert_int_equal(object_info(r)->rows, 3);
	assert_int_equal(object_info(r)->crc, crc32_add(0, data, n));
	assert_int_equal(object_read(r, 0, back, n + 1), n);
	assert_memory_equal(back, data, n);
	assert_int_equal(object_read(r, (int64_t)n, back, 1), 0);
	for (int i = 0; i < 50 && n > 0; i++) {
		size_t at = (next(&seed) << 8 | next(&seed)) % n;
		size_t m = 1 + next(&seed) % (n - at < 70000 ? n - at : 70000);

		assert_int_equal(object_read(r, (int64_t)at, back, m), m);
		assert_memory_equal(back, data + at, m);
	}
}

/* The bytes of all packs' files. */
static int64_t disk_bytes(const struct store_world *w)
{
	struct stat st;
	int64_t sum = 0;

	for (int i = 0; i < 10; i++) {
		CLEANUP(freep) char *path = NULL;

		assert_true(asprintf(&path, "%s/packs/%d", store_path(w->store),
				     i) > 0);
		if (stat(path, &st) == 0)
			sum += st.st_size;
	}
	return sum;
}

static void pack_path(const struct store_world *w, int64_t id, char ret[128])
{
	(void)snprintf(ret, 128, "%s/packs/%d", store_path(w->store), (int)id);
}

static void reopen(struct store_world *w)
{
	w->store = store_free(w->store);
	assert_int_equal(store_open(w->path, "test", &w->store, NULL), 0);
}

static void test_files_of_any_size_come_back(void **state)
{
	static const size_t sizes[] = {
		0,       1,       100,     5000,    MIB - 1,      MIB,
		MIB + 1, 2 * MIB, 3000000, 5 * MIB, 5 * MIB + 77,
	};
	struct store_world *w = *state;
	struct draft *d = begin(w);
	struct object_writer *x;

	assert_int_equal(object_writer_new(d, &x), 0);
	for (size_t i = 0; i < 2 * ARRAY_SIZE(sizes); i++) {
		size_t n = sizes[i / 2];
		CLEANUP(freep) char *data = make((uint32_t)i, n, i & 1);

		assert_int_equal(put(x, data, n).id, 0);
	}
	object_writer_free(x);
	commit(d);
	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < 2 * ARRAY_SIZE(sizes); i++) {
			size_t n = sizes[i / 2];
			CLEANUP(freep)
			char *data = make((uint32_t)i, n, i & 1);
			uint8_t sha256[SHA256_BYTES];
			struct object o;

			assert_int_equal(sha256_bytes(data, n, sha256), 0);
			assert_int_equal(object_find(w->store, sha256, &o), 1);
			assert_reads(w, o.id, data, n);
			/* noise and nothing are stored as they are */
			if (n >= 100)
				assert_int_equal(o.method,
						 i & 1 && n <= MIB ? 0 : 8);
		}
		reopen(w);
	}
}

static void test_equal_files_are_one(void **state)
{
	struct store_world *w = *state;
	CLEANUP(freep) char *small = make(1, 5000, false);
	CLEANUP(freep) char *large = make(2, 3 * MIB, false);
	struct draft *d = begin(w);
	struct object_writer *x;
	struct object a;
	struct object b;
	int64_t bytes;

	assert_int_equal(object_writer_new(d, &x), 0);
	a = put(x, small, 5000);
	b = put(x, small, 5000);
	assert_int_equal(a.offset, b.offset);
	a = put(x, large, 3 * MIB);
	bytes = disk_bytes(w);
	b = put(x, large, 3 * MIB);
	assert_int_equal(a.offset, b.offset);
	assert_int_equal(disk_bytes(w), bytes);
	object_writer_free(x);
	commit(d);
	a = put_one(w, small, 5000);
	b = put_one(w, small, 5000);
	assert_int_equal(a.id, b.id);
	put_one(w, large, 3 * MIB);
	assert_int_equal(disk_bytes(w), bytes);
}

/* More than is kept in memory. */
static void test_large_noise_goes_by_a_file(void **state)
{
	struct store_world *w = *state;
	size_t n = 21 * MIB + 5;
	CLEANUP(freep) char *data = make(5, n, true);
	struct object o = put_one(w, data, n);

	assert_true(o.packed > (int64_t)n);
	assert_reads(w, o.id, data, n);
}

static void test_cancelled_writer_begins_anew(void **state)
{
	struct store_world *w = *state;
	CLEANUP(freep) char *data = make(6, 3 * MIB, false);
	struct draft *d = begin(w);
	struct object_writer *x;
	struct object o;

	assert_int_equal(object_writer_new(d, &x), 0);
	assert_int_equal(object_add(x, data, 3 * MIB), 0);
	object_cancel(x);
	o = put(x, data + 1, 2 * MIB);
	assert_int_equal(object_add(x, data, 10), 0);
	object_writer_free(x);
	commit(d);
	assert_int_equal(object_find(w->store, o.sha256, &o), 1);
	assert_reads(w, o.id, data + 1, 2 * MIB);
}

static void test_dropped_draft_leaves_no_bytes(void **state)
{
	struct store_world *w = *state;
	CLEANUP(freep) char *data = make(7, 5000, true);
	struct object o = put_one(w, data, 5000);
	int64_t bytes = disk_bytes(w);
	struct object_writer *x;
	struct draft *d;

	for (int i = 0; i < 3; i++) {
		d = begin(w);
		assert_int_equal(object_writer_new(d, &x), 0);
		(void)put(x, data + 1, 4000);
		assert_true(disk_bytes(w) > bytes);
		object_writer_free(x);
		draft_free(d);
		assert_int_equal(disk_bytes(w), bytes);
	}
	assert_reads(w, o.id, data, 5000);
}

static void test_new_pack_of_a_dropped_draft_goes(void **state)
{
	struct store_world *w = *state;
	struct draft *d = begin(w);
	struct object_writer *x;
	char path[128];

	assert_int_equal(object_writer_new(d, &x), 0);
	(void)put(x, "abc", 3);
	pack_path(w, 1, path);
	assert_int_equal(access(path, F_OK), 0);
	object_writer_free(x);
	draft_free(d);
	assert_int_equal(access(path, F_OK), -1);
}

static void write_file(const char *path, const char *text)
{
	CLEANUP(close_fd)
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void test_reopen_cuts_off_what_was_not_published(void **state)
{
	struct store_world *w = *state;
	CLEANUP(freep) char *data = make(8, 5000, true);
	struct object o = put_one(w, data, 5000);
	int64_t bytes = disk_bytes(w);
	char tail[128];
	char stray[128];
	char other[160];

	pack_path(w, o.pack, tail);
	pack_path(w, 7, stray);
	(void)snprintf(other, sizeof(other), "%s.bak", stray);
	write_file(tail, "what a capture was writing when it was killed");
	write_file(stray, "likewise");
	write_file(other, "not ours");
	reopen(w);
	assert_int_equal(disk_bytes(w), bytes);
	assert_int_equal(access(stray, F_OK), -1);
	assert_int_equal(access(other, F_OK), 0);
	assert_reads(w, o.id, data, 5000);
	o = put_one(w, data + 1, 4000);
	assert_reads(w, o.id, data + 1, 4000);
}

static void test_damaged_packs_do_not_prevent_mounting(void **state)
{
	struct store_world *w = *state;
	CLEANUP(freep) char *data = make(9, 5000, true);
	struct object a = put_one(w, data, 4000);
	struct object b = put_one(w, data + 1, 4000);
	CLEANUP(object_closep) struct object_reader *r = NULL;
	struct object c;
	char path[128];
	char back[10];

	pack_path(w, b.pack, path);
	assert_int_equal(truncate(path, b.offset + 100), 0);
	reopen(w);
	assert_reads(w, a.id, data, 4000);
	assert_int_equal(object_open(w->store, b.id, &r), 0);
	assert_int_equal(object_read(r, 0, back, 10), -EIO);
	/* nothing is put behind a hole */
	c = put_one(w, data + 2, 4000);
	assert_int_not_equal(c.pack, b.pack);
	assert_reads(w, c.id, data + 2, 4000);
	r = object_close(r);
	assert_int_equal(unlink(path), 0);
	reopen(w);
	assert_int_equal(object_open(w->store, a.id, &r), -EIO);
	assert_reads(w, c.id, data + 2, 4000);
}

static void flip(const char *path, int64_t at)
{
	CLEANUP(close_fd) int fd = open(path, O_RDWR);
	char c;

	assert_int_equal(pread(fd, &c, 1, at), 1);
	c ^= 0x40;
	assert_int_equal(pwrite(fd, &c, 1, at), 1);
}

/* Wherever a bit is wrong: stored, deflated, in one of several pieces. */
static void test_damage_is_noticed(void **state)
{
	static const struct {
		size_t n;
		bool noise;
	} cases[] = {{500, false}, {500, true}, {3 * MIB, true}};
	struct store_world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t n = cases[i].n;
		CLEANUP(freep)
		char *data = make((uint32_t)i, n, cases[i].noise);
		CLEANUP(freep) char *back = malloc(n);
		CLEANUP(object_closep) struct object_reader *r = NULL;
		struct object o = put_one(w, data, n);
		char path[128];

		pack_path(w, o.pack, path);
		flip(path, o.offset + o.packed / 2);
		assert_int_equal(object_open(w->store, o.id, &r), 0);
		assert_int_equal(object_read(r, 0, back, n), -EBADMSG);
		if (n > MIB) {
			assert_int_equal(object_read(r, 0, back, MIB), MIB);
			assert_memory_equal(back, data, MIB);
		}
		flip(path, o.offset + o.packed / 2);
		assert_int_equal(object_read(r, 0, back, n), n);
	}
}

static void test_readers_go_on_when_the_pack_is_gone(void **state)
{
	struct store_world *w = *state;
	CLEANUP(freep) char *data = make(10, 3 * MIB, true);
	CLEANUP(freep) char *back = malloc(3 * MIB);
	CLEANUP(object_closep) struct object_reader *r = NULL;
	struct object o = put_one(w, data, 3 * MIB);
	struct object_reader *none;

	assert_int_equal(object_open(w->store, o.id, &r), 0);
	pack_remove(w->store->packs, o.pack);
	assert_int_equal(object_read(r, 0, back, 3 * MIB), 3 * MIB);
	assert_memory_equal(back, data, 3 * MIB);
	assert_int_equal(object_open(w->store, o.id, &none), -EIO);
	assert_int_equal(object_open(w->store, 4711, &none), -ENOENT);
}

static void test_full_pack_is_followed_by_another(void **state)
{
	struct store_world *w = *state;
	struct object a = put_one(w, "one", 3);
	struct object b;
	char path[128];

	pack_path(w, a.pack, path);
	assert_int_equal(truncate(path, 256 * (int64_t)MIB - 1), 0);
	assert_int_equal(db_exec(w->store->writer,
				 "UPDATE pack SET bytes = 268435455", NULL),
			 0);
	b = put_one(w, "two", 3);
	assert_int_equal(b.pack, a.pack);
	b = put_one(w, "three", 5);
	assert_int_not_equal(b.pack, a.pack);
	assert_reads(w, b.id, "three", 5);
	assert_reads(w, a.id, "one", 3);
}

/* More packs than descriptors are kept for. */
static void test_many_packs_can_be_open(void **state)
{
	struct store_world *w = *state;
	struct pack *packs[100];
	struct pack *again;
	char path[128];
	char text[8];

	for (int i = 0; i < 100; i++) {
		(void)snprintf(text, sizeof(text), "%7d", i);
		pack_path(w, 100 + i, path);
		write_file(path, text);
		assert_int_equal(pack_open(w->store, 100 + i, &packs[i]), 0);
	}
	for (int i = 0; i < 100; i++) {
		char want[8];

		(void)snprintf(want, sizeof(want), "%7d", i);
		assert_int_equal(pack_read(packs[i], 0, text, 7), 0);
		assert_memory_equal(text, want, 7);
		assert_int_equal(pack_read(packs[i], 1, text, 7), -EIO);
		assert_int_equal(pack_open(w->store, 100 + i, &again), 0);
		assert_int_equal(pack_read(again, 0, text, 7), 0);
		assert_memory_equal(text, want, 7);
		pack_unref(again);
	}
	for (int i = 0; i < 100; i++)
		pack_unref(packs[i]);
	assert_int_equal(pack_open(w->store, 4711, &again), -ENOENT);
}

struct work {
	struct draft *draft;
	uint32_t seed;
	pthread_t thread;
};

#define THREADS 4
#define FILES   100

static size_t size_of(uint32_t i)
{
	return i % 25 == 7 ? MIB + i : 100 + i * 50;
}

/* Neighbours make some files both. */
static void *put_many(void *arg)
{
	struct work *work = arg;
	struct object_writer *x;

	if (object_writer_new(work->draft, &x) < 0)
		return arg;
	for (uint32_t i = 0; i < FILES; i++) {
		uint32_t id = work->seed * FILES / 2 + i;
		size_t n = size_of(id);
		CLEANUP(freep) char *data = make(id, n, id & 1);
		struct object o;

		if (object_add(x, data, n) < 0 || object_end(x, 3, &o) < 0)
			return arg;
	}
	object_writer_free(x);
	return NULL;
}

static void test_threads_put_in_at_once(void **state)
{
	struct store_world *w = *state;
	struct draft *d = begin(w);
	struct work work[THREADS];

	for (uint32_t i = 0; i < THREADS; i++) {
		work[i] = (struct work){.draft = d, .seed = i};
		assert_int_equal(pthread_create(&work[i].thread, NULL, put_many,
						&work[i]),
				 0);
	}
	for (int i = 0; i < THREADS; i++) {
		void *failed;

		assert_int_equal(pthread_join(work[i].thread, &failed), 0);
		assert_null(failed);
	}
	commit(d);
	for (uint32_t id = 0; id < (THREADS + 1) * FILES / 2; id++) {
		size_t n = size_of(id);
		CLEANUP(freep) char *data = make(id, n, id & 1);
		uint8_t sha256[SHA256_BYTES];
		struct object o;

		assert_int_equal(sha256_bytes(data, n, sha256), 0);
		assert_int_equal(object_find(w->store, sha256, &o), 1);
		assert_reads(w, o.id, data, n);
	}
}

struct readers {
	struct object_reader *r;
	const char *data;
	size_t n;
};

static void *read_some(void *arg)
{
	const struct readers *x = arg;
	uint32_t seed = (uint32_t)pthread_self();
	char back[5000];

	for (int i = 0; i < 300; i++) {
		size_t at = (next(&seed) << 8 | next(&seed)) %
			    (x->n - sizeof(back));

		if (object_read(x->r, (int64_t)at, back, sizeof(back)) !=
			    (ssize_t)sizeof(back) ||
		    memcmp(back, x->data + at, sizeof(back)) != 0)
			return arg;
	}
	return NULL;
}

static void test_threads_read_one_reader(void **state)
{
	struct store_world *w = *state;
	CLEANUP(freep) char *data = make(11, 4 * MIB, false);
	struct object o = put_one(w, data, 4 * MIB);
	struct readers x = {.data = data, .n = 4 * MIB};
	pthread_t threads[THREADS];

	assert_int_equal(object_open(w->store, o.id, &x.r), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, read_some, &x), 0);
	for (int i = 0; i < THREADS; i++) {
		void *failed;

		assert_int_equal(pthread_join(threads[i], &failed), 0);
		assert_null(failed);
	}
	object_close(x.r);
}

static void test_store_in_memory_has_no_packs(void **state)
{
	struct store *store;
	struct draft *d;
	struct pack *p;

	(void)state;
	assert_int_equal(store_open("/sys/t.db", "test", &store, NULL), 0);
	assert_null(store_path(store));
	assert_int_equal(pack_open(store, 1, &p), -EROFS);
	assert_int_equal(draft_begin(store, &d, NULL), -EROFS);
	store_free(store);
}

#define TEST(f) \
	cmocka_unit_test_setup_teardown(f, store_world_setup, store_world_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_files_of_any_size_come_back),
		TEST(test_equal_files_are_one),
		TEST(test_large_noise_goes_by_a_file),
		TEST(test_cancelled_writer_begins_anew),
		TEST(test_dropped_draft_leaves_no_bytes),
		TEST(test_new_pack_of_a_dropped_draft_goes),
		TEST(test_reopen_cuts_off_what_was_not_published),
		TEST(test_damaged_packs_do_not_prevent_mounting),
		TEST(test_damage_is_noticed),
		TEST(test_readers_go_on_when_the_pack_is_gone),
		TEST(test_full_pack_is_followed_by_another),
		TEST(test_many_packs_can_be_open),
		TEST(test_threads_put_in_at_once),
		TEST(test_threads_read_one_reader),
		cmocka_unit_test(test_store_in_memory_has_no_packs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
