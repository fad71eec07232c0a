/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net_rig.c - see net_rig.h.
 */
#include "tests/unit/net_rig.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct rig net_rig;
struct net *net;
int sock[2];
const uint8_t mac[6] = { 2, 0, 0, 1, 2, 3 };
uint8_t frame[NET_RX_MAX + 64];
uint8_t got[NET_RX_MAX + 64];
uint16_t tx_head;

void net_rig_interface(int fd, enum net_backend backend)
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

void net_rig_setup(void)
{
	int size = 4 << 20;

	rig_init(r);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, sock), 0);
	setsockopt(sock[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	setsockopt(sock[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	net_rig_interface(sock[0], NET_DGRAM);
	rig_boot(r, ALL, 256);
	for (size_t i = 0; i < sizeof(frame); i++)
		frame[i] = (uint8_t)(i * 7 + i / 251);
	memset(frame, 0, NET_HDR_LEN);
	memcpy(frame + NET_HDR_LEN + 6, mac, 6);
}

void net_rig_teardown(void)
{
	net_destroy(net);
	close(sock[0]);
	close(sock[1]);
	rig_fini(r);
}

void send_frame(uint32_t len, uint16_t nr)
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

size_t wire(uint8_t *buf, size_t len)
{
	ssize_t n = recv(sock[1], buf, len, 0);

	return n < 0 ? 0 : (size_t)n;
}

void offer_rx(uint16_t first, uint16_t nr, uint32_t len)
{
	for (uint16_t i = first; i < first + nr; i++) {
		rig_desc(r, 0, i, RIG_DATA + (uint64_t)len * i, len, WRITE, 0);
		rig_offer(r, 0, i);
	}
}

void kick_rx(void)
{
	rig_kick(r, 0);
	rig_run(r, 100);
}

void from_wire(uint32_t len)
{
	cr_assert_eq(send(sock[1], frame, NET_HDR_LEN + len, 0), (ssize_t)(NET_HDR_LEN + len));
}

uint32_t received(uint32_t buf_len, uint32_t *nr_bufs)
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
