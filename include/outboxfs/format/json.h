/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A JSON writer (RFC 8259) into a struct buf: two spaces a level, one member a
 * line, empty objects and arrays as {} and []. The same calls always give the
 * same bytes.
 *
 * Strings are UTF-8. Quote, backslash and C0 controls are escaped, nothing
 * else is; each byte that is not part of valid UTF-8 (RFC 3629) becomes
 * U+FFFD, since JSON has no way to carry it. Whoever needs those bytes back
 * reads the CSV, or stores a blob.
 *
 * Calls out of order (a value without its key, an end without its begin, more
 * than JSON_DEPTH_MAX levels) are bugs and asserted. That memory was short
 * says buf_error(), once, at the end.
 *
 * One thread at a time.
 */

#include <stdbool.h>

#include "outboxfs/base/buf.h"
#include "outboxfs/base/value.h"

#define JSON_DEPTH_MAX 64

struct json {
	struct buf *b;      /* borrowed */
	unsigned depth;     /* open objects and arrays */
	uint64_t is_object; /* bit i: level i is an object */
	bool has_member;    /* in the innermost level */
	bool has_key;       /* a key was written, its value was not */
};

#define JSON_INIT(buf)     \
	{                  \
		.b = (buf) \
	}

void json_begin_object(struct json *j);
void json_end_object(struct json *j);
void json_begin_array(struct json *j);
void json_end_array(struct json *j);

/* Ends the line behind the outermost value; the next may then begin. */
void json_end_document(struct json *j);

void json_key(struct json *j, const char *key);

void json_string(struct json *j, const char *s, size_t n);
void json_int(struct json *j, int64_t v);
/* number_format_real(): 1.0, 1.0e999 for infinity; NaN cannot be stored. */
void json_real(struct json *j, double v);
void json_boolean(struct json *j, bool v);
void json_null(struct json *j);
/* base64 (RFC 4648, 4) with its padding */
void json_blob(struct json *j, const void *data, size_t n);

/* A value of a table: null, a number, a string, or a blob in base64. */
void json_value(struct json *j, const struct value *v);

static inline void json_key_string(struct json *j, const char *key,
				   const char *s)
{
	json_key(j, key);
	json_string(j, s, strlen(s));
}

static inline void json_key_int(struct json *j, const char *key, int64_t v)
{
	json_key(j, key);
	json_int(j, v);
}

static inline void json_key_real(struct json *j, const char *key, double v)
{
	json_key(j, key);
	json_real(j, v);
}

static inline void json_key_boolean(struct json *j, const char *key, bool v)
{
	json_key(j, key);
	json_boolean(j, v);
}

static inline void json_key_null(struct json *j, const char *key)
{
	json_key(j, key);
	json_null(j);
}

static inline void json_key_value(struct json *j, const char *key,
				  const struct value *v)
{
	json_key(j, key);
	json_value(j, v);
}
