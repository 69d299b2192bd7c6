/* SPDX-License-Identifier: MIT */

/*
 * The CSV writer: the input is a list of values in columns of some affinity;
 * they must read back with the same storage class and the same bytes.
 */

#include <assert.h>
#include <math.h>
#include <stdbool.h>

#include "outboxfs/base/number.h"
#include "outboxfs/format/csv.h"

#include "fuzz.h"

#define COLUMNS_MAX 5
#define VALUES_MAX  4096

static const enum affinity affinities[] = {
	AFFINITY_BLOB,    AFFINITY_TEXT, AFFINITY_NUMERIC,
	AFFINITY_INTEGER, AFFINITY_REAL,
};

struct input {
	const uint8_t *data;
	size_t n;
};

static uint8_t take_byte(struct input *input)
{
	if (input->n == 0)
		return 0;
	input->n--;
	return *input->data++;
}

static void take_bytes(struct input *input, struct value *v)
{
	size_t n = take_byte(input);

	v->bytes.data = input->data;
	v->bytes.len = n < input->n ? n : input->n;
	input->data += v->bytes.len;
	input->n -= v->bytes.len;
}

static struct value take_value(struct input *input, enum affinity affinity)
{
	struct value v = {.type = (enum value_type)(take_byte(input) % 5)};
	bool is_number = v.type == VALUE_INTEGER || v.type == VALUE_REAL;

	/* SQLite makes text of a number in such a column, and NULL of NaN. */
	if (is_number && affinity == AFFINITY_TEXT)
		v.type = VALUE_NULL;
	if (v.type == VALUE_INTEGER || v.type == VALUE_REAL) {
		uint64_t bits = 0;

		for (int i = 0; i < 8; i++)
			bits = bits << 8 | take_byte(input);
		memcpy(&v.integer, &bits, sizeof(bits));
		if (v.type == VALUE_REAL && isnan(v.real))
			v.real = 0.0;
	} else if (v.type != VALUE_NULL) {
		take_bytes(input, &v);
	}
	return v;
}

static void assert_same(const struct value *a, const struct value *b)
{
	assert(a->type == b->type);
	if (a->type == VALUE_NULL)
		return;
	if (a->type == VALUE_INTEGER || a->type == VALUE_REAL) {
		assert(memcmp(&a->integer, &b->integer, 8) == 0);
		return;
	}
	assert(a->bytes.len == b->bytes.len);
	assert(a->bytes.data);
	assert(a->bytes.len == 0 ||
	       memcmp(a->bytes.data, b->bytes.data, a->bytes.len) == 0);
}

static void check(const struct buf *file, const struct value *values,
		  size_t n_rows, size_t n_columns)
{
	CLEANUP(csv_reader_freep) struct csv_reader *reader = NULL;
	CLEANUP(buf_deinit) struct buf scratch = BUF_NULL;
	struct csv_limits limits = {n_columns, file->len};
	struct csv_record record;
	struct value v;

	assert(csv_reader_new(&limits, &reader) == 0);
	assert(csv_reader_feed(reader, file->data, file->len) == 0);
	assert(csv_reader_next(reader, &record, NULL) == 1);
	assert(record.n_fields == 1);
	for (size_t i = 0; i < n_rows; i++) {
		assert(csv_reader_next(reader, &record, NULL) == 1);
		assert(record.n_fields == n_columns);
		for (size_t k = 0; k < n_columns; k++) {
			assert(csv_value(&record.fields[k], affinities[k],
					 &scratch, &v) == 0);
			assert_same(&v, values++);
		}
	}
	assert(csv_reader_next(reader, &record, NULL) == 0);
	assert(csv_reader_feed(reader, NULL, 0) == 0);
	assert(csv_reader_next(reader, &record, NULL) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static struct value values[VALUES_MAX + COLUMNS_MAX];
	CLEANUP(buf_deinit) struct buf file = BUF_NULL;
	struct input input = {.data = data, .n = n};
	size_t n_columns = 1 + take_byte(&input) % COLUMNS_MAX;
	size_t n_rows = 0;
	size_t n_values = 0;
	char name[16] = "";

	n = take_byte(&input) % sizeof(name);
	for (size_t i = 0; i < n; i++)
		name[i] = (char)take_byte(&input);
	csv_put_name(&file, name);
	buf_putc(&file, '\n');
	for (; input.n > 0 && n_values < VALUES_MAX; n_rows++) {
		for (size_t k = 0; k < n_columns; k++) {
			values[n_values] = take_value(&input, affinities[k]);
			if (k > 0)
				buf_putc(&file, ',');
			csv_put(&file, &values[n_values++], affinities[k]);
		}
		buf_putc(&file, '\n');
	}
	assert(buf_error(&file) == 0);
	check(&file, values, n_rows, n_columns);
	return 0;
}
