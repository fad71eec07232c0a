/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_virtio_net_stream.c - frames over a stream socket: cut anywhere, refused by a full socket,
 * and peers that lie, close and come back.
 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/byteorder.h"
#include "tests/unit/virtio_rig.h"
#include "virtio/net_device.h"

#define ALL    UINT64_MAX
#define BIT(n) (1ULL << (n))
#define BUF    2048

static struct rig rig;
static struct rig *const r = &rig;
static struct net *net;
static int listener, peer, mine;
static char folder[] = "/tmp/mote-stream.XXXXXX", path[64];
static uint8_t frame[NET_FRAME_MAX + 64], got[NET_FRAME_MAX + 64];

static void setup(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct net_params p = { .id = "eth0", .backend = NET_STREAM, .path = path };

	cr_assert_not_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/socket", folder);
	strcpy(a.sun_path, path);
	listener = socket(AF_UNIX, SOCK_STREAM, 0);
	cr_assert_eq(bind(listener, (struct sockaddr *)&a, sizeof(a)), 0);
	cr_assert_eq(listen(listener, 4), 0);
	mine = net_stream_open(path, NULL);
	cr_assert_geq(mine, 0);
	peer = accept(listener, NULL, NULL);
	rig_init(r);
	p.fd[0] = mine;
	cr_assert_eq(net_create(&net, &p, &r->host, NULL), 0);
	r->dev = net_virtio(net);
	r->tap = &net->pair[0].tap;
	rig_boot(r, ALL, 256);
	for (size_t i = 0; i < sizeof(frame); i++)
		frame[i] = (uint8_t)(i * 7 + i / 251);
}

static void teardown(void)
{
	net_destroy(net);
	close(mine);
	close(peer);
	close(listener);
	unlink(path);
	rmdir(folder);
	rig_fini(r);
}

TestSuite(virtio_net_stream, .init = setup, .fini = teardown);

static uint16_t link_status(void)
{
	uint8_t raw[2];

	for (unsigned int i = 0; i < 2; i++)
		virtio_mmio_bus_ops.read(r->dev, VIRTIO_MMIO_CONFIG + 6 + i, raw + i, 1);
	return le16_get(raw);
}

static void offer(uint16_t nr)
{
	for (uint16_t i = 0; i < nr; i++) {
		rig_desc(r, 0, i, RIG_DATA + (uint64_t)BUF * i, BUF, WRITE, 0);
		rig_offer(r, 0, i);
	}
	rig_kick(r, 0);
	rig_run(r, 100);
}

/* Bytes from the wire, and the device's turn. */
static void wire(const void *buf, size_t len)
{
	cr_assert_eq(send(peer, buf, len, 0), (ssize_t)len);
	rig_run(r, 100);
}

static void wire_frame(uint32_t len)
{
	uint32_t raw = htonl(len);

	cr_assert_eq(send(peer, &raw, sizeof(raw), 0), sizeof(raw));
	wire(frame, len);
}

/* The next frame in the used ring, without header; 0: none. */
static uint32_t received(void)
{
	uint32_t id, n, sum = 0, want;

	if (!rig_used(r, 0, &id, &n))
		return 0;
	want = rig_get16(r, RIG_DATA + (uint64_t)BUF * id + 10);
	for (uint32_t i = 1;; i++) {
		rig_get(r, RIG_DATA + (uint64_t)BUF * id, got + sum, n);
		sum += n;
		if (i == want)
			break;
		cr_assert(rig_used(r, 0, &id, &n));
	}
	for (int i = 0; i < 10; i++)
		cr_assert_eq(got[i], 0, "header byte %d", i);
	cr_assert_eq(memcmp(got + NET_HDR_LEN, frame, sum - NET_HDR_LEN), 0);
	return sum - NET_HDR_LEN;
}

Test(virtio_net_stream, features)
{
	uint64_t f = rig_features(r);

	cr_assert(f & BIT(VIRTIO_NET_F_STATUS) && f & BIT(VIRTIO_NET_F_MRG_RXBUF));
	cr_assert_not(f & (BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_GUEST_CSUM) |
			   BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO4)));
	cr_assert_eq(link_status(), VIRTIO_NET_S_LINK_UP);
}

