/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fd.c - whole transfers on file descriptors; see fd.h.
 */
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/text.h"

#define FD_PRINT_MAX 2048

void fd_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

int fd_read_all(int fd, void *buf, size_t len)
{
	char *p = buf;

	while (len > 0) {
		ssize_t n = read(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EIO;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int fd_pread_all(int fd, void *buf, size_t len, uint64_t offset)
{
	char *p = buf;

	while (len > 0) {
		ssize_t n = pread(fd, p, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EIO;
		p += n;
		len -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

int fd_write_all(int fd, const void *buf, size_t len)
{
	const char *p = buf;

	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

void fd_print(int fd, const char *fmt, ...)
{
	char line[FD_PRINT_MAX];
	struct text t = text_init(line, sizeof(line));
	va_list ap;

	va_start(ap, fmt);
	text_vformat(&t, fmt, ap);
	va_end(ap);
	(void)fd_write_all(fd, line, t.len);
}

int fd_open_output(const char *path, int flags, const char *what, struct err *e)
{
	int fd, errnum;

	do {
		fd = open(path, O_RDWR | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | flags, 0644);
	} while (fd < 0 && errno == EINTR);
	if (fd >= 0)
		return fd;
	errnum = errno;
	err_set(e, 0, "%s: %s (os error %d) %s", what, strerror(errnum), errnum, path);
	if (e)
		e->code = errnum;
	return -errnum;
}

int fd_set_nonblock(int fd, int on)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return -errno;
	if (fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

int fd_ioctl(int fd, unsigned long request, const void *arg)
{
#ifdef __GLIBC__
	return ioctl(fd, request, arg);
#else
	return ioctl(fd, (int)(unsigned int)request, arg);
#endif
}
