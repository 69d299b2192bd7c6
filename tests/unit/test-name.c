/* SPDX-License-Identifier: MIT */
#include "outboxfs/base/name.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static uint64_t seed = 42;

static unsigned next_random(unsigned n)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(seed >> 33) % n;
}

static struct value text_value(const char *s)
{
	return (struct value){
		.type = VALUE_TEXT,
		.bytes = {.data = s, .len = strlen(s)},
	};
}

static struct value bytes_value(enum value_type type, const void *s, size_t n)
{
	return (struct value){.type = type, .bytes = {.data = s, .len = n}};
}

static struct value int_value(int64_t v)
{
	return (struct value){.type = VALUE_INTEGER, .integer = v};
}

static struct value real_value(double v)
{
	return (struct value){.type = VALUE_REAL, .real = v};
}

static const struct value null_value = {.type = VALUE_NULL};

static const char *make(const struct value *label, const struct value *key,
			struct name *name)
{
	assert_int_equal(name_make(label, key, name), 0);
	assert_in_range(name->len, 1, NAME_BYTES_MAX);
	assert_int_equal(strlen(name->text), name->len);
	assert_null(strchr(name->text, '/'));
	assert_string_not_equal(name->text, ".");
	assert_string_not_equal(name->text, "..");
	return name->text;
}

static void assert_name(const struct value *label, const struct value *key,
			const char *expected)
{
	struct name name;

	assert_string_equal(make(label, key, &name), expected);
}

static void test_make_encodes_what_a_path_cannot_carry(void **state)
{
	static const char *const cases[][2] = {
		{"abc", "abc"},
		{"", "%"},
		{".", "%2E"},
		{"..", "%2E%2E"},
		{"SnapshotParams.json", "%53napshotParams.json"},
		{"...", "..."},
		{".a", ".a"},
		{"a.", "a."},
		{"a/b", "a%2Fb"},
		{"100%", "100%25"},
		{"%2F", "%252F"},
		{"%null", "%25null"},
		{"%~", "%25~"},
		{"~", "~"},
		{"a\tb\n\x1f\x7f", "a%09b%0A%1F%7F"},
		{" x ", " x "},
		{"\xc2\x80\xc2\x9f\xc2\xa0", "%C2%80%C2%9F\xc2\xa0"},
		{"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80",
		 "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"},
		{"\xff", "%FF"},
		{"\x80", "%80"},
		{"\xc3", "%C3"},
		{"\xc3(", "%C3("},
		{"\xc0\xaf", "%C0%AF"},
		{"\xe0\x9f\xbf", "%E0%9F%BF"},
		{"\xe0\xa0\x80", "\xe0\xa0\x80"},
		{"\xed\x9f\xbf", "\xed\x9f\xbf"},
		{"\xed\xa0\x80", "%ED%A0%80"},
		{"\xf0\x8f\xbf\xbf", "%F0%8F%BF%BF"},
		{"\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf"},
		{"\xf4\x90\x80\x80", "%F4%90%80%80"},
		{"\xf5\x80\x80\x80", "%F5%80%80%80"},
		{"\xe2\x82", "%E2%82"},
		{"\xef\xbb\xbf", "\xef\xbb\xbf"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct value v = text_value(cases[i][0]);

		assert_name(&v, NULL, cases[i][1]);
	}
}

static void test_make_of_every_storage_class(void **state)
{
	struct value v;

	(void)state;
	assert_name(&null_value, NULL, "%null");
	v = int_value(-5);
	assert_name(&v, NULL, "-5");
	v = real_value(0.5);
	assert_name(&v, NULL, "0.5");
	v = real_value(INFINITY);
	assert_name(&v, NULL, "1.0e999");
	v = bytes_value(VALUE_BLOB, "\0\xff", 2);
	assert_name(&v, NULL, "\\x00ff");
	v = bytes_value(VALUE_BLOB, NULL, 0);
	assert_name(&v, NULL, "\\x");
	v = bytes_value(VALUE_TEXT, NULL, 0);
	assert_name(&v, NULL, "%");
	v = bytes_value(VALUE_TEXT, "a\0b", 3);
	assert_name(&v, NULL, "a%00b");
}

static void test_make_with_key_tells_storage_classes_apart(void **state)
{
	static const char *const cases[][2] = {
		{"k", "a%~k"},
		{"", "a%~%"},
		{".", "a%~%2E"},
		{"5", "a%~'5'"},
		{"5.0", "a%~'5.0'"},
		{"+5", "a%~'+5'"},
		{"5x", "a%~5x"},
		{"\\x", "a%~'\\x'"},
		{"\\xab", "a%~'\\xab'"},
		{"\\xa", "a%~\\xa"},
		{"'", "a%~'''"},
		{"'5'", "a%~''5''"},
		{"it's", "a%~it's"},
		{"%null", "a%~%25null"},
		{"0123456789abcdef0123456789abcdef",
		 "a%~'0123456789abcdef0123456789abcdef'"},
		{"0123456789ABCDEF0123456789ABCDEF",
		 "a%~0123456789ABCDEF0123456789ABCDEF"},
	};
	struct value label = text_value("a");
	struct value key;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		key = text_value(cases[i][0]);
		assert_name(&label, &key, cases[i][1]);
	}
	assert_name(&label, &null_value, "a%~%null");
	assert_name(&null_value, &null_value, "%null%~%null");
	key = int_value(5);
	assert_name(&label, &key, "a%~5");
	key = real_value(5);
	assert_name(&label, &key, "a%~5.0");
	key = bytes_value(VALUE_BLOB, "\xab", 1);
	assert_name(&label, &key, "a%~\\xab");
	label = text_value("");
	assert_name(&label, &key, "%%~\\xab");
}

