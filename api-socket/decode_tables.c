/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decode_tables.c - the fields of every request body, as data.
 *
 * Order matters: it is the order in which missing fields are reported and in which names are listed
 * in error sentences. The names of the structs are those clients see in sentences, too. Read-only.
 */
#include "api-socket/decode.h"

#define NO_HAS	      DECODE_NO_HAS
#define SIZE_OF(s, m) sizeof(((s *)0)->m)

/* One row stays one row: */
/* clang-format off */
/* NOLINTBEGIN(bugprone-macro-parentheses): initialisers, with names and braces in them */
/* One row each: required, optional with its flag, or with a default of zero. */
#define REQ(s, n, t, m) { n, t, DECODE_REQUIRED, offsetof(s, m), SIZE_OF(s, m), NO_HAS, { 0 } }
#define OPT(s, n, t, m, h)                                                                         \
	{ n, t, DECODE_OPTION, offsetof(s, m), SIZE_OF(s, m), offsetof(s, h), { 0 } }
#define DEF(s, n, t, m) { n, t, DECODE_DEFAULT, offsetof(s, m), SIZE_OF(s, m), NO_HAS, { 0 } }
#define OPT_SUB(s, n, m, h, sub)                                                                   \
	{ n, DECODE_STRUCT, DECODE_OPTION, offsetof(s, m), SIZE_OF(s, m), offsetof(s, h),          \
	  { .table = sub } }
#define ENUM(s, n, need, m, has, tab)                                                              \
	{ n, DECODE_ENUM, need, offsetof(s, m), SIZE_OF(s, m), has, { .names = tab } }
#define TABLE(var, title, s, fields, tolerant)                                                     \
	const struct decode_table var = { title, fields, sizeof(s),                                \
					  sizeof(fields) / sizeof((fields)[0]), tolerant, false }

