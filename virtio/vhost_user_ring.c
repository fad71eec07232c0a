/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost_user_ring.c - follows rings that another process works on; see vhost_user_ring.h.
 */
#include "virtio/vhost_user_ring.h"

#include <errno.h>
#include <linux/virtio_ring.h>
#include <string.h>

#include "base/byteorder.h"

static gpa_t avail_slot(const struct vq *vq, uint16_t i)
{
	return gpa_add(vq->ring.avail,
		       offsetof(struct vring_avail, ring) + 2ULL * (i & (vq->ring.size - 1)));
}

static gpa_t used_slot(const struct vq *vq, uint16_t i)
{
	return gpa_add(vq->ring.used,
		       offsetof(struct vring_used, ring) +
			       sizeof(struct vring_used_elem) * (i & (vq->ring.size - 1)));
}

/* Both indexes; the used one first, so that whatever it counts is in the other one, too. */
static void load(const struct vq *vq, uint16_t *used, uint16_t *avail)
{
	/* The ring lies in RAM, or the queue would not be ready. */
	mem_load16(vq->mem, gpa_add(vq->ring.used, offsetof(struct vring_used, idx)), used);
	mem_load16(vq->mem, gpa_add(vq->ring.avail, offsetof(struct vring_avail, idx)), avail);
}

static void count(struct vhost_user_ring *r, const struct vq *vq, uint32_t head, uint8_t by)
{
	if (head < vq->ring.size)
		r->nr[head] = (uint8_t)(r->nr[head] + by);
}

/* Whether what lies between the last look and these indexes is still in the rings. */
static bool within(const struct vhost_user_ring *r, const struct vq *vq, uint16_t used,
		   uint16_t avail)
{
	return (uint16_t)(avail - r->avail) <= vq->ring.size &&
	       (uint16_t)(used - r->used) <= vq->ring.size;
}

void vhost_user_ring_look(struct vhost_user_ring *r, const struct vq *vq)
{
	uint16_t used = 0, avail = 0, used2 = 0, avail2 = 0, head = 0, i;
	uint8_t elem[4] = { 0 };

	load(vq, &used, &avail);
	if (!within(r, vq, used, avail))
		r->lost = true;
	for (i = r->avail; !r->lost && i != avail; i++) {
		mem_load16(vq->mem, avail_slot(vq, i), &head);
		count(r, vq, head, 1);
	}
	for (i = r->used; !r->lost && i != used; i++) {
		mem_read(vq->mem, used_slot(vq, i), elem, sizeof(elem));
		count(r, vq, le32_get(elem), UINT8_MAX);
	}
	/* Entries may have been written anew, a round later, while we read them. */
	load(vq, &used2, &avail2);
	if (!within(r, vq, used2, avail2))
		r->lost = true;
	r->avail = avail;
	r->used = used;
	/* With nothing out nothing can be unknown. */
	if (r->lost && used == avail) {
		memset(r->nr, 0, sizeof(r->nr));
		r->lost = false;
	}
}

int vhost_user_ring_rewind(struct vhost_user_ring *r, const struct vq *vq)
{
	uint16_t i, head, nr = 0;

	vhost_user_ring_look(r, vq);
	for (head = 0; head < vq->ring.size; head++) {
		if (r->nr[head] > 1)
			return -EBADMSG;
		nr = (uint16_t)(nr + r->nr[head]);
	}
	if (r->lost || nr != (uint16_t)(r->avail - r->used))
		return -EBADMSG;
	for (i = r->used, head = 0; head < vq->ring.size; head++)
		if (r->nr[head])
			mem_store16(vq->mem, avail_slot(vq, i++), head);
	return r->used;
}
