/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metrics_schema.c - names of all metrics, and where their numbers are; see metrics_schema.h.
 *
 * Groups and fields are those of Firecracker, whose readers refuse a line with one too many or too
 * few; devices that mote does not have stay at 0.
 */
#include "vmm/metrics_schema.h"

#include <string.h>

#include "base/log.h"
#include "virtio/blk.h"
#include "virtio/net.h"

const char metrics_schema[] =
	"api_server =process_startup_time_us =process_startup_time_cpu_us\n"
	"balloon activate_fails inflate_count stats_updates_count stats_update_fails deflate_count"
	" event_fails free_page_report_count free_page_report_freed free_page_report_fails"
	" free_page_hint_count free_page_hint_freed free_page_hint_fails\n"
	"block activate_fails cfg_fails event_fails no_avail_buffer execute_fails"
	" invalid_reqs_count flush_count queue_event_count rate_limiter_event_count update_count"
	" update_fails read_bytes write_bytes read_count write_count"
	" rate_limiter_throttled_events io_engine_throttled_events remaining_reqs_count"
	" @read_agg @write_agg\n"
	"deprecated_api deprecated_http_api_calls\n"
	"get_api_requests instance_info_count machine_cfg_count mmds_count vmm_version_count"
	" hotplug_memory_count\n"
	"i8042 error_count missed_read_count missed_write_count read_count reset_count"
	" write_count\n"
	"latencies_us =full_create_snapshot =diff_create_snapshot =load_snapshot =pause_vm"
	" =resume_vm =vmm_full_create_snapshot =vmm_diff_create_snapshot =vmm_load_snapshot"
	" =vmm_pause_vm =vmm_resume_vm\n"
	"logger missed_metrics_count metrics_fails missed_log_count rate_limited_log_count\n"
	"mmds rx_accepted rx_accepted_err rx_accepted_unusual rx_bad_eth rx_invalid_token"
	" rx_no_token rx_count tx_bytes tx_count tx_errors tx_frames connections_created"
	" connections_destroyed\n"
	"net activate_fails cfg_fails event_fails no_rx_avail_buffer no_tx_avail_buffer"
	" rx_queue_event_count rx_event_rate_limiter_count rx_rate_limiter_throttled"
	" rx_tap_event_count rx_bytes_count rx_packets_count rx_fails rx_count tap_read_fails"
	" tap_write_fails tx_bytes_count tx_malformed_frames tx_fails tx_count tx_packets_count"
	" tx_queue_event_count tx_rate_limiter_event_count tx_rate_limiter_throttled"
	" tx_spoofed_mac_count tx_remaining_reqs_count @tap_write_agg\n"
	"patch_api_requests drive_count drive_fails network_count network_fails"
	" machine_cfg_count machine_cfg_fails mmds_count mmds_fails hotplug_memory_count"
	" hotplug_memory_fails pmem_count pmem_fails\n"
	"put_api_requests actions_count actions_fails boot_source_count boot_source_fails"
	" drive_count drive_fails logger_count logger_fails machine_cfg_count machine_cfg_fails"
	" cpu_cfg_count cpu_cfg_fails metrics_count metrics_fails network_count network_fails"
	" mmds_count mmds_fails vsock_count vsock_fails pmem_count pmem_fails serial_count"
	" serial_fails hotplug_memory_count hotplug_memory_fails\n"
	"seccomp =num_faults\n"
	"vcpu exit_io_in exit_io_out exit_mmio_read exit_mmio_write failures kvmclock_ctrl_fails"
	" @exit_io_in_agg @exit_io_out_agg @exit_mmio_read_agg @exit_mmio_write_agg\n"
	"vmm =panic_count\n"
	"uart error_count flush_count missed_read_count missed_write_count read_count write_count"
	" rate_limiter_dropped_bytes\n"
	"signals =sigbus =sigsegv =sigxfsz =sigxcpu sigpipe =sighup =sigill\n"
	"vsock activate_fails cfg_fails rx_queue_event_fails tx_queue_event_fails"
	" ev_queue_event_fails muxer_event_fails conn_event_fails rx_queue_event_count"
	" tx_queue_event_count rx_bytes_count tx_bytes_count rx_packets_count tx_packets_count"
	" conns_added conns_killed conns_removed killq_resync tx_flush_fails tx_write_fails"
	" rx_read_fails\n"
	"entropy activate_fails entropy_event_fails entropy_event_count entropy_bytes"
	" host_rng_fails entropy_rate_limiter_throttled rate_limiter_event_count\n"
	"pmem activate_fails cfg_fails event_fails queue_event_count"
	" rate_limiter_throttled_events rate_limiter_event_count\n"
	"interrupts triggers config_updates\n"
	"memory_hotplug activate_fails queue_event_fails queue_event_count plug_count plug_bytes"
	" plug_fails @plug_agg unplug_count unplug_bytes unplug_fails unplug_discard_fails"
	" @unplug_agg state_count state_fails @state_agg unplug_all_count unplug_all_fails"
	" @unplug_all_agg\n"
	"rtc error_count missed_read_count missed_write_count\n"
	"vhost_user_block activate_fails cfg_fails =init_time_us =activate_time_us"
	" =config_change_time_us\n";

