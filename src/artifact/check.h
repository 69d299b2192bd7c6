/* SPDX-License-Identifier: MIT */
#pragma once

#include "outboxfs/artifact/model.h"
#include "outboxfs/db/db.h"

/*
 * Puts the tables that sql names, and the model does not, in the place of
 * "setup": "*"; nothing, where the model has none. model_bind() takes all.
 */
NODISCARD int model_expand(struct model *model, struct db *db, const char *sql,
			   struct err *err);

/*
 * Compares a parsed model with the schema of the database and fills in what
 * the schema knows. -EINVAL: it does not fit; err names table and column and
 * says what to do. Other errors come from the database.
 */
NODISCARD int model_bind(struct model *model, struct db *db, struct err *err);

/*
 * The columns of a bound table as one text, to tell later whether the schema
 * has changed: a line a column, "name type notnull pk generated", and a line
 * a key.
 */
NODISCARD int model_fingerprint(const struct model_table *t, char **ret);
