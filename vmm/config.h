/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.h - what the VM shall be: one struct, filled by the API, the config file and tests alike.
 *
 * Owns the files and taps that a configuration names: they are opened when they are configured, so
 * that a missing file is refused in that call, and closed when they are replaced or by config_fini.
 * Every config_* function that changes something first judges the whole candidate; on error
 * nothing has changed. All run on the loop thread, before the machine is built; afterwards only
 * vmm_update_drive and vmm_update_net change it. Error sentences are those that clients of the API
 * match.
 *
 * The struct is large (paths) and meant for static storage: pages that are never touched cost
 * nothing. Sizes and ids are checked by the decoder, so strings always end in NUL.
 */
#pragma once

#include <linux/if.h>
#include <linux/limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define CONFIG_VCPUS_MAX       32 /* what Firecracker promises and clients plan with */
#define CONFIG_MEM_DEFAULT_MIB 128
#define CONFIG_DEVICES_MAX     17 /* drives + interfaces: GSIs 5..23, two of them taken */
#define CONFIG_SLOTS_MAX       32 /* of each kind; more than fit, the surplus is refused at start */
#define CONFIG_ID_MAX	       128  /* drive_id, iface_id with NUL; more than orchestrators make */
#define CONFIG_PARTUUID_MAX    64   /* GUID: 36 characters, MBR style: 11; /PARTNROFF= may follow */
#define CONFIG_CMDLINE_MAX     2048 /* COMMAND_LINE_SIZE of x86_64 and arm64 Linux, with NUL */
#define CONFIG_MODULE_MAX      128  /* log filter: a module path */
#define CONFIG_PROPERTIES_MAX  4096 /* metrics properties, kept as JSON text */
#define CONFIG_CPUID_MAX       64   /* CPUID leaves to modify; KVM reports about 60 */
#define CONFIG_MSRS_MAX	       128  /* MSRs to modify; KVM knows fewer that a template is about */
#define CONFIG_CAPS_MAX	       32   /* capabilities to ask for; templates name a handful */
#define CONFIG_MTU_MIN	       68   /* virtio 1.2, 5.1.4.1 */
#define CONFIG_NET_PAIRS_MAX   4    /* NET_PAIRS_MAX */
#define CONFIG_FD_MAX	       (1 << 20) /* fs.nr_open: no process has more */

/* Stands before a path_on_host whose file is read and written past the host's page cache. */
#define CONFIG_DRIVE_DIRECT "direct:"

/* Forms of host_dev_name that are not the name of a tap. */
#define CONFIG_NET_FD	"fd:"
#define CONFIG_NET_UNIX "unix:"

/* Used when boot_args was not given. */
#define CONFIG_CMDLINE_DEFAULT                                                                     \
	"reboot=k panic=1 nomodule 8250.nr_uarts=0 i8042.noaux i8042.nomux i8042.dumbkbd "         \
	"swiotlb=noforce"

enum huge_pages { HUGE_PAGES_NONE, HUGE_PAGES_TRANSPARENT, HUGE_PAGES_2M };

/* The numbers are ours; which names an architecture accepts is in config_cpu_templates. */
enum cpu_template {
	CPU_TEMPLATE_NONE,
	CPU_TEMPLATE_C3,
	CPU_TEMPLATE_T2,
	CPU_TEMPLATE_T2S,
	CPU_TEMPLATE_T2CL,
	CPU_TEMPLATE_T2A,
	CPU_TEMPLATE_V1N1,
};

/* A name in the API and its value. Tables end with an empty name. */
struct config_name {
	char name[15];
	uint8_t value;
};

extern const struct config_name config_cpu_templates[]; /* config_x86.c, config_arm64.c */
extern const struct config_name config_huge_pages[];
extern const struct config_name config_cache_types[];
extern const struct config_name config_io_engines[];

/* config_name_of - the name of @value, which must be in the table. */
const char *config_name_of(const struct config_name *table, uint8_t value);

enum cache_type { CACHE_TYPE_UNSAFE, CACHE_TYPE_WRITEBACK };
enum io_engine { IO_ENGINE_SYNC, IO_ENGINE_ASYNC };

struct machine_config {
	uint8_t vcpu_count;   /* 1..CONFIG_VCPUS_MAX; 1 or even with smt */
	uint8_t huge_pages;   /* enum huge_pages */
	uint8_t cpu_template; /* enum cpu_template */
	bool smt;
	bool track_dirty_pages;
	uint64_t mem_size_mib; /* > 0; even unless huge_pages is None; may be absurdly large */
};

/* PUT and PATCH /machine-config: only what is given changes. A PUT gives all but cpu_template. */
struct machine_update {
	bool has_vcpu_count;
	bool has_mem_size_mib;
	bool has_smt;
	bool has_cpu_template; /* deprecated field: the reply carries the Deprecation header */
	bool has_track_dirty_pages;
	bool has_huge_pages;
	struct machine_config v;
};

