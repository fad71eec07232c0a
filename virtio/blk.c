/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blk.c - virtio-blk: the device, its config space and its file; see blk.h.
 *
 * Loop thread, except reset (virtio.h). virtio 1.2: 5.2.3 to 5.2.5.
 */
#include "virtio/blk.h"

#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "virtio/blk_device.h"

#define BIT(n) (UINT64_C(1) << (n))

/* The only field that a driver may write (5.2.5.2): whether writes may stay in a cache. */
#define WCE offsetof(struct virtio_blk_config, wce)

static bool blk_config_write(struct virtio_dev *dev, uint64_t offset, uint8_t v)
{
	if (offset != WCE || v > 1 || !virtio_has(dev, VIRTIO_BLK_F_CONFIG_WCE))
		return false;
	dev->config[WCE] = v;
	return true;
}

static void blk_reset(struct virtio_dev *dev)
{
	struct blk *blk = to_blk(dev);

	/* A request between two slices is forgotten: its buffers belong to the guest again. */
	blk->req.busy = false;
	/* The lock is given up meanwhile: nothing may begin, and nobody gets an answer. */
	blk->nr_resets++;
	uring_drain(&blk->wait);
	blk->nr_resets--;
	blk->starved = 0;
	blk->done = 0;
	blk->held = 0;
	dev->config[WCE] = blk->writeback;
}

static const struct virtio_class blk_class = {
	.name = "virtio-blk",
	.device_id = VIRTIO_ID_BLOCK,
	.nr_queues = 1,
	.config_len = offsetof(struct virtio_blk_config, max_secure_erase_sectors),
	.reset = blk_reset,
	.config_write = blk_config_write,
	.queue_work = blk_queue_work,
};

