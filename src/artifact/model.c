/* SPDX-License-Identifier: MIT */
/*
 * Reading a model document. Every key is known or refused: a misspelt
 * "ordr" must not silently mean "no order".
 */
#include "outboxfs/artifact/model.h"

#include <errno.h>
#include <json-c/json.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "outboxfs/format/json-check.h"

/* Where we are in the document, for error messages. */
struct parse {
	struct model *model;
	struct err *err;
	char path[128];
};

static int bad(struct parse *p, const char *what)
{
	return err_set(p->err, -EINVAL, "model: %s: %s", p->path, what);
}

#define AT(p, ...) ((void)snprintf((p)->path, sizeof((p)->path), __VA_ARGS__))

static void free_json(struct json_object **o)
{
	json_object_put(*o);
}

/* Refuses keys that are not in the NULL-terminated list. */
static int check_keys(struct parse *p, struct json_object *o,
		      const char *const *known)
{
	if (!json_object_is_type(o, json_type_object))
		return bad(p, "must be an object");
	json_object_object_foreach(o, key, val)
	{
		const char *const *k = known;

		(void)val;
		while (*k && strcmp(*k, key) != 0)
			k++;
		if (!*k)
			return err_set(p->err, -EINVAL,
				       "model: %s: unknown key '%s'", p->path,
				       key);
	}
	return 0;
}

/* A copy of a string that is not empty and has no NUL; NULL: it is not one. */
static const char *take_text(struct parse *p, struct json_object *val)
{
	const char *s = json_object_get_string(val);
	size_t n;

	if (!json_object_is_type(val, json_type_string))
		return NULL;
	n = (size_t)json_object_get_string_len(val);
	return n > 0 && strlen(s) == n ? arena_strndup(&p->model->arena, s, n)
				       : NULL;
}

/* A non-empty string of the object; NULL where it is missing. */
static int get_text(struct parse *p, struct json_object *o, const char *key,
		    bool required, const char **ret)
{
	struct json_object *val;

	*ret = NULL;
	if (!json_object_object_get_ex(o, key, &val)) {
		if (!required)
			return 0;
		return err_set(p->err, -EINVAL, "model: %s: '%s' is missing",
			       p->path, key);
	}
	*ret = take_text(p, val);
	if (!*ret)
		return err_set(
			p->err, -EINVAL,
			"model: %s: '%s' must be a text that is not empty",
			p->path, key);
	return 0;
}

static int get_array(struct parse *p, struct json_object *o, const char *key,
		     size_t max, struct json_object **ret, size_t *ret_n)
{
	struct json_object *val;

	*ret = NULL;
	*ret_n = 0;
	if (!json_object_object_get_ex(o, key, &val))
		return 0;
	if (!json_object_is_type(val, json_type_array))
		return err_set(p->err, -EINVAL,
			       "model: %s: '%s' must be an array", p->path,
			       key);
	*ret = val;
	*ret_n = json_object_array_length(val);
	if (*ret_n > max)
		return err_set(
			p->err, -EINVAL,
			"model: %s: '%s' has %zu entries, at most %zu are allowed",
			p->path, key, *ret_n, max);
	return 0;
}

/* An array of column names, NULL-terminated; empty where it is missing. */
static int get_names(struct parse *p, struct json_object *o, const char *key,
		     const char *const **ret)
{
	struct json_object *array;
	const char **names;
	size_t n;
	int r;

	r = get_array(p, o, key, 2000, &array, &n);
	if (r < 0)
		return r;
	names = ARENA_ARRAY(&p->model->arena, const char *, n + 1);
	if (!names)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		struct json_object *e = json_object_array_get_idx(array, i);

		names[i] = take_text(p, e);
		if (!names[i])
			return err_set(p->err, -EINVAL,
				       "model: %s: '%s' must list column names",
				       p->path, key);
	}
	*ret = names;
	return 0;
}

static int find_dim(const struct model *m, const char *name)
{
	for (size_t i = 0; i < m->n_dims; i++)
		if (strcmp(m->dims[i].name, name) == 0)
			return (int)i;
	return -1;
}

