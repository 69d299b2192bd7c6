/* SPDX-License-Identifier: MIT */

/* Model documents: what is read, and what is refused with which words. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "artifact/check.h"

static const char good[] =
	"{\"name\": \"m\", \"pov\": [{\"name\": \"x\", \"table\": \"l\","
	" \"key\": \"id\", \"label\": \"name\"}, {\"name\": \"y\"}],"
	" \"setup\": \"*\", \"data\": [{\"table\": \"F\", \"order\": [\"i\"],"
	" \"pov\": {\"x\": \"a\", \"y\": \"b\"}, \"rule\": \"r\"}],"
	" \"records\": [{\"table\": \"l\", \"key\": [\"id\"]}]}";

static struct db *open_db(void)
{
	struct db_config config = {.path = NULL, .create = true};
	struct db *db = NULL;

	assert_int_equal(db_open(&config, &db, NULL), 0);
	assert_int_equal(
		db_exec(db,
			"CREATE TABLE l(id INTEGER PRIMARY KEY, name TEXT);"
			"CREATE TABLE f(i INTEGER PRIMARY KEY, a INT, b TEXT NOT NULL,"
			" r INT, UNIQUE(a, b, i));"
			"CREATE TABLE other(x); CREATE VIEW v AS SELECT 1;",
			NULL),
		0);
	return db;
}

static void test_parse_good_document_has_all_parts(void **state)
{
	CLEANUP(model_freep) struct model *m = NULL;
	struct err err = ERR_NULL;

	(void)state;
	assert_int_equal(model_parse(good, strlen(good), &m, &err), 0);
	assert_string_equal(m->name, "m");
	assert_int_equal(m->n_dims, 2);
	assert_string_equal(m->dims[0].label, "name");
	assert_null(m->dims[1].table);
	assert_true(m->setup_all);
	assert_int_equal(m->n_tables, 1);
	assert_string_equal(m->tables[0].pov[1], "b");
	assert_string_equal(m->tables[0].order[0], "i");
	assert_null(m->tables[0].order[1]);
	assert_int_equal(m->n_records, 1);
	assert_int_equal(strlen(m->hash), 64);
}

static void test_bind_fills_in_what_the_schema_knows(void **state)
{
	CLEANUP(model_freep) struct model *m = NULL;
	CLEANUP(db_freep) struct db *db = open_db();
	struct err err = ERR_NULL;
	const struct model_table *t;

	(void)state;
	assert_int_equal(model_parse(good, strlen(good), &m, &err), 0);
	assert_int_equal(model_bind(m, db, &err), 0);
	t = model_find(m, "f");
	assert_non_null(t);
	assert_string_equal(t->name, "f"); /* spelled as in the schema */
	assert_int_equal(t->slot, 0);
	assert_int_equal(t->n_columns, 4);
	assert_int_equal(model_column(t, "B")->affinity, AFFINITY_TEXT);
	assert_true(t->pov_nullable[0]);
	assert_false(t->pov_nullable[1]);
	assert_true(t->pov_indexed);
	assert_non_null(model_find(m, "other")); /* setup: everything else */
	assert_non_null(model_find(m, "l"));
	assert_null(model_find(m, "v"));
}

/* What follows "name" in a document, and words that the reason must have. */
static const struct {
	const char *rest;
	const char *says;
} bad[] = {
	{"}", "1 to 8 dimensions"},
	{", \"pov\": []}", "1 to 8 dimensions"},
	{", \"pov\": [{\"name\": \"y\"}]}", "setup"},
	{", \"pov\": [{\"name\": \"y\"}, {\"name\": \"y\"}], \"setup\": []}",
	 "two dimensions"},
	{", \"pov\": [{\"name\": \"y\", \"key\": \"k\"}], \"setup\": []}",
	 "need a 'table'"},
	{", \"pov\": [{\"name\": \"y\", \"table\": \"l\"}], \"setup\": []}",
	 "'key' is missing"},
	{", \"pov\": [{\"name\": \"\"}], \"setup\": []}", "not empty"},
	{", \"pov\": [{\"name\": 5}], \"setup\": []}", "'name'"},
	{", \"pov\": [{\"name\": \"y\"}], \"setup\": \"all\"}", "\"*\""},
	{", \"pov\": [{\"name\": \"y\"}], \"setup\": [\"l\", \"L\"]}", "twice"},
	{", \"pov\": [{\"name\": \"y\"}], \"setup\": [], \"datta\": []}",
	 "unknown key 'datta'"},
	{", \"pov\": [{\"name\": \"y\"}], \"setup\": [],"
	 " \"data\": [{\"table\": \"f\"}]}",
	 "'pov'"},
	{", \"pov\": [{\"name\": \"y\"}], \"setup\": [],"
	 " \"data\": [{\"table\": \"f\", \"pov\": {\"z\": \"b\"}}]}",
	 "'z' is not a dimension"},
	{", \"pov\": [{\"name\": \"y\"}], \"setup\": [],"
	 " \"data\": [{\"table\": \"f\", \"pov\": {}}]}",
	 "column for dimension 'y'"},
	{", \"pov\": [{\"name\": \"y\"}], \"setup\": [],"
	 " \"orphans\": [{\"table\": \"l\", \"column\": \"id\"}]}",
	 "either 'pov'"},
	{", \"pov\": [{\"name\": \"y\"}], \"setup\": [], \"orphans\":"
	 " [{\"rule\": false, \"table\": \"l\", \"column\": \"id\"}]}",
	 "'rule' must be true"},
	{", \"pov\": [{\"name\": \"y\"}], \"setup\": [],"
	 " \"records\": [{\"table\": \"l\"}]}",
	 "'key' is missing"},
	{", \"pov\": [{\"name\": \"y\"}], \"setup\": []} x", "not JSON"},
	{", \"pov\": [{\"name\": \"y\", \"n\\u0061me\": \"z\"}], \"setup\": []}",
	 "model: key 'n\\u0061me' is given twice in one object, again in line 1"},
	{", \"pov\": [{\"name\": \"y\"}], \"setup\": [", "too early"},
};

