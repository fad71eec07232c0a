/* SPDX-License-Identifier: Apache-2.0 */
/*
 * queue.c - split virtqueues: judging rings, popping and completing chains; see queue.h.
 *
 * Loop thread (vq_configure, vq_reset: vCPU threads). virtio 1.2: 2.7.
 */
#include "virtio/queue.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_ring.h>
#include <stdatomic.h>
#include <string.h>

#include "base/byteorder.h"

/* Bytes of the three parts, event index fields included (2.7, table of alignment and size). */
#define DESC_BYTES	  16u
#define AVAIL_BYTES(size) (6u + 2u * (size))
#define USED_BYTES(size)  (6u + 8u * (size))

/* Offsets inside the parts (2.7.6, 2.7.8). */
#define AVAIL_IDX	    2u
#define AVAIL_RING(i)	    (4u + 2u * (i))
#define AVAIL_USED_EVENT(s) (4u + 2u * (s))
#define USED_IDX	    2u
#define USED_RING(i)	    (4u + 8u * (i))
#define USED_AVAIL_EVENT(s) (4u + 8u * (s))

/* A descriptor, copied and in host byte order. */
struct desc {
	gpa_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

/* Where a walk along a chain stands: in the queue's own table or in an indirect one. */
struct walk {
	struct mem_span table;
	uint32_t nr;	  /* entries of this table */
	uint32_t nr_max;  /* longest chain that ends in this table */
	uint32_t nr_seen; /* descriptors so far, over both tables */
	bool indirect;
	bool writable;	     /* the side that is being walked */
	uint64_t nr_bytes;   /* of this side */
	struct iovec *first; /* segment of this side */
	struct iovec *seg;   /* where the next one goes */
};

void vq_init(struct vq *vq, struct mem *mem)
{
	*vq = (struct vq){ .mem = mem };
}

void vq_reset(struct vq *vq)
{
	vq_init(vq, vq->mem);
}

int vq_refuse(struct vq *vq, const char *why)
{
	vq->fault = why;
	return -EBADMSG;
}

/* Seldom: small rather than fast. */
__attribute__((cold)) int vq_configure(struct vq *vq, const struct vq_ring *ring)
{
	uint32_t size = ring->size;

	/* Indexes are masked with size - 1 everywhere below; that needs a power of two. */
	if (size == 0 || size > VQ_SIZE_MAX || (size & (size - 1))) {
		vq->fault = "queue size is not a power of two in range";
		return -EINVAL;
	}
	if (ring->desc.v % 16 || ring->avail.v % 2 || ring->used.v % 4) {
		vq->fault = "ring address is not aligned";
		return -EINVAL;
	}
	vq_reset(vq);
	if (mem_span(vq->mem, ring->desc, (uint64_t)DESC_BYTES * size, &vq->desc) ||
	    mem_span(vq->mem, ring->avail, AVAIL_BYTES(size), &vq->avail) ||
	    mem_span(vq->mem, ring->used, USED_BYTES(size), &vq->used)) {
		vq->fault = "ring is not in RAM";
		return -EFAULT;
	}
	vq->ring = *ring;
	vq->ready = true;
	return 0;
}

/* Read the avail index once and judge it against what we have seen. */
static int vq_look(struct vq *vq)
{
	uint16_t idx;

	if (mem_span_load16(&vq->avail, AVAIL_IDX, &idx))
		return vq_refuse(vq, "avail ring is not in RAM");
	/*
	 * Each chain has at least one descriptor, so what is available and in flight together fits
	 * the table. An index that ran further, or backwards, would make us take stale entries
	 * again and again.
	 */
	if ((uint16_t)(idx - vq->next_avail) > vq->ring.size - vq->nr_in_flight)
		return vq_refuse(vq, "avail index jumped");
	vq->seen_avail = idx;
	return 0;
}

static inline int desc_read(const struct mem_span *table, uint32_t i, struct desc *d)
{
	const uint8_t *raw = mem_span_at(table, (uint64_t)DESC_BYTES * i, DESC_BYTES);
	uint64_t addr, rest;

	if (!raw)
		return -EFAULT;
	addr = le64_get(raw);
	rest = le64_get(raw + 8);
	/* From here on only the copy counts: the compiler may not read the table again. */
	atomic_signal_fence(memory_order_acq_rel);
	d->addr = GPA(addr);
	d->len = (uint32_t)rest;
	d->flags = (uint16_t)(rest >> 32);
	d->next = (uint16_t)(rest >> 48);
	return 0;
}

/* Step from a descriptor into the table it names (2.7.5.3.1). */
static int walk_indirect(struct vq *vq, struct walk *w, const struct desc *d)
{
	if (w->indirect)
		return vq_refuse(vq, "indirect table inside an indirect table");
	if (d->flags & VRING_DESC_F_NEXT)
		return vq_refuse(vq, "indirect descriptor with a next one");
	if (d->len == 0 || d->len % DESC_BYTES)
		return vq_refuse(vq, "indirect table of odd length");
	if (mem_span(vq->mem, d->addr, d->len, &w->table))
		return vq_refuse(vq, "indirect table is not in RAM");
	w->indirect = true;
	w->nr = d->len / DESC_BYTES;
	w->nr_max = VQ_SIZE_MAX;
	w->nr_seen--; /* this descriptor holds no buffer; those before it still count */
	return 0;
}

/*
 * Take over *@v, which follows those from @first on. Drivers cut buffers out of larger pieces: one
 * that continues the last is one with it, which saves the kernel work. Returns where the next goes.
 */
static inline struct iovec *join(const struct iovec *first, struct iovec *v)
{
	if (v == first || (uint8_t *)v[-1].iov_base + v[-1].iov_len != v->iov_base)
		return v + 1;
	v[-1].iov_len += v->iov_len;
	return v;
}

/* Append one buffer: judged and found in RAM here, once. There is room, for walk_chain counts. */
static int walk_buffer(struct vq *vq, struct walk *w, const struct desc *d, struct vq_chain *c)
{
	bool writable = d->flags & VRING_DESC_F_WRITE;

	if (writable != w->writable) {
		if (!writable)
			return vq_refuse(vq, "readable descriptor after a writable one");
		w->writable = true;
		c->readable_left = w->nr_bytes;
		w->nr_bytes = 0;
		w->first = w->seg;
	}
	if (mem_iov(vq->mem, d->addr, d->len, w->seg))
		return vq_refuse(vq, "buffer is not in RAM");
	w->nr_bytes += d->len;
	w->seg = join(w->first, w->seg);
	return 0;
}

/* The last descriptor was seen. */
static int walk_end(struct vq *vq, const struct walk *w, struct vq_chain *c)
{
	size_t before = (size_t)(w->first - c->seg);

	if (w->writable) {
		c->writable_left = w->nr_bytes;
	} else {
		c->readable_left = w->nr_bytes;
		c->writable_left = 0;
		before = (size_t)(w->seg - c->seg);
	}
	c->rd = 0;
	c->wr = before;
	c->nr = (size_t)(w->seg - c->seg);
	if (c->readable_left + c->writable_left > UINT64_C(1) << 32)
		return vq_refuse(vq, "chain longer than 4 GiB");
	return 0;
}

static int walk_chain(struct vq *vq, uint16_t head, struct vq_chain *c)
{
	struct walk w = {
		.table = vq->desc,
		.nr = vq->ring.size,
		.nr_max = vq->ring.size,
		.first = c->seg,
		.seg = c->seg,
	};
	uint16_t known = VRING_DESC_F_NEXT | VRING_DESC_F_WRITE;
	uint32_t i = head;
	struct desc d;
	int ret;

	if (vq->ring.indirect)
		known |= VRING_DESC_F_INDIRECT;
	for (;;) {
		if (i >= w.nr)
			return vq_refuse(vq, "descriptor index outside the table");
		/* The only way to exceed this is a loop; it also bounds c->seg. */
		if (w.nr_seen++ >= w.nr_max)
			return vq_refuse(vq, "chain longer than the queue");
		if (desc_read(&w.table, i, &d))
			return vq_refuse(vq, "descriptor table is not in RAM");
		if (d.flags & ~known)
			return vq_refuse(vq, "descriptor flag that was not negotiated");
		if (d.flags & VRING_DESC_F_INDIRECT) {
			ret = walk_indirect(vq, &w, &d);
			if (ret)
				return ret;
			i = 0;
			continue;
		}
		ret = d.len ? walk_buffer(vq, &w, &d, c) : 0;
		if (ret)
			return ret;
		if (!(d.flags & VRING_DESC_F_NEXT))
			return walk_end(vq, &w, c);
		i = d.next;
	}
}

int vq_pop(struct vq *vq, struct vq_chain *c)
{
	uint64_t *flight, bit;
	uint16_t slot, head;
	int ret;

	if (!vq->ready)
		return 0;
	if (vq->fault)
		return -EBADMSG;
	if (vq->next_avail == vq->seen_avail) {
		ret = vq_look(vq);
		if (ret)
			return ret;
		if (vq->next_avail == vq->seen_avail)
			return 0;
	}

	slot = (uint16_t)(vq->next_avail & (vq->ring.size - 1));
	if (mem_span_load16(&vq->avail, AVAIL_RING(slot), &head))
		return vq_refuse(vq, "avail ring is not in RAM");
	if (head >= vq->ring.size)
		return vq_refuse(vq, "chain head outside the table");
	/* Out twice would be completed twice: use after completion, in the driver or in us. */
	flight = &vq->in_flight[head / 64];
	bit = UINT64_C(1) << head % 64;
	if (*flight & bit)
		return vq_refuse(vq, "chain head is already in flight");

	c->head = head;
	ret = walk_chain(vq, head, c);
	if (ret)
		return ret;

	*flight |= bit;
	vq->nr_in_flight++;
	vq->next_avail++;
	return 1;
}

size_t vq_pop_buffers(struct vq *vq, uint32_t min_len, uint32_t max_len, uint32_t want,
		      struct vq_bufs *to)
{
	/* Copies, or the compiler would load them again after each store below. */
	const struct mem_span avail = vq->avail, table = vq->desc;
	uint32_t size = vq->ring.size, nr_bytes = 0;
	uint16_t next = vq->next_avail, seen = vq->seen_avail;
	struct iovec *v = to->iov + to->nr_iov;
	size_t i;

