/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A draft is a snapshot that is being made. What is put into it is nobody's
 * until draft_commit(), which makes all of it visible in one transaction; a
 * draft that is freed before, or whose process dies, leaves nothing. There is
 * one draft at a time.
 *
 * The order of things: draft_begin(); from several threads, the functions
 * that put in values, POVs, files; then by one thread draft_apply(), which
 * begins the transaction and gives the snapshot its number, whatever the ZIP
 * needs to know (package.h), draft_outbox(), draft_commit().
 *
 * The thread that has called draft_apply() must not call other functions that
 * write to the store (job_log() and so on) before it commits or frees: it holds
 * the lock of those who write.
 *
 * Errors beside those of db.h: -ENOSPC, -EIO from writing packs; -EDQUOT: the
 * store would be over its limit.
 */

#include <stdbool.h>

#include "outboxfs/base/name.h"
#include "outboxfs/store/object.h"

struct draft;

/* -EBUSY: there is one already. -EROFS: the store lives in memory. */
NODISCARD int draft_begin(struct store *store, struct draft **ret,
			  struct err *err);
struct draft *draft_free(struct draft *d); /* undoes what is not committed */
DEFINE_FREEP(draft)

/* The packs may grow by so many bytes: then -EDQUOT. Without it: any. */
void draft_limit(struct draft *d, int64_t bytes);

/*
 * What the last captures knew; zeros: everything must be read anew.
 * store_check_timeline() forgets it where the database is another one; so it
 * must have been called before.
 */
struct captured {
	int64_t setup_change; /* change number */
	int64_t data_change;
	int64_t data_snapshot; /* the last with data */
	char model[SHA256_HEX + 1];
};
NODISCARD int draft_captured(struct draft *d, struct captured *ret);

/* Finds or makes a table's number. role is an enum model_role. */
NODISCARD int draft_table(struct draft *d, const char *name, int role,
			  const char *file_name, int64_t *ret);

/*
 * The number of a dimension's value (or of a load rule: dim -1). 1: *ret and
 * *ret_missing; 0: it is not known yet and wants draft_value_add().
 */
NODISCARD int draft_value(struct draft *d, int dim, const struct value *v,
			  int64_t *ret, bool *ret_missing);
/* Another thread may have added it meanwhile: then that one is *ret. */
NODISCARD int draft_value_add(struct draft *d, int dim, const struct value *v,
			      const struct name *name, bool missing,
			      int64_t *ret);
/* A name or a requirement that has changed. name NULL: as it was. */
NODISCARD int draft_value_set(struct draft *d, int64_t value,
			      const struct name *name, bool missing);

/* All values of a dimension (-1: rules); v is borrowed during the call. */
typedef int (*draft_value_func_t)(int64_t id, const struct value *v,
				  bool missing, void *arg);
NODISCARD int draft_values(struct draft *d, int dim, draft_value_func_t func,
			   void *arg);

/* Finds or makes the POV with these n values. */
NODISCARD int draft_pov(struct draft *d, const int64_t *values, unsigned n,
			int64_t *ret);

/*
 * POVs whose dimension value, or one of whose load rules, this is: their
 * values' keys in order of dimension, borrowed during the call.
 */
typedef int (*draft_pov_func_t)(int64_t pov, const struct value *keys,
				unsigned n, void *arg);
NODISCARD int draft_povs_of(struct draft *d, int64_t value,
			    draft_pov_func_t func, void *arg);

/*
 * Says that a POV was looked at: files that it had and that are not put in
 * are gone. orphan: it is left out of this snapshot, and has no files. rules:
 * the load rules that its rows name.
 */
NODISCARD int draft_examined(struct draft *d, int64_t pov, bool orphan,
			     const int64_t *rules, size_t n_rules);
/* A load rule that rows of a POV name, told before it is examined. */
NODISCARD int draft_rule(struct draft *d, int64_t pov, int64_t rule);
/* Those that this draft was told of. func returns 0 or an error. */
typedef int (*draft_rule_func_t)(int64_t rule, bool missing, void *arg);
NODISCARD int draft_rules_of(struct draft *d, int64_t pov,
			     draft_rule_func_t func, void *arg);
/* Everything was looked at: POVs that were not are gone. */
NODISCARD int draft_all_povs(struct draft *d);
/* Likewise setup/: tables that are not put in are gone. */
NODISCARD int draft_all_setup(struct draft *d);

/* A file of a POV (0: of setup/): this object, or the same as before. */
NODISCARD int draft_file(struct draft *d, int64_t pov, int64_t table,
			 const uint8_t sha256[SHA256_BYTES], wall_s_t time);
/* -ENOENT: there is none in the present state. */
NODISCARD int draft_same_file(struct draft *d, int64_t pov, int64_t table);
/* What is known of a live file from now on (store.h), once it is committed. */
NODISCARD int draft_known(struct draft *d, const struct store_known *known);

/*
 * POVs that are orphans as far as the draft knows, before it is applied: those
 * found now and those that nothing has happened to since.
 */
NODISCARD int draft_orphans(struct draft *d, draft_pov_func_t func, void *arg);

/*
 * Makes objects; one a thread. The bytes of a file are added in any pieces,
 * then object_end() keeps them, once, and says what they became. id is 0
 * until the draft is applied. After an error it begins anew.
 */
struct object_writer;
NODISCARD int object_writer_new(struct draft *d, struct object_writer **ret);
struct object_writer *object_writer_free(struct object_writer *w);
DEFINE_FREEP(object_writer)
NODISCARD int object_add(struct object_writer *w, const void *data, size_t n);
NODISCARD int object_end(struct object_writer *w, int64_t rows,
			 struct object *ret);
void object_cancel(struct object_writer *w); /* drops what was added */

struct draft_head {
	wall_s_t time; /* of the consistent read */
	bool setup;    /* what was captured */
	bool data;
	int64_t change; /* the last change number that it saw */
	char model[SHA256_HEX + 1];
	const char *timeline; /* of the database; change holds under it */
	int64_t job;
};

/*
 * Ends putting in: syncs the packs, begins the transaction and applies
 * everything. *ret_snapshot is its number. Until draft_commit() the functions
 * of package.h see the new state, others the old one. -ESTALE: since the draft
 * was begun the database was found to be another one.
 */
NODISCARD int draft_apply(struct draft *d, const struct draft_head *head,
			  int64_t *ret_snapshot, struct err *err);

struct draft_outbox {
	const char *name;    /* in outbox/ */
	bool overwrite;      /* takes the place of one that has this name */
	const char *type;    /* "all", … */
	const char *channel; /* whose mark moves; NULL: none does */
	bool selected;       /* POVs as draft_select() said; else all */
	int64_t params;      /* objects: SnapshotParams.json */
	int64_t package;     /* datapackage.json */
	int64_t bytes;       /* of the ZIP */
	int64_t entries;
	const char *counts; /* JSON, for the job */
};

/* After draft_apply(): what the ZIP shows of a POV; bits: 1 status, 2 data. */
NODISCARD int draft_select(struct draft *d, int64_t pov, int what);
/* After draft_apply(): a document, which becomes an object at once. */
NODISCARD int draft_document(struct draft *d, const void *data, size_t n,
			     struct object *ret);
/* -EEXIST: the name is taken. Ends the job as done in the same transaction. */
NODISCARD int draft_outbox(struct draft *d, const struct draft_outbox *o,
			   int64_t *ret_id, struct err *err);
NODISCARD int draft_commit(struct draft *d, struct err *err);
