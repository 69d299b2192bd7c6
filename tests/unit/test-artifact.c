/* SPDX-License-Identifier: MIT */

/*
 * An adopted database without a mount: marks, folding, names, rows. Other
 * programs are played by a second connection.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "artifact/world.h"
#include "outboxfs/artifact/adopt.h"
#include "outboxfs/artifact/artifact.h"
#include "outboxfs/db/db.h"

static const char schema[] =
	"PRAGMA journal_mode=WAL;"
	"CREATE TABLE l(id INTEGER PRIMARY KEY, name TEXT);"
	"INSERT INTO l VALUES(1, 'Paris'), (2, 'Oslo'), (3, 'Oslo');"
	"CREATE TABLE f(i INTEGER PRIMARY KEY, a INT, p TEXT, v);"
	"INSERT INTO f(a, p, v) VALUES(1, '01', 1.5), (1, '01', NULL),"
	" (1, '02', x'00ff'), (2, '01', ''), (3, '01', 'a,b'), (9, '01', 7);";

static const char model[] =
	"{\"name\": \"m\", \"pov\": [{\"name\": \"loc\", \"table\": \"l\","
	" \"key\": \"id\", \"label\": \"name\"}, {\"name\": \"per\"}],"
	" \"setup\": \"*\", \"data\": [{\"table\": \"f\","
	" \"pov\": {\"loc\": \"a\", \"per\": \"p\"}}]}";

struct world {
	char path[64];
	struct db *other; /* another program */
	struct artifact *a;
	struct artifact_read rd;
};

