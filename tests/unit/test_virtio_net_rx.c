/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_virtio_net_rx.c - frames that a guest receives: mergeable and large buffers, buffers of any
 * shape, none at all, how much is done at once. virtio 1.2, 5.1.6.3 and 5.1.6.4.
 */
#include <string.h>
#include <sys/socket.h>

#include "tests/unit/net_rig.h"

TestSuite(virtio_net_rx, .init = net_rig_setup, .fini = net_rig_teardown);

Test(virtio_net_rx, receive)
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

Test(virtio_net_rx, receive_largest)
{
	offer_rx(0, 100, 1536);
	kick_rx();
	from_wire(NET_FRAME_MAX);
	rig_run(r, 100);
	cr_assert_eq(received(1536, NULL), NET_FRAME_MAX);
}

Test(virtio_net_rx, receive_many)
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

Test(virtio_net_rx, receive_without_mergeable_buffers)
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

Test(virtio_net_rx, receive_too_large_for_the_buffer)
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

Test(virtio_net_rx, receive_too_large_for_all_buffers)
{
	offer_rx(0, 2, 1536);
	kick_rx();
	from_wire(3072 - 12 + 1);
	from_wire(3072 - 12);
	rig_run(r, 100);
	cr_assert_eq(received(1536, NULL), 3072 - 12);
	cr_assert_eq(metric_get(&m()->rx_fails), 1);
}

Test(virtio_net_rx, receive_runts)
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

Test(virtio_net_rx, no_buffers_no_spin)
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
Test(virtio_net_rx, asks_for_the_kick_that_resumes)
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

Test(virtio_net_rx, buffer_in_many_pieces)
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

Test(virtio_net_rx, buffer_in_scattered_pieces)
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

Test(virtio_net_rx, buffer_smaller_than_a_header)
{
	rig_desc(r, 0, 0, RIG_DATA, 11, WRITE, 0);
	rig_offer(r, 0, 0);
	kick_rx();
	cr_assert(rig_failed(r));
}

Test(virtio_net_rx, buffer_not_writable)
{
	rig_desc(r, 0, 0, RIG_DATA, 1536, 0, 0);
	rig_offer(r, 0, 0);
	kick_rx();
	cr_assert(rig_failed(r));
}

Test(virtio_net_rx, buffer_outside_ram)
{
	rig_desc(r, 0, 0, RIG_RAM0_LEN - 100, 1536, WRITE, 0);
	rig_offer(r, 0, 0);
	kick_rx();
	cr_assert(rig_failed(r));
}

Test(virtio_net_rx, buffers_of_megabytes)
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

Test(virtio_net_rx, buffers_of_many_tiny_pieces)
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

Test(virtio_net_rx, merged_frame_appears_at_once)
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
Test(virtio_net_rx, waits_for_room)
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

Test(virtio_net_rx, small_rings_never_freeze)
{
	for (uint16_t size = 1; size <= 256; size = (uint16_t)(2 * size))
		refill_late(size);
}

Test(virtio_net_rx, receive_is_bounded_per_event)
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

Test(virtio_net_rx, receive_bytes_are_bounded_per_event)
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
