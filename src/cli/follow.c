/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "cli/follow.h"
#include "outboxfs/base/log.h"
#include "outboxfs/base/number.h"
#include "outboxfs/fs/mount.h"
#include "outboxfs/store/store.h"

#define DRAW_MS        200
#define ASK_MS         1000 /* how often a daemon is asked in any case */
#define THREADS_MAX    8
#define TASKS_MAX      65536
#define PIECE_BYTES    16384
#define SHORT_BYTES    (4 * PIECE_BYTES) /* of what has a few lines */
#define DOCUMENT_BYTES ((size_t)64 << 20)

/* Finding who does the work */

/* The mount point in "process 7, mounted at '/mnt'". */
static int read_holder(struct follow *f, const char *holder, struct err *err)
{
	static const char before[] = "mounted at '";
	const char *begin = strstr(holder, before);
	const char *end = strrchr(holder, '\'');

	if (!begin)
		return err_set(err, -EBUSY,
			       "database '%s' is in use by %s: wait for that",
			       f->database, holder);
	begin += strlen(before);
	if (end > begin && (size_t)(end - begin) < sizeof(f->mountpoint))
		(void)snprintf(f->mountpoint, sizeof(f->mountpoint), "%.*s",
			       (int)(end - begin), begin);
	return 0;
}

/* A daemon in another container holds the database, and is out of reach. */
static int check_mount(struct follow *f, const char *holder, struct err *err)
{
	CLEANUP(freep) char *path = NULL;

	if (asprintf(&path, "%s/control", f->mountpoint) < 0)
		return -ENOMEM;
	if (f->mountpoint[0] && access(path, F_OK) == 0)
		return 0;
	return err_set(
		err, -EBUSY,
		"database '%s' is in use by %s, which cannot be reached from here: %s",
		f->database, holder, strerrordesc_np(errno));
}

/* 1: a daemon or another process has the database, and can be reached. */
static int find_holder(struct follow *f, struct err *err)
{
	char holder[512] = "";
	int r;

	r = store_holder(f->database, holder, sizeof(holder));
	if (r < 0)
		return err_set(err, r, "cannot find out who serves '%s': %s",
			       f->database, strerrordesc_np(-r));
	if (r == 0)
		return 0;
	r = read_holder(f, holder, err);
	if (r == 0)
		r = check_mount(f, holder, err);
	return r < 0 ? r : 1;
}

int follow_find(const char *path, struct follow *ret, struct err *err)
{
	static const struct timespec pause = {.tv_nsec = 20000000};
	char mountpoint[PATH_MAX] = "";
	int r;

	r = mount_find_database(path, ret->database, mountpoint, err);
	if (r < 0)
		return r;
	/* Who may use a mount need not be one who may read its database. */
	if (mountpoint[0]) {
		memcpy(ret->mountpoint, mountpoint, sizeof(mountpoint));
		return check_mount(ret, "a daemon", err);
	}
	r = find_holder(ret, err);
	/* A daemon whose mount has just gone is about to let go. */
	for (int i = 0; r < 0 && ret->mountpoint[0] && i < 100; i++) {
		(void)nanosleep(&pause, NULL);
		ret->mountpoint[0] = '\0';
		err->text[0] = '\0';
		r = find_holder(ret, err);
	}
	return r < 0 ? r : 0;
}

/* Opening and closing */

static int catch_signals(struct follow *f)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	f->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return f->signal_fd < 0 ? -errno : 0;
}

/* From now on a signal ends the process, as it does by default. */
static void let_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	(void)sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static void on_changed(int64_t job, enum job_state state, void *arg)
{
	struct follow *f = arg;
	const uint64_t one = 1;

	(void)job;
	(void)state;
	if (write(f->event_fd, &one, sizeof(one)) < 0)
		log_debug("an event is already waiting");
}

static unsigned n_processors(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	return n < 1 ? 1 : n > THREADS_MAX ? THREADS_MAX : (unsigned)n;
}

static int start_runner(struct follow *f)
{
	const struct runner_events events = {.changed = on_changed, .arg = f};

	f->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (f->event_fd < 0)
		return -errno;
	return runner_start(&f->work, &events, &f->runner);
}

