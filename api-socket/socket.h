/* SPDX-License-Identifier: Apache-2.0 */
/*
 * socket.h - how the API socket comes to its name in the file system, and leaves it.
 *
 * Main thread, before and after the loop runs.
 */
#pragma once

#include <sys/types.h>
#include <sys/un.h>

#include "base/err.h"

/* A socket file and how to recognise it as ours. */
struct socket_name {
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	dev_t dev;
	ino_t ino;
};

/*
 * socket_listen - listen on @path (close-on-exec, non-blocking); see server_open. *@fd is owned by
 * the caller. On error nothing is left behind.
 */
int socket_listen(struct socket_name *name, const char *path, int *fd, struct err *e);

/* socket_unlink - remove the file unless another one stands at its path by now. */
void socket_unlink(const struct socket_name *name);
