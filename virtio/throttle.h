/* SPDX-License-Identifier: Apache-2.0 */
/*
 * throttle.h - a rate limiter in front of a virtqueue: while it is closed the queue rests, and a
 * timer, set to the moment when the next request may pass, opens it.
 *
 * Loop thread with the device's lock held. The devices' side is virtio_admit and its neighbours in
 * virtio.h. While nothing is limited there is neither a clock read nor a system call.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/limiter.h"
#include "base/loop.h"
#include "base/metrics.h"

struct throttle {
	struct limiter limiter;
	struct timer timer;
	bool closed;		  /* a request waits for tokens; the timer is armed */
	uint64_t open_at_ns;	  /* while closed */
	uint64_t (*now_ns)(void); /* timer_now_ns; a test may put another clock here */
	void (*open)(void *ctx);  /* the owner: go on with the queue */
	void *ctx;
	/* Counters of the owner; NULL allowed. */
	metric_t *fired;     /* times the timer opened it */
	metric_t *throttled; /* requests and kicks that found it closed */
};

/*
 * throttle_init - open, and limiting nothing. The timer is made now even if no limit is set:
 * later, when a limit comes, the process may no longer have the right to make one. Build time.
 */
int throttle_init(struct throttle *t, struct loop *l, pthread_mutex_t *lock, void (*open)(void *),
		  void *ctx, struct err *e);

/* throttle_fini - safe on a throttle of zeroes with timer.watch.fd -1. */
void throttle_fini(struct throttle *t, struct loop *l);

/* throttle_take - limiter_take for a limiter that is on; false: closed until it may pass. */
bool throttle_take(struct throttle *t, uint64_t nr_bytes);

/* throttle_refuses - whether it is closed; counts an attempt if it is. */
bool throttle_refuses(struct throttle *t);

/*
 * throttle_set - new, full buckets; NULL keeps the one there is. If it was closed it opens: the
 * caller then goes on with the queue, which meets the new limits. Returns whether it was closed.
 */
bool throttle_set(struct throttle *t, const struct bucket_params *bytes,
		  const struct bucket_params *ops);
