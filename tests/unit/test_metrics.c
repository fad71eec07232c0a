/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_metrics.c - one line of metrics: names against members, deltas, sums; the file it goes to.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/log.h"
#include "virtio/blk.h"
#include "virtio/net.h"
#include "vmm/i8042_x86.h"
#include "vmm/metrics.h"
#include "vmm/serial.h"
#include "vmm/vcpu.h"

static char line[METRICS_LINE_MAX + 1];

#define NR(s) (sizeof(s) / sizeof(metric_t))

/* The next line, which must be JSON. */
static const char *compose(void)
{
	struct text t = text_init(line, METRICS_LINE_MAX);
	struct json_reader r;
	enum json_type type;
	struct err e = { 0 };

	metrics_put_json(&t);
	cr_assert(!t.cut);
	line[t.len] = '\0';
	json_init(&r, line, t.len, &e);
	cr_assert(!json_peek(&r, &type) && type == JSON_OBJECT && !json_skip(&r) && !json_end(&r),
		  "%s: %s", e.msg, line);
	return line;
}

/* The number of @field (and of @sub in it) in @group of the composed line. */
static unsigned long long number(const char *group, const char *field, const char *sub)
{
	char key[96];
	const char *p;

	snprintf(key, sizeof(key), "\"%s\":{", group);
	p = strstr(line, key);
	cr_assert(p, "no group %s in %s", group, line);
	snprintf(key, sizeof(key), "\"%s\":", field);
	p = strstr(p, key);
	cr_assert(p, "no %s in %s", field, group);
	p += strlen(key);
	if (sub) {
		snprintf(key, sizeof(key), "\"%s\":", sub);
		p = strstr(p, key);
		cr_assert(p);
		p += strlen(key);
	}
	return strtoull(p, NULL, 10);
}

