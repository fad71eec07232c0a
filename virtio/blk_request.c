/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blk_request.c - a disk's requests, from chain to engine and back; see blk_device.h.
 *
 * One request is worked on at a time, in slices, so that neither many requests nor a huge one keep
 * the loop from its other watches, or a vCPU that reads a register waiting for the device's lock.
 * Loop thread. virtio 1.2: 5.2.6.
 */
#include <errno.h>
#include <linux/falloc.h>
#include <string.h>

#include "virtio/blk_device.h"

/*
 * Work per event: some ten microseconds on a page cache, a millisecond or two on a disk that has to
 * be asked.
 */
#define BLK_REQS_PER_EVENT  64
#define BLK_BYTES_PER_EVENT (256u << 10)

/*
 * The sum over all segments is judged, and without adding: sector + length may wrap, and N segments
 * may each fit where all together do not.
 */
bool blk_on_disk(const struct blk *blk, uint64_t sector, uint64_t len)
{
	return len % SECTOR_SIZE == 0 && sector <= blk->nr_sectors &&
	       len / SECTOR_SIZE <= blk->nr_sectors - sector;
}

bool blk_writes_through(const struct blk *blk)
{
	if (!blk->writeback)
		return false; /* an operator who chose Unsafe asked for speed */
	if (virtio_has(&blk->dev, VIRTIO_BLK_F_CONFIG_WCE))
		return !blk->dev.config[offsetof(struct virtio_blk_config, wce)];
	return !virtio_has(&blk->dev, VIRTIO_BLK_F_FLUSH);
}

static uint8_t begin_transfer(struct blk *blk, enum blk_op op, uint64_t sector, uint64_t len)
{
	struct blk_request *req = &blk->req;

	if (!blk_on_disk(blk, sector, len) || (op == BLK_OP_WRITE && blk->read_only))
		return VIRTIO_BLK_S_IOERR;
	req->op = (uint8_t)op;
	req->offset = sector * SECTOR_SIZE;
	req->left = len;
	return VIRTIO_BLK_S_OK;
}

bool blk_uses_ring(const struct blk *blk)
{
	return blk->wait.ring && (blk->eager || !blk->engine.never_waits);
}

void blk_start(struct blk *blk, struct blk_slot *slot)
{
	static const enum uring_kind kind[] = {
		[BLK_OP_READ] = URING_READ,	[BLK_OP_WRITE] = URING_WRITE,
		[BLK_OP_FLUSH] = URING_SYNC,	[BLK_OP_DISCARD] = URING_ALLOCATE,
		[BLK_OP_ZERO] = URING_ALLOCATE, [BLK_OP_ZERO_UNMAP] = URING_ALLOCATE,
	};
	const struct blk_io *io = &slot->io;

	slot->op = (struct uring_op){
		.kind = kind[io->op],
		.fd = blk->engine.fd,
		.iov = io->iov,
		.nr_iov = io->nr_iov,
		.offset = io->offset,
		.len = io->len,
		.mode = FALLOC_FL_KEEP_SIZE |
			(io->op == BLK_OP_ZERO ? FALLOC_FL_ZERO_RANGE : FALLOC_FL_PUNCH_HOLE),
		.durable = io->durable,
	};
	uring_start(&blk->wait, &slot->op);
}

/*
 * Go on with the request in the ring: @io is the rest of a slice, the chain what comes after it.
 * There is a slot, for work() does not begin a request without. 0 or -EIO.
 */
static int hand_over(struct blk *blk, const struct blk_io *io, uint64_t rest)
{
	struct blk_request *req = &blk->req;
	struct blk_slot *slot = blk->free;
	size_t nr = 0;

	memcpy(slot->iov, io->iov, io->nr_iov * sizeof(slot->iov[0]));
	if (rest && vq_chain_iov(&blk->chain, io->op == BLK_OP_READ ? VQ_WRITABLE : VQ_READABLE,
				 rest, slot->iov + io->nr_iov, &nr,
				 sizeof(slot->iov) / sizeof(slot->iov[0]) - io->nr_iov) != rest)
		return -EIO;
	blk->free = slot->next;
	slot->req = *req;
	slot->io = *io;
	slot->io.iov = slot->iov;
	slot->io.nr_iov = io->nr_iov + nr;
	slot->io.len = io->len + rest;
	slot->nr_bytes = req->left;
	*req = (struct blk_request){ .busy = false };
	blk_start(blk, slot);
	return 0;
}

