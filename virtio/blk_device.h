/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blk_device.h - the inside of a disk, shared by blk.c (the device) and blk_request.c (its
 * requests). Only for virtio/blk*.c and its tests. Threads: see virtio.h.
 */
#pragma once

#include <linux/virtio_blk.h>

#include "base/byteorder.h"
#include "base/uring.h"
#include "virtio/blk.h"
#include "virtio/blk_engine.h"

#define SECTOR_SIZE 512u

/* A full chain without header and status (5.2.4, seg_max). */
#define BLK_SEG_MAX (VQ_SIZE_MAX - 2)

/*
 * One range of a discard or of write zeroes, and ranges in a request: enough that trimming a file
 * system takes few requests, few enough that each is a short stop.
 */
#define BLK_TRIM_SECTORS (64u << 20 >> 9)
#define BLK_ZERO_SECTORS (16u << 20 >> 9)
#define BLK_TRIM_SEGS	 16u

/* As many as vCPUs, up to here: one loop serves them all, so more only cost memory. */
#define BLK_QUEUES_MAX 4u

/* The request that is being worked on. */
struct blk_request {
	bool busy;
	uint8_t queue;
	uint8_t status; /* VIRTIO_BLK_S_* */
	uint8_t op;	/* enum blk_op, when there is something left to do */
	uint16_t head;
	uint32_t type;	   /* VIRTIO_BLK_T_* */
	uint32_t written;  /* bytes written to the guest so far, from the first writable one */
	uint32_t writable; /* bytes that it can write to, the status included */
	uint64_t offset;   /* bytes from the start of the disk */
	uint64_t left;	   /* bytes of data, or ranges of a trim, still to do */
	struct mem_span status_at;
	uint64_t start_us;
};

/* Requests of one direction that were done and not yet signalled: counted together. */
struct blk_done {
	uint64_t nr;
	uint64_t start_sum, first, last; /* when they began, us */
};

/* Requests in flight per disk; a driver's others wait in its queues. */
#define BLK_SLOTS 32u

/* A request in flight. */
struct blk_slot {
	struct uring_op op;
	struct blk_slot *next; /* of those that are free */
	struct blk_request req;
	struct blk_io io;  /* what is left */
	uint64_t nr_bytes; /* of reads and writes, that were handed over */
	union {
		struct iovec iov[VQ_SIZE_MAX + 1]; /* one buffer may be cut in two by a slice */
		struct virtio_blk_discard_write_zeroes trim[BLK_TRIM_SEGS];
	};
};

struct blk {
	struct virtio_dev dev;
	struct blk_metrics metrics;
	struct blk_engine engine;
	struct uring_user wait; /* has joined a ring unless all is done on the loop */
	struct blk_slot *slots;
	struct blk_slot *free;
	bool eager;		/* a test's: nothing is tried on the loop first */
	uint32_t starved;	/* queues that wait for a free slot */
	unsigned int nr_resets; /* vCPUs that wait for what is in flight, to reset the device */
	uint64_t nr_sectors;
	uint64_t now_us;	    /* when the work began that is being done */
	struct blk_done counted[2]; /* reads, writes */
	uint32_t done; /* queues on which something was completed and not yet signalled */
	uint32_t held; /* queues that rest because the limits allow no more */
	bool read_only;
	bool writeback;
	bool has_serial; /* id was configured and does not come from the file */
	char id[BLK_ID_LEN];
	struct blk_request req;
	struct virtio_blk_discard_write_zeroes trim[BLK_TRIM_SEGS];
	struct vq_chain chain;
	struct blk_io io; /* a slice of it; set field by field, for each request passes here */
	struct iovec iov[VQ_SIZE_MAX];
};

static inline struct blk *to_blk(struct virtio_dev *dev)
{
	_Static_assert(offsetof(struct blk, dev) == 0, "dev is first");
	return (struct blk *)(void *)dev;
}

static inline bool blk_is_trim(const struct blk_request *req)
{
	return req->type == VIRTIO_BLK_T_DISCARD || req->type == VIRTIO_BLK_T_WRITE_ZEROES;
}

/* blk_on_disk - whether @len bytes from @sector lie on the disk. */
bool blk_on_disk(const struct blk *blk, uint64_t sector, uint64_t len);

/* blk_writes_through - must a write be on stable storage when it is answered (5.2.5.2, 5.2.6.2)? */
bool blk_writes_through(const struct blk *blk);

/* blk_uses_ring - whether the ring takes what would have to wait. */
bool blk_uses_ring(const struct blk *blk);

/* blk_start - what slot->io says begins in the ring. */
void blk_start(struct blk *blk, struct blk_slot *slot);

/* blk_failed - nothing is left of @req but to answer it with @status. */
void blk_failed(struct blk_request *req, uint8_t status);

/*
 * blk_begin_trim - copy the ranges of the trim in blk->chain and judge them all, before anything is
 * done; @feature: what the driver has to have accepted. VIRTIO_BLK_S_*.
 */
uint8_t blk_begin_trim(struct blk *blk, unsigned int feature);

/* blk_trim - do a range of blk->req, which has one. True: the ring has the rest of the request. */
bool blk_trim(struct blk *blk);

/*
 * blk_next_range - a range of the trim in @slot has ended: begin the next in the ring, or make them
 * all stable. False: all is done.
 */
bool blk_next_range(struct blk *blk, struct blk_slot *slot);

/* blk_trim_status - the answer to a trim that ended with @ret, -errno. */
uint8_t blk_trim_status(int ret);

/* blk_queue_work - virtio_class.queue_work. */
int blk_queue_work(struct virtio_dev *dev, unsigned int q);

/* blk_ended - uring_user.ended: answer the requests that have ended. @ctx: struct blk. */
void blk_ended(void *ctx);

/* blk_finish_slices - do all of the request that is being worked on, if any. Loop thread. */
void blk_finish_slices(struct blk *blk);
