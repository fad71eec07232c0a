/* SPDX-License-Identifier: Apache-2.0 */
/*
 * escape.c - run by mote-jailer in the VMM's place: tries each way out of a jail that is known, and
 * prints a line "<way>: <errno, or 0 when it worked>".
 *
 * It stands for a guest that took over a VMM without seccomp filters.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define UP "../../../../../../../../"

struct handle {
	unsigned int bytes;
	int type;
	unsigned char data[8];
};

static void way(const char *name, long result)
{
	printf("%s: %d\n", name, result < 0 ? errno : 0);
	fflush(stdout);
}

/* The textbook's: a root below the working directory, then upwards. */
static long chroot_below(void)
{
	mkdir("/run/below", 0700);
	if (chroot("/run/below") < 0)
		return -1;
	return open(UP "etc/passwd", O_RDONLY);
}

static long any_capability(void)
{
	unsigned long cap;

	for (cap = 0; cap <= CAP_LAST_CAP; cap++)
		if (prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 1)
			return 0;
	errno = EPERM;
	return -1;
}

/* The directory that a descriptor left open by whoever started us would lead to. */
static long any_directory(void)
{
	struct stat st;
	int fd;

	for (fd = 0; fd < 1024; fd++)
		if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
			return 0;
	errno = EBADF;
	return -1;
}

int main(void)
{
	struct handle root = { .bytes = sizeof(root.data), .type = 1, .data = { 2 } };

	way("chroot", chroot_below());
	way("path", open(UP "etc/passwd", O_RDONLY));
	way("proc", open("/proc/1/root/etc/passwd", O_RDONLY));
	way("directory", any_directory());
	way("capability", any_capability());
	way("setuid", syscall(SYS_setresuid, 0, 0, 0));
	way("setgid", syscall(SYS_setresgid, 0, 0, 0));
	way("setgroups", syscall(SYS_setgroups, 0, NULL));
	way("mknod", mknod("/run/sda", S_IFBLK | 0600, makedev(8, 0)));
	way("mount", mount("none", "/run", "tmpfs", 0, NULL));
	way("pivot", syscall(SYS_pivot_root, "/", "/run"));
	way("mount-ns", unshare(CLONE_NEWNS));
	way("handle", syscall(SYS_open_by_handle_at, AT_FDCWD, &root, O_RDONLY));
	way("ptrace", ptrace(PTRACE_ATTACH, getppid(), NULL, NULL));
	way("limit", setpriority(PRIO_PROCESS, 0, -20));
	/* Last, for it would change what the others show. */
	way("user-ns", unshare(CLONE_NEWUSER));
	return 0;
}
