/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_virtio_queue.c - bytes become a ring, its descriptors and indexes; everything is popped.
 *
 * The input is a program: each step writes guest RAM or works on the queue. What comes out of the
 * queue is checked against its promises, with abort() as the verdict.
 */
#include <errno.h>
#include <linux/virtio_ring.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/byteorder.h"
#include "tests/fuzz/input.h"
#include "virtio/queue.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RAM   0x20000ULL /* two of these, with as much of a hole between them */
#define DESC  0x0ULL
#define AVAIL 0x2000ULL
#define USED  0x3000ULL
#define TABLE 0x4000ULL
#define IOVS  300

#define MUST(x)                                                                                    \
	do {                                                                                       \
		if (!(x))                                                                          \
			abort();                                                                   \
	} while (0)

static struct mem *mem;
static struct vq vq;
static struct vq_chain chain;
static uint16_t flight[VQ_SIZE_MAX];
static size_t nr_flight;

static void configure(struct input *in)
{
	uint8_t how = (uint8_t)take(in, 1);
	struct vq_ring ring = {
		.size = how & 0x80 ? (uint32_t)take(in, 2) : 1u << (how & 7),
		.desc = GPA(DESC),
		.avail = GPA(AVAIL),
		.used = GPA(USED),
		.indirect = how & 0x10,
		.event_idx = how & 0x20,
	};

	if (how & 0x40) {
		ring.desc = GPA(take(in, 4));
		ring.avail = GPA(take(in, 4));
		ring.used = GPA(take(in, 4));
	}
	vq_init(&vq, mem);
	nr_flight = 0;
	if (vq_configure(&vq, &ring))
		MUST(!vq.ready && vq.fault);
}

/* A chain keeps its promises: readable first, all in RAM, sums right, head not out twice. */
static void check_chain(void)
{
	uint64_t rd = 0, wr = 0;

	MUST(chain.nr <= VQ_SIZE_MAX && chain.rd == 0 && chain.wr <= chain.nr);
	MUST(chain.head < vq.ring.size);
	for (size_t i = 0; i < chain.nr; i++) {
		const struct iovec *seg = &chain.seg[i];
		gpa_t a;

		MUST(seg->iov_len > 0);
		MUST(mem_owns(mem, seg->iov_base, &a) && mem_valid(mem, a, seg->iov_len));
		*(i < chain.wr ? &rd : &wr) += seg->iov_len;
	}
	MUST(rd == chain.readable_left && wr == chain.writable_left && rd + wr <= 1ULL << 32);
	for (size_t i = 0; i < nr_flight; i++)
		MUST(flight[i] != chain.head);
	MUST(nr_flight < vq.ring.size);
}

static void use_chain(uint8_t how)
{
	static uint8_t buf[512];
	struct iovec iov[IOVS];
	size_t nr, max = how & 4 ? 3 : IOVS;
	uint64_t before, n;

	if (how & 1) {
		before = chain.readable_left;
		MUST((vq_chain_pull(&chain, buf, how) == 0) == (how <= before));
		MUST(chain.readable_left == (how <= before ? before - how : before));
	}
	if (how & 2) {
		before = chain.writable_left;
		MUST((vq_chain_push(&chain, buf, how) == 0) == (how <= before));
		MUST(chain.writable_left == (how <= before ? before - how : before));
	}
	for (int side = VQ_READABLE; side <= VQ_WRITABLE; side++) {
		do {
			uint64_t sum = 0;

			n = vq_chain_iov(&chain, (enum vq_side)side, UINT64_MAX, iov, &nr, max);
			MUST(nr <= max);
			for (size_t i = 0; i < nr; i++) {
				sum += iov[i].iov_len;
				/* Only the ends: a chain may name gigabytes. */
				buf[0] ^= ((uint8_t *)iov[i].iov_base)[0];
				buf[0] ^= ((uint8_t *)iov[i].iov_base)[iov[i].iov_len - 1];
			}
			MUST(sum == n);
		} while (n > 0);
	}
	MUST(chain.readable_left == 0 && chain.writable_left == 0);
}

static void pop(uint8_t how)
{
	int ret = vq_pop(&vq, &chain);

	if (ret < 0)
		MUST(ret == -EBADMSG && vq.fault);
	if (ret <= 0)
		return;
	check_chain();
	flight[nr_flight++] = chain.head;
	use_chain(how);
}

