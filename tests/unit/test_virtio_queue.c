/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_virtio_queue.c - chains that break one rule at a time (loops, bad tables, buffers outside
 * RAM), and the ones that do not. virtio 1.2, 2.7.5.
 */
#include <errno.h>
#include <string.h>

#include "tests/unit/vq_rig.h"

TestSuite(virtio_queue, .init = vq_rig_setup, .fini = vq_rig_teardown);

/* The guest offers chain 0; it must be refused for the reason that @why is part of. */
static void refused(const char *why)
{
	rig_offer(r, 0, 0);
	cr_assert_eq(vq_pop(&vq, &chain), -EBADMSG, "%s: not refused", why);
	cr_assert_not_null(strstr(vq.fault, why), "refused for \"%s\", not \"%s\"", vq.fault, why);

	/* The guest mends its ring: too late. */
	rig_desc(r, 0, 0, RIG_DATA, 16, 0, 0);
	rig_put16(r, r->q[0].avail + 2, 1);
	cr_assert_eq(vq_pop(&vq, &chain), -EBADMSG, "stays refused");
}

Test(virtio_queue, empty)
{
	cr_assert_eq(vq_pop(&vq, &chain), 0);
}

Test(virtio_queue, not_ready)
{
	vq_reset(&vq);
	rig_desc(r, 0, 0, RIG_DATA, 16, 0, 0);
	rig_offer(r, 0, 0);
	rig_put(r, 0, "\x55\x55\x55\x55", 4);
	cr_assert_eq(vq_pop(&vq, &chain), 0);
	cr_assert_not(vq_enable_kick(&vq));
	vq_disable_kick(&vq);
	cr_assert_not(vq_should_notify(&vq));
	cr_assert_eq(rig_get16(r, 0), 0x5555, "nothing written at the address of no ring");
}

Test(virtio_queue, pull_push_across_segments)
{
	char text[17] = "";

	rig_put(r, RIG_SMALL, "abcdefghij", 10);
	rig_put(r, RIG_SMALL + 100, "klmnop", 6);
	rig_desc(r, 0, 3, RIG_SMALL, 10, NEXT, 5);
	rig_desc(r, 0, 5, RIG_SMALL + 100, 6, NEXT, 1);
	rig_desc(r, 0, 1, RIG_SMALL + 200, 3, NEXT | WRITE, 2);
	rig_desc(r, 0, 2, RIG_SMALL + 300, 5, WRITE, 0);
	rig_offer(r, 0, 3);
	cr_assert_eq(vq_pop(&vq, &chain), 1);
	cr_assert_eq(chain.head, 3);
	cr_assert_eq(chain.readable_left, 16);
	cr_assert_eq(chain.writable_left, 8);

	cr_assert_eq(vq_chain_pull(&chain, text, 17), -ENODATA);
	cr_assert_eq(chain.readable_left, 16, "a short pull consumes nothing");
	cr_assert_eq(vq_chain_pull(&chain, text, 4), 0);
	cr_assert_eq(vq_chain_pull(&chain, text + 4, 12), 0);
	cr_assert_str_eq(text, "abcdefghijklmnop");
	cr_assert_eq(vq_chain_pull(&chain, text, 1), -ENODATA);

	cr_assert_eq(vq_chain_push(&chain, "123456789", 9), -ENOSPC);
	cr_assert_eq(vq_chain_push(&chain, "12", 2), 0);
	cr_assert_eq(vq_chain_push(&chain, "3456789", 7), -ENOSPC, "two of the eight are gone");
	cr_assert_eq(vq_chain_push(&chain, "34", 2), 0);
	cr_assert_eq(vq_chain_push(&chain, "5678", 4), 0);
	rig_get(r, RIG_SMALL + 200, text, 4);
	cr_assert_eq(memcmp(text, "123\0", 4), 0);
	rig_get(r, RIG_SMALL + 300, text, 6);
	cr_assert_eq(memcmp(text, "45678\0", 6), 0);

	cr_assert_eq(vq_complete(&vq, chain.head, 8), 0);
}

