/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blk_file.c - the file below a disk: what it is and can do, and doing it on the calling thread.
 *
 * Loop thread. The guest's buffers are handed to the kernel as they are; the guest may change them
 * while they are read or written, which hurts only its own data.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/text.h"
#include "virtio/blk_engine.h"

#define SECTOR_SIZE 512u

/*
 * Larger blocks than a guest's page are what some file systems call their favourite transfer, not
 * what a write costs less by.
 */
#define BLOCK_MAX 4096u

/* Zeroes for hosts that cannot make them: one page, named often enough. */
#define ZERO_BYTES 4096u
#define ZERO_IOVS  64u

static int probe_device(int fd, bool read_only, struct blk_file *file, struct err *e)
{
	/* Begins inside a sector: a device that knows discard refuses it for just that. */
	uint64_t nowhere[2] = { 1, 0 };
	unsigned int optimal = 0;
	int block = 0;
	/* Not BLKGETSIZE64: by then no device opened anew may be asked (vmm/landlock.h). */
	off_t end = lseek(fd, 0, SEEK_END);

	if (end < 0)
		return err_set(e, errno, "size of the block device");
	file->nr_bytes = (uint64_t)end;
	file->is_device = true;
	if (fd_ioctl(fd, BLKPBSZGET, &block) == 0)
		file->block_bytes = (uint32_t)block;
	if (fd_ioctl(fd, BLKIOOPT, &optimal) == 0)
		file->optimal_bytes = optimal;
	file->can_discard = !read_only && fd_ioctl(fd, BLKDISCARD, nowhere) < 0 && errno == EINVAL;
	return 0;
}

static void probe_regular(int fd, bool read_only, const struct stat *st, struct blk_file *file)
{
	uint64_t end = ((uint64_t)st->st_size + BLOCK_MAX - 1) & ~(uint64_t)(BLOCK_MAX - 1);
	struct statfs fs;

	file->nr_bytes = (uint64_t)st->st_size;
	file->block_bytes = (uint32_t)st->st_blksize;
	if (file->block_bytes > BLOCK_MAX) {
		file->optimal_bytes = file->block_bytes;
		file->block_bytes = BLOCK_MAX;
	}
	/* A hole behind the end changes nothing, and a host that cannot punch holes says so. */
	file->can_discard = !read_only && fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
						    (off_t)end, BLOCK_MAX) == 0;
	file->never_waits =
		fstatfs(fd, &fs) == 0 && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC ||
					  fs.f_type == HUGETLBFS_MAGIC);
}

int blk_file_probe(int fd, bool read_only, struct blk_file *file, struct err *e)
{
	struct stat st;
	int ret = 0;

	*file = (struct blk_file){ .nr_bytes = 0 };
	if (fstat(fd, &st) < 0)
		return err_set(e, errno, "fstat");
	if (S_ISBLK(st.st_mode))
		ret = probe_device(fd, read_only, file, e);
	else if (S_ISREG(st.st_mode))
		probe_regular(fd, read_only, &st, file);
	else
		ret = err_set(e, 0, "neither a regular file nor a block device");
	file->direct = fcntl(fd, F_GETFL) & O_DIRECT;
	if (file->block_bytes < SECTOR_SIZE || (file->block_bytes & (file->block_bytes - 1)))
		file->block_bytes = SECTOR_SIZE;
	text_print(file->id, sizeof(file->id), "%llu%llu%llu", (unsigned long long)st.st_dev,
		   (unsigned long long)st.st_rdev, (unsigned long long)st.st_ino);
	return ret;
}

void blk_engine_init(struct blk_engine *engine, int fd, const struct blk_file *file)
{
	*engine = (struct blk_engine){
		.fd = fd,
		.is_device = file->is_device,
		.direct = file->direct,
		.never_waits = file->never_waits,
	};
}

void blk_io_advance(struct blk_io *io, uint64_t n)
{
	io->offset += n;
	io->len -= n;
	while (io->nr_iov > 0 && n >= io->iov->iov_len) {
		n -= io->iov->iov_len;
		io->iov++;
		io->nr_iov--;
	}
	if (n > 0 && io->nr_iov > 0) {
		io->iov->iov_base = (char *)io->iov->iov_base + n;
		io->iov->iov_len -= n;
	}
}

/* One system call. @flags: RWF_*; musl has no name for the calls that take them. */
static ssize_t transfer_once(int fd, const struct blk_io *io, int flags)
{
	bool in = io->op == BLK_OP_READ;

	if (io->durable)
		flags |= RWF_DSYNC;
	if (flags)
		return syscall(in ? SYS_preadv2 : SYS_pwritev2, fd, io->iov, io->nr_iov,
			       (long)io->offset, 0L, flags);
	return in ? preadv(fd, io->iov, (int)io->nr_iov, (off_t)io->offset) :
		    pwritev(fd, io->iov, (int)io->nr_iov, (off_t)io->offset);
}

