/* SPDX-License-Identifier: MIT */
/*
 * outbox/: finished exports. A ZIP is a node by its number in the store, with
 * the exact size from the start; its bytes are computed when they are read.
 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "fs/fs.h"
#include "fs/handle.h"
#include "outboxfs/base/clock.h"
#include "outboxfs/base/log.h"
#include "outboxfs/store/outbox.h"

static struct facts zip_facts_of(const struct outbox_entry *e)
{
	return (struct facts){
		.node = {.kind = NODE_ZIP, .id = e->id},
		.size = e->bytes,
		.time = e->time,
	};
}

static int outbox_lookup(struct call *call, struct artifact_read *rd,
			 const struct node *node, const char *name, size_t len,
			 struct node *ret)
{
	struct outbox_entry entry;
	int r;

	(void)rd;
	(void)node;
	(void)len;
	r = outbox_find(call->mount->store, name, &entry);
	if (r == 0)
		*ret = (struct node){.kind = NODE_ZIP, .id = entry.id};
	return r;
}

static int list_zip(const struct outbox_entry *e, void *arg)
{
	struct facts facts = zip_facts_of(e);

	return lister_add(arg, e->name, &facts.node, &facts, facts.time,
			  COOKIE_FIRST + e->id);
}

static int outbox_dir_list(struct call *call, struct artifact_read *rd,
			   const struct node *node, off_t cookie,
			   struct lister *l)
{
	int r;

	(void)rd;
	(void)node;
	r = outbox_list(call->mount->store,
			cookie > COOKIE_FIRST ? cookie - COOKIE_FIRST : 0,
			list_zip, l);
	return r < 0 ? r : 0;
}

static int outbox_time(struct call *call, struct artifact_read *rd,
		       const struct node *node, wall_s_t *ret)
{
	(void)rd;
	(void)node;
	*ret = atomic_load(&call->mount->outbox_time);
	return 0;
}

/* rm: the export is withdrawn; who reads it reads on. */
static int outbox_remove(struct call *call, const char *name)
{
	const struct fuse_ctx *who = fuse_req_ctx(call->req);
	struct mount *m = call->mount;
	struct outbox_entry entry;
	int r;

	r = outbox_find(m->store, name, &entry);
	if (r == 0)
		r = outbox_withdraw(m->store, entry.id);
	if (r < 0)
		return r;
	atomic_store(&m->outbox_time, clock_wall());
	log_info("export '%s' withdrawn by uid %u, process %d", name, who->uid,
		 who->pid);
	return 0;
}

const struct node_ops outbox_ops = {
	.type = S_IFDIR,
	.stored = true,
	.cache = CACHE_LASTING,
	.access = ACCESS_OUTBOX,
	.lookup = outbox_lookup,
	.list = outbox_dir_list,
	.time = outbox_time,
	.remove = outbox_remove,
};

static int zip_facts(struct call *call, struct artifact_read *rd,
		     const struct node *node, struct facts *ret)
{
	struct outbox_entry entry;
	int r;

	(void)rd;
	r = outbox_get(call->mount->store, node->id, &entry);
	if (r == 0)
		*ret = zip_facts_of(&entry);
	return r;
}

static int zip_open(struct call *call, const struct node *node,
		    struct handle **ret)
{
	struct facts facts;
	int r;

	r = zip_facts(call, NULL, node, &facts);
	return r < 0 ? r : handle_of_source(call, node, &facts, 0, ret);
}

const struct node_ops zip_ops = {
	.type = S_IFREG,
	.stored = true,
	.cache = CACHE_LASTING,
	.access = ACCESS_READ_ONLY_HERE,
	.facts = zip_facts,
	.open = zip_open,
};
