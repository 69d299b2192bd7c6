/* SPDX-License-Identifier: MIT */

/*
 * Names, both ways. What parses is the name of the value that its parts say;
 * what is made of any two values parses to their texts.
 */

#include <assert.h>

#include "outboxfs/base/name.h"
#include "outboxfs/base/number.h"

#include "fuzz.h"

static struct value bytes_value(enum value_type type, const void *s, size_t n)
{
	return (struct value){
		.type = type,
		.bytes = {.data = n ? s : "", .len = n},
	};
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The bytes of \x and hex into room; false: it is something else. */
static bool blob_value(const struct buf *text, uint8_t *room, struct value *ret)
{
	if (text->len < 2 || text->len % 2 || memcmp(text->data, "\\x", 2) != 0)
		return false;
	for (size_t i = 2; i < text->len; i += 2) {
		int high = hex_value(text->data[i]);
		int low = hex_value(text->data[i + 1]);

		if (high < 0 || low < 0)
			return false;
		room[i / 2 - 1] = (uint8_t)(high << 4 | low);
	}
	*ret = bytes_value(VALUE_BLOB, room, text->len / 2 - 1);
	return true;
}

/* The key that a parsed name stands for. */
static struct value key_value(const struct name_parts *parts, uint8_t *room)
{
	const struct buf *text = &parts->key;
	struct value v = {.type = VALUE_NULL};

	if (parts->key_null)
		return v;
	if (!parts->key_quoted) {
		switch (number_parse(text->data, text->len, &v.integer,
				     &v.real)) {
		case NUMBER_INTEGER:
			v.type = VALUE_INTEGER;
			return v;
		case NUMBER_REAL:
			v.type = VALUE_REAL;
			return v;
		case NUMBER_NONE:
			break;
		}
		if (blob_value(text, room, &v))
			return v;
	}
	return bytes_value(VALUE_TEXT, text->data, text->len);
}

static void check_parse(const char *s, size_t n)
{
	CLEANUP(name_parts_deinit) struct name_parts parts = NAME_PARTS_NULL;
	uint8_t room[NAME_BYTES_MAX];
	struct value label = {.type = VALUE_NULL};
	struct value key;
	struct name name;

	if (name_parse(s, n, &parts) < 0 || parts.form == NAME_HASHED)
		return;
	if (!parts.label_null)
		label = bytes_value(VALUE_TEXT, parts.label.data,
				    parts.label.len);
	key = key_value(&parts, room);
	assert(name_make(&label, parts.form == NAME_KEYED ? &key : NULL,
			 &name) == 0);
	assert(name.len == n && memcmp(name.text, s, n) == 0);
}

static void assert_text(const struct buf *text, const struct value *v,
			bool is_null)
{
	CLEANUP(buf_deinit) struct buf expected = BUF_NULL;

	name_text(&expected, v);
	assert(is_null == (v->type == VALUE_NULL));
	assert(text->len == expected.len);
	assert(text->len == 0 ||
	       memcmp(text->data, expected.data, text->len) == 0);
}

static void check_make(const struct value *label, const struct value *key)
{
	CLEANUP(name_parts_deinit) struct name_parts parts = NAME_PARTS_NULL;
	struct name name;

	assert(name_make(label, key, &name) == 0);
	assert(name.len > 0 && name.len <= NAME_BYTES_MAX);
	assert(strlen(name.text) == name.len && !strchr(name.text, '/'));
	assert(strcmp(name.text, ".") != 0 && strcmp(name.text, "..") != 0);
	assert(name_parse(name.text, name.len, &parts) == 0);
	if (parts.form == NAME_HASHED)
		return;
	assert(parts.form == (key ? NAME_KEYED : NAME_PLAIN));
	assert_text(&parts.label, label, parts.label_null);
	if (key)
		assert_text(&parts.key, key, parts.key_null);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const struct value null = {.type = VALUE_NULL};
	enum value_type types[2];
	struct value label;
	struct value key;
	size_t half;

	check_parse((const char *)data, n);
	if (n < 2)
		return 0;
	half = data[1] < n - 2 ? data[1] : n - 2;
	types[0] = data[0] & 1 ? VALUE_BLOB : VALUE_TEXT;
	types[1] = data[0] & 2 ? VALUE_BLOB : VALUE_TEXT;
	label = bytes_value(types[0], data + 2, half);
	key = bytes_value(types[1], data + 2 + half, n - 2 - half);
	check_make(&label, NULL);
	check_make(&label, &key);
	check_make(&null, &key);
	check_make(&label, &null);
	return 0;
}
