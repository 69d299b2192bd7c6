/* SPDX-License-Identifier: MIT */

/* Jobs in a store of their own, which is closed and opened again. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "outboxfs/store/job.h"
#include "store/private.h"
#include "unit/store-world.h"

static void reopen(struct store_world *w)
{
	w->store = store_free(w->store);
	assert_int_equal(store_open(w->path, "test", &w->store, NULL), 0);
}

static int64_t submit(struct store_world *w, const char *request)
{
	int64_t id = 0;

	assert_int_equal(
		job_submit(w->store, "export", request, "uid 0", 3, &id), 0);
	return id;
}

static enum job_state state_of(struct store_world *w, int64_t id)
{
	CLEANUP(job_deinit) struct job job = JOB_NULL;

	assert_int_equal(job_get(w->store, id, &job), 0);
	return job.state;
}

static void test_job_submitted_is_read_back_after_reopening(void **state)
{
	struct store_world *w = *state;
	CLEANUP(job_deinit) struct job job = JOB_NULL;
	int64_t id = submit(w, "{\"type\": \"all\"}");

	assert_int_equal(job_get(w->store, id + 1, &job), -ENOENT);
	reopen(w);
	assert_int_equal(job_get(w->store, 0, &job), 0);
	assert_int_equal(job.id, id);
	assert_int_equal(job.state, JOB_QUEUED);
	assert_string_equal(job.kind, "export");
	assert_string_equal(job.request, "{\"type\": \"all\"}");
	assert_string_equal(job.requested_by, "uid 0");
	assert_null(job.error);
	assert_int_equal(job.started_at, 0);
	assert_true(job.queued_at > 0);
}

static void test_job_submit_over_the_limit_is_refused(void **state)
{
	struct store_world *w = *state;
	int64_t id;

	for (int i = 0; i < 3; i++)
		(void)submit(w, "{}");
	assert_int_equal(job_submit(w->store, "export", "{}", "x", 3, &id),
			 -EDQUOT);
	assert_int_equal(job_abort(w->store, 2), 0);
	(void)submit(w, "{}");
}

static void test_job_claim_goes_in_order_and_repeats_what_died(void **state)
{
	struct store_world *w = *state;
	CLEANUP(job_deinit) struct job job = JOB_NULL;
	int64_t first = submit(w, "{}");
	int64_t second = submit(w, "{}");

	assert_int_equal(job_claim(w->store, &job), 1);
	assert_int_equal(job.id, first);
	assert_int_equal(job.state, JOB_PROCESSING);
	assert_true(job.started_at > 0);
	reopen(w);
	assert_int_equal(job_claim(w->store, &job), 1);
	assert_int_equal(job.id, first);
	assert_int_equal(
		job_end(w->store, first, JOB_FAILED, EIO, "no disk", NULL), 0);
	assert_int_equal(job_claim(w->store, &job), 1);
	assert_int_equal(job.id, second);
	/* It was to end, and its process died. */
	assert_int_equal(job_abort(w->store, second), 0);
	reopen(w);
	assert_int_equal(job_claim(w->store, &job), 0);
	assert_int_equal(state_of(w, second), JOB_ABORTED);
}

static void test_job_abort_depends_on_its_state(void **state)
{
	struct store_world *w = *state;
	CLEANUP(job_deinit) struct job job = JOB_NULL;
	int64_t first = submit(w, "{}");
	int64_t second = submit(w, "{}");

	assert_int_equal(job_abort(w->store, 99), -ENOENT);
	assert_int_equal(job_abort(w->store, second), 0);
	assert_int_equal(state_of(w, second), JOB_ABORTED);
	assert_int_equal(job_claim(w->store, &job), 1);
	assert_int_equal(job_abort(w->store, first), 0);
	assert_int_equal(state_of(w, first), JOB_ABORTING);
	assert_int_equal(job_abort(w->store, first), 0);
	assert_int_equal(job_end(w->store, first, JOB_ABORTED, ECANCELED,
				 "it was aborted", "{\"rows\": 1}"),
			 0);
	assert_int_equal(job_abort(w->store, first), -EALREADY);
	assert_int_equal(job_end(w->store, first, JOB_DONE, 0, NULL, NULL),
			 -EALREADY);
	assert_int_equal(job_end(w->store, 99, JOB_DONE, 0, NULL, NULL),
			 -ENOENT);
	assert_int_equal(job_get(w->store, first, &job), 0);
	assert_int_equal(job.state, JOB_ABORTED);
	assert_int_equal(job.error_number, ECANCELED);
	assert_string_equal(job.error, "it was aborted");
	assert_string_equal(job.counts, "{\"rows\": 1}");
	assert_true(job.finished_at > 0);
}