Test(virtio_net_stream, receive)
{
	static const uint32_t len[] = { 14, 60, 1514, 2036, 2037, 9014, NET_FRAME_MAX, 60 };
	const size_t nr = sizeof(len) / sizeof(len[0]);

	offer(200);
	for (size_t i = 0; i < nr; i++)
		wire_frame(len[i]);
	for (size_t i = 0; i < nr; i++)
		cr_assert_eq(received(), len[i], "frame %zu", i);
	cr_assert_eq(metric_get(&net_metrics(net)->rx_packets_count), nr);
}

/* Three frames, of which each byte comes alone. */
Test(virtio_net_stream, receive_byte_by_byte)
{
	offer(200);
	for (int i = 0; i < 3; i++) {
		uint32_t raw = htonl(100);

		for (uint32_t b = 0; b < 4; b++)
			wire((uint8_t *)&raw + b, 1);
		for (uint32_t b = 0; b < 100; b++)
			wire(frame + b, 1);
	}
	for (int i = 0; i < 3; i++)
		cr_assert_eq(received(), 100);
	cr_assert_eq(received(), 0);
}

/* Many at once, in one write: the reads must find their borders. */
Test(virtio_net_stream, receive_batch)
{
	static uint8_t all[40 * 1518];
	size_t sum = 0;

	offer(200);
	for (uint32_t i = 0; i < 40; i++) {
		uint32_t len = 14 + i * 37, raw = htonl(len);

		memcpy(all + sum, &raw, 4);
		memcpy(all + sum + 4, frame, len);
		sum += 4 + len;
	}
	wire(all, sum);
	for (uint32_t i = 0; i < 40; i++)
		cr_assert_eq(received(), 14 + i * 37, "frame %u", i);
}

/* Runts and frames that no buffer holds are skipped; what follows arrives. */
Test(virtio_net_stream, receive_skips)
{
	offer(2);
	wire_frame(0);
	wire_frame(13);
	wire_frame(60000);
	wire_frame(60);
	cr_assert_eq(received(), 60);
	cr_assert_eq(metric_get(&net_metrics(net)->rx_fails), 3);
	cr_assert_eq(link_status(), VIRTIO_NET_S_LINK_UP);
}

/* A reset in the middle of a frame: its rest is nobody's. */
Test(virtio_net_stream, reset_in_a_frame)
{
	uint32_t raw = htonl(1000);

	offer(100);
	wire(&raw, 4);
	wire(frame, 600);
	rig_write(r, VIRTIO_MMIO_STATUS, 0);
	rig_run(r, 100);
	rig_boot(r, ALL, 256);
	offer(100);
	cr_assert_eq(send(peer, frame + 600, 400, 0), 400);
	wire_frame(77);
	cr_assert_eq(received(), 77);
	cr_assert_eq(received(), 0);
}

static void send_frame(uint16_t slot, uint32_t len)
{
	uint8_t header[NET_HDR_LEN] = { 0 };
	uint64_t at = RIG_DATA + 0x20000ULL * slot;

	rig_put(r, at, header, sizeof(header));
	rig_put(r, at + sizeof(header), frame, len);
	rig_desc(r, 1, slot, at, NET_HDR_LEN + len, 0, 0);
	rig_offer(r, 1, slot);
	rig_kick(r, 1);
	rig_run(r, 100);
}

/* Takes one frame off the wire as a peer does; the device runs meanwhile. */
static uint32_t wire_takes(void)
{
	uint32_t raw = 0, len;

	cr_assert_eq(recv(peer, &raw, 4, MSG_WAITALL), 4);
	len = ntohl(raw);
	for (uint32_t done = 0; done < len;) {
		ssize_t n = recv(peer, got + done, len - done, MSG_DONTWAIT);

		if (n > 0)
			done += (uint32_t)n;
		rig_run(r, 100);
	}
	cr_assert_eq(memcmp(got, frame, len), 0);
	return len;
}

