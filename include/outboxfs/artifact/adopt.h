/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Making a database one of ours, and letting it go again. Each function opens
 * the database at path by itself and does what it does in one transaction:
 * all of it or nothing. One thread at a time for each database; others may go
 * on reading and writing it.
 *
 * Errors, beside those of db.h: -EINVAL (the model does not fit), -ENODATA
 * (not adopted), -EEXIST. err says what to do.
 */

#include "outboxfs/artifact/model.h"
#include "outboxfs/base/buf.h"

struct adopt_options {
	bool no_index; /* add no index by POV to tables that lack one */
};

struct adopt_result {
	int64_t n_setup; /* tables */
	int64_t n_data;  /* tables, the status table included */
	int64_t n_povs;
};

/*
 * Installs a model and change tracking. On a database that is adopted already
 * it replaces the model and counts everything as changed; change numbers and
 * modification times go on from where they were.
 */
NODISCARD int artifact_adopt(const char *path, const char *json, size_t len,
			     const struct adopt_options *options,
			     struct adopt_result *ret, struct err *err);

/* Removes whatever of ours the database has. */
NODISCARD int artifact_abandon(const char *path, struct err *err);

/*
 * Makes a database with the tables of the built-in data-management model, and
 * adopts it. -EEXIST: path exists.
 */
NODISCARD int artifact_init(const char *path, struct err *err);

/* The model document of an adopted database, appended to ret. */
NODISCARD int artifact_model_json(const char *path, struct buf *ret,
				  struct err *err);

/* A model guessed from foreign keys and column names, appended to ret. */
NODISCARD int artifact_suggest(const char *path, struct buf *ret,
			       struct err *err);
