/* SPDX-License-Identifier: MIT */
#include "fs/publish.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fs/control.h"
#include "fs/handle.h"
#include "outboxfs/base/clock.h"
#include "outboxfs/base/log.h"
#include "outboxfs/store/outbox.h"
#include "outboxfs/store/tree.h"

#define NOTICES_MAX 20000 /* more is everything */

/* A name that the kernel may believe in. */
struct shown {
	struct node dir;
	int64_t id;
	char *name; /* owned */
};

struct publish {
	/* the runner's thread's own, after publish_new() */
	struct mount *mount;
	int64_t snapshot; /* the kernel knows of output/ up to here */
	int64_t outbox;   /* and of outbox/ up to this id */

	struct shown *shown; /* owned; of the job under way */
	size_t n_shown;
	size_t n_room;
	bool shown_all;        /* false: there were too many */
	_Atomic int64_t purge; /* the job that it is; 0: none */
};

static void drop_entry(struct mount *m, const struct node *dir,
		       const char *name)
{
	fuse_ino_t ino;

	if (node_pack(dir, &ino) == 0)
		(void)fuse_lowlevel_notify_inval_entry(m->session, ino, name,
						       strlen(name));
}

/* Attributes, of a directory. */
static void drop_inode(struct mount *m, const struct node *node)
{
	fuse_ino_t ino;

	if (node_pack(node, &ino) == 0)
		(void)fuse_lowlevel_notify_inval_inode(m->session, ino, -1, 0);
}

static void drop_root(struct mount *m, const char *name)
{
	(void)fuse_lowlevel_notify_inval_entry(m->session, FUSE_ROOT_ID, name,
					       strlen(name));
}

/* No time of a directory that was shown may stand for what it has now. */
static void touch(_Atomic wall_s_t *time)
{
	wall_s_t now = clock_wall();
	wall_s_t was = atomic_load(time);

	atomic_store(time, now > was ? now : was + 1);
}

struct walk {
	struct mount *m;
	int64_t above; /* what is above this directory is done */
};

/* Times of the directories above a change. */
static int drop_above(struct walk *walk, int64_t dir)
{
	struct tree_dir d;
	int64_t id = dir;
	int r = 0;

	if (dir == walk->above)
		return 0;
	while (id != 0) {
		struct node node = {.kind = NODE_TREE_OUTPUT, .id = id};

		drop_inode(walk->m, &node);
		if (id == TREE_DIR_ROOT)
			break;
		r = tree_dir(walk->m->store, 0, TREE_OUTPUT, id, &d);
		if (r < 0)
			break;
		id = d.parent;
	}
	walk->above = dir;
	/* One that is gone is a change in the one above, which comes too. */
	return r == -ENOENT ? 0 : r;
}

static void forget_shown(struct publish *p)
{
	for (size_t i = 0; i < p->n_shown; i++)
		free(p->shown[i].name);
	free(p->shown);
	p->shown = NULL;
	p->n_shown = 0;
	p->n_room = 0;
}

/* 1: there are too many. */
static int add_shown(struct publish *p, const struct node *dir, int64_t id,
		     const char *name)
{
	if (p->n_shown == NOTICES_MAX)
		return 1;
	if (p->n_shown == p->n_room) {
		size_t room = p->n_room ? 2 * p->n_room : 64;
		struct shown *more =
			reallocarray(p->shown, room, sizeof(*more));

		if (!more)
			return -ENOMEM;
		p->shown = more;
		p->n_room = room;
	}
	p->shown[p->n_shown] =
		(struct shown){.dir = *dir, .id = id, .name = strdup(name)};
	if (!p->shown[p->n_shown].name)
		return -ENOMEM;
	p->n_shown++;
	return 0;
}

static int add_change(int64_t dir, const char *name, void *arg)
{
	struct node node = {.kind = NODE_TREE_OUTPUT, .id = dir};

	return add_shown(arg, &node, 0, name);
}

/* Nothing of the store is held while the kernel is told. */
static void publish_output(struct publish *p, int64_t snapshot)
{
	struct walk walk = {.m = p->mount};
	int r;

	forget_shown(p);
	r = tree_changes(p->mount->store, p->snapshot, NOTICES_MAX, add_change,
			 p);
	for (size_t i = 0; r == 0 && i < p->n_shown; i++) {
		drop_entry(p->mount, &p->shown[i].dir, p->shown[i].name);
		r = drop_above(&walk, p->shown[i].dir.id);
	}
	forget_shown(p);
	if (r < 0)
		log_warn("cannot read what was exported: %s",
			 strerrordesc_np(-r));
	if (r != 0)
		drop_root(p->mount, "output");
	p->snapshot = snapshot;
}

static int add_new_zip(const struct outbox_entry *e, void *arg)
{
	struct node node = {.kind = NODE_OUTBOX};
	struct publish *p = arg;

	p->outbox = e->id;
	return add_shown(p, &node, e->id, e->name);
}

