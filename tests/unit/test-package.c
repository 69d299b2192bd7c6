/* SPDX-License-Identifier: MIT */

/*
 * What ZIPs show, what has changed since a snapshot, and what a purge leaves of
 * it.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "outboxfs/store/job.h"
#include "outboxfs/store/purge.h"
#include "store/draft.h"
#include "unit/play-tree.h"

/* What a draft's ZIP would show: "path " for each. */
static void expect_package(struct play *p, const struct package_spec *spec,
			   const char *text)
{
	CLEANUP(package_freep) struct package *files = NULL;

	assert_int_equal(package_list(p->w.store, p->draft, spec, &files), 0);
	for (size_t i = 0; i < files->n; i++)
		buf_printf(&p->text, "%s ", files->files[i].path);
	play_expect_text(p, text);
}

/* Applies and exports as a job does; returns the id of the ZIP. */
static int64_t export_as(struct play *p, const char *name, const char *channel,
			 bool selected)
{
	CLEANUP(zip_layout_freep) struct zip_layout *zip = NULL;
	CLEANUP(package_freep) struct package *files = NULL;
	struct draft_outbox o = {
		.name = name,
		.type = "all",
		.channel = channel,
		.selected = selected,
	};
	struct package_spec spec = {.selected = selected};
	struct err err = ERR_NULL;
	struct object doc;
	int64_t id = 0;

	spec.snapshot = p->draft->snapshot;
	spec.time = p->head.time;
	assert_int_equal(draft_document(p->draft, "{}", 2, &doc), 0);
	spec.params = o.params = doc.id;
	assert_int_equal(draft_document(p->draft, "[]", 2, &doc), 0);
	spec.document = o.package = doc.id;
	assert_int_equal(package_list(p->w.store, p->draft, &spec, &files), 0);
	assert_int_equal(package_zip(files, &zip), 0);
	o.bytes = zip_layout_size(zip);
	o.entries = (int64_t)zip_layout_count(zip);
	if (draft_outbox(p->draft, &o, &id, &err) < 0)
		fail_msg("%s", err.text);
	return id;
}

static int64_t export_all(struct play *p, const char *name, wall_s_t time)
{
	int64_t id;

	play_apply(p, time);
	id = export_as(p, name, "main", false);
	assert_int_equal(draft_commit(p->draft, NULL), 0);
	play_drop(p);
	return id;
}

static void read_zip(struct outbox_reader *r, struct buf *ret)
{
	char data[37]; /* over borders of headers and files */
	ssize_t n;

	do {
		n = outbox_read(r, (int64_t)ret->len, data, sizeof(data));
		assert_true(n >= 0);
		buf_add(ret, data, (size_t)n);
	} while (n > 0);
}

static void test_package_is_sorted_by_path(void **state)
{
	struct play *p = *state;
	struct package_spec spec = {0};

	play_begin(p);
	play_setup(p, "s.csv", "setup", 50);
	play_pov(p, "Paris", "01", "fact", "open");
	play_pov(p, "Oslo!", "02", "x", NULL);
	play_pov(p, "Oslo", "02", "x", "closed");
	spec.snapshot = play_apply(p, 1000);
	expect_package(
		p, &spec,
		"data/Oslo/02/st.csv data/Paris/01/st.csv output/Oslo!/02/f.csv output/Oslo/02/f.csv output/Paris/01/f.csv setup/s.csv ");
	spec.setup_only = true;
	expect_package(p, &spec, "setup/s.csv ");
	spec.setup_only = false;
	spec.selected = true;
	expect_package(p, &spec, "setup/s.csv ");
	assert_int_equal(draft_select(p->draft, 3, 2), 0);
	expect_package(p, &spec, "output/Paris/01/f.csv setup/s.csv ");
	assert_int_equal(draft_select(p->draft, 3, 1), 0);
	expect_package(
		p, &spec,
		"data/Paris/01/st.csv output/Paris/01/f.csv setup/s.csv ");
	assert_int_equal(draft_commit(p->draft, NULL), 0);
	play_drop(p);
	/* The present has moved on; the snapshot has not. */
	play_begin(p);
	play_pov(p, "Paris", "01", NULL, NULL);
	play_rename(p, "Oslo", "Kristiania");
	play_commit(p, 2000);
	spec.selected = false;
	expect_package(
		p, &spec,
		"data/Oslo/02/st.csv data/Paris/01/st.csv output/Oslo!/02/f.csv output/Oslo/02/f.csv output/Paris/01/f.csv setup/s.csv ");
	spec.snapshot = 2;
	expect_package(
		p, &spec,
		"data/Kristiania/02/st.csv output/Kristiania/02/f.csv output/Oslo!/02/f.csv setup/s.csv ");
}

