/* SPDX-License-Identifier: MIT */
#include "outboxfs/format/json.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <json.h>

static void test_document_is_pretty_and_stable(void **state)
{
	CLEANUP(buf_deinit) struct buf b = BUF_NULL;
	struct json j = JSON_INIT(&b);

	(void)state;
	json_begin_object(&j);
	json_key_string(&j, "name", "a \"b\"");
	json_key_int(&j, "int", INT64_MIN);
	json_key_real(&j, "real", 1);
	json_key_boolean(&j, "yes", true);
	json_key_boolean(&j, "no", false);
	json_key_null(&j, "null");
	json_key(&j, "empty");
	json_begin_array(&j);
	json_end_array(&j);
	json_key(&j, "list");
	json_begin_array(&j);
	json_int(&j, 1);
	json_begin_object(&j);
	json_end_object(&j);
	json_begin_object(&j);
	json_key_int(&j, "a", 1);
	json_end_object(&j);
	json_null(&j);
	json_end_array(&j);
	json_key_int(&j, "last", 0);
	json_end_object(&j);
	json_end_document(&j);
	assert_string_equal(buf_str(&b), "{\n"
					 "  \"name\": \"a \\\"b\\\"\",\n"
					 "  \"int\": -9223372036854775808,\n"
					 "  \"real\": 1.0,\n"
					 "  \"yes\": true,\n"
					 "  \"no\": false,\n"
					 "  \"null\": null,\n"
					 "  \"empty\": [],\n"
					 "  \"list\": [\n"
					 "    1,\n"
					 "    {},\n"
					 "    {\n"
					 "      \"a\": 1\n"
					 "    },\n"
					 "    null\n"
					 "  ],\n"
					 "  \"last\": 0\n"
					 "}\n");
}

static void test_documents_may_follow_each_other(void **state)
{
	CLEANUP(buf_deinit) struct buf b = BUF_NULL;
	struct json j = JSON_INIT(&b);

	(void)state;
	json_int(&j, 1);
	json_end_document(&j);
	json_begin_array(&j);
	json_end_array(&j);
	json_end_document(&j);
	assert_string_equal(buf_str(&b), "1\n[]\n");
}

static void check_string(const char *s, size_t n, const char *expected)
{
	CLEANUP(buf_deinit) struct buf b = BUF_NULL;
	struct json j = JSON_INIT(&b);

	json_string(&j, s, n);
	assert_string_equal(buf_str(&b), expected);
}

static void test_string_escapes(void **state)
{
	(void)state;
	check_string(NULL, 0, "\"\"");
	check_string("a\"\\/b", 5, "\"a\\\"\\\\/b\"");
	check_string("\b\t\n\f\r", 5, "\"\\b\\t\\n\\f\\r\"");
	check_string("\0\x1f\x7f", 3, "\"\\u0000\\u001f\x7f\"");
	check_string("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 9,
		     "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"");
	check_string("a\xff"
		     "b\xc3",
		     4,
		     "\"a\xef\xbf\xbd"
		     "b\xef\xbf\xbd\"");
	check_string("\xed\xa0\x80", 3,
		     "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
}

static void check_value(const struct value *v, const char *expected)
{
	CLEANUP(buf_deinit) struct buf b = BUF_NULL;
	struct json j = JSON_INIT(&b);

	json_value(&j, v);
	assert_string_equal(buf_str(&b), expected);
}

static void test_value_of_every_storage_class(void **state)
{
	static const char *const base64[] = {
		"\"\"",         "\"Zg==\"",     "\"Zm8=\"",     "\"Zm9v\"",
		"\"Zm9vYg==\"", "\"Zm9vYmE=\"", "\"Zm9vYmFy\"",
	};
	struct value v = {.type = VALUE_NULL};

	(void)state;
	check_value(&v, "null");
	v = (struct value){.type = VALUE_INTEGER, .integer = 9007199254740993};
	check_value(&v, "9007199254740993");
	v = (struct value){.type = VALUE_REAL, .real = 0.1};
	check_value(&v, "0.1");
	v.real = -INFINITY;
	check_value(&v, "-1.0e999");
	v.type = VALUE_TEXT;
	v.bytes.data = "1";
	v.bytes.len = 1;
	check_value(&v, "\"1\"");
	v.type = VALUE_BLOB;
	v.bytes.data = "foobar"; /* RFC 4648, 10 */
	for (v.bytes.len = 0; v.bytes.len <= 6; v.bytes.len++)
		check_value(&v, base64[v.bytes.len]);
	v.bytes.data = "\xfb\xff\xbf";
	v.bytes.len = 3;
	check_value(&v, "\"+/+/\"");
}

static void test_deepest_level_is_written(void **state)
{
	CLEANUP(buf_deinit) struct buf b = BUF_NULL;
	struct json j = JSON_INIT(&b);

	(void)state;
	for (int i = 0; i < JSON_DEPTH_MAX; i++) {
		if (i % 2) {
			json_key(&j, "k");
			json_begin_array(&j);
		} else {
			json_begin_object(&j);
		}
	}
	for (int i = JSON_DEPTH_MAX - 1; i >= 0; i--) {
		if (i % 2)
			json_end_array(&j);
		else
			json_end_object(&j);
	}
	json_end_document(&j);
	assert_int_equal(buf_error(&b), 0);
}

static void put_document(struct buf *b)
{
	struct json j = JSON_INIT(b);
	struct value v = {
		.type = VALUE_BLOB,
		.bytes = {.data = "0123456789", .len = 10},
	};

	json_begin_object(&j);
	json_key_value(&j, "key\n\xff", &v);
	json_key_real(&j, "r", 0.5);
	json_end_object(&j);
	json_end_document(&j);
}

static void test_full_buffer_fails_once_at_the_end(void **state)
{
	CLEANUP(buf_deinit) struct buf whole = BUF_NULL;

	(void)state;
	put_document(&whole);
	for (size_t max = 0; max <= whole.len; max++) {
		CLEANUP(buf_deinit) struct buf b = BUF_INIT(max);

		put_document(&b);
		assert_int_equal(buf_error(&b), max < whole.len ? -EFBIG : 0);
	}
}

/* Another implementation reads back what was written. */
static void test_json_c_reads_every_byte_string(void **state)
{
	CLEANUP(buf_deinit) struct buf b = BUF_NULL;
	struct json_object *object;

	(void)state;
	for (int c = 0; c < 256; c++) {
		struct json j = JSON_INIT(&b);
		char text[3] = {'a', (char)c, 'b'};

		buf_clear(&b);
		json_begin_array(&j);
		json_string(&j, text, 3);
		json_end_array(&j);
		json_end_document(&j);
		object = json_tokener_parse(buf_str(&b));
		assert_non_null(object);
		if (c < 128)
			assert_memory_equal(
				json_object_get_string(
					json_object_array_get_idx(object, 0)),
				text, 3);
		json_object_put(object);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_document_is_pretty_and_stable),
		cmocka_unit_test(test_documents_may_follow_each_other),
		cmocka_unit_test(test_string_escapes),
		cmocka_unit_test(test_value_of_every_storage_class),
		cmocka_unit_test(test_deepest_level_is_written),
		cmocka_unit_test(test_full_buffer_fails_once_at_the_end),
		cmocka_unit_test(test_json_c_reads_every_byte_string),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