static int parse_dim(struct parse *p, struct json_object *o)
{
	static const char *const keys[] = {"name", "table", "key", "label",
					   NULL};
	struct model_dim dim = {0};
	int r;

	r = check_keys(p, o, keys);
	if (r == 0)
		r = get_text(p, o, "name", true, &dim.name);
	if (r == 0)
		r = get_text(p, o, "table", false, &dim.table);
	if (r == 0)
		r = get_text(p, o, "key", dim.table, &dim.key);
	if (r == 0)
		r = get_text(p, o, "label", false, &dim.label);
	if (r < 0)
		return r;
	if (!dim.table && (dim.key || dim.label))
		return bad(p, "'key' and 'label' need a 'table'");
	if (find_dim(p->model, dim.name) >= 0)
		return bad(p, "two dimensions have this name");
	if (dim.table && !dim.label)
		dim.label = dim.key;
	p->model->dims[p->model->n_dims++] = dim;
	return 0;
}

static int parse_dims(struct parse *p, struct json_object *root)
{
	struct json_object *array;
	size_t n;
	int r;

	AT(p, "pov");
	r = get_array(p, root, "pov", MODEL_DIMS_MAX, &array, &n);
	if (r < 0)
		return r;
	if (n == 0)
		return bad(p, "a model needs 1 to 8 dimensions");
	for (size_t i = 0; i < n; i++) {
		AT(p, "pov[%zu]", i);
		r = parse_dim(p, json_object_array_get_idx(array, i));
		if (r < 0)
			return r;
	}
	return 0;
}

/* {"location": "location_id", …}: a column for each dimension. */
static int parse_pov(struct parse *p, struct json_object *o,
		     struct model_table *t)
{
	struct model *m = p->model;
	struct json_object *pov;

	if (!json_object_object_get_ex(o, "pov", &pov) ||
	    !json_object_is_type(pov, json_type_object))
		return bad(
			p,
			"'pov' must be an object that names a column for each dimension");
	json_object_object_foreach(pov, key, val)
	{
		int dim = find_dim(m, key);

		if (dim < 0)
			return err_set(p->err, -EINVAL,
				       "model: %s: '%s' is not a dimension",
				       p->path, key);
		t->pov[dim] = take_text(p, val);
		if (!t->pov[dim])
			return bad(p, "'pov' must give column names");
	}
	for (size_t i = 0; i < m->n_dims; i++)
		if (!t->pov[i])
			return err_set(
				p->err, -EINVAL,
				"model: %s: table '%s' needs a column for dimension '%s' in its 'pov'",
				p->path, t->name, m->dims[i].name);
	return 0;
}

/* t is the one behind the last. */
static int add_table(struct parse *p, const struct model_table *t)
{
	if (model_find(p->model, t->name))
		return err_set(p->err, -EINVAL,
			       "model: %s: table '%s' is named twice", p->path,
			       t->name);
	p->model->n_tables++;
	return 0;
}

static int parse_table(struct parse *p, struct json_object *o,
		       enum model_role role)
{
	static const char *const setup_keys[] = {"table", "order", NULL};
	static const char *const data_keys[] = {"table", "order", "pov", "rule",
						NULL};
	struct model *m = p->model;
	struct model_table *t = &m->tables[m->n_tables];
	static const char *const none[] = {NULL};
	int r;

	t->role = role;
	t->slot = -1;
	t->order = none;
	if (role == MODEL_SETUP && json_object_is_type(o, json_type_string)) {
		t->name = take_text(p, o);
		return t->name ? add_table(p, t) : bad(p, "must name a table");
	}
	r = check_keys(p, o, role == MODEL_SETUP ? setup_keys : data_keys);
	if (r == 0)
		r = get_text(p, o, "table", true, &t->name);
	if (r == 0)
		r = get_names(p, o, "order", &t->order);
	if (r == 0 && role != MODEL_SETUP)
		r = parse_pov(p, o, t);
	if (r == 0 && role != MODEL_SETUP)
		r = get_text(p, o, "rule", false, &t->rule);
	if (r < 0)
		return r;
	return add_table(p, t);
}

static int parse_list(struct parse *p, struct json_object *root,
		      const char *key, enum model_role role, size_t max)
{
	struct json_object *array;
	size_t n;
	int r;

	AT(p, "%s", key);
	r = get_array(p, root, key, max, &array, &n);
	for (size_t i = 0; r == 0 && i < n; i++) {
		AT(p, "%s[%zu]", key, i);
		r = parse_table(p, json_object_array_get_idx(array, i), role);
	}
	return r;
}

