/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json.c - the JSON reader: words, strings, containers (RFC 8259).
 *
 * The input is hostile: every byte is checked against the end before it is looked at, nothing
 * recurses. Where a fault is reported (behind the byte that was consumed, or on the byte that comes
 * next) differs from case to case the way it does in serde_json. May be called on any thread.
 */
#include "base/json.h"

#include <errno.h>
#include <string.h>

#include "base/json_text.h"

void json_init(struct json_reader *r, const char *in, size_t len, struct err *e)
{
	*r = (struct json_reader){ .in = in, .len = len, .e = e };
}

void json_skip_space(struct json_reader *r)
{
	while (!json_at_end(r)) {
		char c = r->in[r->pos];

		if (c != ' ' && c != '\n' && c != '\t' && c != '\r')
			break;
		r->pos++;
	}
}

int json_peek(struct json_reader *r, enum json_type *type)
{
	json_skip_space(r);
	if (json_at_end(r))
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
		if (json_at_end(r))
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
	*out = json_next(r) == 't';
	return read_word(r, *out ? "true" : "false");
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
	unsigned int v = 0;
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
		if (json_at_end(r))
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
	if (json_at_end(r))
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
		if (json_at_end(r))
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
	if (json_at_end(r))
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
		if (json_at_end(r))
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
	if (json_at_end(r))
		return json_fail_next(r, "EOF while parsing an object");
	if (r->in[r->pos] != ':')
		return json_fail_next(r, "expected `:`");
	r->pos++;
	return 0;
}

int json_array_next(struct json_reader *r, bool first, bool *more)
{
	json_skip_space(r);
	if (json_at_end(r))
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
	if (json_at_end(r))
		return json_fail_next(r, "EOF while parsing a value");
	if (r->in[r->pos] == ']')
		return json_fail_next(r, "trailing comma");
	return 0;
}

int json_end(struct json_reader *r)
{
	json_skip_space(r);
	if (!json_at_end(r))
		return json_fail_next(r, "trailing characters");
	return 0;
}
