/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_virtio_blk_queues.c - when a disk's requests are taken up and answered: so much at a time, not
 * after a reset, interrupts that were asked for, and several queues with limits for all of them.
 */
#include <unistd.h>

#include "base/byteorder.h"
#include "tests/unit/blk_rig.h"

TestSuite(virtio_blk_queues, .init = blk_rig_setup, .fini = blk_rig_teardown);

/* 256 requests of one sector: one handler call may not do them all. */
Test(virtio_blk_queues, bounded_number_per_event)
{
	int n = 0;

	header(VIRTIO_BLK_T_IN, 0);
	rig_desc(r, 0, 0, RIG_SMALL, 16, NEXT, 1);
	for (uint16_t i = 0; i < 100; i++) {
		rig_desc(r, 0, 2u * i, RIG_SMALL, 16, NEXT, (uint16_t)(2 * i + 1));
		rig_desc(r, 0, 2u * i + 1, RIG_DATA, 513, WRITE, 0);
		rig_offer(r, 0, (uint16_t)(2 * i));
	}
	rig_kick(r, 0);
	cr_assert_eq(rig_run(r, 1), 1);
	while (rig_used(r, 0, NULL, NULL))
		n++;
	cr_assert_gt(n, 0);
	cr_assert_lt(n, 100);
	rig_run(r, 100);
	while (rig_used(r, 0, NULL, NULL))
		n++;
	cr_assert_eq(n, 100, "and none may be left behind");
}

/* A request of several MiB is done in slices; a reset between two of them forgets it. */
static void big_request(void)
{
	cr_assert_eq(ftruncate(fd, 8 << 20), 0);
	disk(false, true, NULL);
	header(VIRTIO_BLK_T_IN, 0);
	rig_desc(r, 0, 0, RIG_SMALL, 16, NEXT, 1);
	rig_desc(r, 0, 1, RIG_DATA, 4 << 20, WRITE | NEXT, 2);
	rig_desc(r, 0, 2, STATUS, 1, WRITE, 0);
	rig_offer(r, 0, 0);
	rig_kick(r, 0);
	cr_assert_eq(rig_run(r, 1), 1);
	cr_assert_not(rig_used(r, 0, NULL, NULL));
}

Test(virtio_blk_queues, bounded_bytes_per_event)
{
	uint32_t len;

	big_request();
	cr_assert_gt(rig_run(r, 100), 1);
	cr_assert(rig_used(r, 0, NULL, &len));
	cr_assert_eq(len, (4 << 20) + 1);
	cr_assert_eq(rig_get8(r, STATUS), VIRTIO_BLK_S_OK);
}

Test(virtio_blk_queues, reset_in_mid_request)
{
	uint8_t mark = UNTOUCHED;

	big_request();
	rig_put(r, STATUS, &mark, 1);
	rig_boot(r, ALL, 16);
	rig_run(r, 100);
	cr_assert_not(rig_used(r, 0, NULL, NULL));
	cr_assert_eq(rig_get8(r, STATUS), UNTOUCHED);
	cr_assert_eq(request(VIRTIO_BLK_T_GET_ID, 0, 20, NULL), VIRTIO_BLK_S_OK);
}

/* EVENT_IDX as drivers use it: no interrupt for what was not asked, none lost. */
Test(virtio_blk_queues, event_index)
{
	request(VIRTIO_BLK_T_GET_ID, 0, 20, NULL);
	cr_assert(rig_irq(r, NULL));
	rig_used_event(r, 0, 2);
	request(VIRTIO_BLK_T_GET_ID, 0, 20, NULL);
	cr_assert_not(rig_irq(r, NULL));
	request(VIRTIO_BLK_T_GET_ID, 0, 20, NULL);
	cr_assert(rig_irq(r, NULL));
	cr_assert_eq(rig_get16(r, r->q[0].used + 4 + 8 * 256), 3, "avail_event follows");
}

/* Three queues: each is served and signalled, also when one began what another one ends. */
Test(virtio_blk_queues, queues)
{
	uint32_t len;

	cr_assert_eq(ftruncate(fd, 8 << 20), 0);
	nr_queues = 3;
	disk(false, true, NULL);
	cr_assert(rig_features(r) & 1ULL << VIRTIO_BLK_F_MQ);
	cr_assert_eq(le16_get(r->dev->config + 34), 3);
	header(VIRTIO_BLK_T_IN, 0);
	for (unsigned int q = 0; q < 3; q++) {
		rig_desc(r, q, 0, RIG_SMALL, 16, NEXT, 1);
		rig_desc(r, q, 1, RIG_DATA + q, q == 2 ? (2 << 20) + 1 : 513, WRITE, 0);
		rig_offer(r, q, 0);
	}
	rig_kick(r, 2);
	cr_assert_eq(rig_run(r, 1), 1);
	cr_assert_not(rig_used(r, 2, NULL, NULL));
	rig_kick(r, 1);
	rig_kick(r, 0);
	rig_run(r, 100);
	for (unsigned int q = 0; q < 3; q++) {
		cr_assert(rig_used(r, q, NULL, &len), "queue %u", q);
		cr_assert_eq(len, q == 2 ? (2 << 20) + 1 : 513);
		cr_assert_not(rig_used(r, q, NULL, NULL));
	}
}

Test(virtio_blk_queues, as_many_queues_as_help)
{
	struct blk_params p = { .id = "disk", .fd = fd, .nr_queues = 32 };
	struct blk *other;

	cr_assert_eq(blk_create(&other, &p, &r->host, NULL), 0);
	cr_assert_eq(virtio_nr_queues(blk_virtio(other)), 4, "more would only cost memory");
	blk_destroy(other);
}

/* The limits are the disk's: what one queue uses up the others have to wait for. */
Test(virtio_blk_queues, queues_share_limits)
{
	struct bucket_params ops = { .size = 1, .refill_time_ms = 50 };
	int done = 0;

	nr_queues = 3;
	disk(false, true, NULL);
	virtio_set_limits(r->dev, 0, NULL, &ops);
	header(VIRTIO_BLK_T_IN, 0);
	for (unsigned int q = 0; q < 3; q++) {
		rig_desc(r, q, 0, RIG_SMALL, 16, NEXT, 1);
		rig_desc(r, q, 1, RIG_DATA, 513, WRITE, 0);
		rig_offer(r, q, 0);
		rig_kick(r, q);
	}
	rig_run(r, 100);
	for (unsigned int q = 0; q < 3; q++)
		done += rig_used(r, q, NULL, NULL);
	cr_assert_eq(done, 1);
	/* the end of the limits wakes all */
	ops.size = 0;
	virtio_set_limits(r->dev, 0, NULL, &ops);
	rig_run(r, 100);
	for (unsigned int q = 0; q < 3; q++)
		done += rig_used(r, q, NULL, NULL);
	cr_assert_eq(done, 3);
}
