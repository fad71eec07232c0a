/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop.h - the event loop: file descriptors, timers and signals become calls.
 *
 * A struct loop belongs to the one thread that calls loop_run; that thread adds and removes
 * watches. Two exceptions: loop_stop may be called on any thread, and a watch with a lock may be
 * added or modified by any thread that holds the lock. A watch is part of its owner and must stay
 * put while it is added. Level-triggered unless it wants EPOLLET: a handler that leaves data behind
 * is called again, so each handler does a bounded amount of work and returns, and nothing starves
 * (hostile-inputs, event starvation).
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "base/err.h"

struct loop;

/* @events: what epoll reported (EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR). */
typedef void (*watch_fn)(void *ctx, uint32_t events);

struct watch {
	int fd;		 /* not owned; -1 when unused */
	uint32_t events; /* EPOLLIN and/or EPOLLOUT, EPOLLET; 0 keeps the fd but sleeps */
	watch_fn fn;
	void *ctx;
	pthread_mutex_t *lock; /* held around fn; NULL when only the loop touches ctx */
	bool added;	       /* kept by the loop */
};

/* loop_create / loop_destroy - one epoll instance. Errors: errno of the system call. */
int loop_create(struct loop **out, struct err *e);
void loop_destroy(struct loop *l);

/*
 * loop_add - start to watch. Errors: errno of epoll_ctl (EPERM: a regular file cannot be watched).
 */
int loop_add(struct loop *l, struct watch *w, struct err *e);

/* loop_mod - change the wanted events of an added watch; no system call when nothing changes. */
void loop_mod(struct loop *l, struct watch *w, uint32_t events);

/*
 * loop_del - stop watching; before the fd is closed. Also drops an event that was already
 * collected for this watch, so its owner may be freed at once, even inside a handler. Idempotent.
 */
void loop_del(struct loop *l, struct watch *w);

/* loop_run - call handlers until loop_stop. Returns the status given to loop_stop. */
int loop_run(struct loop *l);

/*
 * loop_stop - make loop_run return @status after the handler that runs now; the first caller wins.
 */
void loop_stop(struct loop *l, int status);

/* A one-shot timer (timerfd, CLOCK_MONOTONIC) on a loop. */
struct timer {
	struct watch watch; /* ctx is the timer */
	void (*fn)(void *ctx);
	void *ctx;
};

/* timer_init - make the timerfd and watch it. @lock as in struct watch. Starts disarmed. */
int timer_init(struct timer *t, struct loop *l, void (*fn)(void *), void *ctx,
	       pthread_mutex_t *lock, struct err *e);
void timer_fini(struct timer *t, struct loop *l);

/* timer_now_ns - the time on the clock of the timers. Any thread; no system call. */
uint64_t timer_now_ns(void);

/* timer_arm - fire once, @delay_us from now (at least 1 us). 0 disarms. */
void timer_arm(struct timer *t, uint64_t delay_us);
