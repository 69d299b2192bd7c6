/* SPDX-License-Identifier: MIT */
/*
 * The life of a mount. In order: look whether it can be; become a daemon (the
 * parent waits); open store and database; mount; serve; and back. With user=
 * files are opened as that user and all after mounting is done as he.
 *
 * Signals go to one thread that waits for them. The first SIGTERM or SIGINT
 * takes the mount away, lazily if it is busy, and lets open files be read to
 * their end; the second ends the process.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs/control.h"
#include "fs/fs.h"
#include "fs/handle.h"
#include "fs/place.h"
#include "fs/publish.h"
#include "fs/user.h"
#include "outboxfs/base/clock.h"
#include "outboxfs/base/log.h"

#define SESSION_THREADS 3
#define POOL_THREADS    4
#define POOL_TASKS_MAX  65536
#define CORES_MAX       256

/* The parent's end: told once, "ready" or why not. */
static int ready_fd = -1;

static void tell_parent(const char *text)
{
	if (ready_fd < 0)
		return;
	if (write(ready_fd, text, strlen(text)) < 0)
		log_debug("nobody waits for this daemon to be ready");
	close_fd(&ready_fd);
}

/* sd_notify(3), without the library. */
static int notify_fd = -1;

/* Connected at once: another user may not be allowed to, later. */
static void open_notify(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	size_t n;

	if (!path || strlen(path) >= sizeof(addr.sun_path) || !*path)
		return;
	n = strlen(path);
	memcpy(addr.sun_path, path, n);
	if (addr.sun_path[0] == '@')
		addr.sun_path[0] = '\0';
	notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (notify_fd < 0 ||
	    connect(notify_fd, (const struct sockaddr *)&addr,
		    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)) <
		    0)
		log_warn("cannot tell systemd: %s", strerrordesc_np(errno));
}

static void notify_systemd(const char *text)
{
	if (notify_fd >= 0 &&
	    send(notify_fd, text, strlen(text), MSG_NOSIGNAL) < 0)
		log_warn("cannot tell systemd: %s", strerrordesc_np(errno));
}

/*
 * From now on nobody waits at the other end of stderr: a daemon logs into its
 * store.
 */
static void log_to_store(const struct mount *m)
{
	CLEANUP(close_fd) int fd = -1;
	char path[4200] = "/dev/null";

	if (store_path(m->store))
		(void)snprintf(path, sizeof(path), "%s/log",
			       store_path(m->store));
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0 || dup2(fd, STDERR_FILENO) < 0)
		log_warn("cannot log to '%s': %s", path,
			 strerrordesc_np(errno));
}

void mount_ready(struct mount *m)
{
	log_info("mounted '%s' at '%s'", m->database, m->mountpoint);
	if (!m->options->foreground)
		log_to_store(m);
	tell_parent("ready");
	notify_systemd("READY=1\nSTATUS=mounted\n");
}

/* The parent: waits for the daemon's word and passes it on. */
static int wait_for_daemon(int fd, struct err *err)
{
	char text[sizeof(err->text)];
	size_t n = 0;
	ssize_t got;

	while (n < sizeof(text) - 1 &&
	       (got = read(fd, text + n, sizeof(text) - 1 - n)) > 0)
		n += (size_t)got;
	text[n] = '\0';
	if (strcmp(text, "ready") == 0)
		return 0;
	return err_set(err, -EIO, "%s",
		       n ? text : "the daemon ended before it was ready");
}

/* 1: this is the parent, *ret_result says how it went. 0: the daemon. */
static int become_daemon(int *ret_result, struct err *err)
{
	CLEANUP(close_fd) int null = -1;
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid > 0) {
		close_fd(&fds[1]);
		*ret_result = wait_for_daemon(fds[0], err);
		close_fd(&fds[0]);
		return 1;
	}
	close_fd(&fds[0]);
	ready_fd = fds[1];
	(void)setsid(); /* a forked child leads no group yet */
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0 || dup2(null, STDIN_FILENO) < 0 ||
	    dup2(null, STDOUT_FILENO) < 0)
		return -errno;
	return chdir("/") < 0 ? -errno : 0;
}

/* Before anything is opened: 0, 1 and 2 must not become ours. */
static int fill_standard_fds(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
		if (fd < 0)
			return -errno;
	} while (fd <= 2);
	close_fd(&fd);
	return 0;
}

static void *signal_thread(void *arg)
{
	struct mount *m = arg;
	sigset_t set;
	int n = 0;
	int sig;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	for (;;) {
		if (sigwait(&set, &sig) != 0)
			continue;
		if (sig == SIGUSR1 && atomic_load(&m->ended))
			return NULL;
		if (sig == SIGUSR1 || sig == SIGHUP)
			continue;
		if (n++ > 0)
			_exit(1);
		notify_systemd("STOPPING=1\n");
		controls_stop(m->controls);
		place_unmount(m->mountpoint);
	}
}

