/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chain.c - cursors over a popped chain; see queue.h.
 *
 * The segments were checked when the chain was popped and RAM stays mapped, so the -EFAULT paths
 * are a second line, not the first. Loop thread.
 */
#include <errno.h>

#include "virtio/queue.h"

/*
 * Take the next piece at a cursor: at most @len bytes, not beyond the segment. The caller knows
 * that at least one byte is left. Returns the length; *at gets the address.
 */
static uint32_t cursor_take(const struct vq_chain *c, struct vq_cursor *cur, uint64_t len,
			    gpa_t *at)
{
	const struct vq_seg *seg = &c->seg[cur->seg];
	uint32_t n = seg->len - cur->offset;

	*at = gpa_add(seg->addr, cur->offset);
	if (len < n) {
		cur->offset += (uint32_t)len;
		return (uint32_t)len;
	}
	cur->seg++;
	cur->offset = 0;
	return n;
}

int vq_chain_pull(struct vq_chain *c, void *buf, size_t len)
{
	uint8_t *to = buf;

	if (len > c->readable_left)
		return -ENODATA;
	c->readable_left -= len;
	while (len > 0) {
		gpa_t at;
		uint32_t n = cursor_take(c, &c->rd, len, &at);
		int ret = mem_read(c->mem, at, to, n);

		if (ret)
			return ret;
		to += n;
		len -= n;
	}
	return 0;
}

int vq_chain_push(struct vq_chain *c, const void *buf, size_t len)
{
	const uint8_t *from = buf;

	if (len > c->writable_left)
		return -ENOSPC;
	c->writable_left -= len;
	while (len > 0) {
		gpa_t at;
		uint32_t n = cursor_take(c, &c->wr, len, &at);
		int ret = mem_write(c->mem, at, from, n);

		if (ret)
			return ret;
		from += n;
		len -= n;
	}
	return 0;
}

gpa_t vq_chain_last(const struct vq_chain *c)
{
	const struct vq_seg *seg = &c->seg[c->nr_readable + c->nr_writable - 1];

	return gpa_add(seg->addr, seg->len - 1);
}

int vq_chain_skip_writable(struct vq_chain *c, uint64_t len)
{
	if (len > c->writable_left)
		return -ENOSPC;
	c->writable_left -= len;
	while (len > 0) {
		gpa_t at;

		len -= cursor_take(c, &c->wr, len, &at);
	}
	return 0;
}

int64_t vq_chain_iov(struct vq_chain *c, enum vq_side side, uint64_t len, struct iovec *iov,
		     size_t *nr, size_t max)
{
	uint64_t *left = side == VQ_READABLE ? &c->readable_left : &c->writable_left;
	struct vq_cursor *cur = side == VQ_READABLE ? &c->rd : &c->wr;
	uint64_t done = 0;

	*nr = 0;
	if (len > *left)
		len = *left;
	while (done < len) {
		struct vq_cursor before = *cur;
		gpa_t at;
		uint32_t n = cursor_take(c, cur, len - done, &at);
		int ret = mem_iov(c->mem, at, n, iov, nr, max);

		if (ret == -E2BIG) {
			*cur = before;
			break;
		}
		if (ret)
			return ret;
		done += n;
	}
	*left -= done;
	return (int64_t)done;
}