Test(virtio_net_stream, send)
{
	static const uint32_t len[] = { 14, 60, 1514, 65000, NET_FRAME_MAX };

	for (uint16_t i = 0; i < 5; i++) {
		send_frame(i, len[i]);
		cr_assert(rig_used(r, 1, NULL, NULL));
		cr_assert_eq(wire_takes(), len[i]);
	}
	cr_assert_eq(metric_get(&net_metrics(net)->tx_packets_count), 5);
}

/* A peer that does not read stops the queue; nothing is lost, and no frame is cut in two. */
Test(virtio_net_stream, send_to_a_full_socket)
{
	uint16_t sent = 0, used = 0, taken = 0;

	for (; sent < 30; sent++)
		send_frame(sent, 30000);
	while (rig_used(r, 1, NULL, NULL))
		used++;
	cr_assert_lt(used, 30, "the socket took all");
	for (; taken < 30; taken++)
		cr_assert_eq(wire_takes(), 30000, "frame %u", taken);
	while (rig_used(r, 1, NULL, NULL))
		used++;
	cr_assert_eq(used, 30);
	cr_assert_eq(metric_get(&net_metrics(net)->tx_fails), 0);
}

static void wait_link(uint16_t want)
{
	for (int i = 0; i < 400 && link_status() != want; i++) {
		struct watch *w = &net->stream->retry.watch;
		struct pollfd p = { .fd = w->fd, .events = POLLIN };

		if (poll(&p, 1, 50) > 0) {
			pthread_mutex_lock(&r->lock);
			w->fn(w->ctx, EPOLLIN);
			pthread_mutex_unlock(&r->lock);
		}
		rig_run(r, 100);
	}
	cr_assert_eq(link_status(), want);
}

static void comes_back(void)
{
	uint32_t bits;

	cr_assert_eq(link_status(), 0);
	cr_assert(rig_irq(r, &bits));
	cr_assert(bits & VIRTIO_MMIO_INT_CONFIG);
	send_frame(9, 60);
	cr_assert(rig_used(r, 1, NULL, NULL), "lost, as on a wire that is not plugged in");
	wait_link(VIRTIO_NET_S_LINK_UP);
	peer = accept(listener, NULL, NULL);
	send_frame(10, 60);
	cr_assert_eq(wire_takes(), 60);
	wire_frame(61);
	cr_assert_eq(received(), 61);
	cr_assert_eq(rig_status(r), 15);
}

Test(virtio_net_stream, peer_goes_and_comes)
{
	offer(100);
	wire(frame, 3); /* a part of a length, which is not the next one's */
	close(peer);
	rig_run(r, 100);
	comes_back();
}

Test(virtio_net_stream, peer_ends_its_side)
{
	offer(100);
	shutdown(peer, SHUT_WR);
	rig_run(r, 100);
	cr_assert_eq(recv(peer, got, 1, 0), 0, "we hang up, too");
	close(peer);
	comes_back();
}

Test(virtio_net_stream, peer_lies_about_a_length)
{
	uint32_t raw = htonl(NET_FRAME_MAX + 1);

	offer(100);
	wire(&raw, 4);
	close(peer);
	comes_back();
}

Test(virtio_net_stream, peer_stays_away)
{
	close(peer);
	rig_run(r, 100);
	close(listener);
	for (int i = 0; i < 3; i++) {
		struct watch *w = &net->stream->retry.watch;
		struct pollfd p = { .fd = w->fd, .events = POLLIN };

		cr_assert_eq(poll(&p, 1, 10000), 1, "attempt %d", i);
		w->fn(w->ctx, EPOLLIN);
		cr_assert_eq(link_status(), 0);
	}
	cr_assert_geq(net->stream->delay_us, 800000, "slower each time");
	listener = -1;
}

Test(virtio_net_stream, open_fails)
{
	struct err e;
	char longer[200];

	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	cr_assert_eq(net_stream_open("", &e), -EINVAL);
	cr_assert_eq(net_stream_open(longer, &e), -EINVAL);
	cr_assert_eq(net_stream_open("/nowhere/socket", &e), -ENOENT);
	cr_assert_not_null(strstr(e.msg, "/nowhere/socket"));
}
