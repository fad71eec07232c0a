/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An interface of several queue pairs: what the driver asks for on the control queue, hostile
 * values included, and limits that all pairs share.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/byteorder.h"
#include "tests/unit/virtio_rig.h"
#include "virtio/net_device.h"

#define BIT(n)	(1ULL << (n))
#define PAIRS	2
#define CTRL_Q	4 /* behind two pairs */
#define FRAME	60u
#define ACK	(RIG_SMALL + 0x100)
#define COMMAND RIG_SMALL

static struct rig rig;
static struct rig *const r = &rig;
static struct net *net;
static int sock[PAIRS][2]; /* [..][0]: the device's end */
static uint64_t now;

static void interface(enum net_backend backend, int fd0, int fd1)
{
	struct net_params p = {
		.id = "eth0",
		.fd = { fd0, fd1 },
		.nr_pairs = PAIRS,
		.backend = backend,
	};

	cr_assert_eq(net_create(&net, &p, &r->host, NULL), 0);
	r->dev = net_virtio(net);
	r->tap = NULL;
}

static void setup(void)
{
	rig_init(r);
	for (int i = 0; i < PAIRS; i++)
		cr_assert_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, sock[i]), 0);
	interface(NET_DGRAM, sock[0][0], sock[1][0]);
	rig_boot(r, UINT64_MAX, 64);
}

static void teardown(void)
{
	net_destroy(net);
	for (int i = 0; i < PAIRS; i++) {
		close(sock[i][0]);
		close(sock[i][1]);
	}
	rig_fini(r);
}

TestSuite(virtio_net_mq, .init = setup, .fini = teardown);

/* Everything that is to be done, on both queues of the tap. */
static void run(void)
{
	for (int i = 0; i < PAIRS; i++) {
		r->tap = &net->pair[i].tap;
		rig_run(r, 1000);
	}
	r->tap = NULL;
	rig_run(r, 1000);
}

/* A command of @len bytes in queue @q; returns the answer, -1 when there is none. */
static int command(unsigned int q, const void *bytes, uint32_t len)
{
	uint8_t ack = 0x55;
	uint32_t written;

	rig_put(r, COMMAND, bytes, len);
	rig_put(r, ACK, &ack, 1);
	/* As Linux has it: class and command, data, answer. */
	rig_desc(r, q, 0, COMMAND, len < 2 ? len : 2, NEXT, len > 2 ? 1 : 2);
	rig_desc(r, q, 1, COMMAND + 2, len - 2, NEXT, 2);
	rig_desc(r, q, 2, ACK, 1, WRITE, 0);
	rig_offer(r, q, 0);
	rig_kick(r, q);
	run();
	if (!rig_used(r, q, NULL, &written))
		return -1;
	cr_assert_eq(written, 1);
	rig_get(r, ACK, &ack, 1);
	return ack;
}

static int set_pairs(uint16_t nr)
{
	uint8_t raw[4] = { VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET };

	le16_put(raw + 2, nr);
	return command(CTRL_Q, raw, sizeof(raw));
}

static void offer_rx(unsigned int pair)
{
	for (uint16_t i = 0; i < 64; i++) {
		rig_desc(r, 2 * pair, i, RIG_DATA + 0x80000 * pair + 4096ULL * i, 4096, WRITE, 0);
		rig_offer(r, 2 * pair, i);
	}
	rig_kick(r, 2 * pair);
	run();
}

static void from_wire(unsigned int pair)
{
	uint8_t buf[NET_HDR_LEN + FRAME] = { 0 };

	cr_assert_eq(send(sock[pair][1], buf, sizeof(buf), 0), sizeof(buf));
	run();
}

static void send_frames(unsigned int pair, uint16_t first, uint16_t nr)
{
	static const uint8_t zero[NET_HDR_LEN + FRAME];
	unsigned int q = 2 * pair + 1;

	rig_put(r, RIG_DATA + 0x200000, zero, sizeof(zero));
	for (uint16_t i = first; i < first + nr; i++) {
		rig_desc(r, q, i, RIG_DATA + 0x200000, sizeof(zero), 0, 0);
		rig_offer(r, q, i);
	}
	rig_kick(r, q);
	run();
}

/* How many frames came out of a pair. */
static int wire(unsigned int pair)
{
	uint8_t buf[256];
	int nr = 0;

	while (recv(sock[pair][1], buf, sizeof(buf), 0) > 0)
		nr++;
	return nr;
}

