/* SPDX-License-Identifier: MIT */
/*
 * What is known of files, in front of the store: a table of fixed size, in
 * which a newer fact takes the place of an older one.
 *
 * Facts are saved under a new timeline, drawn for the purpose: first the store
 * announces it, then the database bears it, durably, then the store says that
 * its facts hold under it. Whatever the database is restored to later bears an
 * older timeline, and the facts are forgotten. A crash in between leaves a
 * timeline that the store has announced, and facts that hold as before.
 *
 * Saving and changing the epoch exclude each other; who comes second tries
 * again later.
 */
#include <errno.h>
#include <string.h>

#include "fs/fs.h"
#include "outboxfs/base/log.h"

#define SLOTS   ((size_t)1 << 15)
#define FULL_AT (SLOTS / 4)

struct slot {
	struct store_known known; /* change 0: empty */
	bool is_new;
};

struct knowledge {
	struct store *store;

	/* under lock */
	struct lock lock;
	struct slot *slots; /* owned; SLOTS of them */
	size_t n_new;
	uint64_t generation; /* of the artifact, in this epoch */
	unsigned epoch;
	enum {
		KNOWLEDGE_OPEN,
		KNOWLEDGE_SAVING,
		KNOWLEDGE_ENDING, /* this epoch */
	} state;
};

int knowledge_new(struct store *store, struct knowledge **ret)
{
	struct knowledge *k = calloc(1, sizeof(*k));

	if (!k)
		return -ENOMEM;
	k->slots = calloc(SLOTS, sizeof(*k->slots));
	if (!k->slots) {
		free(k);
		return -ENOMEM;
	}
	k->store = store;
	lock_init(&k->lock, "knowledge", LOCK_RANK_KNOWLEDGE);
	*ret = k;
	return 0;
}

struct knowledge *knowledge_free(struct knowledge *k)
{
	if (!k)
		return NULL;
	lock_deinit(&k->lock);
	free(k->slots);
	free(k);
	return NULL;
}

static struct slot *slot_of(struct knowledge *k, int64_t table, int64_t pov)
{
	uint64_t h =
		((uint64_t)pov << 12 ^ (uint64_t)table) * 0x9e3779b97f4a7c15ULL;

	return &k->slots[h >> 49];
}

int knowledge_enter(struct knowledge *k, uint64_t generation,
		    unsigned *ret_epoch)
{
	LOCK_SCOPE(&k->lock);

	if (k->state == KNOWLEDGE_ENDING || generation < k->generation)
		return -EALREADY;
	*ret_epoch = k->epoch;
	return generation > k->generation;
}

int knowledge_end(struct knowledge *k, unsigned epoch)
{
	LOCK_SCOPE(&k->lock);

	if (k->state != KNOWLEDGE_OPEN || k->epoch != epoch)
		return -EALREADY;
	k->state = KNOWLEDGE_ENDING;
	memset(k->slots, 0, SLOTS * sizeof(*k->slots));
	k->n_new = 0;
	k->epoch++;
	return 0;
}

void knowledge_begin(struct knowledge *k, uint64_t generation,
		     const char *timeline)
{
	int r;

	/* No database bears the empty name. */
	r = store_check_timeline(k->store, timeline ? timeline : "");
	if (r < 0)
		log_warn(
			"cannot tell whether the sizes in the store still hold: %s",
			strerrordesc_np(-r));

	LOCK_SCOPE(&k->lock);
	k->generation = generation;
	k->state = KNOWLEDGE_OPEN;
}

int knowledge_get(struct knowledge *k, unsigned epoch, int64_t table,
		  int64_t pov, int64_t change, struct store_known *ret)
{
	int r;

	{
		LOCK_SCOPE(&k->lock);
		const struct slot *s = slot_of(k, table, pov);

		if (epoch != k->epoch)
			return 0;
		if (s->known.table == table && s->known.pov == pov &&
		    s->known.change == change) {
			*ret = s->known;
			return 1;
		}
	}
	r = store_known_get(k->store, table, pov, ret);
	if (r != 1 || ret->change != change)
		return 0; /* a store that cannot be read knows nothing */

	LOCK_SCOPE(&k->lock);
	struct slot *s = slot_of(k, table, pov);

	if (epoch != k->epoch)
		return 0; /* it may be of the next */
	if (!s->is_new)
		s->known = *ret;
	return 1;
}

void knowledge_put(struct knowledge *k, unsigned epoch,
		   const struct store_known *known)
{
	LOCK_SCOPE(&k->lock);
	struct slot *s = slot_of(k, known->table, known->pov);

	if (epoch != k->epoch)
		return;
	s->known = *known;
	if (!s->is_new)
		k->n_new++;
	s->is_new = true;
}

bool knowledge_is_full(struct knowledge *k)
{
	LOCK_SCOPE(&k->lock);

	return k->n_new >= FULL_AT;
}

/* Copies what is new; the caller frees. 0: nothing is to be saved now. */
static size_t begin_save(struct knowledge *k, struct store_known **ret,
			 uint64_t *ret_generation)
{
	LOCK_SCOPE(&k->lock);
	struct store_known *copy;
	size_t n = 0;

	if (k->n_new == 0 || k->state != KNOWLEDGE_OPEN)
		return 0;
	copy = calloc(k->n_new, sizeof(*copy));
	if (!copy)
		return 0;
	for (size_t i = 0; i < SLOTS && n < k->n_new; i++)
		if (k->slots[i].is_new)
			copy[n++] = k->slots[i].known;
	k->state = KNOWLEDGE_SAVING;
	*ret = copy;
	*ret_generation = k->generation;
	return n;
}

/* n: how many were saved; 0: it has failed. */
static void end_save(struct knowledge *k, const struct store_known *saved,
		     size_t n)
{
	LOCK_SCOPE(&k->lock);

	k->state = KNOWLEDGE_OPEN;
	for (size_t i = 0; i < n; i++) {
		struct slot *s = slot_of(k, saved[i].table, saved[i].pov);

		if (!s->is_new || s->known.pov != saved[i].pov ||
		    s->known.table != saved[i].table ||
		    s->known.change != saved[i].change)
			continue;
		s->is_new = false;
		k->n_new--;
	}
}

/* Facts of this generation, under a new timeline of the same. */
static int save(struct knowledge *k, struct artifact *a, uint64_t generation,
		const struct store_known *known, size_t n, struct err *err)
{
	char timeline[TIMELINE_BYTES];
	int r;

	r = artifact_draw_timeline(timeline);
	if (r == 0)
		r = store_announce_timeline(k->store, timeline);
	if (r == 0)
		r = artifact_set_timeline(a, generation, timeline, false, err);
	return r < 0 ? r : store_known_put(k->store, known, n, timeline);
}

void knowledge_save(struct knowledge *k, struct artifact *a)
{
	CLEANUP(freep) struct store_known *known = NULL;
	struct err err = ERR_NULL;
	uint64_t generation;
	size_t n;
	int r;

	n = begin_save(k, &known, &generation);
	if (n == 0)
		return;
	r = save(k, a, generation, known, n, &err);
	end_save(k, known, r == 0 ? n : 0);
	if (r < 0)
		log_info("cannot save sizes of files: %s", err_text(&err, r));
}
