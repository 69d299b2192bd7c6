/* SPDX-License-Identifier: MIT */
/*
 * An export: capture, choose what the ZIP shows, publish. Everything becomes
 * visible in one transaction of the store; before that a crash or an error
 * leaves nothing but, with orphans=delete, the deleted rows, which are in the
 * job's log.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "outboxfs/base/fault.h"
#include "outboxfs/base/log.h"
#include "outboxfs/store/outbox.h"
#include "outboxfs/store/tree.h"
#include "work/orphans.h"
#include "work/params.h"
#include "work/purge.h"

struct export
{
	/* fixed */
	struct work *w;
	const struct job *job;
	const struct command *c;
	bool setup_only;
	bool selected; /* an incremental one, and not the first */

	struct draft *d;
	struct capture capture;
	struct params params;
	struct params_counts counts;
	struct object document; /* data/SnapshotParams.json */
	struct object package;  /* datapackage.json */
};

static bool is_type(const struct command *c, const char *type)
{
	return strcmp(c->type, type) == 0;
}

/* The snapshot that "since" is relative to; 0: none. */
static int find_base(struct work *w, const struct command *c, int64_t *ret,
		     struct err *err)
{
	struct tree_snapshot snapshot;
	int r;

	*ret = 0;
	if (is_type(c, "setup"))
		return 0;
	if (c->base) {
		r = tree_snapshot(w->store, c->base, &snapshot);
		if (r == -ENOENT)
			return err_set(
				err, r,
				"there is no snapshot %lld: see snapshots/",
				(long long)c->base);
		*ret = c->base;
		return r;
	}
	r = channel_get(w->store, c->channel, ret);
	return r < 0 ? r : 0;
}

/* Does it take the place of one that is there? */
static bool replaces(struct work *w, const struct command *c)
{
	struct outbox_entry entry;

	return c->file && c->overwrite &&
	       outbox_find(w->store, c->file, &entry) == 0;
}

static int check_limits(struct work *w, const struct command *c,
			struct err *err)
{
	const struct work_limits *limits = &w->limits;
	int64_t packs;
	int64_t n_outbox;
	int r;

	if (!store_path(w->store))
		return err_set(err, -EROFS,
			       "the store of '%s' cannot be written to",
			       w->database);
	r = store_limited(w->store, &packs, &n_outbox);
	if (r < 0)
		return err_set(err, r, "cannot read the store: %s",
			       strerrordesc_np(-r));
	if (limits->outbox_max && n_outbox >= limits->outbox_max &&
	    !replaces(w, c))
		return err_set(
			err, -EDQUOT,
			"outbox/ has %lld entries, the limit is %lld: withdraw some, or purge",
			(long long)n_outbox, (long long)limits->outbox_max);
	if (limits->store_bytes && packs >= limits->store_bytes)
		return err_set(
			err, -EDQUOT,
			"the store has %lld bytes, the limit is %lld: purge outbox and snapshots",
			(long long)packs, (long long)limits->store_bytes);
	return 0;
}

static int check_name(struct work *w, const struct command *c, struct err *err)
{
	struct outbox_entry entry;
	int r;

	if (!c->file || c->overwrite)
		return 0;
	r = outbox_find(w->store, c->file, &entry);
	if (r == 0)
		return err_set(
			err, -EEXIST,
			"outbox/%s is there already: choose another name, or overwrite=yes",
			c->file);
	return r == -ENOENT ? 0 : r;
}

static int check_export(struct work *w, const struct command *c,
			struct err *err)
{
	int64_t base;
	int r;

	r = check_limits(w, c, err);
	if (r == 0)
		r = check_name(w, c, err);
	if (r == 0)
		r = find_base(w, c, &base, err);
	return r;
}

int work_check(struct work *w, const struct command *c, struct err *err)
{
	struct job job = JOB_NULL;
	int r;

	switch (c->kind) {
	case COMMAND_EXPORT:
		return check_export(w, c, err);
	case COMMAND_ABORT:
		r = job_get(w->store, c->job, &job);
		job_deinit(&job);
		return r == -ENOENT ? err_set(err, r, "there is no job %lld",
					      (long long)c->job)
				    : r;
	case COMMAND_PURGE:
		break;
	}
	if (!store_path(w->store))
		return err_set(err, -EROFS,
			       "the store of '%s' cannot be written to",
			       w->database);
	return purge_check(w, c, err);
}

