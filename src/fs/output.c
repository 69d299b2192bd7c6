/* SPDX-License-Identifier: MIT */
/*
 * output/ and snapshots/: trees of the store. A file is a version, whatever
 * snapshot shows it; a directory is one of one snapshot, of which 0 is the
 * present state. Nothing here needs the database.
 *
 * In output/ a version gets another time when names have changed and its path
 * was another file's before. So there its times are asked for.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/fs.h"
#include "fs/handle.h"
#include "outboxfs/store/job.h"
#include "outboxfs/store/tree.h"

/* What the store calls a directory. */
struct place {
	int64_t snapshot;
	enum tree_area area;
	int64_t dir;
};

static struct place place_of(const struct node *node)
{
	if (node->kind == NODE_TREE_SETUP)
		return (struct place){node->id, TREE_SETUP, TREE_DIR_SETUP};
	return (struct place){node->snapshot,
			      node->kind == NODE_TREE_DATA ? TREE_DATA
							   : TREE_OUTPUT,
			      node->id};
}

/* The top of a tree is there even with nothing in it. */
static bool is_top(const struct node *node)
{
	return node->kind == NODE_TREE_SETUP || node->id == TREE_DIR_ROOT;
}

/* data/ of a snapshot, where SnapshotParams.json is. */
static bool has_params(const struct node *node)
{
	return node->kind == NODE_TREE_DATA && node->id == TREE_DIR_ROOT;
}

static int tree_dir_time(struct call *call, struct artifact_read *rd,
			 const struct node *node, wall_s_t *ret)
{
	struct mount *m = call->mount;
	struct place p = place_of(node);
	struct tree_snapshot snapshot;
	struct tree_dir dir;
	int r;

	(void)rd;
	if (p.snapshot != 0) {
		r = tree_snapshot(m->store, p.snapshot, &snapshot);
		if (r < 0)
			return r == -ENOENT ? -ESTALE : r;
	}
	r = tree_dir(m->store, p.snapshot, p.area, p.dir, &dir);
	if (is_top(node) && (r == -ENOENT || (r == 0 && dir.time == 0))) {
		*ret = p.snapshot ? snapshot.time : m->started;
		return 0;
	}
	if (r == 0)
		*ret = dir.time;
	return r == -ENOENT ? -ESTALE : r;
}

static struct node child_node(const struct node *node, int64_t dir)
{
	return (struct node){
		.kind = node->kind, .id = dir, .snapshot = node->snapshot};
}

static struct node file_node(const struct node *dir,
			     const struct tree_file *file)
{
	return (struct node){.kind = dir->kind == NODE_TREE_OUTPUT &&
						     dir->snapshot == 0
					     ? NODE_OUTPUT_FILE
					     : NODE_TREE_FILE,
			     .id = file->version};
}

static int tree_dir_lookup(struct call *call, struct artifact_read *rd,
			   const struct node *node, const char *name,
			   size_t len, struct node *ret)
{
	struct place p = place_of(node);
	struct tree_file file;
	struct tree_dir dir;
	int r;

	(void)rd;
	(void)len;
	if (has_params(node) && strcmp(name, PARAMS_NAME) == 0) {
		*ret = (struct node){.kind = NODE_PARAMS, .id = node->snapshot};
		return 0;
	}
	r = tree_lookup(call->mount->store, p.snapshot, p.area, p.dir, name,
			&dir, &file);
	if (r == 1)
		*ret = child_node(node, dir.id);
	else if (r == 2)
		*ret = file_node(node, &file);
	return r < 0 ? r : 0;
}

static struct facts file_facts(const struct node *node,
			       const struct tree_file *file)
{
	return (struct facts){
		.node = *node,
		.size = file->size,
		.time = file->time,
	};
}

struct listing {
	struct lister *l;
	const struct node *node;
};

static int list_child(const struct tree_dir *dir, const struct tree_file *file,
		      int64_t cookie, void *arg)
{
	struct listing *listing = arg;
	struct facts facts;
	struct node node;

	if (dir) {
		node = child_node(listing->node, dir->id);
		return lister_add(listing->l, dir->name, &node, NULL, dir->time,
				  COOKIE_FIRST + cookie);
	}
	node = file_node(listing->node, file);
	facts = file_facts(&node, file);
	return lister_add(listing->l, file->name, &facts.node, &facts,
			  facts.time, COOKIE_FIRST + cookie);
}

static int snapshot_params(struct call *call, int64_t snapshot,
			   struct facts *ret, int64_t *ret_object)
{
	struct tree_snapshot s;
	struct object object;
	int r;

	r = tree_snapshot(call->mount->store, snapshot, &s);
	if (r == 0)
		r = s.params ? object_get(call->mount->store, s.params, &object)
			     : -ENOENT;
	if (r < 0)
		return r;
	*ret = (struct facts){
		.node = {.kind = NODE_PARAMS, .id = s.id},
		.size = object.size,
		.time = s.time,
	};
	*ret_object = s.params;
	return 0;
}

