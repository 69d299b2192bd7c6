/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * CSV as outboxfs writes and reads it: RFC 4180 quoting, UTF-8, one header
 * row, "\n" line ends, and a storage class for every field:
 *
 *	NULL	an empty field
 *	integer	-?digits, as it is
 *	real	number_format_real(), as it is; 1.0, 2.5e-7, 1.0e999
 *	blob	\x and lower-case hex, as it is
 *	text	as it is; between double quotes where it must be
 *
 * Text must be quoted where RFC 4180 says so (comma, quote, CR, LF), when it
 * is empty, when it begins with \x, and in a column that is not of TEXT
 * affinity when it would read as a number. Nothing else is quoted. So a quoted
 * field is always text, an unquoted one is what it looks like, and reading
 * gives the values and storage classes that were written for every affinity.
 *
 * A row of one NULL column is an empty line.
 */

#include "outboxfs/base/buf.h"
#include "outboxfs/base/err.h"
#include "outboxfs/base/value.h"

/*
 * Appends one field, without separator. Numbers want NUMBER_BYTES_MAX bytes of
 * room before the buffer's maximum, whatever their length.
 */
void csv_put(struct buf *b, const struct value *v, enum affinity affinity);

/* The same for each storage class, for the hot loops of a renderer. */
void csv_put_int(struct buf *b, int64_t v);
void csv_put_real(struct buf *b, double v);
void csv_put_text(struct buf *b, const char *s, size_t n,
		  enum affinity affinity);
void csv_put_blob(struct buf *b, const void *data, size_t n);

/*
 * Column names: quoted as text of TEXT affinity would be, and also where they
 * begin with U+FEFF, which the reader would drop from the beginning of a file.
 */
void csv_put_name(struct buf *b, const char *name);

/*
 * A reader that is fed pieces of any size and hands out whole records. Also
 * accepts "\r\n" line ends, a UTF-8 byte order mark before the header, and a
 * last line without its end. Strict otherwise: a quote inside an unquoted
 * field, text after a closing quote, a bare CR, and an open quote at the end
 * are errors.
 */
struct csv_field {
	const char *data; /* borrowed until the next call; without quotes */
	size_t len;       /* bytes */
	bool quoted;
};

struct csv_record {
	const struct csv_field *fields; /* borrowed until the next call */
	size_t n_fields;
	uint64_t line; /* where it begins, 1 is the first line */
};

struct csv_limits {
	size_t n_fields_max;     /* per record */
	size_t record_bytes_max; /* as in the file, with quotes and line end */
};

#define CSV_LIMITS_DEFAULT                                                 \
	{                                                                  \
		.n_fields_max = 32767, .record_bytes_max = (size_t)1 << 30 \
	}

struct csv_reader;

NODISCARD int csv_reader_new(const struct csv_limits *limits,
			     struct csv_reader **ret);
struct csv_reader *csv_reader_free(struct csv_reader *reader);
DEFINE_FREEP(csv_reader)

/*
 * Gives the reader its next piece; it is borrowed until csv_reader_next() has
 * answered 0, and no other may be fed before. data NULL says that the end has
 * come. 0 or -ENOMEM.
 */
NODISCARD int csv_reader_feed(struct csv_reader *reader, const char *data,
			      size_t n);

/*
 * 1: *ret is the next record. 0: wants more (or has ended, after the end was
 * fed). -EBADMSG: not CSV; -E2BIG: over a limit; -ENOMEM. err says what and
 * in which line; the reader then stays failed. What is refused, and what is
 * said about it, does not depend on how the file was cut into pieces.
 */
NODISCARD int csv_reader_next(struct csv_reader *reader, struct csv_record *ret,
			      struct err *err);

/*
 * The value of a field in a column of this affinity, by the rules above: in a
 * column of TEXT affinity nothing is a number; \x without whole bytes of
 * lower-case hex behind it is text. Blobs are decoded into scratch, which is
 * cleared first; text is borrowed from the field. 0, -ENOMEM, or -EFBIG where
 * scratch may not hold it.
 */
NODISCARD int csv_value(const struct csv_field *field, enum affinity affinity,
			struct buf *scratch, struct value *ret);
