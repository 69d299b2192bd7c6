/* SPDX-License-Identifier: MIT */
#include "outboxfs/base/name.h"

#include <errno.h>
#include <string.h>

#include "outboxfs/base/hash.h"
#include "outboxfs/base/number.h"
#include "outboxfs/base/utf8.h"

/*
 * A name is written unit by unit: a character or a byte that belongs to none,
 * plain or escaped. Whether a unit needs escapes depends on its bytes alone,
 * so that the beginning of a name, cut between units, is the name of the
 * beginning of its text.
 */

#define HASH_DIGITS 32
#define SEPARATOR   "%~"
#define CUT_MAX     (NAME_BYTES_MAX - 2 - HASH_DIGITS)
#define UNIT_MAX    6 /* an escaped character of two bytes */

/* No more of a blob than this can matter: its hex alone is too long then. */
#define BLOB_LOOK_MAX ((size_t)NAME_BYTES_MAX / 2 + 1)

static const char upper_digits[] = "0123456789ABCDEF";

/* The text of a value where it is; numbers and blobs are put into room. */
struct text {
	const char *data;
	size_t len;
	char room[2 + 2 * BLOB_LOOK_MAX + 1];
};

static void text_of(const struct value *v, struct text *ret)
{
	size_t n;

	ret->data = ret->room;
	ret->len = 0;
	switch (v->type) {
	case VALUE_NULL:
		break;
	case VALUE_INTEGER:
		ret->len = number_format_int(v->integer, ret->room);
		break;
	case VALUE_REAL:
		ret->len = number_format_real(v->real, ret->room);
		break;
	case VALUE_TEXT:
		ret->data = v->bytes.data;
		ret->len = v->bytes.len;
		break;
	case VALUE_BLOB:
		n = v->bytes.len < BLOB_LOOK_MAX ? v->bytes.len : BLOB_LOOK_MAX;
		memcpy(ret->room, "\\x", 2);
		hex_format(v->bytes.data, n, ret->room + 2);
		ret->len = 2 + 2 * n;
		break;
	}
}

void name_text(struct buf *b, const struct value *v)
{
	const uint8_t *data = v->bytes.data;
	struct text text;
	char hex[2 * 256 + 1];

	if (v->type != VALUE_BLOB) {
		text_of(v, &text);
		buf_add(b, text.data, text.len);
		return;
	}
	buf_add(b, "\\x", 2);
	for (size_t i = 0, n; i < v->bytes.len && !buf_error(b); i += n) {
		n = v->bytes.len - i < 256 ? v->bytes.len - i : 256;
		hex_format(data + i, n, hex);
		buf_add(b, hex, 2 * n);
	}
}

/* The unit at s: its bytes, and whether they are to be escaped. */
static size_t next_unit(const uint8_t *s, size_t n, bool *ret_escape)
{
	size_t len = utf8_len(s, n);

	if (len == 1)
		*ret_escape = s[0] < 0x20 || s[0] == 0x7f || s[0] == '/' ||
			      s[0] == '%';
	else
		*ret_escape = len == 0 || (len == 2 && s[0] == 0xc2 &&
					   s[1] < 0xa0); /* C1 */
	return len ? len : 1;
}

/* A name in the making. */
struct writer {
	char text[NAME_BYTES_MAX + 1];
	size_t len;
	size_t cut;    /* where the label can be cut to make room for a hash */
	bool overflow; /* does not fit; nothing more is taken */
};

static void add_unit(struct writer *w, const uint8_t *s, size_t n, bool escape)
{
	char *p = w->text + w->len;

	if (w->overflow || (escape ? 3 * n : n) > NAME_BYTES_MAX - w->len) {
		w->overflow = true;
		return;
	}
	if (!escape) {
		memcpy(p, s, n);
		w->len += n;
		return;
	}
	for (size_t i = 0; i < n; i++) {
		*p++ = '%';
		*p++ = upper_digits[s[i] >> 4];
		*p++ = upper_digits[s[i] & 15];
	}
	w->len += 3 * n;
}

static void add_plain(struct writer *w, const char *s)
{
	add_unit(w, (const uint8_t *)s, strlen(s), false);
}

