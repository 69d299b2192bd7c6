/* SPDX-License-Identifier: MIT */

/*
 * The runner over a real store, with jobs of our own in place of exports and
 * purges.
 */
#include "outboxfs/run/runner.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "outboxfs/base/clock.h"
#include "outboxfs/base/log.h"
#include "outboxfs/store/store.h"

/* What the next job does. */
static struct {
	int result;
	const char *text;
	const char *counts;
	int64_t snapshot;
	bool until_stopped; /* works until it is told to stop */
	bool ends_itself;   /* as a publication does, before it returns */
	_Atomic int n_runs;
} plan;

/* What was told, in order. */
static struct {
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	char text[4096];
} told = {.mutex = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};

static int work_at(struct work *w, const struct job *job, struct err *err)
{
	atomic_fetch_add(&plan.n_runs, 1);
	atomic_store(&w->progress.povs_total, 100);
	atomic_store(&w->progress.povs_done, 25);
	atomic_store(&w->progress.rows, 5000);
	atomic_store(&w->progress.step, "reading");
	while (plan.until_stopped && !atomic_load(&w->progress.stop))
		usleep(1000);
	if (plan.until_stopped)
		return -ECANCELED;
	if (plan.ends_itself)
		assert_int_equal(job_end(w->store, job->id, JOB_DONE, 0, NULL,
					 "{\"files\": 3}"),
				 0);
	return plan.result ? err_set(err, plan.result, "%s", plan.text) : 0;
}

int work_export(struct work *w, const struct job *job, const struct command *c,
		int64_t *ret_snapshot, struct err *err)
{
	assert_int_equal(c->kind, COMMAND_EXPORT);
	*ret_snapshot = plan.snapshot;
	return work_at(w, job, err);
}

int work_purge(struct work *w, const struct job *job, const struct command *c,
	       struct buf *counts, struct err *err)
{
	assert_int_equal(c->kind, COMMAND_PURGE);
	if (plan.counts)
		buf_puts(counts, plan.counts);
	return work_at(w, job, err);
}

int work_check(struct work *w, const struct command *c, struct err *err)
{
	(void)w;
	if (c->file && strcmp(c->file, "taken.zip") == 0)
		return err_set(err, -EEXIST, "'taken.zip' is there");
	return 0;
}

static void tell(const char *fmt, ...) PRINTF(1, 2);
static void tell(const char *fmt, ...)
{
	va_list args;
	size_t n;

	pthread_mutex_lock(&told.mutex);
	n = strlen(told.text);
	va_start(args, fmt);
	(void)vsnprintf(told.text + n, sizeof(told.text) - n, fmt, args);
	va_end(args);
	pthread_cond_broadcast(&told.cond);
	pthread_mutex_unlock(&told.mutex);
}

static void on_published(int64_t snapshot, void *arg)
{
	(void)arg;
	tell("snapshot %lld;", (long long)snapshot);
}

static void on_changed(int64_t job, enum job_state state, void *arg)
{
	(void)arg;
	tell("%lld %s;", (long long)job, job_state_name(state));
}

/* Waits until this was told. */
static void wait_for(const char *text)
{
	struct timespec until;
	int r = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 20;
	pthread_mutex_lock(&told.mutex);
	while (!strstr(told.text, text) && r == 0)
		r = pthread_cond_timedwait(&told.cond, &told.mutex, &until);
	pthread_mutex_unlock(&told.mutex);
	if (r != 0)
		fail_msg("never told '%s', but '%s'", text, told.text);
}

struct fixture {
	char dir[64];
	char database[128];
	struct work work;
	struct runner *runner;
};

