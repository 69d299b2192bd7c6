/* SPDX-License-Identifier: MIT */
#include "outboxfs/format/zip-layout.h"

#include <assert.h>
#include <errno.h>

/*
 * Section numbers are those of APPNOTE.TXT 6.3.9. The file is
 *
 *	(local header, bytes) of each entry
 *	central directory: a header of each entry
 *	tail: ZIP64 end and its locator, where they are wanted; the end
 *
 * An entry knows where both of its headers begin. What lies between is made
 * by the functions emit_…, which are asked for all of a part and copy only
 * what of it was wanted.
 */

#define MAX16 UINT16_MAX
#define MAX32 UINT32_MAX

#define LOCAL_BYTES   30
#define CENTRAL_BYTES 46
#define UT_BYTES      9
#define TAIL_MAX      (56 + 20 + 22)

#define VERSION_MADE    (3 << 8 | 63) /* Unix, 6.3 */
#define VERSION_DEFLATE 20
#define VERSION_ZIP64   45
#define FLAG_UTF8       (1 << 11)
#define ATTR_FILE       (UINT32_C(0100644) << 16)

/* There may be millions: no padding, and names are in one buffer. */
struct entry {
	int64_t local;   /* of the local header, from the begin */
	int64_t central; /* of the central header, from the directory's begin */
	wall_s_t time;
	int64_t size;
	int64_t packed;
	int64_t position;
	uint32_t name; /* in names */
	uint32_t crc;
	uint32_t source;
	uint16_t name_n;
	uint16_t method;
};

struct zip_layout {
	struct entry *entries; /* owned */
	size_t n;
	char *names; /* owned */
	size_t names_n;
	int64_t directory; /* where it begins */
	int64_t tail;      /* where it begins */
	size_t tail_n;
	uint8_t tail_data[TAIL_MAX];
};

struct zip_layout_draft {
	struct entry *entries; /* owned */
	size_t n;
	size_t cap;
	struct buf names;
	int64_t local; /* where the next header begins */
	int64_t central;
};

/* Little-endian fields, one behind the other. */
struct fields {
	uint8_t data[TAIL_MAX];
	size_t n;
};

static void put(struct fields *f, uint64_t v, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		f->data[f->n++] = (uint8_t)(v >> 8 * i);
}

static uint64_t or_max16(uint64_t v)
{
	return v < MAX16 ? v : MAX16;
}

static uint64_t or_max32(uint64_t v)
{
	return v < MAX32 ? v : MAX32;
}

/* 4.4.8: in a local header either both sizes are there or none. */
static bool is_large(const struct entry *e)
{
	return e->size >= MAX32 || e->packed >= MAX32;
}

static bool is_far(const struct entry *e)
{
	return e->local >= MAX32;
}

/* 32 bits, signed for some readers and not for others. */
static bool has_ut(const struct entry *e)
{
	return e->time >= 0 && e->time <= INT32_MAX;
}

static size_t local_extra(const struct entry *e)
{
	return (is_large(e) ? 4 + 16 : 0) + (has_ut(e) ? UT_BYTES : 0);
}

static size_t central_extra(const struct entry *e)
{
	size_t n = (is_large(e) ? 16 : 0) + (is_far(e) ? 8 : 0);

	return (n > 0 ? 4 + n : 0) + (has_ut(e) ? UT_BYTES : 0);
}

static int64_t local_bytes(const struct entry *e)
{
	return (int64_t)(LOCAL_BYTES + e->name_n + local_extra(e));
}

static int64_t central_bytes(const struct entry *e)
{
	return (int64_t)(CENTRAL_BYTES + e->name_n + central_extra(e));
}

/* Year, month, day of days since 1970, in the Gregorian calendar. */
static void civil(int64_t days, int64_t *year, unsigned *month, unsigned *day)
{
	/* Years begin in March here, so that the leap day is the last. */
	int64_t since = days + 719468; /* 0000-03-01 */
	int64_t era = since / 146097;
	int64_t doe = since % 146097;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	int64_t m = (5 * doy + 2) / 153;

	*day = (unsigned)(doy - (153 * m + 2) / 5 + 1);
	*month = (unsigned)(m < 10 ? m + 3 : m - 9);
	*year = era * 400 + yoe + (*month <= 2);
}

