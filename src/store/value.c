/* SPDX-License-Identifier: MIT */

/*
 * A value as bytes: its type, then eight bytes big-endian for numbers, or the
 * bytes themselves. So values are equal exactly if their bytes are. 1 and 1.0
 * are equal, as they are in a database: both are written as the integer.
 */

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "store/private.h"

/* The integer that a real equals exactly, if there is one. */
static struct value plain_number(const struct value *v)
{
	const double limit = 9223372036854775808.0; /* 2^63 */
	struct value integer = {.type = VALUE_INTEGER};

	if (v->type != VALUE_REAL || !(v->real >= -limit && v->real < limit))
		return *v;
	integer.integer = (int64_t)v->real;
	return (double)integer.integer == v->real ? integer : *v;
}

int value_encode(const struct value *value, struct buf *ret)
{
	const struct value plain = plain_number(value);
	const struct value *v = &plain;
	uint64_t bits = 0;

	buf_putc(ret, (char)v->type);
	switch (v->type) {
	case VALUE_NULL:
		break;
	case VALUE_INTEGER:
	case VALUE_REAL:
		memcpy(&bits, &v->integer, sizeof(bits));
		bits = htobe64(bits);
		buf_add(ret, &bits, sizeof(bits));
		break;
	case VALUE_TEXT:
	case VALUE_BLOB:
		buf_add(ret, v->bytes.data, v->bytes.len);
		break;
	}
	return buf_error(ret);
}

static int decode_number(const uint8_t *p, size_t n, struct value *ret)
{
	uint64_t bits;

	if (n != sizeof(bits))
		return -EBADMSG;
	memcpy(&bits, p, sizeof(bits));
	bits = be64toh(bits);
	ret->type = (enum value_type)p[-1];
	memcpy(&ret->integer, &bits, sizeof(bits));
	return 0;
}

int value_decode(const void *data, size_t n, struct value *ret)
{
	const uint8_t *p = data;

	if (n == 0)
		return -EBADMSG;
	switch (p[0]) {
	case VALUE_NULL:
		*ret = (struct value){.type = VALUE_NULL};
		return n == 1 ? 0 : -EBADMSG;
	case VALUE_INTEGER:
	case VALUE_REAL:
		return decode_number(p + 1, n - 1, ret);
	case VALUE_TEXT:
	case VALUE_BLOB:
		ret->type = (enum value_type)p[0];
		ret->bytes.data = p + 1;
		ret->bytes.len = n - 1;
		return 0;
	default:
		return -EBADMSG;
	}
}
