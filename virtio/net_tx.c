/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net_tx.c - frames from the guest to the tap.
 *
 * The two headers are copied and judged; the rest goes from guest RAM into the kernel. What the
 * guest says about checksum and segmentation is never passed on unseen: offsets beyond the frame
 * have broken other monitors and kernels. Loop thread. virtio 1.2: 5.1.6.2.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#include "base/byteorder.h"
#include "virtio/net_device.h"

/* Offsets in the header. */
#define HDR(field) offsetof(struct virtio_net_hdr_v1, field)

/* Kinds of segmentation and the feature that permits each. ECN variants are not offered. */
static const struct {
	uint8_t gso_type;
	uint8_t feature;
} gso_kind[] = {
	{ VIRTIO_NET_HDR_GSO_TCPV4, VIRTIO_NET_F_HOST_TSO4 },
	{ VIRTIO_NET_HDR_GSO_TCPV6, VIRTIO_NET_F_HOST_TSO6 },
	{ VIRTIO_NET_HDR_GSO_UDP, VIRTIO_NET_F_HOST_UFO },
	{ VIRTIO_NET_HDR_GSO_UDP_L4, VIRTIO_NET_F_HOST_USO },
};

static bool gso_allowed(const struct net *net, uint8_t gso_type)
{
	for (size_t i = 0; i < sizeof(gso_kind) / sizeof(gso_kind[0]); i++)
		if (gso_kind[i].gso_type == gso_type)
			return virtio_has(&net->dev, gso_kind[i].feature);
	return false;
}

/*
 * Build the header for the tap from the guest's: only fields that mean something, and only after
 * they fit a frame of @len bytes. False: the frame is malformed.
 */
static bool tx_header(const struct net *net, const uint8_t *guest, uint32_t len, uint8_t *out)
{
	uint32_t csum_start = le16_get(guest + HDR(csum_start));
	uint32_t csum_offset = le16_get(guest + HDR(csum_offset));
	uint32_t gso_size = le16_get(guest + HDR(gso_size));
	uint32_t hdr_len = le16_get(guest + HDR(hdr_len));
	uint8_t gso_type = guest[HDR(gso_type)];
	bool csum = guest[HDR(flags)] & VIRTIO_NET_HDR_F_NEEDS_CSUM;

	memset(out, 0, NET_HDR_LEN);
	if (csum) {
		/* The checksum is two bytes; 32-bit sums of 16-bit fields cannot wrap. */
		if (!virtio_has(&net->dev, VIRTIO_NET_F_CSUM) || csum_start + csum_offset + 2 > len)
			return false;
		out[HDR(flags)] = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		le16_put(out + HDR(csum_start), (uint16_t)csum_start);
		le16_put(out + HDR(csum_offset), (uint16_t)csum_offset);
	}
	if (gso_type == VIRTIO_NET_HDR_GSO_NONE)
		return true;
	if (!csum || !gso_allowed(net, gso_type) || gso_size == 0 || gso_size > len ||
	    hdr_len > len)
		return false;
	out[HDR(gso_type)] = gso_type;
	le16_put(out + HDR(gso_size), (uint16_t)gso_size);
	le16_put(out + HDR(hdr_len), (uint16_t)hdr_len);
	return true;
}

/*
 * One frame, all or nothing. A full or vanished tap loses it, as a wire would. *now_us is the time,
 * before and after: what mote does between two frames takes less than a microsecond, so one look
 * at the clock for each is enough.
 */
static void tx_write(const struct net_pair *p, size_t nr_iov, uint32_t len, uint64_t *now_us)
{
	struct net *net = p->net;
	struct net_metrics *m = &net->metrics;
	uint64_t start_us = *now_us;
	ssize_t n;

	if (net->stream) {
		n = net_stream_write(net, net->tx_iov, nr_iov);
	} else {
		do {
			n = writev(p->tap.fd, net->tx_iov, (int)nr_iov);
		} while (n < 0 && errno == EINTR);
	}
	if (n < 0) {
		metric_inc(&m->tap_write_fails);
		metric_inc(&m->tx_fails);
		return;
	}
	*now_us = virtio_now_us();
	virtio_agg_add(&m->tap_write_agg, *now_us - start_us);
	metric_inc(&m->tx_count);
	metric_inc(&m->tx_packets_count);
	metric_add(&m->tx_bytes_count, len);
}

/* The length of the frame in a chain, 0 when it cannot be one. */
static uint32_t tx_len(const struct vq_chain *c)
{
	if (c->readable_left < NET_HDR_LEN + NET_FRAME_MIN ||
	    c->readable_left > NET_HDR_LEN + NET_FRAME_MAX)
		return 0;
	return (uint32_t)c->readable_left - NET_HDR_LEN;
}