#define DOS_FIRST INT64_C(315532800)  /* 1980-01-01T00:00:00Z */
#define DOS_LAST  INT64_C(4354819198) /* 2107-12-31T23:59:58Z */

/* 4.4.6: time in the lower half, date in the upper one. */
static uint32_t dos_time(wall_s_t time)
{
	int64_t t = time;
	int64_t year;
	unsigned month;
	unsigned day;
	unsigned s;

	if (t < DOS_FIRST)
		t = DOS_FIRST;
	if (t > DOS_LAST)
		t = DOS_LAST;
	civil(t / 86400, &year, &month, &day);
	s = (unsigned)(t % 86400);
	return (uint32_t)(year - 1980) << 25 | month << 21 | day << 16 |
	       s / 3600 << 11 | s / 60 % 60 << 5 | s % 60 / 2;
}

int zip_layout_begin(struct zip_layout_draft **ret)
{
	struct zip_layout_draft *b = calloc(1, sizeof(*b));

	if (!b)
		return -ENOMEM;
	b->names = (struct buf)BUF_NULL;
	*ret = b;
	return 0;
}

struct zip_layout_draft *zip_layout_draft_free(struct zip_layout_draft *b)
{
	if (!b)
		return NULL;
	free(b->entries);
	buf_deinit(&b->names);
	free(b);
	return NULL;
}