static int block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGPIPE);
	return -pthread_sigmask(SIG_BLOCK, &set, NULL);
}

/* A comma or backslash in a path would end the option (fuse_opt_parse). */
static void put_escaped(struct buf *b, const char *s)
{
	for (; *s; s++) {
		if (*s == ',' || *s == '\\')
			buf_putc(b, '\\');
		buf_putc(b, *s);
	}
}

static int new_session(struct mount *m, struct err *err)
{
	CLEANUP(buf_deinit) struct buf b = BUF_NULL;
	const struct mount_options *o = m->options;
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	int r = -EIO;

	buf_puts(&b, "-osubtype=outboxfs,fsname=");
	put_escaped(&b, m->database);
	buf_puts(&b, ",default_permissions,nosuid,nodev");
	if (o->allow_other)
		buf_puts(&b, ",allow_other");
	if (o->allow_root)
		buf_puts(&b, ",allow_root");
	if (o->read_only || o->kernel_cache)
		buf_puts(&b, ",ro");
	if (o->max_read)
		buf_printf(&b, ",max_read=%u", o->max_read);
	buf_puts(&b, o->extra);
	if (!buf_str(&b) || fuse_opt_add_arg(&args, "outboxfs") < 0 ||
	    fuse_opt_add_arg(&args, buf_str(&b)) < 0 ||
	    (o->debug && fuse_opt_add_arg(&args, "-d") < 0))
		return -ENOMEM;
	m->session = fuse_session_new(&args, &fs_ops, sizeof(fs_ops), m);
	if (m->session)
		r = 0;
	else
		err_set(err, r, "cannot start a FUSE session");
	fuse_opt_free_args(&args);
	return r;
}

static int attach(struct mount *m, struct err *err)
{
	mode_t mode;
	int r;

	r = place_prepare(m->mountpoint, &mode, err);
	if (r < 0 || fuse_session_mount(m->session, m->mountpoint) == 0)
		return r;
	place_restore(m->mountpoint, mode);
	return err_set(err, -EIO, "cannot mount at '%s': %s", m->mountpoint,
		       access("/dev/fuse", R_OK | W_OK) < 0
			       ? "/dev/fuse is missing or not allowed to you"
		       : m->options->allow_other && geteuid() != 0
			       ? "is user_allow_other in /etc/fuse.conf?"
			       : "see the message above");
}

/* Serves until the mount is gone. */
static int serve(struct mount *m, struct err *err)
{
	pthread_t signals;
	int r;

	r = watch_start(m, &m->watch);
	if (r < 0)
		return err_set(err, r, "cannot watch '%s' for changes: %s",
			       m->database, strerrordesc_np(-r));
	r = controls_start(m->controls, err);
	if (r == 0)
		r = -pthread_create(&signals, NULL, signal_thread, m);
	if (r < 0)
		return r;
	r = session_run(m->session, SESSION_THREADS);
	atomic_store(&m->ended, true);
	pthread_kill(signals, SIGUSR1);
	pthread_join(signals, NULL);
	controls_stop(m->controls);
	return r;
}

/*
 * Change numbers may come again with other content: nothing of before may
 * look like something of now.
 */
static void count_as_changed(struct mount *m)
{
	struct err err = ERR_NULL;
	int r;

	versions_reset(m->versions);
	r = artifact_renumber(m->artifact, atomic_load(&m->change_served),
			      atomic_load(&m->time_served), &err);
	if (r < 0)
		log_warn(
			"cannot count everything as changed: %s; copies made before may need rsync --checksum",
			err_text(&err, r));
}

int mount_renew(struct call *call, struct artifact_read *rd, bool is_other)
{
	struct mount *m = call->mount;
	uint64_t generation = rd->generation;
	char timeline[TIMELINE_BYTES];
	int r;

	r = knowledge_end(m->knowledge, call->epoch);
	if (r < 0)
		return r;
	if (is_other && artifact_timeline(rd, timeline) < 0)
		is_other = false; /* then it knows nothing of it */
	artifact_read_end(rd);
	count_as_changed(m);
	knowledge_begin(m->knowledge, generation, is_other ? timeline : NULL);
	return 0;
}

static int begin_reading(struct mount *m, struct artifact_read *rd)
{
	CLEANUP(artifact_node_deinit)
	struct artifact_node root = ARTIFACT_NODE_NULL;
	char timeline[TIMELINE_BYTES];
	int r;

	m->started = clock_wall();
	atomic_store(&m->outbox_time, m->started);
	atomic_store(&m->snapshots_time, m->started);
	r = artifact_dir(rd, ARTIFACT_DIR_ROOT, &root);
	if (r < 0)
		return r;
	atomic_store(&m->tree_time, root.time);
	m->first_generation = rd->generation;
	r = artifact_timeline(rd, timeline);
	if (r < 0)
		return r;
	knowledge_begin(m->knowledge, rd->generation, timeline);
	return artifact_change(rd, &m->first_change);
}

