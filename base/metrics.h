/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metrics.h - a counter that any thread may bump and any may read.
 *
 * Counters live in the object they describe (struct blk_metrics in the disk, ...); who publishes
 * them walks the objects. Relaxed: each is exact by itself, a set of them is not a snapshot.
 */
#pragma once

#include <stdint.h>

typedef struct {
	uint64_t v;
	uint64_t flushed; /* @v when it was last published; belongs to the publisher */
} metric_t;

static inline void metric_add(metric_t *m, uint64_t n)
{
	__atomic_fetch_add(&m->v, n, __ATOMIC_RELAXED);
}

static inline void metric_inc(metric_t *m)
{
	metric_add(m, 1);
}

static inline uint64_t metric_get(const metric_t *m)
{
	return __atomic_load_n(&m->v, __ATOMIC_RELAXED);
}

/* metric_set - for those that hold a last value instead of a count. */
static inline void metric_set(metric_t *m, uint64_t v)
{
	__atomic_store_n(&m->v, v, __ATOMIC_RELAXED);
}

/* metric_take - how much was added since the last call. Publisher only. */
static inline uint64_t metric_take(metric_t *m)
{
	uint64_t v = metric_get(m), delta = v - m->flushed;

	m->flushed = v;
	return delta;
}
