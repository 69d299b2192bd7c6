/* SPDX-License-Identifier: MIT */
#include "outboxfs/format/deflate.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define PIECES_MAX 8

struct fixture {
	struct deflater *deflater;
	struct inflater *inflater;
	uint32_t seed;
};

static int setup(void **state)
{
	static struct fixture f;

	f = (struct fixture){.seed = 7};
	*state = &f;
	return deflater_new(&f.deflater) || inflater_new(&f.inflater);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	f->deflater = deflater_free(f->deflater);
	f->inflater = inflater_free(f->inflater);
	return 0;
}

static uint32_t next(struct fixture *f)
{
	f->seed = f->seed * 1664525 + 1013904223;
	return f->seed >> 8;
}

/* Lines such as a CSV has; noise: what does not compress. */
static void *make(struct fixture *f, size_t n, bool noise)
{
	uint8_t *data = malloc(n + 64);
	size_t len = 0;

	assert_non_null(data);
	while (len < n && noise)
		data[len++] = (uint8_t)next(f);
	while (len < n)
		len += (size_t)sprintf((char *)data + len, "Texas,%u,%u.5\n",
				       next(f) % 1000, next(f) % 77);
	return data;
}

/* Deflates all of it; *ret_n pieces that end at ret_ends[]. */
static void deflate_all(struct fixture *f, const uint8_t *data, size_t n,
			struct buf *out, size_t *ret_ends, size_t *ret_n)
{
	size_t at = 0;
	size_t pieces = 0;

	do {
		size_t piece = n - at < DEFLATE_PIECE ? n - at : DEFLATE_PIECE;

		assert_int_equal(deflate_piece(f->deflater, data + at, piece,
					       at + piece == n, out),
				 0);
		at += piece;
		ret_ends[pieces++] = out->len;
	} while (at < n);
	*ret_n = pieces;
}

/* What another implementation makes of one stream. */
static void assert_python_inflates(const struct buf *packed,
				   const uint8_t *data, size_t n)
{
	static const char program[] =
		"import sys, zlib; d = zlib.decompressobj(-15);"
		"b = d.decompress(open(sys.argv[1], 'rb').read());"
		"ok = b == open(sys.argv[2], 'rb').read();"
		"sys.exit(0 if ok and d.eof and not d.unused_data else 1)";
	char names[2][32] = {"/tmp/deflate-XXXXXX", "/tmp/deflate-XXXXXX"};
	char command[512];

	for (int i = 0; i < 2; i++) {
		int fd = mkstemp(names[i]);
		const void *p = i ? (const void *)data : packed->data;
		size_t len = i ? n : packed->len;

		assert_true(fd >= 0);
		assert_int_equal(write(fd, p, len), len);
		close(fd);
	}
	(void)snprintf(command, sizeof(command), "python3 -c \"%s\" %s %s",
		       program, names[0], names[1]);
	assert_int_equal(system(command), 0);
	unlink(names[0]);
	unlink(names[1]);
}

static void check(struct fixture *f, size_t n, bool noise, bool ask_python)
{
	CLEANUP(buf_deinit) struct buf out = BUF_NULL;
	CLEANUP(freep) uint8_t *data = make(f, n, noise);
	CLEANUP(freep) uint8_t *back = malloc(DEFLATE_PIECE);
	size_t ends[PIECES_MAX];
	size_t pieces;
	size_t begin = 0;
	size_t at = 0;

	deflate_all(f, data, n, &out, ends, &pieces);
	assert_true(out.len <= n + n / 1000 + 64);
	for (size_t i = 0; i < pieces; i++) {
		size_t size = n - at < DEFLATE_PIECE ? n - at : DEFLATE_PIECE;

		assert_int_equal(inflate_piece(f->inflater, out.data + begin,
					       ends[i] - begin, back, size),
				 0);
		assert_memory_equal(back, data + at, size);
		begin = ends[i];
		at += size;
	}
	if (ask_python)
		assert_python_inflates(&out, data, n);
}

