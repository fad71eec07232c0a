/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_text.h - what json.c and json_text.c share; nobody else includes it.
 *
 * Pure functions over bytes, any thread.
 */
#pragma once

#include "base/json.h"

/* json_skip_space - step over the four white space characters of RFC 8259. */
void json_skip_space(struct json_reader *r);

/* json_hex - @n hex digits, at most 4, to a number; false when one is none. */
bool json_hex(const char *p, size_t n, unsigned int *out);

/* json_utf8_valid - shortest forms only, no surrogates, nothing beyond U+10FFFF (RFC 3629). */
bool json_utf8_valid(const char *p, size_t len);

/* json_float_overflows - whether a number literal is beyond the largest double. */
bool json_float_overflows(const char *text, size_t len);
