/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blk.c - virtio-blk: requests from chains to an engine; see blk.h.
 *
 * One request is worked on at a time, in slices, so that neither many requests nor a huge one keep
 * the loop from its other watches. Loop thread, except reset (virtio.h). virtio 1.2: 5.2.
 */
#include "virtio/blk.h"

#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>

#include "base/byteorder.h"
#include "base/log.h"
#include "base/text.h"
#include "virtio/blk_engine.h"

#define BIT(n) (UINT64_C(1) << (n))

#define SECTOR_SIZE 512u

/* A full chain without header and status (5.2.4, seg_max). */
#define BLK_SEG_MAX (VQ_SIZE_MAX - 2)

/*
 * Work per event. About a millisecond on a page cache; an interactive client of the API does not
 * notice it, and one disk cannot starve another device.
 */
#define BLK_REQS_PER_EVENT  64
#define BLK_BYTES_PER_EVENT (1u << 20)

/* The request that is being worked on. */
struct blk_request {
	bool busy;
	uint8_t status;	  /* VIRTIO_BLK_S_* */
	uint32_t type;	  /* VIRTIO_BLK_T_* */
	uint64_t offset;  /* bytes from the start of the disk */
	uint64_t left;	  /* bytes of data still to transfer */
	uint32_t written; /* bytes written to the guest so far, from the first writable one */
	uint64_t start_us;
};

struct blk {
	struct virtio_dev dev;
	struct blk_metrics metrics;
	struct blk_engine engine;
	uint64_t nr_sectors;
	bool read_only;
	bool has_serial; /* id was configured and does not come from the file */
	char id[BLK_ID_LEN];
	struct blk_request req;
	struct vq_chain chain;
	struct iovec iov[VQ_SIZE_MAX];
};

static struct blk *to_blk(struct virtio_dev *dev)
{
	_Static_assert(offsetof(struct blk, dev) == 0, "dev is first");
	return (struct blk *)(void *)dev;
}

/*
 * Whether @len bytes from @sector lie on the disk. The sum over all segments is judged, and
 * without adding: sector + length may wrap, and N segments may each fit where all together do not.
 */
static bool on_disk(const struct blk *blk, uint64_t sector, uint64_t len)
{
	return len % SECTOR_SIZE == 0 && sector <= blk->nr_sectors &&
	       len / SECTOR_SIZE <= blk->nr_sectors - sector;
}

static uint8_t begin_transfer(struct blk *blk, uint64_t sector, uint64_t len)
{
	struct blk_request *req = &blk->req;

	if (!on_disk(blk, sector, len) || (req->type == VIRTIO_BLK_T_OUT && blk->read_only))
		return VIRTIO_BLK_S_IOERR;
	req->offset = sector * SECTOR_SIZE;
	req->left = len;
	return VIRTIO_BLK_S_OK;
}

