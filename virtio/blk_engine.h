/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blk_engine.h - how a disk's requests reach its file. Only for virtio/blk*.c.
 *
 * An engine sees host memory and byte offsets, never a chain. What it does at once it does on the
 * calling thread: the loop.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"

enum blk_op {
	BLK_OP_READ,
	BLK_OP_WRITE,
	BLK_OP_FLUSH,
	BLK_OP_DISCARD,
	BLK_OP_ZERO,
	BLK_OP_ZERO_UNMAP, /* zeroes that may be holes */
};

struct blk_io {
	enum blk_op op;
	bool durable;	   /* a write that is on stable storage when it ends */
	uint64_t offset;   /* bytes; offset and length were checked against the capacity */
	uint64_t len;	   /* left to do; sum over iov for reads and writes */
	struct iovec *iov; /* the engine may change entries */
	size_t nr_iov;
};

struct blk_engine {
	int fd; /* not owned */
	bool is_device;
	bool direct;	     /* opened with O_DIRECT */
	bool never_waits;    /* a file in memory */
	bool no_cache_read;  /* the host refused RWF_NOWAIT for reads */
	bool no_cache_write; /* or for writes */
};

/* What blk_file_probe found out. */
struct blk_file {
	uint64_t nr_bytes;
	uint32_t block_bytes;	/* smallest unit that is written without reading, a power of two */
	uint32_t optimal_bytes; /* unit that the host likes best, or 0 */
	bool is_device;
	bool can_discard;
	bool direct;
	bool never_waits;
	char id[64]; /* answer to GET_ID when none is configured; text, may be cut by its user */
};

/*
 * blk_file_probe - size, identity and abilities of a regular file or block device. Changes nothing.
 * Errors: EINVAL for anything else, errno of fstat or ioctl.
 */
int blk_file_probe(int fd, bool read_only, struct blk_file *file, struct err *e);

/* blk_engine_init - @fd stays open as long as the engine is used. */
void blk_engine_init(struct blk_engine *engine, int fd, const struct blk_file *file);

/*
 * blk_engine_run - do all of @io, however long it takes; through the page cache what direct I/O
 * does not take, because the guest's buffers lie as they lie. 0 or -errno: -EIO when the file ends
 * early, -EOPNOTSUPP for a discard that the host does not know.
 */
int blk_engine_run(struct blk_engine *engine, struct blk_io *io);

/*
 * blk_engine_try - do as much of a read or write as needs no waiting for the disk. 0: all of it.
 * -EAGAIN: @io describes what is left. Any other -errno: it failed.
 */
int blk_engine_try(struct blk_engine *engine, struct blk_io *io);

/* blk_io_advance - @n bytes of @io are done. */
void blk_io_advance(struct blk_io *io, uint64_t n);
