/* SPDX-License-Identifier: Apache-2.0 */
/*
 * text.h - text put together in a fixed buffer without stdio, also inside signal handlers.
 *
 * What does not fit is dropped and remembered. No thread affinity; async-signal-safe throughout.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text {
	char *buf; /* not owned, not ended by NUL */
	size_t cap;
	size_t len;
	bool cut; /* something did not fit */
};

/* text_init - an empty text in @cap bytes at @buf. */
static inline struct text text_init(char *buf, size_t cap)
{
	return (struct text){ .buf = buf, .cap = cap };
}

/* text_bytes / text_str / text_char - append. */
void text_bytes(struct text *t, const char *s, size_t len);
void text_str(struct text *t, const char *s);
void text_char(struct text *t, char c);

/* text_u64 - append @v in decimal, with zeros in front to at least @digits. */
void text_u64(struct text *t, uint64_t v, unsigned int digits);

/* text_i64 - append @v in decimal with its sign. */
void text_i64(struct text *t, int64_t v);

/* text_hex - append @v in hexadecimal without prefix. */
void text_hex(struct text *t, uint64_t v);
