/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The model: which tables of an artifact database are setup, data and status,
 * and how their rows belong to points of view. outboxfs-model(5) describes the
 * document. A model is built in two steps: model_parse() reads the document,
 * model_bind() (artifact/check.h) compares it with the schema and fills in
 * what stands under "bound".
 *
 * Immutable once built; any thread may read it.
 */

#include <stdbool.h>

#include "outboxfs/base/arena.h"
#include "outboxfs/base/err.h"
#include "outboxfs/base/hash.h"
#include "outboxfs/base/value.h"

#define MODEL_DIMS_MAX   8
#define MODEL_SLOTS_MAX  60   /* data tables and the status table */
#define MODEL_TABLES_MAX 4000 /* an id fits 12 bits */
#define MODEL_BYTES_MAX  ((size_t)16 << 20) /* of the document */

struct model_table;

/* A dimension of the point of view. */
struct model_dim {
	const char *name;
	const char *table; /* NULL: its values are names themselves */
	const char *key;   /* NULL without table */
	const char *label; /* NULL without table; may equal key */

	/* bound */
	const struct model_table *bound; /* the table; NULL without one */
};

enum model_role {
	MODEL_SETUP,
	MODEL_DATA,
	MODEL_STATUS,
};

struct model_column {
	const char *name;
	const char *type; /* as declared, "" where nothing is */
	enum affinity affinity;
	bool notnull;
	bool generated;
	bool binary; /* collates by BINARY */
	const char *collation;
	int pk; /* place in the primary key from 1; 0: not in it */
};

/* What makes a row unique: REPLACE deletes the row that is in the way. */
struct model_key {
	const char *const *columns;    /* NULL-terminated; empty: the rowid */
	const char *const *collations; /* one each */
};

struct model_table {
	const char *name; /* once bound, spelled as in the schema */
	enum model_role role;
	const char *pov[MODEL_DIMS_MAX]; /* data and status: column of each */
	const char *rule;                /* column of the load rule, or NULL */
	const char *const *order;        /* columns, NULL-terminated */

	/* bound */
	struct model_column *columns;
	size_t n_columns;
	bool without_rowid;
	const char *rowid; /* a name by which to say rowid, or NULL */
	struct model_key *keys;
	size_t n_keys;
	bool pov_indexed; /* an index begins with the POV columns */
	bool pov_nullable[MODEL_DIMS_MAX];
	int slot;   /* data and status: their number; else -1 */
	int64_t id; /* in outboxfs_table, from 1 */
};

/* What must exist for a POV not to be an orphan. */
struct model_orphan {
	int dim; /* index into dims; -1: the load rule */
	const char *table;
	const char *column;
};

struct model_component {
	const char *table;
	const char *column; /* refers to the record's key */
};

struct model_record {
	const char *table;
	const char *const *key; /* columns, NULL-terminated */
	const char *modified;   /* column, or NULL */
	const char *deleted;    /* column, or NULL */
	const char *copies;     /* column, or NULL */
	struct model_component *components;
	size_t n_components;
};

struct model {
	struct arena arena; /* owns everything below */

	const char *name;
	const char *json;          /* the document, as it was given */
	char hash[SHA256_HEX + 1]; /* SHA-256 of json */

	struct model_dim dims[MODEL_DIMS_MAX];
	size_t n_dims;

	bool setup_all;             /* "setup": "*", not expanded yet */
	struct model_table *tables; /* of every role, in no order */
	size_t n_tables;
	int n_slots; /* data tables and the status table */

	const char *process_table; /* or NULL */
	const char *process_key;

	struct model_orphan *orphans;
	size_t n_orphans;
	struct model_record *records;
	size_t n_records;
};

/*
 * Reads a document. -EINVAL: not JSON, or not a model; err says where and
 * what to write instead. -ENOMEM.
 */
NODISCARD int model_parse(const char *json, size_t len, struct model **ret,
			  struct err *err);
struct model *model_free(struct model *model);
DEFINE_FREEP(model)

/* The table of this name (as SQLite compares names), or NULL; borrowed. */
struct model_table *model_find(const struct model *model, const char *name);

/* The column of this name of a bound table, or NULL; borrowed. */
const struct model_column *model_column(const struct model_table *t,
					const char *name);

/* The table in this slot; borrowed. */
const struct model_table *model_slot(const struct model *model, int slot);
