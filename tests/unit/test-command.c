/* SPDX-License-Identifier: MIT */
#include "outboxfs/work/command.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct command *good(enum command_kind kind, const char *text)
{
	struct command *c = NULL;
	struct err err = ERR_NULL;
	int r = command_parse(kind, text, strlen(text), &c, &err);

	if (r < 0)
		fail_msg("%s: %s", text, err.text);
	return c;
}

static void bad_bytes(enum command_kind kind, const char *text, size_t n,
		      const char *says)
{
	struct command *c = NULL;
	struct err err = ERR_NULL;
	int r = command_parse(kind, text, n, &c, &err);

	if (r != -EINVAL || c)
		fail_msg("'%s' gives %d, not -EINVAL", text, r);
	if (!strstr(err.text, says))
		fail_msg("'%s' says '%s', not '%s'", text, err.text, says);
}

static void bad(enum command_kind kind, const char *text, const char *says)
{
	bad_bytes(kind, text, strlen(text), says);
}

static void test_export_words(void **state)
{
	CLEANUP(command_freep) struct command *c = NULL;

	(void)state;
	c = good(COMMAND_EXPORT, "  ALL_INCREMENTAL file='Q1 \"close\"' \t"
				 "channel=\"a.b\"-c base=17 overwrite=y\\es "
				 "orphans=delete wait=yes \n");
	assert_string_equal(c->type, "all_incremental");
	assert_string_equal(c->file, "Q1 \"close\".zip");
	assert_string_equal(c->channel, "a.b-c");
	assert_int_equal(c->base, 17);
	assert_true(c->overwrite);
	assert_true(c->delete_orphans);
	assert_true(c->wait);
	assert_null(c->dims[0]);
}

static void test_export_defaults(void **state)
{
	CLEANUP(command_freep) struct command *c = NULL;

	(void)state;
	c = good(COMMAND_EXPORT, "all");
	assert_string_equal(c->type, "all");
	assert_null(c->file);
	assert_string_equal(c->channel, "main");
	assert_int_equal(c->base, 0);
	assert_false(c->overwrite);
	assert_false(c->delete_orphans);
	assert_false(c->wait);
}

static void test_export_json(void **state)
{
	CLEANUP(command_freep) struct command *c = NULL;

	(void)state;
	c = good(COMMAND_EXPORT,
		 "{\n\t\"type\": \"incremental\",\r\n \"file\": \"a:b\\u00e9\","
		 "\"base\": 3, \"overwrite\": true, \"wait\": \"no\"}\n");
	assert_string_equal(c->type, "incremental");
	assert_string_equal(c->file, "a:bé.zip");
	assert_int_equal(c->base, 3);
	assert_true(c->overwrite);
	assert_false(c->wait);
}

static void test_quotes(void **state)
{
	static const struct {
		const char *text;
		const char *file;
	} cases[] = {
		{"all file=a\\ b", "a b.zip"},
		{"all file=\"a\\\"b\\\\c\\d\"", "a\"b\\c\\d.zip"},
		{"all file='a\\b'", "a\\b.zip"},
		{"all 'file=a b'", "a b.zip"},
		{"all f'il'e=a''b", "ab.zip"},
		{"all file=a=b", "a=b.zip"},
		{"all file='it'\\''s'", "it's.zip"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CLEANUP(command_freep) struct command *c = NULL;

		c = good(COMMAND_EXPORT, cases[i].text);
		assert_string_equal(c->file, cases[i].file);
	}
	bad(COMMAND_EXPORT, "all file='a", "not closed");
	bad(COMMAND_EXPORT, "all file=\"a\\\"", "not closed");
	bad(COMMAND_EXPORT, "all file=a\\", "backslash");
}

static void test_file_names(void **state)
{
	static const struct {
		const char *text;
		const char *file;
	} cases[] = {
		{"all file=x.zip", "x.zip"},       {"all file=x.ZiP", "x.ZiP"},
		{"all file=x.zip.", "x.zip..zip"}, {"all file=zip", "zip.zip"},
		{"all file=-x", "-x.zip"},
	};
	char text[300];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CLEANUP(command_freep) struct command *c = NULL;

		c = good(COMMAND_EXPORT, cases[i].text);
		assert_string_equal(c->file, cases[i].file);
	}
	bad(COMMAND_EXPORT, "all file=a/b", "'/'");
	bad(COMMAND_EXPORT, "all file=.zip", "begin with '.'");
	bad(COMMAND_EXPORT, "all file=..", "begin with '.'");
	bad(COMMAND_EXPORT, "all file=", "no value");
	bad(COMMAND_EXPORT, "{\"type\":\"all\",\"file\":\"\"}", "no value");
	for (int n = 250; n < 258; n++) {
		CLEANUP(command_freep) struct command *c = NULL;

		(void)snprintf(text, sizeof(text), "all file=%0*d", n, 0);
		if (n > 251) {
			bad(COMMAND_EXPORT, text, "too long");
			continue;
		}
		c = good(COMMAND_EXPORT, text);
		assert_int_equal(strlen(c->file), n + 4);
	}
	(void)snprintf(text, sizeof(text), "all file=%0251d.zip", 0);
	command_free(good(COMMAND_EXPORT, text));
	(void)snprintf(text, sizeof(text), "all file=%0252d.zip", 0);
	bad(COMMAND_EXPORT, text, "too long");
}

