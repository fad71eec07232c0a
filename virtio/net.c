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

#include "base/assert.h"
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
	{ VIRTIO_NET_F_MQ, VIRTIO_NET_F_CTRL_VQ },
	{ 0, 0 },
};

static struct net *to_net(struct virtio_dev *dev)
{
	_Static_assert(offsetof(struct net, dev) == 0, "dev is first");
	return (struct net *)(void *)dev;
}

void net_watch_tap(struct net_pair *p, bool on)
{
	uint32_t others = p->tap.events & ~(uint32_t)EPOLLIN;

	/* A tap that has gone is no longer watched at all. */
	if (p->tap.added)
		loop_mod(p->net->dev.host.loop, &p->tap, on ? others | EPOLLIN : others);
}

int net_use_pairs(struct net *net, unsigned int nr)
{
	for (unsigned int i = 0; i < net->nr_pairs; i++) {
		struct net_pair *p = &net->pair[i];
		bool detach = i >= nr;
		int ret;

		if (p->detached == detach)
			continue;
		ret = net->backend == NET_TAP ? tap_set_queue(p->tap.fd, !detach) : 0;
		if (ret)
			return ret;
		p->detached = detach;
	}
	for (unsigned int i = net->nr_active; i < nr; i++) {
		virtio_notify(&net->dev, net->pair[i].rx);
		virtio_notify(&net->dev, net->pair[i].tx);
	}
	net->nr_active = nr;
	return 0;
}

/* Tell the tap what this driver accepted, before the first frame is read for it. */
static int apply(struct net *net)
{
	int ret;

	if (!net->stale)
		return 0;
	net->stale = false;
	ret = net_use_pairs(net, 1); /* until the driver asks for more (5.1.6.5.5) */
	if (!ret && net->backend == NET_TAP)
		ret = tap_set_offload(net->pair[0].tap.fd, net->dev.driver_features);
	return !ret && net->vhost.on ? net_vhost_start(net) : ret;
}

bool net_admit(struct net *net, unsigned int dir, uint64_t nr_bytes)
{
	if (!net->dev.queue[dir].throttle.closed && virtio_admit(&net->dev, dir, nr_bytes))
		return true;
	net->waits[dir] = true;
	return false;
}

/*
 * Whether to look for frames in the tap now that some were sent. A peer on this host has often
 * answered by then, with ACKs at least, and one interrupt tells the guest of both. A peer far away
 * has not: after a look for nothing, leave it for longer each time.
 */
static bool looks_for_answers(struct net_pair *p)
{
	if (p->net->stream || !(p->tap.events & EPOLLIN))
		return false;
	if (!p->nr_looks_off)
		return true;
	p->nr_looks_off--;
	return false;
}

static int rx_work(struct net_pair *p)
{
	metric_inc(&p->net->metrics.rx_queue_event_count);
	return net_rx_work(p);
}

static int tx_work(struct net_pair *p)
{
	const struct vq *rx = &p->net->dev.queue[p->rx].vq;
	uint16_t before = rx->next_used;
	int ret = net_tx_work(p), ret2;

	if (ret < 0 || !looks_for_answers(p)) {
		ret2 = net_signal(p);
	} else {
		ret2 = net_rx_work(p);
		p->nr_misses = rx->next_used == before ? (uint8_t)(2 * p->nr_misses + 1) : 0;
		p->nr_looks_off = p->nr_misses;
	}
	if (ret2)
		virtio_queue_failed(&p->net->dev, p->rx, ret2);
	return ret;
}

static int pair_work(struct net_pair *p, unsigned int dir)
{
	return dir == NET_TX ? tx_work(p) : rx_work(p);
}

/*
 * The limits of direction @dir, which the first pair has, are open again after a pair had to wait:
 * each has its turn, and each time another one begins, or the first would leave nothing to them.
 */