static int open_here(struct follow *f, enum follow_depth depth,
		     const char *what, struct err *err)
{
	struct artifact_options options = ARTIFACT_OPTIONS_DEFAULT;
	char owner[64];
	int r;

	/* What a job says is told when it has ended, once. */
	log_set_level(LOG_LEVEL_ERR);
	(void)snprintf(owner, sizeof(owner), "command %s", what);
	r = artifact_open(f->database, &options, &f->artifact, err);
	if (r == 0)
		r = store_open(f->database, owner, &f->store, err);
	if (r < 0 || depth == FOLLOW_LOOK)
		return r;
	r = pool_new(n_processors(), TASKS_MAX, &f->pool);
	if (r < 0)
		return r;
	f->work.database = f->database;
	f->work.artifact = f->artifact;
	f->work.store = f->store;
	f->work.pool = f->pool;
	f->work.n_threads = n_processors();
	return depth == FOLLOW_RUN ? start_runner(f) : 0;
}

int follow_open(const char *path, enum follow_depth depth, const char *what,
		struct follow *ret, struct err *err)
{
	int r;

	r = follow_find(path, ret, err);
	/* Before there are threads: they all must have them blocked. */
	if (r == 0)
		r = catch_signals(ret);
	if (r < 0 || ret->mountpoint[0])
		return r;
	return open_here(ret, depth, what, err);
}

void follow_close(struct follow *f)
{
	runner_stop(f->runner);
	f->pool = pool_free(f->pool);
	f->store = store_free(f->store);
	f->artifact = artifact_free(f->artifact);
	close_fd(&f->event_fd);
	close_fd(&f->signal_fd);
}

/* Documents */

static int read_fd(int fd, struct buf *ret)
{
	ssize_t n;
	char *p;

	do {
		p = buf_reserve(ret, PIECE_BYTES);
		if (!p)
			return buf_error(ret);
		n = read(fd, p, PIECE_BYTES);
		if (n < 0)
			return -errno;
		ret->len += (size_t)n;
	} while (n > 0);
	return 0;
}

static int read_there(struct follow *f, int64_t job, const char *name,
		      struct buf *ret)
{
	CLEANUP(freep) char *path = NULL;
	CLEANUP(close_fd) int fd = -1;

	if (asprintf(&path, "%s/jobs/%lld/%s", f->mountpoint, (long long)job,
		     name) < 0)
		return -ENOMEM;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : read_fd(fd, ret);
}

static int read_here(struct follow *f, int64_t id, const char *name,
		     struct buf *ret)
{
	CLEANUP(job_deinit) struct job job = JOB_NULL;
	int r;

	r = job_get(f->store, id, &job);
	if (r < 0)
		return r;
	if (strcmp(name, "log") == 0)
		return job_read_log(f->store, id, ret);
	if (strcmp(name, "state") == 0) {
		buf_printf(ret, "%s\n", job_state_name(job.state));
		return buf_error(ret);
	}
	if (strcmp(name, "progress.json") == 0 && f->runner)
		return runner_progress_json(f->runner, &job, ret);
	return job_result_json(&job, ret);
}

int follow_read(struct follow *f, int64_t job, const char *name,
		struct buf *ret, struct err *err)
{
	int r = f->mountpoint[0] ? read_there(f, job, name, ret)
				 : read_here(f, job, name, ret);

	if (r == -ENOENT)
		return err_set(err, r, "there is no job %lld", (long long)job);
	if (r < 0)
		return err_set(err, r, "cannot read '%s' of job %lld: %s", name,
			       (long long)job, strerrordesc_np(-r));
	return 0;
}

/* A word and a newline. */
static int parse_state(const char *text, int64_t job, enum job_state *ret,
		       struct err *err)
{
	size_t n = strcspn(text, "\n");

	for (int i = JOB_QUEUED; i <= JOB_LIMIT_REACHED; i++) {
		const char *name = job_state_name((enum job_state)i);

		if (strlen(name) == n && memcmp(name, text, n) == 0) {
			*ret = (enum job_state)i;
			return 0;
		}
	}
	return err_set(err, -EBADMSG, "job %lld is in an unknown state",
		       (long long)job);
}

int follow_state(struct follow *f, int64_t job, enum job_state *ret,
		 struct err *err)
{
	CLEANUP(buf_deinit) struct buf b = BUF_INIT(SHORT_BYTES);
	int r;