/* Look at @fd before anything is done with it. */
static int probe(int fd, bool read_only, const char *name, struct blk_file *file, struct err *e)
{
	int ret = blk_file_probe(fd, read_only, file, e);

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

#define CONFIG(blk, field) ((blk)->dev.config + offsetof(struct virtio_blk_config, field))

/* 5.2.5: physical blocks as a power of two, the rest in logical blocks, which are sectors. */
static void set_topology(struct blk *blk, const struct blk_file *file)
{
	uint32_t sectors = file->block_bytes / SECTOR_SIZE;

	le32_put(CONFIG(blk, blk_size), SECTOR_SIZE);
	*CONFIG(blk, physical_block_exp) = (uint8_t)__builtin_ctz(sectors);
	le16_put(CONFIG(blk, min_io_size), (uint16_t)sectors);
	le32_put(CONFIG(blk, opt_io_size), file->optimal_bytes / SECTOR_SIZE);
	le32_put(CONFIG(blk, discard_sector_alignment), sectors);
}

static void use_file(struct blk *blk, int fd, const struct blk_file *file)
{
	blk_engine_init(&blk->engine, fd, file);
	if (!blk->has_serial)
		set_id(blk, file->id);
	blk->nr_sectors = file->nr_bytes / SECTOR_SIZE;
	le64_put(CONFIG(blk, capacity), blk->nr_sectors);
}

/* What does not change with the file: a driver looks at it once. */
static void set_limits(struct blk *blk)
{
	le32_put(CONFIG(blk, seg_max), BLK_SEG_MAX);
	*CONFIG(blk, wce) = blk->writeback;
	le16_put(CONFIG(blk, num_queues), (uint16_t)blk->dev.nr_queues);
	le32_put(CONFIG(blk, max_discard_sectors), BLK_TRIM_SECTORS);
	le32_put(CONFIG(blk, max_discard_seg), BLK_TRIM_SEGS);
	le32_put(CONFIG(blk, max_write_zeroes_sectors), BLK_ZERO_SECTORS);
	le32_put(CONFIG(blk, max_write_zeroes_seg), BLK_TRIM_SEGS);
	*CONFIG(blk, write_zeroes_may_unmap) = 1;
}

static uint64_t features(const struct blk_params *params, const struct blk_file *file)
{
	uint64_t f =
		BIT(VIRTIO_BLK_F_SEG_MAX) | BIT(VIRTIO_BLK_F_BLK_SIZE) | BIT(VIRTIO_BLK_F_TOPOLOGY);

	f |= params->read_only ? BIT(VIRTIO_BLK_F_RO) : BIT(VIRTIO_BLK_F_WRITE_ZEROES);
	if (params->writeback)
		f |= BIT(VIRTIO_BLK_F_FLUSH) | BIT(VIRTIO_BLK_F_CONFIG_WCE);
	if (file->can_discard)
		f |= BIT(VIRTIO_BLK_F_DISCARD);
	if (params->nr_queues > 1)
		f |= BIT(VIRTIO_BLK_F_MQ);
	return f;
}

/* Join the ring if that was asked for, or is of use; then also a host without it will do. */
static int join_ring(struct blk *blk, const struct blk_params *params, struct err *e)
{
	struct err ignored;
	bool must = params->engine == BLK_ASYNC;
	int ret = 0;

	if (!params->ring || params->engine == BLK_SYNC || (!must && blk->engine.never_waits))
		return 0;
	if (!*params->ring)
		ret = uring_create(params->ring, blk->dev.host.loop, must ? e : &ignored);
	if (ret && must)
		return err_wrap(e, "io_engine Async is not possible on this host, Sync is");
	if (ret)
		return 0;
	blk->slots = calloc(BLK_SLOTS, sizeof(*blk->slots));
	if (!blk->slots)
		return err_set(e, ENOMEM, "requests");
	/* The first are used most: memory of those that no driver needs is never touched. */
	for (size_t i = BLK_SLOTS; i > 0; i--) {
		blk->slots[i - 1].next = blk->free;
		blk->free = &blk->slots[i - 1];
	}
	blk->wait.lock = blk->dev.host.lock;
	blk->wait.ended = blk_ended;
	blk->wait.ctx = blk;
	uring_join(*params->ring, &blk->wait);
	return 0;
}

int blk_create(struct blk **out, const struct blk_params *params, const struct virtio_host *host,
	       struct err *e)
{
	struct blk_file file;
	char name[VIRTIO_NAME_MAX];
	struct blk *blk;
	int ret;

	text_print(name, sizeof(name), "drive %s", params->id);
	ret = probe(params->fd, params->read_only, name, &file, e);
	if (ret)
		return err_wrap(e, "%s", name);
	blk = calloc(1, sizeof(*blk));
	if (!blk)
		return err_set(e, ENOMEM, "%s", name);
	blk->dev.nr_queues =
		params->nr_queues < BLK_QUEUES_MAX ? params->nr_queues : BLK_QUEUES_MAX;
	ret = virtio_init(&blk->dev, &blk_class, host, features(params, &file), name, e);
	if (ret) {
		free(blk);
		return ret;
	}
	blk->dev.queue[0].throttle.fired = &blk->metrics.rate_limiter_event_count;
	blk->dev.queue[0].throttle.throttled = &blk->metrics.rate_limiter_throttled_events;
	blk->read_only = params->read_only;
	blk->writeback = params->writeback;
	blk->has_serial = params->serial;
	if (params->serial)
		set_id(blk, params->serial);
	set_limits(blk);
	set_topology(blk, &file);
	use_file(blk, params->fd, &file);
	ret = join_ring(blk, params, e);
	if (ret) {
		blk_destroy(blk);
		return ret;
	}
	*out = blk;
	return 0;
}

int blk_set_file(struct blk *blk, int fd, struct err *e)
{
	struct blk_io flush = { .op = BLK_OP_FLUSH };
	struct blk_file file;
	int ret = probe(fd, blk->read_only, blk->dev.name, &file, e);

	if (ret) {
		metric_inc(&blk->metrics.update_fails);
		return ret;
	}
	/* Judged against the old file; and half a request in each would be in neither. */
	blk_finish_slices(blk);
	if (blk->wait.nr_in_flight)
		uring_submit(blk->wait.ring);
	uring_drain(&blk->wait);
	/* The guest's next flush is a promise about what it wrote before, too. */
	if (virtio_has(&blk->dev, VIRTIO_BLK_F_FLUSH) && blk_engine_run(&blk->engine, &flush))
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
	uring_leave(&blk->wait);
	virtio_fini(&blk->dev);
	free(blk->slots);
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
