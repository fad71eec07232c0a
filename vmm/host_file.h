/* SPDX-License-Identifier: Apache-2.0 */
/*
 * host_file.h - opening the files that the operator names. Loop thread.
 *
 * Paths are the operator's, so they are followed wherever they lead; but what is opened must be of
 * the expected kind, and opening must not block: a FIFO in place of a disk would stop the API.
 */
#pragma once

#include "base/err.h"

enum host_file_kind {
	HOST_FILE_REGULAR,
	HOST_FILE_OR_DISK, /* or a block device */
};

/*
 * host_file_open - open @path with @flags (O_RDONLY or O_RDWR), close-on-exec. Returns the fd,
 * owned by the caller, or -errno with the sentence "<what> <errno text> (os error N) <path>", the
 * order that clients match. Also EINVAL: not of this @kind.
 */
int host_file_open(const char *path, int flags, enum host_file_kind kind, const char *what,
		   struct err *e);
