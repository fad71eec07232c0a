/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fd.h - small helpers around file descriptors that retry EINTR and never leave half a transfer.
 *
 * Own nothing. Any thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/* fd_close - close and set to -1; -1 is allowed. */
void fd_close(int *fd);

/* fd_read_all / fd_pread_all - exactly @len bytes: 0, -EIO at end of file, or -errno. */
int fd_read_all(int fd, void *buf, size_t len);
int fd_pread_all(int fd, void *buf, size_t len, uint64_t offset);

/* fd_write_all - exactly @len bytes to a blocking fd: 0 or -errno. */
int fd_write_all(int fd, const void *buf, size_t len);

/* fd_print - up to 2 KiB as text_format() makes them to a blocking fd; errors are not told. */
void fd_print(int fd, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/*
 * fd_open_output - a file or FIFO for what we write while the guest runs: made when missing, never
 * truncated, never waited for. It is opened for reading too, so that a FIFO needs no reader yet.
 * @flags: more for open(2), such as O_APPEND. Returns the fd, or -errno with the sentence
 * "@what: <errno text> (os error N) <path>".
 */
int fd_open_output(const char *path, int flags, const char *what, struct err *e);

/* fd_set_nonblock - set or clear O_NONBLOCK: 0 or -errno. */
int fd_set_nonblock(int fd, int on);

/*
 * fd_ioctl - ioctl(2) with a pointer argument; -1 and errno like it. Request numbers with the read
 * direction have bit 31 set: musl declares the parameter int, glibc unsigned long, the kernel takes
 * 32 bits, and this one conversion serves all three.
 */
int fd_ioctl(int fd, unsigned long request, const void *arg);