static void test_export_refusals(void **state)
{
	static const char *const cases[][2] = {
		{"", "no command"},
		{" \t\n\n ", "no command"},
		{"file=x", "all, all_incremental"},
		{"all all", "key=value"},
		{"file=x all", "key=value"},
		{"''", "key=value"},
		{"some", "'some' is nothing to export"},
		{"al", "nothing to export"},
		{"all overwrit=yes", "unknown key 'overwrit'"},
		{"all =x", "unknown key ''"},
		{"all older=3d", "unknown key 'older'"},
		{"all FILE=x", "unknown key 'FILE'"},
		{"all file=x file=x", "twice"},
		{"all type=all", "twice"},
		{"all overwrite=true", "yes or no"},
		{"all wait=", "no value"},
		{"all base=3", "write all_incremental"},
		{"setup base=3", "write incremental"},
		{"setup channel=x", "channel= has no meaning"},
		{"setup orphans=drop", "orphans= has no meaning"},
		{"all orphans=keep", "drop or delete"},
		{"incremental base=0", "from 1"},
		{"incremental base=-1", "from 1"},
		{"incremental base=+1", "from 1"},
		{"incremental base=1.0", "from 1"},
		{"incremental base=9223372036854775808", "from 1"},
		{"all channel=a/b", "channel is"},
		{"all channel=\xc3\xa9", "channel is"},
		{"all\nall", "two lines"},
		{"all\nfile=x\n", "two lines"},
		{"all file='a\nb'", "two lines"},
		{"all\r\n", "control character"},
		{"all file=a\x7f", "control character"},
		{"all file=a\xc2\x85", "control character"},
		{"all file=a\x1b[1m", "control character"},
		{"all file='a\tb'", "control character"},
		{"all file=a\\\tb", "control character"},
		{"all file=\xff", "UTF-8"},
		{"all file=\xed\xa0\x80", "UTF-8"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		bad(COMMAND_EXPORT, cases[i][0], cases[i][1]);
	bad_bytes(COMMAND_EXPORT, "all\0", 4, "control character");
	bad_bytes(COMMAND_EXPORT, "\0", 1, "control character");
}

static void test_json_refusals(void **state)
{
	static const char *const cases[][2] = {
		{"{", "ends too early"},
		{"{}", "all, all_incremental"},
		{"{\"type\":\"all\"} x", "not one JSON object"},
		{"{\"type\":\"all\"}{\"type\":\"all\"}", "not one JSON object"},
		{"{\"type\":\"all\",}", "not one JSON object"},
		{"{'type':'all'}", "not one JSON object"},
		{"{/**/\"type\":\"all\"}", "not one JSON object"},
		{"{\"type\":\"all\",\"x\":1}", "unknown key 'x'"},
		{"{\"type\":\"all\",\"type\":\"all\"}", "twice"},
		{"{\"type\":\"all\",\"file\":1}", "a string is wanted"},
		{"{\"type\":\"all\",\"file\":null}", "is wanted"},
		{"{\"type\":\"all\",\"file\":[\"x\"]}", "is wanted"},
		{"{\"type\":\"all\",\"file\":{\"x\":1}}", "is wanted"},
		{"{\"type\":\"all\",\"file\":true}", "not true or false"},
		{"{\"type\":\"all\",\"wait\":1}", "a string is wanted"},
		{"{\"type\":\"all\",\"wait\":\"true\"}", "yes or no"},
		{"{\"type\":\"incremental\",\"base\":\"1\"}", "a number"},
		{"{\"type\":\"incremental\",\"base\":1.5}", "whole number"},
		{"{\"type\":\"incremental\",\"base\":1e3}", "whole number"},
		{"{\"type\":\"incremental\",\"base\":-1}", "from 1"},
		{"{\"type\":\"incremental\",\"base\":99999999999999999999}",
		 "from 1"},
		{"{\"type\":\"all\",\"file\":\"a\\u0000b\"}", "control"},
		{"{\"type\":\"all\",\"fil\\u0000e\":\"a\"}", "NUL"},
		{"{\"type\":\"all\",\"file\":\"a\\nb\"}", "control"},
		{"{\"type\":\"all\",\"file\":\"a\nb\"}", ""},
		{"[\"all\"]", "nothing to export"},
		{"\"all\" {}", "key=value"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		bad(COMMAND_EXPORT, cases[i][0], cases[i][1]);
}

static void test_purge_durations(void **state)
{
	static const struct {
		const char *text;
		int64_t seconds;
	} cases[] = {
		{"outbox older=30d", 30 * 86400}, {"jobs older=12h", 43200},
		{"inbox older=90m", 5400},        {"snapshots older=0s", 0},
		{"outbox older=2w", 1209600},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CLEANUP(command_freep) struct command *c = NULL;

		c = good(COMMAND_PURGE, cases[i].text);
		assert_int_equal(c->older, cases[i].seconds);
		assert_int_equal(c->keep, -1);
	}
	bad(COMMAND_PURGE, "outbox older=30", "duration");
	bad(COMMAND_PURGE, "outbox older=d", "duration");
	bad(COMMAND_PURGE, "outbox older=1.5d", "duration");
	bad(COMMAND_PURGE, "outbox older=-1d", "duration");
	bad(COMMAND_PURGE, "outbox older=1D", "duration");
	bad(COMMAND_PURGE, "outbox older=9223372036854775807w", "duration");
}

static void test_purge_data_takes_dimensions(void **state)
{
	CLEANUP(command_freep) struct command *c = NULL;

	(void)state;
	c = good(COMMAND_PURGE, "{\"from\": 202601, \"location\": \"Paris\", "
				"\"id\": 7, \"to\": \"2026-02\", "
				"\"type\": \"DATA\", \"dry_run\": true}");
	assert_string_equal(c->type, "data");
	assert_string_equal(c->from, "202601");
	assert_string_equal(c->to, "2026-02");
	assert_string_equal(c->dims[0], "location");
	assert_string_equal(c->dims[1], "Paris");
	assert_string_equal(c->dims[2], "id");
	assert_string_equal(c->dims[3], "7");
	assert_null(c->dims[4]);
	assert_true(c->dry_run);
	bad(COMMAND_PURGE, "data", "needs from=");
	bad(COMMAND_PURGE, "data location=a location=b", "twice");
	bad(COMMAND_PURGE, "data location=", "no value");
	bad(COMMAND_PURGE, "data older=3d", "no meaning");
}

static void test_purge_refusals(void **state)
{
	static const char *const cases[][2] = {
		{"dry_run=yes", "outbox, snapshots"},
		{"outbox", "needs older="},
		{"outbox wait=yes", "needs older="},
		{"snapshots name=x older=1d", "name= has no meaning"},
		{"jobs keep=3", "keep= has no meaning"},
		{"orphans older=1d", "older= has no meaning"},
		{"output from=1", "from= has no meaning"},
		{"outbox keep=3 location=x", "unknown key 'location'"},
		{"outbox keep=x", "from 0"},
		{"outbox keep=3 dry_run=1", "yes or no"},
		{"attic", "nothing to purge"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		bad(COMMAND_PURGE, cases[i][0], cases[i][1]);
	command_free(good(COMMAND_PURGE, "outbox keep=0 older=1d name='*'"));
	command_free(good(COMMAND_PURGE, "orphans"));
	command_free(good(COMMAND_PURGE, "output wait=yes dry_run=no"));
}

static void test_abort(void **state)
{
	static const char *const texts[] = {"17", "17\n", "job=17",
					    "{\"job\": 17}"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		CLEANUP(command_freep) struct command *c = NULL;

		c = good(COMMAND_ABORT, texts[i]);
		assert_int_equal(c->job, 17);
		assert_null(c->type);
	}
	bad(COMMAND_ABORT, "0", "from 1");
	bad(COMMAND_ABORT, "x", "from 1");
	bad(COMMAND_ABORT, "17 18", "key=value");
	bad(COMMAND_ABORT, "17 job=17", "twice");
	bad(COMMAND_ABORT, "17 wait=yes", "unknown key");
	bad(COMMAND_ABORT, "{}", "number of a job");
}

static void test_long_commands(void **state)
{
	CLEANUP(freep) char *text = malloc(COMMAND_BYTES_MAX + 1);
	struct command *c = NULL;
	struct err err = ERR_NULL;

	(void)state;
	assert_non_null(text);
	memset(text, ' ', COMMAND_BYTES_MAX + 1);
	memcpy(text, "all", 3);
	assert_int_equal(command_parse(COMMAND_EXPORT, text,
				       COMMAND_BYTES_MAX + 1, &c, &err),
			 -EMSGSIZE);
	assert_int_equal(command_parse(COMMAND_EXPORT, text, COMMAND_BYTES_MAX,
				       &c, &err),
			 0);
	command_free(c);
	/* A long word is cut between characters where an error shows it. */
	memset(text, 'a', 4);
	for (int i = 4; i < 4000; i += 2)
		memcpy(text + i, "é", 2);
	bad_bytes(COMMAND_EXPORT, text, 4000, "é…' is nothing to export");
}

static void test_json_reads_back(void **state)
{
	static const struct {
		enum command_kind kind;
		const char *text;
		const char *json;
	} cases[] = {
		{COMMAND_EXPORT, "setup", "{\n  \"type\": \"setup\"\n}\n"},
		{COMMAND_EXPORT,
		 "INCREMENTAL file=x base=2 overwrite=yes wait=yes",
		 "{\n  \"type\": \"incremental\",\n  \"file\": \"x.zip\",\n"
		 "  \"overwrite\": true,\n  \"channel\": \"main\",\n"
		 "  \"orphans\": \"drop\",\n  \"base\": 2,\n"
		 "  \"wait\": true\n}\n"},
		{COMMAND_PURGE, "outbox older=2m keep=0 name='a b'",
		 "{\n  \"type\": \"outbox\",\n  \"older\": \"120s\",\n"
		 "  \"keep\": 0,\n  \"name\": \"a b\"\n}\n"},
		{COMMAND_PURGE, "data from=1 location=x dry_run=yes",
		 "{\n  \"type\": \"data\",\n  \"from\": \"1\",\n"
		 "  \"location\": \"x\",\n  \"dry_run\": true\n}\n"},
		{COMMAND_ABORT, "3", "{\n  \"job\": 3\n}\n"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		for (int again = 0; again < 2; again++) {
			CLEANUP(command_freep) struct command *c = NULL;
			CLEANUP(buf_deinit) struct buf b = BUF_NULL;

			c = good(cases[i].kind,
				 again ? cases[i].json : cases[i].text);
			assert_int_equal(command_json(c, &b), 0);
			assert_string_equal(buf_str(&b), cases[i].json);
		}
	}
}

static void test_usage_names_every_key(void **state)
{
	static const char *const words[] = {
		"all ",     "all_incremental", "incremental", "setup",
		"file=",    "overwrite=",      "channel=",    "base=",
		"orphans=", "wait=",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		assert_non_null(
			strstr(command_usage(COMMAND_EXPORT), words[i]));
	assert_string_equal(command_kind_name(COMMAND_EXPORT), "export");
	assert_string_equal(command_kind_name(COMMAND_PURGE), "purge");
	assert_string_equal(command_kind_name(COMMAND_ABORT), "abort");
	assert_non_null(strstr(command_usage(COMMAND_PURGE), "dry_run="));
	assert_non_null(strstr(command_usage(COMMAND_ABORT), "job"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_export_words),
		cmocka_unit_test(test_export_defaults),
		cmocka_unit_test(test_export_json),
		cmocka_unit_test(test_quotes),
		cmocka_unit_test(test_file_names),
		cmocka_unit_test(test_export_refusals),
		cmocka_unit_test(test_json_refusals),
		cmocka_unit_test(test_purge_durations),
		cmocka_unit_test(test_purge_data_takes_dimensions),
		cmocka_unit_test(test_purge_refusals),
		cmocka_unit_test(test_abort),
		cmocka_unit_test(test_long_commands),
		cmocka_unit_test(test_json_reads_back),
		cmocka_unit_test(test_usage_names_every_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
