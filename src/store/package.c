/* SPDX-License-Identifier: MIT */
#include "outboxfs/store/package.h"

#include <errno.h>
#include <string.h>

#include "statements.h"
#include "store/draft.h"
#include "store/paths.h"

#define FILES_MAX ((size_t)1 << 31)

struct package *package_free(struct package *p)
{
	if (!p)
		return NULL;
	free(p->files);
	arena_deinit(&p->arena);
	free(p);
	return NULL;
}

/* A package that is being listed. */
struct listing {
	struct package *package; /* owned */
	size_t cap;
	struct paths paths;
	struct buf path;
	int64_t outbox; /* whose selection */
};

static void listing_deinit(struct listing *l)
{
	package_free(l->package);
	paths_deinit(&l->paths);
	buf_deinit(&l->path);
}

static int add_file(struct listing *l, const struct package_file *file)
{
	struct package *p = l->package;
	size_t cap = l->cap ? l->cap * 2 : 64;
	struct package_file *files = p->files;

	if (p->n == FILES_MAX)
		return -EFBIG;
	if (p->n == l->cap) {
		files = reallocarray(files, cap, sizeof(*files));
		if (!files)
			return -ENOMEM;
		p->files = files;
		l->cap = cap;
	}
	p->files[p->n] = *file;
	p->files[p->n].path =
		arena_strndup(&p->arena, l->path.data, l->path.len);
	if (!p->files[p->n].path)
		return -ENOMEM;
	p->n++;
	return 0;
}

/* Role 0 setup, 1 data, 2 status: enum model_role. */
static int make_path(struct listing *l, sqlite3_stmt *stmt)
{
	static const char *const tops[] = {"setup/", "output/", "data/"};
	int role = sqlite3_column_int(stmt, 4);
	const char *above = "";
	const char *name = "";
	int r = 0;

	if (role < 0 || (size_t)role >= ARRAY_SIZE(tops))
		return -EBADMSG;
	buf_clear(&l->path);
	buf_puts(&l->path, tops[role]);
	if (role > 0) {
		r = paths_dir(&l->paths, sqlite3_column_int64(stmt, 1), &above);
		if (r == 0)
			r = paths_name(&l->paths, sqlite3_column_int64(stmt, 2),
				       &name);
		if (r < 0)
			return r;
		buf_puts(&l->path, above);
		if (*above)
			buf_putc(&l->path, '/');
		buf_puts(&l->path, name);
		buf_putc(&l->path, '/');
	}
	buf_puts(&l->path, (const char *)sqlite3_column_text(stmt, 5));
	return buf_error(&l->path);
}

static int add_row(struct listing *l, sqlite3_stmt *stmt)
{
	struct package_file file = {
		.pov = sqlite3_column_int64(stmt, 0),
		.table = sqlite3_column_int64(stmt, 3),
		.time = sqlite3_column_int64(stmt, 6),
		.object = sqlite3_column_int64(stmt, 7),
		.size = sqlite3_column_int64(stmt, 8),
		.packed = sqlite3_column_int64(stmt, 9),
		.rows = sqlite3_column_int64(stmt, 10),
		.pack = sqlite3_column_int64(stmt, 11),
		.offset = sqlite3_column_int64(stmt, 12),
		.crc = (uint32_t)sqlite3_column_int64(stmt, 13),
		.method = (uint16_t)sqlite3_column_int(stmt, 14),
	};
	int r;

	if (sqlite3_column_bytes(stmt, 15) != SHA256_BYTES)
		return -EBADMSG;
	memcpy(file.sha256, sqlite3_column_blob(stmt, 15), SHA256_BYTES);
	r = make_path(l, stmt);
	return r < 0 ? r : add_file(l, &file);
}

static int add_all(struct listing *l, size_t statement)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(l->paths.db, statement, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, l->paths.snapshot);
	if (statement == STORE_PACKAGE_SELECTED)
		sqlite3_bind_int64(stmt, 2, l->outbox);
	while ((r = db_step(stmt)) == 1) {
		r = add_row(l, stmt);
		if (r < 0)
			return r;
	}
	return r;
}

