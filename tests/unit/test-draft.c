/* SPDX-License-Identifier: MIT */

/*
 * Small worlds: drafts one after the other, with POVs that come, change, go,
 * are renamed, orphaned and come back, and what the trees then show.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "outboxfs/store/purge.h"
#include "statements.h"
#include "store/draft.h"
#include "unit/play-tree.h"

static void test_draft_committed_is_a_tree(void **state)
{
	struct play *p = *state;

	play_begin(p);
	play_setup(p, "s.csv", "setup", 50);
	play_pov(p, "Paris", "01", "fact", "open");
	play_pov(p, "Oslo", "02", NULL, "closed");
	assert_int_equal(play_commit(p, 1000), 1);
	play_expect(p, 0, TREE_OUTPUT, "Paris/01/f.csv=fact@100\n");
	play_expect(p, 0, TREE_DATA,
		    "Paris/01/st.csv=open@100\nOslo/02/st.csv=closed@100\n");
	play_expect(p, 0, TREE_SETUP, "s.csv=setup@50\n");
	play_expect(p, 1, TREE_OUTPUT, "Paris/01/f.csv=fact@100\n");
	play_reopen(p);
	play_expect(p, 0, TREE_OUTPUT, "Paris/01/f.csv=fact@100\n");
	play_expect(p, 0, TREE_SETUP, "s.csv=setup@50\n");
}

static void test_draft_freed_leaves_nothing(void **state)
{
	struct play *p = *state;
	struct store_usage usage;
	int64_t snapshot;

	play_begin(p);
	play_pov(p, "Paris", "01", "fact", "open");
	play_drop(p);
	play_begin(p);
	play_pov(p, "Paris", "01", "fact", "open");
	assert_int_equal(draft_apply(p->draft, &p->head, &snapshot, NULL), 0);
	play_drop(p);
	play_expect(p, 0, TREE_OUTPUT, "");
	play_expect(p, 0, TREE_DATA, "");
	assert_int_equal(store_usage(p->w.store, &usage), 0);
	assert_int_equal(usage.packs, 0);
	assert_int_equal(usage.n_snapshots, 0);
	play_begin(p);
	play_pov(p, "Oslo", "01", "fact", "open");
	assert_int_equal(play_commit(p, 1000), 1);
	play_expect(p, 0, TREE_OUTPUT, "Oslo/01/f.csv=fact@100\n");
}

static void test_draft_second_is_refused(void **state)
{
	struct play *p = *state;
	struct draft *d;

	play_begin(p);
	assert_int_equal(draft_begin(p->w.store, &d, NULL), -EBUSY);
	play_drop(p);
}

static void test_draft_changes_show_in_their_snapshot_only(void **state)
{
	struct play *p = *state;

	play_begin(p);
	play_pov(p, "Paris", "01", "one", "open");
	play_pov(p, "Paris", "02", "x", "open");
	play_commit(p, 1000);
	play_begin(p);
	p->time = 200;
	play_pov(p, "Paris", "01", "two", "open"); /* status is the same */
	play_commit(p, 2000);
	play_begin(p);
	p->time = 150; /* a clock that went back */
	play_pov(p, "Paris", "01", "three", NULL);
	play_commit(p, 3000);
	play_expect(p, 1, TREE_OUTPUT,
		    "Paris/01/f.csv=one@100\nParis/02/f.csv=x@100\n");
	play_expect(p, 2, TREE_OUTPUT,
		    "Paris/01/f.csv=two@200\nParis/02/f.csv=x@100\n");
	play_expect(p, 0, TREE_OUTPUT,
		    "Paris/01/f.csv=three@201\nParis/02/f.csv=x@100\n");
	play_expect(p, 2, TREE_DATA,
		    "Paris/01/st.csv=open@100\nParis/02/st.csv=open@100\n");
	play_expect(p, 0, TREE_DATA, "Paris/02/st.csv=open@100\n");
}

