/* SPDX-License-Identifier: MIT */
#include "outboxfs/format/deflate.h"

#include <assert.h>
#include <errno.h>
#include <isa-l/crc.h>
#include <isa-l/igzip_lib.h>

#define LEVEL           1
#define LEVEL_BUF_BYTES ISAL_DEF_LVL1_DEFAULT

struct deflater {
	struct isal_zstream stream;
	uint8_t level_buf[LEVEL_BUF_BYTES];
};

struct inflater {
	struct inflate_state state;
};

/* ISA-L takes its input without const, and does not write to it. */
static uint8_t *input(const void *data)
{
	return (uint8_t *)(uintptr_t)data;
}

uint32_t crc32_add(uint32_t crc, const void *data, size_t n)
{
	return n > 0 ? crc32_gzip_refl(crc, data, n) : crc;
}

int deflater_new(struct deflater **ret)
{
	struct deflater *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	isal_deflate_init(&d->stream);
	d->stream.level = LEVEL;
	d->stream.level_buf = d->level_buf;
	d->stream.level_buf_size = sizeof(d->level_buf);
	*ret = d;
	return 0;
}

struct deflater *deflater_free(struct deflater *d)
{
	free(d);
	return NULL;
}

/*
 * Each piece is a stream of its own as far as ISA-L knows. A full flush ends
 * on a byte with the history forgotten, just as a new stream begins, so the
 * pieces are one stream when they are put together.
 */
int deflate_piece(struct deflater *d, const void *data, size_t n, bool last,
		  struct buf *out)
{
	struct isal_zstream *s = &d->stream;

	assert(n <= DEFLATE_PIECE);
	if (n == 0 && !last)
		return 0;
	isal_deflate_reset(s);
	s->next_in = input(data);
	s->avail_in = (uint32_t)n;
	s->end_of_stream = last;
	s->flush = last ? NO_FLUSH : FULL_FLUSH;
	do {
		/* More than what does not compress takes: mostly one round. */
		size_t room = s->avail_in + s->avail_in / 1024 + 1024;
		char *p = buf_reserve(out, room);
		int r;

		if (!p)
			return buf_error(out);
		s->next_out = (uint8_t *)p;
		s->avail_out = (uint32_t)room;
		r = isal_deflate(s);
		assert(r == COMP_OK); /* only wrong parameters fail */
		out->len += room - s->avail_out;
	} while (s->avail_out == 0);
	return 0;
}

int inflater_new(struct inflater **ret)
{
	struct inflater *f = malloc(sizeof(*f));

	if (!f)
		return -ENOMEM;
	isal_inflate_init(&f->state);
	*ret = f;
	return 0;
}

struct inflater *inflater_free(struct inflater *f)
{
	free(f);
	return NULL;
}

/* Only the last piece has an end of its own; others end with their bytes. */
int inflate_piece(struct inflater *f, const void *data, size_t n, void *ret,
		  size_t size)
{
	struct inflate_state *s = &f->state;
	uint8_t none;
	int r;

	if (n == 0 || n > UINT32_MAX || size > UINT32_MAX)
		return -EBADMSG;
	isal_inflate_reset(s);
	s->next_in = input(data);
	s->avail_in = (uint32_t)n;
	s->next_out = size > 0 ? ret : &none;
	s->avail_out = (uint32_t)size;
	r = isal_inflate_stateless(s);
	if ((r != ISAL_DECOMP_OK && r != ISAL_END_INPUT) || s->avail_in > 0 ||
	    s->avail_out > 0)
		return -EBADMSG;
	return 0;
}