static void check_parse(const struct name *name, const struct value *label,
			const struct value *key)
{
	CLEANUP(name_parts_deinit) struct name_parts parts = NAME_PARTS_NULL;
	CLEANUP(buf_deinit) struct buf text = BUF_NULL;

	assert_int_equal(name_parse(name->text, name->len, &parts), 0);
	name_text(&text, label);
	assert_int_equal(parts.label_null, label->type == VALUE_NULL);
	if (parts.form == NAME_HASHED) {
		assert_true(parts.label_cut || parts.label.len == text.len);
		assert_true(parts.label.len <= text.len);
		assert_memory_equal(parts.label.data ? parts.label.data : "",
				    text.data ? text.data : "",
				    parts.label.len);
		return;
	}
	assert_int_equal(parts.form, key ? NAME_KEYED : NAME_PLAIN);
	assert_int_equal(parts.label.len, text.len);
	if (text.len)
		assert_memory_equal(parts.label.data, text.data, text.len);
	if (!key)
		return;
	buf_clear(&text);
	name_text(&text, key);
	assert_int_equal(parts.key_null, key->type == VALUE_NULL);
	assert_int_equal(parts.key.len, text.len);
	if (text.len)
		assert_memory_equal(parts.key.data, text.data, text.len);
	if (parts.key_quoted)
		assert_int_equal(key->type, VALUE_TEXT);
}

/* Bytes that matter are far more frequent than in data. */
static struct value random_value(char *room, size_t max)
{
	static const char alphabet[] = "./%~'\\x019a\xc2\x85\xe2\x82\xac\xff\n";
	size_t n = next_random((unsigned)max + 1);

	switch (next_random(8)) {
	case 0:
		return null_value;
	case 1:
		return int_value((int64_t)next_random(100) - 50);
	case 2:
		return real_value((double)next_random(100) / 4);
	default:
		break;
	}
	for (size_t i = 0; i < n; i++)
		room[i] = next_random(2) ? (char)next_random(256)
					 : alphabet[next_random(17)];
	return bytes_value(next_random(8) ? VALUE_TEXT : VALUE_BLOB, room, n);
}

static void test_random_values_round_trip(void **state)
{
	char label_room[300];
	char key_room[300];

	(void)state;
	for (unsigned i = 0; i < 200000; i++) {
		size_t max = i % 4 == 0 ? sizeof(label_room) : 1 + i % 40;
		struct value label = random_value(label_room, max);
		struct value key = random_value(key_room, max);
		struct name name;

		make(&label, NULL, &name);
		check_parse(&name, &label, NULL);
		make(&label, &key, &name);
		check_parse(&name, &label, &key);
	}
}