	r = follow_read(f, job, "state", &b, err);
	if (r < 0 || !buf_str(&b))
		return r < 0 ? r : -ENOMEM;
	return parse_state(b.data, job, ret, err);
}

int follow_document(struct follow *f, int64_t job, struct buf *ret,
		    struct err *err)
{
	enum job_state state;
	int r;

	r = follow_state(f, job, &state, err);
	if (r < 0)
		return r;
	return follow_read(
		f, job, job_has_ended(state) ? "result.json" : "progress.json",
		ret, err);
}

/* Lists of jobs */

/* arg is a buf of int64_t. */
static int add_job(int64_t id, enum job_state state, wall_s_t time, void *arg)
{
	struct buf *list = arg;

	(void)state;
	(void)time;
	buf_add(list, &id, sizeof(id));
	return buf_error(list);
}

static int list_dir(DIR *dir, struct buf *list)
{
	struct dirent *entry;
	int64_t id;
	int r = 0;

	for (;;) {
		errno = 0;
		entry = readdir(dir);
		if (!entry || r < 0)
			return r < 0 ? r : -errno;
		if (number_parse(entry->d_name, strlen(entry->d_name), &id,
				 NULL) == NUMBER_INTEGER)
			r = add_job(id, JOB_QUEUED, 0, list);
	}
}

static int list_there(struct follow *f, struct buf *list)
{
	CLEANUP(freep) char *path = NULL;
	DIR *dir;
	int r;

	if (asprintf(&path, "%s/jobs", f->mountpoint) < 0)
		return -ENOMEM;
	dir = opendir(path);
	if (!dir)
		return -errno;
	r = list_dir(dir, list);
	closedir(dir);
	return r;
}

