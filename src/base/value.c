/* SPDX-License-Identifier: MIT */
#include "outboxfs/base/value.h"

#include <errno.h>
#include <string.h>

bool value_same(const struct value *a, const struct value *b)
{
	if (a->type != b->type)
		return false;
	switch (a->type) {
	case VALUE_NULL:
		return true;
	case VALUE_INTEGER:
		return a->integer == b->integer;
	case VALUE_REAL:
		return memcmp(&a->real, &b->real, sizeof(a->real)) == 0;
	case VALUE_TEXT:
	case VALUE_BLOB:
		return a->bytes.len == b->bytes.len &&
		       (a->bytes.len == 0 ||
			memcmp(a->bytes.data, b->bytes.data, a->bytes.len) ==
				0);
	}
	return false;
}

int value_copy(struct arena *arena, const struct value *v, struct value *ret)
{
	*ret = *v;
	if (v->type != VALUE_TEXT && v->type != VALUE_BLOB)
		return 0;
	ret->bytes.data = arena_strndup(
		arena, v->bytes.len ? v->bytes.data : "", v->bytes.len);
	return ret->bytes.data ? 0 : -ENOMEM;
}
