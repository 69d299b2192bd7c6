/* SPDX-License-Identifier: MIT */
/*
 * One thread that notices commits (by inotify on the database's files),
 * folds what they marked, and tells the kernel which entries and attributes
 * no longer hold. It holds no lock while it tells, and is nobody's request.
 *
 * A commit is written to the log first and becomes visible a moment later, by
 * a store into shared memory that nobody is told of. So after a write it looks
 * at once, and again, less and less often, until writing has ceased.
 *
 * When nobody has asked for anything in a while there is nothing to take back,
 * and the database is left alone.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "fs/fs.h"
#include "outboxfs/base/clock.h"
#include "outboxfs/base/log.h"

#define LOOK_MS     20       /* between two looks while somebody writes */
#define COMMIT_US   2000000  /* from the last write to its commit, at most */
#define SAVE_US     2000000  /* what is new is saved this often */
#define FORGET_US   90000000 /* longer than any timeout in ops.c */
#define NOTICES_MAX 20000    /* for one look; more is everything */
#define DIRS_MAX    4096     /* directories in which a label is taken back */

struct watch {
	/* fixed after watch_start() */
	struct mount *mount;
	int inotify_fd;
	int dir_wd; /* of the database's directory */
	int stop_fd;
	const char *file; /* name of the database in its directory */
	pthread_t thread;

	/* the thread's own */
	int64_t change; /* dealt with up to this */
	uint64_t generation;
	uint64_t n_calls; /* when it looked last */
	mono_us_t called_at;
	mono_us_t saved_at;
	size_t n_notices;
	int failed; /* why it could not look last; 0: it could */
};

static bool may_notify(struct watch *w)
{
	return w->n_notices++ < NOTICES_MAX;
}

/* Takes back attributes, and pages, of a node. */
static void drop_inode(struct watch *w, const struct node *node)
{
	fuse_ino_t ino;

	if (may_notify(w) && node_pack(node, &ino) == 0)
		(void)fuse_lowlevel_notify_inval_inode(w->mount->session, ino,
						       0, 0);
}

/*
 * Makes the kernel ask again before it believes an entry. It is not thrown
 * away: who sits in a directory that is still there stays in it.
 */
static void drop_entry(struct watch *w, const struct node *dir,
		       const char *name)
{
	struct fuse_session *session = w->mount->session;
	size_t len = strlen(name);
	fuse_ino_t ino;

	if (!may_notify(w) || node_pack(dir, &ino) < 0)
		return;
	if (fuse_lowlevel_notify_expire_entry(session, ino, name, len,
					      FUSE_LL_EXPIRE_ONLY) == -ENOSYS)
		(void)fuse_lowlevel_notify_inval_entry(session, ino, name, len);
}

