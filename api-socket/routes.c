/* SPDX-License-Identifier: Apache-2.0 */
/*
 * routes.c - the path of a request through its checks, in the order clients know: shape of the
 * request, route, id, state, body, id again, handler. The rows are in route_table.c. Loop thread.
 */
#include "api-socket/routes.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include "api-socket/reply.h"
#include "base/log.h"
#include "base/text.h"

/* A log line is cut at about this length anyway. */
#define LOG_BODY_MAX 1536

/* One request at a time is decoded, so one instance serves all. */
static union decode_out decoded;

/* The next component of a path, without its slashes; false when there is none left. */
static bool next_component(const char **path, size_t *len, const char **out, size_t *out_len)
{
	const char *slash;

	if (!*len)
		return false;
	slash = memchr(*path, '/', *len);
	*out = *path;
	*out_len = slash ? (size_t)(slash - *path) : *len;
	*path += *out_len;
	*len -= *out_len;
	if (slash) {
		(*path)++;
		(*len)--;
	}
	return true;
}

/*
 * Whether @path begins with the components of @pattern. *@rest gets what follows. Components beyond
 * those that a row names are ignored, as clients of Firecracker know it.
 */
static bool path_matches(const char *path, size_t len, const char *pattern,
			 struct http_request *rest)
{
	size_t pattern_len = strlen(pattern);
	const char *want, *have;
	size_t want_len, have_len;

	if (!pattern_len)
		return !len || path[0] == '/';
	while (next_component(&pattern, &pattern_len, &want, &want_len)) {
		if (!next_component(&path, &len, &have, &have_len) || have_len != want_len ||
		    memcmp(have, want, want_len))
			return false;
	}
	rest->path = path;
	rest->path_len = len;
	return true;
}

static void skip_slashes(struct http_request *req)
{
	while (req->path_len && req->path[0] == '/') {
		req->path++;
		req->path_len--;
	}
}

static const struct route *find_route(const struct http_request *req, struct http_request *rest)
{
	size_t i;

	for (i = 0; i < nr_routes; i++) {
		if ((routes[i].methods & (1u << req->method)) &&
		    path_matches(req->path, req->path_len, routes[i].path, rest))
			return &routes[i];
	}
	return NULL;
}

/* Whether a body is there that must not be, or the other way round; for any path. */
static int check_shape(const struct http_request *req, struct err *e)
{
	switch (req->method) {
	case HTTP_GET:
		return req->body ? err_set(e, 0, "GET request cannot have a body.") : 0;
	case HTTP_PUT:
		return req->body ? 0 : err_set(e, 0, "Empty PUT request.");
	case HTTP_PATCH:
		return req->body ? 0 : err_set(e, 0, "Empty PATCH request.");
	default:
		return req->body ? err_set(e, 0, "Empty Delete request.") : 0;
	}
}

/* Unicode blocks without letters and digits, where an id is most likely a slip of the hand. */
static const struct {
	uint32_t first, last;
} no_letters[] = {
	{ 0x80, 0xa9 },	    { 0xab, 0xb1 },	{ 0xb4, 0xb4 },	    { 0xb6, 0xb8 },
	{ 0xbb, 0xbb },	    { 0xbf, 0xbf },	{ 0xd7, 0xd7 },	    { 0xf7, 0xf7 },
	{ 0x2000, 0x206f }, { 0x20a0, 0x20ff }, { 0x2190, 0x245f }, { 0x2500, 0x2bff },
	{ 0x2e00, 0x3004 }, { 0xe000, 0xf8ff }, { 0xfe00, 0xfe6f }, { 0x1f000, 0x1faff },
};

static bool is_letter(uint32_t c)
{
	size_t i;

	if (c < 0x80)
		return c == '_' || (c >= '0' && c <= '9') ||
		       ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
	for (i = 0; i < sizeof(no_letters) / sizeof(no_letters[0]); i++)
		if (c >= no_letters[i].first && c <= no_letters[i].last)
			return false;
	return true;
}

/* An id out of the path (UTF-8 was checked by the parser): not empty, letters, digits and '_'. */
static int take_id(struct http_request *rest, char *id, size_t max, struct err *e)
{
	const char *s = "";
	size_t len = 0, i = 0;

	if (!next_component(&rest->path, &rest->path_len, &s, &len) || !len)
		return err_set(e, 0, "The ID cannot be empty.");
	while (i < len) {
		unsigned char c = (unsigned char)s[i++];
		uint32_t point = c < 0xe0 ? c & 0x1f : c < 0xf0 ? c & 0x0f : c & 0x07;

		if (c < 0x80)
			point = c;
		else
			while (i < len && ((unsigned char)s[i] & 0xc0) == 0x80)
				point = point << 6 | ((unsigned char)s[i++] & 0x3f);
		if (!is_letter(point))
			return err_set(
				e, 0,
				"API Resource IDs can only contain alphanumeric characters and underscores.");
	}
	if (len >= max)
		return err_set(e, 0, "The ID has %zu bytes, at most %zu are supported.", len,
			       max - 1);
	memcpy(id, s, len);
	id[len] = '\0';
	return 0;
}