static bool same_value(const struct value *a, const struct value *b)
{
	if (a->type != b->type)
		return false;
	switch (a->type) {
	case VALUE_NULL:
		return true;
	case VALUE_INTEGER:
		return a->integer == b->integer;
	case VALUE_REAL:
		return a->real == b->real;
	case VALUE_TEXT:
	case VALUE_BLOB:
	default:
		return a->bytes.len == b->bytes.len &&
		       memcmp(a->bytes.data, b->bytes.data, a->bytes.len) == 0;
	}
}

/* Keys of one label, as a listing has them: each must get a name of its own. */
static void test_different_keys_have_different_names(void **state)
{
	static const char *const texts[] = {
		"",
		"%",
		"%null",
		"null",
		"5",
		"'5'",
		"''5''",
		"'",
		"5.0",
		"5.00",
		"+5",
		"\\x",
		"\\x35",
		"'\\x35'",
		"\\x3",
		"\\xAB",
		"\\xab",
		".",
		"..",
		"%2E",
		"a/b",
		"a%2Fb",
		"1.0e999",
		"0123456789abcdef0123456789abcdef",
		"'0123456789abcdef0123456789abcdef'",
	};
	struct value keys[ARRAY_SIZE(texts) + 8];
	struct name names[ARRAY_SIZE(keys)];
	struct value label = text_value("x");
	size_t n = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		keys[n++] = text_value(texts[i]);
	keys[n++] = null_value;
	keys[n++] = int_value(5);
	keys[n++] = int_value(0);
	keys[n++] = real_value(5.0);
	keys[n++] = real_value(INFINITY);
	keys[n++] = bytes_value(VALUE_BLOB, "", 0);
	keys[n++] = bytes_value(VALUE_BLOB, "5", 1);
	keys[n++] = bytes_value(VALUE_BLOB, "\xab", 1);
	for (size_t i = 0; i < n; i++) {
		make(&label, &keys[i], &names[i]);
		for (size_t k = 0; k < i; k++) {
			assert_false(same_value(&keys[i], &keys[k]));
			assert_string_not_equal(names[i].text, names[k].text);
		}
	}
}

static void test_different_texts_have_different_names(void **state)
{
	enum {
		N = 1000
	};
	static char rooms[N][300];
	static struct value values[N];
	static struct name names[N];

	(void)state;
	for (unsigned i = 0; i < N; i++) {
		do {
			values[i] = random_value(rooms[i], i % 3 ? 3 : 300);
		} while (values[i].type != VALUE_TEXT);
		make(&values[i], NULL, &names[i]);
		for (unsigned k = 0; k < i; k++)
			assert_int_equal(strcmp(names[i].text, names[k].text) ==
						 0,
					 same_value(&values[i], &values[k]));
	}
}

static void test_long_names_are_cut_between_units(void **state)
{
	static const struct {
		const char *unit;
		size_t unit_bytes; /* in the name */
	} cases[] = {
		{"a", 1},
		{"/", 3},
		{"\xc3\xa4", 2},
		{"\xe2\x82\xac", 3},
		{"\xf0\x9f\x98\x80", 4},
		{"\xc2\x85", 6},
		{"\xff", 3},
	};
	CLEANUP(buf_deinit) struct buf text = BUF_NULL;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		for (size_t shift = 0; shift < 7; shift++) {
			size_t size = cases[i].unit_bytes;
			struct value v;
			struct name name;

			buf_clear(&text);
			for (size_t k = 0; k < shift; k++)
				buf_putc(&text, 'x');
			for (size_t k = 0; k < 300; k++)
				buf_puts(&text, cases[i].unit);
			v = text_value(buf_str(&text));
			make(&v, NULL, &name);
			assert_int_equal(name.len,
					 shift + (221 - shift) / size * size +
						 34);
			assert_memory_equal(name.text + name.len - 34, "%~", 2);
			check_parse(&name, &v, NULL);
		}
	}
}

