/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_landlock.c - what a process that gave up its rights can still do: tried from inside, in a
 * child for each level, with real files, sockets and devices.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <linux/random.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/landlock.h"

static struct config config; /* zeroed: large */
static char dir[64];
static long abi;

/* result - 0 or errno of a call that returns -1, or an fd that is closed again. */
static int result(int ret)
{
	if (ret < 0)
		return errno;
	if (ret > 2)
		close(ret);
	return 0;
}

static int open_at(const char *name, int flags)
{
	return result(open(name, flags | O_CLOEXEC, 0600));
}

static int try_read(void)
{
	return open_at("other", O_RDONLY);
}

static int try_write(void)
{
	return open_at("other", O_RDWR);
}

static int try_drive_rw(void)
{
	return open_at("disk", O_RDWR);
}

static int try_drive_ro(void)
{
	return open_at("rodisk", O_RDONLY);
}

static int try_drive_ro_write(void)
{
	return open_at("rodisk", O_RDWR);
}

static int try_device(void)
{
	return open_at("/dev/null", O_RDWR);
}

static int try_list(void)
{
	return open_at("sub", O_RDONLY | O_DIRECTORY);
}

static int try_cut(void)
{
	return open_at("other", O_WRONLY | O_TRUNC);
}

static int try_create(void)
{
	return open_at("new", O_WRONLY | O_CREAT);
}

static int try_mkdir(void)
{
	return result(mkdir("newdir", 0700));
}

static int try_fifo(void)
{
	return result(mknod("newfifo", S_IFIFO | 0600, 0));
}

static int try_node(void)
{
	return result(mknod("newnode", S_IFCHR | 0600, 0x103));
}

static int try_symlink(void)
{
	return result(symlink("other", "newlink"));
}

static int try_link(void)
{
	return result(link("other", "sub/hard"));
}

static int try_rename(void)
{
	return result(rename("victim1", "moved"));
}

static int try_unlink(void)
{
	return result(unlink("victim2"));
}

static int try_rmdir(void)
{
	return result(rmdir("empty"));
}

/* Where the API socket is. */
static int try_unlink_socket(void)
{
	return result(unlink("run/sock"));
}

static int try_exec(void)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		execl("/bin/true", "true", NULL);
		_exit(errno);
	}
	waitpid(pid, &status, 0);
	return WEXITSTATUS(status);
}

static int unix_call(const char *name, size_t len,
		     int (*call)(int, const struct sockaddr *, socklen_t))
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0), ret;

	memcpy(addr.sun_path, name, len);
	ret = result(call(fd, (struct sockaddr *)&addr,
			  (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)));
	close(fd);
	return ret;
}

static int try_bind_path(void)
{
	return unix_call("newsock", 8, bind);
}

static int try_connect_path(void)
{
	return unix_call("listener", 9, connect);
}

static int abstract_name(char *name, size_t size, pid_t pid)
{
	return snprintf(name, size, "%cmote-test-%d", 0, (int)pid);
}

static int try_connect_abstract(void)
{
	char name[64];
	int len = abstract_name(name, sizeof(name), getppid());

	return unix_call(name, (size_t)len, connect);
}

static int tcp_call(int (*call)(int, const struct sockaddr *, socklen_t), uint16_t port)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
				    .sin_port = htons(port),
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	int ret = result(call(fd, (struct sockaddr *)&addr, sizeof(addr)));

	close(fd);
	return ret;
}

static int try_tcp_bind(void)
{
	return tcp_call(bind, 0);
}

/* Nobody listens at port 1 of a test machine; who may not even try is told something else. */
static int try_tcp_connect(void)
{
	int ret = tcp_call(connect, 1);

	return ret == EACCES ? EACCES : 0;
}

/* Harmless, and for everybody: how much entropy there is. */
static int try_ioctl(void)
{
	int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC), n;
	int ret = fd < 0 ? errno : result(ioctl(fd, RNDGETENTCNT, &n));

	close(fd);
	return ret;
}

static int try_signal_parent(void)
{
	return result(kill(getppid(), 0));
}

static void nothing(int sig)
{
	(void)sig;
}

/* As a vCPU thread: made afterwards, it has the rights of its maker, and is kicked. */
static void *thread_main(void *arg)
{
	int *ret = arg;

	*ret = try_mkdir();
	pause();
	return NULL;
}

