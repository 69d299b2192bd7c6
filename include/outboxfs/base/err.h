/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * How things fail, everywhere in outboxfs:
 *
 * A function that can fail returns int: 0, or a positive outcome that its
 * comment names, or a negative errno. Callers never tell errors apart by
 * text. Codes of libraries become errno once, where the library is called
 * (db_errno() for SQLite).
 *
 * Where a person will read the reason, a struct err travels beside the code:
 * the first who knows the reason writes it, and whoever stops the error
 * prints or logs it. There is no global "last error".
 *
 * Text is lower case, without a full stop; names are in single quotes; it
 * says what failed, on what, and what to do about it.
 */

#include "outboxfs/base/defs.h"

struct err {
	char text[512]; /* empty: nobody has said anything yet */
};

#define ERR_NULL           \
	{                  \
		.text = "" \
	}

/*
 * Writes the reason (unless err is NULL) and returns r, so that a failing
 * function can end in one line. Text that does not fit is cut.
 */
int err_set(struct err *err, int r, const char *fmt, ...) PRINTF(3, 4);

/* Puts "prefix: " before a reason that is there; returns r. */
int err_prefix(struct err *err, int r, const char *fmt, ...) PRINTF(3, 4);

/* The reason, or the text of errno -r where nobody has said anything. */
const char *err_text(const struct err *err, int r);
