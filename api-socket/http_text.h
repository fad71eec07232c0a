/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_text.h - pieces of a line and their characters; for http.c only.
 *
 * Pure functions over untrusted bytes, any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* A piece of a line; not terminated, may hold any byte. */
struct span {
	const char *s;
	size_t len;
};

/* span_is / span_is_nocase - whether @a is exactly @text; ASCII case only. */
bool span_is(struct span a, const char *text);
bool span_is_nocase(struct span a, const char *text);

/* span_has - whether @text is anywhere in @a. */
bool span_has(struct span a, const char *text);

/* span_trim - without white space at both ends. */
struct span span_trim(struct span a);

/* span_cut - cut @a at the first @c: *@head is before it, @a after it; false without @c. */
bool span_cut(struct span *a, char c, struct span *head);

/* span_is_token - what a header name is made of (RFC 9110, 5.6.2). */
bool span_is_token(struct span a);

/*
 * utf8_char - length of the UTF-8 character at @s (Unicode, table 3-7: no surrogates, shortest
 * forms only), 0 when the bytes end inside it, or minus the number of bytes that are already wrong.
 * @len is at least 1.
 */
int utf8_char(const unsigned char *s, size_t len);

/* utf8_scan - offset of the first bad byte or @a.len; *@bad as utf8_char gave it last. */
size_t utf8_scan(struct span a, int *bad);
