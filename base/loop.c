/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop.c - epoll, timerfd; see loop.h. Runs on the loop's thread, loop_stop on any.
 */
#include "base/loop.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/fd.h"

/* Few enough that one round stays short, enough for a busy disk, net and API at once. */
#define LOOP_BATCH 16

/* No exit status: those are 0..255. */
#define LOOP_RUNNING (-1)

struct loop {
	int epfd;
	int stop_fd; /* eventfd: wakes epoll_wait for loop_stop on another thread */
	struct watch stop_watch;
	atomic_int status; /* LOOP_RUNNING until the first loop_stop */
	int nr_pending;	   /* events of the current batch, for loop_del */
	int next_pending;
	struct epoll_event pending[LOOP_BATCH];
};

static void loop_woken(void *ctx, uint32_t events)
{
	/* The counter stays up: once stopped, a loop stays stopped. */
	(void)ctx;
	(void)events;
}

int loop_create(struct loop **out, struct err *e)
{
	struct loop *l = calloc(1, sizeof(*l));
	int ret;

	if (!l)
		return err_set(e, ENOMEM, "event loop");
	atomic_init(&l->status, LOOP_RUNNING);
	l->epfd = epoll_create1(EPOLL_CLOEXEC);
	l->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->epfd < 0 || l->stop_fd < 0) {
		ret = err_set(e, errno, "event loop");
		loop_destroy(l);
		return ret;
	}
	l->stop_watch = (struct watch){ .fd = l->stop_fd, .events = EPOLLIN, .fn = loop_woken };
	ret = loop_add(l, &l->stop_watch, e);
	if (ret) {
		loop_destroy(l);
		return ret;
	}
	*out = l;
	return 0;
}

void loop_destroy(struct loop *l)
{
	if (!l)
		return;
	fd_close(&l->stop_fd);
	fd_close(&l->epfd);
	free(l);
}

int loop_add(struct loop *l, struct watch *w, struct err *e)
{
	struct epoll_event ev = { .events = w->events, .data.ptr = w };

	assert(!w->added);
	if (epoll_ctl(l->epfd, EPOLL_CTL_ADD, w->fd, &ev) < 0)
		return err_set(e, errno, "watch file descriptor %d", w->fd);
	w->added = true;
	return 0;
}

void loop_mod(struct loop *l, struct watch *w, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = w };
	int ret;

	assert(w->added);
	if (w->events == events)
		return;
	w->events = events;
	ret = epoll_ctl(l->epfd, EPOLL_CTL_MOD, w->fd, &ev);
	assert(ret == 0); /* only fails for an fd that was never added or is closed */
	(void)ret;
}

void loop_del(struct loop *l, struct watch *w)
{
	if (!w->added)
		return;
	w->added = false;
	epoll_ctl(l->epfd, EPOLL_CTL_DEL, w->fd, NULL);
	for (int i = l->next_pending; i < l->nr_pending; i++)
		if (l->pending[i].data.ptr == w)
			l->pending[i].data.ptr = NULL;
}

static void loop_call(struct watch *w, uint32_t events)
{
	pthread_mutex_t *lock = w->lock; /* the handler may delete the watch */

	if (lock)
		pthread_mutex_lock(lock);
	w->fn(w->ctx, events);
	if (lock)
		pthread_mutex_unlock(lock);
}

int loop_run(struct loop *l)
{
	while (atomic_load(&l->status) == LOOP_RUNNING) {
		l->nr_pending = epoll_wait(l->epfd, l->pending, LOOP_BATCH, -1);
		for (l->next_pending = 0; l->next_pending < l->nr_pending;) {
			struct epoll_event *ev = &l->pending[l->next_pending++];

			if (ev->data.ptr)
				loop_call(ev->data.ptr, ev->events);
			if (atomic_load(&l->status) != LOOP_RUNNING)
				break;
		}
		l->nr_pending = 0;
	}
	return atomic_load(&l->status);
}

void loop_stop(struct loop *l, int status)
{
	static const uint64_t one = 1;
	int running = LOOP_RUNNING;

	atomic_compare_exchange_strong(&l->status, &running, status);
	while (write(l->stop_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

static void timer_fired(void *ctx, uint32_t events)
{
	struct timer *t = ctx;
	uint64_t count;

	(void)events;
	/* EAGAIN: disarmed or re-armed between the event and this call. */
	if (read(t->watch.fd, &count, sizeof(count)) == (ssize_t)sizeof(count))
		t->fn(t->ctx);
}

int timer_init(struct timer *t, struct loop *l, void (*fn)(void *), void *ctx,
	       pthread_mutex_t *lock, struct err *e)
{
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	int ret;

	if (fd < 0)
		return err_set(e, errno, "timerfd");
	*t = (struct timer){
		.watch = { .fd = fd, .events = EPOLLIN, .fn = timer_fired, .ctx = t, .lock = lock },
		.fn = fn,
		.ctx = ctx,
	};
	ret = loop_add(l, &t->watch, e);
	if (ret)
		fd_close(&t->watch.fd);
	return ret;
}

void timer_fini(struct timer *t, struct loop *l)
{
	loop_del(l, &t->watch);
	fd_close(&t->watch.fd);
}

uint64_t timer_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

void timer_arm(struct timer *t, uint64_t delay_us)
{
	struct itimerspec when = {
		.it_value = {
			.tv_sec = (time_t)(delay_us / 1000000),
			.tv_nsec = (long)(delay_us % 1000000) * 1000,
		},
	};
	int ret = timerfd_settime(t->watch.fd, 0, &when, NULL);

	assert(ret == 0); /* the values are in range by construction */
	(void)ret;
}