static int thread_with(bool kick)
{
	pthread_t t;
	int ret = -1, kicked;

	signal(SIGRTMIN, nothing);
	pthread_create(&t, NULL, thread_main, &ret);
	while (__atomic_load_n((volatile int *)&ret, __ATOMIC_RELAXED) == -1)
		usleep(1000);
	kicked = pthread_kill(t, SIGRTMIN);
	if (kicked) {
		pthread_detach(t);
		return kick ? kicked : ret;
	}
	while (pthread_tryjoin_np(t, NULL)) {
		usleep(1000);
		pthread_kill(t, SIGRTMIN);
	}
	return kick ? 0 : ret;
}

static int try_in_thread(void)
{
	int ret = thread_with(false);

	return ret == EEXIST ? 0 : ret;
}

static int try_kick(void)
{
	return thread_with(true);
}

/* What each gives at off, actions and files; each only where the kernel's ABI has the right. */
static const struct attempt {
	const char *name;
	int (*try)(void);
	int want[3];
	int abi;
} attempts[] = {
	{ "read a file", try_read, { 0, 0, EACCES }, 1 },
	{ "write a file", try_write, { 0, 0, EACCES }, 1 },
	{ "open a drive again", try_drive_rw, { 0, 0, 0 }, 1 },
	{ "open a read-only drive again", try_drive_ro, { 0, 0, 0 }, 1 },
	{ "write a read-only drive", try_drive_ro_write, { 0, 0, EACCES }, 1 },
	{ "open a device", try_device, { 0, 0, EACCES }, 1 },
	{ "list a directory", try_list, { 0, EACCES, EACCES }, 1 },
	{ "cut a file", try_cut, { 0, EACCES, EACCES }, 3 },
	{ "make a file", try_create, { 0, EACCES, EACCES }, 1 },
	{ "make a directory", try_mkdir, { 0, EACCES, EACCES }, 1 },
	{ "make a FIFO", try_fifo, { 0, EACCES, EACCES }, 1 },
	{ "make a device node", try_node, { 0, EACCES, EACCES }, 1 },
	{ "make a symbolic link", try_symlink, { 0, EACCES, EACCES }, 1 },
	{ "make a hard link", try_link, { 0, EACCES, EACCES }, 1 },
	{ "rename", try_rename, { 0, EACCES, EACCES }, 1 },
	{ "remove a file", try_unlink, { 0, EACCES, EACCES }, 1 },
	{ "remove a directory", try_rmdir, { 0, EACCES, EACCES }, 1 },
	{ "remove the API socket", try_unlink_socket, { 0, 0, 0 }, 1 },
	{ "execute", try_exec, { 0, EACCES, EACCES }, 1 },
	{ "listen at a path", try_bind_path, { 0, EACCES, EACCES }, 1 },
	{ "connect to a path", try_connect_path, { 0, 0, 0 }, 1 },
	{ "connect to an abstract socket", try_connect_abstract, { 0, EPERM, EPERM }, 6 },
	{ "bind TCP", try_tcp_bind, { 0, EACCES, EACCES }, 4 },
	{ "connect by TCP", try_tcp_connect, { 0, EACCES, EACCES }, 4 },
	{ "ioctl of a device", try_ioctl, { 0, EACCES, EACCES }, 5 },
	{ "signal another process", try_signal_parent, { 0, EPERM, EPERM }, 6 },
	{ "make a directory in a thread", try_in_thread, { 0, EACCES, EACCES }, 1 },
	{ "kick a thread", try_kick, { 0, 0, 0 }, 1 },
};

#define NR_ATTEMPTS (sizeof(attempts) / sizeof(attempts[0]))

static int make(const char *name)
{
	return open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
}

static int listener(const char *name, size_t len)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(addr.sun_path, name, len);
	cr_assert(!bind(fd, (struct sockaddr *)&addr,
			(socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)));
	cr_assert(!listen(fd, 8));
	return fd;
}

