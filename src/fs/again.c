/* SPDX-License-Identifier: MIT */
/*
 * A path is walked again once, after ESTALE, and then the program gets the
 * error. A file that changes every few milliseconds can change once more
 * between the second walk's LOOKUP and its OPEN. Then the version that this
 * LOOKUP found is good enough: an open must show the commits that were made
 * before the system call began, and the LOOKUP came later.
 *
 * So what must be known is that LOOKUP and OPEN are of one system call. The
 * kernel names the thread with each request, and a thread is in one system
 * call at a time:
 *
 *	open(2)  GETATTR* OPEN*	| LOOKUP... GETATTR OPEN
 *	stat(2)  GETATTR*	| LOOKUP... GETATTR
 *
 * where one of those with a * says ESTALE.
 * (GETATTR because our attributes are not kept, once for the permissions or
 * for stat itself; of directories on the way, too.) A walk that does not go on
 * like this is over, and so is one that fails, one that waits for a second, and
 * one whose OPEN has come. A second GETATTR is another system call's, and a
 * LOOKUP after a GETATTR, too.
 *
 * What if stat(2) is followed by an open(2) of the same file that asks for no
 * attributes, since a listing by somebody else has just told the kernel some?
 * They hold for 10 ms. So a listing ends the walks of others, and one that was
 * answered shortly before, which the kernel might not have read yet, keeps a
 * walk from counting. The thread's own listing was over before its walk began.
 *
 * An fstat(2) of what was opened with O_PATH is told ESTALE and walks nothing.
 * What the thread does next can be taken for that walk, which only matters if
 * it looks the name up and asks no more, as access(2) does for F_OK, and opens
 * the file within the second, after another commit.
 *
 * Losing an entry only means ESTALE, as before.
 */
#include "fs/again.h"

#include <errno.h>

#include "fs/fs.h"
#include "outboxfs/base/clock.h"

#define STEP_US   1000000 /* from one step of a walk to the next, at most */
#define LISTED_US 100000  /* for the kernel to read a listing */

/* 0: none that we can see (another namespace). */
static pid_t thread_of(const struct call *call)
{
	return fuse_req_ctx(call->req)->pid;
}

static struct again_walk *entry(struct call *call)
{
	struct again *again = &call->mount->again;

	return &again->walks[(unsigned)thread_of(call) % AGAIN_MAX];
}

/* The walk that the call's thread is in, or NULL. */
static struct again_walk *find_locked(struct call *call)
{
	struct again_walk *w = entry(call);

	return w->thread && w->thread == thread_of(call) ? w : NULL;
}

static void end_locked(struct call *call, struct again_walk *w)
{
	*w = (struct again_walk){.thread = 0};
	atomic_fetch_sub(&call->mount->again.n, 1);
}

static bool is_over_locked(const struct again *again,
			   const struct again_walk *w)
{
	const struct again_listing *others = again->listed.thread == w->thread
						     ? &again->listed2
						     : &again->listed;

	return clock_mono() - w->moved_at > STEP_US ||
	       others->at > w->stale_at - LISTED_US;
}

/* GETATTR of a directory on the way, for its permissions. */
static bool is_directory(const struct call *call)
{
	const struct node_ops *ops = node_ops(node_unpack(call->ino).kind);

	return call->op == CALL_GETATTR && ops && !ops->facts;
}

/* Is this the next step of the walk? *ret_ends: and the last one. */
static bool is_next(const struct call *call, const struct again_walk *w,
		    bool *ret_ends)
{
	bool same = w->state != WALK_STALE && w->ino == call->ino;

	*ret_ends = call->op == CALL_OPEN;
	if (call->op == CALL_LOOKUP || is_directory(call))
		return w->state != WALK_CHECKED;
	if (call->op == CALL_GETATTR)
		return same && w->state == WALK_FOUND;
	return same && call->op == CALL_OPEN;
}

bool again_begin(struct call *call)
{
	struct again *again = &call->mount->again;
	struct again_walk *w;
	bool ends;
	bool next;

	if (atomic_load(&again->n) == 0)
		return false;

	LOCK_SCOPE(&call->mount->texts_lock);

	w = find_locked(call);
	if (!w)
		return false;
	next = !is_over_locked(again, w) && is_next(call, w, &ends);
	if (!next || ends) {
		end_locked(call, w);
		return next;
	}
	w->moved_at = clock_mono();
	if (call->op == CALL_LOOKUP || is_directory(call))
		return false;
	w->state = WALK_CHECKED;
	return true;
}

void again_found(struct call *call, fuse_ino_t ino)
{
	struct again_walk *w;

	if (atomic_load(&call->mount->again.n) == 0)
		return;

	LOCK_SCOPE(&call->mount->texts_lock);

	w = find_locked(call);
	if (!w || w->state == WALK_CHECKED)
		return;
	w->state = WALK_FOUND;
	w->ino = ino;
	w->moved_at = clock_mono();
}

void again_failed(struct call *call, int r)
{
	struct again *again = &call->mount->again;
	bool begins = r == -ESTALE && !call->again && thread_of(call) > 0 &&
		      (call->op == CALL_OPEN || call->op == CALL_GETATTR);
	struct again_walk *w;

	if (!begins && atomic_load(&again->n) == 0)
		return;

	LOCK_SCOPE(&call->mount->texts_lock);

	w = begins ? entry(call) : find_locked(call);
	if (w && w->thread)
		end_locked(call, w);
	if (!begins)
		return;
	*w = (struct again_walk){.thread = thread_of(call),
				 .state = WALK_STALE,
				 .stale_at = clock_mono()};
	w->moved_at = w->stale_at;
	atomic_fetch_add(&again->n, 1);
}

void again_listed(struct call *call)
{
	struct again *again = &call->mount->again;
	struct again_listing listing = {.thread = thread_of(call)};

	LOCK_SCOPE(&call->mount->texts_lock);

	listing.at = clock_mono();
	if (again->listed.thread != listing.thread)
		again->listed2 = again->listed;
	again->listed = listing;
}
