/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_story.c - the HTTP parser as a function for tests/fuzz/http_diff.py: bytes in, what happened out.
 *
 * Each event is a record: kind (enum http_event), the offset in the stream behind it, method, length
 * of path or error text, length of body, then these bytes. Integers are 32 bits in host order.
 */
#include <stdint.h>
#include <string.h>

#include "api-socket/http.h"

#define BODY_MAX 4096

long http_story(const char *in, size_t len, size_t step, char *out, size_t cap);

static size_t put(char *out, size_t cap, size_t n, const void *data, size_t len)
{
	if (n + len <= cap)
		memcpy(out + n, data, len);
	return n + len;
}

/* Returns the length of the records, or -1 when @cap is too small. */
long http_story(const char *in, size_t len, size_t step, char *out, size_t cap)
{
	static struct http_parser p;
	static char body[BODY_MAX];
	size_t at = 0, n = 0;

	http_init(&p, body, sizeof(body));
	while (at < len) {
		const size_t end = len - at < step ? len : at + step;

		while (at < end) {
			size_t used;
			enum http_event ev = http_feed(&p, in + at, end - at, &used);
			const int bad = ev == HTTP_BAD, req = ev == HTTP_REQUEST;
			uint32_t head[5];

			at += used;
			if (ev == HTTP_MORE)
				continue;
			head[0] = (uint32_t)ev;
			head[1] = (uint32_t)at;
			head[2] = req ? (uint32_t)p.req.method : 0;
			head[3] = (uint32_t)(bad ? p.error_len : req ? p.req.path_len : 0);
			head[4] = (uint32_t)(req ? p.req.body_len : 0);
			n = put(out, cap, n, head, sizeof(head));
			n = put(out, cap, n, bad ? p.error : p.req.path, head[3]);
			n = put(out, cap, n, p.req.body, head[4]);
		}
	}
	return n <= cap ? (long)n : -1;
}