/* Bits of a register that a template decides; the others keep the host's value. */
struct bits_edit {
	uint64_t clear; /* every bit that is decided */
	uint64_t set;	/* those of them that are 1 */
};

struct cpuid_reg_modifier {
	uint8_t reg; /* 0..3: EAX, EBX, ECX, EDX */
	struct bits_edit bits;
};

struct cpuid_modifier {
	uint32_t leaf;
	uint32_t index;
	uint32_t flags; /* KVM_CPUID_FLAG_* that the entry gets */
	size_t nr_regs;
	struct cpuid_reg_modifier reg[4];
};

struct msr_modifier {
	uint32_t index;
	struct bits_edit bits;
};

/* "121": KVM must have it. "!56": it need not; mote asks for none by itself. */
struct cap_modifier {
	uint32_t nr;
	bool removed;
};

/* PUT /cpu-config: a CPU template of the client's own. All counts 0: none. x86_64 only. */
struct cpu_config {
	size_t nr_caps;
	size_t nr_cpuid;
	size_t nr_msrs;
	struct cap_modifier cap[CONFIG_CAPS_MAX];
	struct cpuid_modifier cpuid[CONFIG_CPUID_MAX];
	struct msr_modifier msr[CONFIG_MSRS_MAX];
};

struct boot_source_config {
	bool has_initrd_path;
	bool has_boot_args;
	char kernel_image_path[PATH_MAX];
	char initrd_path[PATH_MAX];
	char boot_args[PATH_MAX]; /* roomier than allowed, so that config, not decode, refuses */
	/* Set by config_put_boot_source, owned by struct config. */
	int kernel_fd;
	int initrd_fd; /* -1 when there is none */
};

/* One token bucket; size 0 or refill time 0 disables it. */
struct bucket_config {
	bool has_one_time_burst;
	uint64_t size;		 /* bytes or operations */
	uint64_t one_time_burst; /* as size; 0 when not given */
	uint64_t refill_time_ms;
};

struct limiter_config {
	bool has_bandwidth;
	bool has_ops;
	struct bucket_config bandwidth;
	struct bucket_config ops;
};

struct drive_config {
	char drive_id[CONFIG_ID_MAX];
	char partuuid[CONFIG_PARTUUID_MAX];
	bool has_partuuid;
	bool is_root_device;
	bool has_is_read_only;
	bool is_read_only;
	bool has_path_on_host;
	bool has_rate_limiter;
	bool has_io_engine;
	bool has_socket;
	uint8_t cache_type; /* enum cache_type */
	uint8_t io_engine;  /* enum io_engine */
	struct limiter_config rate_limiter;
	int fd; /* file or connection, set by config_put_drive, owned by struct config */
	char path_on_host[PATH_MAX];
	char socket[PATH_MAX];
};

/* PATCH /drives/{id} */
struct drive_update {
	char drive_id[CONFIG_ID_MAX];
	bool has_path_on_host;
	bool has_rate_limiter;
	struct limiter_config rate_limiter;
	char path_on_host[PATH_MAX];
};

struct net_config {
	char iface_id[CONFIG_ID_MAX];
	/* a tap, fd:N or unix:PATH; roomier than each, so that config refuses */
	char host_dev_name[CONFIG_ID_MAX];
	bool has_guest_mac;
	bool has_mtu;
	bool has_rx_rate_limiter;
	bool has_tx_rate_limiter;
	uint8_t guest_mac[6];
	bool has_queue_pairs;
	bool has_vhost;
	bool vhost;	      /* the kernel moves the frames; not with unix:PATH or limiters */
	uint16_t mtu;	      /* CONFIG_MTU_MIN..65535 */
	uint16_t queue_pairs; /* 1..CONFIG_NET_PAIRS_MAX; more than 1 only for a tap with a name */
	struct limiter_config rx_rate_limiter;
	struct limiter_config tx_rate_limiter;
	/* config_net_pairs of them, set by config_put_net, owned by struct config */
	int tap_fd[CONFIG_NET_PAIRS_MAX];
};

/* PATCH /network-interfaces/{id} */
struct net_update {
	char iface_id[CONFIG_ID_MAX];
	bool has_rx_rate_limiter;
	bool has_tx_rate_limiter;
	struct limiter_config rx_rate_limiter;
	struct limiter_config tx_rate_limiter;
};

/* PUT /logger and the config file; enum log_level for level. Applied by who owns the log. */
struct logger_config {
	bool has_log_path;
	bool has_level; /* when not given the level resets to Info */
	bool has_show_level;
	bool has_show_log_origin;
	bool has_module;
	uint8_t level; /* enum log_level of base/log.h */
	bool show_level;
	bool show_log_origin;
	char module[CONFIG_MODULE_MAX];
	char log_path[PATH_MAX];
};

