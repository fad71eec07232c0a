/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_latency SOCKET ROUNDS [PATH]
 *
 * GET PATH (/version) over one connection, one request after the other, and the time from the first
 * byte out to the last byte in. One line, in microseconds:
 *     median_us 41.2 p99_us 70.3 max_us 212.0
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS_MAX 10000000L

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static int open_socket(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || strlen(path) >= sizeof(addr.sun_path))
		fail(path);
	strcpy(addr.sun_path, path);
	if (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)))
		fail(path);
	return fd;
}

/* Read one reply; what it says it holds must be there and nothing behind it. */
static void read_reply(int fd)
{
	static char buf[65536];
	const char *end, *length;
	size_t have = 0;

	for (;;) {
		ssize_t n = read(fd, buf + have, sizeof(buf) - 1 - have);

		if (n <= 0)
			fail("read");
		have += (size_t)n;
		buf[have] = '\0';
		end = strstr(buf, "\r\n\r\n");
		length = strstr(buf, "Content-Length: ");
		if (strncmp(buf, "HTTP/1.1 200", 12) || (end && !length)) {
			fprintf(stderr, "api_latency: unexpected reply: %s\n", buf);
			exit(1);
		}
		if (end && have >= (size_t)(end + 4 - buf) + strtoul(length + 16, NULL, 10))
			return;
	}
}

static int compare(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	const long rounds = argc >= 3 ? strtol(argv[2], NULL, 10) : 0;
	double *us;
	char request[256];
	long i;
	int fd;

	if (rounds < 1 || rounds > ROUNDS_MAX) {
		fprintf(stderr, "usage: api_latency SOCKET ROUNDS [PATH]\n");
		return 2;
	}
	us = malloc((size_t)rounds * sizeof(*us));
	if (!us)
		fail("malloc");
	snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n",
		 argc > 3 ? argv[3] : "/version");
	fd = open_socket(argv[1]);
	for (i = 0; i < rounds; i++) {
		const double start = now_us();

		if (write(fd, request, strlen(request)) != (ssize_t)strlen(request))
			fail("write");
		read_reply(fd);
		us[i] = now_us() - start;
	}
	close(fd);
	qsort(us, (size_t)rounds, sizeof(*us), compare);
	printf("median_us %.1f p99_us %.1f max_us %.1f\n", us[rounds / 2], us[rounds * 99 / 100],
	       us[rounds - 1]);
	free(us);
	return 0;
}
