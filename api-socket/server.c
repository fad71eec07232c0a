/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server.c - connections and their buffers; see server.h. How the socket comes to its name is in
 * socket.c. Loop thread.
 */
#include "api-socket/server.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api-socket/socket.h"
#include "base/assert.h"
#include "base/fd.h"

/* Buffers begin at multiples of the largest page any kernel uses (arm64), to be given back. */
#define PAGE_MAX 65536u

/* One read. Bounds what one event costs: at most this many bytes of requests are answered in it. */
#define IN_MAX 4096u

/* Head and body of one reply; the next request is not looked at before it was taken. */
#define OUT_MAX (HTTP_HEAD_MAX + REPLY_MAX)

/* Requests and replies above this size give their pages back. */
#define KEEP_MAX 16384u

struct conn {
	struct watch watch; /* fd is -1 when the slot is free */
	struct server *server;
	size_t in_pos, in_len;	    /* what of @in is not parsed yet */
	size_t out_pos, out_len;    /* what of @out is not sent yet */
	struct http_parser *parser; /* in the reservation, as the buffers: touched by use only */
	char *in;
	char *body;
	char *out;
};

struct server {
	struct watch listener;
	struct server_config config;
	struct socket_name name;
	size_t map_len;
	struct conn conn[SERVER_CONNS_MAX];
};

/*
 * What the eleventh client is told; byte for byte what clients know from Firecracker.
 */
static const char server_full[] = "HTTP/1.1 503\r\nServer: Firecracker API\r\n"
				  "Connection: close\r\nContent-Length: 40\r\n\r\n"
				  "{ \"error\": \"Too many open connections\" }";

static size_t pages(size_t len)
{
	return (len + PAGE_MAX - 1) & ~(size_t)(PAGE_MAX - 1);
}

/* The buffers are page-aligned and private: their pages go back, the reservation stays. */
static void conn_trim(struct conn *c)
{
	madvise(c->body, pages(c->server->config.payload_max) + pages(OUT_MAX), MADV_DONTNEED);
}

static void conn_close(struct conn *c)
{
	struct server *s = c->server;

	if (c->watch.fd < 0)
		return;
	loop_del(s->config.loop, &c->watch);
	fd_close(&c->watch.fd);
	if (c->parser->body_got > KEEP_MAX || c->out_len > KEEP_MAX)
		conn_trim(c);
	loop_mod(s->config.loop, &s->listener, EPOLLIN);
}

/* With sendmsg, which back ends need too: each call more is one more that filters must allow. */
static ssize_t send_some(int fd, struct iovec what)
{
	struct msghdr msg = { .msg_iov = &what, .msg_iovlen = 1 };

	return sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Send what is left. False when the connection is gone. */
static bool conn_flush(struct conn *c)
{
	while (c->out_pos < c->out_len) {
		struct iovec rest = { c->out + c->out_pos, c->out_len - c->out_pos };
		ssize_t n = send_some(c->watch.fd, rest);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return true;
		if (n < 0) {
			conn_close(c);
			return false;
		}
		c->out_pos += (size_t)n;
	}
	if (c->out_len > KEEP_MAX)
		conn_trim(c);
	c->out_pos = 0;
	c->out_len = 0;
	return true;
}

/* Put the head in front of a body that stands at out + HTTP_HEAD_MAX. */
static void conn_reply(struct conn *c, const struct server_reply *r)
{
	char head[HTTP_HEAD_MAX];
	const size_t body_len = r->body_len;
	size_t head_len =
		http_head_typed(head, r->status, r->deprecated,
				r->prometheus ? HTTP_TYPE_PROMETHEUS : HTTP_TYPE_JSON, body_len);

	assert(c->out_len == 0 && body_len <= REPLY_MAX);
	c->out_pos = HTTP_HEAD_MAX - head_len;
	c->out_len = HTTP_HEAD_MAX + body_len;
	memcpy(c->out + c->out_pos, head, head_len);
}

static void conn_request(struct conn *c)
{
	const struct server_config *conf = &c->server->config;
	struct server_reply reply = { .status = 500, .body = c->out + HTTP_HEAD_MAX };

	conf->handle(conf->ctx, &c->parser->req, &reply);
	if (c->parser->req.body_len > KEEP_MAX)
		madvise(c->body, pages(conf->payload_max), MADV_DONTNEED);
	conn_reply(c, &reply);
}

/* Parse and answer until input or room for replies ends. */
static void conn_run(struct conn *c)
{
	while (c->in_pos < c->in_len && !c->out_len) {
		struct http_parser *p = c->parser;
		size_t used;

		switch (http_feed(p, c->in + c->in_pos, c->in_len - c->in_pos, &used)) {
		case HTTP_MORE:
			break;
		case HTTP_REQUEST:
			conn_request(c);
			break;
		case HTTP_CONTINUE:
			conn_reply(c, &(struct server_reply){ .status = 100 });
			break;
		case HTTP_BAD:
			memcpy(c->out + HTTP_HEAD_MAX, p->error, p->error_len);
			conn_reply(c, &(struct server_reply){ .status = 400,
							      .body_len = p->error_len });
			break;
		}
		c->in_pos += used;
		if (!conn_flush(c))
			return;
	}
	/* A client that does not take its reply is not read from: it waits, nobody else does. */
	loop_mod(c->server->config.loop, &c->watch, c->out_len ? EPOLLOUT : EPOLLIN);
}

static void conn_event(void *ctx, uint32_t events)
{
	struct conn *c = ctx;

	if (c->out_len) {
		if (!(events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) || !conn_flush(c) || c->out_len)
			return;
	} else {
		ssize_t n = read(c->watch.fd, c->in, IN_MAX);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			conn_close(c);
			return;
		}
		c->in_pos = 0;
		c->in_len = (size_t)n;
	}
	conn_run(c);
}

