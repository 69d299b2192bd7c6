/* SPDX-License-Identifier: MIT */
#include "outboxfs/format/json.h"

#include <assert.h>

#include "outboxfs/base/number.h"
#include "outboxfs/base/utf8.h"

static bool in_object(const struct json *j)
{
	return j->depth > 0 && (j->is_object >> (j->depth - 1) & 1);
}

static void put_line(struct json *j)
{
	size_t n = 2 * (size_t)j->depth;
	char *p = buf_reserve(j->b, 1 + n);

	if (!p)
		return;
	*p = '\n';
	memset(p + 1, ' ', n);
	j->b->len += 1 + n;
}

/* What stands between a value (or key) and what was written before it. */
static void put_separator(struct json *j)
{
	if (j->has_member)
		buf_putc(j->b, ',');
	if (j->depth > 0)
		put_line(j);
	j->has_member = true;
}

static void begin_value(struct json *j)
{
	if (in_object(j)) {
		assert(j->has_key);
		j->has_key = false;
		return;
	}
	assert(j->depth > 0 || !j->has_member);
	put_separator(j);
}

static void begin_level(struct json *j, bool is_object)
{
	begin_value(j);
	assert(j->depth < JSON_DEPTH_MAX);
	j->is_object &= ~((uint64_t)1 << j->depth);
	j->is_object |= (uint64_t)is_object << j->depth;
	j->depth++;
	j->has_member = false;
	buf_putc(j->b, is_object ? '{' : '[');
}

static void end_level(struct json *j, bool is_object)
{
	assert(j->depth > 0 && in_object(j) == is_object && !j->has_key);
	j->depth--;
	if (j->has_member)
		put_line(j);
	j->has_member = true;
	buf_putc(j->b, is_object ? '}' : ']');
}

void json_begin_object(struct json *j)
{
	begin_level(j, true);
}

void json_end_object(struct json *j)
{
	end_level(j, true);
}

void json_begin_array(struct json *j)
{
	begin_level(j, false);
}

void json_end_array(struct json *j)
{
	end_level(j, false);
}

void json_end_document(struct json *j)
{
	assert(j->depth == 0 && j->has_member);
	buf_putc(j->b, '\n');
	j->has_member = false;
}

static void put_escape(struct buf *b, uint8_t c)
{
	static const char digits[] = "0123456789abcdef";
	static const char letters[0x20] = {
		['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n',
		['\f'] = 'f', ['\r'] = 'r',
	};
	char letter = c < 0x20 ? letters[c] : (char)c;

	buf_putc(b, '\\');
	if (letter) {
		buf_putc(b, letter);
		return;
	}
	buf_add(b, "u00", 3);
	buf_putc(b, digits[c >> 4]);
	buf_putc(b, digits[c & 15]);
}

static void put_string(struct buf *b, const char *text, size_t n)
{
	const uint8_t *s = (const uint8_t *)text;
	size_t start = 0;
	size_t len;

	buf_putc(b, '"');
	for (size_t i = 0; i < n; i += len) {
		len = utf8_len(s + i, n - i);
		if (len > 1 ||
		    (len == 1 && s[i] >= 0x20 && s[i] != '"' && s[i] != '\\'))
			continue;
		buf_add(b, s + start, i - start);
		if (len == 0)
			buf_add(b, "\xef\xbf\xbd", 3);
		else
			put_escape(b, s[i]);
		len = 1;
		start = i + 1;
	}
	if (n > start) /* s may be NULL */
		buf_add(b, s + start, n - start);
	buf_putc(b, '"');
}

void json_key(struct json *j, const char *key)
{
	assert(in_object(j) && !j->has_key);
	put_separator(j);
	put_string(j->b, key, strlen(key));
	buf_add(j->b, ": ", 2);
	j->has_key = true;
}

void json_string(struct json *j, const char *s, size_t n)
{
	begin_value(j);
	put_string(j->b, s, n);
}

void json_int(struct json *j, int64_t v)
{
	char text[NUMBER_BYTES_MAX];

	begin_value(j);
	buf_add(j->b, text, number_format_int(v, text));
}

void json_real(struct json *j, double v)
{
	char text[NUMBER_BYTES_MAX];

	begin_value(j);
	buf_add(j->b, text, number_format_real(v, text));
}

void json_boolean(struct json *j, bool v)
{
	begin_value(j);
	buf_puts(j->b, v ? "true" : "false");
}

void json_null(struct json *j)
{
	begin_value(j);
	buf_puts(j->b, "null");
}

/* One to three bytes as four characters. */
static void put_base64(char *p, const uint8_t *s, size_t n)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				     "abcdefghijklmnopqrstuvwxyz"
				     "0123456789+/";
	uint32_t v = (uint32_t)s[0] << 16;

	if (n > 1)
		v |= (uint32_t)s[1] << 8;
	if (n > 2)
		v |= s[2];
	p[0] = digits[v >> 18];
	p[1] = digits[v >> 12 & 63];
	p[2] = n > 1 ? digits[v >> 6 & 63] : '=';
	p[3] = n > 2 ? digits[v & 63] : '=';
}

void json_blob(struct json *j, const void *data, size_t n)
{
	const uint8_t *s = data;
	char *p;

	begin_value(j);
	buf_putc(j->b, '"');
	for (size_t i = 0; i < n; i += 3) {
		p = buf_reserve(j->b, 4);
		if (!p)
			return;
		put_base64(p, s + i, n - i);
		j->b->len += 4;
	}
	buf_putc(j->b, '"');
}

void json_value(struct json *j, const struct value *v)
{
	switch (v->type) {
	case VALUE_NULL:
		json_null(j);
		break;
	case VALUE_INTEGER:
		json_int(j, v->integer);
		break;
	case VALUE_REAL:
		json_real(j, v->real);
		break;
	case VALUE_TEXT:
		json_string(j, v->bytes.data, v->bytes.len);
		break;
	case VALUE_BLOB:
		json_blob(j, v->bytes.data, v->bytes.len);
		break;
	}
}