static int take_changed(int64_t pov, int what, void *arg)
{
	buf_printf(arg, "%d:%d ", (int)pov, what);
	return 0;
}

static int take_gone(int64_t pov, const char *path, int what, bool orphan,
		     void *arg)
{
	(void)pov;
	buf_printf(arg, "%s:%d%s ", path, what, orphan ? " orphan" : "");
	return 0;
}

static int take_orphan(int64_t pov, const char *path, void *arg)
{
	(void)pov;
	buf_printf(arg, "%s ", path);
	return 0;
}

static int take_renamed(int dim, const struct value *v, const char *from,
			const char *to, void *arg)
{
	assert_int_equal(v->type, VALUE_TEXT);
	buf_printf(arg, "%d %.*s: %s -> %s ", dim, (int)v->bytes.len,
		   (const char *)v->bytes.data, from, to);
	return 0;
}

static void expect_changed(struct play *p, int64_t base, const char *text)
{
	assert_int_equal(
		package_changed(p->draft, base, take_changed, &p->text), 0);
	play_expect_text(p, text);
}

static void expect_gone(struct play *p, int64_t base, const char *text)
{
	assert_int_equal(package_gone(p->draft, base, take_gone, &p->text), 0);
	play_expect_text(p, text);
}

static void test_package_changed_since_a_base(void **state)
{
	struct play *p = *state;

	play_begin(p);
	play_pov(p, "a", "01", "one", "open"); /* 3 */
	play_pov(p, "b", "01", "one", "open"); /* 5 */
	play_pov(p, "c", "01", "one", "open"); /* 7 */
	play_pov(p, "d", "01", "one", "open"); /* 9 */
	play_apply(p, 1000);
	expect_changed(p, 0, "3:3 5:3 7:3 9:3 ");
	assert_int_equal(draft_commit(p->draft, NULL), 0);
	play_drop(p);

	play_begin(p);
	play_pov(p, "a", "01", "two", "open");
	play_pov(p, "b", "01", "one", "closed");
	play_pov(p, "c", "01", NULL, NULL);
	play_apply(p, 2000);
	expect_changed(p, 1, "3:3 5:1 ");
	expect_changed(p, 2, "");
	expect_gone(p, 0, "");
	expect_gone(p, 1, "c/01:3 ");
	assert_int_equal(draft_commit(p->draft, NULL), 0);
	play_drop(p);

	play_begin(p);
	play_pov(p, "a", "01", "one", "open"); /* as it was in 1 */
	play_pov(p, "c", "01", "one", "open"); /* back */
	play_pov(p, "d", "01", NULL, "open");
	play_rename(p, "d", "D");
	play_apply(p, 3000);
	expect_changed(p, 2, "3:3 7:3 9:3 ");
	expect_changed(p, 1, "5:1 9:3 ");
	expect_gone(p, 1, "d/01:2 ");
	assert_int_equal(package_renamed(p->draft, 2, take_renamed, &p->text),
			 0);
	play_expect_text(p, "0 d: d -> D ");
	assert_int_equal(package_renamed(p->draft, 3, take_renamed, &p->text),
			 0);
	play_expect_text(p, "");
	play_drop(p);
}

