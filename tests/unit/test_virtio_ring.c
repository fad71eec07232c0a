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

/* What was popped as buffers. */
static struct vq_buf bufs[8];
static struct iovec iov[8];
static uint32_t nr_iov;

static size_t pop_buffers(size_t max, uint32_t want)
{
	struct vq_bufs to = { .buf = bufs, .max = max, .iov = iov, .nr_iov = nr_iov };
	size_t nr = vq_pop_buffers(&vq, 12, 1000, want, &to);

	nr_iov = to.nr_iov;
	return nr;
}

/* Descriptors 0 to 5 are buffers of 64 bytes, 0 to 3 side by side; all six are offered. */
static void offer_buffers(void)
{
	for (uint16_t i = 0; i < 6; i++) {
		rig_desc(r, 0, i, RIG_DATA + 64 * i + (i > 3 ? 4096 * i : 0), 64, WRITE, 0);
		rig_offer(r, 0, i);
	}
	nr_iov = 0;
	cr_assert_eq(pop_buffers(8, 1000), 0, "only vq_pop looks at the driver's index");
	cr_assert_eq(vq_pop(&vq, &chain), 1);
	vq_unpop(&vq, &chain);
}

Test(virtio_ring, buffers_at_once)
{
	offer_buffers();
	cr_assert_eq(pop_buffers(8, 1000), 6);
	for (uint16_t i = 0; i < 6; i++) {
		cr_assert_eq(bufs[i].head, i);
		cr_assert_eq(bufs[i].len, 64);
	}
	cr_assert_eq(nr_iov, 3, "neighbours are one");
	cr_assert_eq(iov[0].iov_len, 4 * 64);
	cr_assert_eq(pop_buffers(8, 1000), 0);
	cr_assert_eq(vq_pop(&vq, &chain), 0);
	for (uint16_t i = 0; i < 6; i++)
		cr_assert_eq(vq_complete(&vq, i, 64), 0);
	rig_offer(r, 0, 5);
	cr_assert_eq(vq_pop(&vq, &chain), 1, "can be offered again");
}

Test(virtio_ring, buffers_no_more_than_asked_for)
{
	offer_buffers();
	cr_assert_eq(pop_buffers(2, 1000), 2);
	cr_assert_eq(pop_buffers(8, 65), 2);
	cr_assert_eq(nr_iov, 1, "goes on where the last call stopped");
	cr_assert_eq(iov[0].iov_len, 4 * 64);
	cr_assert_eq(pop_buffers(0, 1000), 0);
	cr_assert_eq(pop_buffers(8, 0), 0);
	cr_assert_eq(pop_buffers(8, 1), 1);
	cr_assert_eq(bufs[0].head, 4);
}

/* What is not plain, and what is wrong, is left to vq_pop. */
Test(virtio_ring, buffers_end_at_any_other_chain)
{
	static const struct {
		uint64_t addr;
		uint32_t len;
		uint16_t flags;
		bool good;
	} other[] = {
		{ RIG_DATA, 64, 0, true },		 /* readable */
		{ RIG_DATA, 64, WRITE | NEXT, true },	 /* not alone */
		{ RIG_DATA, 11, WRITE, true },		 /* too short */
		{ RIG_DATA, 1001, WRITE, true },	 /* too long */
		{ RIG_DATA, 0, WRITE, true },		 /* empty */
		{ RIG_DATA, 64, WRITE | 8, false },	 /* unknown flag */
		{ RIG_DATA, 8, WRITE | IND, false },	 /* half a table */
		{ RIG_RAM0_LEN - 63, 64, WRITE, false }, /* leaves RAM */
		{ UINT64_MAX - 63, 64, WRITE, false },
	};

	for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++) {
		start(16, true, false);
		offer_buffers();
		rig_desc(r, 0, 2, other[i].addr, other[i].len, other[i].flags, 9);
		rig_desc(r, 0, 9, RIG_DATA, 64, WRITE, 0);
		cr_assert_eq(pop_buffers(8, 1000), 2, "row %zu", i);
		cr_assert_eq(pop_buffers(8, 1000), 0, "row %zu", i);
		cr_assert_eq(vq_pop(&vq, &chain), other[i].good ? 1 : -EBADMSG, "row %zu", i);
		cr_assert_eq(pop_buffers(8, 1000), other[i].good ? 3u : 0u, "row %zu", i);
	}
}

Test(virtio_ring, buffers_head_twice)
{
	rig_desc(r, 0, 0, RIG_DATA, 64, WRITE, 0);
	rig_desc(r, 0, 1, RIG_DATA, 64, WRITE, 0);
	rig_offer(r, 0, 0);
	rig_offer(r, 0, 1);
	rig_offer(r, 0, 1);
	rig_offer(r, 0, 0);
	cr_assert_eq(vq_pop(&vq, &chain), 1);
	nr_iov = 0;
	cr_assert_eq(pop_buffers(8, 1000), 1);
	cr_assert_eq(vq_pop(&vq, &chain), -EBADMSG);
	cr_assert_str_eq(vq.fault, "chain head is already in flight");
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
