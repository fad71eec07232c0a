/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_skip.c - steps over a JSON value that nobody asked for.
 *
 * The value is checked all the same, and its nesting is kept in an array, so that depth costs an
 * attacker his bytes and us no stack. May be called on any thread.
 */
#include "base/json_text.h"

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
	if (json_at_end(r))
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
		if (json_at_end(r))
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
	enum json_type type = JSON_NULL;
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