/* A new one may have taken the place of another. */
static void publish_outbox(struct publish *p)
{
	struct node node = {.kind = NODE_OUTBOX};
	int r;

	r = outbox_list(p->mount->store, p->outbox, add_new_zip, p);
	for (size_t i = 0; i < p->n_shown; i++)
		drop_entry(p->mount, &node, p->shown[i].name);
	forget_shown(p);
	if (r < 0) {
		log_warn("cannot read what is in outbox: %s",
			 strerrordesc_np(-r));
		drop_root(p->mount, "outbox");
	}
	touch(&p->mount->outbox_time);
	drop_inode(p->mount, &node);
}

void publish_snapshot(int64_t snapshot, void *arg)
{
	struct mount *m = arg;
	struct node data = {.kind = NODE_DIR, .id = ARTIFACT_DIR_ROOT};
	struct node snapshots = {.kind = NODE_SNAPSHOTS};

	publish_output(m->publish, snapshot);
	publish_outbox(m->publish);
	drop_entry(m, &data, PARAMS_NAME);
	touch(&m->snapshots_time);
	drop_inode(m, &snapshots);
}

static int add_zip(const struct outbox_entry *e, void *arg)
{
	struct node node = {.kind = NODE_OUTBOX};

	return add_shown(arg, &node, e->id, e->name);
}

static int add_snapshot(const struct tree_snapshot *s, void *arg)
{
	struct node node = {.kind = NODE_SNAPSHOTS};
	char name[24];

	(void)snprintf(name, sizeof(name), "%lld", (long long)s->id);
	return add_shown(arg, &node, s->id, name);
}

/* Before a purge: what there is. */
static void purge_begins(struct publish *p)
{
	int r;

	forget_shown(p);
	r = outbox_list(p->mount->store, 0, add_zip, p);
	if (r == 0)
		r = tree_snapshots(p->mount->store, 0, add_snapshot, p);
	p->shown_all = r == 0 && p->n_shown < NOTICES_MAX;
}

static bool is_gone(const struct publish *p, const struct shown *s)
{
	struct store *store = p->mount->store;
	struct tree_snapshot snapshot;
	struct outbox_entry entry;

	if (s->dir.kind == NODE_OUTBOX)
		return outbox_get(store, s->id, &entry) < 0;
	return tree_snapshot(store, s->id, &snapshot) < 0;
}

/* After it: what has gone is taken back from the kernel. */
static void purge_ended(struct publish *p, const struct job *job)
{
	CLEANUP(command_freep) struct command *c = NULL;
	struct mount *m = p->mount;
	struct err err = ERR_NULL;
	int r;

	for (size_t i = 0; i < p->n_shown; i++) {
		struct node node = p->shown[i].dir;

		if (!is_gone(p, &p->shown[i]))
			continue;
		drop_entry(m, &node, p->shown[i].name);
		touch(node.kind == NODE_OUTBOX ? &m->outbox_time
					       : &m->snapshots_time);
		drop_inode(m, &node);
	}
	if (!p->shown_all) {
		drop_root(m, "outbox");
		drop_root(m, "snapshots");
	}
	forget_shown(p);
	r = command_parse(COMMAND_PURGE, job->request, strlen(job->request), &c,
			  &err);
	if (r < 0 || strcmp(c->type, "output") == 0)
		drop_root(m, "output");
	drop_entry(m, &(struct node){.kind = NODE_DIR, .id = ARTIFACT_DIR_ROOT},
		   PARAMS_NAME);
}

/* state is what was told: by now the job may be further. */
static void publish_purge(struct publish *p, const struct job *job,
			  enum job_state state)
{
	if (state == JOB_PROCESSING) {
		p->purge = job->id;
		purge_begins(p);
	} else if (p->purge == job->id && job_has_ended(state)) {
		purge_ended(p, job);
		p->purge = 0;
	}
}

/* What was queued and is aborted is told by the thread that aborts it. */
void publish_job(int64_t id, enum job_state state, void *arg)
{
	CLEANUP(job_deinit) struct job job = JOB_NULL;
	struct mount *m = arg;

	if (state == JOB_QUEUED)
		return;
	if (job_get(m->store, id, &job) == 0 &&
	    strcmp(job.kind, "purge") == 0 && job.started_at)
		publish_purge(m->publish, &job, state);
	handles_wake(m, NODE_JOB_STATE, id);
	if (job_has_ended(state))
		controls_ended(m->controls, id, state);
}

static int last_zip(const struct outbox_entry *e, void *arg)
{
	*(int64_t *)arg = e->id;
	return 0;
}

int publish_new(struct mount *m, struct publish **ret)
{
	struct publish *p = calloc(1, sizeof(*p));
	struct tree_snapshot last;
	int r;

	if (!p)
		return -ENOMEM;
	p->mount = m;
	r = tree_snapshot(m->store, 0, &last);
	if (r == 0)
		p->snapshot = last.id;
	if (r == 0 || r == -ENOENT)
		r = outbox_list(m->store, 0, last_zip, &p->outbox);
	if (r < 0) {
		free(p);
		return r;
	}
	*ret = p;
	return 0;
}

struct publish *publish_free(struct publish *p)
{
	if (!p)
		return NULL;
	forget_shown(p);
	free(p);
	return NULL;
}
