/* SPDX-License-Identifier: MIT */
/*
 * Reading commands. Words and JSON become the same items, a key and a value
 * as text; one table of keys says what each means, one table of types which
 * keys go together. Nothing is guessed: what is not known is refused, since a
 * misspelt "overwrit=yes" must not silently mean "no".
 */
#include "outboxfs/work/command.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "outboxfs/base/number.h"
#include "outboxfs/base/utf8.h"
#include "outboxfs/format/json-check.h"
#include "outboxfs/format/json.h"

#define FILE_BYTES_MAX    255 /* NAME_MAX of Linux */
#define CHANNEL_BYTES_MAX 64
#define DIMS_MAX          64 /* more than any model has */

/* How a value was written. Only JSON tells the last two from text. */
enum form {
	FORM_WORD,
	FORM_TEXT,
	FORM_INTEGER,
	FORM_BOOLEAN, /* its text is "yes" or "no" */
};

struct item {
	const char *key;
	const char *value; /* no NULs, no control characters, valid UTF-8 */
	enum form form;
};

/* Bits of a set of keys; those behind KEY_TYPE are rows of the table. */
enum key_id {
	KEY_TYPE,
	KEY_FILE,
	KEY_OVERWRITE,
	KEY_CHANNEL,
	KEY_BASE,
	KEY_ORPHANS,
	KEY_OLDER,
	KEY_KEEP,
	KEY_NAME,
	KEY_FROM,
	KEY_TO,
	KEY_DRY_RUN,
	KEY_WAIT,
	KEY_JOB,
	KEY_DIMS, /* any other key of a purge */
	KEYS_N,
};
#define BIT(key) (1U << (key))

struct parse {
	struct command *c;
	struct err *err;
	unsigned seen;           /* BIT(enum key_id) */
	const char **dims;       /* in the arena; pairs */
	size_t n_dims;           /* strings in use */
	const struct type *type; /* NULL: not known yet */
};

/* Keys that a type takes, and those of which it wants at least one. */
struct type {
	enum command_kind kind;
	const char *name; /* abort: NULL */
	unsigned takes;
	unsigned wants;
	const char *needs; /* what to say where none of those is there */
};

static const struct type types[] = {
	{
		.kind = COMMAND_EXPORT,
		.name = "all",
		.takes = BIT(KEY_FILE) | BIT(KEY_OVERWRITE) | BIT(KEY_CHANNEL) |
			 BIT(KEY_ORPHANS),
	},
	{
		.kind = COMMAND_EXPORT,
		.name = "all_incremental",
		.takes = BIT(KEY_FILE) | BIT(KEY_OVERWRITE) | BIT(KEY_CHANNEL) |
			 BIT(KEY_BASE) | BIT(KEY_ORPHANS),
	},
	{
		.kind = COMMAND_EXPORT,
		.name = "incremental",
		.takes = BIT(KEY_FILE) | BIT(KEY_OVERWRITE) | BIT(KEY_CHANNEL) |
			 BIT(KEY_BASE) | BIT(KEY_ORPHANS),
	},
	{
		.kind = COMMAND_EXPORT,
		.name = "setup",
		.takes = BIT(KEY_FILE) | BIT(KEY_OVERWRITE),
	},
	{
		.kind = COMMAND_PURGE,
		.name = "outbox",
		.takes = BIT(KEY_OLDER) | BIT(KEY_KEEP) | BIT(KEY_NAME),
		.wants = BIT(KEY_OLDER) | BIT(KEY_KEEP) | BIT(KEY_NAME),
		.needs = "older=60d, keep=10 or name='close-*'",
	},
	{
		.kind = COMMAND_PURGE,
		.name = "snapshots",
		.takes = BIT(KEY_OLDER) | BIT(KEY_KEEP),
		.wants = BIT(KEY_OLDER) | BIT(KEY_KEEP),
		.needs = "older=60d or keep=10",
	},
	{
		.kind = COMMAND_PURGE,
		.name = "inbox",
		.takes = BIT(KEY_OLDER),
		.wants = BIT(KEY_OLDER),
		.needs = "older=60d",
	},
	{
		.kind = COMMAND_PURGE,
		.name = "jobs",
		.takes = BIT(KEY_OLDER),
		.wants = BIT(KEY_OLDER),
		.needs = "older=60d",
	},
	{.kind = COMMAND_PURGE, .name = "orphans"},
	{
		.kind = COMMAND_PURGE,
		.name = "data",
		.takes = BIT(KEY_FROM) | BIT(KEY_TO) | BIT(KEY_DIMS),
		.wants = BIT(KEY_FROM) | BIT(KEY_TO) | BIT(KEY_DIMS),
		.needs = "from= and to=, or a dimension as location=Paris",
	},
	{.kind = COMMAND_PURGE, .name = "output"},
	{
		.kind = COMMAND_ABORT,
		.takes = BIT(KEY_JOB),
		.wants = BIT(KEY_JOB),
		.needs = "the number of a job, as 17",
	},
};

