/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_virtio_ring.c - the rings around the descriptors: avail indexes that jump, heads that are out
 * already, where rings may lie, and who asks whom for kicks and interrupts. virtio 1.2, 2.7.6 to
 * 2.7.10.
 */
#include <errno.h>

#include "tests/unit/vq_rig.h"

TestSuite(virtio_ring, .init = vq_rig_setup, .fini = vq_rig_teardown);

/* Offer one good chain, then set the avail index to @idx. */
static int pop_after_jump(uint16_t idx)
{
	rig_desc(r, 0, 0, RIG_DATA, 16, 0, 0);
	rig_put16(r, r->q[0].avail + 2, idx);
	return vq_pop(&vq, &chain);
}

Test(virtio_ring, avail_runs_away)
{
	cr_assert_eq(pop_after_jump(17), -EBADMSG);
	cr_assert_str_eq(vq.fault, "avail index jumped");
}

Test(virtio_ring, avail_full_queue)
{
	for (uint16_t i = 0; i < 16; i++) {
		rig_desc(r, 0, i, RIG_DATA, 16, 0, 0);
		rig_offer(r, 0, i);
	}
	for (int i = 0; i < 16; i++)
		cr_assert_eq(vq_pop(&vq, &chain), 1);
	cr_assert_eq(vq_pop(&vq, &chain), 0);
}

Test(virtio_ring, avail_backwards)
{
	rig_desc(r, 0, 0, RIG_DATA, 16, 0, 0);
	rig_offer(r, 0, 0);
	cr_assert_eq(vq_pop(&vq, &chain), 1);
	cr_assert_eq(vq_complete(&vq, 0, 0), 0);
	cr_assert_eq(pop_after_jump(0), -EBADMSG);
	cr_assert_str_eq(vq.fault, "avail index jumped");
}

Test(virtio_ring, avail_65535)
{
	cr_assert_eq(pop_after_jump(65535), -EBADMSG);
}

Test(virtio_ring, avail_beyond_what_is_in_flight)
{
	/* Eight out, nine more: together more than there are descriptors. */
	for (uint16_t i = 0; i < 16; i++)
		rig_desc(r, 0, i, RIG_DATA, 16, 0, 0);
	for (uint16_t i = 0; i < 8; i++) {
		rig_offer(r, 0, i);
		cr_assert_eq(vq_pop(&vq, &chain), 1);
	}
	cr_assert_eq(pop_after_jump(17), -EBADMSG);
	cr_assert_str_eq(vq.fault, "avail index jumped");
}

Test(virtio_ring, same_head_twice)
{
	rig_desc(r, 0, 0, RIG_DATA, 16, 0, 0);
	rig_offer(r, 0, 0);
	cr_assert_eq(vq_pop(&vq, &chain), 1);
	rig_offer(r, 0, 0);
	cr_assert_eq(vq_pop(&vq, &chain), -EBADMSG);
	cr_assert_str_eq(vq.fault, "chain head is already in flight");
}

Test(virtio_ring, same_head_again_after_completion)
{
	uint32_t id, len;

	for (uint32_t i = 0; i < 70000; i++) { /* beyond the wrap of all indexes */
		rig_desc(r, 0, 5, RIG_DATA, 16, WRITE, 0);
		rig_offer(r, 0, 5);
		cr_assert_eq(vq_pop(&vq, &chain), 1);
		cr_assert_eq(vq_complete(&vq, 5, i), 0);
		cr_assert_not(rig_used(r, 0, &id, &len), "not seen before it is published");
		cr_assert_eq(vq_publish(&vq), 0);
		cr_assert(rig_used(r, 0, &id, &len));
		cr_assert_eq(id, 5);
		cr_assert_eq(len, i);
	}
}

Test(virtio_ring, configure_size)
{
	static const struct {
		uint32_t size;
		int ret;
	} row[] = {
		{ 0, -EINVAL },
		{ 1, 0 },
		{ 2, 0 },
		{ 3, -EINVAL },
		{ 24, -EINVAL },
		{ 128, 0 },
		{ 255, -EINVAL },
		{ 256, 0 },
		{ 257, -EINVAL },
		{ 512, -EINVAL },
		{ 32768, -EINVAL },
		{ 65536, -EINVAL },
		{ 0x80000000, -EINVAL },
		{ UINT32_MAX, -EINVAL },
	};

	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		struct vq_ring ring = ring_of(row[i].size);

		vq_init(&vq, r->mem);
		cr_assert_eq(vq_configure(&vq, &ring), row[i].ret, "size %u", row[i].size);
		cr_assert_eq(vq.ready, row[i].ret == 0);
	}
}

static int configure(uint64_t desc, uint64_t avail, uint64_t used)
{
	struct vq_ring ring = {
		.size = 16, .desc = GPA(desc), .avail = GPA(avail), .used = GPA(used)
	};

	vq_init(&vq, r->mem);
	return vq_configure(&vq, &ring);
}

