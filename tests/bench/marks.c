/* SPDX-License-Identifier: Apache-2.0 */
/*
 * marks [-v] [-t SECONDS] [-l ADDRESS] COMMAND [ARGUMENT...]
 *
 * Starts a VMM whose guest runs tests/bench/work.c, and prints a line for each phase that the guest
 * marked:
 *     NAME wall_us 1234 cpu_us 456 loop_ns 123456 user_samples 0 samples 0
 * wall_us is between two marks as they came out of the VMM's standard output; cpu_us the CPU time
 * of all threads of the VMM and loop_ns that of its first thread, which is mote's loop. In a phase
 * whose name ends in "sample", samples counts how often that thread was looked at, and user_samples
 * how often it was in user space then.
 *
 * -l serves TCP on ADDRESS port 5001 as work.c expects it; -v shows the guest's output and the
 * VMM's errors; -t bounds the run (default 100 s). Ends with 0 when the guest came to its end, 1
 * when not, 2 for wrong usage.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STREAM_BYTES (64L << 20)
#define STREAM_PIECE (128 << 10)
#define PORT	     5001
#define RING_PAGES   256 /* of 16-byte records, a power of two */

/*
 * CPU time between two looks. Several at once, together one in 10 us: by a clock that counts
 * instructions, any single one falls into step with what the thread repeats.
 */
static const uint64_t sample_ns[] = { 61001, 64007, 67003, 70001, 73009, 76001, 79031 };
#define SAMPLERS (sizeof(sample_ns) / sizeof(sample_ns[0]))

/* What is known of the VMM at one moment. */
struct usage {
	double wall_us;
	uint64_t cpu_ns;
	uint64_t loop_ns;
};

static int verbose;
static struct {
	int fd;
	struct perf_event_mmap_page *ring; /* NULL: not running */
} sampler[SAMPLERS];

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* Nanoseconds of CPU time that a thread has had. */
static uint64_t thread_ns(pid_t pid)
{
	char path[64], text[64] = "";
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/schedstat", pid, pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && read(fd, text, sizeof(text) - 1) < 0)
		text[0] = '\0';
	close(fd);
	return strtoull(text, NULL, 10);
}

static void look(pid_t pid, struct usage *u)
{
	clockid_t clock;
	struct timespec t = { 0 };

	u->wall_us = now_us();
	if (clock_getcpuclockid(pid, &clock) == 0)
		clock_gettime(clock, &t);
	u->cpu_ns = (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
	u->loop_ns = thread_ns(pid);
}

/* The kernel's interface: manual page perf_event_open(2). */
static void sample_start(pid_t pid)
{
	struct perf_event_attr attr = {
		.size = sizeof(attr),
		.type = PERF_TYPE_SOFTWARE,
		.config = PERF_COUNT_SW_CPU_CLOCK,
		.sample_type = PERF_SAMPLE_IP,
	};
	size_t len = (RING_PAGES + 1) * 4096;

	for (size_t i = 0; i < SAMPLERS; i++) {
		void *ring;
		int fd;

		attr.sample_period = sample_ns[i];
		fd = (int)syscall(SYS_perf_event_open, &attr, pid, -1, -1, PERF_FLAG_FD_CLOEXEC);
		if (fd < 0) {
			perror("marks: perf_event_open");
			return;
		}
		ring = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (ring == MAP_FAILED) {
			perror("marks: mmap of the samples");
			close(fd);
			return;
		}
		sampler[i].fd = fd;
		sampler[i].ring = ring;
	}
}

/* The mode is in the header of each record. The buffer is larger than what a phase leaves. */
static void count(struct perf_event_mmap_page *ring, unsigned long *user, unsigned long *all)
{
	const char *data = (const char *)ring + 4096;

	for (uint64_t at = 0; at < __atomic_load_n(&ring->data_head, __ATOMIC_ACQUIRE);) {
		const struct perf_event_header *h = (const void *)(data + at);

		if (h->type == PERF_RECORD_SAMPLE) {
			++*all;
			*user += (h->misc & PERF_RECORD_MISC_CPUMODE_MASK) == PERF_RECORD_MISC_USER;
		}
		at += h->size;
	}
}

static void sample_end(unsigned long *user, unsigned long *all)
{
	for (size_t i = 0; i < SAMPLERS && sampler[i].ring; i++)
		ioctl(sampler[i].fd, PERF_EVENT_IOC_DISABLE, 0);
	for (size_t i = 0; i < SAMPLERS && sampler[i].ring; i++) {
		count(sampler[i].ring, user, all);
		munmap(sampler[i].ring, (RING_PAGES + 1) * 4096);
		close(sampler[i].fd);
		sampler[i].ring = NULL;
	}
}

static int receive_all(int fd, char *piece)
{
	for (long done = 0; done < STREAM_BYTES;) {
		ssize_t n = read(fd, piece, STREAM_PIECE);

		if (n <= 0)
			return -1;
		done += n;
	}
	return 0;
}

static int send_all(int fd, const char *piece)
{
	for (long done = 0; done < STREAM_BYTES;) {
		ssize_t n = write(fd, piece, STREAM_PIECE);

		if (n <= 0)
			return -1;
		done += n;
	}
	return 0;
}

/* The other end of work_net. */
static void serve(int listener)
{
	static char piece[STREAM_PIECE];
	int one = 1;
	int fd = accept(listener, NULL, NULL);
	char byte = 'y';

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (receive_all(fd, piece) || write(fd, &byte, 1) != 1 || send_all(fd, piece))
		_exit(1);
	while (read(fd, &byte, 1) == 1 && write(fd, &byte, 1) == 1)
		;
	_exit(0);
}

static pid_t start_server(const char *address)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(PORT) };
	int one = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	pid_t pid;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (inet_pton(AF_INET, address, &a.sin_addr) != 1 ||
	    bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 1)) {
		perror("marks: listen");
		exit(2);
	}
	pid = fork();
	if (pid == 0)
		serve(fd);
	close(fd);
	return pid;
}