Test(virtio_net_mq, features_and_config)
{
	uint8_t config[10];

	cr_assert(rig_features(r) & BIT(VIRTIO_NET_F_MQ));
	cr_assert(rig_features(r) & BIT(VIRTIO_NET_F_CTRL_VQ));
	for (unsigned int i = 0; i < sizeof(config); i++)
		virtio_mmio_bus_ops.read(r->dev, VIRTIO_MMIO_CONFIG + i, config + i, 1);
	cr_assert_eq(le16_get(config + 8), PAIRS);
	cr_assert_eq(virtio_nr_queues(r->dev), 5);
	cr_assert_eq(rig_status(r), 15);

	rig_negotiate(r, ~BIT(VIRTIO_NET_F_CTRL_VQ));
	cr_assert_eq(rig_status(r), 3, "queue pairs need the control queue");
}

Test(virtio_net_mq, pairs_come_and_go)
{
	offer_rx(0);
	offer_rx(1);

	/* One at first. */
	from_wire(0);
	cr_assert(rig_used(r, 0, NULL, NULL));
	from_wire(1);
	cr_assert_not(rig_used(r, 2, NULL, NULL));
	send_frames(1, 0, 1);
	cr_assert_eq(wire(1), 0);

	/* What waited goes on, with no further kick. */
	cr_assert_eq(set_pairs(2), VIRTIO_NET_OK);
	cr_assert(rig_used(r, 2, NULL, NULL));
	cr_assert_eq(wire(1), 1);
	for (int i = 0; i < 3; i++) {
		from_wire(1);
		cr_assert(rig_used(r, 2, NULL, NULL));
		from_wire(0);
		cr_assert(rig_used(r, 0, NULL, NULL));
	}
	cr_assert_not(rig_used(r, 0, NULL, NULL));

	cr_assert_eq(set_pairs(1), VIRTIO_NET_OK);
	from_wire(1);
	cr_assert_not(rig_used(r, 2, NULL, NULL));
	from_wire(0);
	cr_assert(rig_used(r, 0, NULL, NULL));

	/* A reset is back to one. */
	cr_assert_eq(set_pairs(2), VIRTIO_NET_OK);
	cr_assert_eq(net->nr_active, 2);
	rig_boot(r, UINT64_MAX, 64);
	run();
	cr_assert_eq(net->nr_active, 1);
	cr_assert_eq(rig_status(r), 15);
}

Test(virtio_net_mq, hostile_commands)
{
	static const struct {
		uint8_t bytes[4];
		uint32_t len;
	} bad[] = {
		{ { VIRTIO_NET_CTRL_MQ, 0, 0, 0 }, 4 },	   /* no pair */
		{ { VIRTIO_NET_CTRL_MQ, 0, 3, 0 }, 4 },	   /* more than there are */
		{ { VIRTIO_NET_CTRL_MQ, 0, 1, 1 }, 4 },	   /* 257 */
		{ { VIRTIO_NET_CTRL_MQ, 0, 0, 0x80 }, 4 }, /* 0x8000, the largest there is */
		{ { VIRTIO_NET_CTRL_MQ, 0, 0xff, 0xff }, 4 },
		{ { VIRTIO_NET_CTRL_MQ, 1, 2, 0 }, 4 }, /* RSS was not offered */
		{ { VIRTIO_NET_CTRL_MQ, 0xff, 2, 0 }, 4 },
		{ { VIRTIO_NET_CTRL_RX, 0, 1, 0 }, 3 },
		{ { VIRTIO_NET_CTRL_MAC, 1, 2, 0 }, 4 },
		{ { 0xff, 0, 2, 0 }, 4 },
		{ { VIRTIO_NET_CTRL_MQ, 0, 2 }, 3 }, /* cut */
		{ { VIRTIO_NET_CTRL_MQ, 0 }, 2 },
		{ { VIRTIO_NET_CTRL_MQ }, 1 },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		cr_assert_eq(command(CTRL_Q, bad[i].bytes, bad[i].len), VIRTIO_NET_ERR, "row %zu",
			     i);
		cr_assert_eq(net->nr_active, 1);
	}
	cr_assert_eq(set_pairs(2), VIRTIO_NET_OK, "it goes on");
	cr_assert_eq(rig_status(r), 15);

	/* Many at once are all answered. */
	for (int i = 0; i < 40; i++)
		rig_offer(r, CTRL_Q, 0), rig_kick(r, CTRL_Q), run();
	for (int i = 0; i < 40; i++)
		cr_assert(rig_used(r, CTRL_Q, NULL, NULL), "%d", i);

	/* No room for the answer. */
	rig_desc(r, CTRL_Q, 0, COMMAND, 4, 0, 0);
	rig_offer(r, CTRL_Q, 0);
	rig_kick(r, CTRL_Q);
	run();
	cr_assert(rig_failed(r));
}