Test(virtio_queue, iov_in_parts)
{
	struct iovec iov[3];
	size_t nr;

	for (uint16_t i = 0; i < 4; i++)
		rig_desc(r, 0, i, RIG_DATA + 0x1000 * i, 100, (uint16_t)(i < 3 ? NEXT : 0),
			 (uint16_t)(i + 1));
	rig_offer(r, 0, 0);
	cr_assert_eq(vq_pop(&vq, &chain), 1);
	cr_assert_eq(vq_chain_iov(&chain, VQ_READABLE, 150, iov, &nr, 3), 150);
	cr_assert_eq(nr, 2);
	cr_assert_eq(iov[0].iov_len, 100);
	cr_assert_eq(iov[1].iov_len, 50);
	/* room for two: 50 + 100; the rest stays */
	cr_assert_eq(vq_chain_iov(&chain, VQ_READABLE, 1000, iov, &nr, 2), 150);
	cr_assert_eq(vq_chain_iov(&chain, VQ_READABLE, 1000, iov, &nr, 3), 100);
	cr_assert_eq(vq_chain_iov(&chain, VQ_READABLE, 1000, iov, &nr, 3), 0);
	cr_assert_eq(nr, 0);
}

/* The kernel has less to do then; but never across the border between the two sides. */
Test(virtio_queue, neighbours_are_one_segment)
{
	struct iovec iov[3];
	uint8_t last = 0;
	size_t nr;

	rig_desc(r, 0, 0, RIG_DATA, 100, NEXT, 1);
	rig_desc(r, 0, 1, RIG_DATA + 100, 100, NEXT, 2);
	rig_desc(r, 0, 2, RIG_DATA + 200, 100, NEXT | WRITE, 3);
	rig_desc(r, 0, 3, RIG_DATA + 300, 100, WRITE, 0);
	rig_offer(r, 0, 0);
	cr_assert_eq(vq_pop(&vq, &chain), 1);
	cr_assert_eq(chain.readable_left, 200);
	cr_assert_eq(chain.writable_left, 200);
	cr_assert_eq(vq_chain_iov(&chain, VQ_READABLE, 1000, iov, &nr, 3), 200);
	cr_assert_eq(nr, 1);
	cr_assert_eq(vq_chain_iov(&chain, VQ_WRITABLE, 199, iov, &nr, 3), 199);
	cr_assert_eq(nr, 1);
	cr_assert_eq(vq_chain_push(&chain, "z", 1), 0);
	rig_get(r, RIG_DATA + 399, &last, 1);
	cr_assert_eq(last, 'z');
}

Test(virtio_queue, whole_table_is_a_chain)
{
	for (uint16_t i = 0; i < 16; i++)
		rig_desc(r, 0, i, RIG_DATA + i, 1, (uint16_t)(i < 15 ? NEXT : 0),
			 (uint16_t)(i + 1));
	rig_offer(r, 0, 0);
	cr_assert_eq(vq_pop(&vq, &chain), 1);
	cr_assert_eq(chain.readable_left, 16);
}

Test(virtio_queue, loop_of_one)
{
	rig_desc(r, 0, 0, RIG_DATA, 16, NEXT, 0);
	refused("longer than the queue");
}

Test(virtio_queue, loop_of_two)
{
	rig_desc(r, 0, 0, RIG_DATA, 16, NEXT, 1);
	rig_desc(r, 0, 1, RIG_DATA, 16, NEXT, 0);
	refused("longer than the queue");
}

Test(virtio_queue, loop_of_empty_descriptors)
{
	rig_desc(r, 0, 0, RIG_DATA, 0, NEXT, 0);
	refused("longer than the queue");
}

Test(virtio_queue, loop_in_indirect_table)
{
	rig_desc(r, 0, 0, RIG_INDIRECT, 32, IND, 0);
	rig_desc_at(r, RIG_INDIRECT, 0, RIG_DATA, 1, NEXT, 1);
	rig_desc_at(r, RIG_INDIRECT, 1, RIG_DATA, 1, NEXT, 0);
	refused("longer than the queue");
}

