/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_virtio_net_tap.c - a real tap, in a network namespace of its own where we may make one: which
 * are refused and why, frames both ways, offloads, and an interface that goes down or away.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/net_rig.h"

TestSuite(virtio_net_tap, .init = net_rig_setup, .fini = net_rig_teardown);

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

Test(virtio_net_tap, tap_refusals)
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

Test(virtio_net_tap, tap_both_ways)
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
	net_rig_interface(fd, NET_TAP);
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