static int parse_tables(struct parse *p, struct json_object *root)
{
	struct model *m = p->model;
	struct json_object *o;
	int r = 0;

	m->tables =
		ARENA_ARRAY(&m->arena, struct model_table, MODEL_TABLES_MAX);
	if (!m->tables)
		return -ENOMEM;

	AT(p, "setup");
	if (!json_object_object_get_ex(root, "setup", &o))
		return bad(p,
			   "is missing: list the setup tables, or write \"*\"");
	if (json_object_is_type(o, json_type_string)) {
		if (strcmp(json_object_get_string(o), "*") != 0)
			return bad(p, "must be a list of tables, or \"*\"");
		m->setup_all = true;
	} else {
		r = parse_list(p, root, "setup", MODEL_SETUP,
			       MODEL_TABLES_MAX - MODEL_SLOTS_MAX);
	}
	if (r == 0)
		r = parse_list(p, root, "data", MODEL_DATA,
			       MODEL_SLOTS_MAX - 1);
	if (r < 0)
		return r;
	if (json_object_object_get_ex(root, "status", &o)) {
		AT(p, "status");
		r = parse_table(p, o, MODEL_STATUS);
	}
	return r;
}

static int parse_process(struct parse *p, struct json_object *root)
{
	static const char *const keys[] = {"table", "key", NULL};
	struct json_object *o;
	int r;

	AT(p, "process");
	if (!json_object_object_get_ex(root, "process", &o))
		return 0;
	r = check_keys(p, o, keys);
	if (r == 0)
		r = get_text(p, o, "table", true, &p->model->process_table);
	if (r == 0)
		r = get_text(p, o, "key", true, &p->model->process_key);
	return r;
}

static int parse_orphan(struct parse *p, struct json_object *o,
			struct model_orphan *ret)
{
	static const char *const keys[] = {"pov", "rule", "table", "column",
					   NULL};
	struct json_object *rule;
	const char *dim;
	int r;

	r = check_keys(p, o, keys);
	if (r == 0)
		r = get_text(p, o, "pov", false, &dim);
	if (r == 0)
		r = get_text(p, o, "table", true, &ret->table);
	if (r == 0)
		r = get_text(p, o, "column", true, &ret->column);
	if (r < 0)
		return r;
	if (json_object_object_get_ex(o, "rule", &rule) &&
	    (!json_object_is_type(rule, json_type_boolean) ||
	     !json_object_get_boolean(rule)))
		return bad(p, "'rule' must be true");
	if (!dim == !rule)
		return bad(
			p,
			"must have either 'pov' (a dimension) or 'rule': true");
	ret->dim = dim ? find_dim(p->model, dim) : -1;
	if (dim && ret->dim < 0)
		return err_set(p->err, -EINVAL,
			       "model: %s: '%s' is not a dimension", p->path,
			       dim);
	return 0;
}

static int parse_orphans(struct parse *p, struct json_object *root)
{
	struct model *m = p->model;
	struct json_object *array;
	int r;

	AT(p, "orphans");
	r = get_array(p, root, "orphans", 64, &array, &m->n_orphans);
	if (r < 0)
		return r;
	m->orphans =
		ARENA_ARRAY(&m->arena, struct model_orphan, m->n_orphans + 1);
	if (!m->orphans)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < m->n_orphans; i++) {
		AT(p, "orphans[%zu]", i);
		r = parse_orphan(p, json_object_array_get_idx(array, i),
				 &m->orphans[i]);
	}
	return r;
}

static int parse_components(struct parse *p, struct json_object *o,
			    struct model_record *record)
{
	static const char *const keys[] = {"table", "column", NULL};
	struct json_object *array;
	int r;

	r = get_array(p, o, "components", 64, &array, &record->n_components);
	if (r < 0)
		return r;
	record->components = ARENA_ARRAY(&p->model->arena,
					 struct model_component,
					 record->n_components + 1);
	if (!record->components)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < record->n_components; i++) {
		struct model_component *c = &record->components[i];
		struct json_object *e = json_object_array_get_idx(array, i);

		r = check_keys(p, e, keys);
		if (r == 0)
			r = get_text(p, e, "table", true, &c->table);
		if (r == 0)
			r = get_text(p, e, "column", true, &c->column);
	}
	return r;
}

static int parse_record(struct parse *p, struct json_object *o,
			struct model_record *record)
{
	static const char *const keys[] = {"table",   "key",    "modified",
					   "deleted", "copies", "components",
					   NULL};
	int r;

