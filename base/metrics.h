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
