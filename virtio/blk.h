/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blk.h - virtio-blk on a raw file or block device.
 *
 * Created and destroyed on the loop thread while the machine is built or torn down; runs as
 * virtio.h says. No format is ever detected: sector 0 is the guest's to write.
 * virtio 1.2, 5.2.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "virtio/virtio.h"

#define BLK_ID_LEN 20 /* VIRTIO_BLK_ID_BYTES */

struct blk;

/* Named as in the metrics output, group block_<drive id>; the rest of that group is in .virtio */
struct blk_metrics {
	metric_t no_avail_buffer;
	metric_t execute_fails;	     /* answered with IOERR or UNSUPP */
	metric_t invalid_reqs_count; /* chains without room for header or status */
	metric_t flush_count;
	metric_t queue_event_count;
	metric_t rate_limiter_event_count;
	metric_t update_count;
	metric_t update_fails;
	metric_t read_bytes;
	metric_t write_bytes;
	metric_t read_count;
	metric_t write_count;
	metric_t rate_limiter_throttled_events;
	metric_t io_engine_throttled_events;
	metric_t remaining_reqs_count; /* times an event ended with work left */
	struct virtio_agg read_agg;
	struct virtio_agg write_agg;
};

/* How requests reach the file: on the loop, by io_uring, or by what suits file and host best. */
enum blk_engine_kind { BLK_BEST, BLK_SYNC, BLK_ASYNC };

struct uring;

struct blk_params {
	const char *id; /* drive id, for log lines */
	int fd;		/* file or block device; not owned, open until blk_destroy */
	bool read_only; /* offers RO and refuses writes; fd may then be O_RDONLY */
	bool writeback; /* offers FLUSH, which becomes fdatasync, and CONFIG_WCE */
	enum blk_engine_kind engine;
	/*
	 * The ring of the process; made by the first disk that wants it, undone by the caller after
	 * the last one is gone. NULL: everything is done on the loop.
	 */
	struct uring **ring;
	unsigned int nr_queues; /* one for each vCPU; 0 is 1, what is too many is cut */
	const char *serial;	/* answer to GET_ID, at most BLK_ID_LEN bytes; NULL: from fstat */
};

/*
 * blk_create - a disk. Capacity comes from fstat or BLKGETSIZE64; a trailing part of a sector is
 * not visible (one warning). On success *out is owned by the caller. Errors: ENOMEM, EINVAL
 * (neither file nor block device), errno of fstat/ioctl.
 */
int blk_create(struct blk **out, const struct blk_params *params, const struct virtio_host *host,
	       struct err *e);

/* blk_destroy - close everything. No vCPU runs any more. NULL is allowed. */
void blk_destroy(struct blk *blk);

/* blk_virtio - what to put on the bus. */
struct virtio_dev *blk_virtio(struct blk *blk);

/* blk_metrics - any thread. */
struct blk_metrics *blk_metrics(struct blk *blk);

/*
 * blk_set_file - go on with another file, or with the same one after its size has changed: new
 * capacity, new id (unless one was configured), and the driver is told. @fd as in blk_params; after
 * success the old one is no longer used. A request that is half done is finished on the old file
 * first. Errors as blk_create; then nothing has changed. Loop thread with the device's lock held.
 */
int blk_set_file(struct blk *blk, int fd, struct err *e);

/* blk_nr_sectors - capacity in sectors of 512 bytes. */
uint64_t blk_nr_sectors(const struct blk *blk);
