/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A growing byte buffer. Writers append and ask once at the end whether it
 * went well: an append that fails (no memory, or more than the maximum) makes
 * the buffer "failed", drops what follows, and buf_error() says why. So hot
 * loops need no check per append, and no caller sees half a text as whole.
 *
 * One thread at a time.
 */

#include <stdbool.h>
#include <string.h>

#include "outboxfs/base/defs.h"

struct buf {
	char *data; /* owned; NUL-terminated by buf_str() only */
	size_t len; /* bytes in use */
	size_t cap; /* len may grow to this; one more byte is allocated */
	size_t max; /* cap never exceeds this */
	int error;  /* 0, or the negative errno of the first failure */
};

#define BUF_MAX ((size_t)1 << 30)
#define BUF_INIT(m)                      \
	{                                \
		.data = NULL, .max = (m) \
	}
#define BUF_NULL BUF_INIT(BUF_MAX)

/* Frees what it holds and makes it empty again; the maximum stays. */
void buf_deinit(struct buf *b);

/* Empties it, keeps the memory, forgets an error. */
void buf_clear(struct buf *b);

/*
 * Makes room for n more bytes and returns where to put them; the caller then
 * adds to len what it used. NULL: the buffer has failed.
 */
char *buf_reserve_slow(struct buf *b, size_t n);

static inline char *buf_reserve(struct buf *b, size_t n)
{
	if (b->cap - b->len >= n)
		return b->data + b->len;
	return buf_reserve_slow(b, n);
}

static inline void buf_add(struct buf *b, const void *data, size_t n)
{
	char *p;

	if (n == 0)
		return;
	p = buf_reserve(b, n);
	if (!p)
		return;
	memcpy(p, data, n);
	b->len += n;
}

static inline void buf_putc(struct buf *b, char c)
{
	char *p = buf_reserve(b, 1);

	if (!p)
		return;
	*p = c;
	b->len++;
}

static inline void buf_puts(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

void buf_printf(struct buf *b, const char *fmt, ...) PRINTF(2, 3);

/* The text with a NUL behind it, borrowed; "" when empty, NULL when failed. */
const char *buf_str(struct buf *b);

/* Hands the NUL-terminated text to the caller, who frees it; NULL: failed. */
char *buf_steal(struct buf *b);

/* 0, or the negative errno (-ENOMEM, -EFBIG) of the first failed append. */
static inline int buf_error(const struct buf *b)
{
	return b->error;
}