static void write_sql(struct world *w, const char *sql)
{
	struct err err = ERR_NULL;

	if (db_exec(w->other, sql, &err) < 0)
		fail_msg("%s", err.text);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct db_config config = {.create = true};
	struct artifact_options options = ARTIFACT_OPTIONS_DEFAULT;
	struct adopt_options adopt = {.no_index = false};
	struct adopt_result result;
	struct err err = ERR_NULL;

	assert_non_null(w);
	(void)snprintf(w->path, sizeof(w->path), "/tmp/outboxfs-XXXXXX");
	assert_non_null(mkdtemp(w->path));
	(void)strcat(w->path, "/t.db");
	config.path = w->path;
	assert_int_equal(db_open(&config, &w->other, NULL), 0);
	write_sql(w, schema);
	if (artifact_adopt(w->path, model, strlen(model), &adopt, &result,
			   &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(result.n_povs, 5);
	assert_int_equal(artifact_open(w->path, &options, &w->a, NULL), 0);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	char path[80];

	artifact_free(w->a);
	db_free(w->other);
	for (size_t i = 0; i < 3; i++) {
		static const char *const ends[] = {"", "-wal", "-shm"};

		(void)snprintf(path, sizeof(path), "%s%s", w->path, ends[i]);
		(void)unlink(path);
	}
	*strrchr(w->path, '/') = '\0';
	(void)rmdir(w->path);
	free(w);
	return 0;
}

static void begin(struct world *w)
{
	struct err err = ERR_NULL;

	if (artifact_read_begin(w->a, true, &w->rd, &err) < 0)
		fail_msg("%s", err.text);
}

/* Follows a path of names from the root; -ENOENT. */
static int walk(struct world *w, const char *const *names, size_t n,
		int64_t *ret)
{
	int64_t id = ARTIFACT_DIR_ROOT;

	for (size_t i = 0; i < n; i++) {
		CLEANUP(artifact_node_deinit)
		struct artifact_node dir = ARTIFACT_NODE_NULL;
		struct artifact_entry entry;
		int r;

		assert_int_equal(artifact_dir(&w->rd, id, &dir), 0);
		r = artifact_lookup(&w->rd, &dir, names[i], strlen(names[i]),
				    &entry);
		if (r < 0)
			return r;
		id = entry.id;
	}
	*ret = id;
	return 0;
}

static int take(void *arg, const char *data, size_t n)
{
	buf_add(arg, data, n);
	return 0;
}

static void expect_rows(struct world *w, const char *loc, const char *per,
			const char *text)
{
	CLEANUP(artifact_node_deinit)
	struct artifact_node pov = ARTIFACT_NODE_NULL;
	CLEANUP(buf_deinit) struct buf b = BUF_NULL;
	const char *names[] = {loc, per};
	struct artifact_sink sink = {.write = take, .arg = &b};
	int64_t rows;
	int64_t id;

	assert_int_equal(walk(w, names, 2, &id), 0);
	assert_int_equal(artifact_pov(&w->rd, id, &pov), 0);
	assert_int_equal(artifact_rows(&w->rd, model_find(w->rd.model, "f"),
				       &pov, &sink, &rows, NULL),
			 0);
	assert_string_equal(buf_str(&b), text);
}

static void test_names_follow_labels_and_keys(void **state)
{
	static const char *const there[] = {"Paris", "Oslo%~2", "Oslo%~3", "9"};
	static const char *const not [] = {"Oslo", "Paris%~1", "1", "%",
					   "paris"};
	struct world *w = *state;
	int64_t id;

	begin(w);
	for (size_t i = 0; i < ARRAY_SIZE(there); i++)
		assert_int_equal(walk(w, &there[i], 1, &id), 0);
	for (size_t i = 0; i < ARRAY_SIZE(not ); i++)
		assert_int_equal(walk(w, &not [i], 1, &id), -ENOENT);
	artifact_read_end(&w->rd);
}

static void test_rows_of_a_pov_are_csv_with_storage_classes(void **state)
{
	struct world *w = *state;

	begin(w);
	expect_rows(w, "Paris", "01", "i,a,p,v\n1,1,01,1.5\n2,1,01,\n");
	expect_rows(w, "Paris", "02", "i,a,p,v\n3,1,02,\\x00ff\n");
	expect_rows(w, "Oslo%~2", "01", "i,a,p,v\n4,2,01,\"\"\n");
	expect_rows(w, "Oslo%~3", "01", "i,a,p,v\n5,3,01,\"a,b\"\n");
	artifact_read_end(&w->rd);
}

struct seen {
	int64_t povs[16];
	size_t n_povs;
	size_t n_tables;
	size_t n_labels;
};

static int see_pov(int64_t id, int64_t parent, void *arg)
{
	struct seen *seen = arg;

	(void)parent;
	assert_true(seen->n_povs < 16);
	seen->povs[seen->n_povs++] = id;
	return 0;
}

static int see_table(const struct model_table *t, void *arg)
{
	(void)t;
	((struct seen *)arg)->n_tables++;
	return 0;
}

static int see_label(unsigned dim, const struct value *value,
		     const struct value *old_label, bool had, void *arg)
{
	(void)dim;
	(void)value;
	(void)old_label;
	(void)had;
	((struct seen *)arg)->n_labels++;
	return 0;
}

/* Everything that changed after a change number. */
static struct seen changes(struct world *w, int64_t after)
{
	struct seen seen = {.n_povs = 0};
	struct artifact_watch watch = {.pov = see_pov,
				       .table = see_table,
				       .label = see_label,
				       .arg = &seen};

	assert_int_equal(artifact_changes(&w->rd, after, &watch), 0);
	return seen;
}

static int64_t change_now(struct world *w)
{
	int64_t change;

	begin(w);
	assert_int_equal(artifact_change(&w->rd, &change), 0);
	artifact_read_end(&w->rd);
	return change;
}

static void test_move_marks_the_old_and_the_new_pov(void **state)
{
	struct world *w = *state;
	int64_t before = change_now(w);
	struct seen seen;

	write_sql(w, "UPDATE f SET p = '07' WHERE i = 3");
	begin(w);
	seen = changes(w, before);
	assert_int_equal(seen.n_povs, 2);
	assert_int_equal(seen.n_tables, 0);
	expect_rows(w, "Paris", "07", "i,a,p,v\n3,1,07,\\x00ff\n");
	artifact_read_end(&w->rd);
	assert_int_equal(change_now(w), before + 1); /* and no more since */
}

static void test_rollback_leaves_no_mark(void **state)
{
	struct world *w = *state;
	int64_t before = change_now(w);

	write_sql(w, "BEGIN; DELETE FROM f; ROLLBACK");
	assert_int_equal(change_now(w), before);
}

static void
test_replace_that_takes_a_row_from_another_pov_marks_it(void **state)
{
	struct world *w = *state;
	int64_t before = change_now(w);

	write_sql(w, "PRAGMA recursive_triggers=OFF;"
		     "INSERT OR REPLACE INTO f VALUES(6, 1, '01', 8)");
	begin(w);
	assert_int_equal(changes(w, before).n_povs, 2);
	artifact_read_end(&w->rd);
}

static void test_label_change_renames_and_marks_no_pov(void **state)
{
	static const char *const old[] = {"Paris"};
	static const char *const new[] = {"Lut\xc3\xa8"
					  "ce"};
	struct world *w = *state;
	int64_t before = change_now(w);
	struct seen seen;
	int64_t id;

	write_sql(w, "UPDATE l SET name = 'Lut\xc3\xa8"
		     "ce' WHERE id = 1");
	begin(w);
	seen = changes(w, before);
	assert_int_equal(seen.n_povs, 0);
	assert_int_equal(seen.n_tables, 1);
	assert_int_equal(seen.n_labels, 1);
	assert_int_equal(walk(w, old, 1, &id), -ENOENT);
	assert_int_equal(walk(w, new, 1, &id), 0);
	artifact_read_end(&w->rd);
}

static void test_pov_without_rows_is_not_found(void **state)
{
	static const char *const pov[] = {"9", "01"};
	struct world *w = *state;
	int64_t id;

	write_sql(w, "DELETE FROM f WHERE a = 9");
	begin(w);
	assert_int_equal(walk(w, pov, 1, &id), -ENOENT);
	artifact_read_end(&w->rd);
	write_sql(w, "INSERT INTO f(a, p, v) VALUES(9, '01', 1)");
	begin(w);
	assert_int_equal(walk(w, pov, 2, &id), 0);
	artifact_read_end(&w->rd);
}

static void
test_impatient_read_asks_for_patience_when_marks_are_open(void **state)
{
	struct world *w = *state;
	struct err err = ERR_NULL;

	begin(w);
	artifact_read_end(&w->rd);
	write_sql(w, "UPDATE f SET v = 2 WHERE i = 1");
	assert_int_equal(artifact_read_begin(w->a, false, &w->rd, &err),
			 -EWOULDBLOCK);
	begin(w);
	assert_false(w->rd.unsettled);
	artifact_read_end(&w->rd);
}

static void test_long_writer_leaves_reads_unsettled_but_right(void **state)
{
	struct world *w = *state;

	write_sql(w, "UPDATE f SET v = 3 WHERE i = 3");
	write_sql(w, "BEGIN IMMEDIATE; UPDATE f SET v = 4 WHERE i = 3");
	begin(w);
	assert_true(w->rd.unsettled);
	expect_rows(w, "Paris", "02", "i,a,p,v\n3,1,02,3\n");
	artifact_read_end(&w->rd);
	write_sql(w, "COMMIT");
	begin(w);
	assert_false(w->rd.unsettled);
	expect_rows(w, "Paris", "02", "i,a,p,v\n3,1,02,4\n");
	artifact_read_end(&w->rd);
}

static void test_added_column_is_noticed_and_adopt_repairs(void **state)
{
	struct world *w = *state;
	struct adopt_options options = {.no_index = false};
	struct adopt_result result;
	struct err err = ERR_NULL;

	write_sql(w, "ALTER TABLE f ADD COLUMN extra TEXT DEFAULT 'x'");
	assert_int_equal(artifact_read_begin(w->a, true, &w->rd, &err),
			 -ESTALE);
	assert_non_null(strstr(err.text, "table 'f'"));
	assert_non_null(strstr(err.text, "extra"));
	assert_int_equal(artifact_adopt(w->path, model, strlen(model), &options,
					&result, NULL),
			 0);
	begin(w);
	expect_rows(w, "Paris", "02", "i,a,p,v,extra\n3,1,02,\\x00ff,x\n");
	artifact_read_end(&w->rd);
}

static void test_fold_that_fails_says_why(void **state)
{
	struct world *w = *state;
	struct err err = ERR_NULL;

	write_sql(w, "CREATE TRIGGER no BEFORE UPDATE ON outboxfs_pov BEGIN"
		     " SELECT RAISE(ABORT, 'not today'); END;"
		     "UPDATE f SET v = 2 WHERE i = 1");
	assert_int_equal(artifact_read_begin(w->a, true, &w->rd, &err),
			 -EEXIST);
	assert_string_equal(err.text,
			    "cannot note changes in the database: not today");
}

static void test_fold_of_another_schema_is_stale(void **state)
{
	struct world *w = *state;
	struct err err = ERR_NULL;

	begin(w);
	write_sql(w, "UPDATE f SET v = 2 WHERE i = 1; CREATE TABLE other(x)");
	assert_int_equal(fold(w->rd.world, 0, &err), -ESTALE);
	artifact_read_end(&w->rd);
	begin(w);
	assert_int_equal(fold(w->rd.world, 0, &err), 1);
	artifact_read_end(&w->rd);
}

static void
test_timeline_is_set_of_the_database_that_is_meant_only(void **state)
{
	struct world *w = *state;
	char timeline[TIMELINE_BYTES];
	uint64_t generation;

	begin(w);
	generation = w->rd.generation;
	artifact_read_end(&w->rd);
	assert_int_equal(
		artifact_set_timeline(w->a, generation + 1, "x", false, NULL),
		-ESTALE);
	assert_int_equal(
		artifact_set_timeline(w->a, generation, "a", false, NULL), 0);
	assert_int_equal(
		artifact_set_timeline(w->a, generation, "b", false, NULL), 0);

	/* Restored in place, and nobody has looked since. */
	write_sql(w, "UPDATE outboxfs_model SET timeline = 'a'");
	assert_int_equal(
		artifact_set_timeline(w->a, generation, "c", false, NULL),
		-ESTALE);
	begin(w);
	assert_int_not_equal(w->rd.generation, generation);
	generation = w->rd.generation;
	assert_int_equal(artifact_timeline(&w->rd, timeline), 0);
	assert_string_equal(timeline, "a");
	artifact_read_end(&w->rd);

	write_sql(w, "UPDATE outboxfs_change SET change = change - 1");
	assert_int_equal(
		artifact_set_timeline(w->a, generation, "d", false, NULL),
		-ESTALE);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_names_follow_labels_and_keys),
		TEST(test_rows_of_a_pov_are_csv_with_storage_classes),
		TEST(test_move_marks_the_old_and_the_new_pov),
		TEST(test_rollback_leaves_no_mark),
		TEST(test_replace_that_takes_a_row_from_another_pov_marks_it),
		TEST(test_label_change_renames_and_marks_no_pov),
		TEST(test_pov_without_rows_is_not_found),
		TEST(test_impatient_read_asks_for_patience_when_marks_are_open),
		TEST(test_long_writer_leaves_reads_unsettled_but_right),
		TEST(test_added_column_is_noticed_and_adopt_repairs),
		TEST(test_fold_that_fails_says_why),
		TEST(test_fold_of_another_schema_is_stale),
		TEST(test_timeline_is_set_of_the_database_that_is_meant_only),
	};

	return cmocka_run_group_tests_name("artifact", tests, NULL, NULL);
}
