/* SPDX-License-Identifier: MIT */

/*
 * Staging: what a draft is given, in TEMP tables, where it costs no transaction
 * and nobody sees it. Ids of what is new are given out here already, above all
 * that there ever were; they are final, because there is one writer.
 *
 * Callbacks are called without the lock, since they put into the draft.
 */

#include "store/draft.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "outboxfs/base/fault.h"
#include "outboxfs/base/log.h"
#include "statements.h"

extern const char schema_draft_sql[];

#define CACHE_KIB 65536 /* random inserts into the index's indexes */
#define KEYS_MAX  64    /* dimensions, more than a model may have */

struct db *draft_db(struct draft *d)
{
	return d->db;
}

int64_t draft_snapshot(const struct draft *d)
{
	return d->snapshot;
}

static int open_own(struct draft *d, struct err *err)
{
	struct db_config config = {
		.sql = {.text = store_statements, .n = STORE_STATEMENTS_N},
		.busy_ms = 60000,
		.cache_kib = CACHE_KIB,
		.temp_file = true,
	};
	CLEANUP(freep) char *path = NULL;

	if (asprintf(&path, "%s/store.db", d->store->path) < 0)
		return -ENOMEM;
	config.path = path;
	return db_open(&config, &d->db, err);
}

/*
 * One transaction for all that is staged: it writes TEMP tables only, and it
 * spares each statement to lock the file.
 */
static int begin_on(struct draft *d, struct err *err)
{
	int r;

	r = fault("draft-begin");
	if (r == 0)
		r = open_own(d, err);
	if (r == 0)
		r = db_exec(d->db, "PRAGMA synchronous=FULL", err);
	if (r == 0)
		r = db_exec(d->db, schema_draft_sql, err);
	if (r == 0)
		r = db_begin(d->db, &d->staging);
	if (r == 0)
		r = store_number(d->db, STORE_DRAFT_LAST_DIR, &d->last_dir);
	if (r == 0)
		r = store_number(d->db, STORE_DRAFT_LAST_VALUE, &d->last_value);
	if (r == 0)
		r = pack_append_begin(d->store, d->db, &d->append);
	return r;
}

int draft_begin(struct store *store, struct draft **ret, struct err *err)
{
	CLEANUP(draft_freep) struct draft *d = NULL; /* freed without lock */
	int r;

	if (!store->path)
		return err_set(err, -EROFS,
			       "the store cannot be written, it is in memory");
	lock_take(&store->lock);
	if (store->draft) {
		lock_drop(&store->lock);
		return err_set(err, -EBUSY,
			       "another snapshot is being made already");
	}
	d = calloc(1, sizeof(*d));
	r = d ? 0 : -ENOMEM;
	if (d) {
		d->store = store;
		lock_init(&d->lock, "draft", LOCK_RANK_DRAFT);
		d->n_timelines = store->n_timelines;
		d->n_forgotten = store->n_forgotten;
		store->draft = d;
		r = begin_on(d, err);
	}
	lock_drop(&store->lock);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(d);
	return 0;
}

struct draft *draft_free(struct draft *d)
{
	struct store *store;

	if (!d)
		return NULL;
	store = d->store;
	db_rollback(&d->staging);
	if (d->applied) {
		db_rollback(&d->txn);
		lock_drop(&store->lock);
	}
	/* Nobody else appends as long as the store has this draft. */
	pack_append_free(d->append, d->committed);
	db_free(d->db); /* and what is staged */
	lock_take(&store->lock);
	store->draft = NULL;
	lock_drop(&store->lock);
	lock_deinit(&d->lock);
	free(d);
	return NULL;
}

void draft_limit(struct draft *d, int64_t bytes)
{
	pack_append_limit(d->append, bytes > 0 ? bytes : 0);
}

int draft_captured(struct draft *d, struct captured *ret)
{
	LOCK_SCOPE(&d->lock);
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(d->db, STORE_DRAFT_CAPTURED, &stmt);
	if (r == 0)
		r = db_step(stmt);
	if (r <= 0)
		return r < 0 ? r : -EBADMSG;
	*ret = (struct captured){
		.setup_change = sqlite3_column_int64(stmt, 0),
		.data_change = sqlite3_column_int64(stmt, 1),
		.data_snapshot = sqlite3_column_int64(stmt, 2),
	};
	(void)snprintf(ret->model, sizeof(ret->model), "%s",
		       (const char *)sqlite3_column_text(stmt, 3));
	return 0;
}