/* @count: where the request counts, or METRICS_NOT_COUNTED. */
static int dispatch(struct vmm *v, const struct http_request *req, struct server_reply *reply,
		    enum metrics_request *count, struct err *e)
{
	struct http_request path = *req, rest = *req;
	const struct route *r;
	char id[CONFIG_ID_MAX] = "";
	int ret;

	skip_slashes(&path);
	ret = check_shape(req, e);
	if (ret)
		return ret;
	r = find_route(&path, &rest);
	if (!r) {
		const char *first = "";
		size_t len = 0;

		next_component(&path.path, &path.path_len, &first, &len);
		return err_set(e, 0, "Invalid request method and/or path: %s %.*s.",
			       http_method_name(req->method), (int)len, first);
	}
	*count = r->count;
	if (r->has_id) {
		ret = take_id(&rest, id, sizeof(id), e);
		if (ret)
			return ret;
	}
	if (!(r->states & v->state))
		return err_set(
			e, 0, v->state == VMM_NOT_STARTED ? ROUTE_BEFORE_START : ROUTE_AFTER_START);
	if (!r->fn)
		return err_set(e, 0, "%s", r->refusal);
	if (r->body) {
		ret = decode_body(r->body, req->body, req->body_len, &decoded, e);
		if (ret)
			return ret;
	}
	return r->fn(v, &decoded, id, reply, e);
}

/* Text as log readers parse it: quotes, backslashes and controls escaped; cut if long. */
static const char *quote(char *out, size_t max, const char *s, size_t len)
{
	size_t n = 0, i;

	for (i = 0; i < len && n + 12 < max; i++) {
		unsigned char c = (unsigned char)s[i];
		const char *at = strchr("\"\\\n\r\t", c);

		if (c && at) {
			out[n++] = '\\';
			out[n++] = "\"\\nrt"[at - "\"\\\n\r\t"];
		} else if (c < 0x20 || c == 0x7f) {
			n += text_print(out + n, max - n, "\\u{%x}", c);
		} else {
			out[n++] = (char)c;
		}
	}
	text_print(out + n, max - n, "%s", i < len ? "..." : "");
	return out;
}

static bool path_is(const struct http_request *req, const char *path)
{
	return req->path_len == strlen(path) && !memcmp(req->path, path, req->path_len);
}

static void log_request(const struct http_request *req)
{
	char path[256], body[LOG_BODY_MAX];
	const char *word = http_method_word(req->method);

	quote(path, sizeof(path), req->path, req->path_len);
	/* Metadata may hold secrets of the guest's owner; CPU templates are long. */
	if (req->body && path_is(req, "/cpu-config"))
		log_debug("CPU template: \"%s\"",
			  quote(body, sizeof(body), req->body, req->body_len));
	if (!req->body || path_is(req, "/mmds") || path_is(req, "/cpu-config"))
		log_info("The API server received a %s request on \"%s\".", word, path);
	else if (http_utf8_bad(req->body, req->body_len) != req->body_len)
		log_info("The API server received a %s request on \"%s\" with body "
			 "\"inconvertible to UTF-8\".",
			 word, path);
	else
		log_info("The API server received a %s request on \"%s\" with body \"%s\".", word,
			 path, quote(body, sizeof(body), req->body, req->body_len));
}

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

void routes_handle(void *vmm, const struct http_request *req, struct server_reply *reply)
{
	enum metrics_request count = METRICS_NOT_COUNTED;
	const uint64_t start_us = now_us();
	struct err e;
	int ret;

	/*
	 * Lines about requests look as if they came from the thread that others have for the API.
	 */
	log_thread("fc_api");
	log_request(req);
	log_thread("main");
	ret = dispatch(vmm, req, reply, &count, &e);
	log_thread("fc_api");
	if (!ret) {
		reply->status = reply->body_len ? 200 : 204;
		log_info("The request was executed successfully. Status code: %d %s.",
			 reply->status, http_reason(reply->status));
	} else {
		long len = reply_fault(reply->body, REPLY_MAX, e.msg);

		reply->status = 400;
		reply->body_len = len > 0 ? (size_t)len : 0;
		log_error("Received Error. Status code: 400 Bad Request. Message: %s", e.msg);
	}
	log_debug("Total previous API call duration: %llu us.",
		  (unsigned long long)(now_us() - start_us));
	log_thread("main");
	if (reply->deprecated)
		metric_inc(&metrics.deprecated_calls);
	if (count == METRICS_NOT_COUNTED)
		return;
	metric_inc(&metrics.request[count]);
	if (ret && req->method != HTTP_GET)
		metric_inc(&metrics.request[count + 1]);
}