static void test_draft_povs_go_and_come_back(void **state)
{
	struct play *p = *state;

	play_begin(p);
	play_pov(p, "Paris", "01", "one", "open");
	play_pov(p, "Oslo", "01", "x", NULL);
	play_commit(p, 1000);
	play_begin(p);
	play_pov(p, "Paris", "01", NULL, NULL);
	play_commit(p, 2000);
	play_expect(p, 0, TREE_OUTPUT, "Oslo/01/f.csv=x@100\n");
	play_expect(p, 0, TREE_DATA, "");
	play_expect_dir(p, 0, "Paris", -ENOENT);
	play_expect_dir(p, 1, "Paris", 1000);
	play_expect_dir(p, 0, "", 2000);
	play_expect_dir(p, 0, "Oslo", 1000);
	play_begin(p);
	play_pov(p, "Paris", "01", "one", NULL);
	play_commit(p, 1500);
	play_expect(p, 0, TREE_OUTPUT,
		    "Paris/01/f.csv=one@101\nOslo/01/f.csv=x@100\n");
	play_expect(p, 2, TREE_OUTPUT, "Oslo/01/f.csv=x@100\n");
	play_expect_dir(p, 0, "Paris", 2001);
}

static void test_draft_of_all_povs_drops_what_was_not_put_in(void **state)
{
	struct play *p = *state;

	play_begin(p);
	play_setup(p, "s.csv", "setup", 50);
	play_setup(p, "t.csv", "more", 50);
	play_pov(p, "Paris", "01", "one", "open");
	play_pov(p, "Oslo", "01", "x", NULL);
	play_commit(p, 1000);
	play_begin(p);
	play_setup(p, "t.csv", "other", 60);
	assert_int_equal(draft_all_povs(p->draft), 0);
	play_pov(p, "Oslo", "01", PLAY_SAME, NULL);
	play_commit(p, 2000);
	play_expect(p, 0, TREE_OUTPUT, "Oslo/01/f.csv=x@100\n");
	play_expect(p, 0, TREE_DATA, "");
	play_expect(p, 0, TREE_SETUP, "s.csv=setup@50\nt.csv=other@60\n");
	play_begin(p);
	play_setup(p, "t.csv", "other", 60);
	assert_int_equal(draft_all_setup(p->draft), 0);
	play_commit(p, 2000);
	play_expect(p, 0, TREE_SETUP, "t.csv=other@60\n");
	play_expect(p, 0, TREE_OUTPUT, "Oslo/01/f.csv=x@100\n");
	play_expect(p, 1, TREE_SETUP, "s.csv=setup@50\nt.csv=more@50\n");
}

static void test_draft_renamed_value_moves_its_directory(void **state)
{
	struct play *p = *state;

	play_begin(p);
	play_pov(p, "Paris", "01", "one", "open");
	play_commit(p, 1000);
	play_begin(p);
	play_rename(p, "Paris", "Lutetia");
	play_commit(p, 2000);
	play_expect(p, 1, TREE_OUTPUT, "Paris/01/f.csv=one@100\n");
	play_expect(p, 0, TREE_OUTPUT, "Lutetia/01/f.csv=one@2000\n");
	play_expect_dir(p, 0, "Paris", -ENOENT);
	play_expect_dir(p, 0, "Lutetia", 1000);
	play_expect_dir(p, 0, "", 2000);
	play_expect_dir(p, 1, "Paris", 1000);
}

static void test_draft_captured_is_what_was_applied(void **state)
{
	struct play *p = *state;
	struct captured c;

	play_begin(p);
	p->head.change = 7;
	(void)strcpy(p->head.model, "abc");
	p->head.timeline = "t1";
	play_commit(p, 1000);
	play_begin(p);
	assert_int_equal(draft_captured(p->draft, &c), 0);
	assert_int_equal(c.setup_change, 7);
	assert_int_equal(c.data_change, 7);
	assert_int_equal(c.data_snapshot, 1);
	assert_string_equal(c.model, "abc");
	p->head.data = false;
	p->head.change = 9;
	play_commit(p, 1001);
	assert_int_equal(store_check_timeline(p->w.store, "t1"), 0);
	play_begin(p);
	assert_int_equal(draft_captured(p->draft, &c), 0);
	assert_int_equal(c.setup_change, 9);
	assert_int_equal(c.data_change, 7);
	assert_int_equal(c.data_snapshot, 1);
	/* The database is another one, suddenly. */
	assert_int_equal(store_check_timeline(p->w.store, "t2"), 0);
	assert_int_equal(draft_apply(p->draft, &p->head, &c.data_change, NULL),
			 -ESTALE);
	play_drop(p);
}