static void test_parse_bad_documents_say_what_is_wrong(void **state)
{
	char json[1024];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		CLEANUP(model_freep) struct model *m = NULL;
		struct err err = ERR_NULL;

		(void)snprintf(json, sizeof(json), "{\"name\": \"m\"%s",
			       bad[i].rest);
		assert_int_equal(model_parse(json, strlen(json), &m, &err),
				 -EINVAL);
		if (!strstr(err.text, bad[i].says))
			fail_msg("'%s' does not say '%s'", err.text,
				 bad[i].says);
	}
}

/* A document that reads well and does not fit, and what the reason names. */
static const struct {
	const char *data;
	const char *says;
} misfits[] = {
	{"{\"table\": \"g\", \"pov\": {\"y\": \"b\"}}", "no table 'g'"},
	{"{\"table\": \"v\", \"pov\": {\"y\": \"b\"}}", "'v' is a view"},
	{"{\"table\": \"f\", \"pov\": {\"y\": \"c\"}}",
	 "table 'f' has no column 'c'"},
	{"{\"table\": \"f\", \"order\": [\"q\"], \"pov\": {\"y\": \"b\"}}",
	 "table 'f' has no column 'q'"},
	{"{\"table\": \"f\", \"rule\": \"q\", \"pov\": {\"y\": \"b\"}}",
	 "table 'f' has no column 'q'"},
};

static void test_bind_misfits_name_table_and_column(void **state)
{
	CLEANUP(db_freep) struct db *db = open_db();
	char json[1024];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(misfits); i++) {
		CLEANUP(model_freep) struct model *m = NULL;
		struct err err = ERR_NULL;

		(void)snprintf(json, sizeof(json),
			       "{\"name\": \"m\", \"pov\": [{\"name\": \"y\"}],"
			       " \"setup\": [], \"data\": [%s]}",
			       misfits[i].data);
		assert_int_equal(model_parse(json, strlen(json), &m, &err), 0);
		assert_int_equal(model_bind(m, db, &err), -EINVAL);
		if (!strstr(err.text, misfits[i].says))
			fail_msg("'%s' does not say '%s'", err.text,
				 misfits[i].says);
	}
}

static void test_bind_key_that_is_not_unique_is_refused(void **state)
{
	static const char json[] =
		"{\"name\": \"m\", \"pov\": [{\"name\": \"y\", \"table\": \"l\","
		" \"key\": \"name\"}], \"setup\": []}";
	CLEANUP(model_freep) struct model *m = NULL;
	CLEANUP(db_freep) struct db *db = open_db();
	struct err err = ERR_NULL;

	(void)state;
	assert_int_equal(model_parse(json, strlen(json), &m, &err), 0);
	assert_int_equal(model_bind(m, db, &err), -EINVAL);
	assert_non_null(strstr(err.text, "nothing makes it unique"));
}

static void test_fingerprint_tells_schemas_apart(void **state)
{
	CLEANUP(db_freep) struct db *db = open_db();
	char *prints[2];

	(void)state;
	for (int i = 0; i < 2; i++) {
		CLEANUP(model_freep) struct model *m = NULL;

		assert_int_equal(model_parse(good, strlen(good), &m, NULL), 0);
		assert_int_equal(model_bind(m, db, NULL), 0);
		assert_int_equal(
			model_fingerprint(model_find(m, "f"), &prints[i]), 0);
		assert_int_equal(
			db_exec(db, "ALTER TABLE f ADD COLUMN z", NULL),
			i == 0 ? 0 : -EIO);
	}
	assert_string_not_equal(prints[0], prints[1]);
	assert_null(strstr(prints[0], "\"z\""));
	assert_non_null(strstr(prints[1], "\"z\""));
	free(prints[0]);
	free(prints[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_good_document_has_all_parts),
		cmocka_unit_test(test_bind_fills_in_what_the_schema_knows),
		cmocka_unit_test(test_parse_bad_documents_say_what_is_wrong),
		cmocka_unit_test(test_bind_misfits_name_table_and_column),
		cmocka_unit_test(test_bind_key_that_is_not_unique_is_refused),
		cmocka_unit_test(test_fingerprint_tells_schemas_apart),
	};

	return cmocka_run_group_tests_name("model", tests, NULL, NULL);
}
