/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Where is the first byte that means something to CSV? The one question that
 * both the writer and the reader ask of every field. Eight bytes at a time, in
 * plain C: a word has a zero byte where (w - 01..01) & ~w & 80..80 is not 0.
 */

#include <stdbool.h>
#include <string.h>

#include "outboxfs/base/defs.h"

static inline bool csv_is_special(char c)
{
	return c == ',' || c == '"' || c == '\n' || c == '\r';
}

/* Whether one of the eight bytes is special. */
static inline bool csv_word_special(uint64_t w)
{
	const uint64_t ones = 0x0101010101010101;
	uint64_t comma = w ^ ones * ',';
	uint64_t quote = w ^ ones * '"';
	uint64_t lf = w ^ ones * '\n';
	uint64_t cr = w ^ ones * '\r';
	uint64_t zero = ((comma - ones) & ~comma) | ((quote - ones) & ~quote) |
			((lf - ones) & ~lf) | ((cr - ones) & ~cr);

	return zero & ones << 7;
}

/* The first special byte of s, or end. */
static inline const char *csv_scan(const char *s, const char *end)
{
	uint64_t w;

	for (; end - s >= 8; s += 8) {
		memcpy(&w, s, 8);
		if (csv_word_special(w))
			break;
	}
	while (s < end && !csv_is_special(*s))
		s++;
	return s;
}
