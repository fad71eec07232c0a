/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net_rx.c - frames from the tap to the guest.
 *
 * readv goes straight into buffers that were popped beforehand; what a frame does not use stays for
 * the next one. Without buffers the tap is not watched, so nothing spins, and the guest's next kick
 * continues. Loop thread, net_rx_reset also vCPU threads. virtio 1.2: 5.1.6.3, 5.1.6.4.
 */
#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#include "base/byteorder.h"
#include "virtio/net_device.h"

void net_rx_reset(struct net_pair *p)
{
	p->rx_roomy = false;
	p->nr_rx = 0;
	p->nr_rx_iov = 0;
	p->rx_len = 0;
	p->held = 0;
	if (p->net->stream)
		net_stream_reset(p->net);
}

/* Whether another buffer is of use and fits. */
static bool rx_wants_buffer(const struct net_pair *p, bool mergeable)
{
	if (p->nr_rx == NET_RX_BUFS || p->nr_rx_iov + VQ_SIZE_MAX > NET_RX_IOVS)
		return false;
	return mergeable ? p->rx_len < NET_RX_MAX : p->nr_rx == 0;
}

/* Drop the first @nr_bytes of the iovecs. */
static void rx_advance(struct net_pair *p, uint32_t nr_bytes)
{
	struct iovec *v = p->rx_iov;

	while (nr_bytes && v->iov_len <= nr_bytes) {
		nr_bytes -= (uint32_t)v->iov_len;
		v++;
	}
	p->nr_rx_iov -= (uint32_t)(v - p->rx_iov);
	memmove(p->rx_iov, v, p->nr_rx_iov * sizeof(*v));
	if (nr_bytes) {
		p->rx_iov[0].iov_base = (uint8_t *)p->rx_iov[0].iov_base + nr_bytes;
		p->rx_iov[0].iov_len -= nr_bytes;
	}
}

/* Append the chain that was popped. 0 or -EBADMSG. */
static int rx_take(struct net_pair *p, struct vq_chain *c)
{
	uint64_t len;
	size_t nr_iov;

	if (c->writable_left < NET_HDR_LEN)
		return vq_refuse(&p->net->dev.queue[p->rx].vq,
				 "receive buffer smaller than a header");
	/* Longer buffers are cut: the rest of them is never needed. */
	len = vq_chain_iov(c, VQ_WRITABLE, NET_RX_MAX, p->rx_iov + p->nr_rx_iov, &nr_iov,
			   VQ_SIZE_MAX);
	p->rx_buf[p->nr_rx++] = (struct vq_buf){ .head = c->head, .len = (uint32_t)len };
	p->nr_rx_iov += (uint32_t)nr_iov;
	p->rx_len += (uint32_t)len;
	return 0;
}

/* Append as many as are needed of the plain ones, which are nearly all. */
static size_t rx_take_plain(struct net_pair *p, struct vq *vq)
{
	struct vq_bufs to = {
		.buf = p->rx_buf + p->nr_rx,
		.max = NET_RX_BUFS - p->nr_rx,
		.iov = p->rx_iov,
		.nr_iov = p->nr_rx_iov,
	};
	size_t nr = vq_pop_buffers(vq, NET_HDR_LEN, NET_RX_MAX, NET_RX_MAX - p->rx_len, &to);

	p->nr_rx_iov = to.nr_iov;
	for (size_t i = 0; i < nr; i++)
		p->rx_len += p->rx_buf[p->nr_rx++].len;
	return nr;
}

/* Pop buffers until the largest frame fits or the guest has none left. 0 or -EBADMSG. */
static int rx_refill(struct net_pair *p, bool mergeable)
{
	struct vq *vq = &p->net->dev.queue[p->rx].vq;
	struct vq_chain *c = &p->net->chain;

	while (rx_wants_buffer(p, mergeable)) {
		int ret;

		if (mergeable && rx_take_plain(p, vq))
			continue;
		ret = vq_pop(vq, c);
		if (ret > 0)
			ret = rx_take(p, c);
		else if (ret == 0)
			return 0;
		if (ret)
			return ret;
	}
	if (p->rx_len >= NET_RX_MAX)
		p->rx_roomy = true;
	return 0;
}

/*
 * Whether to read a frame into what there is. A guest that usually has room for the largest frame
 * and now holds more than half of its ring is about to refill (no driver waits longer): waiting for
 * its kick loses nothing, reading might cut a large frame. Any other guest gets what fits, so that
 * a small ring does not wait for ever.
 */
static bool rx_can_read(const struct net_pair *p, bool mergeable)
{
	const struct vq *vq = &p->net->dev.queue[p->rx].vq;

	if (p->nr_rx == 0)
		return false;
	if (!mergeable || !p->rx_roomy || !rx_wants_buffer(p, mergeable))
		return true;
	return vq->nr_in_flight >= vq->ring.size / 2;
}

/* Copy between @buf and the start of the first buffer, which is at least a header long. */
static void rx_header_copy(struct net_pair *p, uint8_t *buf, bool to_guest)
{
	size_t done = 0;

	if (p->rx_iov->iov_len >= NET_HDR_LEN) { /* nearly always; and a length that is known */
		if (to_guest)
			memcpy(p->rx_iov->iov_base, buf, NET_HDR_LEN);
		else
			memcpy(buf, p->rx_iov->iov_base, NET_HDR_LEN);
		return;
	}
	for (const struct iovec *v = p->rx_iov; done < NET_HDR_LEN; v++) {
		size_t n = NET_HDR_LEN - done < v->iov_len ? NET_HDR_LEN - done : v->iov_len;

		if (to_guest)
			memcpy(v->iov_base, buf + done, n);
		else
			memcpy(buf + done, v->iov_base, n);
		done += n;
	}
}