static void go_on(struct net *net, unsigned int dir)
{
	unsigned int turn = net->turn++;

	net->waits[dir] = false;
	for (unsigned int i = 0; i < net->nr_active && !net->waits[dir] && virtio_active(&net->dev);
	     i++) {
		struct net_pair *p = &net->pair[(turn + i) % net->nr_active];
		unsigned int q = dir == NET_TX ? p->tx : p->rx;
		int ret = net->dev.queue[q].vq.ready ? pair_work(p, dir) : 0;

		if (ret > 0)
			virtio_notify(&net->dev, q);
		else if (ret < 0)
			virtio_queue_failed(&net->dev, q, ret);
	}
}

static void tap_event(void *ctx, uint32_t events)
{
	struct net_pair *p = ctx;
	struct net *net = p->net;
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
		loop_del(dev->host.loop, &p->tap);
		return;
	}
	if (events & EPOLLOUT && net_stream_flush(net))
		virtio_notify(dev, NET_TX);
	if (!(events & EPOLLIN))
		return;
	if (!virtio_active(dev) || !dev->queue[p->rx].vq.ready || p->detached ||
	    dev->queue[NET_RX].throttle.closed) {
		net->waits[NET_RX] |= dev->queue[NET_RX].throttle.closed;
		net_watch_tap(p, false); /* until the driver, or the timer, comes back */
		return;
	}
	metric_inc(&net->metrics.rx_tap_event_count);
	ret = apply(net);
	if (!ret)
		ret = net_rx_work(p);
	if (ret)
		virtio_queue_failed(dev, p->rx, ret);
}

/* 5.1.2: behind all pairs; a driver without MQ finds it behind the first. */
static bool is_ctrl(const struct net *net, unsigned int q)
{
	return virtio_has(&net->dev, VIRTIO_NET_F_CTRL_VQ) &&
	       q == 2 * (virtio_has(&net->dev, VIRTIO_NET_F_MQ) ? net->nr_pairs : 1);
}

static int net_queue_work(struct virtio_dev *dev, unsigned int q)
{
	struct net *net = to_net(dev);
	unsigned int dir = q % 2;
	int ret = apply(net);

	if (ret)
		return ret;
	if (is_ctrl(net, q))
		return net_ctrl_work(net, q);
	/* Queues that are not in use are not looked at; they are when they come into use. */
	if (net->vhost.on || q >= 2 * net->nr_active)
		return 0;
	if (dev->queue[dir].throttle.closed) {
		net->waits[dir] = true;
		return 0;
	}
	if (!net->waits[dir])
		return pair_work(&net->pair[q / 2], dir);
	go_on(net, dir);
	return 0;
}

static int net_activate(struct virtio_dev *dev)
{
	/* The ioctl waits for the loop: vCPU threads need no right to talk to the tap. */
	to_net(dev)->stale = true;
	return 0;
}

static void net_reset(struct virtio_dev *dev)
{
	struct net *net = to_net(dev);

	net_vhost_stop(net);
	for (unsigned int i = 0; i < net->nr_pairs; i++)
		net_rx_reset(&net->pair[i]);
}

static const struct virtio_class net_class = {
	.name = "virtio-net",
	.device_id = VIRTIO_ID_NET,
	.config_len = offsetof(struct virtio_net_config, mtu) + sizeof(uint16_t),
	.needs = net_needs,
	.activate = net_activate,
	.reset = net_reset,
	.queue_work = net_queue_work,
};

/* What this back end can do; leaves the tap without offloads, as it was. */
static uint64_t offered(const struct net_params *params)
{
	uint64_t features = NET_FEATURES;

	if (params->backend == NET_STREAM)
		return NET_FEATURES_STREAM;
	if (params->backend != NET_TAP ||
	    (!tap_set_offload(params->fd[0], BIT(VIRTIO_NET_F_GUEST_CSUM) | NET_FEATURES_USO) &&
	     !tap_set_offload(params->fd[0], 0)))
		features |= NET_FEATURES_USO;
	if (params->nr_pairs > 1)
		features |= BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_MQ);
	return features;
}

