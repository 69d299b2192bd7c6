/* SPDX-License-Identifier: MIT */
#include "outboxfs/format/zip-layout.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "outboxfs/format/deflate.h"

#define T0 INT64_C(1700000001) /* 2023-11-14T22:13:21Z */

static uint32_t seed = 11;

static uint32_t next(void)
{
	seed = seed * 1664525 + 1013904223;
	return seed >> 8;
}

/* Byte i of source s is a function of both, so that a wrong place shows. */
static uint8_t byte_of(uint32_t source, int64_t position)
{
	return (uint8_t)(source * 31 + position * 7 + position / 256);
}

static int synthetic(void *arg, uint32_t source, int64_t position, void *ret,
		     size_t n)
{
	uint8_t *p = ret;

	(void)arg;
	for (size_t i = 0; i < n; i++)
		p[i] = byte_of(source, position + (int64_t)i);
	return 0;
}

/* One buffer with all bytes. */
static int from_buf(void *arg, uint32_t source, int64_t position, void *ret,
		    size_t n)
{
	const struct buf *b = arg;

	assert_int_equal(source, 0);
	assert_true((size_t)position + n <= b->len);
	memcpy(ret, b->data + position, n);
	return 0;
}

static int broken(void *arg, uint32_t source, int64_t position, void *ret,
		  size_t n)
{
	(void)arg;
	(void)source;
	(void)position;
	(void)ret;
	(void)n;
	return -EIO;
}

static struct zip_layout_draft *begin(void)
{
	struct zip_layout_draft *b;

	assert_int_equal(zip_layout_begin(&b), 0);
	return b;
}

static struct zip_layout *end(struct zip_layout_draft *b)
{
	struct zip_layout *z;

	assert_int_equal(zip_layout_end(b, &z), 0);
	zip_layout_draft_free(b);
	return z;
}

/* n entries of 0 to 299 bytes. */
static struct zip_layout *make_synthetic(size_t n)
{
	struct zip_layout_draft *b = begin();
	char name[300];

	for (size_t i = 0; i < n; i++) {
		int64_t size = next() % 300;
		struct zip_entry e = {
			.name = name,
			.time = i % 9 == 4 ? INT64_C(1) << 33 : T0 + (int)i,
			.size = size,
			.packed = size,
			.source = (uint32_t)i,
			.position = next() % 1000,
		};

		(void)snprintf(
			name, sizeof(name), "dir/%07zu%.*s", i,
			(int)(next() % 100),
			"------------------------------------------------"
			"------------------------------------------------"
			"----");
		assert_int_equal(zip_layout_add(b, &e), 0);
	}
	return end(b);
}

static uint8_t *read_whole(const struct zip_layout *z, zip_source_t source,
			   void *arg)
{
	size_t n = (size_t)zip_layout_size(z);
	uint8_t *data = malloc(n + 100);

	assert_non_null(data);
	assert_int_equal(zip_layout_read(z, 0, data, n + 100, source, arg), n);
	return data;
}

static void test_random_pieces_are_the_whole(void **state)
{
	CLEANUP(zip_layout_freep) struct zip_layout *z = make_synthetic(500);
	CLEANUP(freep) uint8_t *whole = read_whole(z, synthetic, NULL);
	int64_t size = zip_layout_size(z);
	uint8_t piece[3000];

	(void)state;
	for (int i = 0; i < 20000; i++) {
		int64_t offset = next() % (size + 10);
		size_t n = next() % (i & 1 ? 30 : sizeof(piece));
		int64_t left = offset < size ? size - offset : 0;
		ssize_t want = (int64_t)n < left ? (ssize_t)n : left;

		memset(piece, 0xee, sizeof(piece));
		assert_int_equal(
			zip_layout_read(z, offset, piece, n, synthetic, NULL),
			want);
		if (want > 0)
			assert_memory_equal(piece, whole + offset, want);
		if ((size_t)want < sizeof(piece))
			assert_int_equal(piece[want], 0xee);
	}
}

static void test_every_single_byte_is_the_whole(void **state)
{
	CLEANUP(zip_layout_freep) struct zip_layout *z = make_synthetic(20);
	CLEANUP(freep) uint8_t *whole = read_whole(z, synthetic, NULL);

	(void)state;
	for (int64_t i = 0; i < zip_layout_size(z); i++) {
		uint8_t c;

		assert_int_equal(zip_layout_read(z, i, &c, 1, synthetic, NULL),
				 1);
		assert_int_equal(c, whole[i]);
	}
}