/*
 * Correct the header that the tap wrote (5.1.6.4.1). False: the frame is segmented although
 * this driver did not accept that; such frames can be queued from before a reset.
 */
static bool rx_header(struct net_pair *p, uint32_t nr_bufs)
{
	static const uint64_t gso =
		UINT64_C(1) << VIRTIO_NET_F_GUEST_TSO4 | UINT64_C(1) << VIRTIO_NET_F_GUEST_TSO6 |
		UINT64_C(1) << VIRTIO_NET_F_GUEST_UFO | UINT64_C(1) << VIRTIO_NET_F_GUEST_USO4 |
		UINT64_C(1) << VIRTIO_NET_F_GUEST_USO6;
	uint8_t hdr[NET_HDR_LEN];

	/* A stream has no headers, and mote offers none of their features with it. */
	memset(hdr, 0, sizeof(hdr));
	if (!p->net->stream)
		rx_header_copy(p, hdr, false);
	if (hdr[offsetof(struct virtio_net_hdr_v1, gso_type)] != VIRTIO_NET_HDR_GSO_NONE &&
	    !(p->net->dev.driver_features & gso))
		return false;
	if (!virtio_has(&p->net->dev, VIRTIO_NET_F_GUEST_CSUM))
		hdr[offsetof(struct virtio_net_hdr_v1, flags)] = 0;
	le16_put(hdr + offsetof(struct virtio_net_hdr_v1, num_buffers), (uint16_t)nr_bufs);
	rx_header_copy(p, hdr, true);
	return true;
}

/* Give the first @nr buffers back, filled with @len bytes together. 0 or -EBADMSG. */
static int rx_complete(struct net_pair *p, uint32_t nr, uint32_t len)
{
	struct vq *vq = &p->net->dev.queue[p->rx].vq;
	uint32_t nr_bytes = 0;

	for (uint32_t i = 0; i < nr; i++) {
		const struct vq_buf *buf = &p->rx_buf[i];
		uint32_t n = len < buf->len ? len : buf->len;

		if (vq_complete(vq, buf->head, n))
			return -EBADMSG;
		len -= n;
		nr_bytes += buf->len;
	}
	p->rx_len -= nr_bytes;
	p->nr_rx -= nr;
	memmove(p->rx_buf, p->rx_buf + nr, p->nr_rx * sizeof(p->rx_buf[0]));
	rx_advance(p, nr_bytes);
	return 0;
}

/* Pass on the frame that is held in the first buffers. 0 or -EBADMSG. */
static int rx_pass(struct net_pair *p)
{
	uint32_t nr = 0, sum = 0, len = p->held;

	p->held = 0;
	while (sum < len)
		sum += p->rx_buf[nr++].len;
	if (!rx_header(p, nr)) {
		metric_inc(&p->net->metrics.rx_fails);
		return 0;
	}
	metric_inc(&p->net->metrics.rx_packets_count);
	metric_add(&p->net->metrics.rx_bytes_count, len - NET_HDR_LEN);
	return rx_complete(p, nr, len);
}

/*
 * Read one frame into the first buffers and hold it, unless it cannot be passed on. Returns its
 * length with header, or -errno.
 */
static ssize_t rx_read(struct net_pair *p)
{
	uint8_t spill;
	ssize_t n;

	/* The kernel cuts what does not fit and does not say so: one byte more tells. */
	p->rx_iov[p->nr_rx_iov] = (struct iovec){ .iov_base = &spill, .iov_len = 1 };
	n = readv(p->tap.fd, p->rx_iov, (int)p->nr_rx_iov + 1);
	if (n < 0)
		return -errno;
	metric_inc(&p->net->metrics.rx_count);
	/* The buffers of a frame that is dropped are kept for the next. */
	if ((size_t)n < NET_HDR_LEN + NET_FRAME_MIN || (size_t)n > p->rx_len)
		metric_inc(&p->net->metrics.rx_fails);
	else
		p->held = (uint32_t)n;
	return n;
}

static int rx_run(struct net_pair *p)
{
	struct vq *vq = &p->net->dev.queue[p->rx].vq;
	bool mergeable = virtio_has(&p->net->dev, VIRTIO_NET_F_MRG_RXBUF);
	uint64_t nr_bytes = 0;

	for (int nr = 0; nr < NET_FRAMES_PER_EVENT && nr_bytes < NET_BYTES_PER_EVENT; nr++) {
		ssize_t n = p->held;
		int ret = n ? 0 : rx_refill(p, mergeable);

		if (ret)
			return ret;
		if (!n && !rx_can_read(p, mergeable)) {
			if (vq_enable_kick(vq))
				continue;
			metric_inc(&p->net->metrics.no_rx_avail_buffer);
			virtio_idle(&p->net->dev, NET_RX);
			net_watch_tap(p, false);
			return 0;
		}
		if (!n)
			n = p->net->stream ? net_stream_read(p->net) : rx_read(p);
		if (n < 0) {
			if (n != -EAGAIN && n != -EINTR)
				metric_inc(&p->net->metrics.tap_read_fails);
			virtio_idle(&p->net->dev, NET_RX);
			break;
		}
		nr_bytes += (uint64_t)n;
		if (!p->held)
			continue;
		if (!net_admit(p->net, NET_RX, p->held - NET_HDR_LEN)) {
			net_watch_tap(p, false);
			return 0;
		}
		ret = rx_pass(p);
		if (ret)
			return ret;
	}
	net_watch_tap(p, true);
	return 0;
}

int net_rx_work(struct net_pair *p)
{
	int ret;

	vq_disable_kick(&p->net->dev.queue[p->rx].vq);
	ret = rx_run(p);
	if (net_signal(p))
		ret = -EBADMSG;
	return ret;
}
