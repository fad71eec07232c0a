/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boot_timer.c - see boot_timer.h. Register accesses on vCPU threads; there is nothing to lock.
 */
#include "vmm/boot_timer.h"

#include <string.h>
#include <time.h>

#include "base/log.h"

#define BOOT_TIMER_LEN 0x1000

/* What a guest writes to offset 0 when its init runs. */
#define BOOT_COMPLETE 123

static struct timespec start_wall, start_cpu;

void boot_timer_start(void)
{
	clock_gettime(CLOCK_MONOTONIC, &start_wall);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start_cpu);
}

static unsigned long long since_us(clockid_t id, const struct timespec *start)
{
	struct timespec now;

	clock_gettime(id, &now);
	return (unsigned long long)(now.tv_sec - start->tv_sec) * 1000000 +
	       (unsigned long long)now.tv_nsec / 1000 - (unsigned long long)start->tv_nsec / 1000;
}

static void boot_timer_read(void *dev, uint64_t offset, void *data, size_t len)
{
	(void)dev;
	(void)offset;
	memset(data, 0, len);
}

static void boot_timer_write(void *dev, uint64_t offset, const void *data, size_t len)
{
	unsigned long long wall, cpu;

	(void)dev;
	if (len != 1 || offset != 0 || *(const uint8_t *)data != BOOT_COMPLETE)
		return;
	wall = since_us(CLOCK_MONOTONIC, &start_wall);
	cpu = since_us(CLOCK_PROCESS_CPUTIME_ID, &start_cpu);
	/* Readers look for exactly this line; a guest that repeats itself is cut short. */
	log_guest_info("Guest-boot-time = %6llu us %llu ms, %6llu CPU us %llu CPU ms", wall,
		       wall / 1000, cpu, cpu / 1000);
}

static const struct bus_ops boot_timer_ops = { .read = boot_timer_read, .write = boot_timer_write };

int boot_timer_add(struct bus *bus, gpa_t addr, struct err *e)
{
	const struct bus_range range = { .base = addr.v,
					 .len = BOOT_TIMER_LEN,
					 .ops = &boot_timer_ops };

	return bus_add(bus, &range, e);
}
