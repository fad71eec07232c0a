/* SPDX-License-Identifier: Apache-2.0 */
/*
 * route_table.c - the rows of routes.h and the few lines behind each: from decoded body to a call
 * of vmm/, from its state to a reply. Loop thread.
 */
#include <errno.h>
#include <string.h>

#include "api-socket/reply.h"
#include "api-socket/routes.h"
#include "base/log.h"
#include "base/text.h"
#include "vmm/logger.h"
#include "vmm/metrics.h"

/* A body that does not fit is a bug of ours: REPLY_MAX holds the largest of them. */
static int body_written(struct server_reply *reply, long len, struct err *e)
{
	if (len < 0)
		return err_set(e, (int)-len, "Cannot compose the reply");
	reply->body_len = (size_t)len;
	return 0;
}

static int get_instance(struct vmm *v, const union decode_out *in, const char *id,
			struct server_reply *reply, struct err *e)
{
	(void)in;
	(void)id;
	return body_written(reply,
			    reply_instance_info(reply->body, REPLY_MAX, v->id, vmm_state_name(v),
						v->identity.version, v->identity.app_name),
			    e);
}

static int get_version(struct vmm *v, const union decode_out *in, const char *id,
		       struct server_reply *reply, struct err *e)
{
	(void)in;
	(void)id;
	return body_written(reply, reply_version(reply->body, REPLY_MAX, v->identity.version), e);
}

static int get_machine_config(struct vmm *v, const union decode_out *in, const char *id,
			      struct server_reply *reply, struct err *e)
{
	(void)in;
	(void)id;
	return body_written(reply, reply_machine_config(reply->body, REPLY_MAX, &v->config), e);
}

static int get_vm_config(struct vmm *v, const union decode_out *in, const char *id,
			 struct server_reply *reply, struct err *e)
{
	(void)in;
	(void)id;
	return body_written(reply, reply_vm_config(reply->body, REPLY_MAX, &v->config), e);
}

/* Clients are told about a deprecated field whether the request succeeds or not. */
static int update_machine(struct vmm *v, const struct machine_update *u, const char *method,
			  struct server_reply *reply, struct err *e)
{
	if (u->has_cpu_template) {
		reply->deprecated = true;
		log_warn("%s /machine-config: cpu_template field is deprecated.", method);
	}
	return config_update_machine(&v->config, u, e);
}

static int put_machine_config(struct vmm *v, const union decode_out *in, const char *id,
			      struct server_reply *reply, struct err *e)
{
	(void)id;
	return update_machine(v, &in->machine, "PUT", reply, e);
}

static int patch_machine_config(struct vmm *v, const union decode_out *in, const char *id,
				struct server_reply *reply, struct err *e)
{
	(void)id;
	if (decode_machine_is_empty(&in->machine))
		return err_set(e, 0, "Empty PATCH request.");
	return update_machine(v, &in->machine, "PATCH", reply, e);
}

static int put_boot_source(struct vmm *v, const union decode_out *in, const char *id,
			   struct server_reply *reply, struct err *e)
{
	(void)id;
	(void)reply;
	return config_put_boot_source(&v->config, &in->boot_source, e);
}

static int put_drive(struct vmm *v, const union decode_out *in, const char *id,
		     struct server_reply *reply, struct err *e)
{
	(void)reply;
	if (strcmp(id, in->drive.drive_id))
		return err_set(e, 0, "The id from the path does not match the id from the body!");
	return config_put_drive(&v->config, &in->drive, e);
}

static int put_net(struct vmm *v, const union decode_out *in, const char *id,
		   struct server_reply *reply, struct err *e)
{
	(void)reply;
	if (strcmp(id, in->net.iface_id))
		return err_set(
			e, 0, "The id from the path [%s] does not match the id from the body [%s]!",
			id, in->net.iface_id);
	return config_put_net(&v->config, &in->net, e);
}

static int patch_drive(struct vmm *v, const union decode_out *in, const char *id,
		       struct server_reply *reply, struct err *e)
{
	(void)reply;
	if (strcmp(id, in->drive_update.drive_id))
		return err_set(e, 0, "The id from the path does not match the id from the body!");
	return vmm_update_drive(v, &in->drive_update, e);
}

static int patch_net(struct vmm *v, const union decode_out *in, const char *id,
		     struct server_reply *reply, struct err *e)
{
	(void)reply;
	if (strcmp(id, in->net_update.iface_id))
		return err_set(
			e, 0, "The id from the path [%s] does not match the id from the body [%s]!",
			id, in->net_update.iface_id);
	return vmm_update_net(v, &in->net_update, e);
}

