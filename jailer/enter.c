/* SPDX-License-Identifier: Apache-2.0 */
/*
 * enter.c - the process that becomes the VMM: its own session and pid namespace, network, root,
 * limits, and at last exec.
 *
 * New processes share our memory until they execute (as vfork's do), which spares copies of page
 * tables and lets them leave their sentence where the parent finds it. So the parent, with all its
 * rights, takes the jail back when one of them fails.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/text.h"
#include "jailer/jail.h"

/* umount2(2): the one constant that the kernel's own header does not have. */
#ifndef MNT_DETACH
#define MNT_DETACH 2
#endif

#define STACK_SIZE 65536

static int enter(struct jail *j, struct err *e)
{
	static int (*const steps[])(struct jail *, struct err *) = {
		jail_join_cgroups, jail_join_netns, jail_change_root,	  jail_write_pid,
		jail_hand_over,	   jail_set_limits, jail_drop_privileges, jail_exec,
	};
	size_t i;
	int ret = 0;

	for (i = 0; !ret && i < sizeof(steps) / sizeof(steps[0]); i++)
		ret = steps[i](j, e);
	return ret;
}

static uint64_t cpu_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* Runs @fn in a new process that has our memory, until it has executed or ended. */
static int in_child(struct jail *j, int (*fn)(void *), char *stack_top, int flags, struct err *e)
{
	pid_t pid;

	/* The number is there before the child runs: it writes it into its pid file. */
	pid = clone(fn, stack_top, flags | CLONE_VM | CLONE_VFORK | CLONE_PARENT_SETTID | SIGCHLD,
		    j, &j->pid);
	if (pid < 0)
		return err_set(e, errno, "Failed cloning into a new child process");
	if (j->executing)
		return 0;
	waitpid(pid, NULL, 0);
	if (!e->code)
		return err_set(e, ECHILD, "The process for %s was ended before it began", j->id);
	return -e->code;
}

/*
 * A start that is killed must not go on without the process that was killed. The kernel forgets
 * this when the user changes; user 0 changes nothing, so jail_exec() takes it back for all.
 */
static void end_with_parent(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
}

static int child_enters(void *ctx)
{
	struct jail *j = ctx;

	end_with_parent();
	/*
	 * The parent is about to end, and with it the foreground job of its terminal: in the old
	 * session a hang-up would then end the VM.
	 */
	if (!j->daemonize && setsid() < 0)
		err_set(j->err, errno, "Failed to make a session");
	else
		enter(j, j->err);
	_exit(1);
}

/* Leads a session, so that the VM does not: it can then get no terminal any more. */
static int child_leads(void *ctx)
{
	static char stack[STACK_SIZE] __attribute__((aligned(16)));
	struct jail *j = ctx;
	int fd, ret = 0;

	end_with_parent();
	if (setsid() < 0)
		ret = err_set(j->err, errno, "Failed to daemonize: setsid");
	for (fd = 0; !ret && fd <= STDERR_FILENO; fd++)
		if (dup2(j->null_fd, fd) != fd)
			ret = err_set(j->err, errno, "Failed to duplicate fd");
	if (!ret)
		ret = in_child(j, child_enters, &stack[STACK_SIZE - 16],
			       j->new_pid_ns ? CLONE_NEWPID : 0, j->err);
	_exit(ret ? 1 : 0);
}

int jail_launch(struct jail *j, struct err *e)
{
	static char stack[STACK_SIZE] __attribute__((aligned(16)));

	j->err = e;
	j->forked = j->daemonize || j->new_pid_ns;
	if (!j->forked) {
		j->pid = getpid();
		return enter(j, e);
	}
	j->parent_us = cpu_us() - j->start_cpu_us;
	if (j->daemonize)
		return in_child(j, child_leads, &stack[STACK_SIZE - 16], 0, e);
	return in_child(j, child_enters, &stack[STACK_SIZE - 16], CLONE_NEWPID, e);
}

/* SHOULD join the network namespace that was opened. MUST NOT take any other kind of file. */
int jail_join_netns(struct jail *j, struct err *e)
{
	struct stat want, have;

	if (j->netns_fd < 0)
		return 0;
	if (setns(j->netns_fd, CLONE_NEWNET) < 0)
		return err_set(e, errno, "Failed to join network namespace: netns: %s", j->netns);
	/* Where there is no /proc nothing can be read back; the kernel's word stands. */
	if (fstat(j->netns_fd, &want) == 0 && stat("/proc/self/ns/net", &have) == 0 &&
	    want.st_ino != have.st_ino)
		return err_set(e, EPERM, "Failed to join network namespace: netns: %s", j->netns);
	return 0;
}

/*
 * SHOULD copy the mount table, and make the copy one that hears of the host's mounts but tells of
 * none. MUST NOT happen unless it was asked for: its cost grows with the host's mounts, and all
 * jailers wait for each other in it (docs/threat-model.md says why the jail does without).
 */
int jail_separate_mounts(struct jail *j, struct err *e)
{
	struct mount_attr slave = { .propagation = 1 << 19 /* MS_SLAVE */ };

	if (!j->new_mount_ns || j->rootless)
		return 0;
	if (unshare(CLONE_NEWNS) < 0)
		return err_set(e, errno, "Failed to unshare into new mount namespace");
	if (syscall(SYS_mount_setattr, AT_FDCWD, "/", AT_RECURSIVE, &slave, sizeof(slave)) < 0)
		return err_set(e, errno, "Failed to change the propagation type to slave");
	return 0;
}

