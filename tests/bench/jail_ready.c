/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jail_ready ROUNDS AT_ONCE BASE JAILER PROGRAM [OPTION...]
 *
 * Starts AT_ONCE jails that did not exist before, and measures the time from just before the first
 * fork until the last of them has answered GET /version on its Unix socket; then it ends them and
 * removes them. CPU time is that of every process of these starts, their ends included. One line
 * per round:
 *     reply_us 1010 all_us 1010 cpu_us 900
 * reply_us: median of the starts, each from its own fork; all_us: the whole round's, divided by
 * AT_ONCE; cpu_us: of one start. The program's name must be 64 bytes at most.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define GIVE_UP_US  20e6
#define PAUSE_NS    10000
#define STARTS_MAX  256
#define OPTIONS_MAX 64

struct jail {
	char id[32];
	char dir[128];
	struct sockaddr_un addr;
	double start_us, reply_us;
	pid_t vm; /* the process that listens */
};

static struct jail jails[STARTS_MAX];

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static double children_cpu_us(void)
{
	struct rusage u;

	getrusage(RUSAGE_CHILDREN, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void start(struct jail *j, char **argv, char *base)
{
	char *full[OPTIONS_MAX + 12] = {
		argv[0], "--id",  j->id,  "--exec-file",       argv[1], "--uid",
		"1234",	 "--gid", "1234", "--chroot-base-dir", base
	};
	size_t n = 11;

	for (char **a = argv + 2; *a && n < OPTIONS_MAX; a++)
		full[n++] = *a;
	j->start_us = now_us();
	if (fork() == 0) {
		int null = open("/dev/null", O_RDWR | O_CLOEXEC);

		dup2(null, 0);
		dup2(null, 1);
		if (!getenv("BENCH_VERBOSE"))
			dup2(null, 2);
		execv(full[0], full);
		_exit(127);
	}
}

/* True when it answered. */
static int try(struct jail *j)
{
	static const char request[] = "GET /version HTTP/1.1\r\nHost: localhost\r\n"
				      "Accept: application/json\r\n\r\n";
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct ucred peer;
	socklen_t len = sizeof(peer);
	char reply[4096];
	int ok = 0;

	if (!connect(fd, (struct sockaddr *)&j->addr, sizeof(j->addr)) &&
	    write(fd, request, sizeof(request) - 1) == (ssize_t)sizeof(request) - 1 &&
	    read(fd, reply, sizeof(reply)) > 12 && !memcmp(reply, "HTTP/1.1 200", 12)) {
		j->reply_us = now_us() - j->start_us;
		getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len);
		j->vm = peer.pid;
		ok = 1;
	}
	close(fd);
	return ok;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static int compare(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static int round_once(int at_once, char *base, char **argv)
{
	const struct timespec pause = { .tv_nsec = PAUSE_NS };
	double times[STARTS_MAX], cpu_us = children_cpu_us(), first_us = now_us(), all_us;
	static int count;
	int i, left = at_once;

	for (i = 0; i < at_once; i++) {
		const char *name = strrchr(argv[1], '/');
		struct jail *j = &jails[i];

		*j = (struct jail){ .addr.sun_family = AF_UNIX };
		snprintf(j->id, sizeof(j->id), "b-%d-%d", (int)getpid(), count++);
		snprintf(j->dir, sizeof(j->dir), "%s/%s/%s", base, name ? name + 1 : argv[1],
			 j->id);
		snprintf(j->addr.sun_path, sizeof(j->addr.sun_path),
			 "%.70s/root/run/firecracker.socket", j->dir);
		start(j, argv, base);
	}
	while (left && now_us() - first_us < GIVE_UP_US) {
		for (i = 0; i < at_once; i++)
			if (!jails[i].vm)
				left -= try(&jails[i]);
		nanosleep(&pause, NULL);
	}
	all_us = now_us() - first_us;
	for (i = 0; i < at_once; i++) {
		if (jails[i].vm)
			kill(jails[i].vm, SIGKILL);
		times[i] = jails[i].reply_us;
	}
	/* Orphans are ours: we are their reaper. */
	while (!left && (wait(NULL) > 0 || errno == EINTR))
		;
	cpu_us = children_cpu_us() - cpu_us;
	for (i = 0; i < at_once; i++)
		nftw(jails[i].dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	if (left) {
		fprintf(stderr, "jail_ready: %d of %d gave no reply\n", left, at_once);
		return -1;
	}
	qsort(times, (size_t)at_once, sizeof(times[0]), compare);
	printf("reply_us %.0f all_us %.0f cpu_us %.0f\n", times[at_once / 2], all_us / at_once,
	       cpu_us / at_once);
	return 0;
}

int main(int argc, char **argv)
{
	prctl(PR_SET_TIMERSLACK, 1L); /* or each pause lasts 50 us longer */
	prctl(PR_SET_CHILD_SUBREAPER, 1L);
	if (argc < 6 || atoi(argv[2]) < 1 || atoi(argv[2]) > STARTS_MAX) {
		fprintf(stderr,
			"usage: jail_ready ROUNDS AT_ONCE BASE JAILER PROGRAM [OPTION...]\n");
		return 2;
	}
	for (int i = 0; i < atoi(argv[1]); i++) {
		if (round_once(atoi(argv[2]), argv[3], argv + 4))
			return 1;
	}
	return 0;
}
