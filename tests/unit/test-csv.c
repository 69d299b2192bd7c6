/* SPDX-License-Identifier: MIT */
#include "outboxfs/format/csv.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define TEXT(s)                                \
	{                                      \
		.type = VALUE_TEXT, .bytes = { \
			.data = s,             \
			.len = sizeof(s) - 1   \
		}                              \
	}
#define BLOB(s)                                \
	{                                      \
		.type = VALUE_BLOB, .bytes = { \
			.data = s,             \
			.len = sizeof(s) - 1   \
		}                              \
	}
#define INT(v)                                      \
	{                                           \
		.type = VALUE_INTEGER, .integer = v \
	}
#define REAL(v)                               \
	{                                     \
		.type = VALUE_REAL, .real = v \
	}

static const enum affinity affinities[] = {
	AFFINITY_BLOB,    AFFINITY_TEXT, AFFINITY_NUMERIC,
	AFFINITY_INTEGER, AFFINITY_REAL,
};

static const struct value values[] = {
	{.type = VALUE_NULL},
	INT(0),
	INT(-1),
	INT(INT64_MAX),
	INT(INT64_MIN),
	REAL(0.0),
	REAL(-0.0),
	REAL(1.0),
	REAL(0.1),
	REAL(1e300),
	REAL(5e-324),
	REAL(INFINITY),
	REAL(-INFINITY),
	REAL(9223372036854775808.0),
	TEXT(""),
	TEXT(" "),
	TEXT("a"),
	TEXT("abc def ghi jkl"),
	TEXT("1"),
	TEXT("-1"),
	TEXT("+1"),
	TEXT("007"),
	TEXT("1.0"),
	TEXT(".5"),
	TEXT("5."),
	TEXT("1e5"),
	TEXT("."),
	TEXT("-"),
	TEXT("1e"),
	TEXT(" 1"),
	TEXT("99999999999999999999999999"),
	TEXT("a,b"),
	TEXT("a\"b"),
	TEXT("\""),
	TEXT("\"\""),
	TEXT("\"\"\"a,\"\"\r\n\""),
	TEXT("a\nb"),
	TEXT("a\rb"),
	TEXT("a\r\n"),
	TEXT("\\x"),
	TEXT("\\xab"),
	TEXT("\\xzz"),
	TEXT("\\X"),
	TEXT("\\"),
	TEXT("x\\x00"),
	TEXT("nul\0nul"),
	TEXT("\xef\xbb\xbf mark"),
	TEXT("\xff\xfe not utf-8"),
	TEXT("long enough for words, with the comma late"),
	TEXT("0123456,"),
	TEXT("0123456789abcd\n"),
	TEXT("NULL"),
	BLOB(""),
	BLOB("a"),
	BLOB("\0\1\xff,\"\n"),
};

static void assert_value(const struct value *a, const struct value *b)
{
	assert_int_equal(a->type, b->type);
	switch (a->type) {
	case VALUE_NULL:
		break;
	case VALUE_INTEGER:
		assert_int_equal(a->integer, b->integer);
		break;
	case VALUE_REAL:
		assert_memory_equal(&a->real, &b->real, sizeof(a->real));
		break;
	case VALUE_TEXT:
	case VALUE_BLOB:
		assert_int_equal(a->bytes.len, b->bytes.len);
		assert_non_null(a->bytes.data);
		assert_memory_equal(a->bytes.data, b->bytes.data, a->bytes.len);
		break;
	}
}

/*
 * Numbers have no place in a column of TEXT affinity: SQLite makes text of
 * them before it stores them.
 */
static bool can_be_stored(const struct value *v, enum affinity affinity)
{
	return affinity != AFFINITY_TEXT ||
	       (v->type != VALUE_INTEGER && v->type != VALUE_REAL);
}

/* Feeds text in pieces, one that is thrown away each time. */
struct source {
	struct csv_reader *reader;
	const char *text;
	size_t n;
	size_t at;
	size_t piece;
	char *copy; /* owned; its bounds are watched by the sanitizer */
	bool ended;
};

