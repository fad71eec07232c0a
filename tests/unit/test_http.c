/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_http.c - the HTTP parser: exact error bodies, every split of the stream, limits, recovery.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "api-socket/http.h"

#define BODY_MAX 64
#define TAIL	 "\nAll previous unanswered requests will be dropped.\" }"

static struct http_parser parser;
static char body_room[BODY_MAX];
static char trace[16384];

/* Everything the parser says about a stream that arrives in pieces of @step bytes, as text. */
static const char *feed(const char *in, size_t len, size_t step)
{
	size_t at = 0, n = 0;

	http_init(&parser, body_room, sizeof(body_room));
	trace[0] = '\0';
	while (at < len) {
		const size_t end = at + step < len ? at + step : len;

		while (at < end) {
			size_t used;
			enum http_event ev = http_feed(&parser, in + at, end - at, &used);

			cr_assert(used <= end - at);
			at += used;
			if (ev == HTTP_MORE)
				cr_assert(at == end);
			else if (ev == HTTP_CONTINUE)
				n += (size_t)sprintf(trace + n, "100;");
			else if (ev == HTTP_BAD)
				n += (size_t)sprintf(trace + n, "%.*s;", (int)parser.error_len,
						     parser.error);
			else
				n += (size_t)sprintf(trace + n, "%s %.*s [%.*s];",
						     http_method_name(parser.req.method),
						     (int)parser.req.path_len, parser.req.path,
						     (int)parser.req.body_len,
						     parser.req.body ? parser.req.body : "");
		}
	}
	return trace;
}

struct row {
	const char *in;
	const char *events;
};

#define ERR(text) "{ \"error\": \"" text TAIL ";"