/* What jobs need. One thread a core renders. */
static int open_work(struct mount *m)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);
	int r;

	if (n < 1 || n > CORES_MAX)
		n = n < 1 ? 1 : CORES_MAX;
	r = pool_new((unsigned)n, POOL_TASKS_MAX, &m->render_pool);
	if (r < 0)
		return r;
	m->work.database = m->database;
	m->work.artifact = m->artifact;
	m->work.store = m->store;
	m->work.pool = m->render_pool;
	m->work.n_threads = (unsigned)n;
	m->work.limits = m->options->limits;
	r = sources_new(&m->sources);
	if (r == 0)
		r = controls_new(m, &m->controls);
	return r < 0 ? r : publish_new(m, &m->publish);
}

static int open_all(struct mount *m, struct err *err)
{
	CLEANUP(artifact_read_end) struct artifact_read rd = ARTIFACT_READ_NULL;
	struct artifact_options options = ARTIFACT_OPTIONS_DEFAULT;
	char owner[4200];
	int r;

	options.busy_ms = m->options->busy_ms;
	(void)snprintf(owner, sizeof(owner), "mounted at '%s'", m->mountpoint);
	r = artifact_open(m->database, &options, &m->artifact, err);
	if (r == 0)
		r = store_open(m->database, owner, &m->store, err);
	if (r == 0)
		r = versions_new(m->store, &m->versions);
	if (r == 0)
		r = knowledge_new(m->store, &m->knowledge);
	if (r == 0)
		r = pool_new(POOL_THREADS, POOL_TASKS_MAX, &m->pool);
	if (r == 0)
		r = open_work(m);
	if (r == 0)
		r = artifact_read_begin(m->artifact, true, &rd, err);
	return r < 0 ? r : begin_reading(m, &rd);
}

static void close_all(struct mount *m)
{
	controls_stop(m->controls);
	watch_stop(m->watch);
	m->pool = pool_free(m->pool);
	m->render_pool = pool_free(m->render_pool);
	if (m->session) {
		fuse_session_unmount(m->session);
		fuse_session_destroy(m->session);
	}
	if (m->knowledge && m->artifact)
		knowledge_save(m->knowledge, m->artifact);
	knowledge_free(m->knowledge);
	handles_free(m);
	sources_free(m->sources);
	controls_free(m->controls);
	publish_free(m->publish);
	versions_free(m->versions);
	store_free(m->store);
	artifact_free(m->artifact);
	buf_deinit(&m->readme.content);
	buf_deinit(&m->status.content);
	lock_deinit(&m->texts_lock);
	free(m->database);
	free(m->mountpoint);
}

static int open_as_user(struct mount *m, struct err *err)
{
	const struct mount_options *o = m->options;
	int r;

	r = user_borrow(o, err);
	if (r < 0)
		return r;
	r = open_all(m, err);
	if (r < 0 && o->user[0])
		return err_prefix(err, r, "as user '%s'", o->user);
	return r < 0 ? r : user_return(o, err);
}

static int run(struct mount *m, struct err *err)
{
	int r;

	r = block_signals();
	if (r == 0)
		r = open_as_user(m, err);
	if (r == 0)
		r = new_session(m, err);
	if (r == 0)
		r = attach(m, err);
	if (r == 0)
		r = user_become(m->options, err);
	return r < 0 ? r : serve(m, err);
}

static int find_places(struct mount *m, const struct mount_options *options,
		       struct err *err)
{
	int r;

	m->database = realpath(options->database, NULL);
	if (!m->database)
		return err_set(err, -errno, "cannot find database '%s': %s",
			       options->database, strerrordesc_np(errno));
	r = place_take_over(options->mountpoint, err);
	if (r < 0)
		return r;
	m->mountpoint = realpath(options->mountpoint, NULL);
	if (!m->mountpoint)
		return err_set(err, -errno, "cannot find mount point '%s': %s",
			       options->mountpoint, strerrordesc_np(errno));
	return place_check(m->mountpoint, m->database, err);
}

int mount_run(const struct mount_options *options, struct err *err)
{
	struct mount m = {
		.options = options,
		.entry_timeout = 60.0,
		.attr_timeout = options->kernel_cache ? 86400.0 : 0.0,
	};
	int result = 0;
	int r;

	lock_init(&m.texts_lock, "texts", LOCK_RANK_TEXTS);
	r = fill_standard_fds();
	if (r == 0)
		open_notify();
	if (r == 0)
		r = find_places(&m, options, err);
	if (r == 0 && !options->foreground)
		r = become_daemon(&result, err);
	if (r == 1) {
		close_all(&m);
		return result;
	}
	if (r == 0)
		r = run(&m, err);
	close_all(&m);
	if (r < 0 && ready_fd >= 0) {
		tell_parent(err_text(err, r));
		_exit(1); /* the parent prints it */
	}
	return r;
}