/* The states an action is allowed in hang on its body, so its row allows all. */
static int put_action(struct vmm *v, const union decode_out *in, const char *id,
		      struct server_reply *reply, struct err *e)
{
	int ret;

	(void)id;
	(void)reply;
	switch (in->action.action_type) {
	case ACTION_INSTANCE_START:
		if (v->state != VMM_NOT_STARTED)
			return err_set(e, 0, ROUTE_AFTER_START);
		return vmm_start(v, e);
	case ACTION_FLUSH_METRICS:
		if (v->state == VMM_NOT_STARTED)
			return err_set(e, 0, ROUTE_BEFORE_START);
		ret = metrics_flush();
		return ret ? err_set(e, -ret, "Internal VMM error: Failed to write metrics") : 0;
	default:
		if (v->state == VMM_NOT_STARTED)
			return err_set(e, 0, ROUTE_BEFORE_START);
		return machine_ctrl_alt_del(v->machine, e);
	}
}

static int put_logger(struct vmm *v, const union decode_out *in, const char *id,
		      struct server_reply *reply, struct err *e)
{
	(void)v;
	(void)id;
	(void)reply;
	return logger_apply(&in->logger, e) ? err_wrap(e, "Logger error") : 0;
}

static int put_metrics(struct vmm *v, const union decode_out *in, const char *id,
		       struct server_reply *reply, struct err *e)
{
	(void)id;
	(void)reply;
	return metrics_configure(&in->metrics, v->id, e) ? err_wrap(e, "Metrics error") : 0;
}

static int get_metrics(struct vmm *v, const union decode_out *in, const char *id,
		       struct server_reply *reply, struct err *e)
{
	struct text t = text_init(reply->body, REPLY_MAX);

	(void)v;
	(void)in;
	(void)id;
	metrics_put_prometheus(&t);
	reply->prometheus = true;
	return body_written(reply, t.cut ? -ENOSPC : (long)t.len, e);
}

static int put_serial(struct vmm *v, const union decode_out *in, const char *id,
		      struct server_reply *reply, struct err *e)
{
	(void)id;
	(void)reply;
	return config_put_serial(&v->config, &in->serial, e);
}

static int put_cpu_config(struct vmm *v, const union decode_out *in, const char *id,
			  struct server_reply *reply, struct err *e)
{
	(void)id;
	(void)reply;
	(void)e;
	config_put_cpu(&v->config, &in->cpu);
	return 0;
}

static int patch_vm(struct vmm *v, const union decode_out *in, const char *id,
		    struct server_reply *reply, struct err *e)
{
	const bool pause = in->vm_state.state == VM_STATE_PAUSED;
	const uint64_t start_us = virtio_now_us();
	int ret;

	(void)id;
	(void)reply;
	ret = pause ? vmm_pause(v, e) : vmm_resume(v, e);
	if (!ret)
		metric_set(&metrics.latency[pause ? LATENCY_PAUSE : LATENCY_RESUME],
			   virtio_now_us() - start_us);
	return ret;
}

#define ROW(m, p, id, s, b, f, c)                                                                  \
	{                                                                                          \
		.methods = (m), .path = (p), .has_id = (id), .states = (s), .body = (b),           \
		.fn = (f), .count = (c)                                                            \
	}
#define REFUSE_IN(m, p, id, s, c, sentence)                                                        \
	{                                                                                          \
		.methods = (m), .path = (p), .has_id = (id), .states = (s), .refusal = (sentence), \
		.count = (c)                                                                       \
	}
#define REFUSE(m, p, c, sentence) REFUSE_IN(m, p, false, ROUTE_ANY, c, sentence)
#define BY_DESIGN(what)                                                                            \
	what " is not supported by design: mote has net, block and serial devices only."
#define NOT_YET(what) what " is not supported by this version of mote yet."
#define NO_COUNT      METRICS_NOT_COUNTED

