/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net.c - virtio-net: creation, features, and what wakes it; see net.h.
 *
 * Frames are in net_rx.c and net_tx.c. virtio 1.2: 5.1.
 */
#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>

#include "base/byteorder.h"
#include "base/log.h"
#include "base/text.h"
#include "virtio/net_device.h"

#define BIT(n) (UINT64_C(1) << (n))

#define NET_FEATURES                                                                               \
	(BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4) |    \
	 BIT(VIRTIO_NET_F_GUEST_TSO6) | BIT(VIRTIO_NET_F_GUEST_UFO) |                              \
	 BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6) | BIT(VIRTIO_NET_F_HOST_UFO) |  \
	 BIT(VIRTIO_NET_F_MRG_RXBUF))

/* Only where the tap does it. */
#define NET_FEATURES_USO                                                                           \
	(BIT(VIRTIO_NET_F_GUEST_USO4) | BIT(VIRTIO_NET_F_GUEST_USO6) | BIT(VIRTIO_NET_F_HOST_USO))

/* Without virtio-net headers on the wire. */
#define NET_FEATURES_STREAM (BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(VIRTIO_NET_F_STATUS))

/* 5.1.3.1 */
static const struct virtio_need net_needs[] = {
	{ VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_CSUM },
	{ VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_CSUM },
	{ VIRTIO_NET_F_GUEST_UFO, VIRTIO_NET_F_GUEST_CSUM },
	{ VIRTIO_NET_F_HOST_TSO4, VIRTIO_NET_F_CSUM },
	{ VIRTIO_NET_F_HOST_TSO6, VIRTIO_NET_F_CSUM },
	{ VIRTIO_NET_F_HOST_UFO, VIRTIO_NET_F_CSUM },
	{ VIRTIO_NET_F_GUEST_USO4, VIRTIO_NET_F_GUEST_CSUM },
	{ VIRTIO_NET_F_GUEST_USO6, VIRTIO_NET_F_GUEST_CSUM },
	{ VIRTIO_NET_F_HOST_USO, VIRTIO_NET_F_CSUM },
	{ 0, 0 },
};

static struct net *to_net(struct virtio_dev *dev)
{
	_Static_assert(offsetof(struct net, dev) == 0, "dev is first");
	return (struct net *)(void *)dev;
}

void net_watch_tap(struct net *net, bool on)
{
	uint32_t others = net->tap.events & ~(uint32_t)EPOLLIN;

	/* A tap that has gone is no longer watched at all. */
	if (net->tap.added)
		loop_mod(net->dev.host.loop, &net->tap, on ? others | EPOLLIN : others);
}

/* Tell the tap what this driver accepted, before the first frame is read for it. */
static int apply_offload(struct net *net)
{
	if (!net->offload_stale)
		return 0;
	net->offload_stale = false;
	return net->backend == NET_TAP ? tap_set_offload(net->tap.fd, net->dev.driver_features) : 0;
}

static void tap_event(void *ctx, uint32_t events)
{
	struct net *net = ctx;
	struct virtio_dev *dev = &net->dev;
	int ret;

	/* Deleted interface or closed socket: reported for ever, also to a watch that sleeps. */
	if (events & (EPOLLERR | EPOLLHUP)) {
		if (net->stream) {
			net_stream_lost(net, "it closed the connection");
			return;
		}
		metric_inc(&net->metrics.tap_read_fails);
		log_error("%s: its tap has gone; no more frames will be received", dev->name);
		loop_del(dev->host.loop, &net->tap);
		return;
	}
	if (events & EPOLLOUT && net_stream_flush(net))
		virtio_notify(dev, NET_TX);
	if (!(events & EPOLLIN))
		return;
	if (!virtio_active(dev) || !dev->queue[NET_RX].vq.ready ||
	    dev->queue[NET_RX].throttle.closed) {
		net_watch_tap(net, false); /* until the driver, or the timer, comes back */
		return;
	}
	metric_inc(&net->metrics.rx_tap_event_count);
	ret = apply_offload(net);
	if (!ret)
		ret = net_rx_work(net);
	if (ret)
		virtio_queue_failed(dev, NET_RX, ret);
}

