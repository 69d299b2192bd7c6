/* SPDX-License-Identifier: MIT */
/*
 * The thread that runs jobs. What is to be done stands in the store alone;
 * nothing here is a queue. The thread claims the first job, runs it, ends it,
 * and sleeps when there is none until somebody submits one.
 *
 * 1. A job's state is changed in the store first and told afterwards.
 * 2. Of two who would end a job, the store lets one: -EALREADY for the other.
 * 3. An abort is noted in the store before it looks which job is current; the
 *    thread makes a job current before it looks whether it was aborted. So
 *    one of the two sees the other.
 */
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "outboxfs/base/clock.h"
#include "outboxfs/base/lock.h"
#include "outboxfs/base/log.h"
#include "run/private.h"

#define RETRY_US 1000000 /* after the store could not be read or written */

static void tell_changed(struct runner *r, int64_t job, enum job_state state)
{
	if (r->events.changed)
		r->events.changed(job, state, r->events.arg);
}

/* A line of the job's log, and of the daemon's. */
static void PRINTF(4, 5) note(struct runner *r, int64_t job,
			      enum log_level level, const char *fmt, ...)
{
	char text[700];
	va_list args;
	int n;

	va_start(args, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	log_print(level, "job %lld: %s", (long long)job, text);
	n = job_log(r->work->store, job, text);
	if (n < 0)
		log_warn("job %lld: cannot add to its log: %s", (long long)job,
			 strerrordesc_np(-n));
}

static bool is_stopping(struct runner *r)
{
	LOCK_SCOPE(&r->lock);

	return r->stopping;
}

/* Sleeps until there is something to do; until_us 0: for as long as needed. */
static void sleep_until(struct runner *r, mono_us_t until_us)
{
	LOCK_SCOPE(&r->lock);

	while (!r->stopping && !r->wake &&
	       (until_us == 0 || clock_mono() < until_us))
		lock_wait(&r->lock, &r->changed, until_us);
	r->wake = false;
}

/* Makes a job the current one; false: the runner is stopping. */
static bool begin_current(struct runner *r, int64_t job)
{
	LOCK_SCOPE(&r->lock);
	struct progress *p = &r->work->progress;

	if (r->stopping)
		return false;
	atomic_store(&p->step, "starting");
	atomic_store(&p->povs_done, 0);
	atomic_store(&p->povs_total, 0);
	atomic_store(&p->rows, 0);
	atomic_store(&p->bytes, 0);
	atomic_store(&p->began, clock_mono());
	atomic_store(&p->stop, false);
	atomic_store(&p->job, job);
	r->current = job;
	return true;
}

static void end_current(struct runner *r)
{
	LOCK_SCOPE(&r->lock);

	r->current = 0;
	atomic_store(&r->work->progress.job, 0);
}

/* How a job went. */
struct outcome {
	int result; /* 0 or a negative errno */
	struct err err;
	int64_t snapshot;  /* 0: none */
	struct buf counts; /* JSON, or nothing */
};

static void outcome_deinit(struct outcome *o)
{
	buf_deinit(&o->counts);
}

static int run_command(struct runner *r, const struct job *job,
		       struct outcome *o)
{
	CLEANUP(command_freep) struct command *c = NULL;
	enum command_kind kind = COMMAND_EXPORT;
	int n;

