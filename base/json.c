/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json.c - the JSON reader: values, containers, skipping (RFC 8259).
 *
 * The input is hostile: every byte is checked against the end before it is looked at, nothing
 * recurses, and a number is never converted to floating point. Where a fault is reported (behind
 * the byte that was consumed, or on the byte that comes next) differs from case to case the way it
 * does in serde_json. May be called on any thread.
 */
#include "base/json.h"

#include <errno.h>
#include <string.h>

#include "base/json_text.h"

void json_init(struct json_reader *r, const char *in, size_t len, struct err *e)
{
	*r = (struct json_reader){ .in = in, .len = len, .e = e };
}

static bool at_end(const struct json_reader *r)
{
	return r->pos >= r->len;
}

/* The next byte, or NUL at the end: no production of the grammar accepts a NUL byte. */
static char next_byte(const struct json_reader *r)
{
	return at_end(r) ? '\0' : r->in[r->pos];
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool next_is_digit(const struct json_reader *r)
{
	return is_digit(next_byte(r));
}

void json_skip_space(struct json_reader *r)
{
	while (!at_end(r)) {
		char c = r->in[r->pos];

		if (c != ' ' && c != '\n' && c != '\t' && c != '\r')
			break;
		r->pos++;
	}
}

int json_peek(struct json_reader *r, enum json_type *type)
{
	json_skip_space(r);
	if (at_end(r))
		return json_fail_next(r, "EOF while parsing a value");
	switch (r->in[r->pos]) {
	case 'n':
		*type = JSON_NULL;
		return 0;
	case 't':
	case 'f':
		*type = JSON_BOOL;
		return 0;
	case '"':
		*type = JSON_STRING;
		return 0;
	case '[':
		*type = JSON_ARRAY;
		return 0;
	case '{':
		*type = JSON_OBJECT;
		return 0;
	case '-':
	case '0' ... '9':
		*type = JSON_NUMBER;
		return 0;
	default:
		return json_fail_next(r, "expected value");
	}
}

/* The rest of null, true or false, whose first letter was peeked. */
static int read_word(struct json_reader *r, const char *word)
{
	for (; *word; word++) {
		if (at_end(r))
			return json_fail(r, "EOF while parsing a value");
		if (r->in[r->pos++] != *word)
			return json_fail(r, "expected ident");
	}
	return 0;
}

int json_null(struct json_reader *r)
{
	return read_word(r, "null");
}

int json_bool(struct json_reader *r, bool *out)
{
	*out = next_byte(r) == 't';
	return read_word(r, *out ? "true" : "false");
}

/* Digits behind a decimal point or an exponent's sign. */
static void read_digits(struct json_reader *r)
{
	while (next_is_digit(r))
		r->pos++;
}

/* ".digits", at least one. */
static int read_fraction(struct json_reader *r)
{
	r->pos++;
	if (!next_is_digit(r)) {
		if (at_end(r) && !r->skipping)
			return json_fail_next(r, "EOF while parsing a value");
		return json_fail_next(r, "invalid number");
	}
	read_digits(r);
	return 0;
}

/*
 * "e+digits". A positive exponent that leaves 31 bits is refused on the digit that does so, unless
 * all is zero.
 */
static int read_exponent(struct json_reader *r, bool is_zero)
{
	bool negative;
	uint64_t exp = 0;

	r->pos++;
	negative = next_byte(r) == '-';
	if (negative || next_byte(r) == '+')
		r->pos++;
	if (at_end(r)) {
		if (r->skipping)
			return json_fail(r, "invalid number");
		return json_fail(r, "EOF while parsing a value");
	}
	if (!next_is_digit(r)) {
		r->pos++;
		return json_fail(r, "invalid number");
	}
	while (next_is_digit(r)) {
		exp = exp * 10 + (uint64_t)(r->in[r->pos++] - '0');
		if (exp > INT32_MAX && !r->skipping && !negative && !is_zero)
			return json_fail(r, "number out of range");
		if (exp > INT32_MAX)
			exp = INT32_MAX / 10; /* stays far out of range without wrapping */
	}
	return 0;
}

/* The digits before point and exponent; *fits is false beyond 64 bits. */
static int read_integer(struct json_reader *r, uint64_t *out, bool *fits)
{
	uint64_t v = 0;

	*fits = true;
	*out = 0;
	if (at_end(r)) {
		if (r->skipping)
			return json_fail(r, "invalid number");
		return json_fail(r, "EOF while parsing a value");
	}
	if (r->in[r->pos] == '0') {
		r->pos++;
		if (next_is_digit(r)) /* a leading zero: octal to some, so to nobody here */
			return json_fail_next(r, "invalid number");
		return 0;
	}
	if (!next_is_digit(r)) {
		r->pos++;
		return json_fail(r, "invalid number");
	}
	for (; next_is_digit(r); r->pos++) {
		uint64_t digit = (uint64_t)(r->in[r->pos] - '0');

		if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, digit, &v))
			*fits = false;
	}
	*out = v;
	return 0;
}

