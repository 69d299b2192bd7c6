/* SPDX-License-Identifier: MIT */
/* The documents of an export: data/SnapshotParams.json, datapackage.json. */
#include "work/params.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "outboxfs/base/clock.h"
#include "outboxfs/format/json.h"

#define FORMAT_VERSION 1

/* Lists longer than this are cut in datapackage.json to a pattern. */
#define PATHS_MAX 10000

static bool begins(const char *s, const char *with)
{
	return strncmp(s, with, strlen(with)) == 0;
}

static void count_file(const struct package_file *f, int64_t *last_pov,
		       struct params_counts *counts)
{
	counts->rows += f->rows;
	counts->bytes += f->size;
	if (f->pov == 0)
		counts->setup_files++;
	else if (begins(f->path, "data/"))
		counts->status_files++;
	else
		counts->data_files++;
	/* A POV's data files stand together; one may have status only. */
	if (f->pov != 0 && begins(f->path, "output/") && f->pov != *last_pov) {
		counts->povs++;
		*last_pov = f->pov;
	}
}

/* SHA-256 of "<hex>  <path>\n" for each file, as sha256sum(1) writes them. */
static int hash_files(const struct package *files, char ret[SHA256_HEX + 1])
{
	CLEANUP(sha256_deinit) struct sha256 hash = SHA256_NULL;
	uint8_t sum[SHA256_BYTES];
	int r;

	r = sha256_init(&hash);
	for (size_t i = 0; r == 0 && i < files->n; i++) {
		char hex[SHA256_HEX + 3];

		hex_format(files->files[i].sha256, SHA256_BYTES, hex);
		memcpy(hex + SHA256_HEX, "  ", 3);
		r = sha256_add(&hash, hex, SHA256_HEX + 2);
		if (r == 0)
			r = sha256_add(&hash, files->files[i].path,
				       strlen(files->files[i].path));
		if (r == 0)
			r = sha256_add(&hash, "\n", 1);
	}
	if (r == 0)
		r = sha256_end(&hash, sum);
	if (r == 0)
		hex_format(sum, SHA256_BYTES, ret);
	return r;
}

struct list {
	struct json *j;
	const struct model *model;
	int64_t n;
};

static int put_gone(int64_t pov, const char *path, int what, bool orphan,
		    void *arg)
{
	struct list *list = arg;
	struct json *j = list->j;

	(void)pov;
	json_begin_object(j);
	json_key_string(j, "path", path);
	json_key_boolean(j, "data", what & 2);
	json_key_boolean(j, "status", what & 1);
	json_key_string(j, "reason", orphan ? "orphan" : "deleted");
	json_end_object(j);
	list->n++;
	return buf_error(j->b);
}

static int put_renamed(int dim, const struct value *v, const char *from,
		       const char *to, void *arg)
{
	struct list *list = arg;
	struct json *j = list->j;

	if (dim < 0 || (size_t)dim >= list->model->n_dims)
		return 0;
	json_begin_object(j);
	json_key_string(j, "dimension", list->model->dims[dim].name);
	json_key_value(j, "value", v);
	json_key_string(j, "from", from);
	json_key_string(j, "to", to);
	json_end_object(j);
	list->n++;
	return buf_error(j->b);
}

static int put_orphan(int64_t pov, const char *path, void *arg)
{
	struct list *list = arg;

	(void)pov;
	json_string(list->j, path, strlen(path));
	list->n++;
	return buf_error(list->j->b);
}

static int put_lists(const struct params *p, struct draft *d, struct json *j,
		     struct params_counts *counts)
{
	struct list gone = {.j = j};
	struct list renamed = {.j = j, .model = p->model};
	struct list orphans = {.j = j};
	int r = 0;

	json_key(j, "deleted");
	json_begin_array(j);
	if (p->base && p->capture->data)
		r = package_gone(d, p->base, put_gone, &gone);
	json_end_array(j);
	json_key(j, "renamed");
	json_begin_array(j);
	if (r == 0 && p->base && p->capture->data)
		r = package_renamed(d, p->base, put_renamed, &renamed);
	json_end_array(j);
	json_key(j, "orphans");
	json_begin_array(j);
	if (r == 0 && p->capture->data)
		r = package_orphans(d, put_orphan, &orphans);
	json_end_array(j);
	counts->deleted = gone.n;
	counts->renamed = renamed.n;
	counts->orphans = orphans.n;
	return r;
}