static int add_document(struct listing *l, const char *path, int64_t object,
			wall_s_t time)
{
	struct package_file file = {.object = object, .time = time};
	struct object o;
	int r;

	if (object == 0)
		return 0;
	r = object_get_on(l->paths.db, object, &o);
	if (r < 0)
		return r == -ENOENT ? -EBADMSG : r;
	file.size = o.size;
	file.packed = o.packed;
	file.pack = o.pack;
	file.offset = o.offset;
	file.crc = o.crc;
	file.method = o.method;
	memcpy(file.sha256, o.sha256, SHA256_BYTES);
	buf_clear(&l->path);
	buf_puts(&l->path, path);
	return buf_error(&l->path) ? -ENOMEM : add_file(l, &file);
}

/* 1: what is open now is what the snapshot shows. */
static int is_present(struct db *db, int64_t snapshot)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(db, STORE_PACKAGE_IS_PRESENT, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, snapshot);
	return db_step(stmt);
}

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct package_file *)a)->path,
		      ((const struct package_file *)b)->path);
}

static int list_on(struct listing *l, const struct package_spec *spec)
{
	struct package *p = l->package;
	size_t statement = STORE_PACKAGE_SELECTED;
	int r;

	if (!spec->selected) {
		r = is_present(l->paths.db, spec->snapshot);
		if (r < 0)
			return r;
		statement = r ? STORE_PACKAGE_PRESENT : STORE_PACKAGE_PAST;
	}
	r = add_all(l, STORE_PACKAGE_SETUP);
	if (r == 0 && !spec->setup_only)
		r = add_all(l, statement);
	if (r == 0)
		r = add_document(l, "data/SnapshotParams.json", spec->params,
				 spec->time);
	if (r == 0)
		r = add_document(l, "datapackage.json", spec->document,
				 spec->time);
	if (r < 0)
		return r;
	if (p->n)
		qsort(p->files, p->n, sizeof(*p->files), compare);
	/* A ZIP with a name twice is read in as many ways as there are tools.
	 */
	for (size_t i = 1; i < p->n; i++)
		if (compare(&p->files[i - 1], &p->files[i]) == 0)
			return -EBADMSG;
	return 0;
}

int package_list_on(struct db *db, int64_t outbox,
		    const struct package_spec *spec, struct package **ret)
{
	CLEANUP(listing_deinit)
	struct listing l = {
		.paths = PATHS_INIT(db, spec->snapshot),
		.path = BUF_NULL,
		.outbox = outbox,
	};
	int r;

	l.package = calloc(1, sizeof(*l.package));
	if (!l.package)
		return -ENOMEM;
	r = list_on(&l, spec);
	if (r == 0)
		*ret = TAKE_PTR(l.package);
	return r;
}

static int list_committed(struct db *db, const struct package_spec *spec,
			  struct package **ret)
{
	CLEANUP(db_rollback) struct db_txn txn = DB_TXN_NULL;
	int r;

	r = db_begin(db, &txn); /* one state for all statements */
	return r < 0 ? r : package_list_on(db, spec->outbox, spec, ret);
}

int package_list(struct store *store, struct draft *draft,
		 const struct package_spec *spec, struct package **ret)
{
	struct db *db;
	int r;

	if (draft)
		return package_list_on(
			draft_db(draft),
			spec->outbox ? spec->outbox : draft->outbox, spec, ret);
	r = store_reader_get(store, &db);
	if (r < 0)
		return r;
	r = list_committed(db, spec, ret);
	store_reader_put(store, db);
	return r;
}

int package_zip(const struct package *p, struct zip_layout **ret)
{
	CLEANUP(zip_layout_draft_freep) struct zip_layout_draft *zip = NULL;
	int r;

	r = zip_layout_begin(&zip);
	for (size_t i = 0; r == 0 && i < p->n; i++) {
		const struct package_file *f = &p->files[i];
		const struct zip_entry entry = {
			.name = f->path,
			.time = f->time,
			.size = f->size,
			.packed = f->packed,
			.crc = f->crc,
			.method = f->method,
			.source = (uint32_t)f->pack,
			.position = f->offset,
		};

		r = f->pack > UINT32_MAX ? -EFBIG : zip_layout_add(zip, &entry);
	}
	return r < 0 ? r : zip_layout_end(zip, ret);
}