/* With a mount table of our own: the jail becomes its root, and all else is taken off it. */
static int pivot(int root, struct err *e)
{
	int tree = (int)syscall(SYS_open_tree, root, "",
				AT_EMPTY_PATH | AT_RECURSIVE | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (tree < 0 ||
	    syscall(SYS_move_mount, tree, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0 ||
	    fchdir(tree) < 0)
		return err_set(e, errno, "Failed to bind mount the jail root directory");
	if (syscall(SYS_pivot_root, ".", ".") < 0)
		return err_set(e, errno, "Failed to pivot root");
	if (syscall(SYS_umount2, ".", MNT_DETACH) < 0)
		return err_set(e, errno, "Failed to unmount the old jail root");
	return 0;
}

/*
 * SHOULD make the jail's root directory the process's root and working directory. MUST NOT leave
 * it a way back: all descriptors of directories are closed by exec, and the right to change the
 * root again goes with the capabilities.
 */
int jail_change_root(struct jail *j, struct err *e)
{
	const int root = j->dirs[JAIL_DIR_ROOT].fd;
	struct stat want, have, up;

	if (j->new_mount_ns) {
		int ret = pivot(root, e);

		if (ret)
			return ret;
	} else if (fchdir(root) < 0 || chroot(".") < 0) {
		return err_set(e, errno, "Failed to change root into %s",
			       jail_path(j, JAIL_DIR_ROOT, NULL));
	}
	if (chdir("/") < 0)
		return err_set(e, errno, "Failed to chdir into chroot directory");
	if (fstat(root, &want) < 0 || stat("/", &have) < 0 || stat("..", &up) < 0 ||
	    want.st_ino != have.st_ino || want.st_dev != have.st_dev || want.st_ino != up.st_ino ||
	    want.st_dev != up.st_dev)
		return err_set(e, EPERM, "Failed to change root into %s",
			       jail_path(j, JAIL_DIR_ROOT, NULL));
	return 0;
}

static int set_limit(int resource, const char *name, rlim_t value, struct err *e)
{
	const struct rlimit want = { .rlim_cur = value, .rlim_max = value };
	struct rlimit have;

	/* Raw: C libraries do not agree about the type of @resource. */
	if (syscall(SYS_prlimit64, 0, resource, &want, NULL) < 0)
		return err_set(e, errno, "Failed to set limit for resource: %s", name);
	if (syscall(SYS_prlimit64, 0, resource, NULL, &have) < 0 || have.rlim_cur != value ||
	    have.rlim_max != value)
		return err_set(e, EPERM, "Failed to set limit for resource: %s", name);
	return 0;
}

/* SHOULD set soft and hard limits alike. MUST NOT come before the last file that we write. */
int jail_set_limits(struct jail *j, struct err *e)
{
	int ret = set_limit(RLIMIT_NOFILE, "no-file", j->no_file, e);

	if (!ret && j->has_fsize)
		ret = set_limit(RLIMIT_FSIZE, "fsize", j->fsize, e);
	return ret;
}

/*
 * SHOULD execute the program through the descriptor that was opened before the root changed, with
 * an empty environment and no signal blocked. MUST NOT return but with an error.
 */
int jail_exec(struct jail *j, struct err *e)
{
	static char numbers[3][24], name[260];
	static const char *argv[JAIL_ARGS_MAX + 12];
	bool landlock = false;
	char *const envp[] = { NULL };
	const uint64_t us[3] = { j->start_us, j->forked ? 0 : j->start_cpu_us, j->parent_us };
	struct text t = text_init(name, sizeof(name) - 1);
	sigset_t none;
	size_t i, n = 0;

	for (i = 0; i < 3; i++) {
		struct text number = text_init(numbers[i], sizeof(numbers[i]) - 1);

		text_u64(&number, us[i], 1);
	}
	text_char(&t, '/');
	text_str(&t, j->exec_name);
	argv[n++] = name;
	argv[n++] = "--id";
	argv[n++] = j->id;
	argv[n++] = "--start-time-us";
	argv[n++] = numbers[0];
	argv[n++] = "--start-time-cpu-us";
	argv[n++] = numbers[1];
	argv[n++] = "--parent-cpu-time-us";
	argv[n++] = numbers[2];
	for (i = 0; i < j->nr_args; i++) {
		argv[n++] = j->args[i];
		landlock |= !strcmp(j->args[i], "--landlock");
	}
	/* The user's own files are all that is left to be protected from the VMM. */
	if (j->rootless && !landlock) {
		argv[n++] = "--landlock";
		argv[n++] = "files";
	}
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	umask(j->umask);
	prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
	jail_unlock(j);
	j->executing = true;
	syscall(SYS_execveat, j->exec_fd, "", argv, envp, AT_EMPTY_PATH);
	j->executing = false;
	return err_set(e, errno, "Failed to exec into %s", j->exec_file);
}

void jail_undo(struct jail *j)
{
	jail_undo_cgroups(j);
	jail_undo_layout(j);
}