static void test_package_orphans_are_left_out_and_said(void **state)
{
	struct play *p = *state;
	int64_t pov;

	play_begin(p);
	play_pov(p, "a", "01", "one", "open");
	play_pov(p, "b", "01", "one", "open");
	play_commit(p, 1000);
	play_begin(p);
	pov = play_pov_id(p, "b", "01");
	assert_int_equal(draft_examined(p->draft, pov, true, NULL, 0), 0);
	play_apply(p, 2000);
	assert_int_equal(package_orphans(p->draft, take_orphan, &p->text), 0);
	play_expect_text(p, "b/01 ");
	expect_gone(p, 1, "b/01:3 orphan ");
	assert_int_equal(draft_commit(p->draft, NULL), 0);
	play_drop(p);
	play_expect(p, 0, TREE_OUTPUT, "a/01/f.csv=one@100\n");
	play_begin(p);
	play_pov(p, "b", "01", "one", "open");
	play_apply(p, 3000);
	assert_int_equal(package_orphans(p->draft, take_orphan, &p->text), 0);
	play_expect_text(p, "");
	expect_changed(p, 1, "");
	expect_changed(p, 2, "5:3 ");
	assert_int_equal(draft_commit(p->draft, NULL), 0);
	play_drop(p);
	/* An orphan whose rows are gone is none any more. */
	play_begin(p);
	assert_int_equal(draft_examined(p->draft, pov, true, NULL, 0), 0);
	play_commit(p, 4000);
	play_begin(p);
	assert_int_equal(draft_all_povs(p->draft), 0);
	play_apply(p, 5000);
	assert_int_equal(package_orphans(p->draft, take_orphan, &p->text), 0);
	play_expect_text(p, "");
	play_drop(p);
}

static void test_outbox_reads_the_same_bytes_for_ever(void **state)
{
	struct play *p = *state;
	CLEANUP(buf_deinit) struct buf first = BUF_NULL;
	CLEANUP(buf_deinit) struct buf again = BUF_NULL;
	struct outbox_reader *r = NULL;
	struct outbox_reader *other = NULL;
	struct outbox_entry e;
	int64_t mark = 0;
	int64_t id;

	play_begin(p);
	play_setup(p, "s.csv", "setup", 50);
	play_pov(p, "Paris", "01", "fact", "open");
	id = export_all(p, "x.zip", 1000);
	assert_int_equal(channel_get(p->w.store, "main", &mark), 1);
	assert_int_equal(mark, 1);
	assert_int_equal(outbox_find(p->w.store, "x.zip", &e), 0);
	assert_int_equal(e.id, id);
	assert_int_equal(e.entries, 5);
	assert_int_equal(outbox_open(p->w.store, id, &r), 0);
	assert_int_equal(outbox_open(p->w.store, id, &other), 0);
	read_zip(r, &first);
	outbox_close(other);
	outbox_close(r);
	assert_int_equal(first.len, e.bytes);
	assert_memory_equal(first.data, "PK\3\4", 4);

	play_begin(p);
	play_pov(p, "Paris", "01", "other", NULL);
	play_rename(p, "Paris", "Lutetia");
	play_commit(p, 2000);
	play_reopen(p);
	assert_int_equal(outbox_open(p->w.store, id, &r), 0);
	read_zip(r, &again);
	outbox_close(r);
	assert_int_equal(outbox_open(p->w.store, id, &r), 0); /* idle before */
	assert_int_equal(again.len, first.len);
	assert_memory_equal(again.data, first.data, first.len);
	/* Withdrawn, and readable by whoever reads it. */
	assert_int_equal(outbox_withdraw(p->w.store, id), 0);
	assert_int_equal(outbox_withdraw(p->w.store, id), -ENOENT);
	buf_clear(&again);
	read_zip(r, &again);
	assert_int_equal(again.len, first.len);
	outbox_close(r);
	assert_int_equal(outbox_open(p->w.store, id, &r), -ENOENT);
	assert_int_equal(outbox_find(p->w.store, "x.zip", &e), -ENOENT);
}

static void test_draft_outbox_ends_the_job_and_guards_names(void **state)
{
	struct play *p = *state;
	CLEANUP(job_deinit) struct job job = JOB_NULL;
	const struct draft_outbox taken = {.name = "x.zip", .type = "all"};
	struct draft_outbox over = {
		.name = "x.zip",
		.type = "all",
		.overwrite = true,
		.counts = "{\"povs\": 1}",
	};
	struct outbox_entry e;
	int64_t first;
	int64_t id;

	play_begin(p);
	play_pov(p, "Paris", "01", "fact", "open");
	first = export_all(p, "x.zip", 1000);
	assert_int_equal(
		job_submit(p->w.store, "export", "{}", "me", 9, &p->head.job),
		0);
	assert_int_equal(job_claim(p->w.store, &job), 1);
	play_begin(p);
	play_apply(p, 2000);
	assert_int_equal(draft_outbox(p->draft, &taken, &id, NULL), -EEXIST);
	assert_int_equal(draft_outbox(p->draft, &over, &id, NULL), 0);
	assert_true(id > first);
	/* Nobody sees it before it is whole. */
	assert_int_equal(job_get(p->w.store, p->head.job, &job), 0);
	assert_int_equal(job.state, JOB_PROCESSING);
	assert_int_equal(outbox_find(p->w.store, "x.zip", &e), 0);
	assert_int_equal(e.id, first);
	assert_int_equal(draft_commit(p->draft, NULL), 0);
	play_drop(p);
	assert_int_equal(job_get(p->w.store, p->head.job, &job), 0);
	assert_int_equal(job.state, JOB_DONE);
	assert_int_equal(job.snapshot, 2);
	assert_string_equal(job.file, "x.zip");
	assert_string_equal(job.counts, "{\"povs\": 1}");
	assert_int_equal(outbox_find(p->w.store, "x.zip", &e), 0);
	assert_int_equal(e.id, id);
}

