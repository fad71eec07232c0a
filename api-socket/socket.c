/* SPDX-License-Identifier: Apache-2.0 */
/*
 * socket.c - see socket.h. A client polls for the path and connects at once: a socket that is bound
 * but does not listen yet would refuse it. So it is bound and listening under a temporary name
 * before it is moved to the name that clients know. unix(7), rename(2).
 */
#include "api-socket/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h> /* rename */
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/text.h"

/* As deep as the queue that clients of Firecracker know. */
#define BACKLOG 128

/* From linux/fs.h, which cannot be included beside musl's headers. */
#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE (1 << 0)
#endif

static int bind_listen(const char *path, int *fd)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int ret;

	if (s < 0)
		return -errno;
	memcpy(addr.sun_path, path, strlen(path) + 1);
	if (bind(s, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		ret = -errno;
		fd_close(&s);
		return ret;
	}
	if (listen(s, BACKLOG) < 0) {
		ret = -errno;
		unlink(path);
		fd_close(&s);
		return ret;
	}
	*fd = s;
	return 0;
}

/* A socket file that nobody answers on. Any doubt means that it is not ours to remove. */
static bool is_stale(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct stat st;
	bool refused;
	int s;

	if (lstat(path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return false;
	s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s < 0)
		return false;
	memcpy(addr.sun_path, path, strlen(path) + 1);
	refused = connect(s, (struct sockaddr *)&addr, sizeof(addr)) < 0 && errno == ECONNREFUSED;
	fd_close(&s);
	return refused;
}

/*
 * Beside @path, so that renaming stays within one file system. False when that does not fit into an
 * address; the socket is then bound in place.
 */
static bool temporary_name(char *tmp, size_t max, const char *path)
{
	const char *slash = strrchr(path, '/');
	int dir = slash ? (int)(slash - path) + 1 : 0;

	return text_print(tmp, max, "%.*s.mote.%d", dir, path, (int)getpid()) < max - 1;
}

/* Move @tmp to @path without ever replacing a socket that has an owner. */
static int publish(const char *tmp, const char *path)
{
	struct stat st;

	if (!syscall(SYS_renameat2, AT_FDCWD, tmp, AT_FDCWD, path, RENAME_NOREPLACE))
		return 0;
	/* EINVAL, ENOSYS: this file system or sandbox knows no NOREPLACE. */
	if (errno != EEXIST && errno != EINVAL && errno != ENOSYS)
		return -errno;
	if (!lstat(path, &st) && !is_stale(path))
		return -EADDRINUSE;
	return rename(tmp, path) < 0 ? -errno : 0;
}

static int listen_via(const char *tmp, const char *path, int *fd)
{
	int ret = bind_listen(tmp, fd);

	if (ret == -EADDRINUSE && is_stale(tmp)) {
		/* left by a process with our number that was killed between bind and rename */
		unlink(tmp);
		ret = bind_listen(tmp, fd);
	}
	if (ret)
		return ret;
	ret = publish(tmp, path);
	if (ret) {
		unlink(tmp);
		fd_close(fd);
	}
	return ret;
}

int socket_listen(struct socket_name *name, const char *path, int *fd, struct err *e)
{
	char tmp[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	const size_t len = strlen(path);
	struct stat st;
	int ret;

	if (len >= sizeof(tmp) || !len)
		return err_set(e, len ? ENAMETOOLONG : EINVAL,
			       "The API socket path has %zu bytes, a socket address holds 1 to %zu",
			       len, sizeof(tmp) - 1);
	if (temporary_name(tmp, sizeof(tmp), path)) {
		ret = listen_via(tmp, path, fd);
	} else {
		if (is_stale(path))
			unlink(path);
		ret = bind_listen(path, fd);
	}
	if (ret == -EADDRINUSE) {
		err_set(e, 0,
			"Failed to open the API socket at: %s. Check that it is not already used.",
			path);
		if (e)
			e->code = EADDRINUSE;
		return ret;
	}
	if (ret)
		return err_set(e, -ret, "Failed to open the API socket at: %s", path);
	memcpy(name->path, path, len + 1);
	if (!lstat(path, &st)) {
		name->dev = st.st_dev;
		name->ino = st.st_ino;
	}
	return 0;
}

void socket_unlink(const struct socket_name *name)
{
	struct stat st;

	if (!lstat(name->path, &st) && st.st_dev == name->dev && st.st_ino == name->ino)
		unlink(name->path);
}