static int transfer_plain(int fd, struct blk_io *io, int flags)
{
	while (io->len > 0) {
		ssize_t n = transfer_once(fd, io, flags);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		/* The file was cut after we looked at its size; do not invent zeroes. */
		if (n == 0)
			return -EIO;
		blk_io_advance(io, (uint64_t)n);
	}
	return 0;
}

/* What is under way in the ring meanwhile may go through the page cache, too: that does no harm. */
static int transfer(const struct blk_engine *engine, struct blk_io *io, int flags)
{
	int ret = transfer_plain(engine->fd, io, flags);
	int mode;

	if (ret != -EINVAL || !engine->direct)
		return ret;
	mode = fcntl(engine->fd, F_GETFL);
	fcntl(engine->fd, F_SETFL, mode & ~O_DIRECT);
	ret = transfer_plain(engine->fd, io, flags);
	fcntl(engine->fd, F_SETFL, mode);
	return ret;
}

int blk_engine_try(struct blk_engine *engine, struct blk_io *io)
{
	bool *refused = io->op == BLK_OP_READ ? &engine->no_cache_read : &engine->no_cache_write;
	int ret;

	if (engine->never_waits)
		return transfer(engine, io, 0);
	/* Direct I/O waits however it is asked for. */
	if (*refused || engine->direct)
		return -EAGAIN;
	ret = transfer(engine, io, RWF_NOWAIT);
	if (ret == -EOPNOTSUPP) {
		*refused = true;
		return -EAGAIN;
	}
	return ret;
}

static int change_extents(int fd, int mode, const struct blk_io *io)
{
	int ret;

	do {
		ret = fallocate(fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)io->offset, (off_t)io->len);
	} while (ret < 0 && errno == EINTR);
	return ret < 0 ? -errno : 0;
}

static int write_zeroes(const struct blk_engine *engine, const struct blk_io *io)
{
	static char zeroes[ZERO_BYTES]; /* never written; pages of it are the host's zero page */
	struct blk_io part = { .op = BLK_OP_WRITE, .durable = io->durable, .offset = io->offset };
	uint64_t left = io->len;
	struct iovec iov[ZERO_IOVS];
	int ret = 0;

	while (left > 0 && ret == 0) {
		part.iov = iov;
		for (part.nr_iov = 0; left > 0 && part.nr_iov < ZERO_IOVS; part.nr_iov++) {
			size_t n = left < ZERO_BYTES ? (size_t)left : ZERO_BYTES;

			iov[part.nr_iov].iov_base = zeroes;
			iov[part.nr_iov].iov_len = n;
			part.len += n;
			left -= n;
		}
		ret = transfer(engine, &part, 0);
	}
	return ret;
}

static int discard(const struct blk_engine *engine, const struct blk_io *io)
{
	uint64_t range[2] = { io->offset, io->len };

	if (engine->is_device && fd_ioctl(engine->fd, BLKDISCARD, range) == 0)
		return 0;
	/* Files; and devices that were opened when the guest ran already, see probe_device. */
	if (engine->is_device && errno != EACCES)
		return -errno;
	return change_extents(engine->fd, FALLOC_FL_PUNCH_HOLE, io);
}

int blk_engine_run(struct blk_engine *engine, struct blk_io *io)
{
	int ret = -EOPNOTSUPP;

	switch (io->op) {
	case BLK_OP_READ:
	case BLK_OP_WRITE:
		return transfer(engine, io, 0);
	case BLK_OP_FLUSH:
		return fdatasync(engine->fd) < 0 ? -errno : 0;
	case BLK_OP_DISCARD:
		return discard(engine, io);
	case BLK_OP_ZERO_UNMAP:
	case BLK_OP_ZERO:
		if (io->op == BLK_OP_ZERO_UNMAP)
			ret = change_extents(engine->fd, FALLOC_FL_PUNCH_HOLE, io);
		if (ret == -EOPNOTSUPP)
			ret = change_extents(engine->fd, FALLOC_FL_ZERO_RANGE, io);
		if (ret == -EOPNOTSUPP)
			return write_zeroes(engine, io);
		break;
	}
	/* As write_zeroes does by its flag: drivers that write through expect no less of this. */
	if (ret == 0 && io->durable)
		ret = fdatasync(engine->fd) < 0 ? -errno : 0;
	return ret;
}
