/* SPDX-License-Identifier: Apache-2.0 */
/*
 * host_file.c - see host_file.h. Loop thread.
 */
#include "vmm/host_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"

int host_file_open(const char *path, int flags, enum host_file_kind kind, const char *what,
		   struct err *e)
{
	struct stat st;
	int fd, errnum;

	/* O_NONBLOCK: a FIFO, or a device that waits for its medium, must not hold up the API. */
	do {
		fd = open(path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	} while (fd < 0 && errno == EINTR);
	if (fd < 0 || fstat(fd, &st) < 0) {
		errnum = errno;
		fd_close(&fd);
		err_set(e, 0, "%s %s (os error %d) %s", what, strerror(errnum), errnum, path);
		if (e)
			e->code = errnum;
		return -errnum;
	}
	if (!S_ISREG(st.st_mode) && !(kind == HOST_FILE_OR_DISK && S_ISBLK(st.st_mode))) {
		fd_close(&fd);
		return err_set(e, 0, "%s %s is not a regular file%s", what, path,
			       kind == HOST_FILE_OR_DISK ? " or block device" : "");
	}
	/* io_uring would take O_NONBLOCK for "fail rather than wait for the disk". */
	if (kind == HOST_FILE_OR_DISK)
		fd_set_nonblock(fd, 0);
	return fd;
}
