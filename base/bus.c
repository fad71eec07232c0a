/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bus.c - address to device; see bus.h. Runs on vCPU threads once the machine is built.
 */
#include "base/bus.h"

#include <errno.h>
#include <string.h>

int bus_add(struct bus *b, const struct bus_range *r, struct err *e)
{
	size_t i;

	if (r->len == 0 || r->base + r->len - 1 < r->base)
		return err_set(e, EINVAL, "bus range at 0x%llx is empty or wraps",
			       (unsigned long long)r->base);
	if (b->nr == BUS_RANGES_MAX)
		return err_set(e, ENOSPC, "no room on the bus for the range at 0x%llx",
			       (unsigned long long)r->base);

	for (i = 0; i < b->nr && b->range[i].base < r->base; i++)
		;
	if ((i > 0 && r->base - b->range[i - 1].base < b->range[i - 1].len) ||
	    (i < b->nr && b->range[i].base - r->base < r->len))
		return err_set(e, EEXIST, "bus range at 0x%llx overlaps another",
			       (unsigned long long)r->base);

	memmove(&b->range[i + 1], &b->range[i], (b->nr - i) * sizeof(b->range[0]));
	b->range[i] = *r;
	b->nr++;
	return 0;
}

/* The range that holds all of [addr, addr + len); NULL counts as unclaimed. */
static struct bus_range *bus_find(struct bus *b, uint64_t addr, size_t len)
{
	size_t lo = 0, hi = b->nr;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		struct bus_range *r = &b->range[mid];

		if (addr < r->base)
			hi = mid;
		else if (addr - r->base >= r->len)
			lo = mid + 1;
		else if (len <= r->len - (addr - r->base))
			return r;
		else
			break; /* starts inside, ends outside: nobody's */
	}
	__atomic_fetch_add(&b->nr_unclaimed, 1, __ATOMIC_RELAXED);
	return NULL;
}

void bus_read(struct bus *b, uint64_t addr, void *data, size_t len)
{
	struct bus_range *r = bus_find(b, addr, len);

	memset(data, 0xff, len);
	if (!r)
		return;
	if (r->lock)
		pthread_mutex_lock(r->lock);
	r->ops->read(r->dev, addr - r->base, data, len);
	if (r->lock)
		pthread_mutex_unlock(r->lock);
}

void bus_write(struct bus *b, uint64_t addr, const void *data, size_t len)
{
	struct bus_range *r = bus_find(b, addr, len);

	if (!r)
		return;
	if (r->lock)
		pthread_mutex_lock(r->lock);
	r->ops->write(r->dev, addr - r->base, data, len);
	if (r->lock)
		pthread_mutex_unlock(r->lock);
}
