/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metrics_schema.h - the names in the metrics output, shared by its two writers. Inside of metrics.
 *
 * One line per group: its name, then its fields. "=x" holds a last value, "@x" is an aggregate of
 * three (last values min_us and max_us, counter sum_us), all others count. Numbers stand in the
 * objects in this order. One string, because tables of pointers cost four times its size in a
 * position independent program.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "vmm/metrics.h"

/* Fields of the longest group, aggregates counted as three; device groups have sums of them. */
#define METRICS_FIELDS_MAX 40

extern const char metrics_schema[];

/* Lines of metrics_schema. */
enum metrics_group {
	GROUP_API_SERVER,
	GROUP_BALLOON,
	GROUP_BLOCK,
	GROUP_DEPRECATED,
	GROUP_GET,
	GROUP_I8042,
	GROUP_LATENCIES,
	GROUP_LOGGER,
	GROUP_MMDS,
	GROUP_NET,
	GROUP_PATCH,
	GROUP_PUT,
	GROUP_SECCOMP,
	GROUP_VCPU,
	GROUP_VMM,
	GROUP_UART,
	GROUP_SIGNALS,
	GROUP_VSOCK,
	GROUP_ENTROPY,
	GROUP_PMEM,
	GROUP_INTERRUPTS,
	GROUP_MEMORY_HOTPLUG,
	GROUP_RTC,	  /* only where there is one */
	GROUP_VHOST_USER, /* only its devices, without a sum */
	NR_GROUPS,
};

/* Where a group's numbers are: @nr at @m, then @nr_more at @more; what is beyond is 0. */
struct metrics_part {
	metric_t *m;
	metric_t *more;
	size_t nr, nr_more;
};

struct metrics_dev {
	enum metrics_device kind;
	const char *id;
	struct virtio_metrics *virtio;
	struct metrics_part part;
};

extern struct metrics_part metrics_part[NR_GROUPS];
extern struct metrics_dev metrics_dev[CONFIG_DEVICES_MAX];
extern size_t metrics_nr_devs;

/* One word of the schema. */
struct metrics_word {
	char kind; /* '=', '@', or 0 for a counter */
	const char *s;
	size_t len;
};

/*
 * metrics_next - step to the next word of a group's line at *@p; false at its end, where *@p then
 * stands behind the newline.
 */
bool metrics_next(const char **p, struct metrics_word *w);

/* metrics_line - the line of group @g, at its name. */
const char *metrics_line(enum metrics_group g);

/* metrics_at - number @i of a group, or NULL when it is not there. */
metric_t *metrics_at(const struct metrics_part *part, size_t i);