static int stopped(struct work *w)
{
	return atomic_load(&w->progress.stop) ? -ECANCELED : 0;
}

static int select_pov(int64_t pov, int what, void *arg)
{
	return draft_select(((struct export *)arg)->d, pov, what);
}

/*
 * The database gets a new timeline before anything is stored that holds under
 * it; see store.h. What cannot be written to keeps the one it has.
 */
static int begin_timeline(struct export *e, struct err *err)
{
	char timeline[TIMELINE_BYTES];
	int r;

	r = artifact_draw_timeline(timeline);
	if (r == 0)
		r = fault("export-announce");
	if (r == 0)
		r = store_announce_timeline(e->w->store, timeline);
	if (r == 0)
		r = fault("export-timeline");
	if (r == 0)
		r = artifact_set_timeline(e->w->artifact,
					  e->capture.read.generation, timeline,
					  true, err);
	if (r == -ESTALE)
		return err_set(
			err, r,
			"the database was replaced while it was read: export again");
	if (r == 0)
		memcpy(e->capture.timeline, timeline, sizeof(timeline));
	return r == -EROFS ? 0 : r;
}

static int apply(struct export *e, struct err *err)
{
	struct draft_head head = {
		.time = e->capture.time,
		.setup = e->capture.setup,
		.data = e->capture.data,
		.change = e->capture.change,
		.timeline = e->capture.timeline,
		.job = e->job->id,
	};

	memcpy(head.model, e->capture.model_hash, sizeof(head.model));
	return draft_apply(e->d, &head, &e->params.snapshot, err);
}

static struct package_spec spec_of(const struct export *e)
{
	return (struct package_spec){
		.snapshot = e->params.snapshot,
		.setup_only = e->setup_only,
		.selected = e->selected,
		.params = e->document.id,
		.document = e->package.id,
		.time = e->capture.time,
	};
}

/* The two documents, of what the ZIP shows beside them. */
static int put_documents(struct export *e)
{
	CLEANUP(package_freep) struct package *files = NULL;
	CLEANUP(buf_deinit) struct buf params = BUF_NULL;
	CLEANUP(buf_deinit) struct buf package = BUF_NULL;
	struct package_spec spec = spec_of(e);
	int r;

	r = package_list(e->w->store, e->d, &spec, &files);
	if (r == 0)
		r = params_json(&e->params, e->d, files, &params, &e->counts);
	if (r == 0)
		r = params_package_json(&e->params, files, &package);
	if (r == 0)
		r = draft_document(e->d, params.data, params.len, &e->document);
	if (r == 0)
		r = draft_document(e->d, package.data, package.len,
				   &e->package);
	return r;
}

static void make_name(const struct export *e, struct name *ret)
{
	const char *slash = strrchr(e->w->database, '/');
	const char *base = slash ? slash + 1 : e->w->database;
	const char *dot = strrchr(base, '.');
	int len = (int)(dot && dot > base ? dot - base : (long)strlen(base));

	if (e->c->file)
		(void)snprintf(ret->text, sizeof(ret->text), "%s", e->c->file);
	else
		(void)snprintf(ret->text, sizeof(ret->text), "%.*s-%s-%lld.zip",
			       len > 200 ? 200 : len, base, e->c->type,
			       (long long)e->params.snapshot);
}