Test(virtio_queue, next_is_table_size)
{
	/* What follows the table is a good descriptor, so only the index can be the reason. */
	rig_desc(r, 0, 0, RIG_DATA, 16, NEXT, 16);
	rig_desc(r, 0, 16, RIG_DATA, 16, 0, 0);
	refused("index outside the table");
}

Test(virtio_queue, next_is_65535)
{
	rig_desc(r, 0, 0, RIG_DATA, 16, NEXT, 65535);
	refused("index outside the table");
}

Test(virtio_queue, head_is_table_size)
{
	rig_desc(r, 0, 16, RIG_DATA, 16, 0, 0);
	rig_offer(r, 0, 16);
	cr_assert_eq(vq_pop(&vq, &chain), -EBADMSG);
	cr_assert_str_eq(vq.fault, "chain head outside the table");
}

Test(virtio_queue, head_is_65535)
{
	rig_offer(r, 0, 65535);
	cr_assert_eq(vq_pop(&vq, &chain), -EBADMSG);
	cr_assert_str_eq(vq.fault, "chain head outside the table");
}

Test(virtio_queue, readable_after_writable)
{
	rig_desc(r, 0, 0, RIG_DATA, 16, NEXT | WRITE, 1);
	rig_desc(r, 0, 1, RIG_DATA, 16, 0, 0);
	refused("readable descriptor after");
}

Test(virtio_queue, unknown_flag)
{
	rig_desc(r, 0, 0, RIG_DATA, 16, 8, 0);
	refused("not negotiated");
}

Test(virtio_queue, indirect_not_negotiated)
{
	start(16, false, false);
	rig_desc(r, 0, 0, RIG_INDIRECT, 16, IND, 0);
	rig_desc_at(r, RIG_INDIRECT, 0, RIG_DATA, 16, 0, 0);
	refused("not negotiated");
}

Test(virtio_queue, indirect)
{
	rig_desc(r, 0, 0, RIG_SMALL, 4, NEXT, 1);
	rig_desc(r, 0, 1, RIG_INDIRECT, 48, IND | WRITE, 0); /* WRITE is to be ignored here */
	rig_desc_at(r, RIG_INDIRECT, 0, RIG_DATA, 16, NEXT, 2);
	rig_desc_at(r, RIG_INDIRECT, 2, RIG_DATA + 64, 32, WRITE, 0);
	rig_offer(r, 0, 0);
	cr_assert_eq(vq_pop(&vq, &chain), 1);
	cr_assert_eq(chain.nr, 3);
	cr_assert_eq(chain.readable_left, 20);
	cr_assert_eq(chain.writable_left, 32);
}

Test(virtio_queue, indirect_longest_chain)
{
	rig_desc(r, 0, 0, RIG_INDIRECT, 16 * VQ_SIZE_MAX, IND, 0);
	for (uint16_t i = 0; i < VQ_SIZE_MAX; i++)
		rig_desc_at(r, RIG_INDIRECT, i, RIG_DATA, 1,
			    (uint16_t)(i < VQ_SIZE_MAX - 1 ? NEXT : 0), (uint16_t)(i + 1));
	rig_offer(r, 0, 0);
	cr_assert_eq(vq_pop(&vq, &chain), 1);
	cr_assert_eq(chain.nr, VQ_SIZE_MAX);
}

Test(virtio_queue, indirect_chain_too_long)
{
	rig_desc(r, 0, 0, RIG_INDIRECT, 16 * (VQ_SIZE_MAX + 1), IND, 0);
	for (uint16_t i = 0; i <= VQ_SIZE_MAX; i++)
		rig_desc_at(r, RIG_INDIRECT, i, RIG_DATA, 1, (uint16_t)(i < VQ_SIZE_MAX ? NEXT : 0),
			    (uint16_t)(i + 1));
	refused("longer than the queue");
}

