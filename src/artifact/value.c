/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "artifact/world.h"

struct value value_column(sqlite3_stmt *stmt, int column)
{
	struct value v = {.type = VALUE_NULL};

	switch (sqlite3_column_type(stmt, column)) {
	case SQLITE_INTEGER:
		v.type = VALUE_INTEGER;
		v.integer = sqlite3_column_int64(stmt, column);
		break;
	case SQLITE_FLOAT:
		v.type = VALUE_REAL;
		v.real = sqlite3_column_double(stmt, column);
		break;
	case SQLITE_TEXT:
		v.type = VALUE_TEXT;
		v.bytes.data = sqlite3_column_text(stmt, column);
		v.bytes.len = (size_t)sqlite3_column_bytes(stmt, column);
		break;
	case SQLITE_BLOB:
		v.type = VALUE_BLOB;
		v.bytes.data = sqlite3_column_blob(stmt, column);
		v.bytes.len = (size_t)sqlite3_column_bytes(stmt, column);
		break;
	default:
		break;
	}
	return v;
}

int value_bind(sqlite3_stmt *stmt, int index, const struct value *v)
{
	int rc = SQLITE_OK;

	switch (v->type) {
	case VALUE_NULL:
		rc = sqlite3_bind_null(stmt, index);
		break;
	case VALUE_INTEGER:
		rc = sqlite3_bind_int64(stmt, index, v->integer);
		break;
	case VALUE_REAL:
		rc = sqlite3_bind_double(stmt, index, v->real);
		break;
	case VALUE_TEXT:
		rc = sqlite3_bind_text64(stmt, index, v->bytes.data,
					 v->bytes.len, SQLITE_STATIC,
					 SQLITE_UTF8);
		break;
	case VALUE_BLOB:
		/* A NULL pointer would bind NULL, not the empty blob. */
		rc = sqlite3_bind_blob64(stmt, index,
					 v->bytes.len ? v->bytes.data : "",
					 v->bytes.len, SQLITE_STATIC);
		break;
	}
	return db_errno(rc);
}