/* Keys and types of each kind. */
static const struct {
	const char *name;
	unsigned always; /* keys that all types take */
	const char *keys;
	const char *types;
	const char *example;
} kinds[] = {
	[COMMAND_EXPORT] =
		{
			.name = "export",
			.always = BIT(KEY_TYPE) | BIT(KEY_WAIT),
			.keys = "file=, overwrite=, channel=, base=, orphans= or wait=",
			.types = "all, all_incremental, incremental or setup",
			.example = "all_incremental file=close.zip",
		},
	[COMMAND_PURGE] =
		{
			.name = "purge",
			.always = BIT(KEY_TYPE) | BIT(KEY_WAIT) |
				  BIT(KEY_DRY_RUN),
			.keys = "older=, keep=, name=, from=, to=, dry_run= or wait=",
			.types =
				"outbox, snapshots, inbox, jobs, orphans, data or output",
			.example = "outbox older=60d",
		},
	[COMMAND_ABORT] =
		{
			.name = "abort",
			.keys = "job=",
			.example = "17",
		},
};

const char *command_kind_name(enum command_kind kind)
{
	return kinds[kind].name;
}

/* A copy for an error message, cut between characters where it is long. */
struct shown {
	char text[100];
};

static struct shown show(const char *s)
{
	struct shown ret = {.text = ""};
	size_t n = strlen(s);
	size_t at = 0;

	if (n < 90) {
		memcpy(ret.text, s, n + 1);
		return ret;
	}
	while (at < 80)
		at += utf8_len((const uint8_t *)s + at, n - at);
	memcpy(ret.text, s, at);
	memcpy(ret.text + at, "…", sizeof("…"));
	return ret;
}

/* What is wrong with a value: "file='x': what". */
static int bad_value(struct parse *p, const struct item *item, const char *what)
{
	return err_set(p->err, -EINVAL, "%s='%s': %s", item->key,
		       show(item->value).text, what);
}

static int put_text(struct parse *p, const char *s, const char **ret)
{
	*ret = arena_strdup(&p->c->arena, s);
	return *ret ? 0 : -ENOMEM;
}

static int set_type(struct parse *p, const struct item *item)
{
	enum command_kind kind = p->c->kind;

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		if (types[i].kind != kind || !types[i].name ||
		    strcasecmp(types[i].name, item->value) != 0)
			continue;
		p->type = &types[i];
		p->c->type = types[i].name;
		return 0;
	}
	return err_set(p->err, -EINVAL, "'%s' is nothing to %s; write %s",
		       show(item->value).text, kinds[kind].name,
		       kinds[kind].types);
}

static bool ends_in_zip(const char *s, size_t n)
{
	return n >= 4 && strcasecmp(s + n - 4, ".zip") == 0;
}