static void test_limit_is_255_bytes(void **state)
{
	char text[300];
	struct value label;
	struct value key = int_value(1);
	struct name name;
	struct name other;

	(void)state;
	memset(text, 'a', sizeof(text));
	for (size_t n = 215; n < sizeof(text); n++) {
		label = bytes_value(VALUE_TEXT, text, n);
		make(&label, NULL, &name);
		assert_int_equal(name.len, n <= 255 ? n : 255);
		make(&label, &key, &name);
		assert_int_equal(name.len, n <= 252 ? n + 3 : 255);
		check_parse(&name, &label, &key);
	}
	/* The same beginning, the same length: the hash tells them apart. */
	make(&label, NULL, &name);
	text[280] = 'b';
	make(&label, NULL, &other);
	assert_memory_equal(name.text, other.text, 223);
	assert_string_not_equal(name.text, other.text);
	make(&label, &null_value, &name);
	assert_string_not_equal(name.text, other.text);
	label.type = VALUE_BLOB;
	make(&label, &null_value, &other);
	assert_string_not_equal(name.text, other.text);
}

static void test_long_key_leaves_label_whole(void **state)
{
	CLEANUP(name_parts_deinit) struct name_parts parts = NAME_PARTS_NULL;
	char text[300];
	struct value label = text_value(".");
	struct value key = bytes_value(VALUE_TEXT, text, sizeof(text));
	struct name name;
	struct name other;

	(void)state;
	memset(text, '7', sizeof(text));
	make(&label, &key, &name);
	assert_int_equal(name.len, 3 + 34);
	assert_memory_equal(name.text, "%2E%~", 5);
	check_parse(&name, &label, &key);
	assert_int_equal(name_parse(name.text, name.len, &parts), 0);
	assert_false(parts.label_cut);
	/* A key that looks like the hash is no hash. */
	key = bytes_value(VALUE_TEXT, name.text + 5, 32);
	make(&label, &key, &other);
	assert_string_not_equal(name.text, other.text);
	check_parse(&other, &label, &key);
}

static void test_hash_does_not_change(void **state)
{
	char text[300];
	struct value label = bytes_value(VALUE_TEXT, text, sizeof(text));
	struct name name;

	(void)state;
	memset(text, 'a', sizeof(text));
	make(&label, NULL, &name);
	assert_string_equal(name.text + 221,
			    "%~0a60309c5516bdeefe5c821547c4471f");
}

static void test_parse_refuses_what_no_value_is_called(void **state)
{
	static const char *const cases[] = {
		"",        ".",         "..",       "a/b",
		"a\nb",    "\xff",      "\xc2\x85", "\xed\xa0\x80",
		"%0",      "%zz",       "%2f",      "%41",
		"a%",      "%a",        "%nul",     "%nullx",
		"a%null",  "%Null",     "%2E.",     ".%2E",
		"%2Ea",    "%2E%2E%2E", "%C3%A4",   "%E2%82%AC",
		"%~",      "a%~",       "%~a",      "a%~b%~c",
		"a%~'",    "a%~''",     "a%~'x'",   "a%~'x",
		"a%~'5",   "a%~+5",     "a%~05",    "a%~5.",
		"a%~5.00", "a%~1e5",    "a%~.",     "a%~'%null'",
		"a%~b/",   ".%~5",      "a%%~5",
	};
	char text[300];
	struct name_parts parts = NAME_PARTS_NULL;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (name_parse(cases[i], strlen(cases[i]), &parts) != -EINVAL)
			fail_msg("'%s' was taken", cases[i]);
	}
	assert_int_equal(name_parse("a\0", 2, &parts), -EINVAL);
	memset(text, 'a', sizeof(text));
	assert_int_equal(name_parse(text, 256, &parts), -EINVAL);
	/* Before a hash, a label as long as this would have been cut. */
	memcpy(text + 222, "%~0123456789abcdef0123456789abcdef", 34);
	assert_int_equal(name_parse(text + 1, 255, &parts), 0);
	assert_int_equal(parts.form, NAME_HASHED);
	name_parts_deinit(&parts);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_make_encodes_what_a_path_cannot_carry),
		cmocka_unit_test(test_make_of_every_storage_class),
		cmocka_unit_test(
			test_make_with_key_tells_storage_classes_apart),
		cmocka_unit_test(test_random_values_round_trip),
		cmocka_unit_test(test_different_keys_have_different_names),
		cmocka_unit_test(test_different_texts_have_different_names),
		cmocka_unit_test(test_long_names_are_cut_between_units),
		cmocka_unit_test(test_limit_is_255_bytes),
		cmocka_unit_test(test_long_key_leaves_label_whole),
		cmocka_unit_test(test_hash_does_not_change),
		cmocka_unit_test(test_parse_refuses_what_no_value_is_called),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