/* Everything that the kernel may still believe, at once. */
static void drop_all(struct watch *w)
{
	static const char *const names[] = {"data", "setup", "README.md",
					    "status.json"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		(void)fuse_lowlevel_notify_inval_entry(w->mount->session,
						       FUSE_ROOT_ID, names[i],
						       strlen(names[i]));
}

/* What a walk over the changes carries along. */
struct look {
	struct watch *w;
	struct artifact_read *rd;
	int64_t above; /* what is above this directory is done */
};

/* Listings and times of the directories above a POV. */
static int drop_above(struct look *look, int64_t parent)
{
	while (parent != 0) {
		CLEANUP(artifact_node_deinit)
		struct artifact_node dir = ARTIFACT_NODE_NULL;
		struct node node = {.kind = NODE_DIR, .id = parent};
		int r;

		drop_inode(look->w, &node);
		r = artifact_dir(look->rd, parent, &dir);
		if (r < 0)
			return r == -ENOENT ? 0 : r;
		parent = dir.parent;
	}
	return 0;
}

/* Directories whose last rows have gone, from the POV upwards. */
static int drop_dead(struct look *look, struct artifact_node *pov)
{
	int64_t parent = pov->parent;
	struct name name;
	int r;

	r = artifact_is_alive(look->rd, pov);
	if (r != -ENOENT)
		return r;
	r = artifact_name(look->rd, pov, &name);
	while (r == 0) {
		CLEANUP(artifact_node_deinit)
		struct artifact_node dir = ARTIFACT_NODE_NULL;
		struct node node = {.kind = NODE_DIR, .id = parent};

		drop_entry(look->w, &node, name.text);
		drop_inode(look->w, &node);
		r = artifact_dir(look->rd, parent, &dir);
		if (r < 0 || dir.level == 0)
			break;
		r = artifact_is_alive(look->rd, &dir);
		if (r != -ENOENT)
			break;
		r = artifact_name(look->rd, &dir, &name);
		parent = dir.parent;
	}
	return r == -ENOENT ? 0 : r;
}

static int on_pov(int64_t id, int64_t parent, void *arg)
{
	CLEANUP(artifact_node_deinit)
	struct artifact_node pov = ARTIFACT_NODE_NULL;
	struct look *look = arg;
	const struct model *m = look->rd->model;
	struct node node = {.kind = NODE_POV, .id = id};
	struct name name;
	int r;

	if (look->w->n_notices >= NOTICES_MAX)
		return 0;
	r = artifact_pov(look->rd, id, &pov);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	for (int slot = 0; slot < m->n_slots; slot++)
		if (pov.marks[slot].change > look->w->change &&
		    artifact_file_name(model_slot(m, slot), &name) == 0)
			drop_entry(look->w, &node, name.text);
	drop_entry(look->w, &node, "pov.json");
	drop_inode(look->w, &node);
	if (parent != look->above) {
		look->above = 0;
		r = drop_above(look, parent);
		if (r < 0)
			return r;
		look->above = parent;
	}
	return drop_dead(look, &pov);
}

static int on_table(const struct model_table *t, void *arg)
{
	struct look *look = arg;
	struct node node = {.kind = NODE_SETUP};
	struct name name;

	if (artifact_file_name(t, &name) == 0)
		drop_entry(look->w, &node, name.text);
	return 0;
}

/* The names that a label makes: alone, and with the key. */
static int drop_label(struct watch *w, const struct node *dir,
		      const struct value *label, const struct value *key)
{
	struct name name;
	int r;

	r = name_make(label, NULL, &name);
	if (r == 0)
		drop_entry(w, dir, name.text);
	if (r == 0)
		r = name_make(label, key, &name);
	if (r == 0)
		drop_entry(w, dir, name.text);
	return r;
}

/*
 * A label has changed, come or gone: the name of its value, and of any other
 * that shares the old label or the new one, in every directory of that level.
 */
static int on_label(unsigned dim, const struct value *value,
		    const struct value *old_label, bool had_label, void *arg)
{
	CLEANUP(arena_deinit) struct arena arena = ARENA_NULL;
	struct look *look = arg;
	struct artifact_mark mark;
	struct value label = *value;
	int64_t dirs[DIRS_MAX];
	size_t n;
	int r;

	r = artifact_label(look->rd, dim, value, &arena, &label, &mark);
	if (r >= 0)
		r = artifact_dirs_at(look->rd, dim, dirs, DIRS_MAX, &n);
	if (r < 0)
		return r;
	/* With kernel_cache, documents with the label are believed as well. */
	if (n == DIRS_MAX || look->w->mount->options->kernel_cache) {
		look->w->n_notices = NOTICES_MAX;
		return 0;
	}
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct node dir = {.kind = NODE_DIR, .id = dirs[i]};

		r = drop_label(look->w, &dir, had_label ? old_label : value,
			       value);
		if (r == 0)
			r = drop_label(look->w, &dir, &label, value);
		drop_inode(look->w, &dir);
	}
	return r;
}

static int look_at_changes(struct watch *w, struct artifact_read *rd)
{
	struct look look = {.w = w, .rd = rd};
	struct artifact_watch watch = {.pov = on_pov,
				       .table = on_table,
				       .label = on_label,
				       .arg = &look};
	int64_t change;
	int r;

	r = artifact_change(rd, &change);
	if (r < 0)
		return r;
	/* What is not counted yet cannot be named: see artifact_changes(). */
	if (rd->generation != w->generation ||
	    (rd->unsettled && w->mount->options->kernel_cache)) {
		drop_all(w);
		w->generation = rd->generation;
	} else if (change > w->change) {
		r = artifact_changes(rd, w->change, &watch);
		if (w->n_notices >= NOTICES_MAX)
			drop_all(w); /* too much to name it all */
	}
	w->change = change;
	return r;
}

/* Has the kernel forgotten by itself whatever it once heard? */
static bool is_forgotten(struct watch *w)
{
	uint64_t n_calls = atomic_load(&w->mount->n_calls);
	mono_us_t now = clock_mono();

	if (n_calls != w->n_calls || w->mount->options->kernel_cache)
		w->called_at = now;
	w->n_calls = n_calls;
	return now - w->called_at > FORGET_US;
}

static void look(struct watch *w)
{
	CLEANUP(artifact_read_end) struct artifact_read rd = ARTIFACT_READ_NULL;
	struct err err = ERR_NULL;
	int r;

	if (is_forgotten(w))
		return;
	w->n_notices = 0;
	r = artifact_read_begin(w->mount->artifact, true, &rd, &err);
	if (r < 0) {
		drop_all(w);
		return; /* whoever reads next is told why */
	}
	r = look_at_changes(w, &rd);
	if (r < 0 && r != w->failed)
		log_warn("cannot read what has changed: %s",
			 strerrordesc_np(-r));
	w->failed = r;
}