static int net_queue_work(struct virtio_dev *dev, unsigned int q)
{
	struct net *net = to_net(dev);
	int ret;

	if (q == NET_TX)
		return net_tx_work(net);
	metric_inc(&net->metrics.rx_queue_event_count);
	ret = apply_offload(net);
	return ret ? ret : net_rx_work(net);
}

static int net_activate(struct virtio_dev *dev)
{
	/* The ioctl waits for the loop: vCPU threads need no right to talk to the tap. */
	to_net(dev)->offload_stale = true;
	return 0;
}

static void net_reset(struct virtio_dev *dev)
{
	net_rx_reset(to_net(dev));
}

static const struct virtio_class net_class = {
	.name = "virtio-net",
	.device_id = VIRTIO_ID_NET,
	.nr_queues = 2,
	.config_len = offsetof(struct virtio_net_config, mtu) + sizeof(uint16_t),
	.needs = net_needs,
	.activate = net_activate,
	.reset = net_reset,
	.queue_work = net_queue_work,
};

/* What this back end can do; leaves the tap without offloads, as it was. */
static uint64_t offered(const struct net_params *params)
{
	if (params->backend == NET_STREAM)
		return NET_FEATURES_STREAM;
	if (params->backend == NET_TAP &&
	    (tap_set_offload(params->fd, BIT(VIRTIO_NET_F_GUEST_CSUM) | NET_FEATURES_USO) ||
	     tap_set_offload(params->fd, 0)))
		return NET_FEATURES;
	return NET_FEATURES | NET_FEATURES_USO;
}

int net_create(struct net **out, const struct net_params *params, const struct virtio_host *host,
	       struct err *e)
{
	uint64_t features = offered(params);
	struct net *net = calloc(1, sizeof(*net));
	struct throttle *rx, *tx;
	char name[VIRTIO_NAME_MAX];
	int ret;

	text_print(name, sizeof(name), "network interface %s", params->id);
	if (!net)
		return err_set(e, ENOMEM, "%s", name);
	if (params->has_mac)
		features |= BIT(VIRTIO_NET_F_MAC);
	if (params->has_mtu)
		features |= BIT(VIRTIO_NET_F_MTU);
	ret = virtio_init(&net->dev, &net_class, host, features, name, e);
	if (ret) {
		free(net);
		return ret;
	}
	rx = &net->dev.queue[NET_RX].throttle;
	tx = &net->dev.queue[NET_TX].throttle;
	rx->fired = &net->metrics.rx_event_rate_limiter_count;
	rx->throttled = &net->metrics.rx_rate_limiter_throttled;
	tx->fired = &net->metrics.tx_rate_limiter_event_count;
	tx->throttled = &net->metrics.tx_rate_limiter_throttled;
	net->backend = params->backend;
	net->has_mac = params->has_mac;
	if (params->has_mac)
		memcpy(net->dev.config + offsetof(struct virtio_net_config, mac), params->mac,
		       sizeof(params->mac));
	if (params->has_mtu)
		le16_put(net->dev.config + offsetof(struct virtio_net_config, mtu), params->mtu);
	/* Asleep until the guest offers buffers. */
	net->tap = (struct watch){
		.fd = params->fd,
		.fn = tap_event,
		.ctx = net,
		.lock = host->lock,
	};
	net->tx_sent.watch.fd = -1;
	ret = timer_init(&net->tx_sent, host->loop, net_tx_sent, net, host->lock, e);
	if (!ret && params->backend == NET_STREAM) {
		net->stream = calloc(1, sizeof(*net->stream));
		ret = net->stream ? net_stream_init(net, params->path, e) :
				    err_set(e, ENOMEM, "stream");
	}
	if (!ret)
		ret = loop_add(host->loop, &net->tap, e);
	if (ret) {
		net_destroy(net);
		return err_wrap(e, "%s", name);
	}
	*out = net;
	return 0;
}

void net_destroy(struct net *net)
{
	if (!net)
		return;
	loop_del(net->dev.host.loop, &net->tap);
	timer_fini(&net->tx_sent, net->dev.host.loop);
	if (net->stream)
		net_stream_fini(net);
	free(net->stream);
	virtio_fini(&net->dev);
	free(net);
}

struct virtio_dev *net_virtio(struct net *net)
{
	return &net->dev;
}

struct net_metrics *net_metrics(struct net *net)
{
	return &net->metrics;
}
