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

static void text_number(struct text *t, uint64_t v, unsigned int base, unsigned int width, char pad)
{
	char s[DIGITS_MAX];
	size_t n = sizeof(s);

	do {
		s[--n] = "0123456789abcdef"[v % base];
		v /= base;
	} while (v);
	while (n > 0 && sizeof(s) - n < width)
		s[--n] = pad;
	text_bytes(t, s + n, sizeof(s) - n);
}

void text_u64(struct text *t, uint64_t v, unsigned int digits)
{
	text_number(t, v, 10, digits, '0');
}

void text_i64(struct text *t, int64_t v)
{
	if (v < 0)
		text_char(t, '-');
	text_number(t, v < 0 ? 0 - (uint64_t)v : (uint64_t)v, 10, 1, '0');
}

void text_hex(struct text *t, uint64_t v)
{
	text_number(t, v, 16, 1, '0');
}

/* Decimal digits at *@s, stepped over. */
static unsigned int digits_at(const char **s)
{
	unsigned int n = 0;

	for (; **s >= '0' && **s <= '9'; ++*s)
		n = n * 10 + (unsigned int)(**s - '0');
	return n;
}

/* What follows a '%' and all in front of the letter; @next is that letter. */
static bool number_is_long(const char **next)
{
	const char *s = *next;

	*next += strspn(s, "lz");
	return *next != s;
}

void text_vformat(struct text *t, const char *fmt, va_list ap)
{
	const char *at, *s;

	for (; *(at = strchrnul(fmt, '%')); fmt = at + 1) {
		unsigned int width;
		char pad;
		size_t max = SIZE_MAX;
		bool is_long;
		int64_t v;

		text_bytes(t, fmt, (size_t)(at++ - fmt));
		pad = *at == '0' ? '0' : ' ';
		width = digits_at(&at);
		if (at[0] == '.' && at[1] == '*') {
			at += 2;
			max = (size_t)va_arg(ap, int);
		} else if (at[0] == '.') {
			at++;
			max = digits_at(&at);
		}
		is_long = number_is_long(&at);
		switch (*at) {
		case 's':
			s = va_arg(ap, const char *);
			text_bytes(t, s, strnlen(s, max));
			break;
		case 'c':
			text_char(t, (char)va_arg(ap, int));
			break;
		case 'd':
			text_i64(t, is_long ? va_arg(ap, long) : va_arg(ap, int));
			break;
		case 'u':
		case 'x':
			v = is_long ? va_arg(ap, long) : va_arg(ap, unsigned int);
			text_number(t, (uint64_t)v, *at == 'u' ? 10 : 16, width, pad);
			break;
		default:
			text_char(t, *at);
		}
	}
	text_bytes(t, fmt, (size_t)(at - fmt));
}

void text_format(struct text *t, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	text_vformat(t, fmt, ap);
	va_end(ap);
}

size_t text_print(char *buf, size_t cap, const char *fmt, ...)
{
	struct text t = text_init(buf, cap - 1);
	va_list ap;

	va_start(ap, fmt);
	text_vformat(&t, fmt, ap);
	va_end(ap);
	buf[t.len] = '\0';
	return t.len;
}