/* Writes all of a layout's bytes where none of its data is large. */
static void write_file(const struct zip_layout *z, const char *path,
		       zip_source_t source, void *arg)
{
	CLEANUP(freep) uint8_t *data = read_whole(z, source, arg);
	CLEANUP(close_fd) int fd = open(path, O_WRONLY | O_TRUNC);
	size_t n = (size_t)zip_layout_size(z);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, n), n);
}

static void make_file(char *path)
{
	int fd;

	strcpy(path, "/tmp/layout-XXXXXX.zip");
	fd = mkstemps(path, 4);
	assert_true(fd >= 0);
	close(fd);
}

static void assert_says_yes(const char *command, const char *path)
{
	char line[4096];
	int r;

	(void)snprintf(line, sizeof(line), "%s '%s' >/dev/null", command, path);
	r = system(line);
	if (r != 0)
		print_error("%s: status %d\n", line, r);
	assert_int_equal(r, 0);
}

static void assert_python(const char *text, const char *path)
{
	char line[4096];

	(void)snprintf(
		line, sizeof(line),
		"python3 -c 'import sys, zipfile, calendar\n"
		"z = zipfile.ZipFile(sys.argv[1]); i = z.infolist()\n%s'",
		text);
	assert_says_yes(line, path);
}

/* That they find nothing wrong. */
static void assert_tools(const char *path)
{
	assert_says_yes("unzip -tqq", path);
	assert_says_yes("7zz t -bso0", path);
	assert_says_yes("bsdtar -xOf", path);
	assert_python("assert z.testzip() is None", path);
}

/* Deflates text and adds it, in as many pieces as it takes. */
static void add_file(struct zip_layout_draft *b, struct buf *bytes,
		     const char *name, size_t n, bool stored, wall_s_t time)
{
	CLEANUP(deflater_freep) struct deflater *d = NULL;
	CLEANUP(freep) char *data = malloc(n + 1);
	size_t first = bytes->len;
	struct zip_entry e = {.name = name, .time = time};

	for (size_t i = 0; i < n; i++)
		data[i] = "0123456789,;\n"[next() % 13];
	assert_int_equal(deflater_new(&d), 0);
	for (size_t at = 0; !stored && (at < n || at == 0);
	     at += DEFLATE_PIECE) {
		size_t m = n - at < DEFLATE_PIECE ? n - at : DEFLATE_PIECE;

		assert_int_equal(
			deflate_piece(d, data + at, m, at + m == n, bytes), 0);
	}
	if (stored)
		buf_add(bytes, data, n);
	e.size = (int64_t)n;
	e.packed = (int64_t)(bytes->len - first);
	e.position = (int64_t)first;
	e.crc = crc32_add(0, data, n);
	e.method = stored ? 0 : 8;
	assert_int_equal(zip_layout_add(b, &e), 0);
}

/* What an unpacked file gets: an odd second; 1980 where it is older. */
static void assert_exact_times(const char *path)
{
	assert_says_yes(
		"unpack() { d=$(mktemp -d); bsdtar -xf \"$1\" -C $d; "
		"t=$(stat -c %Y $d/old $d/data/empty); rm -r $d; "
		"test \"$(echo $t)\" = '315532800 1700000001'; }; unpack",
		path);
}

static void test_ordinary_tools_agree(void **state)
{
	CLEANUP(buf_deinit) struct buf bytes = BUF_NULL;
	CLEANUP(zip_layout_freep) struct zip_layout *z = NULL;
	struct zip_layout_draft *b = begin();
	char path[32];

	(void)state;
	add_file(b, &bytes, "data/Z\xc3\xbcrich/a.csv", 1000, false, T0);
	add_file(b, &bytes, "data/big.csv", 3000000, false, T0);
	add_file(b, &bytes, "data/empty", 0, true, T0);
	add_file(b, &bytes, "data/empty8", 0, false, T0);
	add_file(b, &bytes, "old", 10, true, -5);
	add_file(b, &bytes, "older", 10, true, -INT64_C(9000000000));
	add_file(b, &bytes, "later", 10, true, INT64_C(3000000000));
	add_file(b, &bytes, "latest", 10, true, INT64_C(9000000000));
	add_file(b, &bytes, "x", 10, true, T0);
	z = end(b);
	make_file(path);
	write_file(z, path, from_buf, &bytes);
	assert_tools(path);
	assert_python("assert [x.filename for x in i][:2] == "
		      "[\"data/Z\\u00fcrich/a.csv\", \"data/big.csv\"]\n"
		      "assert i[0].date_time == (2023, 11, 14, 22, 13, 20)\n"
		      "assert i[4].date_time == i[5].date_time == "
		      "(1980, 1, 1, 0, 0, 0)\n"
		      "assert i[6].date_time == (2065, 1, 24, 5, 20, 0)\n"
		      "assert i[7].date_time == (2107, 12, 31, 23, 59, 58)\n"
		      "assert [x.filename for x in i if not x.extra] == "
		      "[\"old\", \"older\", \"later\", \"latest\"]\n"
		      "assert all(x.external_attr >> 16 == 0o100644 and "
		      "x.create_system == 3 for x in i)\n",
		      path);
	assert_exact_times(path);
	unlink(path);
}

