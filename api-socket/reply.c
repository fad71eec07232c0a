/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reply.c - the bodies of replies.
 *
 * Keys stand in the order of the structs clients know, and nulls stay where they are expected:
 * some clients compare whole objects. Loop thread.
 */
#include "api-socket/reply.h"

#include <string.h>

#include "base/json.h"

static void write_name(struct json_writer *w, const char *key, const struct config_name *table,
		       uint8_t value)
{
	json_write_string(w, key, config_name_of(table, value));
}

static void write_opt_string(struct json_writer *w, const char *key, bool has, const char *s)
{
	if (has)
		json_write_string(w, key, s);
	else
		json_write_null(w, key);
}

static void write_machine(struct json_writer *w, const char *key, const struct machine_config *m)
{
	json_write_open(w, key, '{');
	json_write_u64(w, "vcpu_count", m->vcpu_count);
	json_write_u64(w, "mem_size_mib", m->mem_size_mib);
	json_write_bool(w, "smt", m->smt);
	if (m->cpu_template != CPU_TEMPLATE_NONE)
		write_name(w, "cpu_template", config_cpu_templates, m->cpu_template);
	json_write_bool(w, "track_dirty_pages", m->track_dirty_pages);
	write_name(w, "huge_pages", config_huge_pages, m->huge_pages);
	json_write_close(w, '}');
}

/* A bucket that limits nothing does not exist. */
static bool bucket_limits(bool has, const struct bucket_config *b)
{
	return has && b->size && b->refill_time_ms;
}

static void write_bucket(struct json_writer *w, const char *key, bool has,
			 const struct bucket_config *b)
{
	if (!has) {
		json_write_null(w, key);
		return;
	}
	json_write_open(w, key, '{');
	json_write_u64(w, "size", b->size);
	if (b->one_time_burst)
		json_write_u64(w, "one_time_burst", b->one_time_burst);
	else
		json_write_null(w, "one_time_burst");
	json_write_u64(w, "refill_time", b->refill_time_ms);
	json_write_close(w, '}');
}

static void write_limiter(struct json_writer *w, const char *key, bool has,
			  const struct limiter_config *l)
{
	bool bandwidth = has && bucket_limits(l->has_bandwidth, &l->bandwidth);
	bool ops = has && bucket_limits(l->has_ops, &l->ops);

	if (!bandwidth && !ops) {
		json_write_null(w, key);
		return;
	}
	json_write_open(w, key, '{');
	write_bucket(w, "bandwidth", bandwidth, &l->bandwidth);
	write_bucket(w, "ops", ops, &l->ops);
	json_write_close(w, '}');
}

static void write_drive(struct json_writer *w, const struct drive_config *d)
{
	json_write_open(w, NULL, '{');
	json_write_string(w, "drive_id", d->drive_id);
	write_opt_string(w, "partuuid", d->has_partuuid, d->partuuid);
	json_write_bool(w, "is_root_device", d->is_root_device);
	write_name(w, "cache_type", config_cache_types, d->cache_type);
	if (d->has_socket)
		json_write_null(w, "is_read_only");
	else
		json_write_bool(w, "is_read_only", d->is_read_only);
	write_opt_string(w, "path_on_host", !d->has_socket, d->path_on_host);
	write_limiter(w, "rate_limiter", d->has_rate_limiter, &d->rate_limiter);
	write_opt_string(w, "io_engine", !d->has_socket,
			 config_name_of(config_io_engines, d->io_engine));
	write_opt_string(w, "socket", d->has_socket, d->socket);
	json_write_close(w, '}');
}

static void write_mac(struct json_writer *w, const char *key, const uint8_t mac[6])
{
	static const char hex[] = "0123456789abcdef";
	char text[18];
	size_t i;

	for (i = 0; i < 6; i++) {
		text[i * 3] = hex[mac[i] >> 4];
		text[i * 3 + 1] = hex[mac[i] & 15];
		text[i * 3 + 2] = i < 5 ? ':' : '\0';
	}
	json_write_string(w, key, text);
}