static int take_path(const char *path, wall_s_t time, void *arg)
{
	assert_true(time > 0);
	buf_printf(arg, "%s ", path);
	return 0;
}

static int64_t count(struct play *p, const char *sql)
{
	int64_t n = -1;

	assert_int_equal(db_int(p->w.store->writer, sql, &n, NULL), 0);
	return n;
}

/* Snapshots 1 to 4, a POV that changes in each; 2 is the ZIP x.zip. */
static int64_t play_four(struct play *p)
{
	int64_t id;

	play_begin(p);
	play_pov(p, "a", "01", "one", "open");
	play_pov(p, "b", "01", "x", NULL);
	play_commit(p, 1000);
	play_begin(p);
	play_pov(p, "a", "01", "two", "open");
	play_pov(p, "b", "01", NULL, NULL);
	id = export_all(p, "x.zip", 2000);
	play_begin(p);
	play_pov(p, "a", "01", "three", "open");
	play_rename(p, "a", "A");
	play_commit(p, 3000);
	play_begin(p);
	play_pov(p, "a", "01", "four", NULL);
	play_commit(p, 4000);
	return id;
}

static void test_purge_snapshots_leaves_what_is_needed(void **state)
{
	struct play *p = *state;
	CLEANUP(buf_deinit) struct buf before = BUF_NULL;
	CLEANUP(buf_deinit) struct buf after = BUF_NULL;
	struct outbox_reader *r = NULL;
	struct tree_snapshot snapshot;
	struct purge purge = {
		.keep = 1,
		.dry_run = true,
		.func = take_path,
		.arg = &p->text,
	};
	int64_t id = play_four(p);

	assert_int_equal(outbox_open(p->w.store, id, &r), 0);
	read_zip(r, &before);
	outbox_close(r);
	assert_int_equal(purge_snapshots(p->w.store, &purge), 0);
	play_expect_text(p, "snapshots/3 snapshots/2 snapshots/1 ");
	assert_int_equal(count(p, "SELECT count(*) FROM version"), 6);
	purge.dry_run = false;
	assert_int_equal(purge_snapshots(p->w.store, &purge), 0);
	play_expect_text(p, "snapshots/3 snapshots/2 snapshots/1 ");
	assert_int_equal(tree_snapshot(p->w.store, 2, &snapshot), -ENOENT);
	assert_int_equal(tree_snapshot(p->w.store, 4, &snapshot), 0);
	/* "two", its status, and "four" */
	assert_int_equal(count(p, "SELECT count(*) FROM version"), 3);
	assert_int_equal(count(p, "SELECT count(*) FROM snapshot"), 2);
	play_expect(p, 0, TREE_OUTPUT, "A/01/f.csv=four@3000\n");
	play_reopen(p);
	assert_int_equal(outbox_open(p->w.store, id, &r), 0);
	read_zip(r, &after);
	outbox_close(r);
	assert_int_equal(after.len, before.len);
	assert_memory_equal(after.data, before.data, after.len);
	/* The mark stays where it is, and so does what it needs. */
	assert_int_equal(purge_outbox(p->w.store, &(struct purge){.keep = -1}),
			 0);
	assert_int_equal(count(p, "SELECT count(*) FROM version"), 3);
	play_begin(p);
	play_apply(p, 5000);
	expect_changed(p, 2, "3:3 ");
	play_drop(p);
}

