/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Paths that change while the kernel walks them: see again.c. Any thread.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include "fs/node.h"
#include "outboxfs/base/defs.h"

#define AGAIN_MAX 64 /* threads in such a walk at once, at most */

struct call;

/* A thread of some program, in a walk that was begun again. */
struct again_walk {
	pid_t thread; /* 0: a free entry */
	enum {
		WALK_STALE,   /* was told ESTALE */
		WALK_FOUND,   /* has looked up ino since */
		WALK_CHECKED, /* and asked for its attributes */
	} state;
	fuse_ino_t ino;
	mono_us_t stale_at;
	mono_us_t moved_at;
};

struct again_listing {
	pid_t thread;
	mono_us_t at; /* when it was answered */
};

struct again {
	_Atomic unsigned n; /* entries in use, or more */

	/* under the mount's texts_lock */
	struct again_walk walks[AGAIN_MAX];
	struct again_listing listed; /* the last listing */
	struct again_listing
		listed2; /* the last one of another thread than that */
};

/*
 * A request has come. true: it belongs to the walk in which this version was
 * found, and may be answered with it, although a newer one may be there.
 */
bool again_begin(struct call *call);
/* A lookup is about to be answered with this version. */
void again_found(struct call *call, fuse_ino_t ino);
/* A request is about to fail with this errno. */
void again_failed(struct call *call, int r);
/* A listing with attributes is about to be answered. */
void again_listed(struct call *call);