static void write_net(struct json_writer *w, const struct net_config *n)
{
	json_write_open(w, NULL, '{');
	json_write_string(w, "iface_id", n->iface_id);
	json_write_string(w, "host_dev_name", n->host_dev_name);
	if (n->has_guest_mac)
		write_mac(w, "guest_mac", n->guest_mac);
	else
		json_write_null(w, "guest_mac");
	if (n->has_mtu)
		json_write_u64(w, "mtu", n->mtu);
	else
		json_write_null(w, "mtu");
	write_limiter(w, "rx_rate_limiter", n->has_rx_rate_limiter, &n->rx_rate_limiter);
	write_limiter(w, "tx_rate_limiter", n->has_tx_rate_limiter, &n->tx_rate_limiter);
	if (n->has_queue_pairs) /* clients of Firecracker do not know it */
		json_write_u64(w, "queue_pairs", n->queue_pairs);
	if (n->has_vhost)
		json_write_bool(w, "vhost", n->vhost);
	json_write_close(w, '}');
}

static void write_boot_source(struct json_writer *w, const char *key, const struct config *c)
{
	const struct boot_source_config *b = &c->boot_source;
	bool has = c->has_boot_source;

	json_write_open(w, key, '{');
	json_write_string(w, "kernel_image_path", has ? b->kernel_image_path : "");
	write_opt_string(w, "initrd_path", has && b->has_initrd_path, b->initrd_path);
	write_opt_string(w, "boot_args", has && b->has_boot_args, b->boot_args);
	json_write_close(w, '}');
}

long reply_machine_config(char *buf, size_t cap, const struct config *c)
{
	struct json_writer w;

	json_write_init(&w, buf, cap);
	write_machine(&w, NULL, &c->machine);
	return json_write_finish(&w);
}

long reply_vm_config(char *buf, size_t cap, const struct config *c)
{
	struct json_writer w;
	size_t i;

	json_write_init(&w, buf, cap);
	json_write_open(&w, NULL, '{');
	json_write_null(&w, "balloon");
	json_write_open(&w, "drives", '[');
	for (i = 0; i < c->nr_drives; i++)
		write_drive(&w, &c->drive[i]);
	json_write_close(&w, ']');
	write_boot_source(&w, "boot-source", c);
	json_write_null(&w, "cpu-config");
	json_write_null(&w, "logger");
	write_machine(&w, "machine-config", &c->machine);
	json_write_null(&w, "metrics");
	json_write_null(&w, "mmds-config");
	json_write_open(&w, "network-interfaces", '[');
	for (i = 0; i < c->nr_nets; i++)
		write_net(&w, &c->net[i]);
	json_write_close(&w, ']');
	json_write_null(&w, "vsock");
	json_write_null(&w, "entropy");
	json_write_open(&w, "pmem", '[');
	json_write_close(&w, ']');
	json_write_null(&w, "memory-hotplug");
	json_write_close(&w, '}');
	return json_write_finish(&w);
}

long reply_instance_info(char *buf, size_t cap, const char *id, const char *state,
			 const char *version, const char *app_name)
{
	struct json_writer w;

	json_write_init(&w, buf, cap);
	json_write_open(&w, NULL, '{');
	json_write_string(&w, "id", id);
	json_write_string(&w, "state", state);
	json_write_string(&w, "vmm_version", version);
	json_write_string(&w, "app_name", app_name);
	json_write_close(&w, '}');
	return json_write_finish(&w);
}

/* {"key":"text"} */
static long write_pair(char *buf, size_t cap, const char *key, const char *text)
{
	struct json_writer w;

	json_write_init(&w, buf, cap);
	json_write_open(&w, NULL, '{');
	json_write_string(&w, key, text);
	json_write_close(&w, '}');
	return json_write_finish(&w);
}

long reply_version(char *buf, size_t cap, const char *version)
{
	return write_pair(buf, cap, "firecracker_version", version);
}

long reply_fault(char *buf, size_t cap, const char *text)
{
	return write_pair(buf, cap, "fault_message", text);
}

long reply_error(char *buf, size_t cap, const char *text)
{
	return write_pair(buf, cap, "error", text);
}