/* PUT /metrics and the config file */
struct metrics_config {
	bool emit_id;
	bool has_properties;
	char properties[CONFIG_PROPERTIES_MAX]; /* the checked JSON object, as text */
	char metrics_path[PATH_MAX];
};

/* PUT /serial */
struct serial_config {
	bool has_serial_out_path;
	bool has_rate_limiter;
	struct bucket_config rate_limiter; /* bytes */
	char serial_out_path[PATH_MAX];
};

struct config {
	struct machine_config machine;
	bool has_boot_source;
	bool has_logger;  /* from the config file only */
	bool has_metrics; /* from the config file only */
	bool has_serial;
	bool boot_timer; /* --boot-timer */
	size_t nr_drives;
	size_t nr_nets;
	struct boot_source_config boot_source;
	/* The root drive, if any, is first; the others keep the order of their configuration. */
	struct drive_config drive[CONFIG_SLOTS_MAX];
	struct net_config net[CONFIG_SLOTS_MAX];
	struct logger_config logger;
	struct metrics_config metrics;
	struct serial_config serial;
	struct cpu_config
		cpu; /* machine.cpu_template is CPU_TEMPLATE_NONE when this is not empty */
};

/* config_init - defaults: 1 vCPU, 128 MiB, nothing attached. @c is zeroed storage (static). */
void config_init(struct config *c);

/* config_fini - close every file and tap; @c is then as after config_init. */
void config_fini(struct config *c);

/* config_update_machine - PUT and PATCH /machine-config. Errors: EINVAL. */
int config_update_machine(struct config *c, const struct machine_update *u, struct err *e);

/* config_put_cpu - PUT /cpu-config; of this and machine.cpu_template, what came last counts. */
void config_put_cpu(struct config *c, const struct cpu_config *cpu);

/*
 * config_put_boot_source - open kernel and initrd, check the command line, replace what was there.
 * @b is copied; its fds are not looked at. Errors: errno of open, EINVAL.
 */
int config_put_boot_source(struct config *c, const struct boot_source_config *b, struct err *e);

/*
 * config_put_drive - add a drive or replace the one with the same id (in place; a new root moves to
 * the front). Opens the file, or connects to the socket. Errors: EINVAL (second root, bad
 * combination), errno of open or connect.
 */
int config_put_drive(struct config *c, const struct drive_config *d, struct err *e);

/*
 * config_open_drive - open the file of a drive; after CONFIG_DRIVE_DIRECT, for direct I/O. Returns
 * an fd that the caller owns, or -errno with the part of the sentence that every refusal of a
 * drive's file has in common.
 */
int config_open_drive(const char *path, bool read_only, struct err *e);

/* config_find_drive, config_find_net - place of this id; nr_drives or nr_nets: there is none. */
size_t config_find_drive(const struct config *c, const char *id);
size_t config_find_net(const struct config *c, const char *id);

/*
 * config_put_net - add an interface, or replace the one with the same id: then the last interface
 * takes the old place and the new one goes to the end, as clients of Firecracker see it. Opens the
 * tap, takes over the one that was handed in, or connects.
 */
int config_put_net(struct config *c, const struct net_config *n, struct err *e);

/* config_net_pairs - how many queue pairs it has. */
unsigned int config_net_pairs(const struct net_config *n);

/*
 * config_check_net_limits - whether the interface may have rate limiters, where @any are given.
 * EINVAL: nobody could hold its frames back (vhost).
 */
int config_check_net_limits(const struct net_config *n, bool any, struct err *e);

/* config_close_net - close its back end. */
void config_close_net(struct net_config *n);

/* config_net_after - what follows @prefix (CONFIG_NET_*) in host_dev_name, or NULL. */
const char *config_net_after(const struct net_config *n, const char *prefix);

/*
 * config_started - the machine runs on connections of its own: close those to back ends of drives,
 * so that a back end sees the end of one when the machine lets go of it.
 */
void config_started(struct config *c);

/* config_put_serial - PUT /serial; the file is opened when the machine is built. */
int config_put_serial(struct config *c, const struct serial_config *s, struct err *e);

/*
 * config_check - judge the whole before a machine is built: is there a kernel, do all devices fit.
 * Errors: EINVAL with the sentence for the reply to InstanceStart.
 */
int config_check(const struct config *c, struct err *e);

/*
 * config_check_arch - what only one architecture refuses in a machine configuration.
 * config_x86.c, config_arm64.c; called by config_update_machine.
 */
int config_check_arch(const struct machine_config *m, struct err *e);

/* config_boot_args - the command line to start from: what was given, or the default. */
const char *config_boot_args(const struct config *c);
