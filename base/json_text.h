/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_text.h - what the sources of the JSON reader share; nobody else includes it.
 *
 * Pure functions over bytes, any thread.
 */
#pragma once

#include "base/json.h"

/* json_at_end - whether all input is consumed. */
static inline bool json_at_end(const struct json_reader *r)
{
	return r->pos >= r->len;
}

/* json_next - the next byte, or NUL at the end: no production of the grammar accepts a NUL byte. */
static inline char json_next(const struct json_reader *r)
{
	return json_at_end(r) ? '\0' : r->in[r->pos];
}

/* json_digit_next - whether that is a decimal digit. */
static inline bool json_digit_next(const struct json_reader *r)
{
	return json_next(r) >= '0' && json_next(r) <= '9';
}

/* json_skip_space - step over the four white space characters of RFC 8259. */
void json_skip_space(struct json_reader *r);

/* json_hex - @n hex digits, at most 4, to a number; false when one is none. */
bool json_hex(const char *p, size_t n, unsigned int *out);

/* json_utf8_valid - shortest forms only, no surrogates, nothing beyond U+10FFFF (RFC 3629). */
bool json_utf8_valid(const char *p, size_t len);