static void save(struct watch *w)
{
	mono_us_t now = clock_mono();

	if (now - w->saved_at < SAVE_US &&
	    !knowledge_is_full(w->mount->knowledge))
		return;
	w->saved_at = now;
	knowledge_save(w->mount->knowledge, w->mount->artifact);
}

/*
 * Watches the database's files for writes. The directory is watched only for
 * files that come and go, since it may be a busy one.
 */
static void watch_files(struct watch *w)
{
	static const char *const ends[] = {"", "-wal", "-journal"};
	char path[4200];

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		(void)snprintf(path, sizeof(path), "%s%s", w->mount->database,
			       ends[i]);
		/* One that is not there is watched when it appears. */
		(void)inotify_add_watch(w->inotify_fd, path, IN_MODIFY);
	}
}

/* Reads what inotify has at the moment; true: it is about the database. */
static bool drain(struct watch *w)
{
	char data[8192] __attribute__((aligned(8)));
	size_t len = strlen(w->file);
	bool appeared = false;
	bool ours = false;
	ssize_t n;

	n = read(w->inotify_fd, data, sizeof(data));
	for (char *p = data; n > 0 && p < data + n;) {
		const struct inotify_event *e = (const void *)p;

		if (e->wd != w->dir_wd)
			ours = true; /* a file of its own, or an overflow */
		else if (e->len > 0 && strncmp(e->name, w->file, len) == 0)
			appeared = true;
		p += sizeof(*e) + e->len;
	}
	if (appeared)
		watch_files(w);
	return ours || appeared;
}

static void *watch_thread(void *arg)
{
	struct watch *w = arg;
	struct pollfd fds[] = {
		{.fd = w->stop_fd, .events = POLLIN},
		{.fd = w->inotify_fd, .events = POLLIN},
	};
	mono_us_t written_at = 0;
	int wait_ms = SAVE_US / 1000;

	while (!(fds[0].revents & POLLIN)) {
		if (poll(fds, 2, wait_ms) < 0)
			continue;
		if (fds[1].revents && drain(w)) {
			written_at = clock_mono();
			wait_ms = 1;
		} else {
			wait_ms = wait_ms < LOOK_MS / 2 ? wait_ms * 2 : LOOK_MS;
		}
		if (clock_mono() - written_at < COMMIT_US)
			look(w);
		else
			wait_ms = SAVE_US / 1000;
		(void)is_forgotten(w); /* notes that somebody has called */
		save(w);
	}
	return NULL;
}

static int watch_directory(struct watch *w)
{
	const char *slash = strrchr(w->mount->database, '/');
	char dir[4200];

	(void)snprintf(dir, sizeof(dir), "%.*s",
		       (int)(slash - w->mount->database) + 1,
		       w->mount->database);
	w->file = slash + 1;
	w->dir_wd = inotify_add_watch(w->inotify_fd, dir,
				      IN_CREATE | IN_DELETE | IN_MOVED_TO |
					      IN_MOVED_FROM);
	if (w->dir_wd < 0)
		return -errno;
	watch_files(w);
	return 0;
}

static int start_thread(struct watch *w)
{
	sigset_t all;
	sigset_t old;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&w->thread, NULL, watch_thread, w);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -r;
}

int watch_start(struct mount *m, struct watch **ret)
{
	struct watch *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return -ENOMEM;
	w->mount = m;
	w->generation = m->first_generation;
	w->change = m->first_change;
	w->saved_at = clock_mono();
	w->called_at = w->saved_at;
	w->stop_fd = eventfd(0, EFD_CLOEXEC);
	w->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	r = w->stop_fd < 0 || w->inotify_fd < 0 ? -errno : 0;
	if (r == 0)
		r = watch_directory(w);
	if (r == 0)
		r = start_thread(w);
	if (r < 0) {
		close_fd(&w->stop_fd);
		close_fd(&w->inotify_fd);
		free(w);
		return r;
	}
	*ret = w;
	return 0;
}

void watch_stop(struct watch *w)
{
	uint64_t one = 1;

	if (!w)
		return;
	/* An eventfd takes eight bytes, always. */
	if (write(w->stop_fd, &one, sizeof(one)) != sizeof(one))
		log_err("cannot stop the watcher");
	pthread_join(w->thread, NULL);
	close_fd(&w->stop_fd);
	close_fd(&w->inotify_fd);
	free(w);
}
