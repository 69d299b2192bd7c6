/* SPDX-License-Identifier: MIT */
/* Jobs as JSON, for those who follow them. */
#include <errno.h>
#include <json-c/json.h>
#include <string.h>

#include "outboxfs/base/clock.h"
#include "outboxfs/format/json.h"
#include "run/private.h"

static void put_time(struct json *j, const char *key, wall_s_t t)
{
	char text[CLOCK_TEXT_BYTES];

	if (t > 0)
		json_key_string(j, key, clock_format(t, text));
	else
		json_key_null(j, key);
}

static void put_string(struct json *j, const char *key, const char *s)
{
	if (s)
		json_key_string(j, key, s);
	else
		json_key_null(j, key);
}

/* How far a job is; zeros where it is not the current one. */
struct sample {
	const char *step; /* NULL: it is not being worked at */
	int64_t povs_done;
	int64_t povs_total;
	int64_t rows;
	int64_t bytes;
	mono_us_t elapsed_us;
};

/* A number that grows at this rate each second. */
static int64_t rate(int64_t n, mono_us_t elapsed_us)
{
	return elapsed_us > 0 ? (int64_t)((double)n * 1e6 / (double)elapsed_us)
			      : 0;
}

static int64_t get_count(struct json_object *counts, const char *key)
{
	struct json_object *o = NULL;

	return json_object_object_get_ex(counts, key, &o)
		       ? json_object_get_int64(o)
		       : 0;
}

/* What one that has ended had done. */
static struct sample last_sample(const struct job *job)
{
	struct sample s = {.step = NULL};
	struct json_object *counts =
		job->counts ? json_tokener_parse(job->counts) : NULL;

	if (job->started_at > 0 && job->finished_at > job->started_at)
		s.elapsed_us = (job->finished_at - job->started_at) * 1000000;
	if (!counts)
		return s;
	s.povs_total = get_count(counts, "povs");
	s.povs_done = s.povs_total;
	s.rows = get_count(counts, "rows");
	s.bytes = get_count(counts, "bytes");
	json_object_put(counts);
	return s;
}

static struct sample take_sample(struct runner *r, const struct job *job)
{
	struct progress *p = &r->work->progress;
	struct sample s = {.step = NULL};

	if (job_has_ended(job->state) || atomic_load(&p->job) != job->id)
		return last_sample(job);
	s.step = atomic_load(&p->step);
	s.povs_done = atomic_load(&p->povs_done);
	s.povs_total = atomic_load(&p->povs_total);
	s.rows = atomic_load(&p->rows);
	s.bytes = atomic_load(&p->bytes);
	s.elapsed_us = clock_mono() - atomic_load(&p->began);
	return s;
}

/* When it will be done if it goes on like this; 0: nobody can say. */
static wall_s_t estimate(const struct sample *s)
{
	double left;

	if (s->povs_done <= 0 || s->povs_total < s->povs_done)
		return 0;
	left = (double)s->elapsed_us / (double)s->povs_done *
	       (double)(s->povs_total - s->povs_done) / 1e6;
	return clock_wall() + (wall_s_t)left;
}

int runner_progress_json(struct runner *r, const struct job *job,
			 struct buf *ret)
{
	struct json j = JSON_INIT(ret);
	struct sample s = take_sample(r, job);

	json_begin_object(&j);
	json_key_int(&j, "job", job->id);
	json_key_string(&j, "kind", job->kind);
	json_key_string(&j, "state", job_state_name(job->state));
	put_string(&j, "step", s.step);
	json_key_int(&j, "povs_done", s.povs_done);
	json_key_int(&j, "povs_total", s.povs_total);
	json_key_int(&j, "rows", s.rows);
	json_key_int(&j, "bytes", s.bytes);
	json_key_int(&j, "rows_per_second", rate(s.rows, s.elapsed_us));
	json_key_int(&j, "bytes_per_second", rate(s.bytes, s.elapsed_us));
	json_key_int(&j, "elapsed_seconds", s.elapsed_us / 1000000);
	put_time(&j, "estimated_end", s.step ? estimate(&s) : 0);
	json_end_object(&j);
	json_end_document(&j);
	return buf_error(ret);
}

/* A document of ours inside another one; it is no deeper than json-c's 32. */
static void put_tree(struct json *j, struct json_object *o)
{
	switch (json_object_get_type(o)) {
	case json_type_null:
		json_null(j);
		break;
	case json_type_boolean:
		json_boolean(j, json_object_get_boolean(o));
		break;
	case json_type_double:
		json_real(j, json_object_get_double(o));
		break;
	case json_type_int:
		json_int(j, json_object_get_int64(o));
		break;
	case json_type_string:
		json_string(j, json_object_get_string(o),
			    (size_t)json_object_get_string_len(o));
		break;
	case json_type_array:
		json_begin_array(j);
		for (size_t i = 0; i < json_object_array_length(o); i++)
			put_tree(j, json_object_array_get_idx(o, i));
		json_end_array(j);
		break;
	case json_type_object:
		json_begin_object(j);
		json_object_object_foreach(o, key, val)
		{
			json_key(j, key);
			put_tree(j, val);
		}
		json_end_object(j);
		break;
	}
}

/* An object in any case, so that nobody has to ask. */
static void put_counts(struct json *j, const char *counts)
{
	struct json_object *o = counts ? json_tokener_parse(counts) : NULL;

	json_key(j, "counts");
	if (json_object_is_type(o, json_type_object)) {
		put_tree(j, o);
	} else {
		json_begin_object(j);
		json_end_object(j);
	}
	json_object_put(o);
}

int job_result_json(const struct job *job, struct buf *ret)
{
	struct json j = JSON_INIT(ret);

	json_begin_object(&j);
	json_key_int(&j, "job", job->id);
	json_key_string(&j, "kind", job->kind);
	json_key_string(&j, "state", job_state_name(job->state));
	put_string(&j, "error", job->error);
	json_key_int(&j, "errno", job->error_number);
	if (job->snapshot > 0)
		json_key_int(&j, "snapshot", job->snapshot);
	else
		json_key_null(&j, "snapshot");
	put_string(&j, "file", job->file);
	put_counts(&j, job->counts);
	json_key_string(&j, "requested_by", job->requested_by);
	put_time(&j, "queued_at", job->queued_at);
	put_time(&j, "started_at", job->started_at);
	put_time(&j, "finished_at", job->finished_at);
	json_end_object(&j);
	json_end_document(&j);
	return buf_error(ret);
}