static int table_step(struct db *db, size_t statement, const char *name,
		      int role, const char *file, int64_t *id)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(db, statement, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_text(stmt, 1, name, -1, SQLITE_STATIC);
	sqlite3_bind_int(stmt, 2, role);
	sqlite3_bind_text(stmt, 3, file, -1, SQLITE_STATIC);
	if (statement == STORE_DRAFT_TBL_ADD)
		sqlite3_bind_int64(stmt, 4, *id);
	r = db_step(stmt);
	if (r == 1)
		*id = sqlite3_column_int64(stmt, 0);
	return r;
}

int draft_table(struct draft *d, const char *name, int role,
		const char *file_name, int64_t *ret)
{
	LOCK_SCOPE(&d->lock);
	struct db *db = d->db;
	int64_t id = 0;
	int r;

	r = table_step(db, STORE_DRAFT_TBL_FIND, name, role, file_name, &id);
	if (r == 0) {
		r = store_number(db, STORE_DRAFT_LAST_TBL, &id);
		id++;
		if (r == 0)
			r = table_step(db, STORE_DRAFT_TBL_ADD, name, role,
				       file_name, &id);
	}
	if (r < 0)
		return r;
	*ret = id;
	return 0;
}

static int value_find(struct draft *d, int dim, const struct buf *key,
		      int64_t *ret, bool *ret_missing)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(d->db, STORE_DRAFT_VALUE_FIND, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int(stmt, 1, dim);
	sqlite3_bind_blob64(stmt, 2, key->data, key->len, SQLITE_STATIC);
	r = db_step(stmt);
	if (r != 1)
		return r;
	*ret = sqlite3_column_int64(stmt, 0);
	*ret_missing = sqlite3_column_int(stmt, 1) != 0;
	return 1;
}

int draft_value(struct draft *d, int dim, const struct value *v, int64_t *ret,
		bool *ret_missing)
{
	LOCK_SCOPE(&d->lock);
	CLEANUP(buf_deinit) struct buf key = BUF_NULL;
	int r;

	r = value_encode(v, &key);
	return r < 0 ? r : value_find(d, dim, &key, ret, ret_missing);
}

static int value_add(struct draft *d, int dim, const struct buf *key,
		     bool missing)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(d->db, STORE_DRAFT_VALUE_ADD, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, d->last_value + 1);
	sqlite3_bind_int(stmt, 2, dim);
	sqlite3_bind_blob64(stmt, 3, key->data, key->len, SQLITE_STATIC);
	sqlite3_bind_int(stmt, 4, missing);
	r = db_step(stmt);
	if (r == 0)
		d->last_value++;
	return r;
}

static int name_set(struct draft *d, int64_t value, const struct name *name,
		    bool missing)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(d->db, STORE_DRAFT_NAME_SET, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, value);
	if (name)
		sqlite3_bind_text(stmt, 2, name->text, (int)name->len,
				  SQLITE_STATIC);
	sqlite3_bind_int(stmt, 3, missing);
	return db_step(stmt);
}

int draft_value_add(struct draft *d, int dim, const struct value *v,
		    const struct name *name, bool missing, int64_t *ret)
{
	LOCK_SCOPE(&d->lock);
	CLEANUP(buf_deinit) struct buf key = BUF_NULL;
	bool is_missing;
	int64_t id;
	int r;

	r = value_encode(v, &key);
	if (r == 0)
		r = value_find(d, dim, &key, &id, &is_missing);
	if (r == 0) {
		r = value_add(d, dim, &key, missing);
		id = d->last_value;
		if (r == 0)
			r = name_set(d, id, name, missing);
	}
	if (r < 0)
		return r;
	*ret = id;
	return 0;
}

int draft_value_set(struct draft *d, int64_t value, const struct name *name,
		    bool missing)
{
	LOCK_SCOPE(&d->lock);

	return name_set(d, value, name, missing);
}

/* Rows that were read under the lock, for callbacks without it. */
struct found {
	int64_t id;
	size_t key; /* in keys */
	size_t n;   /* bytes of it */
	bool missing;
};

