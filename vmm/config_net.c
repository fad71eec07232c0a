/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_net.c - the judgement on network interfaces, and what host_dev_name can mean:
 * the name of a tap, fd:N for a tap that was handed in, unix:PATH for passt's socket. The names of
 * interfaces have neither ':' nor '/'. Loop thread.
 */
#include <errno.h>
#include <string.h>

#include "base/fd.h"
#include "virtio/net.h"
#include "vmm/config.h"

size_t config_find_net(const struct config *c, const char *id)
{
	size_t i;

	for (i = 0; i < c->nr_nets; i++)
		if (!strcmp(c->net[i].iface_id, id))
			break;
	return i;
}

static int check_net(const struct config *c, const struct net_config *n, size_t place,
		     struct err *e)
{
	size_t i;

	for (i = 0; n->has_guest_mac && i < c->nr_nets; i++) {
		const struct net_config *other = &c->net[i];
		const uint8_t *m = n->guest_mac;

		if (i != place && other->has_guest_mac && !memcmp(m, other->guest_mac, 6))
			return err_set(e, 0,
				       "Network config error: The MAC address is already in use: "
				       "%02x:%02x:%02x:%02x:%02x:%02x",
				       m[0], m[1], m[2], m[3], m[4], m[5]);
	}
	if (place == CONFIG_SLOTS_MAX)
		return err_set(e, 0,
			       "Network config error: no room for interface %s: at most %d "
			       "interfaces can be configured",
			       n->iface_id, CONFIG_SLOTS_MAX);
	return 0;
}

/* Clients match everything up to "devices."; the rest says what really went wrong. */
static int open_tap(const char *name, struct err *e)
{
	struct err cause = { 0 };
	int fd = tap_open(name, &cause);

	if (fd >= 0)
		return fd;
	err_set(e, 0,
		"Open tap device failed: Error while creating ifreq structure: %s (os error %d). "
		"Invalid TUN/TAP Backend provided by %s. Check our documentation on setting up the "
		"network devices. %s",
		strerror(-fd), -fd, name, cause.msg);
	if (e)
		e->code = -fd;
	return fd;
}

/* The number in fd:N, or -1. */
static int parse_fd(const char *s)
{
	int fd = 0;

	if (!*s)
		return -1;
	for (; *s; s++) {
		if (*s < '0' || *s > '9' || fd > CONFIG_FD_MAX)
			return -1;
		fd = fd * 10 + (*s - '0');
	}
	return fd;
}

/* From now on the descriptor is ours. */
static int take_fd(const struct config *c, const char *number, struct err *e)
{
	int fd = parse_fd(number), ret = -EINVAL;

	if (fd < 0) {
		err_set(e, 0, "write fd:N with the number of an open descriptor");
	} else {
		ret = tap_adopt(fd, e);
		for (size_t i = 0; !ret && i < c->nr_nets; i++)
			if (c->net[i].tap_fd == fd)
				ret = err_set(e, EBUSY, "interface %s has it", c->net[i].iface_id);
	}
	if (ret)
		return err_wrap(e, "TAP descriptor fd:%s", number);
	return fd;
}

const char *config_net_after(const struct net_config *n, const char *prefix)
{
	size_t len = strlen(prefix);

	return strncmp(n->host_dev_name, prefix, len) ? NULL : n->host_dev_name + len;
}

static int open_backend(const struct config *c, const struct net_config *n, struct err *e)
{
	const char *number = config_net_after(n, CONFIG_NET_FD);
	const char *path = config_net_after(n, CONFIG_NET_UNIX);
	int fd;

	if (number)
		return take_fd(c, number, e);
	if (!path)
		return open_tap(n->host_dev_name, e);
	fd = net_stream_open(path, e);
	return fd < 0 ? err_wrap(e, "Stream socket") : fd;
}

int config_put_net(struct config *c, const struct net_config *n, struct err *e)
{
	size_t i = config_find_net(c, n->iface_id);
	bool replace = i < c->nr_nets;
	int fd, ret;

	ret = check_net(c, n, i, e);
	if (ret)
		return ret;
	if (n->has_mtu && n->mtu < CONFIG_MTU_MIN)
		fd = err_set(e, 0, "MTU %d is out of range [%d, 65535]", n->mtu, CONFIG_MTU_MIN);
	else if (replace && !strcmp(n->host_dev_name, c->net[i].host_dev_name))
		/* A tap has one user: opening it again would find it busy with ourselves. */
		fd = c->net[i].tap_fd;
	else
		fd = open_backend(c, n, e);
	if (fd < 0)
		return err_wrap(e, "Network config error: Could not create the network device");
	if (replace) {
		if (fd != c->net[i].tap_fd)
			fd_close(&c->net[i].tap_fd);
		c->nr_nets--;
		if (i != c->nr_nets)
			c->net[i] = c->net[c->nr_nets];
	}
	c->net[c->nr_nets] = *n;
	c->net[c->nr_nets].tap_fd = fd;
	c->nr_nets++;
	return 0;
}
