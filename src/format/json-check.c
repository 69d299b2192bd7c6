/* SPDX-License-Identifier: MIT */
/*
 * Collects every key with the number of its object, sorts them, and looks for
 * equal neighbours: a document of 16 MiB may be one object with millions of
 * keys. Keys stay where they are in the text and are decoded as they are
 * compared.
 */
#include "outboxfs/format/json-check.h"

#include <errno.h>

#include "outboxfs/base/buf.h"
#include "outboxfs/base/utf8.h"
#include "outboxfs/format/json.h"

#define SHOWN_BYTES_MAX 60 /* of a key, in a message */
#define REPLACEMENT     0xfffd

struct key {
	size_t object;
	const char *text; /* behind the opening quote; a closing one follows */
	const char *end;  /* that closing quote */
};

struct scan {
	const char *begin;
	const char *at;
	const char *end;
	size_t levels[JSON_DEPTH_MAX]; /* numbers of open objects; 0: an array
					*/
	unsigned depth;
	size_t n_objects;
	struct buf keys; /* struct key */
	struct err *err;
};

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The number of \uXXXX at s; -1: it is none. */
static int32_t read_escape(const char *s, const char *end)
{
	int32_t ret = 0;

	if (end - s < 6 || s[0] != '\\' || s[1] != 'u')
		return -1;
	for (int i = 2; i < 6; i++) {
		int digit = hex_digit(s[i]);

		if (digit < 0)
			return -1;
		ret = ret * 16 + digit;
	}
	return ret;
}

/* Half a surrogate pair becomes U+FFFD, as with json-c. */
static int32_t next_escaped(const char **s, const char *end)
{
	static const char plain[] = "b\bf\fn\nr\rt\t";
	int32_t c = read_escape(*s, end);
	int32_t low;

	if (c < 0) {
		const char *p;

		*s += 2;
		for (p = plain; *p && *p != (*s)[-1]; p += 2)
			;
		return *p ? p[1] : (unsigned char)(*s)[-1];
	}
	*s += 6;
	if (c < 0xd800 || c > 0xdfff)
		return c;
	low = read_escape(*s, end);
	if (c > 0xdbff || low < 0xdc00 || low > 0xdfff)
		return REPLACEMENT;
	*s += 6;
	return 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
}

/* The next character of a key; -1 behind the last. */
static int32_t next_char(const char **s, const char *end)
{
	const uint8_t *u = (const uint8_t *)*s;
	size_t n;
	int32_t c;

	if (*s == end)
		return -1;
	if (**s == '\\')
		return next_escaped(s, end);
	n = utf8_len(u, (size_t)(end - *s));
	if (n < 2) {
		(*s)++;
		return n ? u[0] : 0x110000 + u[0]; /* no character: itself */
	}
	c = u[0] & (0x7f >> n);
	for (size_t i = 1; i < n; i++)
		c = (c << 6) | (u[i] & 0x3f);
	*s += n;
	return c;
}

static int compare(const void *left, const void *right)
{
	const struct key *a = left;
	const struct key *b = right;
	const char *s = a->text;
	const char *t = b->text;
	int32_t c;
	int32_t d;

	if (a->object != b->object)
		return a->object < b->object ? -1 : 1;
	do {
		c = next_char(&s, a->end);
		d = next_char(&t, b->end);
	} while (c == d && c >= 0);
	return c == d ? 0 : c < d ? -1 : 1;
}

/* The line of a place, from 1. */
static size_t line_of(const struct scan *scan, const char *place)
{
	size_t n = 1;

	for (const char *p = scan->begin; p < place; p++)
		n += *p == '\n';
	return n;
}

static int twice(const struct scan *scan, const struct key *key)
{
	char shown[SHOWN_BYTES_MAX + 1] = "";
	size_t len = (size_t)(key->end - key->text);
	const uint8_t *u = (const uint8_t *)key->text;
	size_t n = 0;

	while (n < len) {
		size_t step = utf8_len(u + n, len - n);

		if (step == 0 || u[n] < 0x20 || n + step > SHOWN_BYTES_MAX)
			break;
		memcpy(shown + n, u + n, step);
		n += step;
	}
	return err_set(
		scan->err, -EINVAL,
		"key '%s%s' is given twice in one object, again in line %zu (byte %zu)",
		shown, n < len ? "…" : "", line_of(scan, key->text),
		(size_t)(key->text - scan->begin) - 1);
}

static int find_twice(struct scan *scan)
{
	struct key *keys = (struct key *)(void *)scan->keys.data;
	size_t n = scan->keys.len / sizeof(*keys);
	const struct key *first = NULL;

	if (n > 1)
		qsort(keys, n, sizeof(*keys), compare);
	for (size_t i = 1; i < n; i++) {
		const struct key *later = &keys[i];

		if (compare(&keys[i - 1], later) != 0)
			continue;
		if (later->text < keys[i - 1].text) /* sorting is not stable */
			later = &keys[i - 1];
		if (!first || later->text < first->text)
			first = later;
	}
	return first ? twice(scan, first) : 0;
}

/* A text, at the opening quote. False: it never ends. */
static bool take_text(struct scan *scan, struct key *ret)
{
	const char *s = scan->at + 1;

	ret->text = s;
	while (s < scan->end && *s != '"')
		s += *s == '\\' && scan->end - s > 1 ? 2 : 1;
	ret->end = s;
	scan->at = s < scan->end ? s + 1 : s;
	return s < scan->end;
}

static bool has_nul(const struct key *key)
{
	const char *s = key->text;
	int32_t c;

	do
		c = next_char(&s, key->end);
	while (c > 0);
	return c == 0;
}

/* A text that a colon follows is a key. */
static int take_key(struct scan *scan)
{
	struct key key = {.object = 0};
	const char *s;

	if (!take_text(scan, &key))
		return 0;
	if (scan->depth > 0)
		key.object = scan->levels[scan->depth - 1];
	for (s = scan->at; s < scan->end && *s && strchr(" \t\r\n", *s); s++)
		;
	if (!key.object || s == scan->end || *s != ':')
		return 0;
	if (has_nul(&key))
		return err_set(scan->err, -EINVAL,
			       "a NUL in the key at byte %zu",
			       (size_t)(key.text - scan->begin) - 1);
	buf_add(&scan->keys, &key, sizeof(key));
	return 0;
}

static int begin_level(struct scan *scan)
{
	if (scan->depth == JSON_DEPTH_MAX)
		return err_set(
			scan->err, -EINVAL, "more than %d levels at byte %zu",
			JSON_DEPTH_MAX, (size_t)(scan->at - scan->begin));
	scan->levels[scan->depth++] = *scan->at == '{' ? ++scan->n_objects : 0;
	return 0;
}

static int take_token(struct scan *scan)
{
	int r = 0;

	if (*scan->at == '"')
		return take_key(scan);
	if (*scan->at == '{' || *scan->at == '[')
		r = begin_level(scan);
	else if ((*scan->at == '}' || *scan->at == ']') && scan->depth > 0)
		scan->depth--;
	scan->at++;
	return r;
}

int json_check(const char *text, size_t n, struct err *err)
{
	struct scan scan = {
		.begin = text,
		.at = text,
		.end = text + n,
		.keys = BUF_NULL,
		.err = err,
	};
	int r = 0;

	while (r == 0 && scan.at < scan.end)
		r = take_token(&scan);
	if (r == 0)
		r = buf_error(&scan.keys);
	if (r == 0)
		r = find_twice(&scan);
	buf_deinit(&scan.keys);
	return r;
}