static void put_counts(struct json *j, const struct params_counts *counts)
{
	json_begin_object(j);
	json_key_int(j, "setup_files", counts->setup_files);
	json_key_int(j, "povs", counts->povs);
	json_key_int(j, "status_files", counts->status_files);
	json_key_int(j, "data_files", counts->data_files);
	json_key_int(j, "rows", counts->rows);
	json_key_int(j, "bytes", counts->bytes);
	json_key_int(j, "deleted", counts->deleted);
	json_key_int(j, "renamed", counts->renamed);
	json_key_int(j, "orphans", counts->orphans);
	json_end_object(j);
}

int params_counts_json(const struct params_counts *counts, struct buf *ret)
{
	struct json j = JSON_INIT(ret);

	put_counts(&j, counts);
	return buf_error(ret);
}

static void put_time(struct json *j, const char *key, wall_s_t t)
{
	char text[CLOCK_TEXT_BYTES];

	json_key_string(j, key, clock_format(t, text));
}

static void put_head(const struct params *p, struct json *j)
{
	json_key_int(j, "format", FORMAT_VERSION);
	json_key_int(j, "snapshot", p->snapshot);
	json_key_string(j, "type", p->command->type);
	if (p->channel)
		json_key_string(j, "channel", p->channel);
	else
		json_key_null(j, "channel");
	if (p->base)
		json_key_int(j, "base", p->base);
	else
		json_key_null(j, "base");
	json_key_value(j, "last_process_id", &p->capture->process);
	put_time(j, "requested_at", p->job->queued_at);
	put_time(j, "captured_at", p->capture->time);
	json_key(j, "model");
	json_begin_object(j);
	json_key_string(j, "name", p->capture->model_name);
	json_key_string(j, "sha256", p->capture->model_hash);
	json_end_object(j);
}

int params_json(const struct params *p, struct draft *d,
		const struct package *files, struct buf *ret,
		struct params_counts *ret_counts)
{
	struct json j = JSON_INIT(ret);
	char hash[SHA256_HEX + 1];
	int64_t last = 0;
	int r;

	*ret_counts = (struct params_counts){0};
	for (size_t i = 0; i < files->n; i++)
		count_file(&files->files[i], &last, ret_counts);
	r = hash_files(files, hash);
	if (r < 0)
		return r;
	json_begin_object(&j);
	put_head(p, &j);
	json_key_string(&j, "content_sha256", hash);
	r = put_lists(p, d, &j, ret_counts);
	if (r < 0)
		return r;
	json_key(&j, "counts");
	put_counts(&j, ret_counts);
	json_end_object(&j);
	json_end_document(&j);
	return buf_error(ret);
}

/* A name as the specification wants it: lower case, digits, "-", "_", ".". */
static void put_slug(struct json *j, const char *key, const char *name,
		     int64_t number)
{
	char text[256];
	size_t n = 0;
	bool exact = true;

	for (; *name && n < sizeof(text) - 24; name++) {
		unsigned char c = (unsigned char)*name;
		bool fits = islower(c) || isdigit(c) || c == '_' || c == '-' ||
			    c == '.';

		exact &= fits;
		text[n++] = (char)(fits ? c : isupper(c) ? tolower(c) : '-');
	}
	text[n] = '\0';
	/* Two names may become one: the number tells them apart. */
	if ((!exact || *name) && number)
		(void)snprintf(text + n, sizeof(text) - n, "-%lld",
			       (long long)number);
	json_key_string(j, key, text[0] ? text : "unnamed");
}

static const char *field_type(enum affinity affinity)
{
	switch (affinity) {
	case AFFINITY_TEXT:
		return "string";
	case AFFINITY_INTEGER:
		return "integer";
	case AFFINITY_REAL:
		return "number";
	case AFFINITY_NUMERIC:
	case AFFINITY_BLOB:
		break;
	}
	return "any"; /* such a column holds what it is given */
}

static void put_schema(struct json *j, const struct model_table *t)
{
	json_begin_object(j);
	json_key(j, "fields");
	json_begin_array(j);
	for (size_t i = 0; i < t->n_columns; i++) {
		json_begin_object(j);
		json_key_string(j, "name", t->columns[i].name);
		json_key_string(j, "type", field_type(t->columns[i].affinity));
		json_end_object(j);
	}
	json_end_array(j);
	json_key(j, "missingValues");
	json_begin_array(j);
	json_string(j, "", 0);
	json_end_array(j);
	json_end_object(j);
}

static const char *area_of(const struct model_table *t)
{
	switch (t->role) {
	case MODEL_SETUP:
		return "setup/";
	case MODEL_STATUS:
		return "data/";
	case MODEL_DATA:
		break;
	}
	return "output/";
}