static bool is_dots(const char *s, size_t n)
{
	return (n == 1 && s[0] == '.') ||
	       (n == 2 && s[0] == '.' && s[1] == '.');
}

/* The one document that stands among directories of values. */
static bool is_document(const char *s, size_t n)
{
	static const char name[] = "SnapshotParams.json";

	return n == sizeof(name) - 1 && memcmp(s, name, n) == 0;
}

static void add_text(struct writer *w, const char *text, size_t n)
{
	const uint8_t *s = (const uint8_t *)text;
	bool dots = is_dots(text, n);
	bool document = is_document(text, n);
	bool escape;
	size_t len;

	if (n == 0)
		add_plain(w, "%");
	for (size_t i = 0; i < n && !w->overflow; i += len) {
		len = next_unit(s + i, n - i, &escape);
		add_unit(w, s + i, len, escape || dots || (document && i == 0));
		if (w->len <= CUT_MAX)
			w->cut = w->len;
	}
}

static bool is_hex(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!((s[i] >= '0' && s[i] <= '9') ||
		      (s[i] >= 'a' && s[i] <= 'f')))
			return false;
	}
	return true;
}

/* Whether a text would be taken for something else behind the separator. */
static bool is_ambiguous(const char *s, size_t n)
{
	if (n == 0)
		return false;
	if (s[0] == '\'')
		return true;
	if (n == HASH_DIGITS && is_hex(s, n))
		return true;
	if (n >= 2 && n % 2 == 0 && memcmp(s, "\\x", 2) == 0 &&
	    is_hex(s + 2, n - 2))
		return true;
	return number_parse(s, n, NULL, NULL) != NUMBER_NONE;
}

static void add_key(struct writer *w, const struct value *key)
{
	struct text text;
	bool quote;

	if (key->type == VALUE_NULL) {
		add_plain(w, "%null");
		return;
	}
	text_of(key, &text);
	if (text.len > NAME_BYTES_MAX) {
		w->overflow = true;
		return;
	}
	quote = key->type == VALUE_TEXT && is_ambiguous(text.data, text.len);
	if (quote)
		add_plain(w, "'");
	add_text(w, text.data, text.len);
	if (quote)
		add_plain(w, "'");
}

/* Storage class, length and text, so that no two pairs hash the same bytes. */
static int hash_value(struct sha256 *h, const struct value *v)
{
	uint8_t head[9];
	struct text text;
	const void *data;
	size_t n;
	int r;

	if (v->type == VALUE_BLOB) {
		data = v->bytes.data;
		n = v->bytes.len;
	} else {
		text_of(v, &text);
		data = text.data;
		n = text.len;
	}
	head[0] = (uint8_t)v->type;
	for (size_t i = 0; i < 8; i++)
		head[1 + i] = (uint8_t)((uint64_t)n >> 8 * i);
	r = sha256_add(h, head, sizeof(head));
	if (r < 0)
		return r;
	return sha256_add(h, data, n);
}

static int add_hash(struct writer *w, const struct value *label,
		    const struct value *key)
{
	CLEANUP(sha256_deinit) struct sha256 h = SHA256_NULL;
	uint8_t hash[SHA256_BYTES];
	char hex[HASH_DIGITS + 1];
	int r;

	r = sha256_init(&h);
	if (r < 0)
		return r;
	r = hash_value(&h, label);
	if (r == 0 && key)
		r = hash_value(&h, key);
	if (r == 0)
		r = sha256_end(&h, hash);
	if (r < 0)
		return r;
	hex_format(hash, HASH_DIGITS / 2, hex);
	w->len = w->cut;
	w->overflow = false;
	add_plain(w, SEPARATOR);
	add_plain(w, hex);
	return 0;
}

int name_make(const struct value *label, const struct value *key,
	      struct name *ret)
{
	struct writer w = {.len = 0};
	struct text text;
	size_t cut;
	int r;