static const struct row rows[] = {
	{ "GET / HTTP/1.1\r\n\r\n", "GET / [];" },
	{ "GET / HTTP/1.0\r\nHost: x\r\nX-Any: y\r\n\r\n", "GET / [];" },
	{ "DELETE /drives/a HTTP/1.1\r\n\r\n", "DELETE /drives/a [];" },
	{ "GET http://localhost/vm/config HTTP/1.1\r\n\r\n", "GET /vm/config [];" },
	{ "GET http://localhost HTTP/1.1\r\n\r\n", "GET  [];" },
	{ "GET http:// HTTP/1.1\r\n\r\n", "GET  [];" },
	{ "GET home HTTP/1.1\r\n\r\n", "GET  [];" },
	{ "PUT /x HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", "PUT /x [hello];" },
	{ "PUT /x HTTP/1.1\r\ncontent-LENGTH:5\r\n\r\nhello", "PUT /x [hello];" },
	{ "PUT /x HTTP/1.1\r\nContent-Length: 0\r\n\r\n", "PUT /x [];" },
	{ "PUT /x HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi", "PUT /x [hi];" },
	{ "PUT /x HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nhi",
	  "100;PUT /x [hi];" },
	{ "PUT /x HTTP/1.1\r\nContent-Length: 2\r\nExpect: 102-other\r\n\r\nhi", "PUT /x [hi];" },
	{ "PUT /x HTTP/1.1\r\nExpect: 100-continue\r\n\r\n", "PUT /x [];" },
	{ "GET /a HTTP/1.1\r\nConnection: close\r\n\r\nPUT /b HTTP/1.1\r\nContent-Length: 1\r\n\r\n1"
	  "GET /c HTTP/1.1\r\n\r\n",
	  "GET /a [];PUT /b [1];GET /c [];" },
	{ "PUT /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\nAccept: text/html\r\n"
	  "Content-Type: image/png\r\nServer: z\r\nAccept-Encoding: gzip\r\n\r\n",
	  "PUT /x [];" },
	/* request lines */
	{ "POST /x HTTP/1.1\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\n\r\n",
	  ERR("Invalid HTTP Method: Unsupported HTTP method.") "GET / [];" },
	{ "get / HTTP/1.1\r\n\r\n", ERR("Invalid HTTP Method: Unsupported HTTP method.") },
	{ "GET / HTTP/1.2\r\n\r\n", ERR("Invalid HTTP Version: Unsupported HTTP version.") },
	{ "GET / http/1.1\r\n\r\n", ERR("Invalid HTTP Version: Unsupported HTTP version.") },
	{ "GET /a b HTTP/1.1\r\n\r\n", ERR("Invalid HTTP Version: Unsupported HTTP version.") },
	{ "GET  HTTP/1.1\r\n\r\n", ERR("Invalid URI: Empty URI not allowed.") },
	{ "GET /\xff HTTP/1.1\r\n\r\n", ERR("Invalid URI: Cannot parse URI as UTF-8.") },
	{ "GET /\r\n\r\n", ERR("Invalid request.") },
	{ "GARBAGE\r\nGET / HTTP/1.1\r\n\r\n", ERR("Invalid request.") "GET / [];" },
	{ "\r\nGET / HTTP/1.1\r\n\r\n", ERR("Invalid request.") "GET / [];" },
	{ "GET / HTTP/1.1\nHost: x\n\r\n\r\n",
	  ERR("Invalid HTTP Version: Unsupported HTTP version.") },
	/* headers */
	{ "GET / HTTP/1.1\r\nnocolon\r\n\r\n",
	  ERR("Invalid header. Reason: Header is incorrectly formatted. Key: nocolon") },
	{ "GET / HTTP/1.1\r\n folded: x\r\n\r\nGET /b HTTP/1.1\r\n\r\n",
	  ERR("Invalid header. Reason: Header is incorrectly formatted. Key:  folded") "GET /b [];" },
	{ "PUT / HTTP/1.1\r\nContent-Length : 3\r\n\r\n",
	  ERR("Invalid header. Reason: Header is incorrectly formatted. Key: Content-Length ") },
	{ "PUT / HTTP/1.1\r\nX: a\rb\r\n\r\n",
	  ERR("Invalid header. Reason: Header is incorrectly formatted. Key: X") },
	{ "PUT / HTTP/1.1\r\nContent-Length: alpha\r\n\r\n",
	  ERR("Invalid header. Reason: Invalid value. Key:Content-Length; Value: alpha") },
	{ "PUT / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
	  ERR("Invalid header. Reason: Invalid value. Key:Content-Length; Value: -1") },
	{ "PUT / HTTP/1.1\r\nContent-Length: +1\r\n\r\n",
	  ERR("Invalid header. Reason: Invalid value. Key:Content-Length; Value: +1") },
	{ "PUT / HTTP/1.1\r\nContent-Length:\r\n\r\n",
	  ERR("Invalid header. Reason: Invalid value. Key:Content-Length; Value:") },
	{ "PUT / HTTP/1.1\r\nContent-Length: 4294967296\r\n\r\n",
	  ERR("Invalid header. Reason: Invalid value. Key:Content-Length; Value: 4294967296") },
	{ "PUT / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
	  ERR("Invalid header. Reason: Invalid value. Key:Content-Length; Value: 99999999999999999999999") },
	/* two lengths: two readers would see two requests; the first one counts while skipping */
	{ "PUT / HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhiGET / HTTP/1.1\r\n\r\n",
	  ERR("Invalid header. Reason: Invalid value. Key:Content-Length; Value: 3") "GET / [];" },
	{ "GET / HTTP/1.1\r\nAccept-Encoding: identity;q=0\r\n\r\n",
	  ERR("Invalid header. Reason: Invalid value. Key:Accept-Encoding; Value:identity;q=0") },
	{ "GET / HTTP/1.1\r\nAccept-Encoding: gzip, *;q=0\r\n\r\n",
	  ERR("Invalid header. Reason: Invalid value. Key:Accept-Encoding; Value: *;q=0") },
	{ "GET / HTTP/1.1\r\nAccept-Encoding: identity, *;q=0\r\n\r\n", "GET / [];" },
	{ "GET / HTTP/1.1\r\nAccept-Encoding:\r\n\r\n", ERR("Invalid request.") },
	{ "GET / HTTP/1.1\r\nX: \xff\r\n\r\n",
	  ERR("Invalid header. Reason: Header contains invalid characters. Key: "
	      "invalid utf-8 sequence of 1 bytes from index 3") },
	{ "GET / HTTP/1.1\r\nX: \xe2\x82\r\n\r\n",
	  ERR("Invalid header. Reason: Header contains invalid characters. Key: "
	      "incomplete utf-8 byte sequence from index 3") },
	{ "GET / HTTP/1.1\r\nX: \xe2\x82z\r\n\r\n",
	  ERR("Invalid header. Reason: Header contains invalid characters. Key: "
	      "invalid utf-8 sequence of 2 bytes from index 3") },
	{ "GET / HTTP/1.1\r\nX: \xe2\x82\xac\r\n\r\n", "GET / [];" },
	/* quotes in what we quote */
	{ "GET / HTTP/1.1\r\na\"\\\x01\r\n\r\n",
	  ERR("Invalid header. Reason: Header is incorrectly formatted. Key: a\\\"\\\\\\u0001") },
	/* one reply per bad request, however many faults it has; then its body is skipped */
	{ "PUT / HTTP/1.1\r\nbad\r\nworse\r\nContent-Length: 4\r\n\r\nGET GET /b HTTP/1.1\r\n\r\n",
	  ERR("Invalid header. Reason: Header is incorrectly formatted. Key: bad") "GET /b [];" },
	/* payload limit: BODY_MAX */
	{ "PUT / HTTP/1.1\r\nContent-Length: 65\r\n\r\n"
	  "01234567890123456789012345678901234567890123456789012345678901234GET /b HTTP/1.1\r\n\r\n",
	  ERR("Request payload with size 65 is larger than the limit of 64 allowed by server.") "GET /b [];" },
	{ "PUT / HTTP/1.1\r\nContent-Length: 64\r\n\r\n"
	  "0123456789012345678901234567890123456789012345678901234567890123",
	  "PUT / [0123456789012345678901234567890123456789012345678901234567890123];" },
};

