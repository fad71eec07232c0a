/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bus.h - which device answers at an address: the port bus and the MMIO bus.
 *
 * Filled while the machine is built, read-only afterwards, so look-ups take no lock. Calls arrive
 * on vCPU threads. A device that is also driven by the loop names its lock when it is added; the
 * bus holds that lock around each call, so device code itself contains no locks.
 */
#pragma once

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* serial, i8042, ACPI registers, boot timer and at most 17 virtio devices; 92 on arm64 */
#define BUS_RANGES_MAX 96

/*
 * What a device does with an access. @offset is relative to its base, @len is 1, 2, 4 or 8 (never
 * trusted to be a width the device likes), and @offset + @len never leaves its range.
 */
struct bus_ops {
	/* @data is all ones at entry; leave it so for what nobody answers. */
	void (*read)(void *dev, uint64_t offset, void *data, size_t len);
	void (*write)(void *dev, uint64_t offset, const void *data, size_t len);
};

struct bus_range {
	uint64_t base;
	uint64_t len;
	const struct bus_ops *ops;
	void *dev;
	pthread_mutex_t *lock; /* held around ops; NULL for devices without shared state */
};

struct bus {
	struct bus_range range[BUS_RANGES_MAX]; /* sorted by base */
	size_t nr;
	uint64_t nr_unclaimed; /* accesses that no device answered; relaxed atomic */
};

/*
 * bus_add - claim @len addresses from @base for a device. Build time only.
 * Errors: EEXIST when ranges overlap, EINVAL when the range is empty or wraps, ENOSPC when full.
 */
int bus_add(struct bus *b, const struct bus_range *r, struct err *e);

/*
 * bus_read / bus_write - one access by a guest.
 * An address that nobody claims, or an access that crosses the end of a range, reads as all ones
 * and is written to nowhere; it is counted.
 */
void bus_read(struct bus *b, uint64_t addr, void *data, size_t len);
void bus_write(struct bus *b, uint64_t addr, const void *data, size_t len);