static uint8_t run_flush(struct blk *blk)
{
	struct blk_io io = { .op = BLK_OP_FLUSH };

	if (!virtio_has(&blk->dev, VIRTIO_BLK_F_FLUSH))
		return VIRTIO_BLK_S_UNSUPP;
	if (blk_uses_ring(blk)) {
		io.iov = blk->iov;
		return hand_over(blk, &io, 0) ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK;
	}
	if (blk_engine_run(&blk->engine, &io))
		return VIRTIO_BLK_S_IOERR;
	metric_inc(&blk->metrics.flush_count);
	return VIRTIO_BLK_S_OK;
}

static uint8_t run_get_id(struct blk *blk)
{
	struct vq_chain *c = &blk->chain;
	uint64_t n = c->writable_left - 1;

	if (n > BLK_ID_LEN)
		n = BLK_ID_LEN;
	if (vq_chain_push(c, blk->id, (size_t)n))
		return VIRTIO_BLK_S_IOERR;
	blk->req.written = (uint32_t)n;
	return VIRTIO_BLK_S_OK;
}

/* The request's header is known: find out what it transfers, and whether that is on the disk. */
static uint8_t judge(struct blk *blk, uint64_t sector)
{
	const struct vq_chain *c = &blk->chain;

	switch (blk->req.type) {
	case VIRTIO_BLK_T_IN:
		return begin_transfer(blk, BLK_OP_READ, sector, c->writable_left - 1);
	case VIRTIO_BLK_T_OUT:
		return begin_transfer(blk, BLK_OP_WRITE, sector, c->readable_left);
	case VIRTIO_BLK_T_DISCARD:
		return blk_begin_trim(blk, VIRTIO_BLK_F_DISCARD);
	case VIRTIO_BLK_T_WRITE_ZEROES:
		return blk_begin_trim(blk, VIRTIO_BLK_F_WRITE_ZEROES);
	case VIRTIO_BLK_T_FLUSH:
	case VIRTIO_BLK_T_GET_ID:
		return VIRTIO_BLK_S_OK;
	default:
		return VIRTIO_BLK_S_UNSUPP;
	}
}

/*
 * Start the request in blk->chain. 0; 1 when it has to wait for its limits and was put back;
 * -EBADMSG when there is no way to answer it.
 */
static int begin(struct blk *blk, unsigned int q)
{
	struct vq_chain *c = &blk->chain;
	struct blk_request *req = &blk->req;
	struct vq *vq = &blk->dev.queue[q].vq;
	uint8_t header[sizeof(struct virtio_blk_outhdr)];

	/* 5.2.6: the header comes first, the last writable byte is the status. */
	if (c->writable_left < 1 || vq_chain_pull(c, header, sizeof(header))) {
		metric_inc(&blk->metrics.invalid_reqs_count);
		return vq_refuse(vq, "disk request without header or status");
	}
	req->busy = true;
	req->queue = (uint8_t)q;
	req->head = c->head;
	req->type = le32_get(header + offsetof(struct virtio_blk_outhdr, type));
	req->written = 0;
	req->writable = (uint32_t)c->writable_left;
	req->left = 0;
	req->status_at = vq_chain_last(c);
	req->start_us = blk->now_us;
	req->status = judge(blk, le64_get(header + offsetof(struct virtio_blk_outhdr, sector)));
	/* Only bytes that will be moved are charged; a refused request costs its operation. */
	if (!virtio_admit(&blk->dev, 0, blk_is_trim(req) ? 0 : req->left)) {
		req->busy = false;
		vq_unpop(vq, c);
		blk->held |= 1u << q;
		return 1;
	}
	if (req->type == VIRTIO_BLK_T_FLUSH)
		req->status = run_flush(blk);
	else if (req->type == VIRTIO_BLK_T_GET_ID)
		req->status = run_get_id(blk);
	return 0;
}

void blk_failed(struct blk_request *req, uint8_t status)
{
	req->status = status;
	req->left = 0;
}

/* Transfer up to @budget bytes of the request. Returns the bytes it took. */
static uint64_t transfer(struct blk *blk, uint64_t budget)
{
	struct blk_request *req = &blk->req;
	bool in = req->op == BLK_OP_READ;
	struct blk_io *io = &blk->io;
	uint64_t want = req->left < budget ? req->left : budget;
	int ret = -EAGAIN;
	uint64_t n = vq_chain_iov(&blk->chain, in ? VQ_WRITABLE : VQ_READABLE, want, blk->iov,
				  &io->nr_iov, VQ_SIZE_MAX);

	if (n == 0) {
		blk_failed(req, VIRTIO_BLK_S_IOERR);
		return want;
	}
	io->op = (enum blk_op)req->op;
	io->durable = !in && blk_writes_through(blk);
	io->offset = req->offset;
	io->len = n;
	io->iov = blk->iov;
	if (!blk_uses_ring(blk))
		ret = blk_engine_run(&blk->engine, io);
	else if (!blk->eager)
		ret = blk_engine_try(&blk->engine, io);
	if (ret == -EAGAIN && blk_uses_ring(blk)) {
		ret = hand_over(blk, io, req->left - n);
		if (ret == 0)
			return 0;
	}
	if (ret) {
		blk_failed(req, VIRTIO_BLK_S_IOERR);
		return want;
	}
	req->offset += n;
	req->left -= n;
	if (in)
		req->written += (uint32_t)n;
	metric_add(in ? &blk->metrics.read_bytes : &blk->metrics.write_bytes, n);
	return n;
}

