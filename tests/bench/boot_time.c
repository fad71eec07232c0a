/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boot_time [-k] [-v] [-t SECONDS] ROUNDS MARKER COMMAND [ARGUMENT...] [-- COMMAND [ARGUMENT...]]...
 *
 * Starts each command with its standard output on a pipe and measures the time from just before fork to
 * the first appearance of MARKER in that output. Several commands are run in turn (A B A B ...), so that
 * whatever the machine does meanwhile hits all of them alike. One line per run:
 *     command 0 ready_us 1234 exit_us 2345 cpu_us 456 status 0
 * ready_us is -1 when MARKER never came. -k ends the command after MARKER, -v passes its errors on and
 * shows the output of a run without MARKER, -t bounds one run (default 60 s).
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define COMMANDS_MAX 8
#define OUTPUT_MAX   (256 << 10) /* a guest that prints more than this before MARKER is broken */

struct options {
	int kill_after;
	int verbose;
	int timeout_s;
};

struct result {
	double ready_us;
	double exit_us;
	double cpu_us;
	int status;
};

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static double timeval_us(struct timeval t)
{
	return (double)t.tv_sec * 1e6 + (double)t.tv_usec;
}

static void child_exec(char **argv, int out, int verbose)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	dup2(null, 0);
	dup2(out, 1);
	if (!verbose)
		dup2(null, 2);
	execvp(argv[0], argv);
	perror(argv[0]);
	_exit(127);
}

/* Reads until MARKER, end of output or the time limit; returns when MARKER came, or -1. */
static double wait_marker(int fd, const char *marker, double start_us, const struct options *o)
{
	static char out[OUTPUT_MAX + 1];
	size_t len = 0;

	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		int left_ms = o->timeout_s * 1000 - (int)((now_us() - start_us) / 1e3);
		ssize_t n;

		if (left_ms <= 0 || poll(&p, 1, left_ms) <= 0)
			break;
		n = read(fd, out + len, OUTPUT_MAX - len);
		if (n <= 0)
			break;
		len += (size_t)n;
		out[len] = '\0';
		if (strstr(out, marker))
			return now_us() - start_us;
	}
	if (o->verbose)
		fprintf(stderr, "no %s in %zu bytes of output:\n%s\n", marker, len, out);
	return -1;
}

/* After MARKER the guest still has to end by itself: drain its output until it closes the pipe. */
static void drain(int fd, double start_us, int timeout_s)
{
	char sink[4096];
	struct pollfd p = { .fd = fd, .events = POLLIN };

	for (;;) {
		int left_ms = timeout_s * 1000 - (int)((now_us() - start_us) / 1e3);

		if (left_ms <= 0 || poll(&p, 1, left_ms) <= 0 || read(fd, sink, sizeof(sink)) <= 0)
			return;
	}
}

static int run_once(char **argv, const char *marker, const struct options *o, struct result *r)
{
	struct rusage usage;
	double start_us;
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC))
		return -1;
	start_us = now_us();
	pid = fork();
	if (pid < 0)
		return -1;
	if (pid == 0)
		child_exec(argv, fds[1], o->verbose);
	close(fds[1]);
	r->ready_us = wait_marker(fds[0], marker, start_us, o);
	if (r->ready_us >= 0 && !o->kill_after)
		drain(fds[0], start_us, o->timeout_s);
	/* A command that ended is a zombie here, and the signal does nothing. */
	if (o->kill_after || r->ready_us < 0 || now_us() - start_us > o->timeout_s * 1e6)
		kill(pid, SIGKILL);
	if (wait4(pid, &r->status, 0, &usage) != pid)
		return -1;
	r->exit_us = now_us() - start_us;
	r->cpu_us = timeval_us(usage.ru_utime) + timeval_us(usage.ru_stime);
	close(fds[0]);
	return 0;
}

int main(int argc, char **argv)
{
	struct options o = { .timeout_s = 60 };
	char **commands[COMMANDS_MAX];
	int nr_commands = 0;
	int rounds;
	int opt;

	/* "+": the options of the commands are not ours. */
	while ((opt = getopt(argc, argv, "+kvt:")) != -1) {
		if (opt == 'k')
			o.kill_after = 1;
		else if (opt == 'v')
			o.verbose = 1;
		else if (opt == 't')
			o.timeout_s = atoi(optarg);
		else
			return 2;
	}
	if (argc - optind < 3) {
		fprintf(stderr, "usage: boot_time [-kv] [-t SECONDS] ROUNDS MARKER COMMAND...\n");
		return 2;
	}
	rounds = atoi(argv[optind]);
	commands[nr_commands++] = argv + optind + 2;
	for (int i = optind + 2; i < argc; i++) {
		if (strcmp(argv[i], "--") || nr_commands == COMMANDS_MAX)
			continue;
		argv[i] = NULL;
		commands[nr_commands++] = argv + i + 1;
	}
	for (int i = 0; i < rounds * nr_commands; i++) {
		struct result r;

		if (run_once(commands[i % nr_commands], argv[optind + 1], &o, &r)) {
			perror("boot_time");
			return 1;
		}
		printf("command %d ready_us %.0f exit_us %.0f cpu_us %.0f status %d\n",
		       i % nr_commands, r.ready_us, r.exit_us, r.cpu_us, r.status);
		fflush(stdout);
	}
	return 0;
}