static void source_open(struct source *source, const char *text, size_t n,
			size_t piece, const struct csv_limits *limits)
{
	struct csv_limits defaults = CSV_LIMITS_DEFAULT;

	*source = (struct source){.text = text, .n = n, .piece = piece};
	assert_int_equal(
		csv_reader_new(limits ? limits : &defaults, &source->reader),
		0);
}

static void source_close(struct source *source)
{
	source->reader = csv_reader_free(source->reader);
	free(source->copy);
}

static void source_feed(struct source *source)
{
	size_t n = source->n - source->at;

	free(source->copy);
	source->copy = NULL;
	if (n == 0) {
		source->ended = true;
		assert_int_equal(csv_reader_feed(source->reader, NULL, 0), 0);
		return;
	}
	if (n > source->piece)
		n = source->piece;
	source->copy = malloc(n);
	assert_non_null(source->copy);
	memcpy(source->copy, source->text + source->at, n);
	source->at += n;
	assert_int_equal(csv_reader_feed(source->reader, source->copy, n), 0);
}

/* As csv_reader_next(), but 0 is the end. */
static int source_next(struct source *source, struct csv_record *ret,
		       struct err *err)
{
	int r;

	for (;;) {
		r = csv_reader_next(source->reader, ret, err);
		if (r != 0 || source->ended)
			return r;
		source_feed(source);
	}
}

static void check_round_trip(enum affinity affinity, size_t piece)
{
	CLEANUP(buf_deinit) struct buf b = BUF_NULL;
	CLEANUP(buf_deinit) struct buf scratch = BUF_NULL;
	struct csv_record record;
	struct source source;
	struct value v;

	csv_put_name(&b, "\xef\xbb\xbfname");
	buf_putc(&b, '\n');
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		csv_put(&b, &values[i], affinity);
		buf_putc(&b, '\n');
		csv_put_text(&b, "x", 1, affinity);
		buf_putc(&b, ',');
		csv_put(&b, &values[i], affinity);
		buf_putc(&b, '\n');
	}
	assert_int_equal(buf_error(&b), 0);

	source_open(&source, b.data, b.len, piece, NULL);
	assert_int_equal(source_next(&source, &record, NULL), 1);
	assert_int_equal(record.n_fields, 1);
	assert_int_equal(record.fields[0].len, 7);
	for (size_t i = 0; i < 2 * ARRAY_SIZE(values); i++) {
		assert_int_equal(source_next(&source, &record, NULL), 1);
		assert_int_equal(record.n_fields, 1 + i % 2);
		assert_int_equal(csv_value(&record.fields[i % 2], affinity,
					   &scratch, &v),
				 0);
		if (can_be_stored(&values[i / 2], affinity))
			assert_value(&v, &values[i / 2]);
	}
	assert_int_equal(source_next(&source, &record, NULL), 0);
	assert_int_equal(source_next(&source, &record, NULL), 0);
	source_close(&source);
}

static void test_every_value_in_every_piece_size_round_trips(void **state)
{
	static const size_t pieces[] = {1, 2, 3, 5, 7, 64, 1000, 1 << 20};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(affinities); i++) {
		for (size_t j = 0; j < ARRAY_SIZE(pieces); j++)
			check_round_trip(affinities[i], pieces[j]);
	}
}

static void test_random_texts_round_trip(void **state)
{
	static const char alphabet[] = "a1\",\n\r\\x.-e\xc3";
	CLEANUP(buf_deinit) struct buf b = BUF_NULL;
	CLEANUP(buf_deinit) struct buf scratch = BUF_NULL;
	char text[40];
	uint64_t seed = 1;
	struct csv_record record;
	struct source source;
	struct value v;

	(void)state;
	for (size_t i = 0; i < 100000; i++) {
		enum affinity affinity = affinities[i % 5];
		struct value in = {.type = VALUE_TEXT};
		size_t n = i % sizeof(text);

		for (size_t k = 0; k < n; k++) {
			seed = seed * 6364136223846793005u +
			       1442695040888963407u;
			text[k] = alphabet[(seed >> 33) % 12];
		}
		in.bytes.data = text;
		in.bytes.len = n;
		buf_clear(&b);
		csv_put(&b, &in, affinity);
		source_open(&source, b.data, b.len,
			    1 + (size_t)(seed >> 40) % 50, NULL);
		assert_int_equal(source_next(&source, &record, NULL), 1);
		assert_int_equal(record.n_fields, 1);
		assert_int_equal(
			csv_value(&record.fields[0], affinity, &scratch, &v),
			0);
		assert_value(&v, &in);
		assert_int_equal(source_next(&source, &record, NULL), 0);
		source_close(&source);
	}
}