static void put_pattern(struct json *j, const struct params *p,
			const struct model_table *t, const struct name *name)
{
	CLEANUP(buf_deinit) struct buf path = BUF_NULL;

	buf_puts(&path, area_of(t));
	for (size_t i = 0; i < p->model->n_dims; i++)
		buf_puts(&path, "*/");
	buf_puts(&path, name->text);
	if (!buf_error(&path))
		json_string(j, path.data, path.len);
}

static void put_resource(struct json *j, const struct params *p,
			 const struct package *files,
			 const struct model_table *t, const struct name *name,
			 const size_t *found, size_t n)
{
	json_begin_object(j);
	put_slug(j, "name", t->name, t->id);
	json_key_string(j, "title", t->name);
	json_key_string(j, "profile", "tabular-data-resource");
	json_key(j, "path");
	if (n > PATHS_MAX) {
		put_pattern(j, p, t, name);
	} else {
		json_begin_array(j);
		for (size_t i = 0; i < n; i++) {
			const char *path = files->files[found[i]].path;

			json_string(j, path, strlen(path));
		}
		json_end_array(j);
	}
	json_key_string(j, "format", "csv");
	json_key_string(j, "mediatype", "text/csv");
	json_key_string(j, "encoding", "utf-8");
	json_key(j, "schema");
	put_schema(j, t);
	json_end_object(j);
}

/* Files by table: where each of them stands, up to one more than listed. */
struct places {
	struct name name;
	size_t *list; /* owned */
	size_t n;
};

static struct places *places_free(struct places *places, size_t n)
{
	for (size_t i = 0; places && i < n; i++)
		free(places[i].list);
	free(places);
	return NULL;
}

static int places_add(struct places *place, size_t i)
{
	if (place->n > PATHS_MAX)
		return 0;
	/* Grows by doubling: room for a power of two. */
	if ((place->n & (place->n - 1)) == 0) {
		size_t cap = place->n ? place->n * 2 : 1;
		size_t *list = reallocarray(place->list, cap, sizeof(*list));

		if (!list)
			return -ENOMEM;
		place->list = list;
	}
	place->list[place->n++] = i;
	return 0;
}

/* Places in the model, plus one, by the draft's number of a table. */
struct numbering {
	size_t *places; /* owned; 0: none */
	int64_t max;
};

static int number_tables(const struct params *p, struct numbering *ret)
{
	const int64_t *tables = p->capture->tables;
	size_t n = p->model->n_tables;

	ret->max = 0;
	for (size_t t = 0; t < n; t++)
		ret->max = tables[t] > ret->max ? tables[t] : ret->max;
	ret->places = calloc((size_t)ret->max + 1, sizeof(*ret->places));
	if (!ret->places)
		return -ENOMEM;
	for (size_t t = 0; t < n; t++)
		ret->places[tables[t]] = t + 1;
	return 0;
}

static int find_places(const struct params *p, const struct package *files,
		       struct places *places)
{
	const struct model *m = p->model;
	struct numbering numbers;
	int r;

	r = number_tables(p, &numbers);
	if (r < 0)
		return r;
	for (size_t t = 0; r == 0 && t < m->n_tables; t++)
		r = artifact_file_name(&m->tables[t], &places[t].name);
	for (size_t i = 0; r == 0 && i < files->n; i++) {
		int64_t table = files->files[i].table;

		/* setup/ may have been captured under another model. */
		if (table > 0 && table <= numbers.max && numbers.places[table])
			r = places_add(&places[numbers.places[table] - 1], i);
	}
	free(numbers.places);
	return r;
}

int params_package_json(const struct params *p, const struct package *files,
			struct buf *ret)
{
	const struct model *m = p->model;
	struct places *places;
	struct json j = JSON_INIT(ret);
	char time[CLOCK_TEXT_BYTES];
	int r;

	if (m->n_tables == 0)
		return -EINVAL;
	places = calloc(m->n_tables, sizeof(*places));
	if (!places)
		return -ENOMEM;
	r = find_places(p, files, places);
	json_begin_object(&j);
	put_slug(&j, "name", p->capture->model_name, 0);
	json_key_string(&j, "profile", "data-package");
	json_key_string(&j, "title", p->capture->model_name);
	json_key_string(&j, "created", clock_format(p->capture->time, time));
	json_key(&j, "resources");
	json_begin_array(&j);
	for (size_t t = 0; t < m->n_tables; t++)
		if (places[t].n > 0)
			put_resource(&j, p, files, &m->tables[t],
				     &places[t].name, places[t].list,
				     places[t].n);
	json_end_array(&j);
	json_end_object(&j);
	json_end_document(&j);
	places_free(places, m->n_tables);
	return r < 0 ? r : buf_error(ret);
}