Test(http, table_at_every_split)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const size_t len = strlen(rows[i].in);

		for (size_t step = 1; step <= len; step++)
			cr_assert_str_eq(feed(rows[i].in, len, step), rows[i].events,
					 "row %zu, pieces of %zu: %s", i, step, trace);
	}
}

/* The two lengths that clients' tests compare. */
Test(http, oversize_body_is_exact)
{
	static char room[51200];
	const char in[] = "PUT / HTTP/1.1\r\nContent-Length: 51201\r\n\r\n";
	char head[HTTP_HEAD_MAX];
	size_t used;

	http_init(&parser, room, sizeof(room));
	cr_assert(http_feed(&parser, in, sizeof(in) - 1, &used) == HTTP_BAD);
	cr_assert(parser.error_len == 149);
	head[http_head(head, 400, false, parser.error_len)] = '\0';
	cr_assert_str_eq(head,
			 "HTTP/1.1 400 \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n"
			 "Content-Type: application/json\r\nContent-Length: 149\r\n\r\n");
}

Test(http, heads)
{
	char head[HTTP_HEAD_MAX];

	head[http_head(head, 204, true, 0)] = '\0';
	cr_assert_str_eq(head,
			 "HTTP/1.1 204 \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n"
			 "Deprecation: true\r\n\r\n");
	head[http_head(head, 100, false, 0)] = '\0';
	cr_assert_str_eq(
		head, "HTTP/1.1 100 \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n\r\n");
	head[http_head(head, 200, false, 7)] = '\0';
	cr_assert_str_eq(head,
			 "HTTP/1.1 200 \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n"
			 "Content-Type: application/json\r\nContent-Length: 7\r\n\r\n");
}

/* A line with its CR LF may have 1024 bytes, not one more; afterwards the connection goes on. */
static void check_line(const char *before, size_t line_len, const char *expected)
{
	static const char after[] = "\r\n\r\nGET /next HTTP/1.1\r\n\r\n";
	char in[3000];
	size_t n = (size_t)sprintf(in, "%s", before), start;
	const char *lf = strrchr(before, '\n');

	start = lf ? (size_t)(lf + 1 - before) : 0;
	while (n - start < line_len - 2)
		in[n++] = 'a';
	if (!start)
		memcpy(in + n - 9, " HTTP/1.1", 9);
	n += (size_t)sprintf(in + n, "%s", after);
	for (size_t step = 1; step < 1100; step += 41) {
		const char *got = feed(in, n, step);
		const size_t want = strlen(expected);

		cr_assert(strlen(got) >= want, "%s", got);
		cr_assert(!strncmp(got, expected, want), "pieces of %zu: %s", step, got);
		cr_assert(strstr(got, ";GET /next [];"), "%s", got);
	}
}

Test(http, line_limit)
{
	check_line("GET /aaa", 1024, "GET /aaaa");
	check_line("GET /aaa", 1025, "{ \"error\": \"Invalid request." TAIL ";GET /next");
	check_line("GET /aaa", 2100, "{ \"error\": \"Invalid request." TAIL ";GET /next");
	check_line("GET /x HTTP/1.1\r\nX: ", 1024, "GET /x [];GET /next");
	check_line("GET /x HTTP/1.1\r\nX: ", 1025,
		   "{ \"error\": \"Invalid header. Reason: Invalid content length. Header: X: aaa");
	check_line("GET /x HTTP/1.1\r\nX: ", 2100,
		   "{ \"error\": \"Invalid header. Reason: Invalid content length. Header: X: aaa");
}

/* The longest error: a line in which every byte takes six. */
Test(http, worst_error_fits)
{
	char in[1100] = "GET / HTTP/1.1\r\n";
	size_t used, n = strlen(in);

	memset(in + n, 1, sizeof(in) - n);
	http_init(&parser, body_room, sizeof(body_room));
	cr_assert(http_feed(&parser, in, sizeof(in), &used) == HTTP_BAD);
	cr_assert(parser.error_len > 6 * 1024 && parser.error_len <= sizeof(parser.error));
	cr_assert(!memcmp(parser.error + parser.error_len - 3, "\" }", 3));
}

Test(http, utf8)
{
	cr_assert(http_utf8_bad("a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 10) == 10);
	cr_assert(http_utf8_bad("\xc0\x80", 2) == 0);
	cr_assert(http_utf8_bad("\xed\xa0\x80", 3) == 0);
	cr_assert(http_utf8_bad("a\xf4\x90\x80\x80", 5) == 1);
	cr_assert(http_utf8_bad("", 0) == 0);
}
