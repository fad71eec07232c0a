/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_virtio_net.c - an interface's features and configuration, and how it ends: a broken ring, a
 * reset, a wire that closes.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/byteorder.h"
#include "tests/unit/net_rig.h"

TestSuite(virtio_net, .init = net_rig_setup, .fini = net_rig_teardown);

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
