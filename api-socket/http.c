/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http.c - see http.h. Two steps: lines are collected whole into p->line, then judged whole; so the
 * result cannot depend on how the stream was cut. RFC 9112 sections 2.2, 3, 5, 6.
 *
 * Where RFC 9112 lets a peer hide one request in another (two different lengths, white space
 * before a colon, folded lines, control characters in values) the request is refused.
 */
#include "api-socket/http.h"

#include <string.h>

#include "api-socket/http_text.h"
#include "base/text.h"

enum state { ST_LINE, ST_HEADERS, ST_BODY };

static const struct {
	char name[8];
	char word[8];
} methods[] = {
	[HTTP_GET] = { "GET", "Get" },
	[HTTP_PUT] = { "PUT", "Put" },
	[HTTP_PATCH] = { "PATCH", "Patch" },
	[HTTP_DELETE] = { "DELETE", "Delete" },
};

#define NR_METHODS (sizeof(methods) / sizeof(methods[0]))

const char *http_method_name(enum http_method m)
{
	return methods[m].name;
}

const char *http_method_word(enum http_method m)
{
	return methods[m].word;
}

static void error_text(struct http_parser *p, const char *text)
{
	size_t n = strlen(text);

	if (n > sizeof(p->error) - p->error_len)
		n = sizeof(p->error) - p->error_len;
	memcpy(p->error + p->error_len, text, n);
	p->error_len += n;
}

/*
 * Input quoted in an error. Quotes and control characters are escaped, so that a client cannot
 * make us answer with an object of its own; bytes that are no UTF-8 become U+FFFD.
 */
static void error_quote(struct http_parser *p, struct span a)
{
	size_t i = 0;

	while (i < a.len) {
		int n = utf8_char((const unsigned char *)a.s + i, a.len - i);
		unsigned char c = (unsigned char)a.s[i];
		char buf[8];

		if (n <= 0)
			text_print(buf, sizeof(buf), "\xef\xbf\xbd");
		else if (c < 0x20 || c == 0x7f)
			text_print(buf, sizeof(buf), "\\u%04x", c);
		else if (c == '"' || c == '\\')
			text_print(buf, sizeof(buf), "\\%c", c);
		else
			text_print(buf, sizeof(buf), "%.*s", n, a.s + i);
		error_text(p, buf);
		i += n > 0 ? (size_t)n : 1;
	}
}

/*
 * Compose p->error. @text may hold one or two '^', where @a and @b are quoted. The raw newline
 * inside the JSON string is part of the wire format: clients compare these bodies byte for byte.
 */
static enum http_event bad(struct http_parser *p, const char *text, struct span a, struct span b)
{
	const char *at;

	p->error_len = 0;
	error_text(p, "{ \"error\": \"");
	for (; (at = strchr(text, '^')); text = at + 1) {
		char piece[128];

		text_print(piece, sizeof(piece), "%.*s", (int)(at - text), text);
		error_text(p, piece);
		error_quote(p, a);
		a = b;
	}
	error_text(p, text);
	error_text(p, "\nAll previous unanswered requests will be dropped.\" }");
	p->skip = true;
	return HTTP_BAD;
}

static const struct span no_span = { "", 0 };

/* The absolute path of a URI: all of "/x", "/x" of "http://host/x", else nothing. */
static struct span uri_path(struct span uri)
{
	static const char scheme[] = "http://";
	const size_t n = sizeof(scheme) - 1;

	if (uri.len >= n && !memcmp(uri.s, scheme, n)) {
		const char *slash = memchr(uri.s + n, '/', uri.len - n);
		if (!slash)
			return no_span;
		return (struct span){ slash, uri.len - (size_t)(slash - uri.s) };
	}
	return uri.len && uri.s[0] == '/' ? uri : no_span;
}

/* Judge a request line; on success p->req describes it. Returns NULL or the error text. */
static const char *parse_request_line(struct http_parser *p, struct span line)
{
	struct span method, uri, path;
	size_t m;
	int why;

	if (!span_cut(&line, ' ', &method) || !span_cut(&line, ' ', &uri))
		return "Invalid request.";
	for (m = 0; m < NR_METHODS && !span_is(method, methods[m].name); m++)
		;
	if (m == NR_METHODS)
		return "Invalid HTTP Method: Unsupported HTTP method.";
	if (!uri.len)
		return "Invalid URI: Empty URI not allowed.";
	if (utf8_scan(uri, &why) != uri.len)
		return "Invalid URI: Cannot parse URI as UTF-8.";
	if (!span_is(line, "HTTP/1.1") && !span_is(line, "HTTP/1.0"))
		return "Invalid HTTP Version: Unsupported HTTP version.";

	path = uri_path(uri);
	memcpy(p->uri, path.s, path.len);
	p->req = (struct http_request){ .method = (enum http_method)m,
					.path = p->uri,
					.path_len = path.len };
	p->content_length = 0;
	p->seen_length = false;
	p->expect = false;
	p->skip = false;
	return NULL;
}

