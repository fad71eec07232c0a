/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rootless.c - what an ordinary user does in place of root: namespaces in which it has all
 * capabilities for as long as the jail is made, and devices that are mounted where root would make
 * nodes.
 *
 * user_namespaces(7), mount_namespaces(7). The kernel maps one user and one group, the caller
 * itself; its other groups stay, which is how a member of the device's group opens /dev/kvm.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/text.h"
#include "jailer/jail.h"

/* umount2(2): constants that the kernel's own header does not have. */
#define UMOUNT_DETACH	2
#define UMOUNT_NOFOLLOW 8

/* In the order of their ns_of; the network's only where it was asked for. */
static const struct {
	const char *path;
	int flag;
} spaces[] = {
	{ "/proc/self/ns/user", CLONE_NEWUSER }, { "/proc/self/ns/mnt", CLONE_NEWNS },
	{ "/proc/self/ns/ipc", CLONE_NEWIPC },	 { "/proc/self/ns/uts", CLONE_NEWUTS },
	{ "/proc/self/ns/net", CLONE_NEWNET },
};

#define NR_SPACES (sizeof(spaces) / sizeof(spaces[0]))

static int refused(const char *what, int errnum, struct err *e)
{
	return err_set(e, errnum,
		       "--rootless: %s: the host must let users have namespaces: sysctl "
		       "user.max_user_namespaces above 0, kernel.unprivileged_userns_clone=1 and "
		       "kernel.apparmor_restrict_unprivileged_userns=0 where there are such",
		       what);
}

static int write_proc(const char *path, const char *text, size_t len, struct err *e)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int ret = fd < 0 ? -errno : fd_write_all(fd, text, len);

	fd_close(&fd);
	return ret ? refused(path, -ret, e) : 0;
}

/* "inside outside 1": the one id that an ordinary user may map is its own. */
static int write_map(const char *path, uint32_t inside, uint32_t outside, struct err *e)
{
	char line[32];
	struct text t = text_init(line, sizeof(line));

	text_u64(&t, inside, 1);
	text_char(&t, ' ');
	text_u64(&t, outside, 1);
	text_str(&t, " 1\n");
	return write_proc(path, line, t.len, e);
}

/* Only what was made by this user: then it may first enter the user namespace it belongs to. */
static int join_netns(struct jail *j, struct err *e)
{
	int ret, owner;

	if (j->netns_fd < 0)
		return 0;
	owner = ioctl(j->netns_fd, NS_GET_USERNS);
	/* That fails where it is our own, which has no rights over it: so says the next call. */
	if (owner >= 0)
		(void)!setns(owner, CLONE_NEWUSER);
	fd_close(&owner);
	ret = jail_join_netns(j, e);
	fd_close(&j->netns_fd);
	return ret ? err_wrap(e, "--rootless enters a network namespace only if the same user made "
				 "it together with a user namespace; others can be used through "
				 "a tap handed in by --keep-fd, or a socket of passt") :
		     0;
}

static int unshare_all(const struct jail *j, struct err *e)
{
	const int keep = j->new_net_ns ? 0 : CLONE_NEWNET;
	struct stat before[NR_SPACES], after;
	int flags = 0;
	size_t i;

	for (i = 0; i < NR_SPACES; i++) {
		flags |= spaces[i].flag;
		if (stat(spaces[i].path, &before[i]) < 0)
			return err_set(e, errno, "%s", spaces[i].path);
	}
	if (unshare(flags & ~keep) < 0)
		return refused("unshare", errno, e);
	for (i = 0; i < NR_SPACES; i++)
		if (!(spaces[i].flag & keep) &&
		    (stat(spaces[i].path, &after) < 0 || after.st_ino == before[i].st_ino))
			return err_set(e, EPERM, "%s is not a new namespace", spaces[i].path);
	return 0;
}

/* The same directory, as the new mount table has it: only there something can be mounted. */
static int reopen(struct jail *j, enum jail_dir_name dir, int parent, const char *name,
		  struct err *e)
{
	struct stat want, have;
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &have) < 0 || fstat(j->dirs[dir].fd, &want) < 0 ||
	    have.st_ino != want.st_ino || have.st_dev != want.st_dev) {
		fd_close(&fd);
		return err_set(e, EPERM, "%s was exchanged", jail_path(j, dir, NULL));
	}
	fd_close(&j->dirs[dir].fd);
	j->dirs[dir].fd = fd;
	return 0;
}

/*
 * SHOULD give this process user, mount, IPC and host name namespaces of its own, a network too if
 * one was asked for, with every capability in them and the same user outside. MUST NOT map any
 * other user or group, nor let it leave a group.
 */
int jail_new_user(struct jail *j, struct err *e)
{
	uid_t uid;
	gid_t gid;
	int ret;

	if (!j->rootless)
		return 0;
	ret = join_netns(j, e);
	/* As they are called where we are now. */
	uid = geteuid();
	gid = getegid();
	if (!ret)
		ret = unshare_all(j, e);
	if (!ret)
		ret = write_proc("/proc/self/setgroups", "deny", 4, e);
	if (!ret)
		ret = write_map("/proc/self/uid_map", j->uid, uid, e);
	if (!ret)
		ret = write_map("/proc/self/gid_map", j->gid, gid, e);
	if (!ret && (geteuid() != j->uid || getegid() != j->gid))
		ret = err_set(e, EPERM, "The user did not stay what it is");
	if (!ret)
		ret = reopen(j, JAIL_DIR_ROOT, AT_FDCWD, jail_path(j, JAIL_DIR_ROOT, NULL), e);
	if (!ret)
		ret = reopen(j, JAIL_DIR_DEV, j->dirs[JAIL_DIR_ROOT].fd, "dev", e);
	if (!ret)
		ret = reopen(j, JAIL_DIR_NET, j->dirs[JAIL_DIR_DEV].fd, "net", e);
	return ret;
}

/*
 * SHOULD mount the host's device @path at @name. MUST NOT mount one that the user may not open, nor
 * over anything but an empty file made for it.
 */
int jail_bind_node(int dir, const char *name, const char *path, struct err *e)
{
	struct stat want, have;
	int fd, ret = 0;

	unlinkat(dir, name, 0);
	if (access(path, R_OK | W_OK) < 0 || stat(path, &want) < 0)
		return err_set(e, errno, "%s cannot be used by user %u: add it to the group of %s",
			       path, geteuid(), path);
	fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_set(e, errno, "Failed to make a file to mount %s on", path);
	fd_close(&fd);
	fd = (int)syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (fd < 0 || syscall(SYS_move_mount, fd, "", dir, name, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		ret = refused(path, errno, e);
	fd_close(&fd);
	if (!ret && (fstatat(dir, name, &have, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISCHR(have.st_mode) ||
		     have.st_rdev != want.st_rdev))
		ret = err_set(e, EPERM, "%s is not what was mounted", path);
	return ret;
}

void jail_unbind_node(const struct jail *j, int dir, const char *name, const char *path)
{
	struct stat root, now;

	/* A name cannot be removed while something is mounted on it in our own table. */
	if (fchdir(dir) == 0)
		syscall(SYS_umount2, name, UMOUNT_DETACH | UMOUNT_NOFOLLOW);
	if (fstat(j->dirs[JAIL_DIR_ROOT].fd, &root) == 0 && stat("/", &now) == 0 &&
	    root.st_ino == now.st_ino && root.st_dev == now.st_dev)
		syscall(SYS_umount2, path, UMOUNT_DETACH | UMOUNT_NOFOLLOW);
}
