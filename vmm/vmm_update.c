/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm_update.c - changes of devices after the start: first the machine's, then the config's, so
 * that /vm/config always says what is in force. Loop thread.
 */
#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "base/fd.h"
#include "vmm/vmm.h"

/* The sentence that clients know for every refused change of a drive. */
static int drive_refused(const char *why, int code, struct err *e)
{
	const char *locked = "";

	if (code == EACCES && landlock_entered() == LANDLOCK_FILES)
		locked =
			": only the files that drives had at the start can be opened, as --landlock "
			"files demands; --landlock actions allows others.";
	err_set(e, 0,
		"Drive config error: Unable to patch the block device: %s%s Please verify the "
		"request arguments.",
		why, locked);
	if (e)
		e->code = code;
	return -code;
}

/* Buckets that are given replace those there are; the others stay. */
static void merge_limiter(bool *has, struct limiter_config *l, const struct limiter_config *u)
{
	if (!*has)
		*l = (struct limiter_config){ .has_ops = false };
	*has = true;
	if (u->has_bandwidth) {
		l->has_bandwidth = true;
		l->bandwidth = u->bandwidth;
	}
	if (u->has_ops) {
		l->has_ops = true;
		l->ops = u->ops;
	}
}

int vmm_update_drive(struct vmm *v, const struct drive_update *u, struct err *e)
{
	size_t i = config_find_drive(&v->config, u->drive_id);
	struct drive_config *d = &v->config.drive[i];
	struct err why;
	int fd;

	assert(v->state != VMM_NOT_STARTED);
	if (i == v->config.nr_drives)
		return drive_refused("Failed perform action on device: Device not found", ENODEV,
				     e);
	/* Nothing to change is what asks a vhost-user drive to look at its back end again. */
	if (d->has_socket && !u->has_path_on_host && !u->has_rate_limiter) {
		if (machine_update_vhost(v->machine, i, &why) == 0)
			return 0;
		err_wrap(&why, "Block");
		return drive_refused(why.msg, why.code, e);
	}
	if (d->has_socket || (!u->has_path_on_host && !u->has_rate_limiter))
		return drive_refused("Block: Running method expected different backend.", EINVAL,
				     e);
	if (u->has_path_on_host) {
		fd = machine_set_drive_file(v->machine, i, u->path_on_host, &why);
		if (fd < 0) {
			err_wrap(&why, "Block");
			return drive_refused(why.msg, why.code, e);
		}
		fd_close(&d->fd);
		d->fd = fd;
		memcpy(d->path_on_host, u->path_on_host, sizeof(d->path_on_host));
	}
	if (u->has_rate_limiter) {
		machine_limit_drive(v->machine, i, &u->rate_limiter);
		merge_limiter(&d->has_rate_limiter, &d->rate_limiter, &u->rate_limiter);
	}
	return 0;
}

int vmm_update_net(struct vmm *v, const struct net_update *u, struct err *e)
{
	size_t i = config_find_net(&v->config, u->iface_id);
	struct net_config *n = &v->config.net[i];

	assert(v->state != VMM_NOT_STARTED);
	if (i == v->config.nr_nets)
		return err_set(e, 0,
			       "Network config error: Unable to update the net device: Failed "
			       "perform action on device: Device not found");
	if (config_check_net_limits(n, u->has_rx_rate_limiter || u->has_tx_rate_limiter, e))
		return err_wrap(e, "Network config error: Unable to update the net device");
	machine_limit_net(v->machine, i, u->has_rx_rate_limiter ? &u->rx_rate_limiter : NULL,
			  u->has_tx_rate_limiter ? &u->tx_rate_limiter : NULL);
	if (u->has_rx_rate_limiter)
		merge_limiter(&n->has_rx_rate_limiter, &n->rx_rate_limiter, &u->rx_rate_limiter);
	if (u->has_tx_rate_limiter)
		merge_limiter(&n->has_tx_rate_limiter, &n->tx_rate_limiter, &u->tx_rate_limiter);
	return 0;
}