static int set_file(struct parse *p, const struct item *item)
{
	size_t n = strlen(item->value);
	bool has_zip = ends_in_zip(item->value, n);
	char *file;

	if (strchr(item->value, '/'))
		return bad_value(
			p, item,
			"a name without '/' is wanted; it is made in outbox/");
	if (item->value[0] == '.')
		return bad_value(p, item, "a name may not begin with '.'");
	if (n + (has_zip ? 0 : 4) > FILE_BYTES_MAX)
		return bad_value(p, item,
				 "too long; with .zip at most 255 bytes");
	file = arena_alloc(&p->c->arena, n + 5);
	if (!file)
		return -ENOMEM;
	memcpy(file, item->value, n);
	memcpy(file + n, ".zip", has_zip ? 1 : 5);
	file[n + (has_zip ? 0 : 4)] = '\0';
	p->c->file = file;
	return 0;
}

static int set_channel(struct parse *p, const struct item *item)
{
	size_t n = strspn(item->value, "abcdefghijklmnopqrstuvwxyz"
				       "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				       "0123456789._-");

	if (item->value[n] || n > CHANNEL_BYTES_MAX)
		return bad_value(
			p, item,
			"a channel is 1 to 64 letters, digits, '.', '_' or '-'");
	return put_text(p, item->value, &p->c->channel);
}

static int set_yes(struct parse *p, const struct item *item, bool *ret)
{
	*ret = strcmp(item->value, "yes") == 0;
	if (*ret || strcmp(item->value, "no") == 0)
		return 0;
	return bad_value(p, item, "write yes or no");
}

static int set_orphans(struct parse *p, const struct item *item)
{
	p->c->delete_orphans = strcmp(item->value, "delete") == 0;
	if (p->c->delete_orphans || strcmp(item->value, "drop") == 0)
		return 0;
	return bad_value(p, item, "write drop or delete");
}

/* Digits and nothing else, from min on. */
static bool read_number(const char *s, size_t n, int64_t min, int64_t *ret)
{
	return n > 0 && s[0] >= '0' && s[0] <= '9' &&
	       number_parse(s, n, ret, NULL) == NUMBER_INTEGER && *ret >= min;
}

static int set_number(struct parse *p, const struct item *item, int64_t min,
		      int64_t *ret)
{
	if (read_number(item->value, strlen(item->value), min, ret))
		return 0;
	return bad_value(p, item,
			 min ? "a whole number from 1 is wanted"
			     : "a whole number from 0 is wanted");
}

static int set_older(struct parse *p, const struct item *item)
{
	static const struct {
		char unit;
		int64_t seconds;
	} units[] = {
		{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 604800},
	};
	size_t n = strlen(item->value) - 1; /* no value is empty */
	int64_t count;

	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		if (units[i].unit == item->value[n] &&
		    read_number(item->value, n, 0, &count) &&
		    !__builtin_mul_overflow(count, units[i].seconds,
					    &p->c->older))
			return 0;
	p->c->older = -1;
	return bad_value(
		p, item,
		"a duration is wanted, as 30d, 12h or 90m (also s and w)");
}

static int set_known(struct parse *p, enum key_id id, const struct item *item)
{
	struct command *c = p->c;

	switch (id) {
	case KEY_TYPE:
		return set_type(p, item);
	case KEY_FILE:
		return set_file(p, item);
	case KEY_OVERWRITE:
		return set_yes(p, item, &c->overwrite);
	case KEY_CHANNEL:
		return set_channel(p, item);
	case KEY_BASE:
		return set_number(p, item, 1, &c->base);
	case KEY_ORPHANS:
		return set_orphans(p, item);
	case KEY_OLDER:
		return set_older(p, item);
	case KEY_KEEP:
		return set_number(p, item, 0, &c->keep);
	case KEY_NAME:
		return put_text(p, item->value, &c->name);
	case KEY_FROM:
		return put_text(p, item->value, &c->from);
	case KEY_TO:
		return put_text(p, item->value, &c->to);
	case KEY_DRY_RUN:
		return set_yes(p, item, &c->dry_run);
	case KEY_WAIT:
		return set_yes(p, item, &c->wait);
	case KEY_JOB:
		return set_number(p, item, 1, &c->job);
	case KEY_DIMS:
	case KEYS_N:
		break;
	}
	return -EINVAL;
}

/* What a value in JSON may be beside a string. */
#define BOOLEANS (BIT(KEY_OVERWRITE) | BIT(KEY_DRY_RUN) | BIT(KEY_WAIT))
#define INTEGERS                                                        \
	(BIT(KEY_BASE) | BIT(KEY_KEEP) | BIT(KEY_JOB) | BIT(KEY_FROM) | \
	 BIT(KEY_TO) | BIT(KEY_DIMS))
/* Those that JSON should not dress up as a string. */
#define NUMBERS (BIT(KEY_BASE) | BIT(KEY_KEEP) | BIT(KEY_JOB))

static int check_form(struct parse *p, enum key_id id, const struct item *item)
{
	if (item->form == FORM_TEXT && (NUMBERS & BIT(id)))
		return bad_value(p, item, "a number is wanted, without quotes");
	if (item->form == FORM_INTEGER && !(INTEGERS & BIT(id)))
		return bad_value(p, item, "a string is wanted, not a number");
	if (item->form == FORM_BOOLEAN && !(BOOLEANS & BIT(id)))
		return err_set(
			p->err, -EINVAL,
			"%s: a string or a number is wanted, not true or false",
			item->key);
	return 0;
}

static const char *const key_names[KEYS_N] = {
	[KEY_TYPE] = "type",
	[KEY_FILE] = "file",
	[KEY_OVERWRITE] = "overwrite",
	[KEY_CHANNEL] = "channel",
	[KEY_BASE] = "base",
	[KEY_ORPHANS] = "orphans",
	[KEY_OLDER] = "older",
	[KEY_KEEP] = "keep",
	[KEY_NAME] = "name",
	[KEY_FROM] = "from",
	[KEY_TO] = "to",
	[KEY_DRY_RUN] = "dry_run",
	[KEY_WAIT] = "wait",
	[KEY_JOB] = "job",
	[KEY_DIMS] = "",
};

/* All keys of a kind. */
static unsigned keys_of(enum command_kind kind)
{
	unsigned keys = kinds[kind].always;

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (types[i].kind == kind)
			keys |= types[i].takes;
	return keys;
}

/* Any other key may be a dimension: they are the model's to know. */
static enum key_id find_key(enum command_kind kind, const char *name)
{
	unsigned keys = keys_of(kind);

	for (int i = 0; i < KEY_DIMS; i++)
		if ((keys & BIT(i)) && strcmp(key_names[i], name) == 0)
			return (enum key_id)i;
	return (keys & BIT(KEY_DIMS)) && name[0] ? KEY_DIMS : KEYS_N;
}

static int unknown_key(struct parse *p, const char *key)
{
	return err_set(p->err, -EINVAL, "unknown key '%s'; %s takes %s",
		       show(key).text, kinds[p->c->kind].name,
		       kinds[p->c->kind].keys);
}

static int twice(struct parse *p, const char *key)
{
	return err_set(p->err, -EINVAL, "'%s' is given twice", show(key).text);
}

static int set_dim(struct parse *p, const struct item *item)
{
	for (size_t i = 0; i < p->n_dims; i += 2)
		if (strcmp(p->dims[i], item->key) == 0)
			return twice(p, item->key);
	if (p->n_dims >= 2 * (size_t)DIMS_MAX)
		return err_set(p->err, -EINVAL,
			       "no model has more than %d dimensions",
			       DIMS_MAX);
	p->dims[p->n_dims] = arena_strdup(&p->c->arena, item->key);
	p->dims[p->n_dims + 1] = arena_strdup(&p->c->arena, item->value);
	if (!p->dims[p->n_dims] || !p->dims[p->n_dims + 1])
		return -ENOMEM;
	p->n_dims += 2;
	return 0;
}

static int set_item(struct parse *p, const struct item *item)
{
	enum key_id id = find_key(p->c->kind, item->key);
	int r;

	if (id == KEYS_N)
		return unknown_key(p, item->key);
	if (!item->value[0])
		return err_set(p->err, -EINVAL,
			       "'%s' has no value; write one, or leave it out",
			       show(item->key).text);
	if (id != KEY_DIMS && (p->seen & BIT(id)))
		return twice(p, item->key);
	p->seen |= BIT(id);
	r = check_form(p, id, item);
	if (r < 0)
		return r;
	return id == KEY_DIMS ? set_dim(p, item) : set_known(p, id, item);
}

/* C0, DEL and C1: nothing that a person means to write. */
static bool has_control(const char *s, size_t n, const char *but)
{
	const uint8_t *u = (const uint8_t *)s;

	for (size_t i = 0; i < n; i++) {
		if ((u[i] < 0x20 || u[i] == 0x7f) &&
		    (!u[i] || !strchr(but, (char)u[i])))
			return true;
		if (u[i] == 0xc2 && i + 1 < n && u[i + 1] < 0xa0)
			return true;
	}
	return false;
}

/* Shell-like words */

struct words {
	const char *s; /* what is left */
	const char *end;
	char *room; /* in the arena; every word ends up here */
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* A quoted part, s at the opening quote. In '…' all is itself. */
static int take_quoted(struct parse *p, struct words *w)
{
	char quote = *w->s++;

	while (w->s < w->end && *w->s != quote) {
		if (quote == '"' && *w->s == '\\' && w->s + 1 < w->end &&
		    strchr("\"\\$`", w->s[1]))
			w->s++;
		*w->room++ = *w->s++;
	}
	if (w->s == w->end)
		return err_set(
			p->err, -EINVAL,
			"a quote (%c) is opened and not closed; close it, or write \\%c",
			quote, quote);
	w->s++;
	return 0;
}

/* 1 and the next word, NUL-terminated; 0: there is none. */
static int take_word(struct parse *p, struct words *w, char **ret)
{
	int r = 0;

	while (w->s < w->end && is_blank(*w->s))
		w->s++;
	if (w->s == w->end)
		return 0;
	*ret = w->room;
	while (r == 0 && w->s < w->end && !is_blank(*w->s)) {
		if (*w->s == '\'' || *w->s == '"') {
			r = take_quoted(p, w);
			continue;
		}
		if (*w->s == '\\' && ++w->s == w->end)
			return err_set(
				p->err, -EINVAL,
				"nothing follows the last backslash; write \\\\ for one");
		*w->room++ = *w->s++;
	}
	*w->room++ = '\0';
	return r < 0 ? r : 1;
}

static int set_word(struct parse *p, char *word, bool is_first)
{
	char *equals = strchr(word, '=');
	struct item item = {.key = word, .form = FORM_WORD};
	const char *bare = p->c->kind == COMMAND_ABORT ? "job" : "type";

	if (has_control(word, strlen(word), ""))
		return err_set(
			p->err, -EINVAL,
			"a control character between quotes or behind a backslash; leave it out");
	if (equals) {
		*equals = '\0';
		item.value = equals + 1;
	} else if (is_first && word[0]) {
		item.key = bare;
		item.value = word;
	} else {
		return err_set(p->err, -EINVAL,
			       "'%s' is not a key=value; write as in: %s",
			       show(word).text, kinds[p->c->kind].example);
	}
	return set_item(p, &item);
}

static int parse_words(struct parse *p, const char *text, size_t n)
{
	/* Words are no longer than what they are written as, and a NUL. */
	struct words w = {
		.s = text,
		.end = text + n,
		.room = arena_alloc(&p->c->arena, n + 1),
	};
	bool is_first = true;
	char *word;
	int r;

	if (!w.room)
		return -ENOMEM;
	if (memchr(text, '\n', n))
		return err_set(
			p->err, -EINVAL,
			"two lines in one write; write one command at a time, on one line");
	if (has_control(text, n, "\t"))
		return err_set(
			p->err, -EINVAL,
			"a control character in a command; write text, with a newline at its end at most");
	for (; (r = take_word(p, &w, &word)) > 0; is_first = false) {
		r = set_word(p, word, is_first);
		if (r < 0)
			return r;
	}
	return r;
}

/* JSON */

static void free_json(struct json_object **o)
{
	json_object_put(*o);
}

static int set_member(struct parse *p, const char *key, struct json_object *o)
{
	struct item item = {.key = key};
	size_t n;

	if (has_control(key, strlen(key), ""))
		return err_set(p->err, -EINVAL, "a control character in a key");
	switch (json_object_get_type(o)) {
	case json_type_string:
		item.form = FORM_TEXT;
		item.value = json_object_get_string(o);
		break;
	case json_type_int:
		item.form = FORM_INTEGER;
		item.value = json_object_get_string(o);
		break;
	case json_type_boolean:
		item.form = FORM_BOOLEAN;
		item.value = json_object_get_boolean(o) ? "yes" : "no";
		break;
	case json_type_null:
	case json_type_double:
	case json_type_object:
	case json_type_array:
		return err_set(
			p->err, -EINVAL,
			"'%s': a string, a whole number, true or false is wanted",
			show(key).text);
	}
	if (!item.value)
		return -ENOMEM;
	n = item.form == FORM_TEXT ? (size_t)json_object_get_string_len(o)
				   : strlen(item.value);
	if (has_control(item.value, n, ""))
		return err_set(p->err, -EINVAL,
			       "'%s': a control character in a value",
			       show(key).text);
	return set_item(p, &item);
}

/* json-c in strict mode: nothing may follow, no comments, no NaN. */
static int read_json(struct parse *p, const char *text, size_t n,
		     struct json_object **ret)
{
	struct json_tokener *tok = json_tokener_new_ex(8);
	enum json_tokener_error e;
	size_t at;

	if (!tok)
		return -ENOMEM;
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT |
					    JSON_TOKENER_VALIDATE_UTF8);
	*ret = json_tokener_parse_ex(tok, text, (int)n);
	e = json_tokener_get_error(tok);
	at = json_tokener_get_parse_end(tok);
	json_tokener_free(tok);
	if (e == json_tokener_success && at == n &&
	    json_object_is_type(*ret, json_type_object))
		return 0;
	return err_set(p->err, -EINVAL, "not one JSON object: %s at byte %zu",
		       e == json_tokener_continue  ? "the text ends too early"
		       : e == json_tokener_success ? "something follows"
						   : json_tokener_error_desc(e),
		       at);
}

static int parse_json(struct parse *p, const char *text, size_t n)
{
	CLEANUP(free_json) struct json_object *root = NULL;
	int r;

	if (has_control(text, n, "\t\r\n"))
		return err_set(p->err, -EINVAL,
			       "a control character in a command; write text");
	r = read_json(p, text, n, &root);
	if (r == 0)
		r = json_check(text, n, p->err);
	if (r < 0)
		return r;
	json_object_object_foreach(root, key, val)
	{
		r = set_member(p, key, val);
		if (r < 0)
			return r;
	}
	return 0;
}

/* What belongs together */

static int refuse_key(struct parse *p, enum key_id id)
{
	const char *type = p->c->type ? p->c->type : "";

	if (id == KEY_DIMS)
		return unknown_key(p, p->dims[0]);
	if (id == KEY_BASE)
		return err_set(
			p->err, -EINVAL,
			"base= is for incremental types; leave it out, or write %s",
			strcmp(type, "all") == 0 ? "all_incremental"
						 : "incremental");
	return err_set(p->err, -EINVAL,
		       "%s= has no meaning for %s %s; leave it out",
		       key_names[id], kinds[p->c->kind].name, type);
}

static int check_together(struct parse *p)
{
	enum command_kind kind = p->c->kind;
	unsigned excess;

	if (kind == COMMAND_ABORT)
		p->type = &types[ARRAY_SIZE(types) - 1];
	if (!p->type)
		return err_set(p->err, -EINVAL,
			       "what to %s is missing; begin with %s",
			       kinds[kind].name, kinds[kind].types);
	excess = p->seen & ~(p->type->takes | kinds[kind].always);
	if (excess)
		return refuse_key(p, (enum key_id)__builtin_ctz(excess));
	if (p->type->wants && !(p->seen & p->type->wants))
		return err_set(p->err, -EINVAL, "%s%s%s needs %s",
			       kinds[kind].name, p->c->type ? " " : "",
			       p->c->type ? p->c->type : "", p->type->needs);
	return 0;
}

static int parse(struct parse *p, const char *text, size_t n)
{
	int r;

	while (n > 0 && (is_blank(text[n - 1]) || text[n - 1] == '\n'))
		n--;
	while (n > 0 && (is_blank(text[0]) || text[0] == '\n')) {
		text++;
		n--;
	}
	if (n == 0)
		return err_set(p->err, -EINVAL,
			       "there is no command; write as in: %s",
			       kinds[p->c->kind].example);
	if (!utf8_is_valid(text, n))
		return err_set(p->err, -EINVAL,
			       "a command must be UTF-8; this is not");
	r = text[0] == '{' ? parse_json(p, text, n) : parse_words(p, text, n);
	return r < 0 ? r : check_together(p);
}

int command_parse(enum command_kind kind, const char *text, size_t n,
		  struct command **ret, struct err *err)
{
	CLEANUP(command_freep) struct command *c = calloc(1, sizeof(*c));
	struct parse p = {.c = c, .err = err};
	int r;

	if (!c)
		return -ENOMEM;
	if (n > COMMAND_BYTES_MAX)
		return err_set(
			err, -EMSGSIZE,
			"a command has at most %d bytes; this one has more",
			COMMAND_BYTES_MAX);
	c->kind = kind;
	c->channel = "main";
	c->older = -1;
	c->keep = -1;
	p.dims = ARENA_ARRAY(&c->arena, const char *, 2 * DIMS_MAX + 1);
	if (!p.dims)
		return -ENOMEM;
	c->dims = p.dims;
	r = parse(&p, text, n);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(c);
	return 0;
}

struct command *command_free(struct command *c)
{
	if (!c)
		return NULL;
	arena_deinit(&c->arena);
	free(c);
	return NULL;
}

/* Writing them */

static void put_yes(struct json *j, const char *key, bool is)
{
	if (is)
		json_key_boolean(j, key, true);
}

static void put_string(struct json *j, const char *key, const char *s)
{
	if (s)
		json_key_string(j, key, s);
}

static void put_export(struct json *j, const struct command *c)
{
	put_string(j, "file", c->file);
	put_yes(j, "overwrite", c->overwrite);
	if (strcmp(c->type, "setup") != 0) {
		json_key_string(j, "channel", c->channel);
		json_key_string(j, "orphans",
				c->delete_orphans ? "delete" : "drop");
	}
	if (c->base > 0)
		json_key_int(j, "base", c->base);
}

static void put_purge(struct json *j, const struct command *c)
{
	if (c->older >= 0) {
		char text[NUMBER_BYTES_MAX + 1];
		size_t n = number_format_int(c->older, text);

		text[n++] = 's';
		json_key(j, "older");
		json_string(j, text, n);
	}
	if (c->keep >= 0)
		json_key_int(j, "keep", c->keep);
	put_string(j, "name", c->name);
	put_string(j, "from", c->from);
	put_string(j, "to", c->to);
	for (const char *const *d = c->dims; *d; d += 2)
		json_key_string(j, d[0], d[1]);
	put_yes(j, "dry_run", c->dry_run);
}

int command_json(const struct command *c, struct buf *ret)
{
	struct json j = JSON_INIT(ret);

	json_begin_object(&j);
	put_string(&j, "type", c->type);
	if (c->kind == COMMAND_EXPORT)
		put_export(&j, c);
	else if (c->kind == COMMAND_PURGE)
		put_purge(&j, c);
	else
		json_key_int(&j, "job", c->job);
	put_yes(&j, "wait", c->wait);
	json_end_object(&j);
	json_end_document(&j);
	return buf_error(ret);
}