/* The DOS date of each day is what the C library makes of it. */
static void test_dos_dates_agree_with_the_library(void **state)
{
	struct zip_layout_draft *b = begin();
	CLEANUP(zip_layout_freep) struct zip_layout *z = NULL;
	const int64_t first = 315532800;
	size_t days = 0;

	(void)state;
	for (int64_t t = first; t <= 4354819199; t += 86399 + 7, days++) {
		struct zip_entry e = {.name = "x", .time = t};

		assert_int_equal(zip_layout_add(b, &e), 0);
	}
	z = end(b);
	for (int64_t t = first, at = 0; days-- > 0; t += 86399 + 7) {
		uint8_t h[31];
		time_t time = t;
		struct tm tm;
		unsigned dos;
		unsigned want;

		assert_int_equal(zip_layout_read(z, at, h, 31, synthetic, NULL),
				 31);
		gmtime_r(&time, &tm);
		want = (unsigned)(tm.tm_year - 80) << 25 |
		       (unsigned)(tm.tm_mon + 1) << 21 |
		       (unsigned)tm.tm_mday << 16 | (unsigned)tm.tm_hour << 11 |
		       (unsigned)tm.tm_min << 5 | (unsigned)tm.tm_sec / 2;
		memcpy(&dos, h + 10, 4);
		assert_int_equal(dos, want);
		at += 31 + (h[28] | h[29] << 8);
	}
}

/* 65,534 is the last number of entries that the old end can say. */
static void test_many_entries_want_zip64(void **state)
{
	static const size_t counts[] = {0, 1, 65534, 65535};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		CLEANUP(buf_deinit) struct buf bytes = BUF_NULL;
		CLEANUP(zip_layout_freep) struct zip_layout *z = NULL;
		struct zip_layout_draft *b = begin();
		CLEANUP(freep) uint8_t *data = NULL;
		char name[32];
		char text[64];
		char path[32];

		buf_puts(&bytes, "one\n");
		for (size_t k = 0; k < counts[i]; k++) {
			struct zip_entry e = {
				.name = name,
				.time = T0,
				.size = 4,
				.packed = 4,
				.crc = crc32_add(0, "one\n", 4),
			};

			(void)snprintf(name, sizeof(name), "%05zu", k);
			assert_int_equal(zip_layout_add(b, &e), 0);
		}
		z = end(b);
		assert_int_equal(zip_layout_count(z), counts[i]);
		data = read_whole(z, from_buf, &bytes);
		assert_int_equal(memmem(data, (size_t)zip_layout_size(z),
					"PK\x06\x06", 4) != NULL,
				 counts[i] >= 65535);
		make_file(path);
		write_file(z, path, from_buf, &bytes);
		(void)snprintf(text, sizeof(text),
			       "assert len(i) == %zu and not z.testzip()",
			       counts[i]);
		assert_python(text, path);
		if (counts[i] == 65535)
			assert_tools(path);
		unlink(path);
	}
}

/* Headers and tail in a file with holes where the bytes would be. */
static void write_sparse(const struct zip_layout *z, const char *path,
			 const int64_t *places, size_t n)
{
	CLEANUP(close_fd) int fd = open(path, O_WRONLY | O_TRUNC);
	int64_t size = zip_layout_size(z);
	uint8_t data[4096];

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, size), 0);
	for (size_t i = 0; i < n; i++) {
		int64_t at = places[i] >= 0 ? places[i] : size + places[i];
		size_t want = size - at < 100 ? (size_t)(size - at) : 100;

		if (places[i] < 0)
			want = (size_t)-places[i];
		assert_int_equal(
			zip_layout_read(z, at, data, want, synthetic, NULL),
			want);
		assert_int_equal(pwrite(fd, data, want, at), want);
	}
}