	if (strcmp(job->kind, command_kind_name(COMMAND_PURGE)) == 0)
		kind = COMMAND_PURGE;
	else if (strcmp(job->kind, command_kind_name(COMMAND_EXPORT)) != 0)
		return err_set(&o->err, -EINVAL,
			       "this version does not know jobs of kind '%s'",
			       job->kind);
	n = command_parse(kind, job->request, strlen(job->request), &c,
			  &o->err);
	if (n < 0)
		return n;
	n = kind == COMMAND_EXPORT
		    ? work_export(r->work, job, c, &o->snapshot, &o->err)
		    : work_purge(r->work, job, c, &o->counts, &o->err);
	/* The errno alone says nothing of where it came from. */
	if (n < 0 && !o->err.text[0])
		return err_set(&o->err, n, "%s of '%s' failed while %s: %s",
			       job->kind, r->work->database,
			       atomic_load(&r->work->progress.step),
			       strerrordesc_np(-n));
	return n;
}

static enum job_state ending_of(const struct outcome *o, bool aborted)
{
	switch (o->result) {
	case 0:
		return JOB_DONE;
	case -ECANCELED:
		return aborted ? JOB_ABORTED : JOB_FAILED;
	case -EDQUOT:
		return JOB_LIMIT_REACHED;
	default:
		return JOB_FAILED;
	}
}

static void log_end(struct runner *r, const struct job *job,
		    const struct outcome *o)
{
	switch (job->state) {
	case JOB_DONE:
		if (job->snapshot > 0)
			note(r, job->id, LOG_LEVEL_INFO,
			     "done: snapshot %lld, '%s'",
			     (long long)job->snapshot,
			     job->file ? job->file : "");
		else
			note(r, job->id, LOG_LEVEL_INFO, "done");
		break;
	case JOB_ABORTED:
		note(r, job->id, LOG_LEVEL_NOTICE, "aborted");
		break;
	case JOB_LIMIT_REACHED:
		note(r, job->id, LOG_LEVEL_WARN, "limit reached: %s",
		     err_text(&o->err, o->result));
		break;
	case JOB_FAILED:
		note(r, job->id, LOG_LEVEL_WARN, "failed: %s",
		     err_text(&o->err, o->result));
		break;
	case JOB_QUEUED:
	case JOB_PROCESSING:
	case JOB_ABORTING:
		break;
	}
}

/*
 * One try to end a job. An export that was published has been ended by its
 * own commit, whatever came after it.
 */
static int try_end(struct runner *r, struct job *job, struct outcome *o)
{
	enum job_state state;
	int n;

	n = job_get(r->work->store, job->id, job);
	if (n < 0 || job_has_ended(job->state))
		return n;
	state = ending_of(o, job->state == JOB_ABORTING);
	n = job_end(r->work->store, job->id, state, -o->result,
		    o->result == 0         ? NULL
		    : state == JOB_ABORTED ? "it was aborted"
					   : err_text(&o->err, o->result),
		    o->counts.len ? buf_str(&o->counts) : NULL);
	if (n < 0 && n != -EALREADY)
		return n;
	return job_get(r->work->store, job->id, job);
}

/* 1: it was stopped with the runner and is left to the next one. */
static int is_left(struct runner *r, struct job *job, const struct outcome *o)
{
	int n;

	if (o->result != -ECANCELED || !is_stopping(r))
		return 0;
	n = job_get(r->work->store, job->id, job);
	return n < 0 || job->state == JOB_PROCESSING;
}

/* Ends a job, however long the store refuses: nothing else may be claimed. */
static void end_job(struct runner *r, struct job *job, struct outcome *o)
{
	bool said = false;
	int64_t snapshot;
	int n;

	while ((n = try_end(r, job, o)) < 0) {
		if (!said)
			log_err("job %lld: its end cannot be stored: %s; trying again",
				(long long)job->id, strerrordesc_np(-n));
		said = true;
		if (is_stopping(r))
			return; /* the next runner repeats it */
		sleep_until(r, clock_mono() + RETRY_US);
	}
	log_end(r, job, o);
	snapshot = o->snapshot > 0 ? o->snapshot : job->snapshot;
	if (job->state == JOB_DONE && snapshot > 0 && r->events.published)
		r->events.published(snapshot, r->events.arg);
	tell_changed(r, job->id, job->state);
}

/* A job that was claimed and is current. */
static void run_job(struct runner *r, struct job *job)
{
	CLEANUP(outcome_deinit) struct outcome o = {.counts = BUF_NULL};
	int n;

	n = job_get(r->work->store, job->id, job); /* rule 3 */
	if (n == 0 && job_has_ended(job->state))
		return; /* whoever aborted it has told */
	if (n == 0 && job->state == JOB_PROCESSING) {
		note(r, job->id, LOG_LEVEL_INFO, "%s started for %s", job->kind,
		     job->requested_by);
		tell_changed(r, job->id, JOB_PROCESSING);
		o.result = run_command(r, job, &o);
	} else {
		o.result = n < 0 ? n : -ECANCELED;
	}
	if (!is_left(r, job, &o))
		end_job(r, job, &o);
	else
		note(r, job->id, LOG_LEVEL_NOTICE,
		     "interrupted; it will be run again");
}

/* 1: a job was run; 0: there is none; or the store's errno. */
static int run_next(struct runner *r)
{
	CLEANUP(job_deinit) struct job job = JOB_NULL;
	int n;

	n = job_claim(r->work->store, &job);
	if (n <= 0)
		return n;
	if (begin_current(r, job.id))
		run_job(r, &job);
	end_current(r);
	return 1;
}

static void *runner_thread(void *arg)
{
	struct runner *r = arg;
	bool said = false;
	int n;

	while (!is_stopping(r)) {
		n = run_next(r);
		if (n < 0 && !said)
			log_err("cannot look for jobs: %s",
				strerrordesc_np(-n));
		said = n < 0;
		if (n <= 0)
			sleep_until(r, n < 0 ? clock_mono() + RETRY_US : 0);
	}
	return NULL;
}

static int start_thread(struct runner *r)
{
	sigset_t all;
	sigset_t old;
	int n;

	/* Signals are for the main thread alone. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	n = pthread_create(&r->thread, NULL, runner_thread, r);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -n;
}

static void runner_free(struct runner *r)
{
	pthread_cond_destroy(&r->changed);
	lock_deinit(&r->lock);
	free(r);
}

int runner_start(struct work *w, const struct runner_events *events,
		 struct runner **ret)
{
	struct runner *r = calloc(1, sizeof(*r));
	int n;

	if (!r)
		return -ENOMEM;
	r->work = w;
	if (events)
		r->events = *events;
	lock_init(&r->lock, "runner", LOCK_RANK_RUNNER);
	lock_cond_init(&r->changed);
	n = start_thread(r);
	if (n < 0) {
		runner_free(r);
		return n;
	}
	*ret = r;
	return 0;
}

void runner_stop(struct runner *r)
{
	if (!r)
		return;
	lock_take(&r->lock);
	r->stopping = true;
	atomic_store(&r->work->progress.stop, true);
	pthread_cond_broadcast(&r->changed);
	lock_drop(&r->lock);
	pthread_join(r->thread, NULL);
	runner_free(r);
}

static void wake(struct runner *r)
{
	LOCK_SCOPE(&r->lock);

	r->wake = true;
	pthread_cond_signal(&r->changed);
}

/* The store has no words for why it takes no job. */
static int explain_submit(struct runner *r, int n, struct err *err)
{
	switch (n) {
	case -EDQUOT:
		return err_set(
			err, n,
			"%u jobs are queued already; wait for some to end",
			r->work->limits.queued_max);
	case -EROFS:
		return err_set(
			err, n,
			"the store of '%s' cannot be written, so there can be no jobs",
			r->work->database);
	default:
		return err_set(err, n, "cannot queue a job: %s",
			       strerrordesc_np(-n));
	}
}

int runner_submit(struct runner *r, const struct command *c,
		  const char *requested_by, int64_t *ret, struct err *err)
{
	CLEANUP(buf_deinit) struct buf json = BUF_NULL;
	int64_t id;
	int n;

	if (c->kind == COMMAND_ABORT)
		return err_set(err, -EINVAL, "an abort is no job");
	n = work_check(r->work, c, err);
	if (n < 0)
		return n;
	n = command_json(c, &json);
	if (n < 0 || !buf_str(&json))
		return n < 0 ? n : -ENOMEM;
	n = job_submit(r->work->store, command_kind_name(c->kind),
		       buf_str(&json), requested_by, r->work->limits.queued_max,
		       &id);
	if (n < 0)
		return explain_submit(r, n, err);
	*ret = id;
	log_info("job %lld: %s queued for %s", (long long)id,
		 command_kind_name(c->kind), requested_by);
	tell_changed(r, id, JOB_QUEUED);
	wake(r);
	return 0;
}

/* True: it is the current job, and now it stops. */
static bool stop_current(struct runner *r, int64_t job)
{
	LOCK_SCOPE(&r->lock);

	if (r->current != job)
		return false;
	atomic_store(&r->work->progress.stop, true);
	return true;
}

/* Processing for a runner that has died: nobody else would end it soon. */
static int end_aborted(struct runner *r, struct job *job)
{
	struct store *store = r->work->store;
	int n;

	n = job_end(store, job->id, JOB_ABORTED, ECANCELED, "it was aborted",
		    NULL);
	if (n == 0)
		n = job_get(store, job->id, job);
	return n == -EALREADY ? 0 : n; /* the thread has told, or will */
}

int runner_abort(struct runner *r, int64_t id, struct err *err)
{
	CLEANUP(job_deinit) struct job job = JOB_NULL;
	int n;

	n = job_abort(r->work->store, id);
	if (n == -ENOENT)
		return err_set(err, n, "there is no job %lld", (long long)id);
	if (n == -EALREADY)
		return err_set(err, n, "job %lld has ended already",
			       (long long)id);
	if (n == 0)
		n = job_get(r->work->store, id, &job);
	if (n < 0)
		return err_set(err, n, "cannot abort job %lld: %s",
			       (long long)id, strerrordesc_np(-n));
	if (job.state == JOB_ABORTING && !stop_current(r, id))
		n = end_aborted(r, &job);
	if (n < 0)
		return err_set(err, n, "cannot end job %lld: %s", (long long)id,
			       strerrordesc_np(-n));
	note(r, id, LOG_LEVEL_INFO, "%s",
	     job.state == JOB_ABORTING ? "to be aborted"
				       : job_state_name(job.state));
	/* What has ended otherwise meanwhile, the thread tells. */
	if (job.state == JOB_ABORTING || job.state == JOB_ABORTED)
		tell_changed(r, id, job.state);
	return 0;
}