	r = check_keys(p, o, keys);
	if (r == 0)
		r = get_text(p, o, "table", true, &record->table);
	if (r == 0)
		r = get_names(p, o, "key", &record->key);
	if (r == 0)
		r = get_text(p, o, "modified", false, &record->modified);
	if (r == 0)
		r = get_text(p, o, "deleted", false, &record->deleted);
	if (r == 0)
		r = get_text(p, o, "copies", false, &record->copies);
	if (r == 0)
		r = parse_components(p, o, record);
	if (r < 0)
		return r;
	if (!record->key[0])
		return bad(
			p,
			"'key' is missing: list the columns that identify a record");
	return 0;
}

static int parse_records(struct parse *p, struct json_object *root)
{
	struct model *m = p->model;
	struct json_object *array;
	int r;

	AT(p, "records");
	r = get_array(p, root, "records", MODEL_TABLES_MAX, &array,
		      &m->n_records);
	if (r < 0)
		return r;
	m->records =
		ARENA_ARRAY(&m->arena, struct model_record, m->n_records + 1);
	if (!m->records)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < m->n_records; i++) {
		AT(p, "records[%zu]", i);
		r = parse_record(p, json_object_array_get_idx(array, i),
				 &m->records[i]);
	}
	return r;
}

static int parse_root(struct parse *p, struct json_object *root)
{
	static const char *const keys[] = {"name",    "pov",     "setup",
					   "data",    "status",  "process",
					   "orphans", "records", NULL};
	int r;

	AT(p, "document");
	r = check_keys(p, root, keys);
	if (r == 0)
		r = get_text(p, root, "name", true, &p->model->name);
	if (r == 0)
		r = parse_dims(p, root);
	if (r == 0)
		r = parse_tables(p, root);
	if (r == 0)
		r = parse_process(p, root);
	if (r == 0)
		r = parse_orphans(p, root);
	if (r == 0)
		r = parse_records(p, root);
	return r;
}

/* json-c in strict mode: nothing may follow, no comments, no NaN. */
static int parse_json(const char *json, size_t len, struct json_object **ret,
		      struct err *err)
{
	struct json_tokener *tok = json_tokener_new_ex(16);
	enum json_tokener_error e;
	size_t at;

	if (!tok)
		return -ENOMEM;
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT |
					    JSON_TOKENER_VALIDATE_UTF8);
	*ret = json_tokener_parse_ex(tok, json, (int)len);
	e = json_tokener_get_error(tok);
	at = json_tokener_get_parse_end(tok);
	json_tokener_free(tok);
	if (e == json_tokener_success && *ret)
		return 0;
	json_object_put(*ret);
	*ret = NULL;
	return err_set(err, -EINVAL, "model: not JSON: %s at byte %zu",
		       e == json_tokener_continue
			       ? "the document ends too early"
			       : json_tokener_error_desc(e),
		       at);
}

static int keep_text(struct model *model, const char *json, size_t len)
{
	uint8_t sum[SHA256_BYTES];
	int r;

	model->json = arena_strndup(&model->arena, json, len);
	if (!model->json)
		return -ENOMEM;
	r = sha256_bytes(json, len, sum);
	if (r < 0)
		return r;
	hex_format(sum, sizeof(sum), model->hash);
	return 0;
}

int model_parse(const char *json, size_t len, struct model **ret,
		struct err *err)
{
	CLEANUP(model_freep) struct model *model = calloc(1, sizeof(*model));
	CLEANUP(free_json) struct json_object *root = NULL;
	struct parse p = {.model = model, .err = err};
	int r;

	if (!model)
		return -ENOMEM;
	if (len > MODEL_BYTES_MAX)
		return err_set(
			err, -EINVAL,
			"model: %zu bytes are too many, at most %zu are allowed",
			len, MODEL_BYTES_MAX);
	r = parse_json(json, len, &root, err);
	if (r == 0 && (r = json_check(json, len, err)) < 0)
		return err_prefix(err, r, "model");
	if (r == 0)
		r = keep_text(model, json, len);
	if (r == 0)
		r = parse_root(&p, root);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(model);
	return 0;
}

struct model *model_free(struct model *model)
{
	struct arena arena;

	if (!model)
		return NULL;
	arena = model->arena;
	arena_deinit(&arena);
	free(model);
	return NULL;
}

struct model_table *model_find(const struct model *model, const char *name)
{
	for (size_t i = 0; i < model->n_tables; i++)
		if (sqlite3_stricmp(model->tables[i].name, name) == 0)
			return &model->tables[i];
	return NULL;
}

const struct model_table *model_slot(const struct model *model, int slot)
{
	for (size_t i = 0; i < model->n_tables; i++)
		if (model->tables[i].slot == slot)
			return &model->tables[i];
	return NULL;
}