/* A slice of the request. Returns what it took of the event's budget. */
static uint64_t step(struct blk *blk, uint64_t budget)
{
	if (!blk_is_trim(&blk->req))
		return transfer(blk, budget);
	/* a range may be long: one per event */
	return blk_trim(blk) ? 0 : budget;
}

static void count(struct blk_done *done, uint64_t start_us)
{
	_Static_assert(VIRTIO_BLK_T_IN == 0 && VIRTIO_BLK_T_OUT == 1, "indexes of counted");
	if (done->nr++ == 0)
		done->first = done->last = start_us;
	else if (start_us < done->first)
		done->first = start_us;
	else if (start_us > done->last)
		done->last = start_us;
	done->start_sum += start_us;
}

/* The guest hears of them at the same time, so that is when they end: one look at the clock. */
static void account(struct blk *blk)
{
	uint64_t now = 0;

	for (unsigned int out = 0; out < 2; out++) {
		struct virtio_agg *agg = out ? &blk->metrics.write_agg : &blk->metrics.read_agg;
		struct blk_done *done = &blk->counted[out];
		uint64_t nr = done->nr;

		if (nr == 0)
			continue;
		if (!now)
			now = virtio_now_us();
		metric_add(out ? &blk->metrics.write_count : &blk->metrics.read_count, nr);
		virtio_agg_add(agg, now - done->first);
		if (nr > 1)
			virtio_agg_add(agg, now - done->last);
		/* the others */
		if (nr > 2)
			metric_add(&agg->sum_us,
				   (nr - 2) * now - (done->start_sum - done->first - done->last));
		*done = (struct blk_done){ .nr = 0 };
	}
}

/* Write the status byte and give the chain back. 0 or -EBADMSG. */
static int finish(struct blk *blk, struct blk_request *req)
{
	/* After an error the status is not next to what was written, which len counts (2.7.8.2). */
	if (mem_span_write(&req->status_at, 0, &req->status, 1) == 0 &&
	    req->written == req->writable - 1)
		req->written++;
	req->busy = false;
	blk->done |= 1u << req->queue;
	if (req->status != VIRTIO_BLK_S_OK)
		metric_inc(&blk->metrics.execute_fails);
	else if (req->type == VIRTIO_BLK_T_IN || req->type == VIRTIO_BLK_T_OUT)
		count(&blk->counted[req->type], req->start_us);
	return vq_complete(&blk->dev.queue[req->queue].vq, req->head, req->written);
}

/*
 * Work until queue @q is empty or the budget of this event is spent. A request that another queue
 * began comes first.
 * 0: empty, or the limits allow no more. 1: more to do. -EBADMSG: the guest broke a rule.
 */
static int work(struct blk *blk, unsigned int q)
{
	struct vq *vq = &blk->dev.queue[q].vq;
	uint64_t budget = BLK_BYTES_PER_EVENT;
	int ret;

	/* Counts looks, not requests: an index that flickers must not keep us here either. */
	for (int nr = 0; nr < BLK_REQS_PER_EVENT && budget > 0; nr++) {
		if (!blk->req.busy) {
			if (blk->wait.ring && !blk->free) {
				metric_inc(&blk->metrics.io_engine_throttled_events);
				blk->starved |= 1u << q;
				return 0;
			}
			ret = vq_pop(vq, &blk->chain);
			if (ret == 0 && vq_enable_kick(vq))
				continue;
			if (ret == 0) {
				virtio_idle(&blk->dev, 0);
				return 0;
			}
			if (ret > 0)
				ret = begin(blk, q);
			if (ret)
				return ret > 0 ? 0 : ret;
		}
		/* What the ring took over is not busy here any more, and has nothing left. */
		while (blk->req.left > 0 && budget > 0)
			budget -= step(blk, budget);
		if (!blk->req.busy)
			continue; /* the ring has it */
		if (blk->req.left > 0)
			break;
		ret = finish(blk, &blk->req);
		if (ret)
			return ret;
	}
	metric_inc(&blk->metrics.remaining_reqs_count);
	return 1;
}