/* Whether every digit of the significand is 0. */
static bool is_zero_literal(const char *p, const char *end)
{
	for (; p < end && *p != 'e' && *p != 'E'; p++)
		if (*p >= '1' && *p <= '9')
			return false;
	return true;
}

int json_number(struct json_reader *r, struct json_number *out)
{
	size_t start = r->pos;
	bool negative = next_byte(r) == '-';
	bool fits;
	int ret;

	r->pos += negative;
	ret = read_integer(r, &out->u64, &fits);
	if (ret)
		return ret;
	out->kind = negative ? JSON_I64 : JSON_U64;
	/* -0 and what i64 cannot hold are floats, as for serde_json. */
	if (!fits || (negative && (out->u64 == 0 || out->u64 > (uint64_t)INT64_MAX + 1)))
		out->kind = JSON_F64;
	if (next_byte(r) == '.') {
		out->kind = JSON_F64;
		ret = read_fraction(r);
	}
	if (!ret && (next_byte(r) == 'e' || next_byte(r) == 'E')) {
		out->kind = JSON_F64;
		ret = read_exponent(r, is_zero_literal(r->in + start, r->in + r->pos));
	}
	if (ret)
		return ret;
	out->text = r->in + start;
	out->len = r->pos - start;
	if (out->kind == JSON_F64) {
		out->u64 = 0;
		if (!r->skipping && json_float_overflows(out->text, out->len))
			return json_fail(r, "number out of range");
	}
	return 0;
}

/* Four hex digits behind "\u". */
static int read_hex4(struct json_reader *r, unsigned int *out)
{
	if (r->len - r->pos < 4) {
		r->pos = r->len;
		return json_fail(r, "EOF while parsing a string");
	}
	r->pos += 4;
	if (!json_hex(r->in + r->pos - 4, 4, out))
		return json_fail(r, "invalid escape");
	return 0;
}

/* "\uXXXX", and its partner when it is the first half of a surrogate pair. */
static int read_unicode_escape(struct json_reader *r)
{
	unsigned int v;
	size_t i;
	int ret;

	ret = read_hex4(r, &v);
	if (ret || r->skipping)
		return ret;
	if (v >= 0xdc00 && v <= 0xdfff)
		return json_fail(r, "lone leading surrogate in hex escape");
	if (v < 0xd800 || v > 0xdbff)
		return 0;
	for (i = 0; i < 2; i++) {
		if (at_end(r))
			return json_fail(r, "EOF while parsing a string");
		if (r->in[r->pos++] != "\\u"[i])
			return json_fail(r, "unexpected end of hex escape");
	}
	ret = read_hex4(r, &v);
	if (ret)
		return ret;
	if (v < 0xdc00 || v > 0xdfff)
		return json_fail(r, "lone leading surrogate in hex escape");
	return 0;
}

static int read_escape(struct json_reader *r)
{
	if (at_end(r))
		return json_fail(r, "EOF while parsing a string");
	switch (r->in[r->pos++]) {
	case '"':
	case '\\':
	case '/':
	case 'b':
	case 'f':
	case 'n':
	case 'r':
	case 't':
		return 0;
	case 'u':
		return read_unicode_escape(r);
	default:
		return json_fail(r, "invalid escape");
	}
}

int json_string(struct json_reader *r, struct json_str *out)
{
	int ret;

	r->pos++;
	out->p = r->in + r->pos;
	for (;;) {
		if (at_end(r))
			return json_fail(r, "EOF while parsing a string");
		if (r->in[r->pos] == '"')
			break;
		if ((unsigned char)r->in[r->pos] < 0x20) {
			r->pos += !r->skipping;
			return json_fail(r, "control character (\\u0000-\\u001F) found while "
					    "parsing a string");
		}
		if (r->in[r->pos++] != '\\')
			continue;
		ret = read_escape(r);
		if (ret)
			return ret;
	}
	out->len = (size_t)(r->in + r->pos - out->p);
	r->pos++;
	/* Escapes are pure ASCII, so checking the raw bytes checks the result. */
	if (!json_utf8_valid(out->p, out->len))
		return json_fail(r, "invalid unicode code point");
	return 0;
}

int json_enter(struct json_reader *r)
{
	if (r->depth + 1 >= JSON_DEPTH_MAX)
		return json_fail_next(r, "recursion limit exceeded");
	r->depth++;
	r->pos++;
	return 0;
}