/* 16 descriptors of the table and 256 of the indirect one would not fit the copy of a chain. */
Test(virtio_queue, direct_then_indirect_too_long)
{
	for (uint16_t i = 0; i < 15; i++)
		rig_desc(r, 0, i, RIG_DATA, 1, NEXT, (uint16_t)(i + 1));
	rig_desc(r, 0, 15, RIG_INDIRECT, 16 * VQ_SIZE_MAX, IND, 0);
	for (uint16_t i = 0; i < VQ_SIZE_MAX; i++)
		rig_desc_at(r, RIG_INDIRECT, i, RIG_DATA, 1,
			    (uint16_t)(i < VQ_SIZE_MAX - 1 ? NEXT : 0), (uint16_t)(i + 1));
	refused("longer than the queue");
}

Test(virtio_queue, indirect_in_indirect)
{
	rig_desc(r, 0, 0, RIG_INDIRECT, 16, IND, 0);
	rig_desc_at(r, RIG_INDIRECT, 0, RIG_INDIRECT + 64, 16, IND, 0);
	rig_desc_at(r, RIG_INDIRECT + 64, 0, RIG_DATA, 16, 0, 0);
	refused("inside an indirect table");
}

Test(virtio_queue, indirect_to_itself)
{
	rig_desc(r, 0, 0, RIG_INDIRECT, 16, IND, 0);
	rig_desc_at(r, RIG_INDIRECT, 0, RIG_INDIRECT, 16, IND, 0);
	refused("inside an indirect table");
}

Test(virtio_queue, indirect_with_next)
{
	rig_desc(r, 0, 0, RIG_INDIRECT, 16, IND | NEXT, 1);
	rig_desc(r, 0, 1, RIG_DATA, 16, 0, 0);
	rig_desc_at(r, RIG_INDIRECT, 0, RIG_DATA, 16, 0, 0);
	refused("with a next one");
}

Test(virtio_queue, indirect_next_outside)
{
	rig_desc(r, 0, 0, RIG_INDIRECT, 16, IND, 0);
	rig_desc_at(r, RIG_INDIRECT, 0, RIG_DATA, 16, NEXT, 1);
	rig_desc_at(r, RIG_INDIRECT, 1, RIG_DATA, 16, 0, 0);
	refused("index outside the table");
}

Test(virtio_queue, indirect_empty)
{
	rig_desc(r, 0, 0, RIG_INDIRECT, 0, IND, 0);
	refused("odd length");
}

Test(virtio_queue, indirect_odd)
{
	rig_desc(r, 0, 0, RIG_INDIRECT, 17, IND, 0);
	rig_desc_at(r, RIG_INDIRECT, 0, RIG_DATA, 16, 0, 0);
	refused("odd length");
}

Test(virtio_queue, indirect_in_hole)
{
	rig_desc(r, 0, 0, RIG_HOLE, 16, IND, 0);
	refused("indirect table is not in RAM");
}

Test(virtio_queue, indirect_half_in_hole)
{
	rig_desc(r, 0, 0, RIG_RAM0_LEN - 16, 32, IND, 0);
	rig_desc_at(r, RIG_RAM0_LEN - 16, 0, RIG_DATA, 16, 0, 0);
	refused("indirect table is not in RAM");
}

/* Buffers that are not, or not wholly, in one region of RAM. */
static const struct {
	uint64_t addr;
	uint32_t len;
} outside[] = {
	{ RIG_HOLE, 16 },
	{ RIG_RAM0_LEN, 1 },
	{ RIG_RAM0_LEN - 1, 2 },
	{ RIG_RAM0_LEN - 8, (uint32_t)(RIG_RAM1_BASE - RIG_RAM0_LEN) + 16 }, /* spans the hole */
	{ RIG_RAM1_BASE - 1, 2 },
	{ RIG_RAM1_BASE + RIG_RAM1_LEN, 1 },
	{ RIG_DATA, UINT32_MAX },
	{ UINT64_MAX, 1 },
	{ UINT64_MAX - 15, 16 },
	{ UINT64_MAX - 7, 16 },
	{ UINT64_MAX, UINT32_MAX },
	{ 1ULL << 63, 4096 },
};