static int put_zip(struct export *e, struct err *err)
{
	CLEANUP(package_freep) struct package *files = NULL;
	CLEANUP(zip_layout_freep) struct zip_layout *zip = NULL;
	CLEANUP(buf_deinit) struct buf counts = BUF_NULL;
	struct package_spec spec = spec_of(e);
	struct draft_outbox outbox = {
		.overwrite = e->c->overwrite,
		.type = e->c->type,
		.channel = e->params.channel,
		.selected = e->selected,
		.params = e->document.id,
		.package = e->package.id,
	};
	struct name name;
	int64_t id;
	int r;

	r = package_list(e->w->store, e->d, &spec, &files);
	if (r == 0)
		r = package_zip(files, &zip);
	if (r == 0)
		r = params_counts_json(&e->counts, &counts);
	if (r < 0)
		return r;
	make_name(e, &name);
	outbox.name = name.text;
	outbox.bytes = zip_layout_size(zip);
	outbox.entries = (int64_t)zip_layout_count(zip);
	outbox.counts = buf_str(&counts);
	if (!outbox.counts)
		return -ENOMEM;
	return draft_outbox(e->d, &outbox, &id, err);
}

static int publish(struct export *e, struct err *err)
{
	int r;

	atomic_store(&e->w->progress.step, "publishing");
	r = begin_timeline(e, err);
	if (r == 0)
		r = apply(e, err);
	if (r == 0 && e->selected)
		r = package_changed(e->d, e->params.base, select_pov, e);
	if (r == 0)
		r = put_documents(e);
	if (r == 0)
		r = put_zip(e, err);
	if (r == 0)
		r = fault("export-commit");
	if (r == 0)
		r = stopped(e->w);
	return r < 0 ? r : draft_commit(e->d, err);
}

/*
 * The mark says that whoever applied the channel's ZIPs in order has all up to
 * there. A ZIP that begins later than the mark would make that untrue.
 */
static int find_channel(struct export *e)
{
	int64_t mark = 0;
	int r;

	e->params.channel = e->setup_only ? NULL : e->c->channel;
	if (!e->c->base || !is_type(e->c, "incremental"))
		return 0;
	r = channel_get(e->w->store, e->c->channel, &mark);
	if (r >= 0 && e->c->base > mark)
		e->params.channel = NULL;
	return r < 0 ? r : 0;
}

static int prepare(struct export *e)
{
	e->setup_only = is_type(e->c, "setup");
	e->capture.setup = true;
	e->capture.data = !e->setup_only;
	e->capture.afresh = is_type(e->c, "all");
	e->selected = is_type(e->c, "incremental") && e->params.base != 0;
	e->params.capture = &e->capture;
	e->params.command = e->c;
	e->params.job = e->job;
	return find_channel(e);
}

static int limit(struct export *e)
{
	int64_t packs;
	int64_t n_outbox;
	int r;

	if (!e->w->limits.store_bytes)
		return 0;
	r = store_limited(e->w->store, &packs, &n_outbox);
	if (r == 0)
		draft_limit(e->d, e->w->limits.store_bytes - packs);
	return r;
}

static int run(struct export *e, struct err *err)
{
	int r;

	r = capture_check_timeline(e->w, err);
	if (r == 0)
		r = draft_begin(e->w->store, &e->d, err);
	if (r == 0)
		r = limit(e);
	if (r == 0)
		r = capture_run(e->w, e->d, &e->capture, err);
	e->params.model = e->capture.read.model;
	if (r == 0)
		r = stopped(e->w);
	if (r == 0 && e->c->delete_orphans)
		r = orphans_delete(e->w, e->d, e->job->id, err);
	if (r < 0)
		return r;
	r = publish(e, err);
	/* Ends the transaction as well, where it was not committed. */
	e->d = draft_free(e->d);
	return r;
}

int work_export(struct work *w, const struct job *job, const struct command *c,
		int64_t *ret_snapshot, struct err *err)
{
	struct export e = {.w = w, .job = job, .c = c, .capture = CAPTURE_NULL};
	int r;

	r = check_export(w, c, err);
	if (r == 0)
		r = find_base(w, c, &e.params.base, err);
	if (r < 0)
		return r;
	r = prepare(&e);
	if (r < 0)
		return r;
	r = run(&e, err);
	if (r == -EDQUOT && !err->text[0])
		err_set(err, r,
			"the store would exceed its limit of %lld bytes: purge outbox and snapshots, or raise max_store",
			(long long)w->limits.store_bytes);
	draft_free(e.d);
	capture_deinit(&e.capture);
	*ret_snapshot = r == 0 ? e.params.snapshot : 0;
	return r;
}