static void assert_put(const struct value *v, enum affinity affinity,
		       const char *expected)
{
	CLEANUP(buf_deinit) struct buf b = BUF_NULL;

	csv_put(&b, v, affinity);
	assert_string_equal(buf_str(&b), expected);
}

static void test_put_quotes_only_what_must_be(void **state)
{
	static const struct {
		struct value value;
		enum affinity affinity;
		const char *expected;
	} cases[] = {
		{{.type = VALUE_NULL}, AFFINITY_TEXT, ""},
		{INT(INT64_MIN), AFFINITY_BLOB, "-9223372036854775808"},
		{REAL(1.0), AFFINITY_REAL, "1.0"},
		{REAL(2.5e-7), AFFINITY_REAL, "2.5e-7"},
		{REAL(INFINITY), AFFINITY_REAL, "1.0e999"},
		{BLOB("\xab\x00"), AFFINITY_BLOB, "\\xab00"},
		{BLOB(""), AFFINITY_BLOB, "\\x"},
		{TEXT(""), AFFINITY_TEXT, "\"\""},
		{TEXT("a b;c'd"), AFFINITY_TEXT, "a b;c'd"},
		{TEXT("1"), AFFINITY_TEXT, "1"},
		{TEXT("1"), AFFINITY_BLOB, "\"1\""},
		{TEXT("1"), AFFINITY_NUMERIC, "\"1\""},
		{TEXT("1x"), AFFINITY_NUMERIC, "1x"},
		{TEXT("inf"), AFFINITY_REAL, "inf"},
		{TEXT("\\x"), AFFINITY_TEXT, "\"\\x\""},
		{TEXT("\\y"), AFFINITY_TEXT, "\\y"},
		{TEXT("a\"b"), AFFINITY_TEXT, "\"a\"\"b\""},
		{TEXT("a,b"), AFFINITY_TEXT, "\"a,b\""},
		{TEXT("a\rb"), AFFINITY_TEXT, "\"a\rb\""},
		{TEXT("a\nb"), AFFINITY_TEXT, "\"a\nb\""},
		{TEXT("=1+1"), AFFINITY_BLOB, "=1+1"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_put(&cases[i].value, cases[i].affinity,
			   cases[i].expected);
}

static void test_put_special_at_every_place_is_quoted(void **state)
{
	static const char special[] = ",\"\n\r";
	char text[40];

	(void)state;
	for (size_t n = 1; n <= sizeof(text); n++) {
		for (size_t i = 0; i < n; i++) {
			CLEANUP(buf_deinit) struct buf b = BUF_NULL;

			memset(text, 'a', n);
			text[i] = special[(n + i) % 4];
			csv_put_text(&b, text, n, AFFINITY_TEXT);
			assert_int_equal(b.data[0], '"');
			buf_clear(&b);
			/* Neighbours of the special ones, and high bytes. */
			text[i] = "\x0b\x0c\x21\x23\x2b\x2d\xac\x8a"[i % 8];
			csv_put_text(&b, text, n, AFFINITY_TEXT);
			assert_int_equal(b.len, n);
		}
	}
}

static void test_put_beyond_maximum_fails_buffer(void **state)
{
	struct buf b = BUF_INIT(8);

	(void)state;
	csv_put_text(&b, "123456789", 9, AFFINITY_TEXT);
	assert_int_equal(buf_error(&b), -EFBIG);
	csv_put_int(&b, 1);
	csv_put_real(&b, 1);
	csv_put_blob(&b, "", SIZE_MAX / 2);
	assert_null(buf_str(&b));
	buf_deinit(&b);
}

/* The fields of a record in one string: [a][b] plain, {a} quoted. */
static void show(struct buf *b, const struct csv_record *record)
{
	for (size_t i = 0; i < record->n_fields; i++) {
		const struct csv_field *field = &record->fields[i];

		buf_putc(b, field->quoted ? '{' : '[');
		buf_add(b, field->data, field->len);
		buf_putc(b, field->quoted ? '}' : ']');
	}
	buf_printf(b, "@%d;", (int)record->line);
}

static void test_reader_accepts_what_others_write(void **state)
{
	static const struct {
		const char *text;
		const char *expected;
	} cases[] = {
		{"", ""},
		{"\n", "[]@1;"},
		{"\n\n", "[]@1;[]@2;"},
		{"a", "[a]@1;"},
		{"a,b\n1,2\n", "[a][b]@1;[1][2]@2;"},
		{"a,b\r\n1,2\r\n", "[a][b]@1;[1][2]@2;"},
		{"a,b\r\n1,2", "[a][b]@1;[1][2]@2;"},
		{"a,", "[a][]@1;"},
		{",\n,", "[][]@1;[][]@2;"},
		{"\"a\nb\r\nc\",d\ne\n", "{a\nb\r\nc}[d]@1;[e]@4;"},
		{"\"\",\"\"\"\"\n", "{}{\"}@1;"},
		{"\"a\"\"b\",\"c\"\"\",\"\"\"d\"", "{a\"b}{c\"}{\"d}@1;"},
		{"\"a\"", "{a}@1;"},
		{"\"a\"\r\n", "{a}@1;"},
		{"\xef\xbb\xbf", ""},
		{"\xef\xbb\xbf\n", "[]@1;"},
		{"\xef\xbb\xbf"
		 "a\n",
		 "[a]@1;"},
		{"\xef\xbb\xbf\"a\"\n", "{a}@1;"},
		{"\xef\xbb\n", "[\xef\xbb]@1;"},
		{"\xef", "[\xef]@1;"},
		{"\xef\xbb", "[\xef\xbb]@1;"},
		{"a\n\xef\xbb\xbf\n", "[a]@1;[\xef\xbb\xbf]@2;"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t n = strlen(cases[i].text);

		for (size_t piece = 1; piece <= n + 1; piece++) {
			CLEANUP(buf_deinit) struct buf b = BUF_NULL;
			struct csv_record record;
			struct source source;
			int r;

			source_open(&source, cases[i].text, n, piece, NULL);
			while ((r = source_next(&source, &record, NULL)) > 0)
				show(&b, &record);
			assert_int_equal(r, 0);
			assert_string_equal(buf_str(&b), cases[i].expected);
			source_close(&source);
		}
	}
}

static void check_error(const char *text, int expected, const char *reason,
			const struct csv_limits *limits)
{
	size_t n = strlen(text);

	for (size_t piece = 1; piece <= n + 1; piece++) {
		struct err err = ERR_NULL;
		struct csv_record record;
		struct source source;
		int r;

		source_open(&source, text, n, piece, limits);
		do {
			r = source_next(&source, &record, &err);
		} while (r > 0);
		assert_int_equal(r, expected);
		assert_string_equal(err.text, reason);
		/* It stays failed, and says so again. */
		err.text[0] = '\0';
		r = csv_reader_next(source.reader, &record, &err);
		assert_int_equal(r, expected);
		assert_string_equal(err.text, reason);
		source_close(&source);
	}
}

static void test_reader_refuses_what_is_not_csv(void **state)
{
	static const struct {
		const char *text;
		const char *reason;
	} cases[] = {
		{"a\nb,c\"d\n",
		 "line 2, field 2: quote inside an unquoted field"},
		{"a\n\"b\nc\" \n",
		 "line 3, field 1: text after a closing quote"},
		{"a\rb\n",
		 "line 1, field 1: carriage return without line feed"},
		{"a,\"b\"\r",
		 "line 1, field 2: carriage return without line feed"},
		{"\r\r\n",
		 "line 1, field 1: carriage return without line feed"},
		{"a\n1,\"b\n\n",
		 "line 2, field 2: the quote that begins it is never closed"},
		{"\"a\"\"",
		 "line 1, field 1: the quote that begins it is never closed"},
		{"\xef\xbb\xbf\"",
		 "line 1, field 1: the quote that begins it is never closed"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		check_error(cases[i].text, -EBADMSG, cases[i].reason, NULL);
}

static void test_reader_keeps_its_limits(void **state)
{
	struct csv_limits limits = {.n_fields_max = 3, .record_bytes_max = 8};

	(void)state;
	check_error(
		"1,2,3\n1,2,3,4\n", -E2BIG,
		"line 2, field 4: the record has more fields than the limit",
		&limits);
	check_error("1234567\n12345678\n", -E2BIG,
		    "line 2, field 1: the record has more bytes than the limit",
		    &limits);
	check_error("\"\n\n\n\n\n\n\n\n\n\n", -E2BIG,
		    "line 8, field 1: the record has more bytes than the limit",
		    &limits);
	check_error("1234567\n12345678", 0, "", &limits);
}

static void test_reader_long_record_in_small_pieces(void **state)
{
	CLEANUP(buf_deinit) struct buf b = BUF_NULL;
	struct csv_record record;
	struct source source;

	(void)state;
	for (int i = 0; i < 30000; i++)
		buf_puts(&b, i % 3 ? "\"a\"\"b\"," : "123,");
	buf_puts(&b, "end\nnext\n");
	for (size_t piece = 999; piece < 100000; piece *= 7) {
		source_open(&source, b.data, b.len, piece, NULL);
		assert_int_equal(source_next(&source, &record, NULL), 1);
		assert_int_equal(record.n_fields, 30001);
		assert_int_equal(record.fields[1].len, 3);
		assert_memory_equal(record.fields[29999].data, "a\"b", 3);
		assert_memory_equal(record.fields[29997].data, "123", 3);
		assert_int_equal(source_next(&source, &record, NULL), 1);
		assert_memory_equal(record.fields[0].data, "next", 4);
		assert_int_equal(record.line, 2);
		assert_int_equal(source_next(&source, &record, NULL), 0);
		source_close(&source);
	}
}

static void check_value(const char *text, bool quoted, enum affinity affinity,
			const struct value *expected)
{
	CLEANUP(buf_deinit) struct buf scratch = BUF_NULL;
	struct csv_field field = {
		.data = text,
		.len = strlen(text),
		.quoted = quoted,
	};
	struct value v;

	assert_int_equal(csv_value(&field, affinity, &scratch, &v), 0);
	assert_value(&v, expected);
}

static void test_value_follows_look_and_affinity(void **state)
{
	static const struct value null = {.type = VALUE_NULL};
	static const struct value one = INT(1);
	static const struct value real = REAL(1.0);
	static const struct value text = TEXT("1");
	static const struct value odd = TEXT("\\xabc");
	static const struct value upper = TEXT("\\xAB");
	static const struct value empty = TEXT("");
	static const struct value blob = BLOB("\xab");
	static const struct value no_bytes = BLOB("");

	(void)state;
	check_value("", false, AFFINITY_TEXT, &null);
	check_value("", true, AFFINITY_BLOB, &empty);
	check_value("1", false, AFFINITY_TEXT, &text);
	check_value("1", true, AFFINITY_INTEGER, &text);
	check_value("1", false, AFFINITY_REAL, &one);
	check_value("+01", false, AFFINITY_BLOB, &one);
	check_value("1.", false, AFFINITY_INTEGER, &real);
	check_value("\\xab", false, AFFINITY_TEXT, &blob);
	check_value("\\x", false, AFFINITY_TEXT, &no_bytes);
	check_value("\\xabc", false, AFFINITY_BLOB, &odd);
	check_value("\\xAB", false, AFFINITY_BLOB, &upper);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_every_value_in_every_piece_size_round_trips),
		cmocka_unit_test(test_random_texts_round_trip),
		cmocka_unit_test(test_put_quotes_only_what_must_be),
		cmocka_unit_test(test_put_special_at_every_place_is_quoted),
		cmocka_unit_test(test_put_beyond_maximum_fails_buffer),
		cmocka_unit_test(test_reader_accepts_what_others_write),
		cmocka_unit_test(test_reader_refuses_what_is_not_csv),
		cmocka_unit_test(test_reader_keeps_its_limits),
		cmocka_unit_test(test_reader_long_record_in_small_pieces),
		cmocka_unit_test(test_value_follows_look_and_affinity),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
