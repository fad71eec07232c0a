/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blk_trim.c - discard and write zeroes; see blk_device.h. Loop thread. virtio 1.2: 5.2.6.
 *
 * On a file of many extents a range may take seconds, so the ring has them where there is one. Not
 * so the discards of a device, which has to be asked in a way that the ring does not have.
 */
#include <errno.h>
#include <string.h>

#include "virtio/blk_device.h"

/* One range of a trim: its flags decide first (5.2.6.2), then whether it may be done. */
static uint8_t judge_range(const struct blk *blk, const struct virtio_blk_discard_write_zeroes *r)
{
	uint32_t flags = le32toh(r->flags), nr = le32toh(r->num_sectors);
	bool zero = blk->req.type == VIRTIO_BLK_T_WRITE_ZEROES;

	if (flags & ~(zero ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0u))
		return VIRTIO_BLK_S_UNSUPP;
	if (nr > (zero ? BLK_ZERO_SECTORS : BLK_TRIM_SECTORS) ||
	    !blk_on_disk(blk, le64toh(r->sector), (uint64_t)nr * SECTOR_SIZE))
		return VIRTIO_BLK_S_IOERR;
	return VIRTIO_BLK_S_OK;
}

uint8_t blk_begin_trim(struct blk *blk, unsigned int feature)
{
	struct vq_chain *c = &blk->chain;
	size_t nr = c->readable_left / sizeof(blk->trim[0]);
	uint8_t status = VIRTIO_BLK_S_OK;

	if (!virtio_has(&blk->dev, feature))
		return VIRTIO_BLK_S_UNSUPP;
	/* Neither is offered for a disk that only can be read. */
	if (nr == 0 || nr > BLK_TRIM_SEGS || c->readable_left % sizeof(blk->trim[0]) ||
	    vq_chain_pull(c, blk->trim, nr * sizeof(blk->trim[0])))
		return VIRTIO_BLK_S_IOERR;
	for (size_t i = 0; i < nr && status == VIRTIO_BLK_S_OK; i++)
		status = judge_range(blk, &blk->trim[i]);
	if (status == VIRTIO_BLK_S_OK)
		blk->req.left = nr;
	return status;
}

/* The next of @ranges that is not empty. False: there is none. */
static bool next_range(const struct blk *blk, struct blk_request *req,
		       const struct virtio_blk_discard_write_zeroes *ranges, struct blk_io *io)
{
	while (req->left > 0) {
		const struct virtio_blk_discard_write_zeroes *r = &ranges[--req->left];

		if (r->num_sectors == 0)
			continue;
		io->op = BLK_OP_DISCARD;
		if (req->type == VIRTIO_BLK_T_WRITE_ZEROES)
			io->op = r->flags ? BLK_OP_ZERO_UNMAP : BLK_OP_ZERO;
		io->durable = blk_writes_through(blk);
		io->offset = le64toh(r->sector) * SECTOR_SIZE;
		io->len = (uint64_t)le32toh(r->num_sectors) * SECTOR_SIZE;
		return true;
	}
	return false;
}

bool blk_next_range(struct blk *blk, struct blk_slot *slot)
{
	bool durable = slot->io.durable;

	slot->io = (struct blk_io){ .op = BLK_OP_FLUSH };
	if (!next_range(blk, &slot->req, slot->trim, &slot->io) && !durable)
		return false;
	blk_start(blk, slot);
	return true;
}

uint8_t blk_trim_status(int ret)
{
	return ret == -EOPNOTSUPP ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR;
}

bool blk_trim(struct blk *blk)
{
	struct blk_request *req = &blk->req;
	struct blk_slot *slot = blk->free;
	struct blk_io io = { .len = 0 };
	int ret;

	if (blk_uses_ring(blk) && !(blk->engine.is_device && req->type == VIRTIO_BLK_T_DISCARD)) {
		slot->req = *req;
		slot->nr_bytes = 0;
		slot->io.durable = false;
		memcpy(slot->trim, blk->trim, sizeof(slot->trim));
		req->left = 0;
		if (blk_next_range(blk, slot)) {
			blk->free = slot->next;
			req->busy = false;
		}
		return true;
	}
	ret = next_range(blk, req, blk->trim, &io) ? blk_engine_run(&blk->engine, &io) : 0;
	if (ret)
		blk_failed(req, blk_trim_status(ret));
	return false;
}
