/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json.h - strict JSON (RFC 8259) without allocation: a pull reader over a buffer, and a writer
 * into a bounded buffer.
 *
 * The reader never recurses and never copies: strings stay escaped spans of the input until the
 * caller copies them out, nesting is counted and bounded, UTF-8 is checked. Error sentences, with
 * line and column, are those of serde_json, because clients and their tests match them. No thread
 * affinity; each reader and writer belongs to its caller.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Nested arrays and objects: one less than this passes, as in serde_json. */
#define JSON_DEPTH_MAX 128

/* How much of a client's own text an error sentence repeats. */
#define JSON_QUOTE_MAX 256

/* What the next value is, judged from its first character. */
enum json_type {
	JSON_NULL,
	JSON_BOOL,
	JSON_NUMBER,
	JSON_STRING,
	JSON_ARRAY,
	JSON_OBJECT,
};

/* A checked string, still escaped: the bytes between its quotes, in the input. */
struct json_str {
	const char *p;
	size_t len;
};

/* 64-bit integers stay exact; all else, -0 too, is a float of which only the literal is kept. */
enum json_number_kind { JSON_U64, JSON_I64, JSON_F64 };

struct json_number {
	enum json_number_kind kind; /* JSON_I64 only for negative values */
	uint64_t u64;		    /* for JSON_I64 the magnitude; 0 for JSON_F64 */
	const char *text;	    /* the literal in the input */
	size_t len;
};

/* A reader; all fields are private. Line and column are computed only when an error is made. */
struct json_reader {
	const char *in;
	size_t len;
	size_t pos; /* bytes consumed */
	size_t depth;
	bool skipping; /* inside json_skip, where serde_json counts a little differently */
	struct err *e;
};

/* json_init - read @len bytes at @in, which must stay unchanged. Errors go to @e. */
void json_init(struct json_reader *r, const char *in, size_t len, struct err *e);

/*
 * The following return 0 or -EINVAL with a sentence that ends in " at line L column C". After an
 * error the reader must not be used further.
 */

/* json_peek - skip white space and say what comes next, without consuming it. */
int json_peek(struct json_reader *r, enum json_type *type);

/* json_null / json_bool / json_number / json_string - consume one value of the peeked type. */
int json_null(struct json_reader *r);
int json_bool(struct json_reader *r, bool *out);
int json_number(struct json_reader *r, struct json_number *out);
int json_string(struct json_reader *r, struct json_str *out);

/*
 * json_enter - consume the peeked '{' or '['.
 * json_object_next / json_array_next - step to the next member; @first: none was read yet. *more is
 * false when the container ended (its bracket is then consumed). An object's key is consumed, its
 * colon is not: json_colon must follow before the value.
 */
int json_enter(struct json_reader *r);
int json_object_next(struct json_reader *r, bool first, struct json_str *key, bool *more);
int json_colon(struct json_reader *r);
int json_array_next(struct json_reader *r, bool first, bool *more);

/* json_skip - consume one value of any type; nesting is bounded by JSON_DEPTH_MAX. */
int json_skip(struct json_reader *r);

/* json_end - only white space may follow. */
int json_end(struct json_reader *r);

/* json_fail - an error of the caller's own, behind the last consumed byte. Returns -EINVAL. */
int json_fail(struct json_reader *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* json_fail_next - the same, on the byte that comes next. */
int json_fail_next(struct json_reader *r, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/*
 * json_fail_member - the same, for a fault of an object's key or of a value that was read in whole:
 * serde_json looks for the end of the object before it takes the position.
 */
int json_fail_member(struct json_reader *r, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* json_invalid_type - consume the next value and say that it is not @expected. Returns -EINVAL. */
int json_invalid_type(struct json_reader *r, const char *expected);

/* json_invalid_number - a number of the right type for nobody: what it is, and @expected. */
int json_invalid_number(struct json_reader *r, const struct json_number *n, const char *expected);

/* json_str_eq - whether the unescaped string equals @text. */
bool json_str_eq(const struct json_str *s, const char *text);

/*
 * json_str_copy - unescape into @dst (@cap bytes, at least 1; always ended by NUL). Returns the
 * unescaped length; when that is >= @cap the copy was cut. A NUL character inside is copied too.
 */
size_t json_str_copy(const struct json_str *s, char *dst, size_t cap);

/*
 * json_str_quote - spell a string for an error sentence: as it is, or with control characters and
 * quotes escaped (@debug). Long texts are cut and end in "...".
 */
void json_str_quote(const struct json_str *s, bool debug, char out[JSON_QUOTE_MAX]);

/*
 * The writer: appends compact JSON to a caller's buffer; commas, quotes and escapes are its work,
 * balance of brackets the caller's. Text that does not fit is dropped and remembered.
 */
struct json_writer {
	char *buf;
	size_t cap;
	size_t len;
	bool overflow;
	bool comma; /* one is due before the next member */
};

void json_write_init(struct json_writer *w, char *buf, size_t cap);

/* One value each; @key is NULL inside arrays and for the outermost value. */
void json_write_open(struct json_writer *w, const char *key, char bracket);
void json_write_close(struct json_writer *w, char bracket);
void json_write_string(struct json_writer *w, const char *key, const char *s);
void json_write_u64(struct json_writer *w, const char *key, uint64_t v);
void json_write_bool(struct json_writer *w, const char *key, bool v);
void json_write_null(struct json_writer *w, const char *key);

/* json_write_span - a string that is already escaped: copied as it is. */
void json_write_span(struct json_writer *w, const struct json_str *key, const struct json_str *s);

/* json_write_finish - length of the text (not ended by NUL), or -ENOSPC when it did not fit. */
long json_write_finish(const struct json_writer *w);
