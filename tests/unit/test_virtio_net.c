/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_virtio_net.c - frames both ways over a socket pair, where each message is a header and a
 * frame, and over a real tap in a network namespace of its own where we may make one.
 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/byteorder.h"
#include "tests/unit/virtio_rig.h"
#include "virtio/net_device.h"

#define ALL    UINT64_MAX
#define BIT(n) (1ULL << (n))
#define GSO                                                                                        \
	(BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6) |                             \
	 BIT(VIRTIO_NET_F_GUEST_UFO) | BIT(VIRTIO_NET_F_GUEST_USO4) |                              \
	 BIT(VIRTIO_NET_F_GUEST_USO6))

static struct rig rig;
static struct rig *const r = &rig;
static struct net *net;
static int sock[2]; /* 0: the device's, 1: the wire */
static uint8_t frame[NET_RX_MAX + 64];

static const uint8_t mac[6] = { 2, 0, 0, 1, 2, 3 };

static void interface(int fd, enum net_backend backend)
{
	struct net_params p = {
		.id = "eth0",
		.fd = { fd },
		.backend = backend,
		.has_mac = true,
		.has_mtu = true,
		.mtu = 1500,
	};

	memcpy(p.mac, mac, 6);
	cr_assert_eq(net_create(&net, &p, &r->host, NULL), 0);
	r->dev = net_virtio(net);
	r->tap = &net->pair[0].tap;
}