static int take_id(int64_t id, enum job_state state, wall_s_t time, void *arg)
{
	assert_true(time > 0);
	buf_printf(arg, "%d %s;", (int)id, job_state_name(state));
	return id == 3;
}

static void test_job_list_begins_behind_and_stops(void **state)
{
	struct store_world *w = *state;
	CLEANUP(buf_deinit) struct buf b = BUF_NULL;
	int64_t id;

	for (int i = 0; i < 4; i++)
		assert_int_equal(
			job_submit(w->store, "purge", "{}", "x", 9, &id), 0);
	assert_int_equal(job_abort(w->store, 2), 0);
	assert_int_equal(job_list(w->store, 1, take_id, &b), 0);
	assert_string_equal(buf_str(&b), "2 aborted;3 queued;");
}

static void test_job_log_keeps_lines_in_order(void **state)
{
	struct store_world *w = *state;
	CLEANUP(buf_deinit) struct buf b = BUF_NULL;
	int64_t id = submit(w, "{}");

	assert_int_equal(job_log(w->store, 99, "x"), -ENOENT);
	assert_int_equal(job_log(w->store, id, "one"), 0);
	assert_int_equal(job_log(w->store, id, "two"), 0);
	assert_int_equal(job_read_log(w->store, 99, &b), -ENOENT);
	assert_int_equal(job_read_log(w->store, id, &b), 0);
	assert_int_equal(b.len, 2 * (20 + 5));
	assert_memory_equal(b.data + 20, " one\n", 5);
	assert_memory_equal(b.data + 45, " two\n", 5);
	assert_int_equal(job_log_all(w->store, id, "three\0four", 11), 0);
	buf_clear(&b);
	assert_int_equal(job_read_log(w->store, id, &b), 0);
	assert_memory_equal(b.data + 70, " three\n", 7);
	assert_memory_equal(b.data + 97, " four\n", 6);
}

static void expect_bytes(const struct value *v, const char *bytes, size_t n)
{
	CLEANUP(buf_deinit) struct buf b = BUF_NULL;
	struct value back;

	assert_int_equal(value_encode(v, &b), 0);
	assert_int_equal(b.len, n);
	assert_memory_equal(b.data, bytes, n);
	assert_int_equal(value_decode(b.data, b.len, &back), 0);
	assert_int_equal(back.type, v->type);
	if (v->type == VALUE_INTEGER || v->type == VALUE_REAL)
		assert_memory_equal(&back.integer, &v->integer, 8);
	if (v->type >= VALUE_TEXT) {
		assert_int_equal(back.bytes.len, v->bytes.len);
		assert_memory_equal(back.bytes.data, v->bytes.data,
				    v->bytes.len);
	}
}

static void test_value_encoded_is_decoded_as_it_was(void **state)
{
	const struct value null = {.type = VALUE_NULL};
	const struct value one = {.type = VALUE_INTEGER, .integer = 1};
	const struct value real = {.type = VALUE_REAL, .real = 1.5};
	const struct value whole = {.type = VALUE_REAL, .real = 1.0};
	CLEANUP(buf_deinit) struct buf b = BUF_NULL;
	const struct value text = {.type = VALUE_TEXT,
				   .bytes = {.data = "a\0b", .len = 3}};
	const struct value blob = {.type = VALUE_BLOB,
				   .bytes = {.data = "", .len = 0}};
	struct value v;

	(void)state;
	expect_bytes(&null, "\0", 1);
	expect_bytes(&one, "\1\0\0\0\0\0\0\0\1", 9);
	expect_bytes(&real, "\2\x3f\xf8\0\0\0\0\0\0", 9);
	/* A database takes 1.0 for the same value as 1. */
	assert_int_equal(value_encode(&whole, &b), 0);
	assert_memory_equal(b.data, "\1\0\0\0\0\0\0\0\1", 9);
	expect_bytes(&text, "\3a\0b", 4);
	expect_bytes(&blob, "\4", 1);
	assert_int_equal(value_decode("", 0, &v), -EBADMSG);
	assert_int_equal(value_decode("\0x", 2, &v), -EBADMSG);
	assert_int_equal(value_decode("\1xx", 3, &v), -EBADMSG);
	assert_int_equal(value_decode("\5", 1, &v), -EBADMSG);
}

#define WITH_STORE(f) \
	cmocka_unit_test_setup_teardown(f, store_world_setup, store_world_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_STORE(test_job_submitted_is_read_back_after_reopening),
		WITH_STORE(test_job_submit_over_the_limit_is_refused),
		WITH_STORE(test_job_claim_goes_in_order_and_repeats_what_died),
		WITH_STORE(test_job_abort_depends_on_its_state),
		WITH_STORE(test_job_list_begins_behind_and_stops),
		WITH_STORE(test_job_log_keeps_lines_in_order),
		cmocka_unit_test(test_value_encoded_is_decoded_as_it_was),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
