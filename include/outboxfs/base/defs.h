/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The small vocabulary that every file uses: attributes, cleanup, ownership.
 *
 * An owned local is declared with its cleanup and an empty value in one line:
 *
 *	CLEANUP(close_fd) int fd = -1;
 *
 * and leaves its scope by TAKE_PTR()/take_fd() when it is handed on. Cleanup
 * functions keep errno and accept the empty value.
 */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define CLEANUP(func)     __attribute__((cleanup(func)))
#define NODISCARD         __attribute__((warn_unused_result))
#define PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define UNUSED            __attribute__((unused))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define TAKE_PTR(p)                          \
	({                                   \
		__typeof__(p) *_take = &(p); \
		__typeof__(p) _val = *_take; \
		*_take = NULL;               \
		_val;                        \
	})

/* Defines name_freep() for CLEANUP() from a destructor type *name_free(). */
#define DEFINE_FREEP(name)                               \
	static inline void name##_freep(struct name **p) \
	{                                                \
		if (*p)                                  \
			*p = name##_free(*p);            \
	}

/* For CLEANUP() on anything that came from malloc(). */
static inline void freep(void *p)
{
	void **ptr = p;

	free(*ptr);
	*ptr = NULL;
}

void close_fd(int *fd); /* closes unless negative; keeps errno */

static inline int take_fd(int *fd)
{
	int val = *fd;

	*fd = -1;
	return val;
}

/* Times. Wall times are Unix times; they are never used to measure. */
typedef int64_t wall_s_t;  /* seconds since 1970, UTC */
typedef int64_t mono_us_t; /* CLOCK_MONOTONIC, microseconds */
