/* SPDX-License-Identifier: Apache-2.0 */
/*
 * layout.c - the jail's files: directories, device nodes, pid file, and their owners.
 *
 * What a VM of the same id left behind may have been planted by a guest that broke out of its VMM.
 * So every name is one component, looked up below a directory descriptor and never through a
 * link; and from the first look to the hand-over all directories belong to us, so that nobody can
 * exchange a name between two of our calls.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/text.h"
#include "jailer/jail.h"

#define MODE_OUTSIDE 0755
#define MODE_INSIDE  0700
#define MODE_NODE    0600
#define MODE_PID     0644

/* Somebody else's start may be failing, and remove what we just found. */
#define TRIES	      8
#define LOCK_TRIES    2000
#define LOCK_PAUSE_NS 1000000

static const struct {
	const char *name; /* NULL: from the command line */
	enum jail_dir_name parent;
	const char *shown;
} dirs[NR_JAIL_DIRS] = {
	[JAIL_DIR_PROGRAM] = { NULL, NR_JAIL_DIRS, "" },
	[JAIL_DIR_ID] = { NULL, JAIL_DIR_PROGRAM, "" },
	[JAIL_DIR_ROOT] = { "root", JAIL_DIR_ID, "/root" },
	[JAIL_DIR_DEV] = { "dev", JAIL_DIR_ROOT, "/root/dev" },
	[JAIL_DIR_NET] = { "net", JAIL_DIR_DEV, "/root/dev/net" },
	[JAIL_DIR_RUN] = { "run", JAIL_DIR_ROOT, "/root/run" },
};

/* Numbers: the kernel's list of devices, admin-guide/devices. */
static const struct {
	enum jail_dir_name dir;
	const char *name;
	unsigned int major, minor;
	bool optional;
} nodes[] = {
	{ JAIL_DIR_NET, "tun", 10, 200, false },
	{ JAIL_DIR_DEV, "kvm", 10, 232, false },
	{ JAIL_DIR_DEV, "urandom", 1, 9, true },
	{ JAIL_DIR_DEV, "vhost-net", 10, 238, false }, /* last, for --vhost-net */
};

#define NR_NODES (sizeof(nodes) / sizeof(nodes[0]))

const char *jail_path(const struct jail *j, enum jail_dir_name dir, const char *leaf)
{
	static char buf[1024];
	struct text t = text_init(buf, sizeof(buf) - 1);

	text_str(&t, j->base);
	text_char(&t, '/');
	text_str(&t, j->exec_name);
	if (dir > JAIL_DIR_PROGRAM) {
		text_char(&t, '/');
		text_str(&t, j->id);
	}
	text_str(&t, dirs[dir].shown);
	if (leaf) {
		text_char(&t, '/');
		text_str(&t, leaf);
	}
	buf[t.len] = '\0';
	return buf;
}

static const char *dir_name(const struct jail *j, enum jail_dir_name dir)
{
	if (dir == JAIL_DIR_PROGRAM)
		return j->exec_name;
	return dir == JAIL_DIR_ID ? j->id : dirs[dir].name;
}

static int dir_parent(const struct jail *j, enum jail_dir_name dir)
{
	return dir == JAIL_DIR_PROGRAM ? j->base_fd : j->dirs[dirs[dir].parent].fd;
}

