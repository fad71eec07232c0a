/* SPDX-License-Identifier: Apache-2.0 */
/*
 * throttle.c - see throttle.h. Loop thread with the device's lock held.
 */
#include "virtio/throttle.h"

#define NS_PER_US 1000u

static void count(metric_t *m)
{
	if (m)
		metric_inc(m);
}

static void fired(void *ctx)
{
	struct throttle *t = ctx;

	/* Disarmed by throttle_set between the event and this call. */
	if (!t->closed)
		return;
	t->closed = false;
	count(t->fired);
	t->open(t->ctx);
}

int throttle_init(struct throttle *t, struct loop *l, pthread_mutex_t *lock, void (*open)(void *),
		  void *ctx, struct err *e)
{
	*t = (struct throttle){
		.timer.watch.fd = -1,
		.now_ns = timer_now_ns,
		.open = open,
		.ctx = ctx,
	};
	return timer_init(&t->timer, l, fired, t, lock, e);
}

void throttle_fini(struct throttle *t, struct loop *l)
{
	timer_fini(&t->timer, l);
}

bool throttle_take(struct throttle *t, uint64_t nr_bytes)
{
	uint64_t now_ns = t->now_ns();
	uint64_t wait_ns = limiter_take(&t->limiter, nr_bytes, now_ns);

	if (!wait_ns)
		return true;
	count(t->throttled);
	t->closed = true;
	t->open_at_ns = now_ns + wait_ns;
	/* Rounded up: a timer that comes early would only find that it has to wait again. */
	timer_arm(&t->timer, (wait_ns + NS_PER_US - 1) / NS_PER_US);
	return false;
}

bool throttle_refuses(struct throttle *t)
{
	if (t->closed)
		count(t->throttled);
	return t->closed;
}

bool throttle_set(struct throttle *t, const struct bucket_params *bytes,
		  const struct bucket_params *ops)
{
	bool closed = t->closed;
	uint64_t now_ns = t->now_ns();

	if (bytes)
		bucket_set(&t->limiter.bytes, bytes, now_ns);
	if (ops)
		bucket_set(&t->limiter.ops, ops, now_ns);
	if (closed) {
		t->closed = false;
		timer_arm(&t->timer, 0);
	}
	return closed;
}
