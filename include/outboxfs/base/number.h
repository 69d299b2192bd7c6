/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Numbers to text and back. Pure functions; any thread.
 */

#include "outboxfs/base/defs.h"

#define NUMBER_BYTES_MAX 40 /* room that every formatter here wants */

/* Decimal digits of v, no NUL; returns how many bytes were written. */
size_t number_format_int(int64_t v, char ret[NUMBER_BYTES_MAX]);

/*
 * The shortest decimal text that reads back to the same double (ties to even,
 * as strtod), always with a point or an exponent so that it reads back as a
 * real: 1.0, 0.1, -0.0, 1e+22 is written 1.0e22, the smallest is 5.0e-324.
 * Plain notation for 1e-5 <= |v| < 1e16, else d.ddde[-]xx. Infinity, which
 * has no digits, is 1.0e999 or -1.0e999: strtod and SQLite read it back as
 * infinity. NaN cannot be stored by SQLite; it is written as 0.0.
 *
 * Two ways, same result: a value with up to six decimals is found by one
 * multiplication and one division, exact below 1e15; any other by Schubfach
 * (R. Giulietti, "The Schubfach way to render doubles", 2020).
 *
 * No NUL; returns how many bytes were written.
 */
size_t number_format_real(double v, char ret[NUMBER_BYTES_MAX]);

enum number_kind {
	NUMBER_NONE,    /* not a number as a whole */
	NUMBER_INTEGER, /* [+-]digits, fits int64_t */
	NUMBER_REAL,    /* has a point or exponent, or does not fit */
};

/*
 * Reads all n bytes as a decimal number in the syntax of SQLite's literals
 * with an optional sign (no spaces, no hex, no "inf" or "nan"). Reals are
 * rounded correctly whatever their length; too large is infinity. Only the
 * result that belongs to the answer is written; NULL: not wanted. Does not
 * look at the locale, keeps errno.
 */
enum number_kind number_parse(const char *s, size_t n, int64_t *ret_int,
			      double *ret_real);
