/* SPDX-License-Identifier: Apache-2.0 */
/*
 * queue.h - split virtqueues, seen from the device: the ring and the chains that come out of it.
 *
 * This is the only place that looks at rings. The guest can write every byte of a ring at any
 * moment, so each field is read once into host memory, judged there, and used from there. What
 * vq_pop hands out is a validated copy; a device never sees a descriptor or a ring index.
 *
 * Loop thread only, except vq_configure and vq_reset, which run on a vCPU thread while the device
 * is not active. The device's lock is held around all of them (base/bus, base/loop).
 * virtio 1.2: 2.6, 2.7 (split virtqueues), 2.7.5.3 (indirect), 2.7.7 and 2.7.10 (event index).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/mem.h"

/* What we offer in QueueNumMax; also the longest chain, direct or indirect (2.7.5.3.1). */
#define VQ_SIZE_MAX 256

/* Where a ring lies; filled register by register, judged as a whole by vq_configure. */
struct vq_ring {
	uint32_t size;	/* entries, a power of two, 1..VQ_SIZE_MAX */
	gpa_t desc;	/* 16-byte aligned */
	gpa_t avail;	/* 2-byte aligned */
	gpa_t used;	/* 4-byte aligned */
	bool indirect;	/* INDIRECT_DESC negotiated */
	bool event_idx; /* EVENT_IDX negotiated */
};

/* One virtqueue. Embedded in its device; the fields belong to queue.c. */
struct vq {
	struct mem *mem;
	struct vq_ring ring;		   /* as judged by vq_configure */
	struct mem_span desc, avail, used; /* where its parts are */
	bool ready;
	uint16_t next_avail;		      /* next avail entry to take */
	uint16_t seen_avail;		      /* avail index as last read and judged */
	uint16_t next_used;		      /* next used entry to write */
	uint16_t published_used;	      /* used index as the guest sees it */
	uint16_t signalled_used;	      /* used index at the last vq_should_notify */
	uint16_t nr_in_flight;		      /* popped and not completed */
	uint64_t in_flight[VQ_SIZE_MAX / 64]; /* by head: a head may be out only once */
	const char *fault; /* which rule the guest broke; NULL while it behaves */
};

/*
 * A validated copy of one descriptor chain: first the segments that the device reads, then those
 * that it writes, each side with its cursor. A segment is RAM that was judged when the chain was
 * popped; buffers that lie side by side are one. Owned by the device, 4 KiB: keep it in the device,
 * not on the stack. Only queue.c and chain.c look at segments and cursors.
 */
struct vq_chain {
	uint16_t head;
	size_t nr; /* segments */
	size_t rd; /* the one that a cursor is in; what it has passed of it is cut off */
	size_t wr;
	uint64_t readable_left; /* bytes behind the read cursor */
	uint64_t writable_left;
	struct iovec seg[VQ_SIZE_MAX];
};

/* vq_init - an unconfigured queue over @mem. Build time. */
void vq_init(struct vq *vq, struct mem *mem);

/* vq_reset - back to the state after vq_init; what was in flight is forgotten, not completed. */
void vq_reset(struct vq *vq);

/*
 * vq_configure - judge a ring and make the queue ready.
 * Checks size, alignment and that all three parts lie in RAM as a whole.
 * 0, -EINVAL (size, alignment) or -EFAULT (not in RAM); vq->fault then says what is wrong.
 */
int vq_configure(struct vq *vq, const struct vq_ring *ring);

/*
 * vq_pop - take the next available chain (2.7.14).
 * 1: @c holds a validated copy; complete it exactly once, now or later. 0: nothing available (or
 * the queue is not ready). -EBADMSG: the guest broke a rule, vq->fault says which; the queue stays
 * refused until vq_reset, and the device must answer with DEVICE_NEEDS_RESET (virtio_fail).
 */
int vq_pop(struct vq *vq, struct vq_chain *c);

/* A chain of one writable buffer. */
struct vq_buf {
	uint16_t head;
	uint32_t len; /* bytes */
};

/* Where vq_pop_buffers puts what it pops. */
struct vq_bufs {
	struct vq_buf *buf; /* filled from 0, @max at most */
	size_t max;
	struct iovec *iov; /* appended at nr_iov, neighbours as one; room for @max */
	uint32_t nr_iov;
};

/*
 * vq_pop_buffers - vq_pop for many chains of one writable buffer of @min_len to @max_len bytes, in
 * the order they came, until they have @want bytes or there is no more room. Ends early at any
 * chain of another kind, and where the driver's index has to be looked at again: vq_pop takes, or
 * judges, what comes then. Returns how many were popped.
 */
size_t vq_pop_buffers(struct vq *vq, uint32_t min_len, uint32_t max_len, uint32_t want,
		      struct vq_bufs *to);

/*
 * vq_unpop - put back the chain that the last vq_pop took, before anything was done with it. The
 * next vq_pop takes it again and judges it anew, as the guest may change it meanwhile.
 */
void vq_unpop(struct vq *vq, const struct vq_chain *c);

/*
 * vq_refuse - a device found a chain that breaks its own rules (no room for a header or status):
 * treat it as a broken ring. @why: a string that stays valid. Returns -EBADMSG.
 */
int vq_refuse(struct vq *vq, const char *why);

/*
 * vq_complete - give a chain back (2.7.8): @written bytes were written to its writable part.
 * The guest sees it after vq_publish, so that several chains (a merged frame) appear at once.
 * 0 or -EBADMSG when the used ring has gone (cannot happen while RAM stays mapped).
 */
int vq_complete(struct vq *vq, uint16_t head, uint32_t written);

/* vq_publish - let the guest see everything completed so far. 0 or -EBADMSG. */
int vq_publish(struct vq *vq);

/*
 * vq_should_notify - whether the guest wants an interrupt for what was published since the last
 * call (2.7.7, 2.7.10). Contains the barrier between used index and used_event / avail flags.
 */
bool vq_should_notify(struct vq *vq);

/* vq_nr_quiet - chains published since vq_should_notify was called last. */
static inline uint16_t vq_nr_quiet(const struct vq *vq)
{
	return (uint16_t)(vq->published_used - vq->signalled_used);
}

/*
 * vq_disable_kick / vq_enable_kick - say whether the guest should notify us (2.7.10).
 * vq_enable_kick returns whether chains arrived meanwhile: then no kick will come for them, and the
 * caller goes on popping. It never loses a kick: index written, full barrier, index read again.
 */
void vq_disable_kick(struct vq *vq);
bool vq_enable_kick(struct vq *vq);

/*
 * vq_chain_pull - copy exactly @len bytes from the read cursor and advance it.
 * 0, or -ENODATA when the chain holds less (nothing is consumed).
 */
int vq_chain_pull(struct vq_chain *c, void *buf, size_t len);

/* vq_chain_push - copy exactly @len bytes to the write cursor and advance it. 0 or -ENOSPC. */
int vq_chain_push(struct vq_chain *c, const void *buf, size_t len);

/* vq_chain_last - the last writable byte. Only for chains that have one. */
struct mem_span vq_chain_last(const struct vq_chain *c);

/* Which side of a chain. */
enum vq_side { VQ_READABLE, VQ_WRITABLE };

/*
 * vq_chain_iov - describe up to @len bytes from a cursor for preadv/pwritev, and advance it.
 * @iov: room for @max entries, filled from 0; *nr gets the number used (at most the number of
 * segments). Returns the bytes described: fewer than @len when the side ends or @iov is full.
 */
uint64_t vq_chain_iov(struct vq_chain *c, enum vq_side side, uint64_t len, struct iovec *iov,
		      size_t *nr, size_t max);
