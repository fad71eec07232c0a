/* SPDX-License-Identifier: Apache-2.0 */
/*
 * text.h - text put together in a fixed buffer without stdio, also inside signal handlers.
 *
 * What does not fit is dropped and remembered. No thread affinity; async-signal-safe throughout.
 * All formatted text of the program is made here: libc's printf would be a tenth of it.
 */
#pragma once

#include <stdarg.h>
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

/*
 * text_format - append, by a subset of printf's language: %s %.Ns %.*s %c %%; %d %u %x with l, ll
 * or z; %u and %x with a width of at most 24 (%4u, %04x). Nothing else: `make lint` looks for it.
 */
void text_format(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void text_vformat(struct text *t, const char *fmt, va_list ap)
	__attribute__((format(printf, 2, 0)));

/*
 * text_print - the same into @cap (at least 1) bytes at @buf, ended by NUL. Returns the length,
 * @cap - 1 when something did not fit and was cut.
 */
size_t text_print(char *buf, size_t cap, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
