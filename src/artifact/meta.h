/* SPDX-License-Identifier: MIT */
#pragma once

#include "outboxfs/artifact/model.h"
#include "outboxfs/base/buf.h"
#include "outboxfs/db/db.h"

/* The tables that say what the database is to us; see track.c for the rest. */
#define META_TABLES                                                          \
	"CREATE TABLE outboxfs_model(id INTEGER PRIMARY KEY CHECK (id = 1)," \
	" format INTEGER NOT NULL, json TEXT NOT NULL, hash TEXT NOT NULL,"  \
	" adopted INTEGER NOT NULL, timeline TEXT NOT NULL,"                 \
	" triggers TEXT NOT NULL);\n"                                        \
	"CREATE TABLE outboxfs_change(change INTEGER NOT NULL,"              \
	" time INTEGER NOT NULL);\n"                                         \
	"CREATE TABLE outboxfs_table(id INTEGER PRIMARY KEY,"                \
	" name TEXT NOT NULL, slot INTEGER NOT NULL,"                        \
	" change INTEGER NOT NULL, time INTEGER NOT NULL,"                   \
	" columns TEXT NOT NULL);\n"

#define META_FORMAT 1

/* Our triggers, a line each: name, then the table. */
#define META_TRIGGERS                                                      \
	"SELECT ifnull(group_concat(line, char(10)), '') FROM"             \
	" (SELECT name || ' ' || tbl_name AS line FROM sqlite_schema"      \
	" WHERE type = 'trigger' AND name LIKE 'outboxfs\\_%' ESCAPE '\\'" \
	" ORDER BY name)"

NODISCARD int meta_is_adopted(struct db *db, int64_t *ret, struct err *err);

/* Appends the document. -ENODATA: not adopted, err says how to. */
NODISCARD int meta_load_json(struct db *db, struct buf *ret, struct err *err);

/*
 * The model of an adopted database, bound and compared with the schema as it
 * was when it was adopted. -ENODATA: not adopted; -ESTALE: the schema has
 * changed, err names table and column.
 */
NODISCARD int meta_load(struct db *db, struct model **ret, struct err *err);
