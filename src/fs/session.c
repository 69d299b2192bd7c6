/* SPDX-License-Identifier: MIT */
/*
 * The threads that take requests from the kernel.
 *
 * One of them, the leader, has the device to itself; the others follow. Waking
 * a sleeping thread costs more than most requests, so the leader answers what
 * it reads by itself, and looks for the next request for a few microseconds
 * before it sleeps. Only when there is more to read already does it hand the
 * device on. Should an answer take long (a cold disk), a follower notices that
 * the leader is busy while requests wait, and takes the device.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>

#include "fs/fs.h"
#include "outboxfs/base/clock.h"
#include "outboxfs/base/log.h"

#define SPIN_US     60
#define BUSY_US     1000 /* a leader that answers for longer is replaced */
#define THREADS_MAX 16

struct session {
	struct fuse_session *fuse;
	int fd;

	/* under lock */
	struct lock lock;
	pthread_cond_t changed;
	unsigned leader;      /* number of a thread; 0: the place is free */
	mono_us_t busy_since; /* the leader answers since then; 0: it waits */
};

struct follower {
	struct session *session;
	unsigned number;
	pthread_t thread;
};

static bool is_readable(const struct session *s, int timeout_ms)
{
	struct pollfd fd = {.fd = s->fd, .events = POLLIN};

	return poll(&fd, 1, timeout_ms) != 0; /* an error is for read to tell */
}

static void pause_cpu(void)
{
	for (int i = 0; i < 20; i++)
#if defined(__x86_64__) || defined(__i386__)
		__builtin_ia32_pause();
#else
		atomic_signal_fence(memory_order_seq_cst);
#endif
}

/* Waits for the next request: looks for a while, then sleeps. */
static void wait_for_request(const struct session *s, mono_us_t since)
{
	while (clock_mono() - since < SPIN_US) {
		if (is_readable(s, 0))
			return;
		pause_cpu();
	}
	(void)is_readable(s, -1);
}

/* Until this thread is the leader. */
static void follow(struct session *s, unsigned number)
{
	LOCK_SCOPE(&s->lock);

	while (s->leader != number && !fuse_session_exited(s->fuse)) {
		mono_us_t busy = s->busy_since;

		if (s->leader == 0 || (busy && clock_mono() - busy > BUSY_US &&
				       is_readable(s, 0))) {
			s->leader = number;
			break;
		}
		lock_wait(&s->lock, &s->changed,
			  busy ? clock_mono() + BUSY_US : 0);
	}
	s->busy_since = 0;
}

/* Before answering: others may need the device meanwhile. */
static void begin_answer(struct session *s, unsigned number, bool slept)
{
	bool more = is_readable(s, 0);

	LOCK_SCOPE(&s->lock);

	if (s->leader != number)
		return;
	if (more) {
		s->leader = 0;
		s->busy_since = 0;
		pthread_cond_signal(&s->changed);
	} else {
		s->busy_since = clock_mono();
		if (slept)
			pthread_cond_signal(
				&s->changed); /* keep an eye on us */
	}
}

/* After it. True: this thread is still the leader. */
static bool end_answer(struct session *s, unsigned number)
{
	LOCK_SCOPE(&s->lock);

	if (s->leader != number)
		return false;
	s->busy_since = 0;
	return true;
}

/* Serves while this thread leads. */
static void lead(struct session *s, unsigned number, struct fuse_buf *buf)
{
	mono_us_t since = 0;
	bool slept = false;
	int r;

	while (!fuse_session_exited(s->fuse)) {
		r = fuse_session_receive_buf(s->fuse, buf);
		if (r == -EINTR)
			continue;
		if (r == -EAGAIN) {
			wait_for_request(s, since);
			slept = true;
			continue;
		}
		if (r <= 0) {
			fuse_session_exit(s->fuse);
			return;
		}
		begin_answer(s, number, slept);
		fuse_session_process_buf(s->fuse, buf);
		since = clock_mono();
		slept = false;
		if (!end_answer(s, number))
			return;
	}
}

static void *session_thread(void *arg)
{
	const struct follower *self = arg;
	struct session *s = self->session;
	struct fuse_buf buf = {.mem = NULL};

	while (!fuse_session_exited(s->fuse)) {
		follow(s, self->number);
		lead(s, self->number, &buf);
	}
	lock_take(&s->lock);
	pthread_cond_broadcast(&s->changed);
	lock_drop(&s->lock);
	free(buf.mem);
	return NULL;
}

int session_run(struct fuse_session *fuse, unsigned n_threads)
{
	struct session s = {.fuse = fuse, .fd = fuse_session_fd(fuse)};
	struct follower threads[THREADS_MAX];
	unsigned n = 0;
	int r = 0;

	if (fcntl(s.fd, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	lock_init(&s.lock, "session", LOCK_RANK_SESSION);
	lock_cond_init(&s.changed);
	while (r == 0 && n < n_threads && n < THREADS_MAX) {
		threads[n] = (struct follower){.session = &s, .number = n + 1};
		r = pthread_create(&threads[n].thread, NULL, session_thread,
				   &threads[n]);
		if (r == 0)
			n++;
	}
	for (unsigned i = 0; i < n; i++)
		pthread_join(threads[i].thread, NULL);
	pthread_cond_destroy(&s.changed);
	lock_deinit(&s.lock);
	return n ? 0 : -r;
}