static int grow(struct zip_layout_draft *b)
{
	size_t cap = b->cap ? b->cap * 2 : 64;
	struct entry *entries;

	if (b->n < b->cap)
		return 0;
	entries = reallocarray(b->entries, cap, sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	b->entries = entries;
	b->cap = cap;
	return 0;
}

int zip_layout_add(struct zip_layout_draft *b, const struct zip_entry *e)
{
	size_t name_n = strlen(e->name);
	struct entry *x;
	int64_t end;
	int r;

	if (name_n == 0 || name_n > UINT16_MAX || e->size < 0 || e->packed < 0)
		return -EINVAL;
	r = grow(b);
	if (r < 0)
		return r;
	x = &b->entries[b->n];
	*x = (struct entry){
		.local = b->local,
		.central = b->central,
		.time = e->time,
		.size = e->size,
		.packed = e->packed,
		.position = e->position,
		.name = (uint32_t)b->names.len,
		.crc = e->crc,
		.source = e->source,
		.name_n = (uint16_t)name_n,
		.method = e->method,
	};
	if (__builtin_add_overflow(b->local + local_bytes(x), e->packed, &end))
		return -EFBIG;
	/* Far from the end of what fits, the rest needs no look. */
	if (end > INT64_MAX / 2)
		return -EFBIG;
	buf_add(&b->names, e->name, name_n);
	if (buf_error(&b->names) < 0)
		return buf_error(&b->names);
	b->local = end;
	b->central += central_bytes(x);
	b->n++;
	return 0;
}

/* 4.3.14 to 4.3.16. */
static void make_tail(struct zip_layout *z)
{
	struct fields f = {.n = 0};
	uint64_t directory_n = (uint64_t)(z->tail - z->directory);
	uint64_t directory = (uint64_t)z->directory;

	if (z->n >= MAX16 || directory_n >= MAX32 || directory >= MAX32) {
		put(&f, 0x06064b50, 4);
		put(&f, 56 - 12, 8); /* what follows this field */
		put(&f, VERSION_MADE, 2);
		put(&f, VERSION_ZIP64, 2);
		put(&f, 0, 4); /* this disk */
		put(&f, 0, 4); /* the directory's disk */
		put(&f, z->n, 8);
		put(&f, z->n, 8);
		put(&f, directory_n, 8);
		put(&f, directory, 8);
		put(&f, 0x07064b50, 4); /* locator */
		put(&f, 0, 4);
		put(&f, (uint64_t)z->tail, 8);
		put(&f, 1, 4); /* disks */
	}
	put(&f, 0x06054b50, 4);
	put(&f, 0, 2);
	put(&f, 0, 2);
	put(&f, or_max16(z->n), 2);
	put(&f, or_max16(z->n), 2);
	put(&f, or_max32(directory_n), 4);
	put(&f, or_max32(directory), 4);
	put(&f, 0, 2); /* comment */
	memcpy(z->tail_data, f.data, f.n);
	z->tail_n = f.n;
}

/* Gives back what an array has too much; that this fails does no harm. */
static void *shrink(void *data, size_t bytes)
{
	void *less = bytes > 0 ? realloc(data, bytes) : NULL;

	return less ? less : data;
}

int zip_layout_end(struct zip_layout_draft *b, struct zip_layout **ret)
{
	struct zip_layout *z = calloc(1, sizeof(*z));

	if (!z)
		return -ENOMEM;
	z->n = b->n;
	z->entries = shrink(b->entries, b->n * sizeof(*b->entries));
	z->names_n = b->names.len;
	z->names = shrink(b->names.data, b->names.len);
	z->directory = b->local;
	z->tail = b->local + b->central;
	make_tail(z);
	*b = (struct zip_layout_draft){.names = BUF_NULL};
	*ret = z;
	return 0;
}

struct zip_layout *zip_layout_free(struct zip_layout *z)
{
	if (!z)
		return NULL;
	free(z->entries);
	free(z->names);
	free(z);
	return NULL;
}

int64_t zip_layout_size(const struct zip_layout *z)
{
	return z->tail + (int64_t)z->tail_n;
}

size_t zip_layout_count(const struct zip_layout *z)
{
	return z->n;
}

size_t zip_layout_memory(const struct zip_layout *z)
{
	return sizeof(*z) + z->n * sizeof(*z->entries) + z->names_n;
}

/* What was asked for: after skip bytes that are not wanted, left more. */
struct out {
	uint8_t *p;
	size_t left;
	int64_t skip;
};

/* How much of the next n bytes is wanted; 0: they are skipped, or all is had.
 */
static size_t wanted(struct out *o, int64_t n)
{
	if (o->skip >= n) {
		o->skip -= n;
		return 0;
	}
	return (uint64_t)(n - o->skip) < o->left ? (size_t)(n - o->skip)
						 : o->left;
}

static void done(struct out *o, size_t n)
{
	o->p += n;
	o->left -= n;
	o->skip = 0;
}

static void emit(struct out *o, const void *data, size_t n)
{
	size_t m = wanted(o, (int64_t)n);

	if (m == 0)
		return;
	memcpy(o->p, (const uint8_t *)data + o->skip, m);
	done(o, m);
}

/* Fields that the local and the central header have alike. */
static void put_common(struct fields *f, const struct entry *e, bool zip64,
		       size_t extra)
{
	put(f, zip64 ? VERSION_ZIP64 : VERSION_DEFLATE, 2);
	put(f, FLAG_UTF8, 2);
	put(f, e->method, 2);
	put(f, dos_time(e->time), 4);
	put(f, e->crc, 4);
	put(f, is_large(e) ? MAX32 : (uint64_t)e->packed, 4);
	put(f, is_large(e) ? MAX32 : (uint64_t)e->size, 4);
	put(f, e->name_n, 2);
	put(f, extra, 2);
}

/* 4.5.3, and the Info-ZIP time. far: with the place of the local header. */
static void emit_extra(struct out *o, const struct entry *e, bool far)
{
	struct fields f = {.n = 0};

	if (is_large(e) || far) {
		put(&f, 0x0001, 2);
		put(&f, (is_large(e) ? 16 : 0) + (far ? 8 : 0), 2);
	}
	if (is_large(e)) {
		put(&f, (uint64_t)e->size, 8);
		put(&f, (uint64_t)e->packed, 8);
	}
	if (far)
		put(&f, (uint64_t)e->local, 8);
	if (has_ut(e)) {
		put(&f, 0x5455, 2);
		put(&f, UT_BYTES - 4, 2);
		put(&f, 1, 1); /* the time of modification is there */
		put(&f, (uint64_t)e->time, 4);
	}
	emit(o, f.data, f.n);
}

/* 4.3.7 */
static void emit_local(const struct zip_layout *z, struct out *o,
		       const struct entry *e)
{
	struct fields f = {.n = 0};

	put(&f, 0x04034b50, 4);
	put_common(&f, e, is_large(e), local_extra(e));
	emit(o, f.data, f.n);
	emit(o, z->names + e->name, e->name_n);
	emit_extra(o, e, false);
}

/* 4.3.12 */
static void emit_central(const struct zip_layout *z, struct out *o,
			 const struct entry *e)
{
	struct fields f = {.n = 0};

	put(&f, 0x02014b50, 4);
	put(&f, VERSION_MADE, 2);
	put_common(&f, e, is_large(e) || is_far(e), central_extra(e));
	put(&f, 0, 2); /* comment */
	put(&f, 0, 2); /* disk */
	put(&f, 0, 2); /* internal attributes */
	put(&f, ATTR_FILE, 4);
	put(&f, or_max32((uint64_t)e->local), 4);
	emit(o, f.data, f.n);
	emit(o, z->names + e->name, e->name_n);
	emit_extra(o, e, is_far(e));
}

static int emit_bytes(struct out *o, const struct entry *e, zip_source_t source,
		      void *arg)
{
	size_t m = wanted(o, e->packed);
	int r;

	if (m == 0)
		return 0;
	r = source(arg, e->source, e->position + o->skip, o->p, m);
	if (r < 0)
		return r;
	done(o, m);
	return 0;
}

/* The last entry that begins at or before offset; the first is at 0. */
static size_t find(const struct zip_layout *z, int64_t offset, bool central)
{
	size_t low = 0;
	size_t high = z->n;

	while (high - low > 1) {
		size_t mid = low + (high - low) / 2;
		const struct entry *e = &z->entries[mid];

		if ((central ? e->central : e->local) <= offset)
			low = mid;
		else
			high = mid;
	}
	return low;
}

static int read_entries(const struct zip_layout *z, int64_t offset,
			struct out *o, zip_source_t source, void *arg)
{
	size_t i = find(z, offset, false);

	o->skip = offset - z->entries[i].local;
	for (; i < z->n && o->left > 0; i++) {
		int r;

		emit_local(z, o, &z->entries[i]);
		r = emit_bytes(o, &z->entries[i], source, arg);
		if (r < 0)
			return r;
	}
	return 0;
}

static void read_directory(const struct zip_layout *z, int64_t offset,
			   struct out *o)
{
	size_t i = find(z, offset, true);

	o->skip = offset - z->entries[i].central;
	for (; i < z->n && o->left > 0; i++)
		emit_central(z, o, &z->entries[i]);
}

ssize_t zip_layout_read(const struct zip_layout *z, int64_t offset, void *ret,
			size_t n, zip_source_t source, void *arg)
{
	int64_t size = zip_layout_size(z);
	struct out o = {.p = ret};
	int64_t at;

	if (offset < 0)
		return -EINVAL;
	if (offset >= size)
		return 0;
	o.left = (uint64_t)(size - offset) < n ? (size_t)(size - offset) : n;
	if (offset < z->directory) {
		int r = read_entries(z, offset, &o, source, arg);

		if (r < 0)
			return r;
	}
	at = offset + (o.p - (uint8_t *)ret);
	if (o.left > 0 && at < z->tail)
		read_directory(z, at - z->directory, &o);
	at = offset + (o.p - (uint8_t *)ret);
	o.skip = at - z->tail;
	if (o.left > 0)
		emit(&o, z->tail_data, z->tail_n);
	return o.p - (uint8_t *)ret;
}
