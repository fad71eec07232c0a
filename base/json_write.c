/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_write.c - compact JSON into a bounded buffer (RFC 8259, section 7 for the escapes).
 *
 * Spaceless, like the replies clients compare. May be called on any thread.
 */
#include <errno.h>
#include <string.h>

#include "base/json.h"

/* NOLINTNEXTLINE(readability-non-const-parameter): kept in @w and written through later */
void json_write_init(struct json_writer *w, char *buf, size_t cap)
{
	*w = (struct json_writer){ .buf = buf, .cap = cap };
}

/* All or nothing, so that a text that does not fit never ends inside an escape. */
static void put(struct json_writer *w, const char *p, size_t len)
{
	if (w->overflow || len > w->cap - w->len) {
		w->overflow = true;
		return;
	}
	memcpy(w->buf + w->len, p, len);
	w->len += len;
}

static void put_char(struct json_writer *w, char c)
{
	put(w, &c, 1);
}

static void put_escape(struct json_writer *w, char c)
{
	static const char plain[] = "\b\f\n\r\t\"\\";
	static const char letter[] = "bfnrt\"\\";
	const char *hit = strchr(plain, c);
	char text[6] = "\\u00";

	if (hit) {
		text[1] = letter[hit - plain];
		put(w, text, 2);
		return;
	}
	text[4] = (char)('0' + (c >> 4));
	text[5] = "0123456789abcdef"[c & 15];
	put(w, text, 6);
}

static void put_string(struct json_writer *w, const char *s)
{
	const char *start = s;

	put_char(w, '"');
	for (; *s; s++) {
		if ((unsigned char)*s >= 0x20 && *s != '"' && *s != '\\')
			continue;
		put(w, start, (size_t)(s - start));
		put_escape(w, *s);
		start = s + 1;
	}
	put(w, start, (size_t)(s - start));
	put_char(w, '"');
}

/* What comes before a value. */
static void begin(struct json_writer *w, const char *key)
{
	if (w->comma)
		put_char(w, ',');
	w->comma = true;
	if (key) {
		put_string(w, key);
		put_char(w, ':');
	}
}

void json_write_open(struct json_writer *w, const char *key, char bracket)
{
	begin(w, key);
	put_char(w, bracket);
	w->comma = false;
}

void json_write_close(struct json_writer *w, char bracket)
{
	put_char(w, bracket);
	w->comma = true;
}

void json_write_string(struct json_writer *w, const char *key, const char *s)
{
	begin(w, key);
	put_string(w, s);
}

void json_write_u64(struct json_writer *w, const char *key, uint64_t v)
{
	char text[20]; /* digits of 2^64 - 1 */
	size_t i = sizeof(text);

	begin(w, key);
	do {
		text[--i] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	put(w, text + i, sizeof(text) - i);
}

void json_write_bool(struct json_writer *w, const char *key, bool v)
{
	begin(w, key);
	put(w, v ? "true" : "false", v ? 4 : 5);
}

void json_write_null(struct json_writer *w, const char *key)
{
	begin(w, key);
	put(w, "null", 4);
}

void json_write_span(struct json_writer *w, const struct json_str *key, const struct json_str *s)
{
	begin(w, NULL);
	put_char(w, '"');
	if (key) {
		put(w, key->p, key->len);
		put(w, "\":\"", 3);
	}
	put(w, s->p, s->len);
	put_char(w, '"');
}

long json_write_finish(const struct json_writer *w)
{
	return w->overflow ? -ENOSPC : (long)w->len;
}