/* Send the frame of @len bytes in net->chain. False when it was malformed. */
static bool tx_frame(const struct net_pair *p, uint32_t len, uint64_t *now_us)
{
	static const size_t src_mac = NET_HDR_LEN + 6;
	uint8_t guest[NET_HDR_LEN];
	uint8_t head[NET_HDR_LEN + NET_FRAME_MIN];
	struct net *net = p->net;
	struct vq_chain *c = &net->chain;
	size_t nr_iov, start = 0;
	uint32_t len_be;

	if (vq_chain_pull(c, guest, sizeof(guest)) || !tx_header(net, guest, len, head) ||
	    vq_chain_pull(c, head + NET_HDR_LEN, NET_FRAME_MIN))
		return false;
	/* The copy is what is sent, so what was judged here cannot change on the way. */
	if (net->has_mac && memcmp(head + src_mac, net->dev.config, 6) != 0)
		metric_inc(&net->metrics.tx_spoofed_mac_count);

	if (net->stream) {
		/* In place of the header: the length, right before the frame. */
		len_be = htobe32(len);
		start = NET_HDR_LEN - sizeof(len_be);
		memcpy(head + start, &len_be, sizeof(len_be));
	}
	net->tx_iov[0] = (struct iovec){ head + start, sizeof(head) - start };
	if (vq_chain_iov(c, VQ_READABLE, len - NET_FRAME_MIN, net->tx_iov + 1, &nr_iov,
			 VQ_SIZE_MAX) != len - NET_FRAME_MIN)
		return false;
	tx_write(p, nr_iov + 1, len, now_us);
	return true;
}

void net_tx_sent(void *ctx)
{
	struct net_pair *p = ctx;
	int ret;

	p->tx_quiet = false;
	if (!virtio_active(&p->net->dev))
		return;
	p->tx_quiet_bytes = 0;
	ret = virtio_signal(&p->net->dev, p->tx);
	if (ret)
		virtio_queue_failed(&p->net->dev, p->tx, ret);
}

int net_signal(struct net_pair *p)
{
	struct virtio_dev *dev = &p->net->dev;
	struct vq *rx = &dev->queue[p->rx].vq, *tx = &dev->queue[p->tx].vq;
	int ret = vq_publish(rx);
	uint16_t nr_sent = vq_nr_quiet(tx);
	bool wanted;

	if (ret)
		return ret;
	wanted = vq_should_notify(rx);
	if (nr_sent && (wanted || nr_sent >= NET_TX_QUIET_MAX || nr_sent >= tx->ring.size / 4 ||
			p->tx_quiet_bytes >= NET_TX_QUIET_BYTES)) {
		p->tx_quiet_bytes = 0;
		wanted |= vq_should_notify(tx);
	} else if (nr_sent && !p->tx_quiet) {
		p->tx_quiet = true;
		timer_arm(&p->tx_sent, NET_TX_QUIET_US);
	}
	if (wanted)
		virtio_interrupt(dev);
	return 0;
}

int net_tx_work(struct net_pair *p)
{
	struct net *net = p->net;
	struct vq *vq = &p->net->dev.queue[p->tx].vq;
	uint64_t nr_bytes = 0, now_us = virtio_now_us();
	int ret = 1;

	metric_inc(&net->metrics.tx_queue_event_count);
	vq_disable_kick(vq);
	for (int nr = 0; nr < NET_FRAMES_PER_EVENT && nr_bytes < NET_BYTES_PER_EVENT; nr++) {
		uint32_t len;

		if (net->stream && !net_stream_flush(net)) {
			ret = 0; /* its event goes on */
			break;
		}
		ret = vq_pop(vq, &net->chain);
		if (ret == 0 && !vq_enable_kick(vq)) {
			if (nr == 0)
				metric_inc(&net->metrics.no_tx_avail_buffer);
			virtio_idle(&net->dev, NET_TX);
			break;
		}
		if (ret < 0)
			break;
		if (ret == 0) {
			ret = 1; /* arrived just now; again, and it counts as a look */
			continue;
		}
		len = tx_len(&net->chain);
		if (len && !net_admit(net, NET_TX, len)) {
			vq_unpop(vq, &net->chain);
			ret = 0;
			break;
		}
		if (!len || !tx_frame(p, len, &now_us))
			metric_inc(&net->metrics.tx_malformed_frames);
		nr_bytes += len;
		if (vq_complete(vq, net->chain.head, 0)) {
			ret = -EBADMSG;
			break;
		}
	}
	if (ret > 0)
		metric_inc(&net->metrics.tx_remaining_reqs_count);
	p->tx_quiet_bytes += nr_bytes;
	if (vq_publish(vq))
		ret = -EBADMSG;
	return ret;
}