int json_object_next(struct json_reader *r, bool first, struct json_str *key, bool *more)
{
	json_skip_space(r);
	if (at_end(r))
		return json_fail_next(r, "EOF while parsing an object");
	*more = r->in[r->pos] != '}';
	if (!*more) {
		r->pos++;
		r->depth--;
		return 0;
	}
	if (!first) {
		if (r->in[r->pos] != ',')
			return json_fail_next(r, "expected `,` or `}`");
		r->pos++;
		json_skip_space(r);
		if (at_end(r))
			return json_fail_next(r, "EOF while parsing a value");
		if (r->in[r->pos] == '}')
			return json_fail_next(r, "trailing comma");
	}
	if (r->in[r->pos] != '"')
		return json_fail_next(r, "key must be a string");
	return json_string(r, key);
}

int json_colon(struct json_reader *r)
{
	json_skip_space(r);
	if (at_end(r))
		return json_fail_next(r, "EOF while parsing an object");
	if (r->in[r->pos] != ':')
		return json_fail_next(r, "expected `:`");
	r->pos++;
	return 0;
}

int json_array_next(struct json_reader *r, bool first, bool *more)
{
	json_skip_space(r);
	if (at_end(r))
		return json_fail_next(r, "EOF while parsing a list");
	*more = r->in[r->pos] != ']';
	if (!*more) {
		r->pos++;
		r->depth--;
		return 0;
	}
	if (first)
		return 0;
	if (r->in[r->pos] != ',')
		return json_fail_next(r, "expected `,` or `]`");
	r->pos++;
	json_skip_space(r);
	if (at_end(r))
		return json_fail_next(r, "EOF while parsing a value");
	if (r->in[r->pos] == ']')
		return json_fail_next(r, "trailing comma");
	return 0;
}

int json_end(struct json_reader *r)
{
	json_skip_space(r);
	if (!at_end(r))
		return json_fail_next(r, "trailing characters");
	return 0;
}

/* One scalar of a skipped value; containers are json_skip's. */
static int skip_scalar(struct json_reader *r, enum json_type type)
{
	struct json_number n;
	struct json_str s;
	bool b;

	switch (type) {
	case JSON_NULL:
		return json_null(r);
	case JSON_BOOL:
		return json_bool(r, &b);
	case JSON_NUMBER:
		return json_number(r, &n);
	default:
		return json_string(r, &s);
	}
}

/* The key and colon of a skipped object's member. */
static int skip_key(struct json_reader *r)
{
	struct json_str key;
	int ret;

	json_skip_space(r);
	if (at_end(r))
		return json_fail_next(r, "EOF while parsing an object");
	if (r->in[r->pos] != '"')
		return json_fail_next(r, "key must be a string");
	ret = json_string(r, &key);
	return ret ? ret : json_colon(r);
}

/*
 * Behind a value, or behind an opening bracket (@first): step over the comma, or close containers
 * as long as there is something to close. *more is false when the whole value is complete.
 */
static int skip_between(struct json_reader *r, const bool *is_object, size_t *depth, bool first,
			bool *more)
{
	*more = true;
	while (*depth) {
		bool object = is_object[*depth - 1];

		json_skip_space(r);
		if (at_end(r))
			return json_fail_next(r, object ? "EOF while parsing an object" :
							  "EOF while parsing a list");
		if (r->in[r->pos] == (object ? '}' : ']')) {
			r->pos++;
			(*depth)--;
			first = false;
			continue;
		}
		if (!first && r->in[r->pos] != ',')
			return json_fail_next(r, object ? "expected `,` or `}`" :
							  "expected `,` or `]`");
		r->pos += !first;
		return object ? skip_key(r) : 0;
	}
	*more = false;
	return 0;
}

int json_skip(struct json_reader *r)
{
	bool is_object[JSON_DEPTH_MAX];
	enum json_type type;
	size_t depth = 0;
	bool more = true;
	int ret = 0;

	r->skipping = true;
	while (!ret && more) {
		bool opened = false;

		ret = json_peek(r, &type);
		if (ret)
			break;
		if (type == JSON_ARRAY || type == JSON_OBJECT) {
			if (r->depth + depth + 1 >= JSON_DEPTH_MAX) {
				ret = json_fail_next(r, "recursion limit exceeded");
				break;
			}
			is_object[depth++] = type == JSON_OBJECT;
			r->pos++;
			opened = true;
		} else {
			ret = skip_scalar(r, type);
		}
		if (!ret)
			ret = skip_between(r, is_object, &depth, opened, &more);
	}
	r->skipping = false;
	return ret;
}