/* Digits only: RFC 9110, 8.6. A sign, a list or a value beyond 32 bits is refused. */
static bool parse_length(struct span v, uint32_t *out)
{
	uint64_t n = 0;
	size_t i;

	for (i = 0; i < v.len; i++) {
		if (v.s[i] < '0' || v.s[i] > '9')
			return false;
		n = n * 10 + (uint64_t)(v.s[i] - '0');
		if (n > UINT32_MAX)
			return false;
	}
	*out = (uint32_t)n;
	return v.len > 0;
}

#define BAD_VALUE  "Invalid header. Reason: Invalid value. Key:^; Value:^"
#define BAD_FORMAT "Invalid header. Reason: Header is incorrectly formatted. Key: ^"

/* A list of codings that rules out sending a body as it is. */
static enum http_event header_accept_encoding(struct http_parser *p, struct span value)
{
	static const char key[] = "Accept-Encoding";
	const struct span all = value = span_trim(value);
	struct span item;
	bool last;

	if (!all.len)
		return bad(p, "Invalid request.", no_span, no_span);
	do {
		last = !span_cut(&value, ',', &item);
		if (last)
			item = value;
		if (span_is(span_trim(item), "identity;q=0") ||
		    (span_is(span_trim(item), "*;q=0") && !span_has(all, "identity")))
			return bad(p, BAD_VALUE, (struct span){ key, sizeof(key) - 1 }, item);
	} while (!last);
	return HTTP_MORE;
}

static enum http_event header_length(struct http_parser *p, struct span name, struct span value)
{
	uint32_t n;

	/* Two lengths that differ would let two readers see two different requests. */
	if (!parse_length(span_trim(value), &n) || (p->seen_length && n != p->content_length))
		return bad(p, BAD_VALUE, name, value);
	p->content_length = n;
	p->seen_length = true;
	return HTTP_MORE;
}

/* One header line; HTTP_MORE when it is in order or does not matter. */
static enum http_event parse_header(struct http_parser *p, struct span line)
{
	struct span value = line, name;
	size_t i, at;
	int why = 1;

	at = utf8_scan(line, &why);
	if (at != line.len) {
		char num[64];
		struct text t = text_init(num, sizeof(num));

		if (why)
			text_format(&t, "invalid utf-8 sequence of %d bytes", -why);
		else
			text_str(&t, "incomplete utf-8 byte sequence");
		text_format(&t, " from index %zu", at);
		return bad(p, "Invalid header. Reason: Header contains invalid characters. Key: ^",
			   (struct span){ num, t.len }, no_span);
	}
	if (!span_cut(&value, ':', &name))
		return bad(p, BAD_FORMAT, line, no_span);
	if (!span_is_token(name))
		return bad(p, BAD_FORMAT, name, no_span);
	for (i = 0; i < value.len; i++) {
		unsigned char c = (unsigned char)value.s[i];

		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return bad(p, BAD_FORMAT, name, no_span);
	}
	if (span_is_nocase(name, "content-length"))
		return header_length(p, name, value);
	if (span_is_nocase(name, "accept-encoding"))
		return header_accept_encoding(p, value);
	if (span_is_nocase(name, "expect") && span_is(span_trim(value), "100-continue"))
		p->expect = true;
	return HTTP_MORE;
}

static enum http_event request_ready(struct http_parser *p)
{
	p->state = ST_LINE;
	if (p->skip) {
		p->skip = false;
		return HTTP_MORE;
	}
	if (p->content_length) {
		p->req.body = p->body;
		p->req.body_len = p->content_length;
	}
	return HTTP_REQUEST;
}

/* The empty line: either the request is complete or a body follows. */
static enum http_event headers_end(struct http_parser *p)
{
	p->body_got = 0;
	if (!p->content_length)
		return request_ready(p);
	p->state = ST_BODY;
	if (p->skip)
		return HTTP_MORE;
	if (p->content_length > p->body_max) {
		char text[160];

		text_print(
			text, sizeof(text),
			"Request payload with size %u is larger than the limit of %zu allowed by server.",
			p->content_length, p->body_max);
		return bad(p, text, no_span, no_span);
	}
	return p->expect ? HTTP_CONTINUE : HTTP_MORE;
}

