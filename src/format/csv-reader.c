/* SPDX-License-Identifier: MIT */
#include "outboxfs/format/csv.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>

#include "csv-scan.h"

/*
 * The reader walks over a window: the piece that it was fed, or, for a record
 * that began in an earlier piece, the carry, into which the record is copied
 * as it comes. So no byte is looked at twice, and only records that cross the
 * border of two pieces are copied.
 *
 * 1. [start, pos) of the window are the bytes of the record so far; its
 *    fields are spans of the window.
 * 2. While carrying, start is 0 and the last bytes of the carry are the bytes
 *    of the piece before taken. Bytes behind the record's end go back to the
 *    piece.
 * 3. When next() answers 0, the window has been walked to its end and nothing
 *    points into the piece any more.
 */

#define BOM         "\xef\xbb\xbf"
#define CARRY_CHUNK ((size_t)4096)

enum state {
	AT_FILE, /* nothing seen; a byte order mark may come */
	AT_RECORD,
	AT_FIELD,
	IN_PLAIN,
	IN_QUOTES,
	AFTER_QUOTE, /* the closing one, or the first of two */
	AFTER_CR,
};

/* What a step says, apart from errors. */
enum step {
	STEP_MORE,   /* the window has been walked to its end */
	STEP_RECORD, /* the record is complete */
	STEP_GO,     /* the state has changed: go on */
};

struct span {
	size_t at; /* in the window, without quotes */
	size_t len;
	bool quoted;
	bool doubled; /* has quotes that stand for one */
};

struct csv_reader {
	/* fixed after init */
	struct csv_limits limits;

	/* the piece */
	const char *piece; /* borrowed */
	size_t n_piece;
	size_t taken; /* while carrying: how much of it is in the carry */
	bool wants;   /* no piece, or walked to its end */
	bool ended;

	/* the record */
	enum state state;
	bool handed;   /* the last call returned it */
	bool carrying; /* the window is the carry */
	struct buf carry;
	size_t start;
	size_t pos;
	uint64_t start_line;
	uint64_t line; /* of pos */

	/* its fields */
	struct span *spans;       /* owned; n_max */
	struct csv_field *fields; /* owned; n_max; filled at the end */
	size_t n;
	size_t n_max;
	struct span field;   /* the one in the making */
	uint64_t field_line; /* where that begins */
	struct buf text;     /* fields that had doubled quotes */

	int error; /* 0, or what every further call returns */
	struct err reason;
};

int csv_reader_new(const struct csv_limits *limits, struct csv_reader **ret)
{
	struct csv_reader *reader = calloc(1, sizeof(*reader));

	if (!reader)
		return -ENOMEM;
	reader->limits = *limits;
	reader->wants = true;
	reader->line = 1;
	/* What they may hold, the limits say; the chunk comes on top of it. */
	reader->carry = (struct buf)BUF_INIT(SIZE_MAX / 4);
	reader->text = (struct buf)BUF_INIT(SIZE_MAX / 4);
	*ret = reader;
	return 0;
}

struct csv_reader *csv_reader_free(struct csv_reader *reader)
{
	if (!reader)
		return NULL;
	buf_deinit(&reader->carry);
	buf_deinit(&reader->text);
	free(reader->spans);
	free(reader->fields);
	free(reader);
	return NULL;
}

int csv_reader_feed(struct csv_reader *reader, const char *data, size_t n)
{
	assert(!reader->ended);
	assert(reader->wants || reader->error);

	if (!data) {
		data = "";
		n = 0;
		reader->ended = true;
	}
	reader->piece = data;
	reader->n_piece = n;
	reader->taken = 0;
	reader->wants = false;
	if (!reader->carrying) {
		reader->start = 0;
		reader->pos = 0;
	}
	return 0;
}

static const char *window(const struct csv_reader *reader, size_t *ret_n)
{
	*ret_n = reader->carrying ? reader->carry.len : reader->n_piece;
	return reader->carrying ? reader->carry.data : reader->piece;
}

static int fail(struct csv_reader *reader, int r, uint64_t line,
		const char *what)
{
	/* Behind a carriage return, the field has been counted. */
	size_t field = reader->n + (reader->state != AFTER_CR);

	reader->error = r;
	return err_set(&reader->reason, r, "line %" PRIu64 ", field %zu: %s",
		       line, field, what);
}

static int out_of_memory(struct csv_reader *reader)
{
	return fail(reader, -ENOMEM, reader->line, "not enough memory");
}

static int grow_fields(struct csv_reader *reader)
{
	size_t n = reader->n_max ? 2 * reader->n_max : 16;
	struct span *spans;
	struct csv_field *fields;

	spans = reallocarray(reader->spans, n, sizeof(*spans));
	if (!spans)
		return out_of_memory(reader);
	reader->spans = spans;
	fields = reallocarray(reader->fields, n, sizeof(*fields));
	if (!fields)
		return out_of_memory(reader);
	reader->fields = fields;
	reader->n_max = n;
	return 0;
}