/* Below the base folder; a link may stand only where the jailer itself puts nothing of a VM's. */
static int make_dir(struct jail *j, enum jail_dir_name dir, struct err *e)
{
	const int flags = dir == JAIL_DIR_PROGRAM ? 0 : O_NOFOLLOW;
	const bool inside = dir >= JAIL_DIR_ROOT;
	const char *name = dir_name(j, dir);
	struct jail_dir *d = &j->dirs[dir];
	struct stat st;

	fd_close(&d->fd);
	if (mkdirat(dir_parent(j, dir), name, inside ? MODE_INSIDE : MODE_OUTSIDE) == 0)
		d->made = true;
	else if (errno != EEXIST)
		return err_set(e, errno, "Failed to create directory %s", jail_path(j, dir, NULL));
	d->fd = openat(dir_parent(j, dir), name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | flags);
	if (d->fd < 0)
		return err_set(e, errno,
			       "Failed to open directory %s (links are not followed here)",
			       jail_path(j, dir, NULL));
	if (fstat(d->fd, &st) < 0)
		return err_set(e, errno, "Failed to look at %s", jail_path(j, dir, NULL));
	d->uid = st.st_uid;
	d->gid = st.st_gid;
	return 0;
}

/* The pid that a pid file of an earlier start holds; 0: none that makes sense. */
static pid_t read_pid_file(const struct jail *j, const char *name)
{
	char buf[24];
	struct stat st;
	ssize_t i, n = -1;
	uint32_t pid = 0;
	int fd = openat(j->dirs[JAIL_DIR_ROOT].fd, name,
			O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return 0;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		n = read(fd, buf, sizeof(buf));
	close(fd);
	for (i = 0; i < n && buf[i] >= '0' && buf[i] <= '9' && pid < INT32_MAX / 10; i++)
		pid = pid * 10 + (uint32_t)(buf[i] - '0');
	return (pid_t)pid;
}

static int pid_file_name(const struct jail *j, char *buf, size_t cap, struct err *e)
{
	struct text t = text_init(buf, cap - 1);

	text_str(&t, j->exec_name);
	text_str(&t, ".pid");
	if (t.cut)
		return err_set(e, ENAMETOOLONG, "%s", j->exec_name);
	buf[t.len] = '\0';
	return 0;
}

/*
 * A VM that still runs in this jail must keep it. A pid alone proves nothing: numbers are used
 * again, and the file was the VM's to write. A process whose root is this jail does.
 */
static int check_free(const struct jail *j, struct err *e)
{
	static const char proc[] = "/proc/";
	char name[260], path[64];
	struct text t = text_init(path, sizeof(path) - 1);
	struct stat theirs, ours;
	pid_t pid;
	int ret;

	if (j->dirs[JAIL_DIR_ROOT].made)
		return 0;
	ret = pid_file_name(j, name, sizeof(name), e);
	if (ret)
		return ret;
	pid = read_pid_file(j, name);
	if (!pid)
		return 0;
	text_str(&t, proc);
	text_u64(&t, (uint64_t)pid, 1);
	text_str(&t, "/root");
	path[t.len] = '\0';
	if (stat(path, &theirs) == 0 && fstat(j->dirs[JAIL_DIR_ROOT].fd, &ours) == 0 &&
	    theirs.st_ino == ours.st_ino && theirs.st_dev == ours.st_dev)
		return err_set(e, EBUSY, "Jail %s is in use by process %d",
			       jail_path(j, JAIL_DIR_ROOT, NULL), pid);
	return 0;
}

/* Nobody else at work in this jail until we exec or end: another start is short, or was killed. */
static int lock(const struct jail *j, struct err *e)
{
	const struct timespec pause = { .tv_nsec = LOCK_PAUSE_NS };
	int tries;

	for (tries = 0; flock(j->dirs[JAIL_DIR_ID].fd, LOCK_EX | LOCK_NB) < 0; tries++) {
		if (errno != EWOULDBLOCK || tries == LOCK_TRIES)
			return err_set(e, errno, "Another start in %s is under way",
				       jail_path(j, JAIL_DIR_ID, NULL));
		nanosleep(&pause, NULL);
	}
	return 0;
}

/* <base>/<program>/<id>/root. */
static int make_outer_dirs(struct jail *j, struct err *e)
{
	int ret, tries;

	for (tries = 0; tries < TRIES; tries++) {
		ret = make_dir(j, JAIL_DIR_PROGRAM, e);
		if (!ret)
			ret = make_dir(j, JAIL_DIR_ID, e);
		if (!ret)
			ret = lock(j, e);
		if (!ret)
			ret = make_dir(j, JAIL_DIR_ROOT, e);
		if (ret != -ENOENT)
			break;
	}
	return ret;
}

/*
 * SHOULD make the directories that are missing and take over those of an earlier start. MUST NOT
 * follow a link below <base>/<program>, nor touch the jail of a VM that runs.
 */
int jail_make_dirs(struct jail *j, struct err *e)
{
	enum jail_dir_name dir;
	struct stat st;
	int ret;

	j->base_fd = open(j->base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (j->base_fd < 0)
		return err_set(e, errno, "Failed to canonicalize path %s", j->base);
	ret = make_outer_dirs(j, e);
	if (!ret)
		ret = check_free(j, e);
	for (dir = JAIL_DIR_ROOT; !ret && dir < NR_JAIL_DIRS; dir++) {
		struct jail_dir *d = &j->dirs[dir];

		if (dir > JAIL_DIR_ROOT)
			ret = make_dir(j, dir, e);
		if (ret)
			break;
		if (!d->made &&
		    (fchown(d->fd, geteuid(), getegid()) < 0 || fchmod(d->fd, MODE_INSIDE) < 0))
			return err_set(e, errno, "Failed to change owner for %s",
				       jail_path(j, dir, NULL));
		if (fstat(d->fd, &st) < 0 || st.st_uid != geteuid() ||
		    st.st_mode != (S_IFDIR | MODE_INSIDE))
			return err_set(e, EPERM, "Failed to take over %s", jail_path(j, dir, NULL));
	}
	return ret;
}

/* The same device on the host; valid until the next call. */
static const char *node_path(size_t i)
{
	static char buf[32];
	struct text t = text_init(buf, sizeof(buf) - 1);

	text_str(&t, dirs[nodes[i].dir].shown + strlen("/root"));
	text_char(&t, '/');
	text_str(&t, nodes[i].name);
	buf[t.len] = '\0';
	return buf;
}

/* One node, and its owner, read back. Whatever had the name loses it; a link's target is safe. */
static int make_node(struct jail *j, size_t i, struct err *e)
{
	const int dir = j->dirs[nodes[i].dir].fd;
	const dev_t dev = makedev(nodes[i].major, nodes[i].minor);
	const char *name = nodes[i].name;
	struct stat st;
	int ret;

	if (j->rootless) {
		j->nodes_made |= 1u << i;
		return jail_bind_node(dir, name, node_path(i), e);
	}
	ret = mknodat(dir, name, S_IFCHR | MODE_NODE, dev);
	if (ret < 0 && errno == EEXIST) {
		ret = unlinkat(dir, name, 0);
		if (ret == 0)
			ret = mknodat(dir, name, S_IFCHR | MODE_NODE, dev);
	}
	if (ret < 0)
		return err_set(e, errno, "Failed to create %s via mknod inside the jail",
			       jail_path(j, nodes[i].dir, name));
	j->nodes_made |= 1u << i;
	if (fchownat(dir, name, j->uid, j->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return err_set(e, errno, "Failed to change owner for %s",
			       jail_path(j, nodes[i].dir, name));
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    st.st_mode != (S_IFCHR | MODE_NODE) || st.st_rdev != dev || st.st_nlink != 1 ||
	    st.st_uid != j->uid || st.st_gid != j->gid)
		return err_set(e, EPERM, "%s is not the node that was made",
			       jail_path(j, nodes[i].dir, name));
	return 0;
}

/*
 * SHOULD make the nodes that the VMM opens, anew at each start. MUST NOT give anything else away:
 * no other device, and no inode that has a second name elsewhere.
 */
int jail_make_nodes(struct jail *j, struct err *e)
{
	const size_t nr = j->vhost_net ? NR_NODES : NR_NODES - 1;
	size_t i;
	int ret;

	for (i = 0; i < nr; i++) {
		ret = make_node(j, i, e);
		/* Without root most have no tap of their own making, and so no use for tun. */
		if (ret && !nodes[i].optional && !(j->rootless && nodes[i].dir == JAIL_DIR_NET))
			return ret;
	}
	if (e)
		e->code = 0;
	return 0;
}

/*
 * SHOULD leave the VM's pid, as the host sees it, in <root>/<program>.pid. MUST NOT write into a
 * file that was there: its other names may be somebody's.
 */
int jail_write_pid(struct jail *j, struct err *e)
{
	const int dir = j->dirs[JAIL_DIR_ROOT].fd;
	const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
	char name[260], number[24];
	struct text t = text_init(number, sizeof(number));
	struct stat st;
	int fd, ret;

	ret = pid_file_name(j, name, sizeof(name), e);
	if (ret)
		return ret;
	fd = openat(dir, name, flags, MODE_PID);
	if (fd < 0 && errno == EEXIST && unlinkat(dir, name, 0) == 0)
		fd = openat(dir, name, flags, MODE_PID);
	if (fd < 0)
		return err_set(e, errno, "Failed to open file %s",
			       jail_path(j, JAIL_DIR_ROOT, name));
	j->pid_file_made = true;
	text_u64(&t, (uint64_t)j->pid, 1);
	ret = fd_write_all(fd, number, t.len);
	if (ret || fstat(fd, &st) < 0 || st.st_size != (off_t)t.len || st.st_nlink != 1)
		ret = err_set(e, ret ? -ret : EIO, "Failed to write to %s",
			      jail_path(j, JAIL_DIR_ROOT, name));
	close(fd);
	return ret;
}

void jail_unlock(const struct jail *j)
{
	if (j->dirs[JAIL_DIR_ID].fd >= 0)
		flock(j->dirs[JAIL_DIR_ID].fd, LOCK_UN);
}

/* SHOULD give the directories inside to the VM's user. MUST NOT do so before all is in them. */
int jail_hand_over(struct jail *j, struct err *e)
{
	enum jail_dir_name dir;
	struct stat st;

	for (dir = NR_JAIL_DIRS - 1; dir >= JAIL_DIR_ROOT; dir--) {
		const int fd = j->dirs[dir].fd;

		if (fchown(fd, j->uid, j->gid) < 0)
			return err_set(e, errno, "Failed to change owner for %s",
				       jail_path(j, dir, NULL));
		if (fstat(fd, &st) < 0 || st.st_mode != (S_IFDIR | MODE_INSIDE) ||
		    st.st_uid != j->uid || st.st_gid != j->gid)
			return err_set(e, EPERM, "%s did not change its owner",
				       jail_path(j, dir, NULL));
	}
	return 0;
}

void jail_undo_layout(struct jail *j)
{
	enum jail_dir_name dir;
	char name[260];
	size_t i;

	for (i = 0; i < NR_NODES; i++) {
		const int fd = j->dirs[nodes[i].dir].fd;

		if (!(j->nodes_made & 1u << i))
			continue;
		if (j->rootless)
			jail_unbind_node(j, fd, nodes[i].name, node_path(i));
		unlinkat(fd, nodes[i].name, 0);
	}
	if (j->pid_file_made && pid_file_name(j, name, sizeof(name), NULL) == 0)
		unlinkat(j->dirs[JAIL_DIR_ROOT].fd, name, 0);
	for (dir = NR_JAIL_DIRS; dir-- > JAIL_DIR_PROGRAM;) {
		const struct jail_dir *d = &j->dirs[dir];

		if (d->made)
			unlinkat(dir_parent(j, dir), dir_name(j, dir), AT_REMOVEDIR);
		else if (d->fd >= 0 && dir >= JAIL_DIR_ROOT)
			(void)!fchown(d->fd, d->uid, d->gid);
	}
	jail_unlock(j);
}
