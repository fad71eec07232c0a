/* SPDX-License-Identifier: Apache-2.0 */
/*
 * costs [FILE]: what the host's kernel takes for the steps of which a disk or network request of mote
 * consists. In the emulated host with virtual time a nanosecond is an instruction:
 *     tests/testbed/nested-host --virtual-time "cp build/bench/costs /tmp; /tmp/costs"
 * FILE (default /tmp/costs.raw) is made, 1 MiB, and removed.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 2000

static int ep, kick, answer, file;
static char data[128 << 10];

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void signal_fd(int fd)
{
	uint64_t one = 1;

	if (write(fd, &one, sizeof(one)) != sizeof(one))
		exit(1);
}

static void clear_fd(int fd)
{
	uint64_t n;

	if (read(fd, &n, sizeof(n)) != sizeof(n))
		exit(1);
}

static void wait_fd(void)
{
	struct epoll_event ev;

	if (epoll_wait(ep, &ev, 1, -1) != 1)
		exit(1);
}

static void step_none(void)
{
	syscall(SYS_getppid);
}

static void step_eventfd(void)
{
	signal_fd(kick);
	clear_fd(kick);
}

static void step_epoll(void)
{
	wait_fd();
}

static void step_read_4k(void)
{
	struct iovec iov = { data, 4096 };

	if (preadv(file, &iov, 1, 8192) != 4096)
		exit(1);
}

static void step_read_128k(void)
{
	struct iovec iov = { data, sizeof(data) };

	if (preadv(file, &iov, 1, 0) != sizeof(data))
		exit(1);
}

static void step_write_128k(void)
{
	struct iovec iov = { data, sizeof(data) };

	if (pwritev(file, &iov, 1, 0) != sizeof(data))
		exit(1);
}

/* As the loop: sleep in epoll_wait, take the kick, answer. */
static void *echo(void *arg)
{
	for (;;) {
		wait_fd();
		clear_fd(kick);
		signal_fd(answer);
	}
	return arg;
}

static void step_wake(void)
{
	signal_fd(kick);
	clear_fd(answer);
}

static void measure(const char *name, void (*step)(void))
{
	double start;

	for (int i = 0; i < ROUNDS / 10; i++)
		step();
	start = now_ns();
	for (int i = 0; i < ROUNDS; i++)
		step();
	printf("%-48s %8.0f ns\n", name, (now_ns() - start) / ROUNDS);
}

int main(int argc, char **argv)
{
	const char *path = argc > 1 ? argv[1] : "/tmp/costs.raw";
	struct epoll_event ev = { .events = EPOLLIN };
	pthread_t thread;

	ep = epoll_create1(EPOLL_CLOEXEC);
	kick = eventfd(0, EFD_CLOEXEC);
	answer = eventfd(0, EFD_CLOEXEC);
	file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (ep < 0 || kick < 0 || answer < 0 || file < 0)
		return 1;
	for (int i = 0; i < 8; i++)
		if (write(file, data, sizeof(data)) != sizeof(data))
			return 1;
	unlink(path);
	epoll_ctl(ep, EPOLL_CTL_ADD, kick, &ev);
	measure("a system call that does nothing", step_none);
	measure("eventfd: write and read", step_eventfd);
	signal_fd(kick);
	measure("epoll_wait, something ready", step_epoll);
	clear_fd(kick);
	measure("preadv of 4 KiB, page cache", step_read_4k);
	measure("preadv of 128 KiB, page cache", step_read_128k);
	measure("pwritev of 128 KiB, page cache", step_write_128k);
	if (pthread_create(&thread, NULL, echo, NULL))
		return 1;
	measure("a thread in epoll_wait woken, and its answer", step_wake);
	return 0;
}