int params_latest(struct call *call, struct facts *ret)
{
	int64_t object;

	return snapshot_params(call, 0, ret, &object);
}

static int tree_dir_list(struct call *call, struct artifact_read *rd,
			 const struct node *node, off_t cookie,
			 struct lister *l)
{
	struct place p = place_of(node);
	struct listing listing = {.l = l, .node = node};
	struct facts params;
	int64_t object;
	int r;

	(void)rd;
	if (has_params(node) && cookie < COOKIE_FIRST) {
		r = snapshot_params(call, node->snapshot, &params, &object);
		if (r == 0)
			r = lister_add(l, PARAMS_NAME, &params.node, &params,
				       params.time, COOKIE_FIRST);
		if (r != 0 && r != -ENOENT)
			return r < 0 ? r : 0;
	}
	r = tree_list(call->mount->store, p.snapshot, p.area, p.dir,
		      cookie > COOKIE_FIRST ? cookie - COOKIE_FIRST : 0,
		      list_child, &listing);
	return r == -ENOENT || r > 0 ? 0 : r;
}

const struct node_ops tree_dir_ops = {
	.type = S_IFDIR,
	.stored = true,
	.cache = CACHE_LASTING,
	.lookup = tree_dir_lookup,
	.list = tree_dir_list,
	.time = tree_dir_time,
};

static int tree_file_facts(struct call *call, struct artifact_read *rd,
			   const struct node *node, struct facts *ret)
{
	struct tree_file file;
	int r;

	(void)rd;
	r = tree_version(call->mount->store, node->id,
			 node->kind == NODE_OUTPUT_FILE, &file);
	if (r == 0)
		*ret = file_facts(node, &file);
	return r;
}

static int tree_file_open(struct call *call, const struct node *node,
			  struct handle **ret)
{
	struct tree_file file;
	struct facts facts;
	int r;

	r = tree_version(call->mount->store, node->id,
			 node->kind == NODE_OUTPUT_FILE, &file);
	if (r < 0)
		return r;
	facts = file_facts(node, &file);
	return handle_of_source(call, node, &facts, file.object, ret);
}

const struct node_ops tree_file_ops = {
	.type = S_IFREG,
	.stored = true,
	.cache = CACHE_LASTING,
	.facts = tree_file_facts,
	.open = tree_file_open,
};

const struct node_ops output_file_ops = {
	.type = S_IFREG,
	.stored = true,
	.cache = CACHE_ASKING,
	.facts = tree_file_facts,
	.open = tree_file_open,
};

static int params_facts(struct call *call, struct artifact_read *rd,
			const struct node *node, struct facts *ret)
{
	int64_t object;

	(void)rd;
	return snapshot_params(call, node->id, ret, &object);
}

static int params_open(struct call *call, const struct node *node,
		       struct handle **ret)
{
	struct facts facts;
	int64_t object;
	int r;

	r = snapshot_params(call, node->id, &facts, &object);
	return r < 0 ? r : handle_of_source(call, node, &facts, object, ret);
}

const struct node_ops params_ops = {
	.type = S_IFREG,
	.stored = true,
	.cache = CACHE_LASTING,
	.facts = params_facts,
	.open = params_open,
};

/* snapshots/: "latest", then those that are kept, by number. */

#define LATEST        "latest"
#define COOKIE_LATEST COOKIE_FIRST

int64_t name_number(const char *name, size_t len)
{
	int64_t n = 0;

	if (len == 0 || len > 18 || name[0] == '0')
		return 0;
	for (size_t i = 0; i < len; i++) {
		if (name[i] < '0' || name[i] > '9')
			return 0;
		n = n * 10 + (name[i] - '0');
	}
	return n;
}

/* The number behind a "latest". -ENOENT: there is nothing yet. */
static int latest_number(struct call *call, enum node_kind kind, int64_t *ret,
			 wall_s_t *ret_time)
{
	CLEANUP(job_deinit) struct job job = JOB_NULL;
	struct tree_snapshot snapshot;
	int r;

	if (kind == NODE_SNAPSHOT_LATEST) {
		r = tree_snapshot(call->mount->store, 0, &snapshot);
		if (r < 0)
			return r;
		*ret = snapshot.id;
		*ret_time = snapshot.time;
		return 0;
	}
	r = job_get(call->mount->store, 0, &job);
	if (r < 0)
		return r;
	*ret = job.id;
	*ret_time = job.queued_at;
	return 0;
}

static int latest_facts(struct call *call, struct artifact_read *rd,
			const struct node *node, struct facts *ret)
{
	char text[24];
	int64_t n;
	int r;

	(void)rd;
	r = latest_number(call, node->kind, &n, &ret->time);
	if (r < 0)
		return r;
	ret->node = *node;
	ret->size = snprintf(text, sizeof(text), "%lld", (long long)n);
	return 0;
}

static int latest_link(struct call *call, const struct node *node, char *ret,
		       size_t size)
{
	wall_s_t time;
	int64_t n;
	int r;

	r = latest_number(call, node->kind, &n, &time);
	if (r == 0)
		(void)snprintf(ret, size, "%lld", (long long)n);
	return r;
}

