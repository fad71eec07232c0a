/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_ready ROUNDS SOCKET COMMAND [ARGUMENT...]
 *
 * Starts the command and measures the time from just before fork until it has answered GET /version on
 * its Unix socket, then looks at its memory at that moment, and ends it. One line per round:
 *     reply_us 432 cpu_us 390 rss_kib 640 pss_kib 630 private_dirty_kib 120
 */
#define _GNU_SOURCE
#include <fcntl.h>
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

#define GIVE_UP_US 10e6
#define PAUSE_NS   10000

struct memory {
	long rss_kib;
	long pss_kib;
	long private_dirty_kib;
};

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static pid_t start(char **argv)
{
	pid_t pid = fork();

	if (pid == 0) {
		int null = open("/dev/null", O_RDWR | O_CLOEXEC);

		dup2(null, 0);
		dup2(null, 1);
		if (!getenv("BENCH_VERBOSE"))
			dup2(null, 2);
		execvp(argv[0], argv);
		_exit(127);
	}
	return pid;
}

/*
 * Connects as soon as the socket is there. Between attempts it sleeps for 10 us: spinning, it would keep the
 * CPU from the command where all are busy, and its own time slice, 3 ms, would be measured.
 */
static int connect_soon(const struct sockaddr_un *addr, double start_us)
{
	const struct timespec pause = { .tv_nsec = PAUSE_NS };

	while (now_us() - start_us < GIVE_UP_US) {
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

		if (fd < 0 || !connect(fd, (const struct sockaddr *)addr, sizeof(*addr)))
			return fd;
		close(fd);
		nanosleep(&pause, NULL);
	}
	return -1;
}

static int ask_version(int fd)
{
	static const char request[] = "GET /version HTTP/1.1\r\nHost: localhost\r\n"
				      "Accept: application/json\r\n\r\n";
	char reply[4096];
	ssize_t n;

	if (write(fd, request, sizeof(request) - 1) != (ssize_t)sizeof(request) - 1)
		return -1;
	n = read(fd, reply, sizeof(reply) - 1);
	if (n <= 0)
		return -1;
	reply[n] = '\0';
	return strncmp(reply, "HTTP/1.1 200", 12) ? -1 : 0;
}

static void memory_read(pid_t pid, struct memory *m)
{
	char path[64];
	char line[256];
	FILE *f;

	memset(m, 0, sizeof(*m));
	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return;
	while (fgets(line, sizeof(line), f)) {
		sscanf(line, "Rss: %ld", &m->rss_kib);
		sscanf(line, "Pss: %ld", &m->pss_kib);
		sscanf(line, "Private_Dirty: %ld", &m->private_dirty_kib);
	}
	fclose(f);
}

static int round_once(const char *path, char **argv)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct rusage usage;
	struct memory m;
	double start_us, reply_us, cpu_us;
	int fd, bad;
	pid_t pid;

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	unlink(path);
	start_us = now_us();
	pid = start(argv);
	if (pid < 0)
		return -1;
	fd = connect_soon(&addr, start_us);
	bad = fd < 0 || ask_version(fd);
	reply_us = now_us() - start_us;
	memory_read(pid, &m);
	close(fd);
	kill(pid, SIGKILL);
	wait4(pid, NULL, 0, &usage);
	if (bad) {
		fprintf(stderr, "api_ready: no reply on %s\n", path);
		return -1;
	}
	cpu_us = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
		 (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
	printf("reply_us %.0f cpu_us %.0f rss_kib %ld pss_kib %ld private_dirty_kib %ld\n",
	       reply_us, cpu_us, m.rss_kib, m.pss_kib, m.private_dirty_kib);
	return 0;
}

int main(int argc, char **argv)
{
	prctl(PR_SET_TIMERSLACK, 1L); /* or each pause lasts 50 us longer */
	if (argc < 4) {
		fprintf(stderr, "usage: api_ready ROUNDS SOCKET COMMAND [ARGUMENT...]\n");
		return 2;
	}
	for (int i = 0; i < atoi(argv[1]); i++) {
		if (round_once(argv[2], argv + 3))
			return 1;
	}
	return 0;
}
