/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Values as names: one value, one path component, and back.
 *
 * A value's text (integers and reals as CSV writes them, text as it is, blobs
 * as \x and hex) is taken byte by byte; what a path cannot carry is written
 * as %XX with upper-case hex digits: '/', '%', control characters (C0, DEL,
 * and C1 as UTF-8), bytes that are not part of valid UTF-8 (RFC 3629), and
 * the dots of the names "." and "..", the first letter of
 * "SnapshotParams.json". The empty text is "%", NULL is "%null".
 *
 * A '%' in a name is thus always followed by two upper-case hex digits,
 * by "null", by '~', or, where it is all of a text, by the end of that text
 * (the name of an empty label is "%", with a key "%%~key"). What follows the
 * first "%~" tells values apart
 * that would otherwise share a name: the key of a row whose label is not
 * unique, or, where a name would be longer than 255 bytes, a hash.
 *
 * All functions are pure and may be called by any thread.
 */

#include "outboxfs/base/buf.h"
#include "outboxfs/base/value.h"

#define NAME_BYTES_MAX 255 /* NAME_MAX of Linux */

/* One component with its terminating NUL. */
struct name {
	char text[NAME_BYTES_MAX + 1];
	size_t len; /* bytes, without the NUL */
};

/* Appends the text of a value to b, unencoded; nothing for NULL. */
void name_text(struct buf *b, const struct value *v);

/*
 * Makes the name of a value. label is what the name shows. key is NULL where
 * the label alone is unique, or the value's key, which is then appended behind
 * "%~": as its encoded text, or, where that text could be taken for something
 * else (text that reads as a number or as \x and hex, that is 32 lower-case
 * hex digits as a hash is, or that begins with a single quote), between single
 * quotes; a NULL key is "%null".
 *
 * A name that would exceed 255 bytes is cut before a character (or escape)
 * that no longer fits, and ends in "%~" and 32 hex digits of the SHA-256 over
 * the storage classes, lengths and bytes of label and key (numbers: of their
 * text). Where only the key is too long, the label is whole.
 *
 * Returns 0, or -ENOMEM (libcrypto has none; never for names that fit).
 */
NODISCARD int name_make(const struct value *label, const struct value *key,
			struct name *ret);

/* How a name was made. */
enum name_form {
	NAME_PLAIN,  /* the label alone */
	NAME_KEYED,  /* label, "%~", key */
	NAME_HASHED, /* the beginning of the label, "%~", hash */
};

/*
 * Takes a name apart. text receives the decoded label (for NAME_HASHED, the
 * beginning of it), key the decoded text behind "%~" (NAME_KEYED only).
 * is_null tells "%null" from the empty text. The exact inverse of name_make()
 * as far as text goes; which storage class it had, the caller finds out by
 * making the names of the candidates and comparing.
 *
 * -EINVAL: no value has this name (an escape where none is needed, a bare
 * '%', "." or "..", invalid UTF-8, over 255 bytes, a key that is quoted
 * without need or should be). -ENOMEM.
 */
struct name_parts {
	enum name_form form;
	bool label_null;  /* label was "%null" */
	bool label_cut;   /* NAME_HASHED: label may go on; false: it is whole */
	bool key_null;    /* key was "%null" */
	bool key_quoted;  /* key stood between single quotes */
	struct buf label; /* owned; decoded */
	struct buf key;   /* owned; decoded, without quotes */
};

#define NAME_PARTS_NULL                            \
	{                                          \
		.label = BUF_NULL, .key = BUF_NULL \
	}

/* ret is NAME_PARTS_NULL or an earlier answer, whose buffers are freed. */
NODISCARD int name_parse(const char *name, size_t len, struct name_parts *ret);
void name_parts_deinit(struct name_parts *parts);