/* Buffers keep their promises, too: in RAM, of the lengths asked for, heads not out twice. */
static void pop_buffers(uint8_t how)
{
	struct vq_buf buf[16];
	struct iovec iov[16];
	struct vq_bufs to = { .buf = buf, .max = how & 15, .iov = iov };
	uint64_t described = 0, sum = 0;
	size_t nr = vq_pop_buffers(&vq, how & 16 ? 1 : 12, 200, how & 32 ? 300 : UINT16_MAX, &to);

	MUST(nr <= to.max && to.nr_iov <= nr);
	for (size_t i = 0; i < nr; i++) {
		MUST(buf[i].len >= 1 && buf[i].len <= 200 && buf[i].head < vq.ring.size);
		for (size_t k = 0; k < nr_flight; k++)
			MUST(flight[k] != buf[i].head);
		flight[nr_flight++] = buf[i].head;
		sum += buf[i].len;
	}
	for (size_t i = 0; i < to.nr_iov; i++) {
		gpa_t a;

		MUST(mem_owns(mem, iov[i].iov_base, &a) && mem_valid(mem, a, iov[i].iov_len));
		described += iov[i].iov_len;
	}
	MUST(described == sum);
}

static void complete(uint8_t how)
{
	size_t i;

	if (nr_flight == 0)
		return;
	i = how % nr_flight;
	MUST(vq_complete(&vq, flight[i], how) == 0);
	flight[i] = flight[--nr_flight];
	if (how & 1)
		MUST(vq_publish(&vq) == 0);
	if (how & 2)
		vq_should_notify(&vq);
}

static void put16(uint64_t at, uint16_t v)
{
	uint8_t raw[2];

	le16_put(raw, v);
	MUST(mem_write(mem, GPA(at), raw, sizeof(raw)) == 0);
}

/* One descriptor; addresses mostly in RAM, lengths mostly small. */
static void put_desc(uint64_t table, struct input *in)
{
	uint8_t i = (uint8_t)take(in, 1), how = (uint8_t)take(in, 1);
	uint8_t raw[16];

	le64_put(raw, how & 0x80 ? take(in, 8) : take(in, 2) << (how & 1));
	le32_put(raw + 8, (uint32_t)(how & 0x40 ? take(in, 4) : take(in, 1)));
	le16_put(raw + 12, (uint16_t)((how >> 1) & 7));
	le16_put(raw + 14, (uint16_t)(how & 0x20 ? take(in, 2) : i + 1u));
	MUST(mem_write(mem, GPA(table + 16ULL * i), raw, sizeof(raw)) == 0);
}

static void step(struct input *in)
{
	static uint16_t avail;
	uint8_t op = (uint8_t)take(in, 1);
	uint16_t v;

	switch (op & 7) {
	case 0:
		put_desc(DESC, in);
		break;
	case 1:
		put_desc(TABLE, in);
		break;
	case 2: /* offer a chain */
		avail = op & 8 ? (uint16_t)(avail + 1) : vq.seen_avail;
		put16(AVAIL + 4 + 2ULL * (avail & (vq.ring.size - 1) & 0xff),
		      (uint16_t)take(in, 1));
		put16(AVAIL + 2, (uint16_t)(avail + 1));
		break;
	case 3: /* anything in the rings */
		v = (uint16_t)take(in, 2);
		put16(v & 0x7ffe, (uint16_t)take(in, 2));
		break;
	case 4:
		if (op & 8)
			pop_buffers((uint8_t)take(in, 1));
		else
			pop((uint8_t)take(in, 1));
		break;
	case 5:
		complete((uint8_t)take(in, 1));
		break;
	case 6:
		if (op & 8)
			vq_enable_kick(&vq);
		else
			vq_disable_kick(&vq);
		break;
	default:
		configure(in);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct mem_range ranges[] = {
		{ .base = { 0 }, .len = RAM },
		{ .base = { 2 * RAM }, .len = RAM },
	};
	struct input in = { .p = data, .len = size };

	if (!mem)
		MUST(mem_create(&mem, ranges, 2, MEM_BACKING_PAGES, NULL) == 0);
	MUST(mem_zero(mem, GPA(0), 0x8000) == 0);
	configure(&in);
	for (int i = 0; i < 1000 && in.len > 0; i++)
		step(&in);
	/* Whatever is left must come to an end by itself. */
	for (int i = 0; vq_pop(&vq, &chain) > 0; i++) {
		MUST(i < VQ_SIZE_MAX);
		check_chain();
		flight[nr_flight++] = chain.head;
	}
	return 0;
}
