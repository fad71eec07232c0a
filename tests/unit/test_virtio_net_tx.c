/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_virtio_net_tx.c - frames that a guest sends: sizes and shapes of chains, when kicks and
 * interrupts are asked for, how much is done at once. virtio 1.2, 5.1.6.2.
 */
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "tests/unit/net_rig.h"

TestSuite(virtio_net_tx, .init = net_rig_setup, .fini = net_rig_teardown);

Test(virtio_net_tx, send)
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

Test(virtio_net_tx, send_runt_and_giant)
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

Test(virtio_net_tx, send_less_than_a_header)
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

Test(virtio_net_tx, send_huge_chain)
{
	/* 7 MiB as one "frame" */
	rig_desc(r, 1, 0, RIG_DATA, 7 << 20, 0, 0);
	rig_offer(r, 1, 0);
	rig_kick(r, 1);
	rig_run(r, 100);
	cr_assert_eq(metric_get(&m()->tx_malformed_frames), 1);
	cr_assert(rig_used(r, 1, NULL, NULL));
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
Test(virtio_net_tx, send_interrupts_late)
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

/* The loop turns to what is sent before it looks at what the wire says. */
static void send_first(void)
{
	struct watch *w = &net->dev.queue[NET_TX].kick;

	rig_put(r, RIG_DATA, frame, NET_HDR_LEN + 60);
	rig_desc(r, 1, tx_head, RIG_DATA, NET_HDR_LEN + 60, 0, 0);
	rig_offer(r, 1, tx_head++);
	w->fn(w->ctx, EPOLLIN);
	cr_assert(rig_used(r, 1, NULL, NULL));
}

/* A peer that has answered by then: one interrupt for both, and nothing stays to be told late. */
Test(virtio_net_tx, answers_come_with_the_same_interrupt)
{
	uint64_t before;

	offer_rx(0, 200, 1536);
	kick_rx();
	rig_run(r, 100);
	before = metric_get(&net->dev.metrics.irq_triggers);
	from_wire(60);
	send_first();
	cr_assert_eq(received(1536, NULL), 60);
	cr_assert_eq(metric_get(&net->dev.metrics.irq_triggers), before + 1);
	cr_assert(rig_irq(r, NULL));
	cr_assert_not(quiet_ends(20));

	/* The next one does not: an answer then waits for its own event, and the one after not. */
	send_first();
	from_wire(60);
	send_first();
	cr_assert_eq(received(1536, NULL), 0);
	rig_run(r, 100);
	cr_assert_eq(received(1536, NULL), 60);
	from_wire(60);
	send_first();
	cr_assert_eq(received(1536, NULL), 60);
}

Test(virtio_net_tx, send_spoofed_mac)
{
	frame[NET_HDR_LEN + 6] ^= 1;
	send_frame(60, 3);
	cr_assert_eq(metric_get(&m()->tx_spoofed_mac_count), 1);
	cr_assert_eq(wire(got, sizeof(got)), 72, "counted, not stopped");
}

Test(virtio_net_tx, send_to_a_full_tap)
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

Test(virtio_net_tx, send_is_bounded_per_event)
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

Test(virtio_net_tx, send_bytes_are_bounded_per_event)
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

Test(virtio_net_tx, send_asks_for_the_next_kick)
{
	send_frame(60, 1);
	cr_assert_eq(rig_get16(r, r->q[1].used + 4 + 8 * 256), 1, "avail_event");
	rig_boot(r, ~BIT(VIRTIO_RING_F_EVENT_IDX), 16);
	tx_head = 0;
	send_frame(60, 1);
	cr_assert_eq(rig_get16(r, r->q[1].used), 0, "NO_NOTIFY taken back");
}