static void test_purge_outbox_takes_what_is_asked_for(void **state)
{
	struct play *p = *state;
	static const char *const names[] = {"a1.zip", "b1.zip", "a2.zip",
					    "a3.zip"};
	struct purge purge = {
		.keep = 1,
		.name = "a*",
		.func = take_path,
		.arg = &p->text,
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		play_begin(p);
		play_pov(p, "a", "01", names[i], "open");
		export_all(p, names[i], 1000);
	}
	assert_int_equal(purge_outbox(p->w.store, &purge), 0);
	play_expect_text(p, "outbox/a2.zip outbox/a1.zip ");
	assert_int_equal(count(p, "SELECT count(*) FROM outbox"), 2);
	purge.name = NULL;
	purge.keep = -1;
	purge.before = 1000;
	assert_int_equal(purge_outbox(p->w.store, &purge), 0);
	play_expect_text(p, "");
}

static void test_purge_jobs_spares_open_ones_and_its_own(void **state)
{
	struct play *p = *state;
	struct purge purge = {
		.keep = -1,
		.not_job = 2,
		.func = take_path,
		.arg = &p->text,
	};
	int64_t id;

	for (int i = 0; i < 4; i++)
		assert_int_equal(
			job_submit(p->w.store, "export", "{}", "x", 9, &id), 0);
	for (int i = 1; i < 4; i++)
		assert_int_equal(job_abort(p->w.store, i), 0);
	assert_int_equal(job_log(p->w.store, 1, "text"), 0);
	assert_int_equal(purge_jobs(p->w.store, &purge), 0);
	play_expect_text(p, "jobs/3 jobs/1 ");
	assert_int_equal(count(p, "SELECT count(*) FROM job"), 2);
	assert_int_equal(count(p, "SELECT count(*) FROM job_log"), 0);
}

static void test_purge_output_forgets_the_present(void **state)
{
	struct play *p = *state;
	CLEANUP(buf_deinit) struct buf before = BUF_NULL;
	CLEANUP(buf_deinit) struct buf after = BUF_NULL;
	struct outbox_reader *r = NULL;
	struct captured c;
	int64_t mark;
	int64_t id;

	play_begin(p);
	play_setup(p, "s.csv", "setup", 50);
	play_pov(p, "a", "01", "one", "open");
	p->head.change = 7;
	id = export_all(p, "x.zip", 1000);
	assert_int_equal(outbox_open(p->w.store, id, &r), 0);
	read_zip(r, &before);
	outbox_close(r);
	assert_int_equal(purge_output(p->w.store, true), 0);
	play_expect(p, 0, TREE_OUTPUT, "a/01/f.csv=one@100\n");
	assert_int_equal(purge_output(p->w.store, false), 0);
	play_expect(p, 0, TREE_OUTPUT, "");
	play_expect(p, 0, TREE_SETUP, "");
	play_expect(p, 1, TREE_OUTPUT, "a/01/f.csv=one@100\n");
	play_expect(p, 1, TREE_SETUP, "s.csv=setup@50\n");
	assert_int_equal(channel_get(p->w.store, "main", &mark), 0);
	play_reopen(p);
	assert_int_equal(outbox_open(p->w.store, id, &r), 0);
	read_zip(r, &after);
	outbox_close(r);
	assert_int_equal(after.len, before.len);
	assert_memory_equal(after.data, before.data, after.len);
	play_begin(p);
	assert_int_equal(draft_captured(p->draft, &c), 0);
	assert_int_equal(c.data_change, 0);
	assert_int_equal(c.setup_change, 0);
	assert_int_equal(purge_output(p->w.store, false), -EBUSY);
	play_pov(p, "a", "01", "one", "open");
	assert_int_equal(play_commit(p, 2000), 2);
	play_expect(p, 0, TREE_OUTPUT, "a/01/f.csv=one@101\n");
	play_expect(p, 1, TREE_OUTPUT, "a/01/f.csv=one@100\n");
}

#define PLAY(f) cmocka_unit_test_setup_teardown(f, play_setup_world, play_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		PLAY(test_package_is_sorted_by_path),
		PLAY(test_package_changed_since_a_base),
		PLAY(test_package_orphans_are_left_out_and_said),
		PLAY(test_outbox_reads_the_same_bytes_for_ever),
		PLAY(test_draft_outbox_ends_the_job_and_guards_names),
		PLAY(test_purge_snapshots_leaves_what_is_needed),
		PLAY(test_purge_outbox_takes_what_is_asked_for),
		PLAY(test_purge_jobs_spares_open_ones_and_its_own),
		PLAY(test_purge_output_forgets_the_present),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