/* Every member of a struct is set to a number of its own; the name in the line must show it. */
#define SHOWS(group, s, member)                                                                    \
	do {                                                                                       \
		metric_set(&(s)->member, 7000 + offsetof(__typeof__(*(s)), member));               \
		compose();                                                                         \
		cr_assert_eq(number(group, #member, NULL),                                         \
			     7000 + offsetof(__typeof__(*(s)), member), "%s.%s", group, #member);  \
	} while (0)

Test(metrics, blk_names)
{
	static struct blk_metrics b;
	static struct virtio_metrics v;

	metrics_add_device(METRICS_BLOCK, "d", &v, &b.no_avail_buffer, NR(b));
	SHOWS("block_d", &v, activate_fails);
	SHOWS("block_d", &v, cfg_fails);
	SHOWS("block_d", &v, event_fails);
	SHOWS("block_d", &b, no_avail_buffer);
	SHOWS("block_d", &b, execute_fails);
	SHOWS("block_d", &b, invalid_reqs_count);
	SHOWS("block_d", &b, flush_count);
	SHOWS("block_d", &b, queue_event_count);
	SHOWS("block_d", &b, rate_limiter_event_count);
	SHOWS("block_d", &b, update_count);
	SHOWS("block_d", &b, update_fails);
	SHOWS("block_d", &b, read_bytes);
	SHOWS("block_d", &b, write_bytes);
	SHOWS("block_d", &b, read_count);
	SHOWS("block_d", &b, write_count);
	SHOWS("block_d", &b, rate_limiter_throttled_events);
	SHOWS("block_d", &b, io_engine_throttled_events);
	SHOWS("block_d", &b, remaining_reqs_count);
}

Test(metrics, net_names)
{
	static struct net_metrics n;
	static struct virtio_metrics v;

	metrics_add_device(METRICS_NET, "i", &v, &n.no_rx_avail_buffer, NR(n));
	SHOWS("net_i", &n, no_rx_avail_buffer);
	SHOWS("net_i", &n, no_tx_avail_buffer);
	SHOWS("net_i", &n, rx_queue_event_count);
	SHOWS("net_i", &n, rx_event_rate_limiter_count);
	SHOWS("net_i", &n, rx_rate_limiter_throttled);
	SHOWS("net_i", &n, rx_tap_event_count);
	SHOWS("net_i", &n, rx_bytes_count);
	SHOWS("net_i", &n, rx_packets_count);
	SHOWS("net_i", &n, rx_fails);
	SHOWS("net_i", &n, rx_count);
	SHOWS("net_i", &n, tap_read_fails);
	SHOWS("net_i", &n, tap_write_fails);
	SHOWS("net_i", &n, tx_bytes_count);
	SHOWS("net_i", &n, tx_malformed_frames);
	SHOWS("net_i", &n, tx_fails);
	SHOWS("net_i", &n, tx_count);
	SHOWS("net_i", &n, tx_packets_count);
	SHOWS("net_i", &n, tx_queue_event_count);
	SHOWS("net_i", &n, tx_rate_limiter_event_count);
	SHOWS("net_i", &n, tx_rate_limiter_throttled);
	SHOWS("net_i", &n, tx_spoofed_mac_count);
	SHOWS("net_i", &n, tx_remaining_reqs_count);
}

Test(metrics, platform_names)
{
	static struct vcpu_metrics c;
	static struct serial_metrics u;
	static struct i8042_metrics k;

	metrics_set_source(METRICS_VCPU, &c.exit_io_in, NR(c));
	metrics_set_source(METRICS_UART, &u.error_count, NR(u));
	metrics_set_source(METRICS_I8042, &k.error_count, NR(k));
	SHOWS("vcpu", &c, exit_io_in);
	SHOWS("vcpu", &c, exit_io_out);
	SHOWS("vcpu", &c, exit_mmio_read);
	SHOWS("vcpu", &c, exit_mmio_write);
	SHOWS("vcpu", &c, failures);
	SHOWS("vcpu", &c, kvmclock_ctrl_fails);
	SHOWS("uart", &u, error_count);
	SHOWS("uart", &u, flush_count);
	SHOWS("uart", &u, missed_read_count);
	SHOWS("uart", &u, missed_write_count);
	SHOWS("uart", &u, read_count);
	SHOWS("uart", &u, write_count);
	SHOWS("uart", &u, rate_limiter_dropped_bytes);
	SHOWS("i8042", &k, error_count);
	SHOWS("i8042", &k, missed_read_count);
	SHOWS("i8042", &k, missed_write_count);
	SHOWS("i8042", &k, read_count);
	SHOWS("i8042", &k, reset_count);
	SHOWS("i8042", &k, write_count);
	metric_set(&c.exit_mmio_write_agg.max_us, 5);
	compose();
	cr_assert_eq(number("vcpu", "exit_mmio_write_agg", "max_us"), 5);
	metrics_forget();
	compose();
	cr_assert_eq(number("vcpu", "exit_mmio_write_agg", "max_us"), 0);
}

Test(metrics, process_names)
{
	static const struct {
		enum metrics_request index;
		const char *group, *field;
	} requests[] = {
		{ METRICS_GET_INSTANCE_INFO, "get_api_requests", "instance_info_count" },
		{ METRICS_GET_HOTPLUG_MEMORY, "get_api_requests", "hotplug_memory_count" },
		{ METRICS_PATCH_DRIVE, "patch_api_requests", "drive_count" },
		{ METRICS_PATCH_PMEM + 1, "patch_api_requests", "pmem_fails" },
		{ METRICS_PUT_ACTIONS, "put_api_requests", "actions_count" },
		{ METRICS_PUT_METRICS + 1, "put_api_requests", "metrics_fails" },
		{ METRICS_PUT_SERIAL, "put_api_requests", "serial_count" },
		{ METRICS_PUT_HOTPLUG_MEMORY + 1, "put_api_requests", "hotplug_memory_fails" },
	};

	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		metric_add(&metrics.request[requests[i].index], 3 + i);
		compose();
		cr_assert_eq(number(requests[i].group, requests[i].field, NULL), 3 + i, "%s",
			     requests[i].field);
	}
	metric_set(&metrics.latency[LATENCY_PAUSE], 11);
	metric_set(&metrics.latency[LATENCY_VMM + LATENCY_RESUME], 12);
	metric_set(&metrics.signal[METRICS_SIGILL], 1);
	metric_inc(&log_metrics.rate_limited_log_count);
	for (unsigned int i = 0; i < 2; i++) {
		compose();
		cr_assert_eq(number("latencies_us", "pause_vm", NULL), 11);
		cr_assert_eq(number("latencies_us", "vmm_resume_vm", NULL), 12);
		cr_assert_eq(number("signals", "sigill", NULL), 1);
		/* what counts is a difference, the others stay */
		cr_assert_eq(number("logger", "rate_limited_log_count", NULL), 1 - i);
	}
}

/* Deltas, and groups of kinds as sums of which minimum and maximum are no part. */
Test(metrics, deltas_and_sums)
{
	static struct blk_metrics b[2];
	static struct virtio_metrics v[2];

	metrics_add_device(METRICS_BLOCK, "one", &v[0], &b[0].no_avail_buffer, NR(b[0]));
	metrics_add_device(METRICS_BLOCK, "two", &v[1], &b[1].no_avail_buffer, NR(b[1]));
	metric_add(&b[0].read_bytes, 100);
	metric_add(&b[1].read_bytes, 20);
	metric_add(&v[1].irq_triggers, 4);
	virtio_agg_add(&b[0].read_agg, 5);
	virtio_agg_add(&b[0].read_agg, 9);
	virtio_agg_add(&b[1].read_agg, 2);
	compose();
	cr_assert_eq(number("block_one", "read_bytes", NULL), 100);
	cr_assert_eq(number("block_two", "read_bytes", NULL), 20);
	cr_assert_eq(number("block", "read_bytes", NULL), 120);
	cr_assert_eq(number("block_one", "read_agg", "min_us"), 5);
	cr_assert_eq(number("block_one", "read_agg", "max_us"), 9);
	cr_assert_eq(number("block_one", "read_agg", "sum_us"), 14);
	cr_assert_eq(number("block", "read_agg", "min_us"), 0);
	cr_assert_eq(number("block", "read_agg", "max_us"), 0);
	cr_assert_eq(number("block", "read_agg", "sum_us"), 16);
	cr_assert_eq(number("interrupts", "triggers", NULL), 4);
	metric_add(&b[1].read_bytes, 3);
	compose();
	cr_assert_eq(number("block_one", "read_bytes", NULL), 0);
	cr_assert_eq(number("block", "read_bytes", NULL), 3);
	cr_assert_eq(number("block_one", "read_agg", "max_us"), 9);
	cr_assert_eq(number("block", "read_agg", "sum_us"), 0);
	cr_assert_eq(number("interrupts", "triggers", NULL), 0);
}

/* The most that can be said fits. */
Test(metrics, longest_line)
{
	static struct net_metrics n[CONFIG_DEVICES_MAX];
	static struct virtio_metrics v[CONFIG_DEVICES_MAX];
	static char id[CONFIG_ID_MAX];

	memset(id, 'x', sizeof(id) - 1);
	for (size_t i = 0; i < CONFIG_DEVICES_MAX; i++) {
		memset(&n[i], 0xff, sizeof(n[i]));
		for (size_t j = 0; j < NR(n[i]); j++)
			(&n[i].no_rx_avail_buffer)[j].flushed = 0;
		metrics_add_device(METRICS_NET, id, &v[i], &n[i].no_rx_avail_buffer, NR(n[i]));
	}
	compose();
	cr_assert(strlen(line) + CONFIG_PROPERTIES_MAX + 256 < METRICS_LINE_MAX);
}

Test(metrics, file)
{
	static struct metrics_config c;
	char path[] = "/tmp/test_metrics.XXXXXX", text[16384];
	int fd = mkstemp(path);
	struct err e = { 0 };
	ssize_t n;

	cr_assert(fd >= 0 && !metrics_enabled() && !metrics_flush());
	snprintf(c.metrics_path, sizeof(c.metrics_path), "%s/x", path);
	cr_assert(metrics_configure(&c, "id-1", &e) < 0);
	cr_assert(strstr(e.msg, "due to bad user input: Not a directory (os error 20)"), "%s",
		  e.msg);
	strcpy(c.metrics_path, path);
	c.emit_id = true;
	c.has_properties = true;
	strcpy(c.properties, "{\"a\":\"b\"}");
	cr_assert(!metrics_configure(&c, "id-1", &e), "%s", e.msg);
	cr_assert(metrics_configure(&c, "id-1", &e) < 0);
	cr_assert_str_eq(e.msg, "Cannot initialize the metrics system due to bad user input: "
				"Reinitialization of metrics not allowed.");
	metric_inc(&metrics.panics);
	cr_assert(!metrics_flush());
	metrics_dying();
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	unlink(path);
	cr_assert(n > 0);
	text[n] = '\0';
	cr_assert(strchr(text, '\n') && strchr(strchr(text, '\n') + 1, '\n') == text + n - 1);
	cr_assert(strstr(text, ",\"id\":\"id-1\",\"properties\":{\"a\":\"b\"},"), "%s", text);
	cr_assert(strstr(text, "\"vmm\":{\"panic_count\":1}"));
}

/* A pipe that takes half a line gets the other half, and then the numbers counted meanwhile. */
Test(metrics, slow_reader)
{
	static struct metrics_config c;
	static char got[1 << 20];
	unsigned long long lines = 0;
	char *p;
	struct err e;
	size_t len = 0;
	ssize_t n;
	int fd;

	strcpy(c.metrics_path, "/tmp/test_metrics.fifo");
	unlink(c.metrics_path);
	cr_assert(!mkfifo(c.metrics_path, 0600));
	cr_assert(!metrics_configure(&c, "x", &e));
	fd = open(c.metrics_path, O_RDONLY | O_NONBLOCK);
	unlink(c.metrics_path);
	for (unsigned int i = 0; i < 100; i++) {
		metric_inc(&metrics.deprecated_calls);
		metrics_flush();
	}
	cr_assert(metric_get(&log_metrics.missed_metrics_count) > 50);
	for (unsigned int i = 0; i < 3; i++) {
		while ((n = read(fd, got + len, sizeof(got) - 1 - len)) > 0)
			len += (size_t)n;
		metrics_flush();
	}
	close(fd);
	got[len] = '\0';
	n = 0;
	for (p = got; (p = strstr(p, "\"deprecated_http_api_calls\":")); p++, n++)
		lines += strtoull(p + 28, NULL, 10);
	cr_assert_eq(lines, 100);
	cr_assert(n > 3);
}

Test(metrics, prometheus)
{
	static struct net_metrics net;
	static struct blk_metrics b;
	static struct virtio_metrics v[2];
	struct text t = text_init(line, METRICS_LINE_MAX);

	metrics_add_device(METRICS_BLOCK, "root", &v[0], &b.no_avail_buffer, NR(b));
	metrics_add_device(METRICS_NET, "eth0", &v[1], &net.no_rx_avail_buffer, NR(net));
	metric_add(&net.rx_bytes_count, 77);
	virtio_agg_add(&b.read_agg, 1500000);
	metric_set(&metrics.startup_time[0], 25);
	compose();
	metrics_put_prometheus(&t);
	line[t.len] = '\0';
	cr_assert(strstr(line, "# TYPE mote_net_rx_bytes_total counter\n"
			       "mote_net_rx_bytes_total{iface=\"eth0\"} 77\n"));
	cr_assert(strstr(line, "# TYPE mote_block_read_min_seconds gauge\n"
			       "mote_block_read_min_seconds{drive=\"root\"} 1.500000\n"));
	cr_assert(strstr(line, "mote_block_read_seconds_total{drive=\"root\"} 1.500000\n"));
	cr_assert(strstr(line, "mote_api_server_process_startup_time_seconds 0.000025\n"));
	cr_assert(strstr(line, "# TYPE mote_latencies_pause_vm_seconds gauge\n"));
	cr_assert(!strstr(line, "balloon"));
}

Test(metrics, startup)
{
	uint64_t early = 1, late = UINT64_MAX, parent = 50;

	metrics_startup(NULL, NULL, &parent);
	cr_assert_eq(metric_get(&metrics.startup_time[1]), 0);
	metrics_startup(&early, &late, NULL);
	cr_assert(metric_get(&metrics.startup_time[0]) > 1);
	cr_assert_eq(metric_get(&metrics.startup_time[1]), 0);
}
