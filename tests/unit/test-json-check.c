/* SPDX-License-Identifier: MIT */

/* What json-c keeps silent about: keys that stand twice, and NULs. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "outboxfs/base/buf.h"
#include "outboxfs/format/json-check.h"

static int check(const char *text, size_t n, struct err *err)
{
	/* Of its own size, so that ASan sees what is read beyond. */
	CLEANUP(freep) char *copy = malloc(n ? n : 1);

	assert_non_null(copy);
	memcpy(copy, text, n);
	return json_check(copy, n, err);
}

static void test_check_keys_of_their_own_passes(void **state)
{
	static const char *const good[] = {
		"",
		"{}",
		"[]",
		"5",
		"\"a\"",
		"{\"a\": 1, \"b\": 2}",
		"{\"a\": {\"a\": {\"a\": 1}}}",
		"[{\"a\": 1}, {\"a\": 1}]",
		"{\"a\": [{\"b\": 1}, {\"b\": 1}], \"b\": 1}",
		"{\"a\": \"a\", \"b\": \"a\"}",
		"{\"a\": \"\\\"b\\\": 1\", \"b\": \"{\\\\\"}",
		"{\"a\": 1, \"A\": 1, \"\": 1, \" a\": 1}",
		"{\"\\ud83d\\ude00\": 1, \"\\ud83d\": 1, \"\\ude00x\": 1}",
		"{\"u0061\": 1, \"a\": 1, \"\\\\u0061\": 1}",
		"{\"a\": \"\\\\u0000\", \"b\": \"\\u0000\"}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct err err = ERR_NULL;

		if (check(good[i], strlen(good[i]), &err) != 0)
			fail_msg("%s: %s", good[i], err.text);
	}
}

static void test_check_bad_documents_say_what_and_where(void **state)
{
	static const struct {
		const char *text;
		const char *says;
	} bad[] = {
		{"{\"a\": 1, \"a\": 2}",
		 "key 'a' is given twice in one object, again in line 1 (byte 9)"},
		{"{\"a\": 1,\n\"b\": 2,\n \"b\" : 1, \"a\": 1}",
		 "'b' is given twice in one object, again in line 3"},
		{"[{\"a\": {\"b\": 1, \"c\": [], \"b\": 1}}]", "'b'"},
		{"{\"a\": {\"a\": 1}, \"a\": 1}", "(byte 16)"},
		{"{\"\": 1, \"\": 1}", "''"},
		{"{\"a\": 1, \"\\u0061\": 1}", "'\\u0061'"},
		{"{\"\xc3\xa4\": 1, \"\\u00E4\": 1}", "twice"},
		{"{\"\xf0\x9f\x98\x80\": 1, \"\\ud83d\\ude00\": 1}", "twice"},
		{"{\"\\ud83d\": 1, \"\\ufffd\": 1}", "twice"},
		{"{\"\\n\\/\\\"\": 1, \"\\u000a/\\u0022\": 1}", "twice"},
		{"{\"a\\u0000b\": 1}", "a NUL in the key at byte 1"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err err = ERR_NULL;

		assert_int_equal(check(bad[i].text, strlen(bad[i].text), &err),
				 -EINVAL);
		if (!strstr(err.text, bad[i].says))
			fail_msg("'%s' does not say '%s'", err.text,
				 bad[i].says);
	}
}

static void test_check_long_key_is_cut_between_characters(void **state)
{
	CLEANUP(buf_deinit) struct buf b = BUF_NULL;
	struct err err = ERR_NULL;

	(void)state;
	for (int i = 0; i < 2; i++) {
		buf_puts(&b, i ? ", \"x" : "{\"x");
		for (int k = 0; k < 100; k++)
			buf_puts(&b, "\xc3\xa4");
		buf_puts(&b, "\": 1");
	}
	buf_puts(&b, "}");
	assert_int_equal(check(b.data, b.len, &err), -EINVAL);
	assert_non_null(strstr(err.text, "\xc3\xa4…' is given twice"));
}

static void test_check_what_is_cut_off_is_not_read_beyond(void **state)
{
	static const char text[] =
		"{\"a\\u0061\": [\"\\ud83d\\ude00\", {\"\\\\\": \"\\\"\"}], \"b\": 1}";

	(void)state;
	for (size_t n = 0; n < sizeof(text); n++) {
		struct err err = ERR_NULL;

		assert_int_equal(check(text, n, &err), 0);
	}
}

static void test_check_deep_document_is_refused(void **state)
{
	char text[1000];
	struct err err = ERR_NULL;

	(void)state;
	memset(text, '[', sizeof(text));
	assert_int_equal(check(text, sizeof(text), &err), -EINVAL);
	assert_non_null(strstr(err.text, "levels"));
}

/* Quadratic time would not end. */
static void test_check_million_keys_takes_no_time(void **state)
{
	CLEANUP(buf_deinit) struct buf b = BUF_NULL;
	struct err err = ERR_NULL;

	(void)state;
	for (int i = 0; i < 1000000; i++)
		buf_printf(&b, "%s\"k%d\":0", i ? "," : "{", i);
	buf_puts(&b, ",\"k77\":0}");
	assert_int_equal(buf_error(&b), 0);
	assert_int_equal(json_check(b.data, b.len, &err), -EINVAL);
	assert_non_null(strstr(err.text, "'k77'"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_check_keys_of_their_own_passes),
		cmocka_unit_test(test_check_bad_documents_say_what_and_where),
		cmocka_unit_test(test_check_long_key_is_cut_between_characters),
		cmocka_unit_test(test_check_what_is_cut_off_is_not_read_beyond),
		cmocka_unit_test(test_check_deep_document_is_refused),
		cmocka_unit_test(test_check_million_keys_takes_no_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