static int end_field(struct csv_reader *reader, size_t end)
{
	int r;

	if (reader->n == reader->limits.n_fields_max)
		return fail(reader, -E2BIG, reader->line,
			    "the record has more fields than the limit");
	if (reader->n == reader->n_max) {
		r = grow_fields(reader);
		if (r < 0)
			return r;
	}
	reader->field.len = end - reader->field.at;
	reader->spans[reader->n++] = reader->field;
	return 0;
}

/* A field has ended at end; c follows, at pos, and says what comes next. */
static int end_field_by(struct csv_reader *reader, size_t end, char c)
{
	int r;

	if (c == '"')
		return fail(reader, -EBADMSG, reader->line,
			    "quote inside an unquoted field");
	if (c != ',' && c != '\n' && c != '\r')
		return fail(reader, -EBADMSG, reader->line,
			    "text after a closing quote");
	r = end_field(reader, end);
	if (r < 0)
		return r;
	reader->pos++;
	if (c == ',') {
		reader->state = AT_FIELD;
		return STEP_GO;
	}
	if (c == '\r') {
		reader->state = AFTER_CR;
		return STEP_GO;
	}
	reader->line++;
	return STEP_RECORD;
}

static int step_file(struct csv_reader *reader, const char *base, size_t end)
{
	size_t n = end < 3 ? end : 3;

	if (memcmp(base, BOM, n) == 0) {
		if (n < 3 && !reader->ended)
			return STEP_MORE;
		if (n == 3) {
			reader->pos = 3;
			reader->start = 3;
		}
	}
	reader->state = AT_RECORD;
	return STEP_GO;
}

static int step_field(struct csv_reader *reader, const char *base)
{
	bool quoted = base[reader->pos] == '"';

	reader->pos += quoted;
	reader->field = (struct span){.at = reader->pos, .quoted = quoted};
	reader->field_line = reader->line;
	reader->state = quoted ? IN_QUOTES : IN_PLAIN;
	return STEP_GO;
}

static int step_plain(struct csv_reader *reader, const char *base, size_t end)
{
	const char *p = csv_scan(base + reader->pos, base + end);

	reader->pos = (size_t)(p - base);
	if (reader->pos == end)
		return STEP_MORE;
	return end_field_by(reader, reader->pos, *p);
}

static uint64_t count_lines(const char *s, const char *end)
{
	uint64_t n = 0;

	while ((s = memchr(s, '\n', (size_t)(end - s)))) {
		n++;
		s++;
	}
	return n;
}

static int step_quotes(struct csv_reader *reader, const char *base, size_t end)
{
	const char *s = base + reader->pos;
	const char *quote = memchr(s, '"', end - reader->pos);

	reader->line += count_lines(s, quote ? quote : base + end);
	if (!quote) {
		reader->pos = end;
		return STEP_MORE;
	}
	reader->pos = (size_t)(quote - base) + 1;
	reader->state = AFTER_QUOTE;
	return STEP_GO;
}

static int step_after_quote(struct csv_reader *reader, const char *base)
{
	char c = base[reader->pos];

	if (c != '"')
		return end_field_by(reader, reader->pos - 1, c);
	reader->pos++;
	reader->field.doubled = true;
	reader->state = IN_QUOTES;
	return STEP_GO;
}

static int step_after_cr(struct csv_reader *reader, const char *base)
{
	if (base[reader->pos] != '\n')
		return fail(reader, -EBADMSG, reader->line,
			    "carriage return without line feed");
	reader->pos++;
	reader->line++;
	return STEP_RECORD;
}

/* One step; there is a byte at pos. */
static int step(struct csv_reader *reader, const char *base, size_t end)
{
	switch (reader->state) {
	case AT_FILE:
		return step_file(reader, base, end);
	case AT_RECORD:
		reader->start_line = reader->line;
		reader->state = AT_FIELD;
		return STEP_GO;
	case AT_FIELD:
		return step_field(reader, base);
	case IN_PLAIN:
		return step_plain(reader, base, end);
	case IN_QUOTES:
		return step_quotes(reader, base, end);
	case AFTER_QUOTE:
		return step_after_quote(reader, base);
	case AFTER_CR:
	default:
		return step_after_cr(reader, base);
	}
}

/*
 * Walks to the end of the record or of the window, but never past the limit:
 * what is refused then does not depend on how the file was cut into pieces.
 */
static int walk(struct csv_reader *reader)
{
	size_t max = reader->limits.record_bytes_max;
	const char *base;
	size_t end;
	size_t n;
	int r = STEP_GO;

	base = window(reader, &n);
	end = n;
	while (r == STEP_GO) {
		end = n - reader->start > max ? reader->start + max : n;
		r = reader->pos < end ? step(reader, base, end) : STEP_MORE;
	}
	if (r == STEP_MORE && end < n)
		return fail(reader, -E2BIG, reader->line,
			    "the record has more bytes than the limit");
	return r;
}