static uint8_t run_flush(struct blk *blk)
{
	struct blk_io io = { .op = BLK_OP_FLUSH };

	if (!virtio_has(&blk->dev, VIRTIO_BLK_F_FLUSH))
		return VIRTIO_BLK_S_UNSUPP;
	if (blk->engine.ops->run(&blk->engine, &io))
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
static void judge(struct blk *blk, uint64_t sector)
{
	const struct vq_chain *c = &blk->chain;

	switch (blk->req.type) {
	case VIRTIO_BLK_T_IN:
		blk->req.status = begin_transfer(blk, sector, c->writable_left - 1);
		break;
	case VIRTIO_BLK_T_OUT:
		blk->req.status = begin_transfer(blk, sector, c->readable_left);
		break;
	}
}

/*
 * Start the request in blk->chain. 0; 1 when it has to wait for its limits and was put back;
 * -EBADMSG when there is no way to answer it.
 */
static int begin(struct blk *blk)
{
	struct vq_chain *c = &blk->chain;
	struct blk_request *req = &blk->req;
	uint8_t header[sizeof(struct virtio_blk_outhdr)];

	/* 5.2.6: the header comes first, the last writable byte is the status. */
	if (c->writable_left < 1 || vq_chain_pull(c, header, sizeof(header))) {
		metric_inc(&blk->metrics.invalid_reqs_count);
		return vq_refuse(&blk->dev.queue[0].vq, "disk request without header or status");
	}
	*req = (struct blk_request){
		.busy = true,
		.type = le32_get(header + offsetof(struct virtio_blk_outhdr, type)),
		.start_us = virtio_now_us(),
	};
	judge(blk, le64_get(header + offsetof(struct virtio_blk_outhdr, sector)));
	/* Only bytes that will be moved are charged; a refused request costs its operation. */
	if (!virtio_admit(&blk->dev, 0, req->left)) {
		req->busy = false;
		vq_unpop(&blk->dev.queue[0].vq, c);
		return 1;
	}
	switch (req->type) {
	case VIRTIO_BLK_T_IN:
	case VIRTIO_BLK_T_OUT:
		break; /* step by step, by transfer() */
	case VIRTIO_BLK_T_FLUSH:
		req->status = run_flush(blk);
		break;
	case VIRTIO_BLK_T_GET_ID:
		req->status = run_get_id(blk);
		break;
	default:
		req->status = VIRTIO_BLK_S_UNSUPP;
	}
	return 0;
}

/* Transfer up to @budget bytes of the request. Returns the bytes it took. */
static uint64_t transfer(struct blk *blk, uint64_t budget)
{
	struct blk_request *req = &blk->req;
	bool in = req->type == VIRTIO_BLK_T_IN;
	struct blk_io io = {
		.op = in ? BLK_OP_READ : BLK_OP_WRITE,
		.offset = req->offset,
		.iov = blk->iov,
	};
	uint64_t want = req->left < budget ? req->left : budget;
	int64_t n = vq_chain_iov(&blk->chain, in ? VQ_WRITABLE : VQ_READABLE, want, blk->iov,
				 &io.nr_iov, VQ_SIZE_MAX);

	if (n > 0)
		io.len = (uint64_t)n;
	if (n <= 0 || blk->engine.ops->run(&blk->engine, &io)) {
		req->status = VIRTIO_BLK_S_IOERR;
		req->left = 0;
		return want;
	}
	req->offset += (uint64_t)n;
	req->left -= (uint64_t)n;
	if (in)
		req->written += (uint32_t)n;
	metric_add(in ? &blk->metrics.read_bytes : &blk->metrics.write_bytes, (uint64_t)n);
	return (uint64_t)n;
}

/* Write the status byte and give the chain back. 0 or -EBADMSG. */
static int finish(struct blk *blk)
{
	struct vq_chain *c = &blk->chain;
	struct blk_request *req = &blk->req;
	uint64_t gap = c->writable_left - 1;
	uint64_t us = virtio_now_us() - req->start_us;

	/* After an error the status is not next to what was written, which len counts (2.7.8.2). */
	if (vq_chain_skip_writable(c, gap) == 0 && vq_chain_push(c, &req->status, 1) == 0 && !gap)
		req->written++;
	req->busy = false;
	if (req->status != VIRTIO_BLK_S_OK) {
		metric_inc(&blk->metrics.execute_fails);
	} else if (req->type == VIRTIO_BLK_T_IN) {
		metric_inc(&blk->metrics.read_count);
		virtio_agg_add(&blk->metrics.read_agg, us);
	} else if (req->type == VIRTIO_BLK_T_OUT) {
		metric_inc(&blk->metrics.write_count);
		virtio_agg_add(&blk->metrics.write_agg, us);
	}
	return vq_complete(&blk->dev.queue[0].vq, c->head, req->written);
}

/*
 * Work until the queue is empty or the budget of this event is spent.
 * 0: empty, or the limits allow no more. 1: more to do. -EBADMSG: the guest broke a rule.
 */
static int work(struct blk *blk)
{
	struct vq *vq = &blk->dev.queue[0].vq;
	uint64_t budget = BLK_BYTES_PER_EVENT;
	int ret;

	/* Counts looks, not requests: an index that flickers must not keep us here either. */
	for (int nr = 0; nr < BLK_REQS_PER_EVENT && budget > 0; nr++) {
		if (!blk->req.busy) {
			ret = vq_pop(vq, &blk->chain);
			if (ret == 0 && vq_enable_kick(vq))
				continue;
			if (ret == 0) {
				virtio_idle(&blk->dev, 0);
				return 0;
			}
			if (ret > 0)
				ret = begin(blk);
			if (ret)
				return ret > 0 ? 0 : ret;
		}
		while (blk->req.left > 0 && budget > 0)
			budget -= transfer(blk, budget);
		if (blk->req.left > 0)
			break;
		ret = finish(blk);
		if (ret)
			return ret;
	}
	metric_inc(&blk->metrics.remaining_reqs_count);
	return 1;
}

static int blk_queue_work(struct virtio_dev *dev, unsigned int q)
{
	struct blk *blk = to_blk(dev);
	uint16_t before = dev->queue[q].vq.next_avail;
	int ret, ret2;

	metric_inc(&blk->metrics.queue_event_count);
	vq_disable_kick(&dev->queue[q].vq);
	ret = work(blk);
	if (ret == 0 && before == dev->queue[q].vq.next_avail && !dev->queue[q].throttle.closed)
		metric_inc(&blk->metrics.no_avail_buffer);
	/* One interrupt for all that was done, also for what was done before a rule was broken. */
	ret2 = virtio_signal(dev, q);
	return ret < 0 || ret2 == 0 ? ret : ret2;
}

static void blk_reset(struct virtio_dev *dev)
{
	/* A request between two slices is forgotten: its buffers belong to the guest again. */
	to_blk(dev)->req = (struct blk_request){ .busy = false };
}

static const struct virtio_class blk_class = {
	.name = "virtio-blk",
	.device_id = VIRTIO_ID_BLOCK,
	.nr_queues = 1,
	.config_len = offsetof(struct virtio_blk_config, geometry),
	.reset = blk_reset,
	.queue_work = blk_queue_work,
};

/* Look at @fd before anything is done with it. */
static int probe(int fd, const char *name, struct blk_file *file, struct err *e)
{
	int ret = blk_file_probe(fd, file, e);

	if (ret)
		return ret;
	if (file->nr_bytes % SECTOR_SIZE)
		log_warn("%s: the last %llu of %llu bytes are part of a sector, not visible", name,
			 (unsigned long long)(file->nr_bytes % SECTOR_SIZE),
			 (unsigned long long)file->nr_bytes);
	return 0;
}

/* What GET_ID answers: text, padded with zeroes and cut without a last one (5.2.6). */
static void set_id(struct blk *blk, const char *id)
{
	memset(blk->id, 0, sizeof(blk->id));
	memcpy(blk->id, id, strnlen(id, sizeof(blk->id)));
}

static void use_file(struct blk *blk, int fd, const struct blk_file *file)
{
	blk_sync_init(&blk->engine, fd);
	if (!blk->has_serial)
		set_id(blk, file->id);
	blk->nr_sectors = file->nr_bytes / SECTOR_SIZE;
	le64_put(blk->dev.config + offsetof(struct virtio_blk_config, capacity), blk->nr_sectors);
}

int blk_create(struct blk **out, const struct blk_params *params, const struct virtio_host *host,
	       struct err *e)
{
	uint64_t features = BIT(VIRTIO_BLK_F_SEG_MAX);
	struct blk_file file;
	char name[VIRTIO_NAME_MAX];
	struct blk *blk;
	int ret;

	text_print(name, sizeof(name), "drive %s", params->id);
	ret = probe(params->fd, name, &file, e);
	if (ret)
		return err_wrap(e, "%s", name);
	blk = calloc(1, sizeof(*blk));
	if (!blk)
		return err_set(e, ENOMEM, "%s", name);
	if (params->read_only)
		features |= BIT(VIRTIO_BLK_F_RO);
	if (params->writeback)
		features |= BIT(VIRTIO_BLK_F_FLUSH);
	ret = virtio_init(&blk->dev, &blk_class, host, features, name, e);
	if (ret) {
		free(blk);
		return ret;
	}
	blk->dev.queue[0].throttle.fired = &blk->metrics.rate_limiter_event_count;
	blk->dev.queue[0].throttle.throttled = &blk->metrics.rate_limiter_throttled_events;
	blk->read_only = params->read_only;
	blk->has_serial = params->serial;
	if (params->serial)
		set_id(blk, params->serial);
	use_file(blk, params->fd, &file);
	le32_put(blk->dev.config + offsetof(struct virtio_blk_config, seg_max), BLK_SEG_MAX);
	*out = blk;
	return 0;
}

int blk_set_file(struct blk *blk, int fd, struct err *e)
{
	struct blk_io flush = { .op = BLK_OP_FLUSH };
	struct blk_file file;
	int ret = probe(fd, blk->dev.name, &file, e);

	if (ret) {
		metric_inc(&blk->metrics.update_fails);
		return ret;
	}
	/* Judged against the old file; and half a request in each would be in neither. */
	while (blk->req.busy && blk->req.left > 0)
		transfer(blk, BLK_BYTES_PER_EVENT);
	/* The guest's next flush is a promise about what it wrote before, too. */
	if (virtio_has(&blk->dev, VIRTIO_BLK_F_FLUSH) && blk->engine.ops->run(&blk->engine, &flush))
		log_error("%s: cannot flush the file that is replaced", blk->dev.name);
	use_file(blk, fd, &file);
	metric_inc(&blk->metrics.update_count);
	virtio_config_changed(&blk->dev);
	return 0;
}

void blk_destroy(struct blk *blk)
{
	if (!blk)
		return;
	virtio_fini(&blk->dev);
	free(blk);
}

struct virtio_dev *blk_virtio(struct blk *blk)
{
	return &blk->dev;
}

struct blk_metrics *blk_metrics(struct blk *blk)
{
	return &blk->metrics;
}

uint64_t blk_nr_sectors(const struct blk *blk)
{
	return blk->nr_sectors;
}