/* PUT: what is not given returns to its default, so every row but cpu_template counts as given. */
#define MACHINE(n, t, need, m)                                                                     \
	{ n, t, need, offsetof(struct machine_update, v.m), SIZE_OF(struct machine_update, v.m),   \
	  offsetof(struct machine_update, has_##m), { 0 } }
#define MACHINE_ENUM(n, need, m, tab)                                                              \
	{ n, DECODE_ENUM, need, offsetof(struct machine_update, v.m), 1,                           \
	  offsetof(struct machine_update, has_##m), { .names = tab } }
/* NOLINTEND(bugprone-macro-parentheses) */
/* clang-format on */

static const struct decode_field machine_put_fields[] = {
	MACHINE("vcpu_count", DECODE_U8, DECODE_REQUIRED, vcpu_count),
	MACHINE("mem_size_mib", DECODE_USIZE, DECODE_REQUIRED, mem_size_mib),
	MACHINE("smt", DECODE_BOOL, DECODE_DEFAULT, smt),
	MACHINE_ENUM("cpu_template", DECODE_OPTION, cpu_template, config_cpu_templates),
	MACHINE("track_dirty_pages", DECODE_BOOL, DECODE_DEFAULT, track_dirty_pages),
	MACHINE_ENUM("huge_pages", DECODE_DEFAULT, huge_pages, config_huge_pages),
};
TABLE(decode_machine_put, "struct MachineConfig", struct machine_update, machine_put_fields, false);

static const struct decode_field machine_patch_fields[] = {
	MACHINE("vcpu_count", DECODE_U8, DECODE_OPTION, vcpu_count),
	MACHINE("mem_size_mib", DECODE_USIZE, DECODE_OPTION, mem_size_mib),
	MACHINE("smt", DECODE_BOOL, DECODE_OPTION, smt),
	MACHINE_ENUM("cpu_template", DECODE_OPTION, cpu_template, config_cpu_templates),
	MACHINE("track_dirty_pages", DECODE_BOOL, DECODE_OPTION, track_dirty_pages),
	MACHINE_ENUM("huge_pages", DECODE_OPTION, huge_pages, config_huge_pages),
};
TABLE(decode_machine_patch, "struct MachineConfigUpdate", struct machine_update,
      machine_patch_fields, false);

#define BOOT struct boot_source_config
static const struct decode_field boot_source_fields[] = {
	REQ(BOOT, "kernel_image_path", DECODE_STRING, kernel_image_path),
	OPT(BOOT, "initrd_path", DECODE_STRING, initrd_path, has_initrd_path),
	OPT(BOOT, "boot_args", DECODE_STRING, boot_args, has_boot_args),
};
TABLE(decode_boot_source, "struct BootSourceConfig", BOOT, boot_source_fields, false);

#define BUCKET struct bucket_config
static const struct decode_field bucket_fields[] = {
	REQ(BUCKET, "size", DECODE_U64, size),
	OPT(BUCKET, "one_time_burst", DECODE_U64, one_time_burst, has_one_time_burst),
	REQ(BUCKET, "refill_time", DECODE_U64, refill_time_ms),
};
/* The one request object besides /metrics in which unknown fields pass. */
static TABLE(bucket, "struct TokenBucketConfig", BUCKET, bucket_fields, true);

#define LIMITER struct limiter_config
static const struct decode_field limiter_fields[] = {
	OPT_SUB(LIMITER, "bandwidth", bandwidth, has_bandwidth, &bucket),
	OPT_SUB(LIMITER, "ops", ops, has_ops, &bucket),
};
static TABLE(limiter, "struct RateLimiterConfig", LIMITER, limiter_fields, false);

#define DRIVE struct drive_config
static const struct decode_field drive_fields[] = {
	REQ(DRIVE, "drive_id", DECODE_STRING, drive_id),
	OPT(DRIVE, "partuuid", DECODE_STRING, partuuid, has_partuuid),
	REQ(DRIVE, "is_root_device", DECODE_BOOL, is_root_device),
	ENUM(DRIVE, "cache_type", DECODE_DEFAULT, cache_type, NO_HAS, config_cache_types),
	OPT(DRIVE, "is_read_only", DECODE_BOOL, is_read_only, has_is_read_only),
	OPT(DRIVE, "path_on_host", DECODE_STRING, path_on_host, has_path_on_host),
	OPT_SUB(DRIVE, "rate_limiter", rate_limiter, has_rate_limiter, &limiter),
	ENUM(DRIVE, "io_engine", DECODE_OPTION, io_engine, offsetof(DRIVE, has_io_engine),
	     config_io_engines),
	OPT(DRIVE, "socket", DECODE_STRING, socket, has_socket),
};
TABLE(decode_drive_put, "struct BlockDeviceConfig", DRIVE, drive_fields, false);

#define DRIVE_UPDATE struct drive_update
static const struct decode_field drive_update_fields[] = {
	REQ(DRIVE_UPDATE, "drive_id", DECODE_STRING, drive_id),
	OPT(DRIVE_UPDATE, "path_on_host", DECODE_STRING, path_on_host, has_path_on_host),
	OPT_SUB(DRIVE_UPDATE, "rate_limiter", rate_limiter, has_rate_limiter, &limiter),
};
TABLE(decode_drive_patch, "struct BlockDeviceUpdateConfig", DRIVE_UPDATE, drive_update_fields,
      false);

#define NET struct net_config
static const struct decode_field net_fields[] = {
	REQ(NET, "iface_id", DECODE_STRING, iface_id),
	REQ(NET, "host_dev_name", DECODE_STRING, host_dev_name),
	OPT(NET, "guest_mac", DECODE_MAC, guest_mac, has_guest_mac),
	OPT(NET, "mtu", DECODE_U16, mtu, has_mtu),
	OPT_SUB(NET, "rx_rate_limiter", rx_rate_limiter, has_rx_rate_limiter, &limiter),
	OPT_SUB(NET, "tx_rate_limiter", tx_rate_limiter, has_tx_rate_limiter, &limiter),
	OPT(NET, "queue_pairs", DECODE_U16, queue_pairs, has_queue_pairs),
	OPT(NET, "vhost", DECODE_BOOL, vhost, has_vhost),
};
TABLE(decode_net_put, "struct NetworkInterfaceConfig", NET, net_fields, false);

#define NET_UPDATE struct net_update
static const struct decode_field net_update_fields[] = {
	REQ(NET_UPDATE, "iface_id", DECODE_STRING, iface_id),
	OPT_SUB(NET_UPDATE, "rx_rate_limiter", rx_rate_limiter, has_rx_rate_limiter, &limiter),
	OPT_SUB(NET_UPDATE, "tx_rate_limiter", tx_rate_limiter, has_tx_rate_limiter, &limiter),
};
TABLE(decode_net_patch, "struct NetworkInterfaceUpdateConfig", NET_UPDATE, net_update_fields,
      false);

static const struct config_name action_names[] = {
	{ "FlushMetrics", ACTION_FLUSH_METRICS },
	{ "InstanceStart", ACTION_INSTANCE_START },
	{ "SendCtrlAltDel", ACTION_SEND_CTRL_ALT_DEL },
	{ "", 0 },
};
static const struct decode_field action_fields[] = {
	ENUM(struct action_request, "action_type", DECODE_REQUIRED, action_type, NO_HAS,
	     action_names),
};
TABLE(decode_action, "struct ActionBody", struct action_request, action_fields, false);

static const struct config_name vm_state_names[] = {
	{ "Paused", VM_STATE_PAUSED },
	{ "Resumed", VM_STATE_RESUMED },
	{ "", 0 },
};
static const struct decode_field vm_state_fields[] = {
	ENUM(struct vm_state_request, "state", DECODE_REQUIRED, state, NO_HAS, vm_state_names),
};
TABLE(decode_vm_patch, "struct Vm", struct vm_state_request, vm_state_fields, false);

#define LOGGER struct logger_config
static const struct decode_field logger_fields[] = {
	OPT(LOGGER, "log_path", DECODE_PATH, log_path, has_log_path),
	OPT(LOGGER, "level", DECODE_LEVEL, level, has_level),
	OPT(LOGGER, "show_level", DECODE_BOOL, show_level, has_show_level),
	OPT(LOGGER, "show_log_origin", DECODE_BOOL, show_log_origin, has_show_log_origin),
	OPT(LOGGER, "module", DECODE_STRING, module, has_module),
};
TABLE(decode_logger, "struct LoggerConfig", LOGGER, logger_fields, false);

#define METRICS struct metrics_config
static const struct decode_field metrics_fields[] = {
	REQ(METRICS, "metrics_path", DECODE_PATH, metrics_path),
	DEF(METRICS, "emit_id", DECODE_BOOL, emit_id),
	OPT(METRICS, "properties", DECODE_STRMAP, properties, has_properties),
};
TABLE(decode_metrics, "struct MetricsConfig", METRICS, metrics_fields, true);

#define SERIAL struct serial_config
static const struct decode_field serial_fields[] = {
	OPT(SERIAL, "serial_out_path", DECODE_PATH, serial_out_path, has_serial_out_path),
	OPT_SUB(SERIAL, "rate_limiter", rate_limiter, has_rate_limiter, &bucket),
};
TABLE(decode_serial, "struct SerialConfig", SERIAL, serial_fields, false);
