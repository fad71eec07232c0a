/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_text.c - see http_text.h. Any thread.
 */
#include "api-socket/http_text.h"

#include <string.h>
#include <strings.h>

#include "api-socket/http.h"

bool span_is(struct span a, const char *text)
{
	return a.len == strlen(text) && !memcmp(a.s, text, a.len);
}

bool span_is_nocase(struct span a, const char *text)
{
	return a.len == strlen(text) && !strncasecmp(a.s, text, a.len);
}

static bool is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

bool span_has(struct span a, const char *text)
{
	const size_t len = strlen(text);

	for (; a.len >= len; a.s++, a.len--)
		if (!memcmp(a.s, text, len))
			return true;
	return false;
}

struct span span_trim(struct span a)
{
	while (a.len && is_blank(a.s[0])) {
		a.s++;
		a.len--;
	}
	while (a.len && is_blank(a.s[a.len - 1]))
		a.len--;
	return a;
}

bool span_cut(struct span *a, char c, struct span *head)
{
	const char *at = memchr(a->s, c, a->len);

	if (!at)
		return false;
	*head = (struct span){ a->s, (size_t)(at - a->s) };
	a->len -= head->len + 1;
	a->s = at + 1;
	return true;
}

int utf8_char(const unsigned char *s, size_t len)
{
	unsigned char lo = 0x80, hi = 0xbf;
	int n, i;

	if (s[0] < 0x80)
		return 1;
	if (s[0] < 0xc2 || s[0] > 0xf4)
		return -1;
	n = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
	if (s[0] == 0xe0)
		lo = 0xa0;
	else if (s[0] == 0xed)
		hi = 0x9f;
	else if (s[0] == 0xf0)
		lo = 0x90;
	else if (s[0] == 0xf4)
		hi = 0x8f;
	for (i = 1; i < n; i++) {
		if ((size_t)i >= len)
			return 0;
		if (s[i] < lo || s[i] > hi)
			return -i;
		lo = 0x80;
		hi = 0xbf;
	}
	return n;
}

size_t utf8_scan(struct span a, int *bad)
{
	size_t i = 0;

	while (i < a.len) {
		int n = utf8_char((const unsigned char *)a.s + i, a.len - i);

		*bad = n;
		if (n <= 0)
			break;
		i += (size_t)n;
	}
	return i;
}

size_t http_utf8_bad(const char *s, size_t len)
{
	int bad;

	return utf8_scan((struct span){ s, len }, &bad);
}

bool span_is_token(struct span a)
{
	size_t i;

	for (i = 0; i < a.len; i++) {
		unsigned char c = (unsigned char)a.s[i];

		if (c <= ' ' || c >= 0x7f || strchr("\"(),/:;<=>?@[\\]{}", c))
			return false;
	}
	return a.len > 0;
}