Test(virtio_queue, buffer_outside_ram)
{
	for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); i++)
		for (uint16_t flags = 0; flags <= WRITE; flags = (uint16_t)(flags + WRITE)) {
			start(16, true, false);
			rig_put16(r, r->q[0].avail + 2, 0);
			rig_desc(r, 0, 0, outside[i].addr, outside[i].len, flags, 0);
			refused("buffer is not in RAM");
		}
}

Test(virtio_queue, buffer_up_to_the_end)
{
	rig_desc(r, 0, 0, RIG_RAM0_LEN - 16, 16, NEXT, 1);
	rig_desc(r, 0, 1, RIG_RAM1_BASE + RIG_RAM1_LEN - 1, 1, 0, 0);
	rig_offer(r, 0, 0);
	cr_assert_eq(vq_pop(&vq, &chain), 1);
}

Test(virtio_queue, empty_descriptor_is_skipped)
{
	rig_desc(r, 0, 0, UINT64_MAX, 0, NEXT, 1);
	rig_desc(r, 0, 1, RIG_DATA, 16, 0, 0);
	rig_offer(r, 0, 0);
	cr_assert_eq(vq_pop(&vq, &chain), 1);
	cr_assert_eq(chain.nr, 1);
}

/* All 4 GiB lengths are outside this RAM, so the sum has to be reached by many buffers. */
Test(virtio_queue, sum_of_lengths)
{
	static const struct mem_range big = { .base = { 0 }, .len = 0x40000000 };
	struct vq_ring ring = ring_of(16);
	struct mem *small = r->mem;

	cr_assert_eq(mem_create(&r->mem, &big, 1, MEM_BACKING_PAGES, NULL), 0);
	for (int extra = 0; extra < 2; extra++) {
		rig_ring(&r->q[0], RIG_RING(0), 16);
		rig_put16(r, r->q[0].avail + 2, 0);
		vq_init(&vq, r->mem);
		cr_assert_eq(vq_configure(&vq, &ring), 0);
		for (uint16_t i = 0; i < 4; i++)
			rig_desc(r, 0, i, 0, 0x40000000, (uint16_t)(i < 3 || extra ? NEXT : 0),
				 (uint16_t)(i + 1));
		rig_desc(r, 0, 4, 0, 1, 0, 0);
		if (extra) {
			refused("longer than 4 GiB");
			continue;
		}
		rig_offer(r, 0, 0);
		cr_assert_eq(vq_pop(&vq, &chain), 1);
		cr_assert_eq(chain.readable_left, 1ULL << 32);
	}
	mem_destroy(r->mem);
	r->mem = small;
}

Test(virtio_queue, descriptors_change_after_pop)
{
	char c;

	rig_put(r, RIG_DATA, "x", 1);
	rig_desc(r, 0, 0, RIG_DATA, 1, 0, 0);
	rig_offer(r, 0, 0);
	cr_assert_eq(vq_pop(&vq, &chain), 1);
	rig_desc(r, 0, 0, RIG_HOLE, 4096, 0, 0);
	cr_assert_eq(vq_chain_pull(&chain, &c, 1), 0);
	cr_assert_eq(c, 'x');
}

Test(virtio_queue, buffers_in_rings)
{
	/* A chain that writes over its own descriptors and the rings hurts only the guest. */
	uint8_t junk[64];

	memset(junk, 0xff, sizeof(junk));
	rig_desc(r, 0, 0, r->q[0].desc, 16, NEXT | WRITE, 1);
	rig_desc(r, 0, 1, r->q[0].avail, 48, WRITE, 0);
	rig_offer(r, 0, 0);
	cr_assert_eq(vq_pop(&vq, &chain), 1);
	cr_assert_eq(vq_chain_push(&chain, junk, 64), 0);
	cr_assert_eq(vq_complete(&vq, 0, 64), 0);
	cr_assert_eq(vq_pop(&vq, &chain), -EBADMSG);
}