static int pair_init(struct net *net, unsigned int i, int fd, struct err *e)
{
	struct virtio_dev *dev = &net->dev;
	struct net_pair *p = &net->pair[i];

	/* Asleep until the guest offers buffers. */
	*p = (struct net_pair){
		.net = net,
		.rx = 2 * i,
		.tx = 2 * i + 1,
		.tap = { .fd = fd, .fn = tap_event, .ctx = p, .lock = dev->host.lock },
		.tx_sent.watch.fd = -1,
	};
	return timer_init(&p->tx_sent, dev->host.loop, net_tx_sent, p, dev->host.lock, e);
}

/* What the driver may read about the interface, and the counters of its limits. */
static void describe(struct net *net, const struct net_params *params)
{
	struct throttle *rx = &net->dev.queue[NET_RX].throttle;
	struct throttle *tx = &net->dev.queue[NET_TX].throttle;
	uint8_t *config = net->dev.config;

	rx->fired = &net->metrics.rx_event_rate_limiter_count;
	rx->throttled = &net->metrics.rx_rate_limiter_throttled;
	tx->fired = &net->metrics.tx_rate_limiter_event_count;
	tx->throttled = &net->metrics.tx_rate_limiter_throttled;
	net->backend = params->backend;
	net->has_mac = params->has_mac;
	if (params->has_mac)
		memcpy(config + offsetof(struct virtio_net_config, mac), params->mac,
		       sizeof(params->mac));
	if (params->has_mtu)
		le16_put(config + offsetof(struct virtio_net_config, mtu), params->mtu);
	if (net->nr_pairs > 1)
		le16_put(config + offsetof(struct virtio_net_config, max_virtqueue_pairs),
			 (uint16_t)net->nr_pairs);
}

int net_create(struct net **out, const struct net_params *params, const struct virtio_host *host,
	       struct err *e)
{
	unsigned int nr = params->nr_pairs > 1 ? params->nr_pairs : 1;
	uint64_t features = offered(params);
	struct net *net = calloc(1, sizeof(*net) + nr * sizeof(net->pair[0]));
	char name[VIRTIO_NAME_MAX];
	int ret;

	assert(nr <= NET_PAIRS_MAX);
	text_print(name, sizeof(name), "network interface %s", params->id);
	if (!net)
		return err_set(e, ENOMEM, "%s", name);
	if (params->has_mac)
		features |= BIT(VIRTIO_NET_F_MAC);
	if (params->has_mtu)
		features |= BIT(VIRTIO_NET_F_MTU);
	net->nr_pairs = nr;
	net->nr_active = nr; /* as the tap has them when it was opened */
	net->dev.nr_queues = nr > 1 ? 2 * nr + 1 : 2;
	ret = virtio_init(&net->dev, &net_class, host, features, name, e);
	if (ret) {
		free(net);
		return ret;
	}
	describe(net, params);
	for (unsigned int i = 0; i < nr; i++) {
		int failed = pair_init(net, i, params->fd[i], ret ? NULL : e);

		ret = ret ? ret : failed;
	}
	if (!ret && params->backend == NET_STREAM) {
		net->stream = calloc(1, sizeof(*net->stream));
		ret = net->stream ? net_stream_init(net, params->path, e) :
				    err_set(e, ENOMEM, "stream");
	}
	if (!ret && params->vhost)
		ret = net_vhost_init(net, e);
	for (unsigned int i = 0; !ret && !params->vhost && i < nr; i++)
		ret = loop_add(host->loop, &net->pair[i].tap, e);
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
	for (unsigned int i = 0; i < net->nr_pairs; i++) {
		loop_del(net->dev.host.loop, &net->pair[i].tap);
		timer_fini(&net->pair[i].tx_sent, net->dev.host.loop);
	}
	if (net->vhost.on)
		net_vhost_fini(net);
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
