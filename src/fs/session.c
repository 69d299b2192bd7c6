/* SPDX-License-Identifier: MIT */
/*
 * The threads that take requests from the kernel. Waking a sleeping thread
 * costs more than most requests, so one of them goes on looking for a few
 * microseconds after each request before it sleeps; the others sleep at once.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>

#include "fs/fs.h"
#include "outboxfs/base/clock.h"
#include "outboxfs/base/log.h"

#define SPIN_US     50
#define THREADS_MAX 16

struct session {
	struct fuse_session *fuse;
	int fd;
	_Atomic int n_spinning;
};

/* Waits for the next request: looks for a while, then sleeps. */
static void wait_for_request(struct session *s, mono_us_t since)
{
	struct pollfd fd = {.fd = s->fd, .events = POLLIN};
	int none = 0;

	if (atomic_compare_exchange_strong(&s->n_spinning, &none, 1)) {
		while (clock_mono() - since < SPIN_US)
			if (poll(&fd, 1, 0) != 0)
				break;
		atomic_store(&s->n_spinning, 0);
		if (fd.revents)
			return;
	}
	(void)poll(&fd, 1, -1); /* whatever comes, reading tells */
}

static void *session_thread(void *arg)
{
	struct session *s = arg;
	struct fuse_buf buf = {.mem = NULL};
	mono_us_t since = 0;
	int r;

	while (!fuse_session_exited(s->fuse)) {
		r = fuse_session_receive_buf(s->fuse, &buf);
		if (r == -EINTR)
			continue;
		if (r == -EAGAIN) {
			wait_for_request(s, since);
			continue;
		}
		if (r <= 0)
			break;
		fuse_session_process_buf(s->fuse, &buf);
		since = clock_mono();
	}
	/* The others sleep in poll(), which the end of the session wakes. */
	fuse_session_exit(s->fuse);
	free(buf.mem);
	return NULL;
}

int session_run(struct fuse_session *fuse, unsigned n_threads)
{
	struct session s = {.fuse = fuse, .fd = fuse_session_fd(fuse)};
	pthread_t threads[THREADS_MAX];
	unsigned n = 0;
	int r = 0;

	if (fcntl(s.fd, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	while (r == 0 && n < n_threads && n < THREADS_MAX) {
		r = pthread_create(&threads[n], NULL, session_thread, &s);
		if (r == 0)
			n++;
	}
	if (n == 0)
		return -r;
	for (unsigned i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	return 0;
}