static int take_value(int64_t id, const struct value *v, bool missing,
		      void *arg)
{
	struct play *p = arg;

	/* Callbacks may put into the draft. */
	assert_int_equal(draft_value_set(p->draft, id, NULL, !missing), 0);
	buf_printf(&p->text, "%.*s;", (int)v->bytes.len,
		   (const char *)v->bytes.data);
	return 0;
}

static int take_pov(int64_t pov, const struct value *keys, unsigned n,
		    void *arg)
{
	struct play *p = arg;

	assert_true(pov > 1);
	assert_int_equal(n, 2);
	buf_printf(&p->text, "%.*s/%.*s;", (int)keys[0].bytes.len,
		   (const char *)keys[0].bytes.data, (int)keys[1].bytes.len,
		   (const char *)keys[1].bytes.data);
	return 0;
}

static void test_draft_values_and_povs_are_found_again(void **state)
{
	struct play *p = *state;
	const struct value rule = {.type = VALUE_INTEGER, .integer = 5};
	int64_t id;
	int64_t pov;
	bool missing;

	play_begin(p);
	play_pov(p, "Paris", "01", "one", "open");
	pov = play_pov(p, "Paris", "02", "one", "open");
	assert_int_equal(draft_value(p->draft, -1, &rule, &id, &missing), 0);
	assert_int_equal(draft_value_add(p->draft, -1, &rule, NULL, true, &id),
			 0);
	assert_int_equal(draft_value(p->draft, -1, &rule, &id, &missing), 1);
	assert_true(missing);
	assert_int_equal(draft_examined(p->draft, pov, false, &id, 1), 0);
	play_commit(p, 1000);
	play_begin(p);
	assert_int_equal(draft_value(p->draft, -1, &rule, &id, &missing), 1);
	assert_true(missing);
	assert_int_equal(draft_povs_of(p->draft, id, take_pov, p), 0);
	play_expect_text(p, "Paris/02;");
	id = play_value(p, 0, "Paris");
	assert_int_equal(draft_povs_of(p->draft, id, take_pov, p), 0);
	play_expect_text(p, "Paris/01;Paris/02;");
	assert_int_equal(draft_values(p->draft, 1, take_value, p), 0);
	play_expect_text(p, "01;02;");
	id = play_value(p, 1, "01");
	play_commit(p, 1000);
	play_begin(p);
	assert_int_equal(draft_value(p->draft, 1,
				     &(struct value){.type = VALUE_TEXT,
						     .bytes = {"01", 2}},
				     &id, &missing),
			 1);
	assert_true(missing);
	play_drop(p);
}

static int take_change(int64_t dir, const char *name, void *arg)
{
	buf_printf(arg, "%d %s;", (int)dir, name);
	return 0;
}

static void test_tree_changes_are_those_since_a_snapshot(void **state)
{
	struct play *p = *state;
	int64_t pov;

	play_begin(p);
	pov = play_pov(p, "Paris", "01", "one", "open");
	play_pov(p, "Oslo", "01", "one", "open");
	play_commit(p, 1000);
	assert_int_equal(tree_changes(p->w.store, 1, 9, take_change, &p->text),
			 0);
	play_expect_text(p, "");
	play_begin(p);
	p->time = 200;
	assert_int_equal(play_pov(p, "Paris", "01", "two", "open"), pov);
	play_commit(p, 2000);
	assert_int_equal(tree_changes(p->w.store, 1, 9, take_change, &p->text),
			 0);
	assert_int_equal(pov, 3);
	play_expect_text(p, "3 f.csv;3 f.csv;");
	play_begin(p);
	play_rename(p, "Oslo", "Kristiania");
	play_commit(p, 3000);
	assert_int_equal(tree_changes(p->w.store, 2, 9, take_change, &p->text),
			 0);
	play_expect_text(p, "1 Oslo;1 Kristiania;");
	assert_int_equal(tree_changes(p->w.store, 2, 1, take_change, &p->text),
			 1);
	play_expect_text(p, "1 Oslo;");
}

extern const char schema_needed_sql[];

