/* SPDX-License-Identifier: MIT */

/*
 * The CSV reader. The first byte chooses the size of the pieces and the limits,
 * the rest is the file. How it is cut must not matter; and the values that are
 * read, once written, must read as the same values.
 */

#include <assert.h>

#include "outboxfs/format/csv.h"

#include "fuzz.h"

static const enum affinity affinities[] = {
	AFFINITY_BLOB,    AFFINITY_TEXT, AFFINITY_NUMERIC,
	AFFINITY_INTEGER, AFFINITY_REAL,
};

/*
 * What was read, as text: storage classes, lengths and bytes, and how it
 * ended. out, unless NULL, receives the values written again.
 */
static void show_record(const struct csv_record *record, struct buf *log,
			struct buf *out, enum affinity affinity)
{
	CLEANUP(buf_deinit) struct buf scratch = BUF_NULL;
	struct value v;

	for (size_t i = 0; i < record->n_fields; i++) {
		assert(csv_value(&record->fields[i], affinity, &scratch, &v) ==
		       0);
		buf_printf(log, "%d:", (int)v.type);
		if (v.type == VALUE_TEXT || v.type == VALUE_BLOB) {
			buf_printf(log, "%zu:", v.bytes.len);
			buf_add(log, v.bytes.data, v.bytes.len);
		} else if (v.type != VALUE_NULL) {
			/* The same eight bytes, whichever it is. */
			buf_printf(log, "%llx", (unsigned long long)v.integer);
		}
		buf_putc(log, ';');
		if (out && i > 0)
			buf_putc(out, ',');
		if (out)
			csv_put(out, &v, affinity);
	}
	buf_putc(log, '\n');
	if (out)
		buf_putc(out, '\n');
}

struct options {
	size_t piece;
	struct csv_limits limits;
	enum affinity affinity;
};

static int next(struct csv_reader *reader, const uint8_t *data, size_t n,
		size_t *at, const struct options *options,
		struct csv_record *record, struct err *err)
{
	const char *text = (const char *)data;
	size_t size;
	int r;

	while ((r = csv_reader_next(reader, record, err)) == 0) {
		if (*at > n)
			return 0;
		size = n - *at < options->piece ? n - *at : options->piece;
		assert(csv_reader_feed(reader, size ? text + *at : NULL,
				       size) == 0);
		*at += size ? size : 1; /* past the end: the end was fed */
	}
	return r;
}

static int read_all(const uint8_t *data, size_t n,
		    const struct options *options, struct buf *log,
		    struct buf *out)
{
	CLEANUP(csv_reader_freep) struct csv_reader *reader = NULL;
	struct csv_record record;
	struct err err = ERR_NULL;
	size_t at = 0;
	int r;

	assert(csv_reader_new(&options->limits, &reader) == 0);
	while ((r = next(reader, data, n, &at, options, &record, &err)) > 0) {
		assert(record.n_fields > 0);
		assert(record.n_fields <= options->limits.n_fields_max);
		show_record(&record, log, out, options->affinity);
	}
	if (r < 0)
		buf_printf(log, "%d %s", r, err.text);
	assert(buf_error(log) == 0);
	return r;
}

static void assert_same(const struct buf *a, const struct buf *b)
{
	assert(a->len == b->len);
	assert(a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	CLEANUP(buf_deinit) struct buf log = BUF_NULL;
	CLEANUP(buf_deinit) struct buf again = BUF_NULL;
	CLEANUP(buf_deinit) struct buf out = BUF_NULL;
	struct options options = {.limits = CSV_LIMITS_DEFAULT};
	int r;

	if (n == 0)
		return 0;
	options.piece = 1 + data[0] % 16;
	if (data[0] & 0x80)
		options.limits = (struct csv_limits){8, 64};
	options.affinity = affinities[data[0] / 16 % 8 % 5];
	data++;
	n--;

	r = read_all(data, n, &options, &log, &out);
	options.piece = n;
	assert(read_all(data, n, &options, &again, NULL) == r);
	assert_same(&log, &again);

	if (r < 0)
		return 0;
	assert(buf_error(&out) == 0);
	/* Quoting makes it longer; what is first may look like a mark. */
	options.limits = (struct csv_limits)CSV_LIMITS_DEFAULT;
	if (out.len >= 3 && memcmp(out.data, "\xef\xbb\xbf", 3) == 0)
		return 0;
	buf_clear(&again);
	assert(read_all((const uint8_t *)out.data, out.len, &options, &again,
			NULL) == 0);
	assert_same(&log, &again);
	return 0;
}