static void start(struct fixture *f)
{
	const struct runner_events events = {.published = on_published,
					     .changed = on_changed};

	assert_int_equal(runner_start(&f->work, &events, &f->runner), 0);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct work_limits limits = WORK_LIMITS_DEFAULT;
	struct err err = ERR_NULL;

	assert_non_null(f);
	log_set_level(LOG_LEVEL_ERR);
	memset(&plan, 0, sizeof(plan));
	told.text[0] = '\0';
	(void)snprintf(f->dir, sizeof(f->dir), "/tmp/test-runner-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	(void)snprintf(f->database, sizeof(f->database), "%s/a.db", f->dir);
	f->work.database = f->database;
	f->work.limits = limits;
	if (store_open(f->database, "test", &f->work.store, &err) < 0)
		fail_msg("%s", err.text);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	char command[256];

	runner_stop(f->runner);
	store_free(f->work.store);
	(void)snprintf(command, sizeof(command), "rm -rf '%s'", f->dir);
	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

static int64_t submit(struct fixture *f, enum command_kind kind,
		      const char *text)
{
	CLEANUP(command_freep) struct command *c = NULL;
	struct err err = ERR_NULL;
	int64_t id = 0;

	assert_int_equal(command_parse(kind, text, strlen(text), &c, &err), 0);
	if (runner_submit(f->runner, c, "a test", &id, &err) < 0)
		fail_msg("%s: %s", text, err.text);
	return id;
}

static void assert_ended(struct fixture *f, int64_t id, enum job_state state,
			 int error_number, const char *error)
{
	CLEANUP(job_deinit) struct job job = JOB_NULL;

	assert_int_equal(job_get(f->work.store, id, &job), 0);
	assert_int_equal(job.state, state);
	assert_int_equal(job.error_number, error_number);
	if (error)
		assert_string_equal(job.error, error);
	else
		assert_null(job.error);
	assert_true(job.finished_at > 0);
}

static void assert_logged(struct fixture *f, int64_t id, const char *text)
{
	CLEANUP(buf_deinit) struct buf b = BUF_NULL;

	assert_int_equal(job_read_log(f->work.store, id, &b), 0);
	if (!strstr(buf_str(&b), text))
		fail_msg("'%s' is not in the log:\n%s", text, buf_str(&b));
}

static void test_jobs_run_in_order(void **state)
{
	struct fixture *f = *state;

	plan.counts = "{\"files\": 3}";
	start(f);
	for (int i = 1; i <= 5; i++)
		assert_int_equal(submit(f, COMMAND_PURGE, "output"), i);
	wait_for("5 done;");
	for (int i = 1; i <= 5; i++) {
		assert_ended(f, i, JOB_DONE, 0, NULL);
		assert_logged(f, i, "purge started for a test\n");
		assert_logged(f, i, " done\n");
	}
	assert_true(strstr(told.text, "1 done;") < strstr(told.text, "2 pro"));
	assert_true(strstr(told.text, "4 done;") < strstr(told.text, "5 pro"));
	assert_int_equal(plan.n_runs, 5);
}

static void test_published_is_told_before_done(void **state)
{
	struct fixture *f = *state;

	plan.ends_itself = true;
	plan.snapshot = 7;
	start(f);
	submit(f, COMMAND_EXPORT, "all");
	wait_for("1 done;");
	assert_non_null(strstr(told.text, "1 processing;snapshot 7;1 done;"));
}

static void test_error_after_publication_leaves_it_done(void **state)
{
	struct fixture *f = *state;

	plan.ends_itself = true;
	plan.result = -EIO;
	plan.text = "too late";
	start(f);
	submit(f, COMMAND_EXPORT, "all");
	wait_for("1 done;");
	assert_ended(f, 1, JOB_DONE, 0, NULL);
}

static void test_results_become_states(void **state)
{
	static const struct {
		int result;
		enum job_state state;
		const char *log;
	} cases[] = {
		{-EIO, JOB_FAILED, "failed: disk on fire"},
		{-ENOSPC, JOB_FAILED, "failed: disk on fire"},
		{-EDQUOT, JOB_LIMIT_REACHED, "limit reached: disk on fire"},
		/* Nobody asked for it: SQLite was interrupted. */
		{-ECANCELED, JOB_FAILED, "failed: disk on fire"},
	};
	struct fixture *f = *state;
	char text[64];

	plan.text = "disk on fire";
	start(f);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int64_t id;

		plan.result = cases[i].result;
		id = submit(f, COMMAND_EXPORT, "all");
		(void)snprintf(text, sizeof(text), "%lld %s;", (long long)id,
			       job_state_name(cases[i].state));
		wait_for(text);
		assert_ended(f, id, cases[i].state, -cases[i].result,
			     "disk on fire");
		assert_logged(f, id, cases[i].log);
	}
}

static void test_abort_of_a_running_job(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_NULL;
	mono_us_t began;

	plan.until_stopped = true;
	start(f);
	submit(f, COMMAND_EXPORT, "all");
	submit(f, COMMAND_EXPORT, "setup");
	wait_for("1 processing;");
	began = clock_mono();
	assert_int_equal(runner_abort(f->runner, 1, &err), 0);
	wait_for("1 aborted;");
	assert_true(clock_mono() - began < 1000000);
	assert_ended(f, 1, JOB_ABORTED, ECANCELED, "it was aborted");
	assert_logged(f, 1, " aborted\n");
	/* The next one is not stopped with it. */
	wait_for("2 processing;");
	assert_int_equal(runner_abort(f->runner, 2, &err), 0);
	wait_for("2 aborted;");
	assert_int_equal(runner_abort(f->runner, 2, &err), -EALREADY);
	assert_non_null(strstr(err.text, "job 2 has ended"));
	assert_int_equal(runner_abort(f->runner, 3, &err), -ENOENT);
	assert_non_null(strstr(err.text, "no job 3"));
}

static void test_abort_of_a_queued_job(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_NULL;

	plan.until_stopped = true;
	start(f);
	submit(f, COMMAND_EXPORT, "all");
	submit(f, COMMAND_EXPORT, "setup");
	wait_for("1 processing;");
	assert_int_equal(runner_abort(f->runner, 2, &err), 0);
	wait_for("2 aborted;");
	assert_ended(f, 2, JOB_ABORTED, ECANCELED, "it was aborted");
	assert_int_equal(runner_abort(f->runner, 1, &err), 0);
	wait_for("1 aborted;");
	plan.until_stopped = false;
	submit(f, COMMAND_PURGE, "output");
	wait_for("3 done;");
	assert_int_equal(plan.n_runs, 2);
}

static void test_stop_leaves_the_job_to_the_next_runner(void **state)
{
	CLEANUP(job_deinit) struct job job = JOB_NULL;
	struct fixture *f = *state;

	plan.until_stopped = true;
	start(f);
	submit(f, COMMAND_EXPORT, "all");
	wait_for("1 processing;");
	runner_stop(f->runner);
	f->runner = NULL;
	assert_int_equal(job_get(f->work.store, 1, &job), 0);
	assert_int_equal(job.state, JOB_PROCESSING);
	assert_logged(f, 1, "it will be run again");
	plan.until_stopped = false;
	told.text[0] = '\0';
	start(f);
	wait_for("1 done;");
	assert_int_equal(plan.n_runs, 2);
}

static void test_abort_and_stop_at_once_is_an_abort(void **state)
{
	struct fixture *f = *state;
	struct err err = ERR_NULL;

	plan.until_stopped = true;
	start(f);
	submit(f, COMMAND_EXPORT, "all");
	wait_for("1 processing;");
	assert_int_equal(runner_abort(f->runner, 1, &err), 0);
	runner_stop(f->runner);
	f->runner = NULL;
	assert_ended(f, 1, JOB_ABORTED, ECANCELED, "it was aborted");
}

static void test_what_cannot_be_read_fails(void **state)
{
	struct fixture *f = *state;
	int64_t id;

	assert_int_equal(job_submit(f->work.store, "export",
				    "{\"type\": \"everything\"}", "the future",
				    10, &id),
			 0);
	assert_int_equal(
		job_submit(f->work.store, "dance", "{}", "the future", 10, &id),
		0);
	start(f);
	wait_for("1 failed;");
	wait_for("2 failed;");
	assert_logged(f, 1, "'everything' is nothing to export");
	assert_logged(f, 2, "jobs of kind 'dance'");
}

static void test_submit_refuses(void **state)
{
	CLEANUP(command_freep) struct command *taken = NULL;
	CLEANUP(command_freep) struct command *other = NULL;
	CLEANUP(command_freep) struct command *none = NULL;
	struct fixture *f = *state;
	struct err err = ERR_NULL;
	int64_t id = 0;

	assert_int_equal(command_parse(COMMAND_EXPORT, "all file=taken", 14,
				       &taken, &err),
			 0);
	assert_int_equal(command_parse(COMMAND_EXPORT, "all", 3, &other, &err),
			 0);
	assert_int_equal(command_parse(COMMAND_ABORT, "1", 1, &none, &err), 0);
	f->work.limits.queued_max = 0;
	start(f);
	assert_int_equal(runner_submit(f->runner, taken, "t", &id, &err),
			 -EEXIST);
	assert_string_equal(err.text, "'taken.zip' is there");
	assert_int_equal(runner_submit(f->runner, other, "t", &id, &err),
			 -EDQUOT);
	assert_non_null(strstr(err.text, "queued"));
	assert_int_equal(runner_submit(f->runner, none, "t", &id, &err),
			 -EINVAL);
	assert_int_equal(id, 0);
	assert_string_equal(told.text, "");
}

static void test_documents(void **state)
{
	CLEANUP(job_deinit) struct job job = JOB_NULL;
	CLEANUP(buf_deinit) struct buf b = BUF_NULL;
	struct fixture *f = *state;
	struct err err = ERR_NULL;

	plan.until_stopped = true;
	start(f);
	submit(f, COMMAND_EXPORT, "all");
	wait_for("1 processing;");
	while (atomic_load(&f->work.progress.rows) == 0 ||
	       strcmp(atomic_load(&f->work.progress.step), "reading") != 0)
		usleep(1000);
	assert_int_equal(job_get(f->work.store, 1, &job), 0);
	assert_int_equal(runner_progress_json(f->runner, &job, &b), 0);
	assert_non_null(strstr(buf_str(&b),
			       "{\n  \"job\": 1,\n  \"kind\": \"export\",\n"
			       "  \"state\": \"processing\",\n"
			       "  \"step\": \"reading\",\n"
			       "  \"povs_done\": 25,\n"
			       "  \"povs_total\": 100,\n"
			       "  \"rows\": 5000,\n  \"bytes\": 0,\n"));
	assert_non_null(strstr(buf_str(&b), "\"estimated_end\": \"20"));
	assert_int_equal(runner_abort(f->runner, 1, &err), 0);
	wait_for("1 aborted;");
	assert_int_equal(job_get(f->work.store, 1, &job), 0);
	buf_clear(&b);
	assert_int_equal(runner_progress_json(f->runner, &job, &b), 0);
	assert_non_null(strstr(buf_str(&b), "\"step\": null"));
	assert_non_null(strstr(buf_str(&b), "\"estimated_end\": null"));
	buf_clear(&b);
	assert_int_equal(job_result_json(&job, &b), 0);
	assert_non_null(strstr(buf_str(&b), "\"state\": \"aborted\",\n"
					    "  \"error\": \"it was aborted\""));
	assert_non_null(strstr(buf_str(&b), "\"file\": null"));
	assert_non_null(strstr(buf_str(&b), "\"counts\": {}"));
}

static void test_result_embeds_counts(void **state)
{
	CLEANUP(buf_deinit) struct buf b = BUF_NULL;
	char kind[] = "purge";
	char by[] = "uid 0";
	char counts[] = "{\"n\":2,\"gone\":[\"a\",null,true,1.5],\"o\":{}}";
	const struct job job = {
		.id = 3,
		.state = JOB_DONE,
		.kind = kind,
		.requested_by = by,
		.counts = counts,
		.snapshot = 4,
		.queued_at = 1,
		.finished_at = 61,
	};

	(void)state;
	assert_int_equal(job_result_json(&job, &b), 0);
	assert_string_equal(
		buf_str(&b),
		"{\n  \"job\": 3,\n  \"kind\": \"purge\",\n"
		"  \"state\": \"done\",\n  \"error\": null,\n  \"errno\": 0,\n"
		"  \"snapshot\": 4,\n  \"file\": null,\n  \"counts\": {\n"
		"    \"n\": 2,\n    \"gone\": [\n      \"a\",\n      null,\n"
		"      true,\n      1.5\n    ],\n    \"o\": {}\n  },\n"
		"  \"requested_by\": \"uid 0\",\n"
		"  \"queued_at\": \"1970-01-01T00:00:01Z\",\n"
		"  \"started_at\": null,\n"
		"  \"finished_at\": \"1970-01-01T00:01:01Z\"\n}\n");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_jobs_run_in_order),
		TEST(test_published_is_told_before_done),
		TEST(test_error_after_publication_leaves_it_done),
		TEST(test_results_become_states),
		TEST(test_abort_of_a_running_job),
		TEST(test_abort_of_a_queued_job),
		TEST(test_stop_leaves_the_job_to_the_next_runner),
		TEST(test_abort_and_stop_at_once_is_an_abort),
		TEST(test_what_cannot_be_read_fails),
		TEST(test_submit_refuses),
		TEST(test_documents),
		cmocka_unit_test(test_result_embeds_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
