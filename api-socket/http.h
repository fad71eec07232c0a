/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http.h - HTTP/1.1 as clients of Firecracker meet it: bytes become requests, replies become bytes.
 *
 * No I/O and no allocation; runs on the loop thread. Input is untrusted. The parser takes any
 * split of the byte stream and gives the same events for each of them. RFC 9112 sections 2.2, 3, 5
 * and 6, with the limits and error texts of Firecracker's HTTP library.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A request line or a header line with its CR LF must fit; what clients know from Firecracker. */
#define HTTP_LINE_MAX 1024

/* Worst error object: one line of input, each byte escaped to six, plus the sentence around it. */
#define HTTP_ERROR_MAX (6 * HTTP_LINE_MAX + 512)

/* Room for status line and headers of any reply of ours. */
#define HTTP_HEAD_MAX 256

/* Default of --http-api-max-payload-size. */
#define HTTP_PAYLOAD_MAX_DEFAULT 51200

enum http_method { HTTP_GET, HTTP_PUT, HTTP_PATCH, HTTP_DELETE };

/* http_method_name - "GET"; http_method_word - "Get", as log lines spell it. */
const char *http_method_name(enum http_method m);
const char *http_method_word(enum http_method m);

/* A whole request. Valid until the next http_feed or http_init of its parser. */
struct http_request {
	enum http_method method;
	const char *path; /* absolute path, UTF-8, may hold NUL; "" when the URI has none */
	size_t path_len;
	const char *body; /* NULL when there is none: absent or zero Content-Length */
	size_t body_len;
};

enum http_event {
	HTTP_MORE,     /* everything given was consumed; give more */
	HTTP_REQUEST,  /* parser->req is complete */
	HTTP_CONTINUE, /* the client waits for "100 Continue" before it sends the body */
	HTTP_BAD, /* parser->error holds the body of a 400 reply; the parser finds its way back */
};

/*
 * After HTTP_BAD the rest of the broken request is skipped: its header lines up to the empty line,
 * then as many body bytes as its Content-Length announced. A line that is a valid request line ends
 * the skipping early. So one bad request costs one reply and the connection stays usable.
 */
struct http_parser {
	struct http_request req;
	size_t error_len;

	/* the rest is private */
	uint8_t state;
	bool skip;	  /* headers and body belong to a request that was already refused */
	bool overlong;	  /* the line being collected did not fit and was refused */
	bool seen_length; /* content_length was given by the client */
	bool expect;	  /* Expect: 100-continue was seen */
	uint32_t content_length;
	uint32_t body_got;
	char *body; /* not owned, body_max bytes */
	size_t body_max;
	size_t line_len;
	char line[HTTP_LINE_MAX];
	char uri[HTTP_LINE_MAX];
	char error[HTTP_ERROR_MAX];
};

/*
 * http_init - start at the first byte of a connection.
 * @body: room for @body_max bytes of request body (the payload limit), kept by the caller.
 */
void http_init(struct http_parser *p, char *body, size_t body_max);

/*
 * http_feed - take bytes up to the next event; *@used says how many of @len were consumed.
 * Call again with the rest until HTTP_MORE. Never fails: bad input is an event too.
 */
enum http_event http_feed(struct http_parser *p, const char *data, size_t len, size_t *used);

/*
 * http_head - status line and headers of a reply, up to and with the empty line.
 * @status: 100, 200, 204, 400 or 500. @body_len: bytes of JSON that follow; ignored for 100 and
 * 204, which carry neither Content-Type nor Content-Length. @buf has HTTP_HEAD_MAX bytes. Returns
 * the length.
 */
size_t http_head(char *buf, int status, bool deprecated, size_t body_len);

/* http_head_typed - the same for a body of another type than JSON. */
#define HTTP_TYPE_JSON	     "application/json"
#define HTTP_TYPE_PROMETHEUS "text/plain; version=0.0.4"

size_t http_head_typed(char *buf, int status, bool deprecated, const char *type, size_t body_len);

/* http_reason - "OK", "No Content", "Bad Request": for log lines, never sent. */
const char *http_reason(int status);

/* http_utf8_bad - offset of the first byte that is not UTF-8 in @s, or @len. */
size_t http_utf8_bad(const char *s, size_t len);