/* Every statement can be prepared, and none asks for all there is. */
static void test_store_statements_fit_the_schema(void **state)
{
	struct play *p = *state;
	struct db *db;

	play_begin(p);
	db = draft_db(p->draft);
	/* A purge's, on the store's own connection. */
	assert_int_equal(db_exec(db, schema_needed_sql, NULL), 0);
	for (size_t i = 0; i < STORE_STATEMENTS_N; i++) {
		sqlite3_stmt *stmt = NULL;

		if (sqlite3_prepare_v2(db_handle(db), store_statements[i], -1,
				       &stmt, NULL) != SQLITE_OK)
			fail_msg("%s: %s", sqlite3_errmsg(db_handle(db)),
				 store_statements[i]);
		sqlite3_finalize(stmt);
	}
	play_drop(p);
}

/* Scans are of what is staged, by the aliases that the statements use. */
static bool may_scan(const char *alias)
{
	static const char *const small[] = {
		"s",                      /* staged_name */
		"f",                      /* staged_file */
		"p",                      /* staged_pov */
		"c",                      /* closing */
		"x",                      /* delta, or a query */
		"t",                      /* touched, tbl */
		"a",        "b",     "v", /* of draft_value_find: a query */
		"CONSTANT", "above",
	};

	for (size_t i = 0; i < ARRAY_SIZE(small); i++)
		if (strcmp(alias, small[i]) == 0)
			return true;
	return strncmp(alias, "temp.", 5) == 0;
}

static void expect_no_scan(struct db *db, size_t statement)
{
	CLEANUP(buf_deinit) struct buf sql = BUF_NULL;
	CLEANUP(db_finalize) sqlite3_stmt *stmt = NULL;
	char alias[64];

	buf_printf(&sql, "EXPLAIN QUERY PLAN %s", store_statements[statement]);
	assert_int_equal(db_prepare(db, buf_str(&sql), &stmt, NULL), 0);
	while (db_step(stmt) == 1) {
		const char *text = (const char *)sqlite3_column_text(stmt, 3);

		if (sscanf(text, "SCAN %63s", alias) == 1 &&
		    (!may_scan(alias) || (strcmp(alias, "v") == 0 &&
					  statement != STORE_DRAFT_VALUE_FIND)))
			fail_msg("%s in: %s", text,
				 store_statements[statement]);
	}
}

static void test_draft_apply_scans_nothing_whole(void **state)
{
	struct play *p = *state;
	static const size_t statements[] = {
		STORE_APPLY_OBJECTS,      STORE_APPLY_MISSING,
		STORE_APPLY_RENAMED,      STORE_APPLY_NAMES_END,
		STORE_APPLY_NAMES,        STORE_APPLY_FILE_OBJECTS,
		STORE_APPLY_CHANGED,      STORE_APPLY_GONE,
		STORE_APPLY_CLOSE,        STORE_APPLY_OPEN,
		STORE_APPLY_DELTA,        STORE_APPLY_UP,
		STORE_APPLY_COUNT,        STORE_APPLY_RAISE,
		STORE_APPLY_PRESENCE_END, STORE_APPLY_PRESENCE,
		STORE_APPLY_TIMES,        STORE_APPLY_ORPHANS,
		STORE_APPLY_RULES_END,    STORE_DRAFT_VALUE_FIND,
		STORE_DRAFT_DIR_FIND,     STORE_DRAFT_POVS_OF,
		STORE_DRAFT_HAS_FILE,     STORE_TREE_DIRS,
		STORE_TREE_FILES,         STORE_TREE_FIND_DIR,
		STORE_TREE_FIND_FILE,     STORE_TREE_CHANGES,
	};

	play_begin(p);
	for (size_t i = 0; i < ARRAY_SIZE(statements); i++)
		expect_no_scan(draft_db(p->draft), statements[i]);
	play_drop(p);
}

#define PLAY(f) cmocka_unit_test_setup_teardown(f, play_setup_world, play_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		PLAY(test_draft_committed_is_a_tree),
		PLAY(test_draft_freed_leaves_nothing),
		PLAY(test_draft_second_is_refused),
		PLAY(test_draft_changes_show_in_their_snapshot_only),
		PLAY(test_draft_povs_go_and_come_back),
		PLAY(test_draft_of_all_povs_drops_what_was_not_put_in),
		PLAY(test_draft_renamed_value_moves_its_directory),
		PLAY(test_draft_captured_is_what_was_applied),
		PLAY(test_draft_values_and_povs_are_found_again),
		PLAY(test_tree_changes_are_those_since_a_snapshot),
		PLAY(test_store_statements_fit_the_schema),
		PLAY(test_draft_apply_scans_nothing_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
