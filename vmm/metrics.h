/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metrics.h - what this process counted, as one line of JSON and as Prometheus text.
 *
 * Owns the metrics file and the register of everything that counts: groups of metric_t in the order
 * of their names in metrics_schema. Counters appear as what was added since the line before, times
 * and other last values as they are. Configured and written on the loop thread; metrics_dying in
 * signal handlers of any thread. Nothing is allocated.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/metrics.h"
#include "base/text.h"
#include "virtio/virtio.h"
#include "vmm/config.h"

/* Longest line: 17 devices with every counter at 20 digits, and the properties. */
#define METRICS_LINE_MAX (64 * 1024)

/* A line this often, also while the VM is paused. */
#define METRICS_PERIOD_US (60 * 1000000ULL)

/*
 * Requests of the API: where each is counted in metrics.request. PUT and PATCH are followed by how
 * many of them were refused. 0: not counted.
 */
enum metrics_request {
	METRICS_NOT_COUNTED,
	METRICS_GET_INSTANCE_INFO,
	METRICS_GET_MACHINE_CFG,
	METRICS_GET_MMDS,
	METRICS_GET_VMM_VERSION,
	METRICS_GET_HOTPLUG_MEMORY,
	METRICS_PATCH_DRIVE,
	METRICS_PATCH_NETWORK = METRICS_PATCH_DRIVE + 2,
	METRICS_PATCH_MACHINE_CFG = METRICS_PATCH_NETWORK + 2,
	METRICS_PATCH_MMDS = METRICS_PATCH_MACHINE_CFG + 2,
	METRICS_PATCH_HOTPLUG_MEMORY = METRICS_PATCH_MMDS + 2,
	METRICS_PATCH_PMEM = METRICS_PATCH_HOTPLUG_MEMORY + 2,
	METRICS_PUT_ACTIONS = METRICS_PATCH_PMEM + 2,
	METRICS_PUT_BOOT_SOURCE = METRICS_PUT_ACTIONS + 2,
	METRICS_PUT_DRIVE = METRICS_PUT_BOOT_SOURCE + 2,
	METRICS_PUT_LOGGER = METRICS_PUT_DRIVE + 2,
	METRICS_PUT_MACHINE_CFG = METRICS_PUT_LOGGER + 2,
	METRICS_PUT_CPU_CFG = METRICS_PUT_MACHINE_CFG + 2,
	METRICS_PUT_METRICS = METRICS_PUT_CPU_CFG + 2,
	METRICS_PUT_NETWORK = METRICS_PUT_METRICS + 2,
	METRICS_PUT_MMDS = METRICS_PUT_NETWORK + 2,
	METRICS_PUT_VSOCK = METRICS_PUT_MMDS + 2,
	METRICS_PUT_PMEM = METRICS_PUT_VSOCK + 2,
	METRICS_PUT_SERIAL = METRICS_PUT_PMEM + 2,
	METRICS_PUT_HOTPLUG_MEMORY = METRICS_PUT_SERIAL + 2,
	METRICS_NR_REQUESTS = METRICS_PUT_HOTPLUG_MEMORY + 2,
};

/* Microseconds that the last such step took; the first five as the client sees it. */
enum metrics_latency {
	LATENCY_FULL_SNAPSHOT,
	LATENCY_DIFF_SNAPSHOT,
	LATENCY_LOAD_SNAPSHOT,
	LATENCY_PAUSE,
	LATENCY_RESUME,
	LATENCY_VMM, /* the same five again, without the way through the API */
	METRICS_NR_LATENCIES = 2 * LATENCY_VMM,
};

enum metrics_signal {
	METRICS_SIGBUS,
	METRICS_SIGSEGV,
	METRICS_SIGXFSZ,
	METRICS_SIGXCPU,
	METRICS_SIGPIPE,
	METRICS_SIGHUP,
	METRICS_SIGILL,
	METRICS_NR_SIGNALS,
};

/* What belongs to the process and to none of its objects. */
struct process_metrics {
	metric_t startup_time[2]; /* wall clock and CPU, us */
	metric_t deprecated_calls;
	metric_t request[METRICS_NR_REQUESTS];
	metric_t latency[METRICS_NR_LATENCIES];
	metric_t signal[METRICS_NR_SIGNALS];
	metric_t seccomp_faults;
	metric_t panics;
};

extern struct process_metrics metrics;

/* Groups whose counters come and go with the machine; any of them may be missing. */
enum metrics_source { METRICS_VCPU, METRICS_UART, METRICS_I8042, METRICS_RTC, METRICS_NR_SOURCES };
enum metrics_device { METRICS_BLOCK, METRICS_NET, METRICS_VHOST_USER };

/*
 * metrics_set_source - @nr counters at @m are those of group @s, in the order of the schema; they
 * stay until metrics_forget. What the schema has beyond @nr is written as 0.
 */
void metrics_set_source(enum metrics_source s, metric_t *m, size_t nr);

/*
 * metrics_add_device - groups block_<id>, net_<id> and vhost_user_block_<id>: @virtio and the @nr
 * counters at @own. @id is not copied. At most CONFIG_DEVICES_MAX of them.
 */
void metrics_add_device(enum metrics_device kind, const char *id, struct virtio_metrics *virtio,
			metric_t *own, size_t nr);

/* metrics_forget - the machine goes away, and all of the above with it. */
void metrics_forget(void);

/*
 * metrics_configure - open the file or FIFO and write lines to it from now on; once per process.
 * @id: the instance, not copied. Errors: EINVAL (second time), errno of open.
 */
int metrics_configure(const struct metrics_config *c, const char *id, struct err *e);

/* metrics_enabled - whether metrics_configure succeeded. */
bool metrics_enabled(void);

/*
 * metrics_flush - write one line. A line that the reader of a FIFO did not take is kept and goes
 * first the next time; until then nothing new is taken from the counters. 0, also when not enabled;
 * -EAGAIN or the errno of write.
 */
int metrics_flush(void);

/* metrics_dying - write the last line, from a signal handler. Async-signal-safe. */
void metrics_dying(void);

/* metrics_put_json - compose the line without its newline, and take the counters. For tests. */
void metrics_put_json(struct text *t);

/*
 * metrics_put_prometheus - everything since the start of the process, in Prometheus' text format.
 * Takes nothing from the counters. Sources that do not exist are left out.
 */
void metrics_put_prometheus(struct text *t);

/*
 * metrics_startup - note how long the start took until now. @start_us: CLOCK_MONOTONIC of the
 * start, @start_cpu_us and @parent_cpu_us: CPU time used before and by the parent. NULL: unknown.
 */
void metrics_startup(const uint64_t *start_us, const uint64_t *start_cpu_us,
		     const uint64_t *parent_cpu_us);
