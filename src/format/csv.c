/* SPDX-License-Identifier: MIT */
#include "outboxfs/format/csv.h"

#include "outboxfs/base/number.h"

#include "csv-scan.h"

void csv_put_int(struct buf *b, int64_t v)
{
	char *p = buf_reserve(b, NUMBER_BYTES_MAX);

	if (p)
		b->len += number_format_int(v, p);
}

void csv_put_real(struct buf *b, double v)
{
	char *p = buf_reserve(b, NUMBER_BYTES_MAX);

	if (p)
		b->len += number_format_real(v, p);
}

void csv_put_blob(struct buf *b, const void *data, size_t n)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *s = data;
	char *p;

	/* A size that does not exist, rather than one that has wrapped. */
	p = buf_reserve(b, n < SIZE_MAX / 4 ? 2 + 2 * n : SIZE_MAX);
	if (!p)
		return;
	*p++ = '\\';
	*p++ = 'x';
	for (size_t i = 0; i < n; i++) {
		*p++ = digits[s[i] >> 4];
		*p++ = digits[s[i] & 15];
	}
	b->len += 2 + 2 * n;
}

/*
 * Copies n bytes unless one of them is special: false, and what is behind p
 * does not matter. The last word overlaps the one before it, so that the fields
 * that most rows are made of cost two loads and two stores and no call.
 */
static inline bool copy_plain(char *p, const char *s, size_t n)
{
	uint64_t word;
	uint32_t half[2];

	if (n >= 8) {
		for (size_t i = 0; i + 8 < n; i += 8) {
			memcpy(&word, s + i, 8);
			if (csv_word_special(word))
				return false;
			memcpy(p + i, &word, 8);
		}
		memcpy(&word, s + n - 8, 8);
		memcpy(p + n - 8, &word, 8);
		return !csv_word_special(word);
	}
	if (n >= 4) {
		memcpy(&half[0], s, 4);
		memcpy(&half[1], s + n - 4, 4);
		memcpy(p, &half[0], 4);
		memcpy(p + n - 4, &half[1], 4);
		return !csv_word_special((uint64_t)half[0] << 32 | half[1]);
	}
	for (size_t i = 0; i < n; i++) {
		if (csv_is_special(s[i]))
			return false;
		p[i] = s[i];
	}
	return true;
}

static bool reads_as_number(const char *s, size_t n)
{
	if ((s[0] < '0' || s[0] > '9') && s[0] != '-' && s[0] != '+' &&
	    s[0] != '.')
		return false;
	return number_parse(s, n, NULL, NULL) != NUMBER_NONE;
}

static void put_quoted(struct buf *b, const char *s, size_t n)
{
	const char *quote;
	size_t piece;

	buf_putc(b, '"');
	while (n > 0) { /* or s is NULL */
		quote = memchr(s, '"', n);
		piece = quote ? (size_t)(quote + 1 - s) : n;
		buf_add(b, s, piece);
		if (quote)
			buf_putc(b, '"');
		s += piece;
		n -= piece;
	}
	buf_putc(b, '"');
}

void csv_put_text(struct buf *b, const char *s, size_t n,
		  enum affinity affinity)
{
	bool plain = n > 0 && !(n >= 2 && s[0] == '\\' && s[1] == 'x') &&
		     !(affinity != AFFINITY_TEXT && reads_as_number(s, n));
	char *p;

	if (plain) {
		p = buf_reserve(b, n);
		if (!p)
			return;
		plain = copy_plain(p, s, n);
	}
	if (plain)
		b->len += n;
	else
		put_quoted(b, s, n);
}

void csv_put_name(struct buf *b, const char *name)
{
	size_t n = strlen(name);

	/* The reader would drop a byte order mark that begins the file. */
	if (n >= 3 && memcmp(name, "\xef\xbb\xbf", 3) == 0)
		put_quoted(b, name, n);
	else
		csv_put_text(b, name, n, AFFINITY_TEXT);
}

void csv_put(struct buf *b, const struct value *v, enum affinity affinity)
{
	switch (v->type) {
	case VALUE_NULL:
		break;
	case VALUE_INTEGER:
		csv_put_int(b, v->integer);
		break;
	case VALUE_REAL:
		csv_put_real(b, v->real);
		break;
	case VALUE_TEXT:
		csv_put_text(b, v->bytes.data, v->bytes.len, affinity);
		break;
	case VALUE_BLOB:
		csv_put_blob(b, v->bytes.data, v->bytes.len);
		break;
	}
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

/* Whether s is \x and lower-case hex; if so its bytes are added to ret. */
static bool decode_blob(const char *s, size_t n, struct buf *ret)
{
	int high;
	int low;
	char *p;

	if (n < 2 || n % 2 != 0 || s[0] != '\\' || s[1] != 'x')
		return false;
	p = buf_reserve(ret, n / 2);
	if (!p)
		return true; /* says buf_error() */
	for (size_t i = 2; i < n; i += 2) {
		high = hex_value(s[i]);
		low = hex_value(s[i + 1]);
		if (high < 0 || low < 0)
			return false;
		*p++ = (char)(high << 4 | low);
	}
	ret->len += n / 2 - 1;
	return true;
}

static void set_bytes(struct value *v, enum value_type type, const void *data,
		      size_t n)
{
	v->type = type;
	v->bytes.data = data;
	v->bytes.len = n;
}

int csv_value(const struct csv_field *field, enum affinity affinity,
	      struct buf *scratch, struct value *ret)
{
	enum number_kind kind = NUMBER_NONE;
	struct value v = {.type = VALUE_NULL};
	int64_t integer = 0;
	double real = 0.0;

	buf_clear(scratch);
	if (!field->quoted && affinity != AFFINITY_TEXT)
		kind = number_parse(field->data, field->len, &integer, &real);
	if (kind == NUMBER_INTEGER) {
		v.type = VALUE_INTEGER;
		v.integer = integer;
	} else if (kind == NUMBER_REAL) {
		v.type = VALUE_REAL;
		v.real = real;
	} else if (field->quoted) {
		set_bytes(&v, VALUE_TEXT, field->data, field->len);
	} else if (decode_blob(field->data, field->len, scratch)) {
		set_bytes(&v, VALUE_BLOB, scratch->data, scratch->len);
	} else if (field->len > 0) {
		set_bytes(&v, VALUE_TEXT, field->data, field->len);
	}
	if (buf_error(scratch))
		return buf_error(scratch);
	*ret = v;
	return 0;
}