static void test_sizes_over_4_gib_want_zip64(void **state)
{
	static const int64_t g5 = INT64_C(5) << 30;
	static const struct {
		const char *name;
		int64_t size;
		int64_t packed;
	} files[] = {
		{"a-small", 5, 5},
		{"b-large", g5, g5},
		{"c-far", 7, 7},
		{"d-well-packed", g5, 100},
		{"e-last", UINT32_MAX, 50},
		{"f-below", UINT32_MAX - 1, 60},
	};
	struct zip_layout_draft *b = begin();
	CLEANUP(zip_layout_freep) struct zip_layout *z = NULL;
	int64_t places[ARRAY_SIZE(files) + 1];
	int64_t at = 0;
	uint8_t c[2];
	char path[32];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		struct zip_entry e = {
			.name = files[i].name,
			.time = T0,
			.size = files[i].size,
			.packed = files[i].packed,
			.source = (uint32_t)i,
			.position = 3,
		};
		bool large = e.size >= UINT32_MAX;

		assert_int_equal(zip_layout_add(b, &e), 0);
		places[i] = at;
		at += 30 + (int64_t)strlen(e.name) + (large ? 20 : 0) + 9 +
		      e.packed;
	}
	z = end(b);
	assert_true(zip_layout_size(z) > at);
	places[ARRAY_SIZE(files)] = at - zip_layout_size(z);
	make_file(path);
	write_sparse(z, path, places, ARRAY_SIZE(places));
	assert_python("g5 = 5 << 30; top = (1 << 32) - 1\n"
		      "assert [x.file_size for x in i] == "
		      "[5, g5, 7, g5, top, top - 1]\n"
		      "assert [x.compress_size for x in i] == "
		      "[5, g5, 7, 100, 50, 60]\n"
		      "[z.open(x).close() for x in i]\n"
		      "assert [x.extract_version for x in i] == "
		      "[20, 45, 45, 45, 45, 45]\n",
		      path);
	assert_says_yes("7zz l -bso0", path);
	assert_says_yes("zipinfo -v", path);
	assert_says_yes("bsdtar -tf", path);
	assert_says_yes("zipdetails", path);
	unlink(path);
	/* bytes of a large file, far from its begin */
	assert_int_equal(
		zip_layout_read(z, places[2] - 2, c, 2, synthetic, NULL), 2);
	assert_int_equal(c[1], byte_of(1, 3 + g5 - 1));
}

static void test_errors_of_the_source_come_back(void **state)
{
	CLEANUP(zip_layout_freep) struct zip_layout *z = make_synthetic(10);
	size_t n = (size_t)zip_layout_size(z);
	CLEANUP(freep) uint8_t *data = malloc(n);

	(void)state;
	assert_int_equal(zip_layout_read(z, 0, data, n, broken, NULL), -EIO);
	assert_int_equal(zip_layout_read(z, 0, data, 20, broken, NULL), 20);
	assert_int_equal(
		zip_layout_read(z, (int64_t)n - 22, data, 22, broken, NULL),
		22);
}

static void test_names_out_of_range_are_refused(void **state)
{
	CLEANUP(zip_layout_draft_freep) struct zip_layout_draft *b = begin();
	CLEANUP(freep) char *name = malloc(65537);
	struct zip_entry e = {.name = name};

	(void)state;
	memset(name, 'n', 65536);
	name[65536] = '\0';
	assert_int_equal(zip_layout_add(b, &e), -EINVAL);
	name[65535] = '\0';
	assert_int_equal(zip_layout_add(b, &e), 0);
	name[0] = '\0';
	assert_int_equal(zip_layout_add(b, &e), -EINVAL);
	name[0] = 'n';
	e.packed = INT64_MAX;
	assert_int_equal(zip_layout_add(b, &e), -EFBIG);
}

static void test_memory_is_small(void **state)
{
	CLEANUP(zip_layout_freep) struct zip_layout *z = make_synthetic(10000);

	(void)state;
	assert_true(zip_layout_memory(z) < 10000 * (64 + 120) + 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_pieces_are_the_whole),
		cmocka_unit_test(test_every_single_byte_is_the_whole),
		cmocka_unit_test(test_ordinary_tools_agree),
		cmocka_unit_test(test_dos_dates_agree_with_the_library),
		cmocka_unit_test(test_many_entries_want_zip64),
		cmocka_unit_test(test_sizes_over_4_gib_want_zip64),
		cmocka_unit_test(test_errors_of_the_source_come_back),
		cmocka_unit_test(test_names_out_of_range_are_refused),
		cmocka_unit_test(test_memory_is_small),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
