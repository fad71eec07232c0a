/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_net.c - the judgement on network interfaces, and what host_dev_name can mean:
 * the name of a tap, fd:N for a tap that was handed in, unix:PATH for passt's socket. The names of
 * interfaces have neither ':' nor '/'. Loop thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/fd.h"
#include "virtio/net.h"
#include "vmm/config.h"

_Static_assert(CONFIG_NET_PAIRS_MAX == NET_PAIRS_MAX, "both are the most queue pairs");

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
static int open_tap(const char *name, bool multi, struct err *e)
{
	struct err cause = { 0 };
	int fd = tap_open(name, multi, &cause);

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
		for (size_t i = 0; !ret && i < c->nr_nets * NET_PAIRS_MAX; i++) {
			const struct net_config *n = &c->net[i / NET_PAIRS_MAX];

			if (i % NET_PAIRS_MAX < config_net_pairs(n) &&
			    n->tap_fd[i % NET_PAIRS_MAX] == fd)
				ret = err_set(e, EBUSY, "interface %s has it", n->iface_id);
		}
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

unsigned int config_net_pairs(const struct net_config *n)
{
	return n->has_queue_pairs ? n->queue_pairs : 1;
}

void config_close_net(struct net_config *n)
{
	for (unsigned int i = 0; i < config_net_pairs(n); i++)
		fd_close(&n->tap_fd[i]);
}

/* Open what host_dev_name says, into n->tap_fd. On failure nothing stays open. */
static int open_backend(const struct config *c, struct net_config *n, struct err *e)
{
	const char *number = config_net_after(n, CONFIG_NET_FD);
	const char *path = config_net_after(n, CONFIG_NET_UNIX);
	unsigned int nr = config_net_pairs(n);
	int fd;

	if (nr > 1 && (number || path))
		return err_set(e, 0, "%s has one queue pair, not %u; give the name of a tap",
			       n->host_dev_name, nr);
	for (unsigned int i = 0; i < nr; i++) {
		if (number)
			fd = take_fd(c, number, e);
		else if (path)
			fd = net_stream_open(path, e);
		else
			fd = open_tap(n->host_dev_name, nr > 1, e);
		if (fd < 0) {
			while (i-- > 0)
				fd_close(&n->tap_fd[i]);
			return path ? err_wrap(e, "Stream socket") : fd;
		}
		n->tap_fd[i] = fd;
	}
	return 0;
}

int config_check_net_limits(const struct net_config *n, bool any, struct err *e)
{
	if (!n->vhost || !any)
		return 0;
	return err_set(e, 0,
		       "with vhost the host's kernel moves the frames, so there are no rate "
		       "limiters");
}

/*
 * The machine opens one for each queue pair. Not here, where it may be in vain: to let go of one
 * takes the kernel a grace period.
 */
static int check_vhost(const struct net_config *n, struct err *e)
{
	bool any = n->has_rx_rate_limiter || n->has_tx_rate_limiter;
	int fd, ret = config_check_net_limits(n, any, e);

	if (ret)
		return ret;
	if (config_net_after(n, CONFIG_NET_UNIX))
		return err_set(e, 0, "vhost needs a TAP, which %s is not", n->host_dev_name);
	fd = net_vhost_open(O_PATH, e);
	if (fd < 0)
		return fd;
	fd_close(&fd);
	return 0;
}

static int check_ranges(const struct net_config *n, struct err *e)
{
	if (n->has_mtu && n->mtu < CONFIG_MTU_MIN)
		return err_set(e, 0, "MTU %d is out of range [%d, 65535]", n->mtu, CONFIG_MTU_MIN);
	if (n->has_queue_pairs && (n->queue_pairs < 1 || n->queue_pairs > NET_PAIRS_MAX))
		return err_set(e, 0, "%d queue pairs are out of range [1, %d]", n->queue_pairs,
			       NET_PAIRS_MAX);
	return n->vhost ? check_vhost(n, e) : 0;
}

int config_put_net(struct config *c, const struct net_config *n, struct err *e)
{
	size_t i = config_find_net(c, n->iface_id);
	struct net_config *old = i < c->nr_nets ? &c->net[i] : NULL;
	struct net_config new = *n;
	int ret;

	ret = check_net(c, n, i, e);
	if (ret)
		return ret;
	ret = check_ranges(n, e);
	if (ret) {
		/* said below */
	} else if (old && !strcmp(n->host_dev_name, old->host_dev_name) &&
		   config_net_pairs(n) == config_net_pairs(old)) {
		/* A tap has one user: opening it again would find it busy with ourselves. */
		memcpy(new.tap_fd, old->tap_fd, sizeof(new.tap_fd));
	} else {
		ret = open_backend(c, &new, e);
		if (!ret && old)
			config_close_net(old);
	}
	if (ret)
		return err_wrap(e, "Network config error: Could not create the network device");
	if (old) {
		c->nr_nets--;
		if (i != c->nr_nets)
			c->net[i] = c->net[c->nr_nets];
	}
	c->net[c->nr_nets] = new;
	c->nr_nets++;
	return 0;
}
