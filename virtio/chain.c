/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chain.c - cursors over a popped chain; see queue.h.
 *
 * The segments were found in RAM when the chain was popped, and RAM stays mapped. Loop thread.
 */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "virtio/queue.h"

/* Pass @nr bytes of the segment at a cursor, which has as many. */
static inline void pass(struct vq_chain *c, size_t *cursor, size_t nr)
{
	struct iovec *seg = &c->seg[*cursor];

	if (nr == seg->iov_len) {
		(*cursor)++;
		return;
	}
	seg->iov_base = (uint8_t *)seg->iov_base + nr;
	seg->iov_len -= nr;
}

static inline size_t lesser(uint64_t a, size_t b)
{
	return a < b ? (size_t)a : b;
}

int vq_chain_pull(struct vq_chain *c, void *buf, size_t len)
{
	uint8_t *to = buf;

	if (len > c->readable_left)
		return -ENODATA;
	c->readable_left -= len;
	while (len > 0) {
		const struct iovec *seg = &c->seg[c->rd];
		size_t n = lesser(len, seg->iov_len);

		memcpy(to, seg->iov_base, n);
		pass(c, &c->rd, n);
		to += n;
		len -= n;
	}
	/* From here on only the copy counts: the compiler may not read RAM again. */
	atomic_signal_fence(memory_order_acq_rel);
	return 0;
}

int vq_chain_push(struct vq_chain *c, const void *buf, size_t len)
{
	const uint8_t *from = buf;

	if (len > c->writable_left)
		return -ENOSPC;
	c->writable_left -= len;
	while (len > 0) {
		const struct iovec *seg = &c->seg[c->wr];
		size_t n = lesser(len, seg->iov_len);

		memcpy(seg->iov_base, from, n);
		pass(c, &c->wr, n);
		from += n;
		len -= n;
	}
	return 0;
}

struct mem_span vq_chain_last(const struct vq_chain *c)
{
	const struct iovec *seg = &c->seg[c->nr - 1];

	return (struct mem_span){ .host = (uint8_t *)seg->iov_base + seg->iov_len - 1, .len = 1 };
}

uint64_t vq_chain_iov(struct vq_chain *c, enum vq_side side, uint64_t len, struct iovec *iov,
		      size_t *nr, size_t max)
{
	uint64_t *left = side == VQ_READABLE ? &c->readable_left : &c->writable_left;
	size_t *cursor = side == VQ_READABLE ? &c->rd : &c->wr;
	const struct iovec *seg = c->seg + *cursor;
	uint64_t rest;
	size_t i;

	if (len > *left)
		len = *left;
	rest = len;
	for (i = 0; i < max && rest > 0 && rest >= seg[i].iov_len; i++) {
		iov[i] = seg[i];
		rest -= seg[i].iov_len;
	}
	*cursor += i;
	if (i < max && rest > 0) {
		iov[i] = (struct iovec){ seg[i].iov_base, rest };
		pass(c, cursor, rest);
		rest = 0;
		i++;
	}
	*nr = i;
	len -= rest;
	*left -= len;
	return len;
}