static enum http_event take_line(struct http_parser *p, struct span line)
{
	const char *text;

	if (p->overlong) {
		p->overlong = false;
		return HTTP_MORE;
	}
	if (p->state == ST_HEADERS) {
		if (!line.len)
			return headers_end(p);
		if (!p->skip)
			return parse_header(p, line);
	}
	/* A new request, also where the client gave up a refused one half-way. */
	text = parse_request_line(p, line);
	if (!text) {
		p->state = ST_HEADERS;
		return HTTP_MORE;
	}
	if (p->state == ST_HEADERS) {
		/* What is skipped still has a length; its errors were answered once. */
		parse_header(p, line);
		return HTTP_MORE;
	}
	p->state = ST_HEADERS;
	p->content_length = 0;
	p->seen_length = false;
	return bad(p, text, no_span, no_span);
}

/* A line that does not fit: its last byte may be the CR of its end, the rest is dropped. */
static enum http_event line_overlong(struct http_parser *p)
{
	const struct span line = { p->line, p->line_len };
	enum http_event ev = HTTP_MORE;

	if (p->state == ST_LINE) {
		p->state = ST_HEADERS;
		p->content_length = 0;
		p->seen_length = false;
		ev = bad(p, "Invalid request.", no_span, no_span);
	} else if (!p->skip) {
		ev = bad(p, "Invalid header. Reason: Invalid content length. Header: ^", line,
			 no_span);
	}
	p->overlong = true;
	p->line[0] = p->line[p->line_len - 1];
	p->line_len = 1;
	return ev;
}

/* Collect up to one line end out of @in. */
static enum http_event feed_line(struct http_parser *p, struct span *in)
{
	const char *lf;
	size_t n = sizeof(p->line) - p->line_len;

	if (n > in->len)
		n = in->len;
	lf = memchr(in->s, '\n', n);
	if (lf)
		n = (size_t)(lf - in->s) + 1;
	memcpy(p->line + p->line_len, in->s, n);
	p->line_len += n;
	in->s += n;
	in->len -= n;

	/* A lone LF does not end a line. */
	if (lf && p->line_len >= 2 && p->line[p->line_len - 2] == '\r') {
		n = p->line_len - 2;
		p->line_len = 0;
		return take_line(p, (struct span){ p->line, n });
	}
	return p->line_len == sizeof(p->line) ? line_overlong(p) : HTTP_MORE;
}

static enum http_event feed_body(struct http_parser *p, struct span *in)
{
	size_t n = p->content_length - p->body_got;

	if (n > in->len)
		n = in->len;
	if (!p->skip)
		memcpy(p->body + p->body_got, in->s, n);
	p->body_got += (uint32_t)n;
	in->s += n;
	in->len -= n;
	return p->body_got == p->content_length ? request_ready(p) : HTTP_MORE;
}

void http_init(struct http_parser *p, char *body, size_t body_max)
{
	/* only what is read before it is written: the arrays stay untouched pages */
	p->state = ST_LINE;
	p->skip = false;
	p->overlong = false;
	p->line_len = 0;
	p->error_len = 0;
	p->body = body;
	p->body_max = body_max;
	p->body_got = 0;
	p->req = (struct http_request){ 0 };
}

enum http_event http_feed(struct http_parser *p, const char *data, size_t len, size_t *used)
{
	struct span in = { data, len };
	enum http_event ev = HTTP_MORE;

	while (in.len && ev == HTTP_MORE)
		ev = p->state == ST_BODY ? feed_body(p, &in) : feed_line(p, &in);
	*used = len - in.len;
	return ev;
}

const char *http_reason(int status)
{
	switch (status) {
	case 100:
		return "Continue";
	case 200:
		return "OK";
	case 204:
		return "No Content";
	case 400:
		return "Bad Request";
	default:
		return "Internal Server Error";
	}
}

size_t http_head(char *buf, int status, bool deprecated, size_t body_len)
{
	return http_head_typed(buf, status, deprecated, HTTP_TYPE_JSON, body_len);
}

size_t http_head_typed(char *buf, int status, bool deprecated, const char *type, size_t body_len)
{
	struct text t = text_init(buf, HTTP_HEAD_MAX);

	text_format(&t, "HTTP/1.1 %d \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n%s",
		    status, deprecated ? "Deprecation: true\r\n" : "");

	if (status != 100 && status != 204)
		text_format(&t, "Content-Type: %s\r\nContent-Length: %zu\r\n", type, body_len);
	text_str(&t, "\r\n");
	return t.len;
}