const struct route routes[] = {
	ROW(ROUTE_GET, "", false, ROUTE_ANY, NULL, get_instance, METRICS_GET_INSTANCE_INFO),
	ROW(ROUTE_GET, "version", false, ROUTE_ANY, NULL, get_version, METRICS_GET_VMM_VERSION),
	ROW(ROUTE_GET, "vm/config", false, ROUTE_ANY, NULL, get_vm_config, NO_COUNT),
	ROW(ROUTE_GET, "metrics", false, ROUTE_ANY, NULL, get_metrics, NO_COUNT),
	ROW(ROUTE_GET, "machine-config", false, ROUTE_ANY, NULL, get_machine_config,
	    METRICS_GET_MACHINE_CFG),
	ROW(ROUTE_PUT, "machine-config", false, ROUTE_PRE, &decode_machine_put, put_machine_config,
	    METRICS_PUT_MACHINE_CFG),
	ROW(ROUTE_PATCH, "machine-config", false, ROUTE_PRE, &decode_machine_patch,
	    patch_machine_config, METRICS_PATCH_MACHINE_CFG),
	ROW(ROUTE_PUT, "boot-source", false, ROUTE_PRE, &decode_boot_source, put_boot_source,
	    METRICS_PUT_BOOT_SOURCE),
	ROW(ROUTE_PUT, "drives", true, ROUTE_PRE, &decode_drive_put, put_drive, METRICS_PUT_DRIVE),
	ROW(ROUTE_PUT, "network-interfaces", true, ROUTE_PRE, &decode_net_put, put_net,
	    METRICS_PUT_NETWORK),
	ROW(ROUTE_PUT, "logger", false, ROUTE_PRE, &decode_logger, put_logger, METRICS_PUT_LOGGER),
	ROW(ROUTE_PUT, "metrics", false, ROUTE_PRE, &decode_metrics, put_metrics,
	    METRICS_PUT_METRICS),
	ROW(ROUTE_PUT, "serial", false, ROUTE_PRE, &decode_serial, put_serial, METRICS_PUT_SERIAL),
	ROW(ROUTE_PUT, "cpu-config", false, ROUTE_PRE, &decode_cpu_config, put_cpu_config,
	    METRICS_PUT_CPU_CFG),
	ROW(ROUTE_PUT, "actions", false, ROUTE_ANY, &decode_action, put_action,
	    METRICS_PUT_ACTIONS),
	ROW(ROUTE_PATCH, "vm", false, ROUTE_POST, &decode_vm_patch, patch_vm, NO_COUNT),

	ROW(ROUTE_PATCH, "drives", true, ROUTE_POST, &decode_drive_patch, patch_drive,
	    METRICS_PATCH_DRIVE),
	ROW(ROUTE_PATCH, "network-interfaces", true, ROUTE_POST, &decode_net_patch, patch_net,
	    METRICS_PATCH_NETWORK),
	REFUSE_IN(ROUTE_DELETE, "drives", true, ROUTE_POST, NO_COUNT, NOT_YET("Removing a drive")),
	REFUSE_IN(ROUTE_DELETE, "network-interfaces", true, ROUTE_POST, NO_COUNT,
		  NOT_YET("Removing a network interface")),
	REFUSE(ROUTE_PUT, "snapshot/create", NO_COUNT, NOT_YET("Creating a snapshot")),
	REFUSE(ROUTE_PUT, "snapshot/load", NO_COUNT, NOT_YET("Loading a snapshot")),
	REFUSE(ROUTE_GET, "mmds", METRICS_GET_MMDS, NOT_YET("The metadata service")),
	REFUSE(ROUTE_PUT, "mmds", METRICS_PUT_MMDS, NOT_YET("The metadata service")),
	REFUSE(ROUTE_PATCH, "mmds", METRICS_PATCH_MMDS, NOT_YET("The metadata service")),
	REFUSE(ROUTE_GET | ROUTE_PUT | ROUTE_PATCH, "balloon", NO_COUNT,
	       BY_DESIGN("A balloon device")),
	REFUSE(ROUTE_GET, "hotplug/memory", METRICS_GET_HOTPLUG_MEMORY,
	       BY_DESIGN("Memory hot-plug")),
	REFUSE(ROUTE_PUT, "hotplug/memory", METRICS_PUT_HOTPLUG_MEMORY,
	       BY_DESIGN("Memory hot-plug")),
	REFUSE(ROUTE_PATCH, "hotplug/memory", METRICS_PATCH_HOTPLUG_MEMORY,
	       BY_DESIGN("Memory hot-plug")),
	REFUSE(ROUTE_PUT, "pmem", METRICS_PUT_PMEM, BY_DESIGN("A pmem device")),
	REFUSE(ROUTE_PATCH, "pmem", METRICS_PATCH_PMEM, BY_DESIGN("A pmem device")),
	REFUSE(ROUTE_DELETE, "pmem", NO_COUNT, BY_DESIGN("A pmem device")),
	REFUSE(ROUTE_PUT, "vsock", METRICS_PUT_VSOCK, BY_DESIGN("A vsock device")),
	REFUSE(ROUTE_PUT, "entropy", NO_COUNT, BY_DESIGN("An entropy device")),
};

const size_t nr_routes = sizeof(routes) / sizeof(routes[0]);