#define METRICS(s) (sizeof(s) / sizeof(metric_t))

/* The order of names above and of members there is the same; this much of it a compiler can see. */
_Static_assert(offsetof(struct virtio_metrics, irq_triggers) == 3 * sizeof(metric_t), "device");
_Static_assert(offsetof(struct blk_metrics, read_agg) == 15 * sizeof(metric_t), "block");
_Static_assert(offsetof(struct net_metrics, tap_write_agg) == 22 * sizeof(metric_t), "net");
_Static_assert(METRICS(struct log_metrics) == 4, "logger");

struct process_metrics metrics;

#define PART(member, count)                                                                        \
	{                                                                                          \
		.m = (member), .nr = (count)                                                       \
	}

struct metrics_part metrics_part[NR_GROUPS] = {
	[GROUP_API_SERVER] = PART(metrics.startup_time, 2),
	[GROUP_DEPRECATED] = PART(&metrics.deprecated_calls, 1),
	[GROUP_GET] = PART(&metrics.request[METRICS_GET_INSTANCE_INFO], 5),
	[GROUP_LATENCIES] = PART(metrics.latency, METRICS_NR_LATENCIES),
	[GROUP_LOGGER] = PART(&log_metrics.missed_metrics_count, METRICS(struct log_metrics)),
	[GROUP_PATCH] = PART(&metrics.request[METRICS_PATCH_DRIVE], 12),
	[GROUP_PUT] = PART(&metrics.request[METRICS_PUT_ACTIONS], 26),
	[GROUP_SECCOMP] = PART(&metrics.seccomp_faults, 1),
	[GROUP_VMM] = PART(&metrics.panics, 1),
	[GROUP_SIGNALS] = PART(metrics.signal, METRICS_NR_SIGNALS),
};

struct metrics_dev metrics_dev[CONFIG_DEVICES_MAX];
size_t metrics_nr_devs;

static const enum metrics_group source_group[METRICS_NR_SOURCES] = {
	[METRICS_VCPU] = GROUP_VCPU,
	[METRICS_UART] = GROUP_UART,
	[METRICS_I8042] = GROUP_I8042,
	[METRICS_RTC] = GROUP_RTC,
};

void metrics_set_source(enum metrics_source s, metric_t *m, size_t nr)
{
	struct metrics_part *part = &metrics_part[source_group[s]];

	part->nr = nr;
	__atomic_store_n(&part->m, m, __ATOMIC_RELEASE);
}

/* A signal may come at any time, so an entry is complete before it counts. */
void metrics_add_device(enum metrics_device kind, const char *id, struct virtio_metrics *virtio,
			metric_t *own, size_t nr)
{
	if (metrics_nr_devs == CONFIG_DEVICES_MAX)
		return;
	metrics_dev[metrics_nr_devs] = (struct metrics_dev){
		.kind = kind,
		.id = id,
		.virtio = virtio,
		.part = { .m = &virtio->activate_fails,
			  .nr = kind == METRICS_VHOST_USER ? 2 : 3,
			  .more = own,
			  .nr_more = nr },
	};
	__atomic_store_n(&metrics_nr_devs, metrics_nr_devs + 1, __ATOMIC_RELEASE);
}

void metrics_forget(void)
{
	size_t i;

	__atomic_store_n(&metrics_nr_devs, 0, __ATOMIC_RELEASE);
	for (i = 0; i < METRICS_NR_SOURCES; i++)
		__atomic_store_n(&metrics_part[source_group[i]].m, NULL, __ATOMIC_RELEASE);
}

bool metrics_next(const char **p, struct metrics_word *w)
{
	const char *s = *p;

	while (*s == ' ')
		s++;
	w->kind = *s == '=' || *s == '@' ? *s++ : 0;
	w->s = s;
	while (*s > ' ')
		s++;
	w->len = (size_t)(s - w->s);
	*p = w->len ? s : s + 1;
	return w->len > 0;
}

const char *metrics_line(enum metrics_group g)
{
	const char *p = metrics_schema;
	unsigned int i;

	for (i = 0; i < (unsigned int)g; i++)
		p = strchr(p, '\n') + 1;
	return p;
}

metric_t *metrics_at(const struct metrics_part *part, size_t i)
{
	if (!part->m)
		return NULL;
	if (i < part->nr)
		return &part->m[i];
	i -= part->nr;
	return i < part->nr_more ? &part->more[i] : NULL;
}