static void setup(void)
{
	static const char *const files[] = { "other", "victim1", "victim2", "run/sock" };
	static const char *const dirs[] = { "sub", "empty", "run" };
	char name[64];

	abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	strcpy(dir, "/tmp/mote-landlock-XXXXXX");
	cr_assert(mkdtemp(dir) && !chdir(dir));
	for (size_t i = 0; i < 3; i++)
		cr_assert(!mkdir(dirs[i], 0700));
	for (size_t i = 0; i < 4; i++)
		close(make(files[i]));
	listener("listener", 9);
	listener(name, (size_t)abstract_name(name, sizeof(name), getpid()));
	config.nr_drives = 2;
	config.drive[0].fd = make("disk");
	config.drive[1].fd = make("rodisk");
	config.drive[1].is_read_only = true;
}

static void teardown(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", dir);
	cr_assert(!system(command));
}

TestSuite(landlock, .init = setup, .fini = teardown);

/* Everything is tried in a child that gave up its rights; the parent has the say. */
static void try_all(enum landlock_level level)
{
	int got[NR_ATTEMPTS + 2], fds[2], status;
	pid_t pid;

	if (abi < 1)
		cr_skip_test("this kernel has no Landlock");
	cr_assert(!pipe(fds));
	pid = fork();
	if (!pid) {
		struct err e = { 0 };

		got[NR_ATTEMPTS] = landlock_enter(level, &config, "run/sock", &e);
		got[NR_ATTEMPTS + 1] = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0);
		for (size_t i = 0; i < NR_ATTEMPTS; i++)
			got[i] = attempts[i].try();
		_exit(write(fds[1], got, sizeof(got)) != (ssize_t)sizeof(got));
	}
	cr_assert(read(fds[0], got, sizeof(got)) == (ssize_t)sizeof(got));
	cr_assert(waitpid(pid, &status, 0) == pid && status == 0);
	cr_assert(got[NR_ATTEMPTS] == 0);
	cr_assert(got[NR_ATTEMPTS + 1] == (level != LANDLOCK_OFF));
	for (size_t i = 0; i < NR_ATTEMPTS; i++)
		if (abi >= attempts[i].abi)
			cr_expect(got[i] == attempts[i].want[level], "%s at level %d: %s",
				  attempts[i].name, level, strerror(got[i]));
	close(fds[0]);
	close(fds[1]);
}

Test(landlock, off_gives_up_nothing)
{
	try_all(LANDLOCK_OFF);
}

Test(landlock, actions_leaves_opening_files)
{
	try_all(LANDLOCK_ACTIONS);
}

Test(landlock, files_leaves_the_drives)
{
	try_all(LANDLOCK_FILES);
}

/* In a child: enter with this socket, then remove "run/sock" and "victim2". */
static int removal(const char *api_sock)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		struct err e;

		if (landlock_enter(LANDLOCK_FILES, &config, api_sock, &e))
			_exit(100);
		_exit((try_unlink_socket() ? 1 : 0) | (try_unlink() ? 2 : 0));
	}
	waitpid(pid, &status, 0);
	return WEXITSTATUS(status);
}

Test(landlock, only_the_directory_of_the_socket)
{
	static char path[128], longest[300];

	if (abi < 1)
		cr_skip_test("this kernel has no Landlock");
	cr_assert(removal(NULL) == 3);
	cr_assert(removal("gone/sock") == 3);
	memset(longest, '/', sizeof(longest) - 1);
	cr_assert(removal(longest) == 3);
	snprintf(path, sizeof(path), "%s/run/other-name", dir);
	cr_assert(removal(path) == 2);
	close(make("run/sock"));
	cr_assert(removal("relative") == 0);
}

/* A file that took the name of a drive's is another file; one that cannot be named does not matter. */
Test(landlock, drives_are_files_not_names)
{
	pid_t pid;
	int status;

	if (abi < 1)
		cr_skip_test("this kernel has no Landlock");
	config.drive[config.nr_drives++].fd = (int)syscall(SYS_memfd_create, "disk", 0);
	config.drive[config.nr_drives++].fd = -1; /* one behind a socket */
	close(make("fresh"));
	cr_assert(!rename("fresh", "disk"));
	pid = fork();
	if (!pid) {
		struct err e;
		int ret = landlock_enter(LANDLOCK_FILES, &config, NULL, &e);

		_exit(ret ? 100 : try_drive_rw());
	}
	waitpid(pid, &status, 0);
	cr_assert(WEXITSTATUS(status) == EACCES, "%d", WEXITSTATUS(status));
}
