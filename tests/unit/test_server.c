/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_server.c - the API socket with real clients: a loop in a thread, handlers that echo.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "api-socket/server.h"

static char dir[64], path[100];
static struct loop *loop;
static struct server *server;
static pthread_t thread;

/* "/big" answers REPLY_MAX bytes, everything else the body that came. */
static void echo(void *ctx, const struct http_request *req, struct server_reply *reply)
{
	(void)ctx;
	reply->status = 200;
	if (req->path_len == 4 && !memcmp(req->path, "/big", 4)) {
		memset(reply->body, 'b', REPLY_MAX);
		reply->body_len = REPLY_MAX;
	} else if (req->body) {
		memcpy(reply->body, req->body, req->body_len);
		reply->body_len = req->body_len;
	} else {
		reply->status = 204;
	}
}

static void *run(void *arg)
{
	(void)arg;
	loop_run(loop);
	return NULL;
}

static int open_server(struct server **s, struct err *e)
{
	const struct server_config config = {
		.path = path,
		.payload_max = 51200,
		.loop = loop,
		.handle = echo,
	};

	return server_open(s, &config, e);
}

static void setup(void)
{
	struct err e;

	strcpy(dir, "/tmp/mote-unit-XXXXXX");
	cr_assert(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/api", dir);
	cr_assert(!loop_create(&loop, &e));
}

static void start(void)
{
	struct err e = { 0 };

	cr_assert(!open_server(&server, &e), "%s", e.msg);
	cr_assert(!pthread_create(&thread, NULL, run, NULL));
}

static void stop(void)
{
	loop_stop(loop, 0);
	pthread_join(thread, NULL);
	server_close(server);
	server = NULL;
}

static void teardown(void)
{
	loop_destroy(loop);
	cr_assert(!rmdir(dir), "something was left in %s", dir);
}

TestSuite(server, .init = setup, .fini = teardown, .timeout = 20);

static int dial(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(a.sun_path, path);
	return connect(fd, (struct sockaddr *)&a, sizeof(a)) ? -1 : fd;
}

static void say(int fd, const char *text)
{
	cr_assert(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
}

/* Exactly as many bytes as @want has, and the same. */
static void hear(int fd, const char *want)
{
	static char got[4096];
	size_t n = 0, len = strlen(want);

	while (n < len) {
		ssize_t r = read(fd, got + n, len - n);

		cr_assert(r > 0, "after %zu of %zu bytes", n, len);
		n += (size_t)r;
	}
	got[n] = '\0';
	cr_assert_str_eq(got, want);
}

static bool quiet(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 50) == 0;
}

#define HEAD(status) "HTTP/1.1 " status " \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n"
#define NOTHING	     HEAD("204") "\r\n"
#define JSON(len, body)                                                                            \
	HEAD("200") "Content-Type: application/json\r\nContent-Length: " len "\r\n\r\n" body

Test(server, replies_and_keeps_the_connection)
{
	int fd;

	start();
	fd = dial();
	say(fd, "GET / HTTP/1.1\r\nConnection: close\r\n\r\n");
	hear(fd, NOTHING);
	say(fd, "PUT / HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc");
	hear(fd, JSON("3", "abc"));
	say(fd, "BAD\r\n\r\n");
	hear(fd,
	     HEAD("400") "Content-Type: application/json\r\nContent-Length: 81\r\n\r\n"
			 "{ \"error\": \"Invalid request.\nAll previous unanswered requests will be "
			 "dropped.\" }");
	say(fd, "GET / HTTP/1.1\r\n\r\n");
	hear(fd, NOTHING);
	cr_assert(quiet(fd));
	close(fd);
	stop();
}

Test(server, expect_then_body)
{
	int fd;

	start();
	fd = dial();
	say(fd, "PUT / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
	hear(fd, HEAD("100") "\r\n");
	cr_assert(quiet(fd));
	say(fd, "ok");
	hear(fd, JSON("2", "ok"));
	close(fd);
	stop();
}

Test(server, byte_by_byte_and_half_closed)
{
	static const char req[] = "PUT /x HTTP/1.1\r\nContent-Length: 4\r\n\r\nabcd";
	char c;
	int fd;

	start();
	fd = dial();
	for (size_t i = 0; i < sizeof(req) - 1; i++)
		cr_assert(write(fd, req + i, 1) == 1);
	shutdown(fd, SHUT_WR);
	hear(fd, JSON("4", "abcd"));
	cr_assert(read(fd, &c, 1) == 0);
	close(fd);
	stop();
}

Test(server, pipelined_in_order)
{
	char req[8192] = "", one[96];
	int fd;

	start();
	fd = dial();
	for (int i = 100; i < 170; i++) {
		sprintf(one, "PUT / HTTP/1.1\r\nContent-Length: 3\r\n\r\n%dGET / HTTP/1.1\r\n\r\n",
			i);
		strcat(req, one);
	}
	say(fd, req);
	for (int i = 100; i < 170; i++) {
		char want[256];

		sprintf(want, JSON("3", "%d") NOTHING, i);
		hear(fd, want);
	}
	cr_assert(quiet(fd));
	close(fd);
	stop();
}

Test(server, eleventh_client_is_told)
{
	int fd[11];
	char c;

	start();
	for (int i = 0; i < 10; i++) {
		fd[i] = dial();
		say(fd[i], "GET / HTTP/1.1\r\n\r\n");
		hear(fd[i], NOTHING);
	}
	fd[10] = dial();
	hear(fd[10], "HTTP/1.1 503\r\nServer: Firecracker API\r\nConnection: close\r\n"
		     "Content-Length: 40\r\n\r\n{ \"error\": \"Too many open connections\" }");
	cr_assert(read(fd[10], &c, 1) == 0);
	close(fd[10]);
	/* a place that was given up is free again */
	close(fd[3]);
	fd[3] = -1;
	for (int i = 0; i < 50 && fd[3] < 0; i++) {
		usleep(2000);
		fd[3] = dial();
		say(fd[3], "GET / HTTP/1.1\r\n\r\n");
		cr_assert(read(fd[3], &c, 1) == 1);
	}
	for (int i = 0; i < 10; i++)
		close(fd[i]);
	stop();
}

/* One client asks without end and never reads; the other nine places work as before. */
Test(server, a_client_that_never_reads_stops_only_itself)
{
	static const char req[] = "GET /big HTTP/1.1\r\n\r\n";
	int deaf, fd, sent = 0, big = 4096;
	char buf[65536];
	size_t total = 0, expected;

	start();
	deaf = dial();
	setsockopt(deaf, SOL_SOCKET, SO_SNDBUF, &big, sizeof(big));
	fcntl(deaf, F_SETFL, O_NONBLOCK);
	for (int tries = 0; tries < 20; tries++) {
		while (write(deaf, req, sizeof(req) - 1) == (ssize_t)sizeof(req) - 1)
			sent++;
		usleep(1000);
	}
	cr_assert(sent > 2 && errno == EAGAIN);
	fd = dial();
	for (int i = 0; i < 100; i++) {
		say(fd, "PUT / HTTP/1.1\r\nContent-Length: 1\r\n\r\nx");
		hear(fd, JSON("1", "x"));
	}
	close(fd);
	/* when it reads at last, nothing is lost or torn */
	fcntl(deaf, F_SETFL, 0);
	expected = (size_t)sent * (strlen(JSON("262144", "")) + REPLY_MAX);
	cr_assert(REPLY_MAX == 262144);
	while (total < expected) {
		ssize_t n = read(deaf, buf, sizeof(buf));

		cr_assert(n > 0);
		total += (size_t)n;
	}
	cr_assert(total == expected && quiet(deaf));
	close(deaf);
	stop();
}

Test(server, largest_body_and_one_more)
{
	static char req[60000], body[51201];
	char head[256];
	size_t n = 0, len;
	int fd;

	start();
	fd = dial();
	memset(body, 'z', sizeof(body) - 1);
	len = (size_t)sprintf(req, "PUT / HTTP/1.1\r\nContent-Length: 51200\r\n\r\n%s", body);
	cr_assert(write(fd, req, len) == (ssize_t)len);
	hear(fd, JSON("51200", ""));
	while (n < 51200) {
		ssize_t r = read(fd, req, 51200 - n);

		cr_assert(r > 0 && req[0] == 'z' && req[r - 1] == 'z');
		n += (size_t)r;
	}
	len = (size_t)sprintf(req, "PUT / HTTP/1.1\r\nContent-Length: 51201\r\n\r\nz%s", body);
	cr_assert(write(fd, req, len) == (ssize_t)len);
	sprintf(head, HEAD("400") "Content-Type: application/json\r\nContent-Length: 149\r\n\r\n");
	hear(fd, head);
	hear(fd, "{ \"error\": \"Request payload with size 51201 is larger than the limit of 51200 "
		 "allowed by server.\nAll previous unanswered requests will be dropped.\" }");
	say(fd, "GET / HTTP/1.1\r\n\r\n");
	hear(fd, NOTHING);
	close(fd);
	stop();
}

Test(server, busy_socket_is_refused)
{
	struct server *second = NULL;
	struct err e;
	char want[256];
	int fd;

	start();
	cr_assert(open_server(&second, &e) == -EADDRINUSE);
	snprintf(want, sizeof(want),
		 "Failed to open the API socket at: %s. Check that it is not already used.", path);
	cr_assert_str_eq(e.msg, want);
	/* and the first one lives on */
	fd = dial();
	say(fd, "GET / HTTP/1.1\r\n\r\n");
	hear(fd, NOTHING);
	close(fd);
	stop();
}

Test(server, stale_socket_is_replaced)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int old = socket(AF_UNIX, SOCK_STREAM, 0), fd;

	strcpy(a.sun_path, path);
	cr_assert(!bind(old, (struct sockaddr *)&a, sizeof(a)));
	close(old);
	start();
	fd = dial();
	cr_assert(fd >= 0);
	close(fd);
	stop();
}

Test(server, other_files_are_left_alone)
{
	struct server *s = NULL;
	struct stat st;
	struct err e;
	int fd = open(path, O_CREAT | O_WRONLY, 0600);

	cr_assert(write(fd, "x", 1) == 1);
	close(fd);
	cr_assert(open_server(&s, &e) == -EADDRINUSE);
	cr_assert(!stat(path, &st) && S_ISREG(st.st_mode) && st.st_size == 1);
	unlink(path);
}

Test(server, somebody_elses_socket_is_not_unlinked)
{
	struct stat st;
	int fd;

	start();
	unlink(path);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	close(fd);
	stop();
	cr_assert(!stat(path, &st));
	unlink(path);
}

Test(server, path_errors)
{
	struct server *s = NULL;
	struct err e;

	snprintf(path, sizeof(path), "%s/none/api", dir);
	cr_assert(open_server(&s, &e) == -ENOENT);
	cr_assert(strstr(e.msg, "Failed to open the API socket at: /tmp/mote-unit-"), "%s", e.msg);
	cr_assert(strstr(e.msg, "No such file or directory"), "%s", e.msg);
}

Test(server, path_length)
{
	static char longest[109];
	struct server_config config = {
		.payload_max = 1, .loop = loop, .handle = echo, .path = longest
	};
	struct server *s = NULL;
	struct err e = { 0 };
	size_t n;

	/* 107 bytes fit exactly; its temporary name would not, so it is bound in place */
	n = (size_t)snprintf(longest, sizeof(longest), "%s/", dir);
	memset(longest + n, 's', 107 - n);
	longest[107] = '\0';
	cr_assert(!server_open(&s, &config, &e), "%s", e.msg);
	server_close(s);
	longest[107] = 's';
	cr_assert(server_open(&s, &config, &e) == -ENAMETOOLONG);
	cr_assert(
		strstr(e.msg, "The API socket path has 108 bytes, a socket address holds 1 to 107"),
		"%s", e.msg);
}
