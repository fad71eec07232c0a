/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_vhost_user_ring.c - what is known of a ring that another process serves, from its indexes
 * alone: which requests it still owes when it dies. The guest makes a head available, a back end
 * answers it.
 */
#include <criterion/criterion.h>
#include <errno.h>

#include "base/byteorder.h"
#include "tests/unit/virtio_rig.h"
#include "virtio/vhost_user_ring.h"

static struct rig rig;
static struct rig *const r = &rig;

static void setup(void)
{
	rig_init(r);
}

static void teardown(void)
{
	rig_fini(r);
}

TestSuite(vhost_user_ring, .init = setup, .fini = teardown);

static void put_used(uint16_t head)
{
	uint16_t idx = rig_get16(r, r->q[0].used + 2);
	uint8_t raw[8] = { 0 };

	le32_put(raw, head);
	rig_put(r, r->q[0].used + 4 + 8ULL * (idx % r->q[0].size), raw, sizeof(raw));
	rig_put16(r, r->q[0].used + 2, (uint16_t)(idx + 1));
}

static struct vq *ring(struct vq *vq)
{
	rig_ring(&r->q[0], RIG_RING(0), 4);
	*vq = (struct vq){ .mem = r->mem, .ring = { .size = 4 } };
	vq->ring.desc = GPA(r->q[0].desc);
	vq->ring.avail = GPA(r->q[0].avail);
	vq->ring.used = GPA(r->q[0].used);
	return vq;
}

Test(vhost_user_ring, knows_an_old_request)
{
	struct vhost_user_ring t = { .lost = false };
	struct vq q, *vq = ring(&q);

	/* Head 3 is never answered while three times the ring passes by. */
	rig_offer(r, 0, 3);
	for (uint16_t i = 0; i < 12; i++) {
		rig_offer(r, 0, i % 3);
		put_used(i % 3);
		vhost_user_ring_look(&t, vq);
	}
	rig_offer(r, 0, 1);
	cr_expect_eq(vhost_user_ring_rewind(&t, vq), 12);
	cr_expect_eq(rig_get16(r, r->q[0].avail + 4), 1);
	cr_expect_eq(rig_get16(r, r->q[0].avail + 6), 3);
	/* and again, by the next one, which answers only the first */
	put_used(3);
	cr_expect_eq(vhost_user_ring_rewind(&t, vq), 13);
	cr_expect_eq(rig_get16(r, r->q[0].avail + 6), 1);
}

Test(vhost_user_ring, says_when_it_does_not_know)
{
	struct vhost_user_ring t = { .lost = false };
	struct vq q, *vq = ring(&q);

	rig_offer(r, 0, 3);
	for (uint16_t i = 0; i < 4; i++) {
		rig_offer(r, 0, i % 3);
		put_used(i % 3);
	}
	cr_expect_eq(vhost_user_ring_rewind(&t, vq), -EBADMSG);
	/* With everything answered it knows again. */
	put_used(3);
	vhost_user_ring_look(&t, vq);
	rig_offer(r, 0, 2);
	cr_expect_eq(vhost_user_ring_rewind(&t, vq), 5);
	cr_expect_eq(rig_get16(r, r->q[0].avail + 6), 2);
	/* Nonsense of either side is no more than that. */
	put_used(1);
	put_used(77);
	rig_offer(r, 0, 999);
	cr_expect_eq(vhost_user_ring_rewind(&t, vq), -EBADMSG);
	rig_put16(r, r->q[0].used + 2, 40000);
	cr_expect_eq(vhost_user_ring_rewind(&t, vq), -EBADMSG);
}