static pid_t start_vmm(char **argv, int *out)
{
	int fds[2];
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC))
		exit(2);
	pid = fork();
	if (pid == 0) {
		dup2(null, 0);
		dup2(fds[1], 1);
		if (!verbose)
			dup2(null, 2);
		execvp(argv[0], argv);
		perror(argv[0]);
		_exit(127);
	}
	close(fds[1]);
	close(null);
	*out = fds[0];
	return pid;
}

/* One line of the guest. Returns 1 at the end of its work, -1 when it failed. */
static int mark(pid_t pid, const char *line)
{
	static char phase[32];
	static struct usage before;
	const char *name = strstr(line, "M:");
	unsigned long user = 0, all = 0;
	struct usage u;

	if (verbose)
		fprintf(stderr, "| %s\n", line);
	if (strstr(line, "FAILED")) {
		fprintf(stderr, "marks: the guest says %s\n", line);
		return -1;
	}
	if (strstr(line, "READY"))
		return 1;
	if (!name)
		return 0;
	look(pid, &u);
	sample_end(&user, &all);
	if (phase[0])
		printf("%s wall_us %.1f cpu_us %.1f loop_ns %llu user_samples %lu samples %lu\n",
		       phase, u.wall_us - before.wall_us, (double)(u.cpu_ns - before.cpu_ns) / 1e3,
		       (unsigned long long)(u.loop_ns - before.loop_ns), user, all);
	fflush(stdout);
	phase[0] = '\0';
	if (strncmp(name, "M:end", 5) == 0)
		return 0;
	sscanf(name + 2, "%31[a-z]", phase);
	if (strstr(phase, "sample"))
		sample_start(pid);
	look(pid, &before);
	return 0;
}

static int follow(pid_t pid, int fd, double limit_us)
{
	char line[512], in[512];
	size_t len = 0;
	int ret = 0;

	while (ret == 0) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		int left_ms = (int)((limit_us - now_us()) / 1e3);
		ssize_t n;

		if (left_ms <= 0 || poll(&p, 1, left_ms) <= 0)
			break;
		n = read(fd, in, sizeof(in));
		if (n <= 0)
			break;
		for (ssize_t i = 0; i < n && ret == 0; i++) {
			if (in[i] != '\n' && len < sizeof(line) - 1) {
				line[len++] = in[i];
				continue;
			}
			line[len] = '\0';
			len = 0;
			ret = mark(pid, line);
		}
	}
	return ret == 1 ? 0 : 1;
}

int main(int argc, char **argv)
{
	const char *address = NULL;
	double limit_s = 100;
	pid_t server = 0, vmm;
	int opt, out, ret;

	/* "+": the options of the command are not ours. */
	while ((opt = getopt(argc, argv, "+vt:l:")) != -1) {
		if (opt == 'v')
			verbose = 1;
		else if (opt == 't')
			limit_s = atof(optarg);
		else if (opt == 'l')
			address = optarg;
		else
			return 2;
	}
	if (optind == argc) {
		fprintf(stderr, "usage: marks [-v] [-t SECONDS] [-l ADDRESS] COMMAND...\n");
		return 2;
	}
	if (address)
		server = start_server(address);
	vmm = start_vmm(argv + optind, &out);
	ret = follow(vmm, out, now_us() + limit_s * 1e6);
	kill(vmm, SIGKILL);
	waitpid(vmm, NULL, 0);
	if (server) {
		kill(server, SIGKILL);
		waitpid(server, NULL, 0);
	}
	if (ret)
		fprintf(stderr, "marks: the guest did not come to its end\n");
	return ret;
}