static int collect_values(struct draft *d, int dim, struct buf *ret,
			  struct buf *ret_keys)
{
	LOCK_SCOPE(&d->lock);
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(d->db, STORE_DRAFT_VALUES, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int(stmt, 1, dim);
	while ((r = db_step(stmt)) == 1) {
		const struct found f = {
			.id = sqlite3_column_int64(stmt, 0),
			.key = ret_keys->len,
			.n = (size_t)sqlite3_column_bytes(stmt, 1),
			.missing = sqlite3_column_int(stmt, 2) != 0,
		};

		buf_add(ret_keys, sqlite3_column_blob(stmt, 1), f.n);
		buf_add(ret, &f, sizeof(f));
	}
	if (r == 0)
		r = buf_error(ret_keys);
	return r < 0 ? r : buf_error(ret);
}

int draft_values(struct draft *d, int dim, draft_value_func_t func, void *arg)
{
	CLEANUP(buf_deinit) struct buf all = BUF_NULL;
	CLEANUP(buf_deinit) struct buf keys = BUF_NULL;
	struct found f;
	struct value v;
	int r;

	r = collect_values(d, dim, &all, &keys);
	for (size_t i = 0; r == 0 && i < all.len; i += sizeof(f)) {
		memcpy(&f, all.data + i, sizeof(f));
		r = value_decode(keys.data + f.key, f.n, &v);
		if (r == 0)
			r = func(f.id, &v, f.missing, arg);
	}
	return r;
}

static int dir_find(struct draft *d, int64_t parent, int64_t value, bool pov,
		    int64_t *ret)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(d->db, STORE_DRAFT_DIR_FIND, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, parent);
	sqlite3_bind_int64(stmt, 2, value);
	sqlite3_bind_int(stmt, 3, pov);
	r = db_step(stmt);
	if (r == 1)
		*ret = sqlite3_column_int64(stmt, 0);
	return r;
}

struct dir_key {
	int64_t parent;
	int64_t value;
	unsigned level;
	bool pov;
};

static int dir_make(struct draft *d, const struct dir_key *key, int64_t *ret)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = dir_find(d, key->parent, key->value, key->pov, ret);
	if (r != 0)
		return r < 0 ? r : 0;
	r = db_stmt(d->db, STORE_DRAFT_DIR_ADD, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, d->last_dir + 1);
	sqlite3_bind_int64(stmt, 2, key->parent);
	sqlite3_bind_int64(stmt, 3, key->value);
	sqlite3_bind_int64(stmt, 4, key->level);
	sqlite3_bind_int(stmt, 5, key->pov);
	r = db_step(stmt);
	if (r == 0)
		*ret = ++d->last_dir;
	return r;
}

int draft_pov(struct draft *d, const int64_t *values, unsigned n, int64_t *ret)
{
	LOCK_SCOPE(&d->lock);
	int64_t id = 1;
	int r = 0;

	for (unsigned i = 0; r == 0 && i < n; i++) {
		const struct dir_key key = {
			.parent = id,
			.value = values[i],
			.level = i + 1,
			.pov = i + 1 == n,
		};

		r = dir_make(d, &key, &id);
	}
	if (r == 0)
		*ret = id;
	return r;
}

static int collect_povs(struct draft *d, int64_t value, struct buf *ret)
{
	LOCK_SCOPE(&d->lock);
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int64_t id;
	int r;

	r = db_stmt(d->db, STORE_DRAFT_POVS_OF, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, value);
	while ((r = db_step(stmt)) == 1) {
		id = sqlite3_column_int64(stmt, 0);
		buf_add(ret, &id, sizeof(id));
	}
	return r < 0 ? r : buf_error(ret);
}

/* The encoded keys of a POV, one behind the other, and where each begins. */
static int collect_keys(struct draft *d, int64_t pov, struct buf *ret,
			size_t *ret_at, unsigned *ret_n)
{
	LOCK_SCOPE(&d->lock);
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	unsigned n = 0;
	int r;

	r = db_stmt(d->db, STORE_DRAFT_POV_KEYS, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, pov);
	while ((r = db_step(stmt)) == 1) {
		if (n == KEYS_MAX)
			return -E2BIG;
		ret_at[n++] = ret->len;
		buf_add(ret, sqlite3_column_blob(stmt, 0),
			(size_t)sqlite3_column_bytes(stmt, 0));
	}
	ret_at[n] = ret->len;
	*ret_n = n;
	if (r == 0 && n == 0)
		return -EBADMSG; /* no such POV */
	return r < 0 ? r : buf_error(ret);
}

static int call_pov(struct draft *d, int64_t pov, struct buf *keys,
		    draft_pov_func_t func, void *arg)
{
	struct value values[KEYS_MAX];
	size_t at[KEYS_MAX + 1];
	unsigned n;
	int r;

	buf_clear(keys);
	r = collect_keys(d, pov, keys, at, &n);
	for (unsigned i = 0; r == 0 && i < n; i++)
		r = value_decode(keys->data + at[i], at[i + 1] - at[i],
				 &values[i]);
	return r < 0 ? r : func(pov, values, n, arg);
}

