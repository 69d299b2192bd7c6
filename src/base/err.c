/* SPDX-License-Identifier: MIT */
#include "outboxfs/base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int err_set(struct err *err, int r, const char *fmt, ...)
{
	va_list args;

	if (!err)
		return r;
	va_start(args, fmt);
	(void)vsnprintf(err->text, sizeof(err->text), fmt, args);
	va_end(args);
	return r;
}

int err_prefix(struct err *err, int r, const char *fmt, ...)
{
	char old[sizeof(err->text)];
	va_list args;
	size_t n;

	if (!err)
		return r;
	memcpy(old, err_text(err, r), strlen(err_text(err, r)) + 1);
	va_start(args, fmt);
	(void)vsnprintf(err->text, sizeof(err->text), fmt, args);
	va_end(args);
	n = strlen(err->text);
	(void)snprintf(err->text + n, sizeof(err->text) - n, ": %s", old);
	return r;
}

const char *err_text(const struct err *err, int r)
{
	if (err && err->text[0])
		return err->text;
	return strerrordesc_np(r < 0 ? -r : r);
}