Test(virtio_ring, configure_alignment)
{
	cr_assert_eq(configure(0x1000, 0x2002, 0x3004), 0);
	cr_assert_eq(configure(0x1008, 0x2000, 0x3000), -EINVAL);
	cr_assert_eq(configure(0x1000, 0x2001, 0x3000), -EINVAL);
	cr_assert_eq(configure(0x1000, 0x2000, 0x3002), -EINVAL);
}

Test(virtio_ring, configure_outside_ram)
{
	static const uint64_t end = RIG_RAM0_LEN;

	/* up to the last byte: 256, 38 and 134 bytes */
	cr_assert_eq(configure(end - 256, 0x2000, 0x3000), 0);
	cr_assert_eq(configure(0x1000, end - 38, 0x3000), 0);
	cr_assert_eq(configure(0x1000, 0x2000, end - 136), 0);
	/* one step further */
	cr_assert_eq(configure(end - 240, 0x2000, 0x3000), -EFAULT);
	cr_assert_eq(configure(0x1000, end - 36, 0x3000), -EFAULT);
	cr_assert_eq(configure(0x1000, 0x2000, end - 132), -EFAULT);
	cr_assert_eq(configure(RIG_HOLE, 0x2000, 0x3000), -EFAULT);
	cr_assert_eq(configure(0x1000, RIG_HOLE, 0x3000), -EFAULT);
	cr_assert_eq(configure(0x1000, 0x2000, RIG_HOLE), -EFAULT);
	cr_assert_eq(configure(UINT64_MAX - 15, 0x2000, 0x3000), -EFAULT);
	cr_assert_eq(configure(0x1000, UINT64_MAX - 1, 0x3000), -EFAULT);
	cr_assert_eq(configure(0x1000, 0x2000, UINT64_MAX - 3), -EFAULT);
}

/* Complete @n chains and say whether the guest wants an interrupt. */
static bool complete(uint16_t n)
{
	for (uint16_t i = 0; i < n; i++) {
		rig_desc(r, 0, i, RIG_DATA, 1, WRITE, 0);
		rig_offer(r, 0, i);
		cr_assert_eq(vq_pop(&vq, &chain), 1);
		cr_assert_eq(vq_complete(&vq, i, 0), 0);
	}
	cr_assert_eq(vq_publish(&vq), 0);
	return vq_should_notify(&vq);
}

Test(virtio_ring, notify_by_flag)
{
	cr_assert_not(vq_should_notify(&vq), "nothing published");
	cr_assert(complete(1));
	cr_assert_not(vq_should_notify(&vq), "once");
	rig_avail_flags(r, 0, VRING_AVAIL_F_NO_INTERRUPT);
	cr_assert_not(complete(3));
	rig_avail_flags(r, 0, 0);
	cr_assert(complete(1));
}

Test(virtio_ring, notify_by_event_index)
{
	start(16, true, true);
	rig_used_event(r, 0, 0);
	cr_assert(complete(1), "0 -> 1 passes event 0");
	cr_assert_not(complete(1), "event already passed");
	rig_used_event(r, 0, 4);
	cr_assert_not(complete(1), "3");
	cr_assert_not(complete(1), "4");
	cr_assert(complete(1), "5");
	rig_used_event(r, 0, 8);
	cr_assert(complete(6), "5 -> 11 passes 8");
	rig_avail_flags(r, 0, VRING_AVAIL_F_NO_INTERRUPT);
	rig_used_event(r, 0, 11);
	cr_assert(complete(1), "the flag counts for nothing");
}

Test(virtio_ring, kick_by_flag)
{
	vq_disable_kick(&vq);
	cr_assert_eq(rig_get16(r, r->q[0].used), VRING_USED_F_NO_NOTIFY);
	cr_assert_not(vq_enable_kick(&vq));
	cr_assert_eq(rig_get16(r, r->q[0].used), 0);
	rig_desc(r, 0, 0, RIG_DATA, 1, 0, 0);
	rig_offer(r, 0, 0);
	cr_assert(vq_enable_kick(&vq), "one came before kicks were enabled");
}

Test(virtio_ring, kick_by_event_index)
{
	start(16, true, true);
	vq_disable_kick(&vq);
	cr_assert_eq(rig_get16(r, r->q[0].used), 0, "flags are not used");
	rig_desc(r, 0, 0, RIG_DATA, 1, 0, 0);
	rig_offer(r, 0, 0);
	cr_assert_eq(vq_pop(&vq, &chain), 1);
	cr_assert_not(vq_enable_kick(&vq));
	cr_assert_eq(rig_get16(r, r->q[0].used + 4 + 8 * 16), 1, "avail_event");
}
