/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What a capture asks of a database: several reads of one committed state,
 * which POVs have changed, what values are called and whether what the model
 * requires of them is there; and deleting POVs for good.
 */

#include "outboxfs/artifact/artifact.h"

#define CAPTURE_READS_MAX 16

/*
 * Begins *n reads that see one state, in which nothing is unsettled: every
 * change has its number. Writers wait for the moment in which they begin. Each
 * read is for a thread of its own and ended by artifact_read_end(). *n becomes
 * how many there are: one where the database cannot be locked.
 *
 * -EBUSY: other programs hold the write lock, or write all the time, for
 * busy_ms. -ECANCELED: *stop was set meanwhile (NULL: nobody will). -EROFS:
 * there are changes that cannot be numbered because the database cannot be
 * written.
 */
NODISCARD int artifact_capture_begin(struct artifact *a,
				     const _Atomic bool *stop,
				     struct artifact_read *ret, unsigned *n,
				     struct err *err);

/*
 * POVs that were marked after a change number (0: all that there are or once
 * were), each once, ordered by their values if all. The callback returns 0, or
 * an error that ends it.
 */
typedef int (*artifact_pov_func_t)(int64_t id, void *arg);
NODISCARD int artifact_marked_povs(struct artifact_read *rd, int64_t after,
				   artifact_pov_func_t func, void *arg);

/* The POV with these values (as many as there are dimensions). -ENOENT. */
NODISCARD int artifact_find_pov(struct artifact_read *rd,
				const struct value *values, int64_t *ret);

/*
 * What a value is called in the dimension, wherever it stands. keyed: with its
 * key, because another value is known that would have the same name. others:
 * values of other storage classes for which that may hold; their bytes are
 * owned by arena.
 */
#define CAPTURE_OTHERS_MAX 3
struct artifact_naming {
	struct name name;
	struct value others[CAPTURE_OTHERS_MAX];
	size_t n_others;
};
NODISCARD int artifact_value_name(struct artifact_read *rd, unsigned dim,
				  const struct value *v, bool keyed,
				  struct arena *arena,
				  struct artifact_naming *ret);

/* Keys of a dimension's table that have this label: at most a thousand. */
typedef int (*artifact_value_func_t)(const struct value *v, void *arg);
NODISCARD int artifact_keys_of(struct artifact_read *rd, unsigned dim,
			       const struct value *label,
			       artifact_value_func_t func, void *arg);

/*
 * 1: rows that the model requires of a dimension's value (dim -1: a load rule)
 * are missing; 0: all are there.
 */
NODISCARD int artifact_is_missing(struct artifact_read *rd, int dim,
				  const struct value *v);
/* 1: what is_missing() says may be another since this change number; 0. */
NODISCARD int artifact_required_changed(struct artifact_read *rd, int dim,
					int64_t after);

/* The load rules that a table's rows of a POV name, each once. */
NODISCARD int artifact_rules(struct artifact_read *rd,
			     const struct model_table *t,
			     const struct artifact_node *pov,
			     artifact_value_func_t func, void *arg);

/*
 * All rows of a data or status table in one sorted pass, POV by POV, each as
 * artifact_rows() gives it. begin is asked for each: 1: it is wanted; 0: it is
 * passed over; or an error. end is told how many rows it had.
 */
struct artifact_scan {
	int (*begin)(int64_t pov, void *arg);
	int (*end)(int64_t pov, int64_t rows, void *arg);
	struct artifact_sink sink;
};
NODISCARD int artifact_scan(struct artifact_read *rd,
			    const struct model_table *t,
			    const struct artifact_scan *scan, struct err *err);

/*
 * 1: a pass over all of a table is cheaper than reading these n POVs one by
 * one, because no index leads to their rows, or these lie scattered; 0.
 */
NODISCARD int artifact_is_scattered(struct artifact_read *rd,
				    const struct model_table *t,
				    const int64_t *povs, size_t n);

/* The largest key of the process table; NULL without one. arena owns it. */
NODISCARD int artifact_last_process(struct artifact_read *rd,
				    struct arena *arena, struct value *ret);

/*
 * Deletes all data and status rows of POVs, in one transaction, with rd being
 * the state inside of it. next gives a POV's id: 1; 0: no more; or an error,
 * which undoes everything.
 */
typedef int (*artifact_next_func_t)(struct artifact_read *rd, int64_t *ret,
				    void *arg);
NODISCARD int artifact_delete_povs(struct artifact *a,
				   artifact_next_func_t next, void *arg,
				   int64_t *ret_rows, struct err *err);