/* One interrupt for all that was done, also for what was done before a rule was broken. */
static int signal_done(struct blk *blk)
{
	int ret = 0;

	account(blk);
	for (unsigned int q = 0; blk->done; q++, blk->done >>= 1)
		if (blk->done & 1) {
			int one = virtio_signal(&blk->dev, q);

			ret = ret ? ret : one;
		}
	return ret;
}

/* The limits are those of queue 0 for all; when they open, it wakes the others. */
static void wake_held(struct blk *blk)
{
	uint32_t held = blk->held;

	blk->held = 0;
	for (uint32_t q = 1; q < blk->dev.nr_queues; q++)
		if (held & 1u << q)
			virtio_notify(&blk->dev, q);
}

int blk_queue_work(struct virtio_dev *dev, unsigned int q)
{
	struct blk *blk = to_blk(dev);
	struct vq *vq = &dev->queue[q].vq;
	uint16_t before = vq->next_avail;
	int ret, ret2;

	/* A reset that waits leaves nothing of what it is asked. */
	if (blk->nr_resets)
		return 0;
	metric_inc(&blk->metrics.queue_event_count);
	if (q == 0)
		wake_held(blk);
	vq_disable_kick(vq);
	blk->now_us = virtio_now_us();
	ret = work(blk, q);
	if (ret == 0 && before == vq->next_avail && !dev->queue[0].throttle.closed)
		metric_inc(&blk->metrics.no_avail_buffer);
	ret2 = signal_done(blk);
	if (blk->wait.nr_in_flight)
		uring_submit(blk->wait.ring);
	return ret < 0 || ret2 == 0 ? ret : ret2;
}

/* Whether anybody waits for answers: not after a fault, and not during a reset. */
static bool answers(const struct blk *blk)
{
	return virtio_active(&blk->dev) && !blk->nr_resets;
}

/*
 * What the host would not let wait for want of memory or threads is waited for here; and what
 * direct I/O does not take.
 */
static bool has_no_means(const struct blk *blk, int res)
{
	return (res == -EINVAL && blk->engine.direct) || res == -EAGAIN || res == -ENOMEM ||
	       res == -EINTR || res == -ECANCELED;
}

/* What came back from the ring: go on with it, or answer it. */
static int take_back(struct blk *blk, struct blk_slot *slot)
{
	struct blk_request *req = &slot->req;
	bool in = slot->io.op == BLK_OP_READ, moves = in || slot->io.op == BLK_OP_WRITE;
	int res = slot->op.res, ret = 0;

	_Static_assert(offsetof(struct blk_slot, op) == 0, "op is first");

	if (answers(blk)) {
		if (res > 0)
			blk_io_advance(&slot->io, (uint64_t)res);
		else if (res == 0 && moves)
			res = -EIO; /* the file was cut; do not invent zeroes */
		else if (has_no_means(blk, res) || (res == -EOPNOTSUPP && blk_is_trim(req)))
			res = blk_engine_run(&blk->engine, &slot->io);
		if (res > 0 && slot->io.len > 0) {
			blk_start(blk, slot);
			return 0;
		}
		if (res == 0 && blk_is_trim(req) && blk_next_range(blk, slot))
			return 0;
		if (res < 0) {
			blk_failed(req,
				   blk_is_trim(req) ? blk_trim_status(res) : VIRTIO_BLK_S_IOERR);
		} else if (req->type == VIRTIO_BLK_T_FLUSH) {
			metric_inc(&blk->metrics.flush_count);
		} else {
			metric_add(in ? &blk->metrics.read_bytes : &blk->metrics.write_bytes,
				   slot->nr_bytes);
			req->written += in ? (uint32_t)slot->nr_bytes : 0;
		}
		ret = finish(blk, req);
	}
	slot->next = blk->free;
	blk->free = slot;
	return ret;
}

void blk_ended(void *ctx)
{
	struct blk *blk = ctx;
	struct uring_op *op, *next;
	uint32_t starved;
	int ret = 0, one;

	for (op = uring_take(&blk->wait); op; op = next) {
		next = op->next;
		one = take_back(blk, (struct blk_slot *)(void *)op);
		ret = ret ? ret : one;
	}
	if (!answers(blk)) {
		blk->done = 0;
		return;
	}
	one = signal_done(blk);
	ret = ret ? ret : one;
	if (ret)
		virtio_queue_failed(&blk->dev, 0, ret);
	if (blk->wait.nr_in_flight)
		uring_submit(blk->wait.ring);
	starved = blk->free ? blk->starved : 0;
	blk->starved &= ~starved;
	for (uint32_t q = 0; starved; q++, starved >>= 1)
		if (starved & 1)
			virtio_notify(&blk->dev, q);
}

void blk_finish_slices(struct blk *blk)
{
	while (blk->req.busy && blk->req.left > 0)
		step(blk, BLK_BYTES_PER_EVENT);
}
