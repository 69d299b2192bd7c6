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
 */
#include <errno.h>
#include <string.h>
#include <sys/random.h>

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
	uint64_t generation;
	uint64_t epoch; /* moves with every reset */
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

int knowledge_get(struct knowledge *k, int64_t table, int64_t pov,
		  int64_t change, struct store_known *ret)
{
	uint64_t epoch;
	int r;

	{
		LOCK_SCOPE(&k->lock);
		const struct slot *s = slot_of(k, table, pov);

		epoch = k->epoch;
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

	if (epoch == k->epoch && !s->is_new)
		s->known = *ret;
	return 1;
}

void knowledge_put(struct knowledge *k, uint64_t generation,
		   const struct store_known *known)
{
	LOCK_SCOPE(&k->lock);
	struct slot *s = slot_of(k, known->table, known->pov);

	if (generation != k->generation)
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

void knowledge_reset(struct knowledge *k, uint64_t generation,
		     struct artifact_read *rd)
{
	char timeline[TIMELINE_BYTES];
	int r;

	r = artifact_timeline(rd, timeline);
	if (r == 0)
		r = store_check_timeline(k->store, timeline);
	if (r < 0)
		log_warn(
			"cannot tell whether the sizes in the store still hold: %s",
			strerrordesc_np(-r));

	LOCK_SCOPE(&k->lock);
	memset(k->slots, 0, SLOTS * sizeof(*k->slots));
	k->n_new = 0;
	k->generation = generation;
	k->epoch++;
}

/* Copies what is new; the caller frees. */
static size_t copy_new(struct knowledge *k, struct store_known **ret)
{
	LOCK_SCOPE(&k->lock);
	struct store_known *copy;
	size_t n = 0;

	if (k->n_new == 0)
		return 0;
	copy = calloc(k->n_new, sizeof(*copy));
	if (!copy)
		return 0;
	for (size_t i = 0; i < SLOTS && n < k->n_new; i++)
		if (k->slots[i].is_new)
			copy[n++] = k->slots[i].known;
	*ret = copy;
	return n;
}

static void mark_saved(struct knowledge *k, const struct store_known *saved,
		       size_t n)
{
	LOCK_SCOPE(&k->lock);

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

static int draw_timeline(char ret[TIMELINE_BYTES])
{
	uint8_t bytes[16];

	if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		return -EIO;
	hex_format(bytes, sizeof(bytes), ret);
	return 0;
}

void knowledge_save(struct knowledge *k, struct artifact *a)
{
	CLEANUP(freep) struct store_known *known = NULL;
	char timeline[TIMELINE_BYTES];
	struct err err = ERR_NULL;
	size_t n;
	int r;

	n = copy_new(k, &known);
	if (n == 0)
		return;
	r = draw_timeline(timeline);
	if (r == 0)
		r = store_announce_timeline(k->store, timeline);
	if (r == 0)
		r = artifact_set_timeline(a, timeline, &err);
	if (r == 0)
		r = store_known_put(k->store, known, n, timeline);
	if (r == 0)
		mark_saved(k, known, n);
	else
		log_info("cannot save sizes of files: %s", err_text(&err, r));
}
