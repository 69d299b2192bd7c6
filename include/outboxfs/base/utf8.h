/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>

#include "outboxfs/base/defs.h"

/*
 * Bytes of the UTF-8 character (RFC 3629: shortest form, no surrogates, up to
 * U+10FFFF) that begins at s, which has n > 0 bytes; 0: none does.
 */
static inline size_t utf8_len(const uint8_t *s, size_t n)
{
	size_t len;

	if (s[0] < 0x80)
		return 1;
	if (s[0] < 0xc2 || s[0] > 0xf4)
		return 0;
	len = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
	if (n < len)
		return 0;
	for (size_t i = 1; i < len; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	}
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xf0 && s[1] < 0x90))
		return 0; /* longer than it need be */
	if (s[0] == 0xed && s[1] > 0x9f)
		return 0; /* surrogate */
	if (s[0] == 0xf4 && s[1] > 0x8f)
		return 0; /* above U+10FFFF */
	return len;
}

static inline bool utf8_is_valid(const void *data, size_t n)
{
	const uint8_t *s = data;

	for (size_t i = 0, len; i < n; i += len) {
		len = utf8_len(s + i, n - i);
		if (len == 0)
			return false;
	}
	return true;
}