/* 5.1.2: without MQ the control queue is the third. */
Test(virtio_net_mq, driver_with_one_pair)
{
	static const uint8_t set[] = { VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, 2, 0 };

	rig_boot(r, ~BIT(VIRTIO_NET_F_MQ), 64);
	cr_assert_eq(rig_status(r), 15);
	cr_assert_eq(command(2, set, sizeof(set)), VIRTIO_NET_ERR);
	cr_assert_eq(net->nr_active, 1);
	cr_assert_eq(command(CTRL_Q, set, sizeof(set)), -1);
	offer_rx(0);
	from_wire(0);
	cr_assert(rig_used(r, 0, NULL, NULL));
}

static uint64_t simulated(void)
{
	return now;
}

/* Two frames each 100 ms for all pairs together, and no pair waits for ever. */
Test(virtio_net_mq, pairs_share_their_limits)
{
	struct bucket_params none = { 0, 0, 0 }, ops = { 2, 0, 100 };
	struct throttle *t = &r->dev->queue[NET_TX].throttle;
	int nr[PAIRS] = { 0, 0 };

	now = 1000000000;
	t->now_ns = simulated;
	cr_assert_eq(set_pairs(2), VIRTIO_NET_OK);
	virtio_set_limits(r->dev, NET_TX, &none, &ops);
	for (unsigned int pair = 0; pair < PAIRS; pair++)
		send_frames(pair, 0, 20);
	for (int i = 0; i < 18; i++) {
		int all = 0;

		for (unsigned int pair = 0; pair < PAIRS; pair++) {
			int n = wire(pair);

			nr[pair] += n;
			all += n;
		}
		cr_assert_leq(all, 2, "turn %d", i);
		cr_assert(t->closed);
		cr_assert_not(i > 6 && (nr[0] == 0 || nr[1] == 0), "one has all");
		now = t->open_at_ns;
		t->timer.fn(t->timer.ctx);
		run();
	}
	virtio_set_limits(r->dev, NET_TX, &none, &none);
	run();
	nr[0] += wire(0);
	nr[1] += wire(1);
	cr_assert_eq(nr[0], 20);
	cr_assert_eq(nr[1], 20);
}

static bool detached(int fd)
{
	struct ifreq ifr = { .ifr_flags = 0 };

	cr_assert_eq(ioctl(fd, TUNGETIFF, &ifr), 0);
	return ifr.ifr_flags & IFF_DETACH_QUEUE;
}

Test(virtio_net_mq, tap)
{
	struct ifreq ifr = { .ifr_name = "mq0",
			     .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE };
	struct err e;
	int fd[PAIRS], maker;

	maker = unshare(CLONE_NEWNET) < 0 ? -1 : open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (maker < 0 || ioctl(maker, TUNSETIFF, &ifr) < 0 || ioctl(maker, TUNSETPERSIST, 1) < 0)
		cr_skip_test("no right to make a tap");
	close(maker);
	for (int i = 0; i < PAIRS; i++) {
		fd[i] = tap_open("mq0", true, &e);
		cr_assert_geq(fd[i], 0, "%s", e.msg);
	}
	net_destroy(net);
	interface(NET_TAP, fd[0], fd[1]);
	rig_boot(r, UINT64_MAX, 64);
	cr_assert_eq(rig_status(r), 15);
	cr_assert_not(detached(fd[0]));
	cr_assert(detached(fd[1]));
	cr_assert_eq(set_pairs(2), VIRTIO_NET_OK);
	cr_assert_not(detached(fd[1]));
	cr_assert_eq(set_pairs(2), VIRTIO_NET_OK);
	cr_assert_eq(set_pairs(1), VIRTIO_NET_OK);
	cr_assert(detached(fd[1]));

	/* A tap that was made for one queue says what it should be. */
	ifr = (struct ifreq){ .ifr_name = "one0", .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	maker = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	cr_assert_eq(ioctl(maker, TUNSETIFF, &ifr), 0);
	cr_assert_lt(tap_open("one0", true, &e), 0);
	cr_assert_not_null(strstr(e.msg, "multi_queue"), "%s", e.msg);
	close(maker);
}

/* Made and taken down, or refused as a whole where the host has no vhost-net. */
Test(virtio_net_mq, vhost)
{
	struct net_params p = { .id = "eth0", .fd = { -1, -1 }, .nr_pairs = PAIRS, .vhost = true };
	struct err e = { 0 };
	int ret;

	net_destroy(net);
	net = NULL;
	ret = net_create(&net, &p, &r->host, &e);
	if (ret) {
		cr_assert_null(net);
		cr_assert_not_null(strstr(e.msg, "modprobe vhost_net"), "%s", e.msg);
		return;
	}
	for (unsigned int q = 0; q < CTRL_Q; q++)
		cr_assert_neq(virtio_kick_fd(net_virtio(net), q),
			      net_virtio(net)->queue[q].kick.fd);
	cr_assert_eq(virtio_kick_fd(net_virtio(net), CTRL_Q),
		     net_virtio(net)->queue[CTRL_Q].kick.fd);
}
