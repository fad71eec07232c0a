/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vq_rig.c - see vq_rig.h.
 */
#include "tests/unit/vq_rig.h"

struct rig vq_rig;
struct vq vq;
struct vq_chain chain;

struct vq_ring ring_of(uint32_t size)
{
	return (struct vq_ring){
		.size = size,
		.desc = GPA(r->q[0].desc),
		.avail = GPA(r->q[0].avail),
		.used = GPA(r->q[0].used),
		.indirect = true,
	};
}

void start(uint32_t size, bool indirect, bool event_idx)
{
	struct vq_ring ring;

	rig_ring(&r->q[0], RIG_RING(0), size);
	ring = ring_of(size);
	ring.indirect = indirect;
	ring.event_idx = event_idx;
	vq_init(&vq, r->mem);
	cr_assert_eq(vq_configure(&vq, &ring), 0);
}

void vq_rig_setup(void)
{
	rig_init(r);
	start(16, true, false);
}

void vq_rig_teardown(void)
{
	rig_fini(r);
}