static int compare_jobs(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a;
	int64_t y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

int follow_list(struct follow *f, int64_t **ret, size_t *ret_n, struct err *err)
{
	CLEANUP(buf_deinit) struct buf list = BUF_NULL;
	int r;

	r = f->mountpoint[0] ? list_there(f, &list)
			     : job_list(f->store, 0, add_job, &list);
	if (r < 0)
		return err_set(err, r, "cannot list jobs: %s",
			       strerrordesc_np(-r));
	*ret_n = list.len / sizeof(int64_t);
	if (*ret_n > 1)
		qsort(list.data, *ret_n, sizeof(int64_t), compare_jobs);
	*ret = (int64_t *)(void *)buf_steal(&list);
	return *ret ? 0 : -ENOMEM;
}

/* Commands */

/* The first line that a control file has for whoever wrote it. */
static int explain_control(int fd, int r, const char *path, struct err *err)
{
	CLEANUP(buf_deinit) struct buf b = BUF_INIT(SHORT_BYTES);

	if (lseek(fd, 0, SEEK_SET) == 0 && read_fd(fd, &b) == 0 &&
	    buf_str(&b) && b.len > 0 && b.data[0] != '{') {
		b.data[strcspn(b.data, "\n")] = '\0';
		return err_set(err, r, "%s", b.data);
	}
	return err_set(err, r, "cannot write to '%s': %s", path,
		       strerrordesc_np(-r));
}

/* {"job": 17, …} */
static int read_answer(int fd, const char *path, int64_t *ret, struct err *err)
{
	CLEANUP(buf_deinit) struct buf b = BUF_INIT(DOCUMENT_BYTES);
	struct json_object *o = NULL;
	struct json_object *val;
	int r;

	r = lseek(fd, 0, SEEK_SET) < 0 ? -errno : read_fd(fd, &b);
	if (r == 0 && buf_str(&b))
		o = json_tokener_parse(b.data);
	*ret = o && json_object_object_get_ex(o, "job", &val)
		       ? json_object_get_int64(val)
		       : 0;
	json_object_put(o);
	if (r < 0 || *ret <= 0)
		return err_set(
			err, r < 0 ? r : -EBADMSG,
			"'%s' took the command and gives no job back; look into jobs/",
			path);
	return 0;
}

static int write_control(struct follow *f, const struct command *c,
			 int64_t *ret_job, struct err *err)
{
	CLEANUP(buf_deinit) struct buf json = BUF_NULL;
	CLEANUP(freep) char *path = NULL;
	CLEANUP(close_fd) int fd = -1;
	int r;

	r = command_json(c, &json);
	if (r < 0)
		return r;
	if (asprintf(&path, "%s/control/%s", f->mountpoint,
		     command_kind_name(c->kind)) < 0)
		return -ENOMEM;
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return err_set(err, -errno, "cannot open '%s': %s", path,
			       strerrordesc_np(errno));
	if (write(fd, json.data, json.len) < 0)
		return explain_control(fd, -errno, path, err);
	return ret_job ? read_answer(fd, path, ret_job, err) : 0;
}

int follow_submit(struct follow *f, const struct command *c, int64_t *ret_job,
		  struct err *err)
{
	char who[64];

	if (f->mountpoint[0])
		return write_control(f, c, ret_job, err);
	(void)snprintf(who, sizeof(who), "uid %u, process %ld (outboxfs)",
		       (unsigned)getuid(), (long)getpid());
	return runner_submit(f->runner, c, who, ret_job, err);
}

static int abort_there(struct follow *f, int64_t job, struct err *err)
{
	const struct command c = {.kind = COMMAND_ABORT, .job = job};

	return write_control(f, &c, NULL, err);
}

/* Nobody runs jobs: what was left under way is ended here. */
static int abort_here(struct follow *f, int64_t job)
{
	int r = job_abort(f->store, job);

	if (r < 0)
		return r;
	r = job_end(f->store, job, JOB_ABORTED, ECANCELED, "it was aborted",
		    NULL);
	return r == -EALREADY ? 0 : r;
}

int follow_abort(struct follow *f, int64_t job, struct err *err)
{
	int r;

	if (f->mountpoint[0])
		return abort_there(f, job, err);
	if (f->runner)
		return runner_abort(f->runner, job, err);
	r = abort_here(f, job);
	if (r == -ENOENT)
		return err_set(err, r, "there is no job %lld", (long long)job);
	if (r == -EALREADY)
		return err_set(err, r, "job %lld has ended already",
			       (long long)job);
	return r < 0 ? err_set(err, r, "cannot abort job %lld: %s",
			       (long long)job, strerrordesc_np(-r))
		     : 0;
}

/* Waiting */

int follow_signalled(struct follow *f)
{
	struct signalfd_siginfo info;

	return f->signal_fd >= 0 &&
	       read(f->signal_fd, &info, sizeof(info)) == sizeof(info);
}

/* A daemon's file that can be polled; -1: the state is looked up otherwise. */
static int open_state(struct follow *f, int64_t job)
{
	CLEANUP(freep) char *path = NULL;

	if (!f->mountpoint[0] || asprintf(&path, "%s/jobs/%lld/state",
					  f->mountpoint, (long long)job) < 0)
		return -1;
	return open(path, O_RDONLY | O_CLOEXEC);
}

static int look(struct follow *f, int64_t job, int state_fd,
		enum job_state *ret, struct err *err)
{
	char text[64];
	ssize_t n;

	if (state_fd < 0)
		return follow_state(f, job, ret, err);
	n = pread(state_fd, text, sizeof(text) - 1, 0);
	if (n < 0)
		return err_set(err, -errno, "cannot follow job %lld: %s",
			       (long long)job, strerrordesc_np(errno));
	text[n] = '\0';
	return parse_state(text, job, ret, err);
}

/* Until something may have changed. */
static void wait_once(struct follow *f, int state_fd)
{
	struct pollfd fds[] = {
		{.fd = f->signal_fd, .events = POLLIN},
		{.fd = f->event_fd, .events = POLLIN},
		{.fd = state_fd, .events = POLLPRI},
	};
	int ms = progress_is_shown() ? DRAW_MS : f->runner ? -1 : ASK_MS;
	uint64_t n;

	if (poll(fds, ARRAY_SIZE(fds), ms) < 0)
		return; /* interrupted: look again */
	if (fds[1].revents && read(f->event_fd, &n, sizeof(n)) < 0)
		log_debug("no event was waiting");
}

static int on_signal(struct follow *f, int64_t job, struct err *err)
{
	int r;

	if (!f->runner)
		return err_set(
			err, -EINTR,
			"interrupted; job %lld goes on: outboxfs abort ends it",
			(long long)job);
	let_signals(); /* a second one ends the process */
	r = follow_abort(f, job, err);
	return r == -EALREADY ? 0 : r;
}

static void draw(struct follow *f, int64_t job)
{
	CLEANUP(buf_deinit) struct buf b = BUF_INIT(SHORT_BYTES);
	struct err err = ERR_NULL;

	if (progress_is_shown() &&
	    follow_read(f, job, "progress.json", &b, &err) == 0)
		progress_draw(buf_str(&b));
}

int follow_wait(struct follow *f, int64_t job, enum job_state *ret,
		struct err *err)
{
	CLEANUP(close_fd) int state_fd = open_state(f, job);
	int r;

	while ((r = look(f, job, state_fd, ret, err)) == 0 &&
	       !job_has_ended(*ret)) {
		draw(f, job);
		wait_once(f, state_fd);
		if (follow_signalled(f)) {
			r = on_signal(f, job, err);
			if (r < 0)
				break;
		}
	}
	if (progress_is_shown())
		progress_draw(NULL);
	return r;
}

/* What is printed */

static const char *text_of(struct json_object *o, const char *key)
{
	struct json_object *val;

	return json_object_object_get_ex(o, key, &val)
		       ? json_object_get_string(val)
		       : NULL;
}

static int print_result(struct json_object *o)
{
	const char *state = text_of(o, "state");
	const char *error = text_of(o, "error");
	const char *snapshot = text_of(o, "snapshot");
	const char *file = text_of(o, "file");
	const char *job = text_of(o, "job");

	if (!state || strcmp(state, "done") != 0) {
		(void)fprintf(stderr, "outboxfs: job %s: %s%s%s\n",
			      job ? job : "?", state ? state : "unknown",
			      error ? ": " : "", error ? error : "");
		return 1;
	}
	printf("job %s: done", job ? job : "?");
	if (snapshot)
		printf(", snapshot %s", snapshot);
	if (file)
		printf(", outbox/%s", file);
	putchar('\n');
	return 0;
}

int follow_report(struct follow *f, int64_t job, bool json)
{
	CLEANUP(buf_deinit) struct buf b = BUF_INIT(DOCUMENT_BYTES);
	struct err err = ERR_NULL;
	struct json_object *o;
	const char *state;
	int r;

	r = follow_read(f, job, "result.json", &b, &err);
	if (r < 0 || !buf_str(&b))
		return cli_fail(&err, r < 0 ? r : -ENOMEM);
	o = json_tokener_parse(b.data);
	if (json) {
		fputs(b.data, stdout);
		state = text_of(o, "state");
		r = state && strcmp(state, "done") == 0 ? 0 : 1;
	} else {
		r = print_result(o);
	}
	json_object_put(o);
	return r;
}

/* Words */

/* As one shell-like word. */
static void put_quoted(struct buf *b, const char *s)
{
	buf_putc(b, '\'');
	for (; *s; s++) {
		if (*s == '\'')
			buf_puts(b, "'\\'");
		buf_putc(b, *s);
	}
	buf_puts(b, "' ");
}

int follow_parse(const struct cli_command *cmd, enum command_kind kind,
		 int argc, char **argv, struct command **ret)
{
	CLEANUP(buf_deinit) struct buf b = BUF_NULL;
	struct err err = ERR_NULL;
	int r;

	if (argc == 1 && argv[0][0] == '{')
		buf_puts(&b, argv[0]);
	else
		for (int i = 0; i < argc; i++)
			put_quoted(&b, argv[i]);
	if (!buf_str(&b))
		return cli_fail(&err, -ENOMEM);
	r = command_parse(kind, b.data, b.len, ret, &err);
	if (r == -ENOMEM)
		return cli_fail(&err, r);
	return r < 0 ? cli_usage(cmd, "%s", err_text(&err, r)) : 0;
}

int follow_parse_job(const struct cli_command *cmd, const char *word,
		     int64_t *ret)
{
	if (number_parse(word, strlen(word), ret, NULL) == NUMBER_INTEGER &&
	    *ret > 0)
		return 0;
	return cli_usage(cmd, "'%s' is not the number of a job", word);
}
