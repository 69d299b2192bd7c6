/* SPDX-License-Identifier: MIT */
#include "outboxfs/base/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

void buf_deinit(struct buf *b)
{
	free(b->data);
	*b = (struct buf)BUF_INIT(b->max);
}

void buf_clear(struct buf *b)
{
	b->len = 0;
	b->error = 0;
}

/* Nothing more is appended: a failed buffer is full. */
static char *fail(struct buf *b, int r)
{
	if (b->error == 0)
		b->error = r;
	b->cap = b->len;
	return NULL;
}

/*
 * The capacity never exceeds the maximum, so that buf_reserve() need not look
 * at it; the byte behind it is for the NUL.
 */
char *buf_reserve_slow(struct buf *b, size_t n)
{
	size_t cap;
	char *data;

	if (b->error)
		return NULL;
	if (n > b->max - b->len)
		return fail(b, -EFBIG);

	cap = b->cap ? b->cap : 64;
	while (cap - b->len < n && cap < b->max / 2)
		cap *= 2;
	if (cap - b->len < n || cap > b->max)
		cap = b->max;
	data = realloc(b->data, cap + 1);
	if (!data)
		return fail(b, -ENOMEM);
	b->data = data;
	b->cap = cap;
	return data + b->len;
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list args;
	char *p;
	int n;

	va_start(args, fmt);
	n = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	if (n < 0) {
		(void)fail(b, -EINVAL);
		return;
	}
	p = buf_reserve(b, (size_t)n);
	if (!p || n == 0) /* without data there is no room for the NUL */
		return;
	va_start(args, fmt);
	(void)vsnprintf(p, (size_t)n + 1, fmt, args); /* measured above */
	va_end(args);
	b->len += (size_t)n;
}

const char *buf_str(struct buf *b)
{
	if (b->error || (!b->data && !buf_reserve_slow(b, 0)))
		return NULL;
	b->data[b->len] = '\0';
	return b->data;
}

char *buf_steal(struct buf *b)
{
	char *data = NULL;

	if (buf_str(b)) {
		data = b->data;
		b->data = NULL;
	}
	buf_deinit(b);
	return data;
}