static void conn_open(struct server *s, struct conn *c, int fd)
{
	struct err e;

	c->watch = (struct watch){ .fd = fd, .events = EPOLLIN, .fn = conn_event, .ctx = c };
	c->in_pos = 0;
	c->in_len = 0;
	c->out_pos = 0;
	c->out_len = 0;
	http_init(c->parser, c->body, s->config.payload_max);
	if (loop_add(s->config.loop, &c->watch, &e))
		conn_close(c);
}

static void listener_event(void *ctx, uint32_t events)
{
	struct server *s = ctx;
	int fd = accept4(s->listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	bool any = false;
	size_t i;

	(void)events;
	for (i = 0; i < SERVER_CONNS_MAX; i++) {
		if (s->conn[i].watch.fd >= 0) {
			any = true;
		} else if (fd >= 0) {
			conn_open(s, &s->conn[i], fd);
			return;
		}
	}
	if (fd >= 0) {
		union {
			const char *text; /* cppcheck-suppress unusedStructMember ; .base is it */
			void *base;	  /* not const, since struct iovec is also for reading */
		} full = { .text = server_full };

		send_some(fd, (struct iovec){ full.base, sizeof(server_full) - 1 });
		fd_close(&fd);
	} else if ((errno == EMFILE || errno == ENFILE) && any) {
		/* The client stays in the queue; without this the loop would spin on it. */
		loop_mod(s->config.loop, &s->listener, 0);
	}
}

/* One reservation for everything; only pages that are used become memory. NULL without memory. */
static struct server *server_map(const struct server_config *config, struct err *e)
{
	const size_t parser = sizeof(struct http_parser), body = pages(config->payload_max);
	const size_t each = pages(parser + IN_MAX) + body + pages(OUT_MAX);
	const size_t len = pages(sizeof(struct server)) + SERVER_CONNS_MAX * each;
	struct server *s = mmap(NULL, len, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	size_t i;

	if (s == MAP_FAILED) {
		err_set(e, errno, "Cannot reserve %zu bytes for API requests", len);
		return NULL;
	}
	s->map_len = len;
	s->config = *config;
	for (i = 0; i < SERVER_CONNS_MAX; i++) {
		struct conn *c = &s->conn[i];
		char *room = (char *)s + pages(sizeof(*s)) + i * each;

		c->server = s;
		c->watch.fd = -1;
		c->parser = (struct http_parser *)(void *)room;
		c->in = room + parser;
		c->body = room + pages(parser + IN_MAX);
		c->out = c->body + body;
	}
	return s;
}

int server_open(struct server **out, const struct server_config *config, struct err *e)
{
	struct server *s;
	int ret;

	assert(config->payload_max && config->payload_max <= SERVER_PAYLOAD_LIMIT);
	s = server_map(config, e);
	if (!s)
		return -ENOMEM;
	ret = socket_listen(&s->name, config->path, &s->listener.fd, e);
	if (ret)
		goto unmap;
	s->listener.events = EPOLLIN;
	s->listener.fn = listener_event;
	s->listener.ctx = s;
	ret = loop_add(config->loop, &s->listener, e);
	if (ret) {
		socket_unlink(&s->name);
		fd_close(&s->listener.fd);
		goto unmap;
	}
	*out = s;
	return 0;
unmap:
	munmap(s, s->map_len);
	return ret;
}

void server_close(struct server *s)
{
	size_t i;

	if (!s)
		return;
	loop_del(s->config.loop, &s->listener);
	/* First the name, then the listener: nobody meets a socket that refuses. */
	socket_unlink(&s->name);
	fd_close(&s->listener.fd);
	for (i = 0; i < SERVER_CONNS_MAX; i++) {
		struct conn *c = &s->conn[i];

		if (c->watch.fd >= 0) {
			loop_del(s->config.loop, &c->watch);
			fd_close(&c->watch.fd);
		}
	}
	munmap(s, s->map_len);
}
