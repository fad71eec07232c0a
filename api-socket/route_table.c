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
	(void)id;
	(void)reply;
	switch (in->action.action_type) {
	case ACTION_INSTANCE_START:
		if (v->state != VMM_NOT_STARTED)
			return err_set(e, 0, ROUTE_AFTER_START);
		return vmm_start(v, e);
	default:
		if (v->state == VMM_NOT_STARTED)
			return err_set(e, 0, ROUTE_BEFORE_START);
		return err_set(e, 0, "This action is not supported by this version of mote yet.");
	}
}

static int patch_vm(struct vmm *v, const union decode_out *in, const char *id,
		    struct server_reply *reply, struct err *e)
{
	(void)id;
	(void)reply;
	if (in->vm_state.state == VM_STATE_PAUSED)
		return vmm_pause(v, e);
	return vmm_resume(v, e);
}

#define REFUSE(m, p, sentence)                                                                     \
	{                                                                                          \
		.methods = (m), .path = (p), .states = ROUTE_ANY, .refusal = (sentence)            \
	}
#define BY_DESIGN(what)                                                                            \
	what " is not supported by design: mote has net, block and serial devices only."
#define NOT_YET(what) what " is not supported by this version of mote yet."

const struct route routes[] = {
	{ ROUTE_GET, "", false, ROUTE_ANY, NULL, get_instance, NULL },
	{ ROUTE_GET, "version", false, ROUTE_ANY, NULL, get_version, NULL },
	{ ROUTE_GET, "vm/config", false, ROUTE_ANY, NULL, get_vm_config, NULL },
	{ ROUTE_GET, "machine-config", false, ROUTE_ANY, NULL, get_machine_config, NULL },
	{ ROUTE_PUT, "machine-config", false, ROUTE_PRE, &decode_machine_put, put_machine_config,
	  NULL },
	{ ROUTE_PATCH, "machine-config", false, ROUTE_PRE, &decode_machine_patch,
	  patch_machine_config, NULL },
	{ ROUTE_PUT, "boot-source", false, ROUTE_PRE, &decode_boot_source, put_boot_source, NULL },
	{ ROUTE_PUT, "drives", true, ROUTE_PRE, &decode_drive_put, put_drive, NULL },
	{ ROUTE_PUT, "network-interfaces", true, ROUTE_PRE, &decode_net_put, put_net, NULL },
	{ ROUTE_PUT, "actions", false, ROUTE_ANY, &decode_action, put_action, NULL },
	{ ROUTE_PATCH, "vm", false, ROUTE_POST, &decode_vm_patch, patch_vm, NULL },

	{ ROUTE_PATCH, "drives", true, ROUTE_POST, &decode_drive_patch, patch_drive, NULL },
	{ ROUTE_PATCH, "network-interfaces", true, ROUTE_POST, &decode_net_patch, patch_net, NULL },
	{ ROUTE_DELETE, "drives", true, ROUTE_POST, NULL, NULL, NOT_YET("Removing a drive") },
	{ ROUTE_DELETE, "network-interfaces", true, ROUTE_POST, NULL, NULL,
	  NOT_YET("Removing a network interface") },
	REFUSE(ROUTE_PUT, "cpu-config", NOT_YET("A CPU configuration")),
	REFUSE(ROUTE_PUT, "logger", NOT_YET("Configuring the logger")),
	REFUSE(ROUTE_PUT, "metrics", NOT_YET("Configuring metrics")),
	REFUSE(ROUTE_PUT, "serial", NOT_YET("Configuring the serial port")),
	REFUSE(ROUTE_PUT, "snapshot/create", NOT_YET("Creating a snapshot")),
	REFUSE(ROUTE_PUT, "snapshot/load", NOT_YET("Loading a snapshot")),
	REFUSE(ROUTE_GET | ROUTE_PUT | ROUTE_PATCH, "mmds", NOT_YET("The metadata service")),
	REFUSE(ROUTE_GET | ROUTE_PUT | ROUTE_PATCH, "balloon", BY_DESIGN("A balloon device")),
	REFUSE(ROUTE_GET | ROUTE_PUT | ROUTE_PATCH, "hotplug/memory", BY_DESIGN("Memory hot-plug")),
	REFUSE(ROUTE_PUT | ROUTE_PATCH | ROUTE_DELETE, "pmem", BY_DESIGN("A pmem device")),
	REFUSE(ROUTE_PUT, "vsock", BY_DESIGN("A vsock device")),
	REFUSE(ROUTE_PUT, "entropy", BY_DESIGN("An entropy device")),
};

const size_t nr_routes = sizeof(routes) / sizeof(routes[0]);