const struct node_ops latest_ops = {
	.type = S_IFLNK,
	.stored = true,
	.cache = CACHE_NONE,
	.facts = latest_facts,
	.link = latest_link,
};

static int snapshots_lookup(struct call *call, struct artifact_read *rd,
			    const struct node *node, const char *name,
			    size_t len, struct node *ret)
{
	struct tree_snapshot snapshot;
	int64_t id = name_number(name, len);
	int r;

	(void)rd;
	(void)node;
	if (strcmp(name, LATEST) == 0) {
		*ret = (struct node){.kind = NODE_SNAPSHOT_LATEST};
		return 0;
	}
	if (id == 0)
		return -ENOENT;
	r = tree_snapshot(call->mount->store, id, &snapshot);
	if (r == 0)
		*ret = (struct node){.kind = NODE_SNAPSHOT, .id = id};
	return r;
}

static int list_snapshot(const struct tree_snapshot *s, void *arg)
{
	struct node node = {.kind = NODE_SNAPSHOT, .id = s->id};
	char name[24];

	(void)snprintf(name, sizeof(name), "%lld", (long long)s->id);
	return lister_add(arg, name, &node, NULL, s->time,
			  COOKIE_FIRST + s->id);
}

static int snapshots_list(struct call *call, struct artifact_read *rd,
			  const struct node *node, off_t cookie,
			  struct lister *l)
{
	struct node latest = {.kind = NODE_SNAPSHOT_LATEST};
	struct facts facts;
	int r = 0;

	(void)node;
	if (cookie < COOKIE_LATEST) {
		r = latest_facts(call, rd, &latest, &facts);
		if (r == 0)
			r = lister_add(l, LATEST, &latest, &facts, facts.time,
				       COOKIE_LATEST);
		if (r == -ENOENT)
			r = 0;
	}
	if (r == 0)
		r = tree_snapshots(call->mount->store,
				   cookie > COOKIE_FIRST ? cookie - COOKIE_FIRST
							 : 0,
				   list_snapshot, l);
	return r < 0 ? r : 0;
}

static int snapshots_time(struct call *call, struct artifact_read *rd,
			  const struct node *node, wall_s_t *ret)
{
	(void)rd;
	(void)node;
	*ret = atomic_load(&call->mount->snapshots_time);
	return 0;
}

const struct node_ops snapshots_ops = {
	.type = S_IFDIR,
	.stored = true,
	.cache = CACHE_LASTING,
	.lookup = snapshots_lookup,
	.list = snapshots_list,
	.time = snapshots_time,
};

/* snapshots/<n>/ */

static const struct {
	const char *name;
	enum node_kind kind;
} areas[] = {
	{"setup", NODE_TREE_SETUP},
	{"data", NODE_TREE_DATA},
	{"output", NODE_TREE_OUTPUT},
};

static struct node area_node(size_t i, int64_t snapshot)
{
	if (areas[i].kind == NODE_TREE_SETUP)
		return (struct node){.kind = NODE_TREE_SETUP, .id = snapshot};
	return (struct node){.kind = areas[i].kind,
			     .id = TREE_DIR_ROOT,
			     .snapshot = snapshot};
}

static int snapshot_lookup(struct call *call, struct artifact_read *rd,
			   const struct node *node, const char *name,
			   size_t len, struct node *ret)
{
	(void)call;
	(void)rd;
	(void)len;
	for (size_t i = 0; i < ARRAY_SIZE(areas); i++) {
		if (strcmp(areas[i].name, name) != 0)
			continue;
		*ret = area_node(i, node->id);
		return 0;
	}
	return -ENOENT;
}

static int snapshot_time(struct call *call, struct artifact_read *rd,
			 const struct node *node, wall_s_t *ret)
{
	struct tree_snapshot snapshot;
	int r;

	(void)rd;
	r = tree_snapshot(call->mount->store, node->id, &snapshot);
	if (r < 0)
		return r == -ENOENT ? -ESTALE : r;
	*ret = snapshot.time;
	return 0;
}

static int snapshot_list(struct call *call, struct artifact_read *rd,
			 const struct node *node, off_t cookie,
			 struct lister *l)
{
	size_t first =
		cookie >= COOKIE_FIRST ? (size_t)cookie - COOKIE_FIRST + 1 : 0;
	int r = 0;

	for (size_t i = first; r == 0 && i < ARRAY_SIZE(areas); i++) {
		struct node child = area_node(i, node->id);
		wall_s_t time;

		r = tree_dir_time(call, rd, &child, &time);
		if (r == 0)
			r = lister_add(l, areas[i].name, &child, NULL, time,
				       COOKIE_FIRST + (off_t)i);
	}
	return r < 0 ? r : 0;
}

const struct node_ops snapshot_ops = {
	.type = S_IFDIR,
	.stored = true,
	.cache = CACHE_LASTING,
	.lookup = snapshot_lookup,
	.list = snapshot_list,
	.time = snapshot_time,
};
