/* SPDX-License-Identifier: Apache-2.0 */
/*
 * limiter.h - token buckets: how much may pass now, and when the next may.
 *
 * Arithmetic only: no clock, no timer, no allocation. Who owns a limiter passes the time in
 * (CLOCK_MONOTONIC, nanoseconds) and waits by its own means; whatever lock guards the owner guards
 * the limiter.
 *
 * A bucket starts full with `size` tokens and gains `size` tokens every refill time, evenly: a
 * token is there to the nanosecond, so nothing comes in steps. one_time_burst is credit that is
 * spent first and never comes back. What asks for more than a whole bucket passes once and leaves
 * a debt that later tokens pay.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/*
 * Whoever waits is woken late, by the scheduler or because the loop was busy; meanwhile a small
 * bucket would overflow, and the configured rate never be reached. While requests wait, a bucket
 * may therefore hold what it gains in this time on top of its size.
 */
#define LIMITER_LATE_NS UINT64_C(20000000)

/* The longest wait that is ever answered; whoever waited asks again. */
#define LIMITER_WAIT_MAX_NS UINT64_C(3600000000000)

/* As configured. All values are allowed; size 0 or refill time 0: it limits nothing. */
struct bucket_params {
	uint64_t size; /* tokens */
	uint64_t one_time_burst;
	uint64_t refill_time_ms; /* from empty to full */
};

struct bucket {
	struct bucket_params params; /* size 0: limits nothing */
	uint64_t level;		     /* tokens at last_ns; 0 while there is a debt */
	uint64_t debt;
	uint64_t burst; /* what is left of one_time_burst */
	uint64_t late;	/* tokens of LIMITER_LATE_NS */
	uint64_t last_ns;
	unsigned __int128 refill_ns; /* refill time; 84 bits */
	unsigned __int128 part;	     /* of the next token: part / refill_ns, below 1 */
};

struct limiter {
	struct bucket bytes;
	struct bucket ops;
	bool waiting; /* since a refusal, until limiter_idle */
};

/* bucket_set - a new, full bucket. */
void bucket_set(struct bucket *b, const struct bucket_params *params, uint64_t now_ns);

/* bucket_on - whether the bucket limits anything. */
static inline bool bucket_on(const struct bucket *b)
{
	return b->params.size != 0;
}

/* bucket_take - for who does not wait: take @nr tokens, or take nothing and return false. */
bool bucket_take(struct bucket *b, uint64_t nr, uint64_t now_ns);

/* limiter_on - whether it limits anything; if not, there is no need to know the time. */
static inline bool limiter_on(const struct limiter *l)
{
	return bucket_on(&l->bytes) || bucket_on(&l->ops);
}

/*
 * limiter_take - may one operation with @nr_bytes of data pass? 0: yes, and its tokens are taken.
 * Otherwise nothing is taken, from neither bucket, and the result is the time in nanoseconds after
 * which it may pass, at most LIMITER_WAIT_MAX_NS.
 */
uint64_t limiter_take(struct limiter *l, uint64_t nr_bytes, uint64_t now_ns);

/* limiter_idle - nothing waits any more: from now on the buckets hold their size again. */
void limiter_idle(struct limiter *l);
