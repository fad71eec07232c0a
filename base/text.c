/* SPDX-License-Identifier: Apache-2.0 */
/*
 * text.c - see text.h. Any thread, also in signal handlers.
 */
#include "base/text.h"

#include <string.h>

/* 2^64 has 20 decimal digits; padding may ask for more than the number has. */
#define DIGITS_MAX 24

void text_bytes(struct text *t, const char *s, size_t len)
{
	if (len > t->cap - t->len) {
		len = t->cap - t->len;
		t->cut = true;
	}
	memcpy(t->buf + t->len, s, len);
	t->len += len;
}

void text_str(struct text *t, const char *s)
{
	text_bytes(t, s, strlen(s));
}

void text_char(struct text *t, char c)
{
	text_bytes(t, &c, 1);
}

static void text_number(struct text *t, uint64_t v, unsigned int base, unsigned int digits)
{
	char s[DIGITS_MAX];
	size_t n = sizeof(s);

	do {
		s[--n] = "0123456789abcdef"[v % base];
		v /= base;
	} while (n > 0 && (v || sizeof(s) - n < digits));
	text_bytes(t, s + n, sizeof(s) - n);
}

void text_u64(struct text *t, uint64_t v, unsigned int digits)
{
	text_number(t, v, 10, digits);
}

void text_i64(struct text *t, int64_t v)
{
	if (v < 0)
		text_char(t, '-');
	text_number(t, v < 0 ? 0 - (uint64_t)v : (uint64_t)v, 10, 1);
}

void text_hex(struct text *t, uint64_t v)
{
	text_number(t, v, 16, 1);
}
