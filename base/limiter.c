/* SPDX-License-Identifier: Apache-2.0 */
/*
 * limiter.c - see limiter.h. Any thread that holds the owner's lock.
 *
 * Exact for every 64-bit size and refill time. Why the 128-bit products below do not overflow:
 * size and elapsed nanoseconds are below 2^64, a refill time in nanoseconds is below 2^84.
 */
#include "base/limiter.h"

#define NS_PER_MS 1000000u

typedef unsigned __int128 u128;

/* @n / @d. The compiler's way with 128 bits is 1 KB; here it is for long waits and huge buckets. */
static u128 divide(u128 n, u128 d)
{
	u128 quotient = 0, bit = 1;

	if (!((n | d) >> 64))
		return (uint64_t)n / (uint64_t)d;
	for (; d < n && !(d >> 127); d <<= 1)
		bit <<= 1;
	for (; bit; bit >>= 1, d >>= 1) {
		if (n < d)
			continue;
		n -= d;
		quotient |= bit;
	}
	return quotient;
}

/* Tokens gained in @ns, rounded down. */
static u128 gain(const struct bucket *b, uint64_t ns)
{
	return divide((u128)b->params.size * ns, b->refill_ns);
}

void bucket_set(struct bucket *b, const struct bucket_params *params, uint64_t now_ns)
{
	u128 late;

	*b = (struct bucket){ .last_ns = now_ns };
	if (params->size == 0 || params->refill_time_ms == 0)
		return;
	b->params = *params;
	b->level = params->size;
	b->burst = params->one_time_burst;
	b->refill_ns = (u128)params->refill_time_ms * NS_PER_MS;
	late = gain(b, LIMITER_LATE_NS);
	b->late = late < UINT64_MAX - b->level ? (uint64_t)late : UINT64_MAX - b->level;
}

/* Add what was gained since the last time, up to what the bucket holds. */
static void refill(struct bucket *b, bool waiting, uint64_t now_ns)
{
	uint64_t room = b->params.size + (waiting ? b->late : 0);
	u128 product, nr;

	if (now_ns <= b->last_ns)
		return;
	product = (u128)b->params.size * (now_ns - b->last_ns);
	b->last_ns = now_ns;
	nr = divide(product, b->refill_ns);
	b->part += product - nr * b->refill_ns;
	if (b->part >= b->refill_ns) {
		b->part -= b->refill_ns;
		nr++;
	}
	if (nr < b->debt) {
		b->debt -= (uint64_t)nr;
		return;
	}
	nr -= b->debt;
	b->debt = 0;
	if (b->level > room || nr >= room - b->level) {
		b->level = room;
		b->part = 0; /* full: what else comes is lost */
	} else {
		b->level += (uint64_t)nr;
	}
}

/* Nanoseconds until @missing (at least 1) more tokens are there, rounded up. */
static uint64_t time_for(const struct bucket *b, u128 missing)
{
	u128 product;

	/* Judged first, so that the product stays below 2^107. */
	if (missing > gain(b, LIMITER_WAIT_MAX_NS))
		return LIMITER_WAIT_MAX_NS;
	product = missing * b->refill_ns - b->part;
	return (uint64_t)divide(product + b->params.size - 1, b->params.size);
}

/* How long until @nr tokens may be taken from an up-to-date bucket; 0: now. */
static uint64_t wait_for(const struct bucket *b, uint64_t nr)
{
	if (nr <= b->burst)
		return 0;
	nr -= b->burst;
	/* More than it ever holds: waiting would not help, so it goes into debt, one at a time. */
	if (nr > b->params.size)
		return b->debt ? time_for(b, b->debt) : 0;
	if (nr <= b->level)
		return 0;
	return time_for(b, (u128)b->debt + nr - b->level);
}

static void spend(struct bucket *b, uint64_t nr)
{
	uint64_t part = nr < b->burst ? nr : b->burst;

	b->burst -= part;
	nr -= part;
	part = nr < b->level ? nr : b->level;
	b->level -= part;
	b->debt += nr - part; /* was 0 if anything is added */
}

bool bucket_take(struct bucket *b, uint64_t nr, uint64_t now_ns)
{
	if (!bucket_on(b))
		return true;
	refill(b, false, now_ns);
	if (wait_for(b, nr))
		return false;
	spend(b, nr);
	return true;
}

uint64_t limiter_take(struct limiter *l, uint64_t nr_bytes, uint64_t now_ns)
{
	bool bytes = bucket_on(&l->bytes) && nr_bytes > 0;
	bool ops = bucket_on(&l->ops);
	uint64_t wait_ns = 0;

	/* Both are asked before one is charged: an operation that has to wait costs nothing. */
	if (bytes) {
		refill(&l->bytes, l->waiting, now_ns);
		wait_ns = wait_for(&l->bytes, nr_bytes);
	}
	if (ops) {
		uint64_t ns;

		refill(&l->ops, l->waiting, now_ns);
		ns = wait_for(&l->ops, 1);
		if (ns > wait_ns)
			wait_ns = ns;
	}
	if (wait_ns) {
		l->waiting = true;
		return wait_ns;
	}
	if (bytes)
		spend(&l->bytes, nr_bytes);
	if (ops)
		spend(&l->ops, 1);
	return 0;
}

void limiter_idle(struct limiter *l)
{
	struct bucket *both[] = { &l->bytes, &l->ops };

	l->waiting = false;
	for (int i = 0; i < 2; i++)
		if (both[i]->level > both[i]->params.size)
			both[i]->level = both[i]->params.size;
}