int package_changed(struct draft *draft, int64_t base, package_pov_func_t func,
		    void *arg)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	int r;

	r = db_stmt(draft_db(draft),
		    base ? STORE_PACKAGE_CHANGED : STORE_PACKAGE_ALL, &stmt);
	if (r < 0)
		return r;
	if (base)
		sqlite3_bind_int64(stmt, 1, base);
	while ((r = db_step(stmt)) == 1) {
		r = func(sqlite3_column_int64(stmt, 0),
			 sqlite3_column_int(stmt, 1), arg);
		if (r < 0)
			return r;
	}
	return r;
}

static int call_gone(struct draft *draft, struct paths *paths, int64_t base,
		     package_gone_func_t func, void *arg)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	CLEANUP(buf_deinit) struct buf path = BUF_NULL;
	int64_t pov;
	int r;

	r = db_stmt(draft_db(draft), STORE_PACKAGE_GONE, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, base);
	while ((r = db_step(stmt)) == 1) {
		pov = sqlite3_column_int64(stmt, 0);
		buf_clear(&path);
		r = paths_pov(paths, pov, &path);
		if (r == 0 && !buf_str(&path))
			r = -ENOMEM;
		if (r == 0)
			r = func(pov, path.data, sqlite3_column_int(stmt, 1),
				 sqlite3_column_int(stmt, 2) != 0, arg);
		if (r < 0)
			return r;
	}
	return r;
}

int package_gone(struct draft *draft, int64_t base, package_gone_func_t func,
		 void *arg)
{
	CLEANUP(paths_deinit)
	struct paths paths = PATHS_INIT(draft_db(draft), base);

	return base ? call_gone(draft, &paths, base, func, arg) : 0;
}

static int call_orphans(struct draft *draft, struct paths *paths,
			package_orphan_func_t func, void *arg)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	CLEANUP(buf_deinit) struct buf path = BUF_NULL;
	int64_t pov;
	int r;

	r = db_stmt(draft_db(draft), STORE_PACKAGE_ORPHANS, &stmt);
	if (r < 0)
		return r;
	while ((r = db_step(stmt)) == 1) {
		pov = sqlite3_column_int64(stmt, 0);
		buf_clear(&path);
		r = paths_pov(paths, pov, &path);
		if (r == 0 && !buf_str(&path))
			r = -ENOMEM;
		if (r == 0)
			r = func(pov, path.data, arg);
		if (r < 0)
			return r;
	}
	return r;
}

int package_orphans(struct draft *draft, package_orphan_func_t func, void *arg)
{
	CLEANUP(paths_deinit)
	struct paths paths = PATHS_INIT(draft_db(draft), draft_snapshot(draft));

	return call_orphans(draft, &paths, func, arg);
}

int package_renamed(struct draft *draft, int64_t base,
		    package_renamed_func_t func, void *arg)
{
	CLEANUP(db_reset) sqlite3_stmt *stmt = NULL;
	struct value v;
	int r;

	if (base == 0)
		return 0;
	r = db_stmt(draft_db(draft), STORE_PACKAGE_RENAMED, &stmt);
	if (r < 0)
		return r;
	sqlite3_bind_int64(stmt, 1, base);
	while ((r = db_step(stmt)) == 1) {
		r = value_decode(sqlite3_column_blob(stmt, 1),
				 (size_t)sqlite3_column_bytes(stmt, 1), &v);
		if (r == 0)
			r = func(sqlite3_column_int(stmt, 0), &v,
				 (const char *)sqlite3_column_text(stmt, 2),
				 (const char *)sqlite3_column_text(stmt, 3),
				 arg);
		if (r < 0)
			return r;
	}
	return r;
}