static int call_povs(struct draft *d, const struct buf *povs,
		     draft_pov_func_t func, void *arg)
{
	CLEANUP(buf_deinit) struct buf keys = BUF_NULL;
	int64_t pov;
	int r = 0;

	for (size_t i = 0; r == 0 && i < povs->len; i += sizeof(pov)) {
		memcpy(&pov, povs->data + i, sizeof(pov));
		r = call_pov(d, pov, &keys, func, arg);
	}
	return r;
}

int draft_povs_of(struct draft *d, int64_t value, draft_pov_func_t func,
		  void *arg)
{
	CLEANUP(buf_deinit) struct buf povs = BUF_NULL;
	int r = collect_povs(d, value, &povs);

	return r < 0 ? r : call_povs(d, &povs, func, arg);
}

int draft_examined(struct draft *d, int64_t pov, bool orphan,
		   const int64_t *rules, size_t n_rules)
{
	LOCK_SCOPE(&d->lock);
	int r;

	r = store_run_with(d->db, STORE_DRAFT_EXAMINED, pov, orphan);
	/* That rules are missing is known when its files have been read. */
	if (r == 0 && orphan)
		r = store_run_with(d->db, STORE_DRAFT_FILES_DROP, pov, 0);
	for (size_t i = 0; r == 0 && i < n_rules; i++)
		r = store_run_with(d->db, STORE_DRAFT_RULE, pov, rules[i]);
	return r;
}

int draft_rule(struct draft *d, int64_t pov, int64_t rule)
{
	LOCK_SCOPE(&d->lock);

	return store_run_with(d->db, STORE_DRAFT_RULE, pov, rule);
}

int draft_rules_of(struct draft *d, int64_t pov, draft_rule_func_t func,
		   void *arg)
{
	LOCK_SCOPE(&d->lock);
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(d->db, STORE_DRAFT_RULES_OF, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, pov);
	while (r == 0 && (r = db_step(stmt)) == 1)
		r = func(sqlite3_column_int64(stmt, 0),
			 sqlite3_column_int(stmt, 1) != 0, arg);
	return r;
}

int draft_all_povs(struct draft *d)
{
	LOCK_SCOPE(&d->lock);

	d->all_povs = true;
	return 0;
}

int draft_all_setup(struct draft *d)
{
	LOCK_SCOPE(&d->lock);

	d->all_setup = true;
	return 0;
}

static int put_file(struct draft *d, int64_t pov, int64_t table,
		    const uint8_t *sha256, wall_s_t time)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(d->db, STORE_DRAFT_FILE, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, pov);
	sqlite3_bind_int64(stmt, 2, table);
	if (sha256)
		sqlite3_bind_blob(stmt, 3, sha256, SHA256_BYTES, SQLITE_STATIC);
	sqlite3_bind_int64(stmt, 4, time);
	return db_step(stmt);
}

int draft_file(struct draft *d, int64_t pov, int64_t table,
	       const uint8_t sha256[SHA256_BYTES], wall_s_t time)
{
	LOCK_SCOPE(&d->lock);

	return put_file(d, pov, table, sha256, time);
}

int draft_same_file(struct draft *d, int64_t pov, int64_t table)
{
	LOCK_SCOPE(&d->lock);
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(d->db, STORE_DRAFT_HAS_FILE, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, pov);
	sqlite3_bind_int64(stmt, 2, table);
	r = db_step(stmt);
	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	return put_file(d, pov, table, NULL, 0);
}

int draft_known(struct draft *d, const struct store_known *known)
{
	LOCK_SCOPE(&d->lock);
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(d->db, STORE_DRAFT_KNOWN, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, known->pov);
	sqlite3_bind_int64(stmt, 2, known->table);
	sqlite3_bind_int64(stmt, 3, known->change);
	sqlite3_bind_int64(stmt, 4, known->rows);
	sqlite3_bind_int64(stmt, 5, known->bytes);
	sqlite3_bind_blob(stmt, 6, known->sha256, SHA256_BYTES, SQLITE_STATIC);
	return db_step(stmt);
}

static int collect_orphans(struct draft *d, struct buf *ret)
{
	LOCK_SCOPE(&d->lock);
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int64_t id;
	int r;

	r = db_stmt(d->db, STORE_DRAFT_ORPHANS, &stmt);
	if (r < 0)
		return r;
	while ((r = db_step(stmt)) == 1) {
		id = sqlite3_column_int64(stmt, 0);
		buf_add(ret, &id, sizeof(id));
	}
	return r < 0 ? r : buf_error(ret);
}

int draft_orphans(struct draft *d, draft_pov_func_t func, void *arg)
{
	CLEANUP(buf_deinit) struct buf povs = BUF_NULL;
	int r = collect_orphans(d, &povs);

	return r < 0 ? r : call_povs(d, &povs, func, arg);
}
