/* SPDX-License-Identifier: MIT */
#include "outboxfs/base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

static _Atomic int log_level = LOG_LEVEL_NOTICE;

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&log_level, (int)level, memory_order_relaxed);
}

void log_print(enum log_level level, const char *fmt, ...)
{
	char line[1024];
	va_list args;
	size_t n;
	int r;

	if ((int)level > atomic_load_explicit(&log_level, memory_order_relaxed))
		return;
	r = isatty(STDERR_FILENO) ? snprintf(line, sizeof(line), "outboxfs: ")
				  : snprintf(line, sizeof(line), "<%d>", level);
	n = (size_t)r;
	va_start(args, fmt);
	r = vsnprintf(line + n, sizeof(line) - n - 1, fmt, args);
	va_end(args);
	if (r < 0)
		return;
	n += (size_t)r < sizeof(line) - n - 1 ? (size_t)r
					      : sizeof(line) - n - 2;
	line[n++] = '\n';
	/* A log that cannot be written has nobody to tell. */
	if (write(STDERR_FILENO, line, n) < 0)
		return;
}
