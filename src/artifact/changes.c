/* SPDX-License-Identifier: MIT */
#include <errno.h>

#include "artifact/world.h"

static int changed_povs(struct artifact_read *rd, int slot, int64_t after,
			const struct artifact_watch *watch)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(rd->db, (size_t)(Q_CHANGED_POVS + slot), &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, after);
	while (r == 0 && (r = db_step(stmt)) == 1)
		r = watch->pov(sqlite3_column_int64(stmt, 0),
			       sqlite3_column_int64(stmt, 1), watch->arg);
	return r;
}

static int changed_tables(struct artifact_read *rd, int64_t after,
			  const struct artifact_watch *watch)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	const struct model *m = rd->model;
	int r;

	r = db_stmt(rd->db, Q_CHANGED_TABLES, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, after);
	while (r == 0 && (r = db_step(stmt)) == 1) {
		int64_t id = sqlite3_column_int64(stmt, 0);

		r = 0;
		for (size_t i = 0; r == 0 && i < m->n_tables; i++)
			if (m->tables[i].id == id)
				r = watch->table(&m->tables[i], watch->arg);
	}
	return r;
}

static int changed_labels(struct artifact_read *rd, int64_t after,
			  const struct artifact_watch *watch)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(rd->db, Q_CHANGED_LABELS, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, after);
	while (r == 0 && (r = db_step(stmt)) == 1) {
		struct value key = value_column(stmt, 1);
		struct value label = value_column(stmt, 3);
		int dim = sqlite3_column_int(stmt, 0);

		if (dim < 0 || (size_t)dim >= rd->model->n_dims)
			return -EBADMSG;
		r = watch->label((unsigned)dim, &key, &label,
				 sqlite3_column_int(stmt, 2), watch->arg);
	}
	return r;
}

int artifact_changes(struct artifact_read *rd, int64_t after,
		     const struct artifact_watch *watch)
{
	int r = 0;

	for (int slot = 0; r == 0 && slot < rd->model->n_slots; slot++)
		r = changed_povs(rd, slot, after, watch);
	if (r == 0)
		r = changed_tables(rd, after, watch);
	if (r == 0)
		r = changed_labels(rd, after, watch);
	return r;
}

int artifact_dirs_at(struct artifact_read *rd, unsigned level, int64_t *ret_ids,
		     size_t n_max, size_t *ret_n)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	size_t n = 0;
	int r;

	r = db_stmt(rd->db, Q_DIRS_AT + level, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, (int64_t)n_max);
	while (n < n_max && (r = db_step(stmt)) == 1)
		ret_ids[n++] = sqlite3_column_int64(stmt, 0);
	*ret_n = n;
	return r < 0 ? r : 0;
}
