/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blk_file.c - the file below a disk: its size, its identity, and the synchronous engine.
 *
 * Loop thread. The guest's buffers are handed to the kernel as they are; the guest may change them
 * while they are read or written, which hurts only its own data.
 */
#include <errno.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/text.h"
#include "virtio/blk_engine.h"

int blk_file_probe(int fd, struct blk_file *file, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_set(e, errno, "fstat");
	if (S_ISBLK(st.st_mode)) {
		/* Not BLKGETSIZE64: by then no device opened anew may be asked (vmm/landlock.h). */
		off_t end = lseek(fd, 0, SEEK_END);

		if (end < 0)
			return err_set(e, errno, "size of the block device");
		file->nr_bytes = (uint64_t)end;
	} else if (S_ISREG(st.st_mode)) {
		file->nr_bytes = (uint64_t)st.st_size;
	} else {
		return err_set(e, 0, "neither a regular file nor a block device");
	}
	text_print(file->id, sizeof(file->id), "%llu%llu%llu", (unsigned long long)st.st_dev,
		   (unsigned long long)st.st_rdev, (unsigned long long)st.st_ino);
	return 0;
}

/* Drop the first @n bytes of an iovec array, after a short transfer. */
static void iov_advance(struct blk_io *io, size_t n)
{
	while (io->nr_iov > 0 && n >= io->iov->iov_len) {
		n -= io->iov->iov_len;
		io->iov++;
		io->nr_iov--;
	}
	if (n > 0) {
		io->iov->iov_base = (char *)io->iov->iov_base + n;
		io->iov->iov_len -= n;
	}
}

static int sync_transfer(int fd, struct blk_io *io)
{
	while (io->len > 0) {
		ssize_t n;

		if (io->op == BLK_OP_READ)
			n = preadv(fd, io->iov, (int)io->nr_iov, (off_t)io->offset);
		else
			n = pwritev(fd, io->iov, (int)io->nr_iov, (off_t)io->offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		/* The file was cut after we looked at its size; do not invent zeroes. */
		if (n == 0)
			return -EIO;
		io->offset += (uint64_t)n;
		io->len -= (uint64_t)n;
		iov_advance(io, (size_t)n);
	}
	return 0;
}

static int sync_run(struct blk_engine *engine, struct blk_io *io)
{
	if (io->op != BLK_OP_FLUSH)
		return sync_transfer(engine->fd, io);
	return fdatasync(engine->fd) < 0 ? -errno : 0;
}

static const struct blk_engine_ops sync_ops = { .run = sync_run };

void blk_sync_init(struct blk_engine *engine, int fd)
{
	*engine = (struct blk_engine){ .ops = &sync_ops, .fd = fd };
}
