/* SPDX-License-Identifier: MIT */
/*
 * What cannot be read of the database. A reason is logged once for each
 * generation. It shows in status.json until the request that met it succeeds,
 * or finds that there is nothing any more, or the database is another one: a
 * request for something else says nothing about the page that is damaged.
 */
#include "fs/trouble.h"

#include <errno.h>
#include <string.h>

#include "fs/fs.h"
#include "outboxfs/base/log.h"

static bool is_of(const struct trouble *t, const struct call *call)
{
	struct node node = node_unpack(call->ino);

	return t->op == (unsigned)call->op && t->ino == node_stat_ino(&node) &&
	       strcmp(t->name, call->name) == 0;
}

/* The entry of this request, or a free one; NULL: there are too many. */
static struct trouble *find_locked(struct troubles *ts, const struct call *call)
{
	struct trouble *found = NULL;

	for (size_t i = 0; i < TROUBLES_MAX; i++) {
		if (is_of(&ts->each[i], call))
			return &ts->each[i];
		if (!ts->each[i].ino)
			found = &ts->each[i];
	}
	return found;
}

static void note(struct call *call, uint64_t generation, const struct err *why)
{
	struct troubles *ts = &call->mount->troubles;
	struct node node = node_unpack(call->ino);
	struct trouble *t;

	{
		LOCK_SCOPE(&call->mount->texts_lock);

		if (ts->generation != generation) {
			memset(ts->each, 0, sizeof(ts->each));
			ts->generation = generation;
			atomic_store(&ts->n, 0);
		}
		t = find_locked(ts, call);
		if (t) {
			if (!t->ino)
				atomic_fetch_add(&ts->n, 1);
			t->op = (unsigned)call->op;
			t->ino = node_stat_ino(&node);
			memcpy(t->name, call->name, sizeof(t->name));
			t->why = *why;
		}
	}
	if (artifact_is_news(call->mount->artifact, why))
		log_err("%s", why->text);
}

/* It has come right, or was of another database. */
static void forget(struct call *call, uint64_t generation)
{
	struct troubles *ts = &call->mount->troubles;
	LOCK_SCOPE(&call->mount->texts_lock);

	for (size_t i = 0; i < TROUBLES_MAX; i++) {
		struct trouble *t = &ts->each[i];

		if (!t->ino ||
		    (ts->generation == generation && !is_of(t, call)))
			continue;
		*t = (struct trouble){.ino = 0};
		atomic_fetch_sub(&ts->n, 1);
	}
}

int trouble_check(struct call *call, struct artifact_read *rd, int r)
{
	struct err why;

	/* Not ours any more, or nothing was read: the reason is known then. */
	if (r == -EINPROGRESS || r == -EWOULDBLOCK || !rd->model)
		return r;
	if (r != -EIO && r != -EBADMSG) {
		if ((r == 0 || r == -ENOENT || r == -ESTALE) &&
		    atomic_load(&call->mount->troubles.n) > 0)
			forget(call, rd->generation);
		return r;
	}
	if (!call->patient)
		return -EWOULDBLOCK;
	/* One search is enough, and what it found holds for this one. */
	if (!call->err.text[0] &&
	    trouble_get(call->mount, rd->generation, &why))
		call->err = why;
	else
		(void)artifact_explain(rd, r, &call->err);
	note(call, rd->generation, &call->err);
	return r;
}

bool trouble_get(struct mount *m, uint64_t generation, struct err *ret)
{
	struct troubles *ts = &m->troubles;

	if (atomic_load(&ts->n) == 0)
		return false;

	LOCK_SCOPE(&m->texts_lock);

	for (size_t i = 0; ts->generation == generation && i < TROUBLES_MAX;
	     i++) {
		if (!ts->each[i].ino)
			continue;
		*ret = ts->each[i].why;
		return true;
	}
	return false;
}