	if (!vq->ready || vq->fault)
		return 0;
	for (i = 0; i < to->max && nr_bytes < want && next != seen; i++, next++) {
		uint64_t *flight, bit;
		uint16_t head;
		struct desc d;

		if (mem_span_load16(&avail, AVAIL_RING(next & (size - 1)), &head) || head >= size)
			break;
		flight = &vq->in_flight[head / 64];
		bit = UINT64_C(1) << head % 64;
		if (*flight & bit || desc_read(&table, head, &d) || d.flags != VRING_DESC_F_WRITE ||
		    d.len < min_len || d.len > max_len || mem_iov(vq->mem, d.addr, d.len, v))
			break;
		*flight |= bit;
		to->buf[i] = (struct vq_buf){ .head = head, .len = d.len };
		nr_bytes += d.len;
		v = join(to->iov, v);
	}
	vq->next_avail = next;
	vq->nr_in_flight += (uint16_t)i;
	to->nr_iov = (uint32_t)(v - to->iov);
	return i;
}

void vq_unpop(struct vq *vq, const struct vq_chain *c)
{
	vq->in_flight[c->head / 64] &= ~(UINT64_C(1) << c->head % 64);
	vq->nr_in_flight--;
	vq->next_avail--;
}

int vq_complete(struct vq *vq, uint16_t head, uint32_t written)
{
	uint16_t slot = (uint16_t)(vq->next_used & (vq->ring.size - 1));
	uint64_t elem = htole64((uint64_t)written << 32 | head);

	if (mem_span_write(&vq->used, USED_RING(slot), &elem, sizeof(elem)))
		return vq_refuse(vq, "used ring is not in RAM");
	vq->in_flight[head / 64] &= ~(UINT64_C(1) << head % 64);
	vq->nr_in_flight--;
	vq->next_used++;
	return 0;
}

int vq_publish(struct vq *vq)
{
	if (vq->published_used == vq->next_used)
		return 0;
	/* The store releases: the elements and the data are visible before the index. */
	if (mem_span_store16(&vq->used, USED_IDX, vq->next_used))
		return vq_refuse(vq, "used ring is not in RAM");
	vq->published_used = vq->next_used;
	return 0;
}

bool vq_should_notify(struct vq *vq)
{
	uint16_t old = vq->signalled_used;
	uint16_t now = vq->published_used;
	uint16_t v;

	if (old == now)
		return false;
	vq->signalled_used = now;

	/*
	 * Index stored before the event field is loaded. Without the barrier both sides may miss
	 * each other: we see an old used_event, the driver an old index, and nobody wakes anybody.
	 */
	atomic_thread_fence(memory_order_seq_cst);
	if (!vq->ring.event_idx) {
		if (mem_span_load16(&vq->avail, 0, &v))
			return true;
		return !(v & VRING_AVAIL_F_NO_INTERRUPT);
	}
	if (mem_span_load16(&vq->avail, AVAIL_USED_EVENT(vq->ring.size), &v))
		return true;
	return vring_need_event(v, now, old);
}

void vq_disable_kick(struct vq *vq)
{
	/* With event indexes the old avail_event, already passed, does the same for free. */
	if (vq->ready && !vq->ring.event_idx)
		mem_span_store16(&vq->used, 0, VRING_USED_F_NO_NOTIFY);
}

bool vq_enable_kick(struct vq *vq)
{
	uint16_t idx;

	if (!vq->ready)
		return false;
	if (vq->ring.event_idx)
		mem_span_store16(&vq->used, USED_AVAIL_EVENT(vq->ring.size), vq->next_avail);
	else
		mem_span_store16(&vq->used, 0, 0);

	/* The driver stores its index and then looks at what we asked; we do it the other way. */
	atomic_thread_fence(memory_order_seq_cst);
	if (mem_span_load16(&vq->avail, AVAIL_IDX, &idx))
		return false;
	return idx != vq->next_avail;
}