static void test_pieces_of_any_size_are_one_stream(void **state)
{
	static const size_t sizes[] = {
		0,
		1,
		2,
		100,
		65535,
		65536,
		DEFLATE_PIECE - 1,
		DEFLATE_PIECE,
		DEFLATE_PIECE + 1,
		3 * DEFLATE_PIECE,
		5 * DEFLATE_PIECE + 4711,
	};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		check(*state, sizes[i], false, true);
		check(*state, sizes[i], true, true);
	}
}

static void test_random_sizes_inflate_to_the_same(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 200; i++)
		check(f, next(f) % 20000, i & 1, false);
	for (int i = 0; i < 8; i++)
		check(f, next(f) % (4 * DEFLATE_PIECE), i & 1, false);
}

static void test_text_becomes_smaller(void **state)
{
	CLEANUP(buf_deinit) struct buf out = BUF_NULL;
	CLEANUP(freep) uint8_t *data = make(*state, 100000, false);
	size_t ends[PIECES_MAX];
	size_t pieces;

	deflate_all(*state, data, 100000, &out, ends, &pieces);
	assert_true(out.len < 40000);
}

static void test_damage_is_refused(void **state)
{
	struct fixture *f = *state;
	CLEANUP(buf_deinit) struct buf out = BUF_NULL;
	CLEANUP(freep) uint8_t *data = make(f, 5000, false);
	uint8_t back[5001];

	assert_int_equal(deflate_piece(f->deflater, data, 5000, true, &out), 0);
	assert_int_equal(
		inflate_piece(f->inflater, out.data, out.len, back, 5000), 0);
	/* the size is not what it was said to be */
	assert_int_equal(
		inflate_piece(f->inflater, out.data, out.len, back, 4999),
		-EBADMSG);
	assert_int_equal(
		inflate_piece(f->inflater, out.data, out.len, back, 5001),
		-EBADMSG);
	/* cut off */
	assert_int_equal(
		inflate_piece(f->inflater, out.data, out.len / 2, back, 5000),
		-EBADMSG);
	assert_int_equal(inflate_piece(f->inflater, out.data, 0, back, 5000),
			 -EBADMSG);
	/* a kind of block that there is not */
	out.data[0] |= 6;
	assert_int_equal(
		inflate_piece(f->inflater, out.data, out.len, back, 5000),
		-EBADMSG);
}

/* Whatever the bytes are: refused or inflated, never more than there is. */
static void test_noise_does_no_harm(void **state)
{
	struct fixture *f = *state;
	uint8_t *back = malloc(1000);

	for (int i = 0; i < 2000; i++) {
		size_t n = 1 + next(f) % 300;
		CLEANUP(freep) uint8_t *data = make(f, n, true);
		int r = inflate_piece(f->inflater, data, n, back,
				      next(f) % 1000);

		assert_true(r == 0 || r == -EBADMSG);
	}
	free(back);
}

static void test_full_buffer_fails(void **state)
{
	struct fixture *f = *state;
	CLEANUP(buf_deinit) struct buf out = BUF_INIT(100);
	CLEANUP(freep) uint8_t *data = make(f, 50000, true);

	assert_int_equal(deflate_piece(f->deflater, data, 50000, true, &out),
			 -EFBIG);
	/* and the deflater goes on */
	check(f, 50000, true, false);
}

static void test_crc_published_example(void **state)
{
	(void)state;
	assert_int_equal(crc32_add(0, "123456789", 9), 0xcbf43926);
	assert_int_equal(crc32_add(crc32_add(0, "1234", 4), "56789", 5),
			 0xcbf43926);
	assert_int_equal(crc32_add(0, NULL, 0), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_pieces_of_any_size_are_one_stream),
		TEST(test_random_sizes_inflate_to_the_same),
		TEST(test_text_becomes_smaller),
		TEST(test_damage_is_refused),
		TEST(test_noise_does_no_harm),
		TEST(test_full_buffer_fails),
		TEST(test_crc_published_example),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