/* Rescues the beginning of a record from a piece that will go away. */
static int start_carry(struct csv_reader *reader)
{
	if (reader->state == AT_RECORD || reader->start == reader->n_piece)
		return 0;
	buf_clear(&reader->carry);
	buf_add(&reader->carry, reader->piece + reader->start,
		reader->n_piece - reader->start);
	if (buf_error(&reader->carry))
		return out_of_memory(reader);
	for (size_t i = 0; i < reader->n; i++)
		reader->spans[i].at -= reader->start;
	reader->field.at -= reader->start;
	reader->pos -= reader->start;
	reader->start = 0;
	reader->taken = reader->n_piece;
	reader->carrying = true;
	return 0;
}

/* 1: the carry has grown. 0: the piece has nothing more. */
static int extend_carry(struct csv_reader *reader)
{
	size_t n = reader->n_piece - reader->taken;
	size_t chunk = reader->carry.len;

	if (n == 0)
		return 0;
	if (chunk < CARRY_CHUNK)
		chunk = CARRY_CHUNK;
	if (n > chunk)
		n = chunk;
	buf_add(&reader->carry, reader->piece + reader->taken, n);
	if (buf_error(&reader->carry))
		return out_of_memory(reader);
	reader->taken += n;
	return 1;
}

/* The end has been fed, all of it was walked. 1: there was a record. */
static int finish(struct csv_reader *reader)
{
	int r = 0;

	switch (reader->state) {
	case AT_FILE:
	case AT_RECORD:
		return 0;
	case AT_FIELD:
		reader->field = (struct span){.at = reader->pos};
		r = end_field(reader, reader->pos);
		break;
	case IN_PLAIN:
		r = end_field(reader, reader->pos);
		break;
	case IN_QUOTES:
		return fail(reader, -EBADMSG, reader->field_line,
			    "the quote that begins it is never closed");
	case AFTER_QUOTE:
		r = end_field(reader, reader->pos - 1);
		break;
	case AFTER_CR:
		return fail(reader, -EBADMSG, reader->line,
			    "carriage return without line feed");
	}
	return r < 0 ? r : STEP_RECORD;
}

/* Writes a field with each two quotes as one; there is room. */
static char *put_undoubled(char *p, const char *s, size_t n)
{
	const char *end = s + n;
	const char *quote;

	while ((quote = memchr(s, '"', (size_t)(end - s)))) {
		p = mempcpy(p, s, (size_t)(quote + 1 - s));
		s = quote + 2;
	}
	return mempcpy(p, s, (size_t)(end - s));
}

static int resolve_fields(struct csv_reader *reader)
{
	const struct span *span;
	const char *base;
	size_t n_doubled = 0;
	size_t n;
	char *p;

	base = window(reader, &n);
	for (size_t i = 0; i < reader->n; i++) {
		span = &reader->spans[i];
		n_doubled += span->doubled ? span->len : 0;
		reader->fields[i] = (struct csv_field){
			.data = base + span->at,
			.len = span->len,
			.quoted = span->quoted,
		};
	}
	if (n_doubled == 0)
		return 0;
	p = buf_reserve(&reader->text, n_doubled);
	if (!p)
		return out_of_memory(reader);
	for (size_t i = 0; i < reader->n; i++) {
		span = &reader->spans[i];
		if (!span->doubled)
			continue;
		reader->fields[i].data = p;
		p = put_undoubled(p, base + span->at, span->len);
		reader->fields[i].len = (size_t)(p - reader->fields[i].data);
	}
	return 0;
}

static int hand_out(struct csv_reader *reader, struct csv_record *ret)
{
	int r;

	r = resolve_fields(reader);
	if (r < 0)
		return r;
	reader->handed = true;
	reader->state = AT_RECORD;
	*ret = (struct csv_record){
		.fields = reader->fields,
		.n_fields = reader->n,
		.line = reader->start_line,
	};
	return 1;
}

/* The record that was handed out is no longer needed: rule 2. */
static void drop_record(struct csv_reader *reader)
{
	if (reader->carrying) {
		reader->taken -= reader->carry.len - reader->pos;
		reader->pos = reader->taken;
		reader->carrying = false;
	}
	reader->start = reader->pos;
	reader->n = 0;
	reader->handed = false;
}

static int find_record(struct csv_reader *reader)
{
	int r;

	for (;;) {
		r = walk(reader);
		if (r != STEP_MORE)
			return r;
		if (reader->carrying)
			r = extend_carry(reader);
		if (r > 0)
			continue;
		if (r < 0)
			return r;
		if (reader->ended)
			return finish(reader);
		reader->wants = true;
		return reader->carrying ? 0 : start_carry(reader);
	}
}

int csv_reader_next(struct csv_reader *reader, struct csv_record *ret,
		    struct err *err)
{
	int r = reader->error;

	if (r == 0 && reader->handed)
		drop_record(reader);
	if (r == 0 && !reader->wants)
		r = find_record(reader);
	if (r == STEP_RECORD)
		r = hand_out(reader, ret);
	if (r < 0)
		return err_set(err, r, "%s", reader->reason.text);
	return r;
}
