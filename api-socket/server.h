/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server.h - the API socket: an AF_UNIX listener and at most SERVER_CONNS_MAX connections.
 *
 * Everything runs on the loop thread and nothing blocks: one event reads at most one buffer from
 * one client, and a client whose replies are not taken is not read from until it takes them, so a
 * slow client holds up only itself. All memory is reserved in server_open; none is allocated later,
 * and pages that a large body or reply touched are given back.
 */
#pragma once

#include <stddef.h>

#include "api-socket/http.h"
#include "api-socket/reply.h"
#include "base/err.h"
#include "base/loop.h"

/* As many as Firecracker takes; the next one is told 503 and closed. */
#define SERVER_CONNS_MAX 10

struct server;

/* What a handler answers; @body is its room to write into, NUL terminators are not needed. */
struct server_reply {
	int status;	 /* 200, 204, 400, 500 */
	bool deprecated; /* add "Deprecation: true" */
	bool prometheus; /* the body is text in Prometheus' format instead of JSON */
	char *body;	 /* REPLY_MAX bytes */
	size_t body_len;
};

typedef void (*server_fn)(void *ctx, const struct http_request *req, struct server_reply *reply);

struct server_config {
	const char *path;   /* socket to create */
	size_t payload_max; /* bytes of request body, 1 to SERVER_PAYLOAD_LIMIT */
	struct loop *loop;
	server_fn handle; /* called once per request, must not block */
	void *ctx;
};

/* Ten buffers of this size are reserved (not touched) at start. */
#define SERVER_PAYLOAD_LIMIT (1u << 30)

/*
 * server_open - create the socket and listen on it.
 * The socket is bound under a temporary name beside @path and then moved there, so that a client
 * that sees it can connect. A socket file at @path that nobody listens on is replaced; one with
 * an owner, or a file that is no socket, is refused. One server per process.
 * Errors: EADDRINUSE, ENAMETOOLONG, ENOMEM, or the errno of socket, bind, listen.
 */
int server_open(struct server **out, const struct server_config *c, struct err *e);

/* server_close - drop all connections, unlink the socket if it is still ours. NULL is allowed. */
void server_close(struct server *s);