	if (label->type == VALUE_NULL) {
		add_plain(&w, "%null");
	} else {
		text_of(label, &text);
		add_text(&w, text.data, text.len);
	}
	cut = w.len <= CUT_MAX ? w.len : w.cut;
	if (key && !w.overflow) {
		add_plain(&w, SEPARATOR);
		add_key(&w, key);
	}
	w.cut = cut;
	if (w.overflow) {
		r = add_hash(&w, label, key);
		if (r < 0)
			return r;
	}
	memcpy(ret->text, w.text, w.len);
	ret->text[w.len] = '\0';
	ret->len = w.len;
	return 0;
}

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Whether text, written again, is s: there is one way to write it. */
static bool is_canonical(const struct buf *text, const char *s, size_t n)
{
	struct writer w = {.len = 0};

	add_text(&w, text->data, text->len);
	return !w.overflow && w.len == n && memcmp(w.text, s, n) == 0;
}

static int decode(const char *s, size_t n, struct buf *ret)
{
	int high;
	int low;

	if (n == 0)
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		if (s[i] != '%') {
			buf_putc(ret, s[i]);
			continue;
		}
		if (n == 1) /* the empty text */
			break;
		high = n - i > 2 ? digit_value(s[i + 1]) : -1;
		low = n - i > 2 ? digit_value(s[i + 2]) : -1;
		if (high < 0 || low < 0)
			return -EINVAL;
		buf_putc(ret, (char)(high << 4 | low));
		i += 2;
	}
	if (buf_error(ret))
		return buf_error(ret);
	return is_canonical(ret, s, n) ? 0 : -EINVAL;
}

static bool is_null_name(const char *s, size_t n)
{
	return n == 5 && memcmp(s, "%null", 5) == 0;
}

/* false: reads as a number, but no number is written like that. */
static bool is_number_text(const struct buf *text)
{
	char room[NUMBER_BYTES_MAX];
	int64_t integer = 0;
	double real = 0.0;
	size_t n;

	switch (number_parse(text->data, text->len, &integer, &real)) {
	case NUMBER_INTEGER:
		n = number_format_int(integer, room);
		break;
	case NUMBER_REAL:
		n = number_format_real(real, room);
		break;
	case NUMBER_NONE:
	default:
		return true;
	}
	return n == text->len && memcmp(room, text->data, n) == 0;
}

static int parse_key(const char *s, size_t n, struct name_parts *ret)
{
	int r;

	if (n == HASH_DIGITS && is_hex(s, n)) {
		ret->form = NAME_HASHED;
		return 0;
	}
	ret->form = NAME_KEYED;
	ret->key_null = is_null_name(s, n);
	if (ret->key_null)
		return 0;
	if (n == 0 || s[0] != '\'') {
		r = decode(s, n, &ret->key);
		if (r < 0)
			return r;
		return is_number_text(&ret->key) ? 0 : -EINVAL;
	}
	if (n < 3 || s[n - 1] != '\'')
		return -EINVAL;
	r = decode(s + 1, n - 2, &ret->key);
	if (r < 0)
		return r;
	ret->key_quoted = true;
	return is_ambiguous(ret->key.data, ret->key.len) ? 0 : -EINVAL;
}

static int parse(const char *name, size_t len, struct name_parts *ret)
{
	const char *sep;
	size_t n = len;
	int r;

	if (len > NAME_BYTES_MAX)
		return -EINVAL;
	sep = memmem(name, len, SEPARATOR, 2);
	if (sep) {
		n = (size_t)(sep - name);
		r = parse_key(sep + 2, len - n - 2, ret);
		if (r < 0)
			return r;
	}
	if (ret->form == NAME_HASHED && n > CUT_MAX)
		return -EINVAL;
	/* Cut only where the next unit did not fit. */
	ret->label_cut = ret->form == NAME_HASHED && n > CUT_MAX - UNIT_MAX;
	ret->label_null = is_null_name(name, n);
	return ret->label_null ? 0 : decode(name, n, &ret->label);
}

int name_parse(const char *name, size_t len, struct name_parts *ret)
{
	CLEANUP(name_parts_deinit) struct name_parts parts = NAME_PARTS_NULL;
	int r;

	r = parse(name, len, &parts);
	if (r < 0)
		return r;
	name_parts_deinit(ret);
	*ret = parts;
	parts = (struct name_parts)NAME_PARTS_NULL;
	return 0;
}

void name_parts_deinit(struct name_parts *parts)
{
	buf_deinit(&parts->label);
	buf_deinit(&parts->key);
}
