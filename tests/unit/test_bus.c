/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_bus.c - which device answers at an address, and what happens where none does.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "base/bus.h"

struct dev {
	uint64_t offset;
	size_t len;
	uint8_t written[8];
	unsigned int nr_reads, nr_writes;
	pthread_mutex_t *lock;
	int lock_was_free;
};

static struct bus bus;
static struct err e;

static void note(struct dev *d, uint64_t offset, size_t len)
{
	d->offset = offset;
	d->len = len;
	if (d->lock) {
		d->lock_was_free = pthread_mutex_trylock(d->lock) == 0;
		if (d->lock_was_free)
			pthread_mutex_unlock(d->lock);
	}
}

static void dev_read(void *dev, uint64_t offset, void *data, size_t len)
{
	struct dev *d = dev;

	note(d, offset, len);
	d->nr_reads++;
	/* an odd offset answers nothing */
	if (offset % 2 == 0)
		memset(data, 0x5a, len);
}

static void dev_write(void *dev, uint64_t offset, const void *data, size_t len)
{
	struct dev *d = dev;

	note(d, offset, len);
	d->nr_writes++;
	memcpy(d->written, data, len);
}

static const struct bus_ops ops = { .read = dev_read, .write = dev_write };

static int add(struct dev *d, uint64_t base, uint64_t len)
{
	struct bus_range r = { .base = base, .len = len, .ops = &ops, .dev = d };

	if (d)
		r.lock = d->lock;
	return bus_add(&bus, &r, &e);
}

static void setup(void)
{
	memset(&bus, 0, sizeof(bus));
}

TestSuite(bus, .init = setup);

Test(bus, finds_each_device_whatever_the_order_of_adding)
{
	static const uint64_t base[] = { 0x400, 0x60, 0x3f8, 0x1000, 0x70 };
	struct dev d[5] = { 0 };
	uint32_t v;

	for (size_t i = 0; i < 5; i++)
		cr_assert_eq(add(&d[i], base[i], 8), 0);
	for (size_t i = 0; i < 5; i++) {
		v = 0;
		bus_read(&bus, base[i] + 4, &v, 4);
		cr_expect_eq(v, 0x5a5a5a5a);
		cr_expect_eq(d[i].nr_reads, 1);
		cr_expect_eq(d[i].offset, 4);
		cr_expect_eq(d[i].len, 4);
		bus_write(&bus, base[i], "\x01\x02", 2);
		cr_expect_eq(d[i].nr_writes, 1);
		cr_expect_eq(d[i].written[1], 2);
	}
	cr_assert_eq(bus.nr_unclaimed, 0);
}

Test(bus, nobody_reads_as_all_ones_and_is_counted)
{
	struct dev d = { 0 };
	uint64_t v = 0;

	cr_assert_eq(add(&d, 0x100, 0x10), 0);
	bus_read(&bus, 0xff, &v, 1);
	cr_expect_eq(v, 0xff);
	bus_read(&bus, 0x110, &v, 8);
	cr_expect_eq(v, UINT64_MAX);
	bus_write(&bus, 0x110, &v, 8);
	cr_expect_eq(d.nr_reads + d.nr_writes, 0);
	cr_expect_eq(bus.nr_unclaimed, 3);
	v = 0;
	bus_read(&bus, 0x101, &v, 2);
	cr_expect_eq(v, 0xffff, "what a device does not answer is all ones too");
}

Test(bus, an_access_across_an_end_reaches_no_device)
{
	struct dev d = { 0 }, next = { 0 };
	uint64_t v = 0;

	cr_assert_eq(add(&d, 0x100, 0x10), 0);
	cr_assert_eq(add(&next, 0x110, 0x10), 0);
	bus_read(&bus, 0x10e, &v, 4);
	cr_expect_eq(v, 0xffffffff);
	bus_write(&bus, 0x10c, &v, 8);
	bus_read(&bus, 0xfe, &v, 4);
	cr_expect_eq(d.nr_reads + d.nr_writes + next.nr_reads + next.nr_writes, 0);
	cr_expect_eq(bus.nr_unclaimed, 3);
	bus_read(&bus, 0x10c, &v, 4);
	cr_expect_eq(d.nr_reads, 1, "up to the end is inside");
}

Test(bus, works_at_the_top_of_the_address_space)
{
	struct dev d = { 0 };
	uint64_t v = 0;

	cr_assert_eq(add(&d, UINT64_MAX - 0xf, 0x10), 0);
	bus_read(&bus, UINT64_MAX - 3, &v, 4);
	cr_expect_eq(d.nr_reads, 1);
	bus_read(&bus, UINT64_MAX - 1, &v, 4);
	cr_expect_eq(d.nr_reads, 1);
}

Test(bus, refuses_what_overlaps_wraps_or_is_empty)
{
	struct dev d = { 0 };

	cr_assert_eq(add(&d, 0x100, 0x10), 0);
	cr_expect_eq(add(&d, 0x200, 0), -EINVAL);
	cr_expect_eq(add(&d, UINT64_MAX, 2), -EINVAL);
	cr_expect_eq(add(&d, 0x100, 0x10), -EEXIST);
	cr_expect_eq(add(&d, 0xf8, 9), -EEXIST);
	cr_expect_eq(add(&d, 0x10f, 1), -EEXIST);
	cr_expect_eq(add(&d, 0xf0, 0x100), -EEXIST);
	cr_expect_eq(add(&d, 0xf8, 8), 0);
	cr_expect_eq(add(&d, 0x110, 1), 0);
	cr_expect_eq(bus.nr, 3);
}

Test(bus, is_full_at_its_maximum)
{
	struct dev d = { 0 };

	for (uint64_t i = 0; i < BUS_RANGES_MAX; i++)
		cr_assert_eq(add(&d, i * 16, 8), 0);
	cr_assert_eq(add(&d, 0x10000, 8), -ENOSPC);
	bus_write(&bus, (BUS_RANGES_MAX - 1) * 16, "x", 1);
	cr_assert_eq(d.nr_writes, 1);
}

Test(bus, holds_the_lock_of_the_device)
{
	pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	struct dev d = { .lock = &lock };
	uint8_t v;

	cr_assert_eq(add(&d, 0, 8), 0);
	d.lock_was_free = 1;
	bus_read(&bus, 0, &v, 1);
	cr_expect_not(d.lock_was_free);
	d.lock_was_free = 1;
	bus_write(&bus, 0, &v, 1);
	cr_expect_not(d.lock_was_free);
	cr_assert_eq(pthread_mutex_trylock(&lock), 0, "and gives it back");
}
