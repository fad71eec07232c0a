/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_http.c - any byte stream through the HTTP parser, twice: whole, and cut into pieces whose
 * size the first byte chooses. Both must tell the same story.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api-socket/http.h"

#define BODY_MAX 256

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			fprintf(stderr, "violated: %s\n", #cond);                                  \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

static struct http_parser parser;
static char body[BODY_MAX];

/* FNV-1a over all that an event says. */
static uint64_t mix(uint64_t hash, const void *data, size_t len)
{
	const uint8_t *p = data;

	while (len--)
		hash = (hash ^ *p++) * 0x100000001b3ULL;
	return hash;
}

static uint64_t tell(uint64_t hash, enum http_event ev)
{
	const struct http_request *req = &parser.req;

	hash = mix(hash, &ev, sizeof(ev));
	if (ev == HTTP_BAD) {
		CHECK(parser.error_len > 2 && parser.error_len <= sizeof(parser.error));
		CHECK(!memcmp(parser.error + parser.error_len - 3, "\" }", 3));
		CHECK(http_utf8_bad(parser.error, parser.error_len) == parser.error_len);
		return mix(hash, parser.error, parser.error_len);
	}
	if (ev == HTTP_CONTINUE)
		return hash;
	CHECK(req->path_len < HTTP_LINE_MAX && (!req->path_len || req->path[0] == '/'));
	CHECK(http_utf8_bad(req->path, req->path_len) == req->path_len);
	CHECK(req->body_len <= BODY_MAX && !req->body == !req->body_len);
	hash = mix(hash, &req->method, sizeof(req->method));
	hash = mix(hash, req->path, req->path_len);
	return mix(hash, req->body, req->body_len);
}

static uint64_t story(const char *in, size_t len, size_t step)
{
	uint64_t hash = 0xcbf29ce484222325ULL;
	size_t at = 0;

	http_init(&parser, body, sizeof(body));
	while (at < len) {
		const size_t end = len - at < step ? len : at + step;

		while (at < end) {
			size_t used;
			enum http_event ev = http_feed(&parser, in + at, end - at, &used);

			CHECK(used <= end - at && (used || ev != HTTP_MORE));
			at += used;
			if (ev != HTTP_MORE)
				hash = tell(hash, ev);
		}
	}
	return hash;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *in = (const char *)data;

	if (size < 2)
		return 0;
	CHECK(story(in + 1, size - 1, size) == story(in + 1, size - 1, 1 + data[0] % 64));
	return 0;
}
