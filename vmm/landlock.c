/* SPDX-License-Identifier: Apache-2.0 */
/*
 * landlock.c - see landlock.h. Loop thread. Linux Documentation/userspace-api/landlock.
 */
#include "vmm/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"

/* What linux/landlock.h of ABI 6 has; the headers that we are built with may be older. */
struct rights {
	uint64_t fs;
	uint64_t net;	 /* bind, connect */
	uint64_t scoped; /* abstract sockets, signals */
};
#define NET_RIGHTS  3
#define NET_ABI	    4
#define SCOPED	    3
#define SCOPED_ABI  6
#define OPEN_RIGHTS (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE)

static enum landlock_level in_force;

enum landlock_level landlock_entered(void)
{
	return in_force;
}

/* Right @fs below (or, of a file, on) what @fd is. */
static int allow(int ruleset, int fd, uint64_t fs, struct err *e)
{
	struct landlock_path_beneath_attr rule = { .allowed_access = fs, .parent_fd = fd };

	if (!syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0))
		return 0;
	/* A file without a place in the file system, which no rule can name and none restricts. */
	return errno == EBADFD ? 0 : err_set(e, errno, "landlock_add_rule");
}

/* Where we remove our socket at the end, whichever thread is the one that ends us. */
static int allow_socket(int ruleset, const char *path, struct err *e)
{
	char dir[sizeof(((struct sockaddr_un *)0)->sun_path) + 1];
	const char *slash = strrchr(path, '/');
	size_t len = slash ? (size_t)(slash - path) + 1 : 0;
	int fd, ret;

	/* Nobody can listen at a longer path. */
	if (len >= sizeof(dir))
		return 0;
	memcpy(dir, path, len);
	dir[len] = '\0';
	fd = open(len ? dir : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return 0; /* it has gone, and the socket with it */
	ret = allow(ruleset, fd, LANDLOCK_ACCESS_FS_REMOVE_FILE, e);
	fd_close(&fd);
	return ret;
}

static int allow_drives(int ruleset, const struct config *c, struct err *e)
{
	int ret = 0;

	for (size_t i = 0; !ret && i < c->nr_drives; i++) {
		const struct drive_config *d = &c->drive[i];

		/* By the file we have: what its path means may have changed since. */
		if (d->fd >= 0)
			ret = allow(ruleset, d->fd,
				    d->is_read_only ? LANDLOCK_ACCESS_FS_READ_FILE : OPEN_RIGHTS,
				    e);
	}
	return ret;
}

/*
 * Listing a directory is what no rule allows. This costs a line in the audit log of a host that
 * keeps one: the price of knowing.
 */
static int read_back(struct err *e)
{
	int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return 0;
	fd_close(&fd);
	return err_set(e, EPERM, "the kernel said yes, but / can still be opened");
}

static int restrict_self(int ruleset, struct err *e)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    syscall(SYS_landlock_restrict_self, ruleset, 0))
		return err_set(e, errno, "landlock_restrict_self");
	return read_back(e);
}

int landlock_enter(enum landlock_level level, const struct config *c, const char *api_sock,
		   struct err *e)
{
	/* Rights are bits from 0 on, and each ABI has added some: their number, by ABI. */
	static const uint8_t nr_fs[] = { 0, 13, 14, 15, 15, 16 };
	struct rights handled = { 0 };
	int ruleset, ret;
	long abi;

	if (level == LANDLOCK_OFF)
		return 0;
	abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	if (abi < 1) {
		log_line(level == LANDLOCK_FILES ? LOG_WARN : LOG_DEBUG,
			 "--landlock is not in force: %s: the host's kernel has to be built with "
			 "Landlock and booted with it in lsm=",
			 strerror(errno));
		return 0;
	}
	handled.fs = (1U << nr_fs[abi < 5 ? abi : 5]) - 1;
	if (level == LANDLOCK_ACTIONS)
		handled.fs &= ~(uint64_t)OPEN_RIGHTS;
	handled.net = abi >= NET_ABI ? NET_RIGHTS : 0;
	handled.scoped = abi >= SCOPED_ABI ? SCOPED : 0;
	/* A kernel that does not know the last words takes zeroes there. */
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &handled, sizeof(handled), 0);
	ret = ruleset < 0 ? err_set(e, errno, "landlock_create_ruleset") : 0;
	if (!ret && api_sock)
		ret = allow_socket(ruleset, api_sock, e);
	if (!ret && level == LANDLOCK_FILES)
		ret = allow_drives(ruleset, c, e);
	if (!ret)
		ret = restrict_self(ruleset, e);
	fd_close(&ruleset);
	if (ret)
		return err_wrap(e, "Landlock (--landlock off goes without)");
	in_force = level;
	return 0;
}