static void setup(void)
{
	int size = 4 << 20;

	rig_init(r);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, sock), 0);
	setsockopt(sock[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	setsockopt(sock[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	interface(sock[0], NET_DGRAM);
	rig_boot(r, ALL, 256);
	for (size_t i = 0; i < sizeof(frame); i++)
		frame[i] = (uint8_t)(i * 7 + i / 251);
	memset(frame, 0, NET_HDR_LEN);
	memcpy(frame + NET_HDR_LEN + 6, mac, 6);
}

static void teardown(void)
{
	net_destroy(net);
	close(sock[0]);
	close(sock[1]);
	rig_fini(r);
}

TestSuite(virtio_net, .init = setup, .fini = teardown);

static const struct net_metrics *m(void)
{
	return net_metrics(net);
}

static uint16_t tx_head;
static void send_frame(uint32_t len, uint16_t nr);

/* ---- configuration ---- */

Test(virtio_net, features_and_config)
{
	uint8_t config[12];
	uint64_t f = rig_features(r);

	for (unsigned int i = 0; i < 12; i++)
		virtio_mmio_bus_ops.read(r->dev, VIRTIO_MMIO_CONFIG + i, config + i, 1);
	cr_assert_eq(memcmp(config, mac, 6), 0);
	cr_assert_eq(le16_get(config + 10), 1500);
	cr_assert(f & BIT(VIRTIO_NET_F_MAC));
	cr_assert(f & BIT(VIRTIO_NET_F_MTU));
	cr_assert(f & BIT(VIRTIO_NET_F_MRG_RXBUF));
	cr_assert_not(f & BIT(VIRTIO_NET_F_CTRL_VQ));
	cr_assert_not(f & BIT(VIRTIO_NET_F_STATUS));
}

Test(virtio_net, no_mac_no_mtu)
{
	struct net_params p = { .id = "eth0", .backend = NET_DGRAM };
	uint64_t f;

	net_destroy(net);
	p.fd[0] = sock[0];
	cr_assert_eq(net_create(&net, &p, &r->host, NULL), 0);
	r->dev = net_virtio(net);
	r->tap = &net->pair[0].tap;
	f = rig_features(r);
	cr_assert_not(f & BIT(VIRTIO_NET_F_MAC));
	cr_assert_not(f & BIT(VIRTIO_NET_F_MTU));
	rig_boot(r, ALL, 16);
	send_frame(60, 1);
	cr_assert_eq(metric_get(&m()->tx_packets_count), 1);
	cr_assert_eq(metric_get(&m()->tx_spoofed_mac_count), 0, "no address, no spoofing");
}

/* A device that failed at one queue does not take another. */
Test(virtio_net, second_queue_after_a_bad_one)
{
	rig_negotiate(r, ALL);
	rig_setup_queue(r, 0, 16);
	rig_write(r, VIRTIO_MMIO_QUEUE_READY, 0);
	rig_write(r, VIRTIO_MMIO_QUEUE_SEL, 1);
	rig_write(r, VIRTIO_MMIO_QUEUE_READY, 1); /* size 0 */
	cr_assert_eq(rig_status(r), 11 | VIRTIO_CONFIG_S_NEEDS_RESET);
	rig_write(r, VIRTIO_MMIO_QUEUE_SEL, 0);
	rig_write(r, VIRTIO_MMIO_QUEUE_READY, 1);
	cr_assert_eq(rig_read(r, VIRTIO_MMIO_QUEUE_READY), 0);
}

Test(virtio_net, features_that_need_others)
{
	static const uint8_t offload[] = {
		VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_UFO,
		VIRTIO_NET_F_GUEST_USO4, VIRTIO_NET_F_GUEST_USO6, VIRTIO_NET_F_HOST_TSO4,
		VIRTIO_NET_F_HOST_TSO6,	 VIRTIO_NET_F_HOST_UFO,	  VIRTIO_NET_F_HOST_USO,
	};

	for (size_t i = 0; i < sizeof(offload); i++) {
		uint8_t need = i < 5 ? VIRTIO_NET_F_GUEST_CSUM : VIRTIO_NET_F_CSUM;

		rig_negotiate(r, BIT(VIRTIO_F_VERSION_1) | BIT(offload[i]));
		cr_assert_eq(rig_status(r), 3, "feature %u alone", offload[i]);
		rig_negotiate(r, BIT(VIRTIO_F_VERSION_1) | BIT(offload[i]) | BIT(need));
		cr_assert_eq(rig_status(r), 11);
	}
}

Test(virtio_net, create_fails)
{
	struct net_params p = { .id = "eth0", .fd = { -1 } };
	struct net *other = NULL;
	struct err e;

	cr_assert_eq(net_create(&other, &p, &r->host, &e), -EBADF);
	cr_assert_not_null(strstr(e.msg, "eth0"));
	cr_assert_null(other);
	net_destroy(NULL);
}

/* ---- transmit ---- */

/* Offer and kick one frame of @len bytes with the header in frame[0..11], in @nr descriptors. */
static void send_frame(uint32_t len, uint16_t nr)
{
	uint32_t all = NET_HDR_LEN + len, done = 0;
	uint16_t head = tx_head;

	rig_put(r, RIG_DATA, frame, all);
	for (uint16_t i = 0; i < nr; i++) {
		uint32_t n = i == nr - 1 ? all - done : all / nr;

		rig_desc(r, 1, tx_head, RIG_DATA + done, n, (uint16_t)(i < nr - 1 ? NEXT : 0),
			 (uint16_t)(tx_head + 1));
		tx_head++;
		done += n;
	}
	rig_offer(r, 1, head);
	rig_kick(r, 1);
	rig_run(r, 100);
	tx_head = (uint16_t)(tx_head % 200);
}

/* What arrived on the wire: its length, 0 when nothing did. */
static size_t wire(uint8_t *buf, size_t len)
{
	ssize_t n = recv(sock[1], buf, len, 0);

	return n < 0 ? 0 : (size_t)n;
}

static uint8_t got[NET_RX_MAX + 64];

Test(virtio_net, send)
{
	static const uint32_t len[] = { 14, 60, 1514, 9014, 65549, NET_FRAME_MAX };

	for (size_t i = 0; i < sizeof(len) / sizeof(len[0]); i++)
		for (uint16_t nr = 1; nr <= 12; nr++) {
			uint32_t used;

			send_frame(len[i], nr);
			cr_assert_eq(wire(got, sizeof(got)), NET_HDR_LEN + len[i]);
			cr_assert_eq(memcmp(got, frame, NET_HDR_LEN + len[i]), 0);
			cr_assert(rig_used(r, 1, NULL, &used));
			cr_assert_eq(used, 0);
		}
	cr_assert_eq(metric_get(&m()->tx_packets_count), 6 * 12);
	cr_assert_eq(metric_get(&m()->tx_malformed_frames), 0);
	cr_assert_eq(metric_get(&m()->tx_spoofed_mac_count), 0);
}

Test(virtio_net, send_runt_and_giant)
{
	static const uint32_t len[] = { 0, 1, 13, NET_FRAME_MAX + 1 };

	for (size_t i = 0; i < sizeof(len) / sizeof(len[0]); i++) {
		send_frame(len[i], 1);
		cr_assert_eq(wire(got, sizeof(got)), 0, "%u bytes", len[i]);
		cr_assert(rig_used(r, 1, NULL, NULL), "given back");
		cr_assert_eq(metric_get(&m()->tx_malformed_frames), i + 1);
	}
	cr_assert_eq(rig_status(r), 15);
}

Test(virtio_net, send_less_than_a_header)
{
	rig_desc(r, 1, 0, RIG_DATA, 11, 0, 0);
	rig_offer(r, 1, 0);
	rig_desc(r, 1, 1, RIG_DATA, 100, WRITE, 0);
	rig_offer(r, 1, 1);
	rig_kick(r, 1);
	rig_run(r, 100);
	cr_assert_eq(wire(got, sizeof(got)), 0);
	cr_assert_eq(metric_get(&m()->tx_malformed_frames), 2);
}

Test(virtio_net, send_huge_chain)
{
	/* 7 MiB as one "frame" */
	rig_desc(r, 1, 0, RIG_DATA, 7 << 20, 0, 0);
	rig_offer(r, 1, 0);
	rig_kick(r, 1);
	rig_run(r, 100);
	cr_assert_eq(metric_get(&m()->tx_malformed_frames), 1);
	cr_assert(rig_used(r, 1, NULL, NULL));
}

static void header(uint8_t flags, uint8_t gso_type, uint16_t hdr_len, uint16_t gso_size,
		   uint16_t csum_start, uint16_t csum_offset)
{
	frame[0] = flags;
	frame[1] = gso_type;
	le16_put(frame + 2, hdr_len);
	le16_put(frame + 4, gso_size);
	le16_put(frame + 6, csum_start);
	le16_put(frame + 8, csum_offset);
	le16_put(frame + 10, 0);
}

#define CSUM VIRTIO_NET_HDR_F_NEEDS_CSUM

/* Headers for a frame of 100 bytes, and whether it may leave. */
/* clang-format off */
static const struct {
	uint8_t flags, gso_type;
	uint16_t hdr_len, gso_size, csum_start, csum_offset;
	bool ok;
} tx_header[] = {
	{ CSUM, 0, 0, 0, 34, 16, true },
	{ CSUM, 0, 0, 0, 98, 0, true }, /* the last two bytes */
	{ CSUM, 0, 0, 0, 99, 0, false },
	{ CSUM, 0, 0, 0, 0, 98, true },
	{ CSUM, 0, 0, 0, 0, 99, false },
	{ CSUM, 0, 0, 0, 50, 49, false },
	{ CSUM, 0, 0, 0, 65535, 0, false },
	{ CSUM, 0, 0, 0, 0, 65535, false },
	{ CSUM, 0, 0, 0, 65535, 1, false }, /* wraps in 16 bits */
	{ CSUM, 0, 0, 0, 65535, 65535, false },
	{ CSUM, 1, 54, 40, 34, 16, true },
	{ CSUM, 4, 54, 40, 34, 16, true },
	{ CSUM, 3, 54, 40, 34, 6, true },
	{ CSUM, 1, 100, 100, 34, 16, true },
	{ CSUM, 1, 101, 40, 34, 16, false }, /* header beyond the frame */
	{ CSUM, 1, 65535, 40, 34, 16, false },
	{ CSUM, 1, 54, 101, 34, 16, false }, /* segments beyond the frame */
	{ CSUM, 1, 54, 65535, 34, 16, false },
	{ CSUM, 1, 54, 0, 34, 16, false }, /* division by zero somewhere else */
	{ 0, 1, 54, 40, 0, 0, false }, /* segmentation needs the checksum */
	{ CSUM, 2, 54, 40, 34, 16, false }, /* no such kind */
	{ CSUM, 5, 42, 40, 34, 6, true },
	{ CSUM, 5, 42, 0, 34, 6, false },
	{ CSUM, 6, 54, 40, 34, 16, false }, /* no such kind */
	{ CSUM, 0x81, 54, 40, 34, 16, false }, /* ECN was not offered */
	{ CSUM, 0xff, 54, 40, 34, 16, false },
};
/* clang-format on */

Test(virtio_net, send_header_fields)
{
	for (size_t i = 0; i < sizeof(tx_header) / sizeof(tx_header[0]); i++) {
		header(tx_header[i].flags, tx_header[i].gso_type, tx_header[i].hdr_len,
		       tx_header[i].gso_size, tx_header[i].csum_start, tx_header[i].csum_offset);
		send_frame(100, 1);
		if (tx_header[i].ok) {
			cr_assert_eq(wire(got, sizeof(got)), 112, "row %zu", i);
			cr_assert_eq(memcmp(got, frame, 112), 0, "row %zu", i);
		} else {
			cr_assert_eq(wire(got, sizeof(got)), 0, "row %zu", i);
		}
	}
	cr_assert_eq(rig_status(r), 15);
}

Test(virtio_net, send_header_is_made_anew)
{
	/* What means nothing is not passed on. */
	header(0xfe, 0, 65535, 65535, 65535, 65535);
	le16_put(frame + 10, 77);
	send_frame(100, 1);
	cr_assert_eq(wire(got, sizeof(got)), 112);
	for (int i = 0; i < 12; i++)
		cr_assert_eq(got[i], 0, "byte %d", i);
}

Test(virtio_net, send_offloads_not_accepted)
{
	rig_boot(r, BIT(VIRTIO_F_VERSION_1), 256);
	tx_head = 0;
	header(CSUM, 0, 0, 0, 34, 16);
	send_frame(100, 1);
	cr_assert_eq(wire(got, sizeof(got)), 0);
	rig_boot(r, BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_NET_F_CSUM), 256);
	tx_head = 0;
	send_frame(100, 1);
	cr_assert_eq(wire(got, sizeof(got)), 112);
	header(CSUM, 1, 54, 40, 34, 16);
	send_frame(100, 1);
	cr_assert_eq(wire(got, sizeof(got)), 0);
	header(CSUM, VIRTIO_NET_HDR_GSO_UDP_L4, 42, 40, 34, 6);
	send_frame(100, 1);
	cr_assert_eq(wire(got, sizeof(got)), 0);
}

/* Whether the timer that ends the quiet fires; then it has its turn. */
static bool quiet_ends(int timeout_ms)
{
	struct watch *w = &net->pair[0].tx_sent.watch;
	struct pollfd p = { .fd = w->fd, .events = POLLIN };

	if (poll(&p, 1, timeout_ms) <= 0)
		return false;
	w->fn(w->ctx, EPOLLIN);
	return true;
}

/* What was sent is visible at once, its interrupt comes later, but always. */
Test(virtio_net, send_interrupts_late)
{
	for (int i = 0; i < 3; i++) {
		send_frame(60, 1);
		cr_assert(rig_used(r, 1, NULL, NULL));
	}
	cr_assert_not(rig_irq(r, NULL));
	cr_assert(quiet_ends(10000));
	cr_assert(rig_irq(r, NULL));
	cr_assert_not(quiet_ends(20), "once");
	cr_assert_not(rig_irq(r, NULL));

	/* Many do not wait. */
	rig_used_event(r, 1, 3);
	for (int i = 0; i < NET_TX_QUIET_MAX; i++)
		send_frame(60, 1);
	cr_assert(rig_irq(r, NULL));

	/* A guest that has seen it meanwhile is left alone. */
	cr_assert(quiet_ends(10000));
	send_frame(60, 1);
	rig_used_event(r, 1, 100);
	cr_assert(quiet_ends(10000));
	cr_assert_not(rig_irq(r, NULL));

	/* Nor does much: frames of 40000 bytes that are lost on this wire count, too. */
	rig_used_event(r, 1, 4 + NET_TX_QUIET_MAX);
	for (int i = 0; i < 4; i++) {
		cr_assert_not(rig_irq(r, NULL), "after %d", i);
		send_frame(40000, 1);
	}
	cr_assert(rig_irq(r, NULL));
	cr_assert(quiet_ends(10000));

	/* With a short ring the guest may wait for each. */
	rig_boot(r, ALL, 4);
	tx_head = 0;
	send_frame(60, 1);
	cr_assert(rig_irq(r, NULL));

	/* Nothing happens to a device that was reset in between. */
	rig_boot(r, ALL, 256);
	tx_head = 0;
	send_frame(60, 1);
	rig_write(r, VIRTIO_MMIO_STATUS, 0);
	cr_assert(quiet_ends(10000));
	cr_assert_not(rig_irq(r, NULL));
}

Test(virtio_net, send_spoofed_mac)
{
	frame[NET_HDR_LEN + 6] ^= 1;
	send_frame(60, 3);
	cr_assert_eq(metric_get(&m()->tx_spoofed_mac_count), 1);
	cr_assert_eq(wire(got, sizeof(got)), 72, "counted, not stopped");
}

Test(virtio_net, send_to_a_full_tap)
{
	int size = 8192;

	setsockopt(sock[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	for (int i = 0; i < 200; i++) {
		send_frame(60, 1);
		cr_assert(rig_used(r, 1, NULL, NULL), "frame %d", i);
	}
	cr_assert_gt(metric_get(&m()->tap_write_fails), 0);
	cr_assert_eq(rig_status(r), 15);
	while (wire(got, sizeof(got)))
		;
	send_frame(60, 1);
	cr_assert_eq(wire(got, sizeof(got)), 72, "and on it goes");
}

Test(virtio_net, send_is_bounded_per_event)
{
	int n = 0;

	rig_put(r, RIG_DATA, frame, 72);
	for (uint16_t i = 0; i < 256; i++) {
		rig_desc(r, 1, i, RIG_DATA, 72, 0, 0);
		rig_offer(r, 1, i);
	}
	rig_kick(r, 1);
	cr_assert_eq(rig_run(r, 1), 1);
	while (rig_used(r, 1, NULL, NULL))
		n++;
	cr_assert_gt(n, 0);
	cr_assert_lt(n, 256);
	rig_run(r, 100);
	while (rig_used(r, 1, NULL, NULL))
		n++;
	cr_assert_eq(n, 256);
	cr_assert_gt(metric_get(&m()->tx_remaining_reqs_count), 0);
}

Test(virtio_net, send_bytes_are_bounded_per_event)
{
	int n = 0;

	rig_put(r, RIG_DATA, frame, 60012);
	for (uint16_t i = 0; i < 60; i++) {
		rig_desc(r, 1, i, RIG_DATA, 60012, 0, 0);
		rig_offer(r, 1, i);
	}
	rig_kick(r, 1);
	cr_assert_eq(rig_run(r, 1), 1);
	while (rig_used(r, 1, NULL, NULL))
		n++;
	cr_assert_lt(n, 60);
}

Test(virtio_net, send_asks_for_the_next_kick)
{
	send_frame(60, 1);
	cr_assert_eq(rig_get16(r, r->q[1].used + 4 + 8 * 256), 1, "avail_event");
	rig_boot(r, ~BIT(VIRTIO_RING_F_EVENT_IDX), 16);
	tx_head = 0;
	send_frame(60, 1);
	cr_assert_eq(rig_get16(r, r->q[1].used), 0, "NO_NOTIFY taken back");
}

Test(virtio_net, send_broken_ring)
{
	rig_desc(r, 0, 0, RIG_DATA, 1536, WRITE, 0);
	rig_offer(r, 0, 0);
	rig_kick(r, 0);
	rig_run(r, 100);
	rig_desc(r, 1, 0, RIG_HOLE, 100, 0, 0);
	rig_offer(r, 1, 0);
	rig_kick(r, 1);
	rig_run(r, 100);
	cr_assert(rig_failed(r));

	/* Nothing is received any more either. */
	cr_assert_eq(send(sock[1], frame, 72, 0), 72);
	cr_assert_leq(rig_run(r, 100), 1);
	cr_assert_not(rig_used(r, 0, NULL, NULL));
}

/* ---- receive ---- */

/* Offer @nr receive buffers of @len bytes from descriptor 0 on, without a kick. */
static void offer_rx(uint16_t first, uint16_t nr, uint32_t len)
{
	for (uint16_t i = first; i < first + nr; i++) {
		rig_desc(r, 0, i, RIG_DATA + (uint64_t)len * i, len, WRITE, 0);
		rig_offer(r, 0, i);
	}
}

static void kick_rx(void)
{
	rig_kick(r, 0);
	rig_run(r, 100);
}

static void from_wire(uint32_t len)
{
	cr_assert_eq(send(sock[1], frame, NET_HDR_LEN + len, 0), (ssize_t)(NET_HDR_LEN + len));
}

/*
 * Take one frame out of the used ring: its length without header; *nr_bufs gets num_buffers. The
 * content must be what the wire sent.
 */
static uint32_t received(uint32_t buf_len, uint32_t *nr_bufs)
{
	uint32_t id, n, sum = 0, want;

	if (!rig_used(r, 0, &id, &n))
		return 0;
	want = rig_get16(r, RIG_DATA + (uint64_t)buf_len * id + 10);
	if (nr_bufs)
		*nr_bufs = want;
	for (uint32_t i = 1;; i++) {
		rig_get(r, RIG_DATA + (uint64_t)buf_len * id, got + sum, n);
		sum += n;
		if (i == want)
			break;
		cr_assert(rig_used(r, 0, &id, &n), "buffer %u of %u", i, want);
	}
	cr_assert_eq(memcmp(got + NET_HDR_LEN, frame + NET_HDR_LEN, sum - NET_HDR_LEN), 0,
		     "content");
	return sum - NET_HDR_LEN;
}

Test(virtio_net, receive)
{
	uint32_t nr;

	offer_rx(0, 200, 1536);
	kick_rx();
	from_wire(60);
	from_wire(1514);
	from_wire(1524); /* exactly one buffer */
	from_wire(1525);
	from_wire(20000);
	rig_run(r, 100);
	cr_assert_eq(received(1536, &nr), 60);
	cr_assert_eq(nr, 1);
	cr_assert_eq(received(1536, &nr), 1514);
	cr_assert_eq(nr, 1);
	cr_assert_eq(received(1536, &nr), 1524);
	cr_assert_eq(nr, 1);
	cr_assert_eq(received(1536, &nr), 1525);
	cr_assert_eq(nr, 2);
	cr_assert_eq(received(1536, &nr), 20000);
	cr_assert_eq(nr, 14);
	cr_assert_eq(received(1536, &nr), 0);
	cr_assert(rig_irq(r, NULL));
	cr_assert_eq(metric_get(&m()->rx_packets_count), 5);
	cr_assert_eq(metric_get(&m()->rx_bytes_count), 60 + 1514 + 1524 + 1525 + 20000);
	cr_assert_eq(metric_get(&m()->rx_fails), 0);
}

Test(virtio_net, receive_largest)
{
	offer_rx(0, 100, 1536);
	kick_rx();
	from_wire(NET_FRAME_MAX);
	rig_run(r, 100);
	cr_assert_eq(received(1536, NULL), NET_FRAME_MAX);
}

Test(virtio_net, receive_many)
{
	/* Through the wrap of the table, buffers given back as they are used. */
	uint16_t next = 0;

	offer_rx(0, 128, 2048);
	kick_rx();
	for (uint32_t i = 0; i < 5000; i++) {
		uint32_t len = 14 + i * 37 % 6000, nr;

		from_wire(len);
		rig_run(r, 100);
		cr_assert_eq(received(2048, &nr), len, "frame %u", i);
		for (; nr > 0; nr--) {
			rig_offer(r, 0, next);
			next = (uint16_t)((next + 1) % 128);
		}
		kick_rx();
	}
}

Test(virtio_net, receive_without_mergeable_buffers)
{
	uint32_t nr;

	rig_boot(r, ~(BIT(VIRTIO_NET_F_MRG_RXBUF)), 64);
	offer_rx(0, 3, 66000);
	kick_rx();
	from_wire(60);
	from_wire(NET_FRAME_MAX);
	rig_run(r, 100);
	cr_assert_eq(received(66000, &nr), 60);
	cr_assert_eq(nr, 1);
	cr_assert_eq(received(66000, &nr), NET_FRAME_MAX);
	cr_assert_eq(nr, 1);
}

Test(virtio_net, receive_too_large_for_the_buffer)
{
	rig_boot(r, ~(BIT(VIRTIO_NET_F_MRG_RXBUF) | GSO), 64);
	offer_rx(0, 3, 1526);
	kick_rx();
	from_wire(1515);
	from_wire(1514);
	rig_run(r, 100);
	cr_assert_eq(received(1526, NULL), 1514, "the buffer was kept for the next");
	cr_assert_eq(received(1526, NULL), 0);
	cr_assert_eq(metric_get(&m()->rx_fails), 1);
}

Test(virtio_net, receive_too_large_for_all_buffers)
{
	offer_rx(0, 2, 1536);
	kick_rx();
	from_wire(3072 - 12 + 1);
	from_wire(3072 - 12);
	rig_run(r, 100);
	cr_assert_eq(received(1536, NULL), 3072 - 12);
	cr_assert_eq(metric_get(&m()->rx_fails), 1);
}

Test(virtio_net, receive_runts)
{
	offer_rx(0, 2, 1536);
	kick_rx();
	cr_assert_eq(send(sock[1], frame, 0, 0), 0);
	cr_assert_eq(send(sock[1], frame, 5, 0), 5);
	from_wire(13);
	from_wire(14);
	rig_run(r, 100);
	cr_assert_eq(received(1536, NULL), 14);
	cr_assert_eq(received(1536, NULL), 0);
	cr_assert_eq(metric_get(&m()->rx_fails), 3);
}

Test(virtio_net, no_buffers_no_spin)
{
	from_wire(60);
	from_wire(61);
	cr_assert_eq(rig_run(r, 100), 0, "asleep");
	offer_rx(0, 1, 1536);
	kick_rx();
	cr_assert_eq(received(1536, NULL), 60);
	cr_assert_eq(rig_run(r, 100), 0, "asleep again, a frame is waiting");
	cr_assert_gt(metric_get(&m()->no_rx_avail_buffer), 0);
	offer_rx(1, 1, 1536);
	kick_rx();
	cr_assert_eq(received(1536, NULL), 61, "the kick woke it");

	/* The same when the tap was being watched before. */
	offer_rx(2, 1, 1536);
	kick_rx();
	from_wire(62);
	from_wire(63);
	rig_run(r, 100);
	cr_assert_eq(received(1536, NULL), 62);
	cr_assert_eq(rig_run(r, 100), 0, "a frame is waiting, no buffer is");
}

/* The kick that resumes has to be asked for, by flag and by event index. */
Test(virtio_net, asks_for_the_kick_that_resumes)
{
	for (int event_idx = 0; event_idx < 2; event_idx++) {
		rig_boot(r, event_idx ? ALL : ~BIT(VIRTIO_RING_F_EVENT_IDX), 16);
		offer_rx(0, 2, 1536);
		kick_rx();
		if (!event_idx)
			cr_assert_eq(rig_get16(r, r->q[0].used), VRING_USED_F_NO_NOTIFY, "busy");
		from_wire(60);
		from_wire(60);
		rig_run(r, 100);
		if (event_idx)
			cr_assert_eq(rig_get16(r, r->q[0].used + 4 + 8 * 16), 2);
		else
			cr_assert_eq(rig_get16(r, r->q[0].used), 0);
	}
}

Test(virtio_net, buffer_in_many_pieces)
{
	/* header split over three descriptors */
	rig_desc(r, 0, 0, RIG_DATA, 1, NEXT | WRITE, 1);
	rig_desc(r, 0, 1, RIG_DATA + 1, 10, NEXT | WRITE, 2);
	rig_desc(r, 0, 2, RIG_DATA + 11, 1536 - 11, WRITE, 0);
	rig_offer(r, 0, 0);
	kick_rx();
	from_wire(100);
	rig_run(r, 100);
	cr_assert_eq(received(1536, NULL), 100);
}

Test(virtio_net, buffer_in_scattered_pieces)
{
	uint32_t len;

	rig_desc(r, 0, 0, RIG_SMALL, 11, NEXT | WRITE, 1);
	rig_desc(r, 0, 1, RIG_SMALL + 64, 1, NEXT | WRITE, 2);
	rig_desc(r, 0, 2, RIG_DATA, 1536, WRITE, 0);
	rig_offer(r, 0, 0);
	kick_rx();
	from_wire(100);
	rig_run(r, 100);
	cr_assert(rig_used(r, 0, NULL, &len));
	cr_assert_eq(len, 112);
	cr_assert_eq(rig_get8(r, RIG_SMALL + 10), 1, "num_buffers, low byte");
	cr_assert_eq(rig_get8(r, RIG_SMALL + 64), 0, "high byte");
	rig_get(r, RIG_DATA, got, 100);
	cr_assert_eq(memcmp(got, frame + 12, 100), 0);
}

Test(virtio_net, buffer_smaller_than_a_header)
{
	rig_desc(r, 0, 0, RIG_DATA, 11, WRITE, 0);
	rig_offer(r, 0, 0);
	kick_rx();
	cr_assert(rig_failed(r));
}

Test(virtio_net, buffer_not_writable)
{
	rig_desc(r, 0, 0, RIG_DATA, 1536, 0, 0);
	rig_offer(r, 0, 0);
	kick_rx();
	cr_assert(rig_failed(r));
}

Test(virtio_net, buffer_outside_ram)
{
	rig_desc(r, 0, 0, RIG_RAM0_LEN - 100, 1536, WRITE, 0);
	rig_offer(r, 0, 0);
	kick_rx();
	cr_assert(rig_failed(r));
}

Test(virtio_net, buffers_of_megabytes)
{
	/* One chain of 7 MiB: cut to what a frame can need. */
	rig_desc(r, 0, 0, RIG_DATA, 7 << 20, WRITE, 0);
	rig_offer(r, 0, 0);
	kick_rx();
	cr_assert_eq(net->pair[0].rx_len, NET_RX_MAX);
	from_wire(2000);
	rig_run(r, 100);
	cr_assert_eq(received(7 << 20, NULL), 2000);
}

Test(virtio_net, buffers_of_many_tiny_pieces)
{
	/* 8 chains of 256 scattered bytes fill the table of iovecs, not more. */
	for (uint16_t i = 0; i < 8; i++) {
		rig_desc(r, 0, i, RIG_INDIRECT + 0x1000ULL * i, 16 * 256, IND, 0);
		for (uint16_t j = 0; j < 256; j++)
			rig_desc_at(r, RIG_INDIRECT + 0x1000ULL * i, j,
				    RIG_DATA + 2ULL * (256ULL * i + j), 1,
				    (uint16_t)(j < 255 ? NEXT | WRITE : WRITE), (uint16_t)(j + 1));
		rig_offer(r, 0, i);
	}
	kick_rx();
	cr_assert_leq(net->pair[0].nr_rx_iov, NET_RX_IOVS);
	from_wire(244);
	from_wire(245); /* spills into the second */
	from_wire(60);
	rig_run(r, 100);
	cr_assert(rig_used(r, 0, NULL, NULL));
	cr_assert(rig_used(r, 0, NULL, NULL));
	cr_assert(rig_used(r, 0, NULL, NULL));
	cr_assert_eq(rig_status(r), 15);
}

Test(virtio_net, merged_frame_appears_at_once)
{
	uint16_t before;

	offer_rx(0, 60, 1536);
	kick_rx();
	from_wire(4000);
	before = rig_get16(r, r->q[0].used + 2);
	rig_run(r, 1);
	cr_assert_eq(rig_get16(r, r->q[0].used + 2) - before, 3);
}

/* A guest that usually has room and is about to refill does not lose a large frame. */
Test(virtio_net, waits_for_room)
{
	int n = 0;

	offer_rx(0, 100, 1536);
	kick_rx();
	for (int i = 0; i < 40; i++)
		from_wire(3000);
	rig_run(r, 100);
	while (received(1536, NULL))
		n++;
	cr_assert_lt(n, 40);
	from_wire(64000);
	rig_run(r, 100);
	cr_assert_eq(received(1536, NULL), 0);
	cr_assert_eq(metric_get(&m()->rx_fails), 0);
	offer_rx(0, 58, 1536); /* at least that many were used */
	kick_rx();
	for (; n < 40; n++)
		cr_assert_eq(received(1536, NULL), 3000);
	cr_assert_eq(received(1536, NULL), 64000);
	cr_assert_eq(metric_get(&m()->rx_fails), 0);
}

/*
 * Rings that are refilled only when more than half of them was used (as Linux does) never freeze.
 */
static void refill_late(uint16_t size)
{
	uint16_t next = 0;
	int used = 0;

	rig_boot(r, ALL, size);
	offer_rx(0, size, 1536);
	kick_rx();
	for (int i = 0; i < 1000; i++) {
		from_wire(60);
		rig_run(r, 100);
		cr_assert_eq(received(1536, NULL), 60, "ring of %u, frame %d", size, i);
		if (++used <= size / 2)
			continue;
		for (; used > 0; used--)
			rig_offer(r, 0, next++ % size);
		kick_rx();
	}
}

Test(virtio_net, small_rings_never_freeze)
{
	for (uint16_t size = 1; size <= 256; size = (uint16_t)(2 * size))
		refill_late(size);
}

Test(virtio_net, flags_only_with_guest_csum)
{
	offer_rx(0, 4, 1536);
	kick_rx();
	frame[0] = VIRTIO_NET_HDR_F_DATA_VALID;
	from_wire(60);
	rig_run(r, 100);
	cr_assert_eq(received(1536, NULL), 60);
	cr_assert_eq(got[0], VIRTIO_NET_HDR_F_DATA_VALID);
	rig_boot(r, ~(BIT(VIRTIO_NET_F_GUEST_CSUM) | GSO), 16);
	offer_rx(0, 4, 1536);
	kick_rx();
	from_wire(60);
	rig_run(r, 100);
	cr_assert_eq(received(1536, NULL), 60);
	cr_assert_eq(got[0], 0);
}

Test(virtio_net, segmented_frame_not_accepted)
{
	rig_boot(r, ~GSO, 16);
	offer_rx(0, 4, 1536);
	kick_rx();
	frame[1] = VIRTIO_NET_HDR_GSO_TCPV4;
	from_wire(60);
	frame[1] = 0;
	from_wire(61);
	rig_run(r, 100);
	cr_assert_eq(received(1536, NULL), 61);
	cr_assert_eq(metric_get(&m()->rx_fails), 1);
}

Test(virtio_net, receive_is_bounded_per_event)
{
	int n = 0;

	offer_rx(0, 250, 1536);
	kick_rx();
	for (int i = 0; i < 200; i++)
		if (send(sock[1], frame, 72, 0) == 72)
			n++;
		else
			break;
	if (n <=
	    NET_FRAMES_PER_EVENT) { /* the socket takes few messages: fill again while it drains */
		cr_assert_eq(rig_run(r, 1), 1);
		return;
	}
	cr_assert_eq(rig_run(r, 1), 1);
	cr_assert_eq(rig_get16(r, r->q[0].used + 2), NET_FRAMES_PER_EVENT);
}

Test(virtio_net, receive_bytes_are_bounded_per_event)
{
	int size = 16 << 20, n = 0;

	setsockopt(sock[1], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	offer_rx(0, 250, 27000);
	kick_rx();
	while (n < 60 && send(sock[1], frame, 60000, 0) == 60000)
		n++;
	if (n < 40)
		cr_skip_test("no right to a socket buffer of that size");
	cr_assert_eq(rig_run(r, 1), 1);
	cr_assert_lt(metric_get(&m()->rx_packets_count), 20);
	rig_run(r, 100);
	cr_assert_eq(metric_get(&m()->rx_packets_count), n);
}

Test(virtio_net, reset_forgets_buffers)
{
	offer_rx(0, 100, 1536);
	kick_rx();
	rig_write(r, VIRTIO_MMIO_STATUS, 0);
	from_wire(60);
	cr_assert_leq(rig_run(r, 100), 1, "goes to sleep");
	cr_assert_eq(rig_run(r, 100), 0);
	rig_boot(r, ALL, 256);
	cr_assert_eq(net->pair[0].nr_rx, 0);
	offer_rx(200, 2, 1536);
	kick_rx();
	cr_assert_eq(received(1536, NULL), 60);
}

Test(virtio_net, wire_closes)
{
	offer_rx(0, 10, 1536);
	kick_rx();
	shutdown(sock[0], SHUT_RDWR);
	close(sock[1]);
	sock[1] = -1;
	cr_assert_leq(rig_run(r, 100), 3, "no spin on a tap that has gone");
	cr_assert_not(net->pair[0].tap.added);
	kick_rx();
	cr_assert_eq(rig_status(r), 15);
}

/* ---- a real tap ---- */

static int make_tap(const char *name, short flags)
{
	struct ifreq ifr = { .ifr_flags = flags };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	snprintf(ifr.ifr_name, IFNAMSIZ, "%s", name);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &ifr) < 0 || ioctl(fd, TUNSETPERSIST, 1) < 0)
		return -1;
	close(fd);
	return 0;
}

/* Skip where we may not make a namespace or a tap: the socket pair has shown most of it. */
static void need_tap(void)
{
	if (unshare(CLONE_NEWNET) < 0 || make_tap("mote0", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR) < 0)
		cr_skip_test("no right to make a tap");
}

Test(virtio_net, tap_refusals)
{
	struct err e;

	need_tap();
	cr_assert_eq(tap_open("", false, &e), -EINVAL);
	cr_assert_eq(tap_open("a-name-of-16-char", false, &e), -EINVAL);
	cr_assert_eq(tap_open("tap%d", false, &e), -EINVAL);
	cr_assert_eq(tap_open("a/b", false, &e), -EINVAL);

	cr_assert_eq(tap_open("absent0", false, &e), -ENODEV);
	cr_assert_not_null(strstr(e.msg, "absent0"));
	cr_assert_not_null(strstr(e.msg, "ip tuntap add"));

	cr_assert_eq(make_tap("multi0", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE), 0);
	cr_assert_eq(tap_open("multi0", false, &e), -EINVAL);
	cr_assert_not_null(strstr(e.msg, "Invalid TUN/TAP Backend provided by multi0"), "%s",
			   e.msg);

	cr_assert_eq(make_tap("tun0", IFF_TUN | IFF_NO_PI), 0);
	cr_assert_eq(tap_open("tun0", false, &e), -EINVAL);
	cr_assert_lt(tap_open("lo", false, &e), 0);

	cr_assert_geq(tap_open("mote0", false, &e), 0);
	cr_assert_eq(tap_open("mote0", false, &e), -EBUSY);
	cr_assert_not_null(strstr(e.msg, "another process"));
}

/* Whether an offload of the tap is on. */
static uint32_t offload(int any_socket, uint32_t cmd)
{
	struct ethtool_value v = { .cmd = cmd };
	struct ifreq ifr = { .ifr_name = "mote0", .ifr_data = (void *)&v };

	cr_assert_eq(ioctl(any_socket, SIOCETHTOOL, &ifr), 0);
	return v.data;
}

/* What `ip link delete` does. */
static void delete_interface(int index)
{
	struct {
		struct nlmsghdr h;
		struct ifinfomsg i;
	} msg = {
		.h = { .nlmsg_len = sizeof(msg),
		       .nlmsg_type = RTM_DELLINK,
		       .nlmsg_flags = NLM_F_REQUEST },
		.i = { .ifi_index = index },
	};
	int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);

	cr_assert_eq(send(fd, &msg, sizeof(msg), 0), sizeof(msg));
	close(fd);
}

Test(virtio_net, tap_both_ways)
{
	struct ifreq ifr = { .ifr_name = "mote0" };
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_protocol = htons(0x88b5) };
	struct err e;
	uint8_t buf[2048];
	int fd, wire_fd;
	ssize_t n;

	need_tap();
	fd = tap_open("mote0", false, &e);
	cr_assert_geq(fd, 0, "%s", e.msg);
	wire_fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, htons(0x88b5));
	cr_assert_eq(ioctl(wire_fd, SIOCGIFINDEX, &ifr), 0);
	to.sll_ifindex = ifr.ifr_ifindex;
	ifr.ifr_flags = IFF_UP;
	cr_assert_eq(ioctl(wire_fd, SIOCSIFFLAGS, &ifr), 0);
	cr_assert_eq(bind(wire_fd, (struct sockaddr *)&to, sizeof(to)), 0);

	net_destroy(net);
	interface(fd, NET_TAP);
	tx_head = 0;
	rig_boot(r, ALL, 256);
	offer_rx(0, 100, 1536);
	kick_rx();

	memset(frame + NET_HDR_LEN, 0xff, 6);
	frame[NET_HDR_LEN + 12] = 0x88;
	frame[NET_HDR_LEN + 13] = 0xb5;
	send_frame(200, 2);
	cr_assert_eq(metric_get(&m()->tx_packets_count), 1);
	n = recv(wire_fd, buf, sizeof(buf), 0);
	cr_assert_eq(n, 200);
	cr_assert_eq(memcmp(buf, frame + NET_HDR_LEN, 200), 0);

	/* The namespace may have sent something of its own (IPv6): look for ours. */
	n = sendto(wire_fd, frame + NET_HDR_LEN, 300, 0, (struct sockaddr *)&to, sizeof(to));
	cr_assert_eq(n, 300);
	rig_run(r, 100);
	for (;;) {
		uint32_t id, len;

		cr_assert(rig_used(r, 0, &id, &len), "our frame did not come");
		rig_get(r, RIG_DATA + 1536ULL * id, got, len);
		if (len == 312 && memcmp(got + NET_HDR_LEN, frame + NET_HDR_LEN, 300) == 0)
			break;
	}

	/* All subsets of offloads that a driver may accept must suit the tap. */
	for (uint32_t i = 0; i < 64; i++) {
		uint64_t mask = BIT(VIRTIO_F_VERSION_1);

		mask |= i & 1 ? BIT(VIRTIO_NET_F_GUEST_CSUM) : 0;
		mask |= i & 2 ? BIT(VIRTIO_NET_F_GUEST_TSO4) : 0;
		mask |= i & 4 ? BIT(VIRTIO_NET_F_GUEST_TSO6) : 0;
		mask |= i & 8 ? BIT(VIRTIO_NET_F_GUEST_UFO) : 0;
		/* Those that the tap does not know are not offered. */
		mask |= i & 16 ? BIT(VIRTIO_NET_F_GUEST_USO4) : 0;
		mask |= i & 32 ? BIT(VIRTIO_NET_F_GUEST_USO6) : 0;
		if (i & 62 && !(i & 1))
			continue;
		rig_boot(r, mask, 16);
		cr_assert_eq(rig_status(r), 15, "offloads %u", i);
		cr_assert_eq(offload(wire_fd, ETHTOOL_GTXCSUM), i & 1, "offloads %u", i);
		cr_assert_eq(offload(wire_fd, ETHTOOL_GTSO), (i & 6) != 0, "offloads %u", i);
	}

	/* A tap that is down loses frames, not buffers. */
	ifr.ifr_flags = 0;
	cr_assert_eq(ioctl(wire_fd, SIOCSIFFLAGS, &ifr), 0);
	rig_boot(r, ALL, 256);
	tx_head = 0;
	send_frame(200, 2);
	cr_assert(rig_used(r, 1, NULL, NULL));
	cr_assert_gt(metric_get(&m()->tap_write_fails), 0);
	cr_assert_eq(rig_status(r), 15);
	cr_assert_leq(rig_run(r, 100), 2);

	/* One that is deleted is let go of, and the guest lives. */
	offer_rx(0, 100, 1536);
	kick_rx();
	delete_interface(to.sll_ifindex);
	cr_assert_leq(rig_run(r, 100), 2, "spins");
	cr_assert_not(net->pair[0].tap.added);
	send_frame(200, 2);
	cr_assert(rig_used(r, 1, NULL, NULL));
	kick_rx();
	rig_boot(r, BIT(VIRTIO_F_VERSION_1), 256);
	kick_rx();
	cr_assert_eq(rig_run(r, 100), 0);
}
