/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blk_engine.h - how a disk's requests reach its file. Only for virtio/blk*.c.
 *
 * An engine sees host memory and byte offsets, never a chain. Today there is one, synchronous; an
 * asynchronous one answers -EINPROGRESS and completes later. Loop thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"

struct blk_engine;

enum blk_op { BLK_OP_READ, BLK_OP_WRITE, BLK_OP_FLUSH };

struct blk_io {
	enum blk_op op;
	uint64_t offset;   /* bytes; offset and length were checked against the capacity */
	uint64_t len;	   /* sum over iov */
	struct iovec *iov; /* the engine may change entries */
	size_t nr_iov;
};

struct blk_engine_ops {
	/* Transfer all of @io: 0 or -errno (-EIO when the file ends early). */
	int (*run)(struct blk_engine *engine, struct blk_io *io);
};

struct blk_engine {
	const struct blk_engine_ops *ops;
	int fd; /* not owned */
};

/* blk_sync_init - preadv, pwritev and fdatasync on the calling thread. */
void blk_sync_init(struct blk_engine *engine, int fd);

/* What blk_file_probe found out. */
struct blk_file {
	uint64_t nr_bytes;
	char id[64]; /* answer to GET_ID when none is configured; text, may be cut by its user */
};

/*
 * blk_file_probe - size and identity of a regular file or block device.
 * Errors: EINVAL for anything else, errno of fstat or ioctl.
 */
int blk_file_probe(int fd, struct blk_file *file, struct err *e);
