/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_json_diff.c - the JSON reader against jansson: both accept or both refuse, and what both
 * accept has the same values.
 *
 * Where the two differ on purpose:
 *
 *   nesting         we stop at JSON_DEPTH_MAX as serde_json does, jansson at 2048
 *   integers        jansson refuses beyond int64; we hold uint64 too and call the rest floats, as
 *                   serde_json does. Such a text is compared with all numbers read as doubles
 *   exponents       jansson takes any; we refuse a positive one beyond int32, as serde_json does.
 *                   The two differ on 0.00...01e2147483648 with two billion zeros only
 *   the last double 1.7976931348623158e308 still rounds to it; serde_json says out of range, so do we
 *   -0              a float to us, the integer 0 to jansson
 *   NUL bytes       none is valid anywhere and we refuse each; jansson 2.14 loses one behind a number
 *   \u0000 in a key jansson has no room for it; our decoders refuse such a key by its name
 *   a key twice     jansson keeps the last value; our decoders refuse it. Values are not compared
 *   skipped values  json_skip, like serde_json, lets through lone surrogates and numbers out of
 *                   range: nobody will look at them. Everything else it judges as the reader does
 */
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "tests/fuzz/jansson_peer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Longer inputs find nothing new and cost time. */
#define INPUT_MAX 16384

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			fprintf(stderr, "violated at line %d: %s\n", __LINE__, #cond);             \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

static char text[INPUT_MAX + 1];

static void same_number(const struct json_number *n, const json_t *want)
{
	CHECK(n->len <= INPUT_MAX);
	memcpy(text, n->text, n->len);
	text[n->len] = '\0';
	if (json_typeof(want) == JSON_REAL) {
		CHECK(strtod(text, NULL) == json_real_value(want));
		return;
	}
	CHECK(json_typeof(want) == JSON_INTEGER);
	if (n->kind == JSON_F64) {
		CHECK(!strcmp(text, "-0") && json_integer_value(want) == 0);
		return;
	}
	if (n->kind == JSON_I64)
		CHECK(json_integer_value(want) == (json_int_t)(0 - n->u64));
	else
		CHECK(json_integer_value(want) >= 0 &&
		      (uint64_t)json_integer_value(want) == n->u64);
}

/* One value that is no container against what jansson made of it; NULL: only accept or refuse. */
static int same_scalar(struct json_reader *r, enum json_type type, const json_t *want)
{
	struct json_number n;
	struct json_str s;
	bool b = false;
	size_t len;
	int ret;

	switch (type) {
	case JSON_NULL:
		ret = json_null(r);
		CHECK(ret || !want || json_typeof(want) == JANSSON_NULL);
		return ret;
	case JSON_BOOL:
		ret = json_bool(r, &b);
		CHECK(ret || !want || json_typeof(want) == (b ? JSON_TRUE : JSON_FALSE));
		return ret;
	case JSON_NUMBER:
		ret = json_number(r, &n);
		if (!ret && want)
			same_number(&n, want);
		return ret;
	default:
		ret = json_string(r, &s);
		if (ret)
			return ret;
		len = json_str_copy(&s, text, sizeof(text));
		CHECK(len <= s.len);
		if (!want)
			return 0;
		CHECK(json_typeof(want) == JANSSON_STRING && len == json_string_length(want));
		CHECK(!memcmp(text, json_string_value(want), len));
		CHECK(json_str_eq(&s, text) == (strlen(text) == len));
		return 0;
	}
}

/* A test may recurse: json_enter bounds the depth. 0 when our reader accepts the value. */
static int same_value(struct json_reader *r, const json_t *want)
{
	const json_t *member = NULL;
	enum json_type type;
	struct json_str key;
	bool more = true;
	size_t nr = 0;
	int ret;

	ret = json_peek(r, &type);
	if (ret)
		return ret;
	if (type != JSON_ARRAY && type != JSON_OBJECT)
		return same_scalar(r, type, want);
	if (want)
		CHECK(json_typeof(want) == (type == JSON_ARRAY ? JANSSON_ARRAY : JANSSON_OBJECT));
	ret = json_enter(r);
	for (; !ret; nr++) {
		if (type == JSON_ARRAY)
			ret = json_array_next(r, nr == 0, &more);
		else
			ret = json_object_next(r, nr == 0, &key, &more);
		if (ret || !more)
			break;
		if (type == JSON_OBJECT) {
			json_str_copy(&key, text, sizeof(text));
			member = want ? json_object_get(want, text) : NULL;
			ret = json_colon(r);
		} else {
			member = want ? json_array_get(want, nr) : NULL;
		}
		CHECK(ret || member || !want);
		if (!ret)
			ret = same_value(r, member);
	}
	if (!ret && want)
		CHECK(nr == (type == JSON_ARRAY ? json_array_size(want) : json_object_size(want)));
	return ret;
}

/* json_skip and the reader agree but for what nobody will look at. */
static void skip_agrees(const char *in, size_t len, const struct err *read)
{
	struct err e = { 0 };
	struct json_reader r;
	bool skipped;

	json_init(&r, in, len, &e);
	skipped = !json_skip(&r) && !json_end(&r);
	CHECK(skipped || read->code);
	if (skipped && read->code)
		CHECK(strstr(read->msg, "hex escape") || strstr(read->msg, "out of range"));
}

static bool has_last_double(json_t *tree)
{
	const char *key;
	json_t *member;
	bool has = false;
	size_t i;

	if (json_is_real(tree))
		return fabs(json_real_value(tree)) >= DBL_MAX;
	if (json_typeof(tree) == JANSSON_ARRAY) {
		json_array_foreach(tree, i, member) has = has || has_last_double(member);
	} else if (json_typeof(tree) == JANSSON_OBJECT) {
		json_object_foreach(tree, key, member) has = has || has_last_double(member);
	}
	return has;
}

/* What jansson says; the tree is NULL when it refuses, *accepts tells that from "no tree". */
static json_t *peer_reads(const char *in, size_t len, bool *accepts, bool *unknown)
{
	const size_t flags = JSON_DECODE_ANY | JSON_ALLOW_NUL;
	json_error_t e;
	json_t *tree;

	*unknown = false;
	*accepts = true;
	tree = json_loadb(in, len, flags | JSON_REJECT_DUPLICATES, &e);
	if (!tree && json_error_code(&e) == json_error_numeric_overflow)
		tree = json_loadb(in, len, flags | JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL,
				  &e);
	if (tree)
		return tree;
	if (json_error_code(&e) == json_error_duplicate_key) {
		tree = json_loadb(in, len, flags, &e);
		if (!tree && json_error_code(&e) == json_error_numeric_overflow)
			tree = json_loadb(in, len, flags | JSON_DECODE_INT_AS_REAL, &e);
		*accepts = tree;
		json_decref(tree);
	} else {
		*accepts = false;
	}
	*unknown = !*accepts && json_error_code(&e) == json_error_null_byte_in_key;
	return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *in = (const char *)data;
	struct err e = { 0 };
	bool accepts, unknown;
	struct json_reader r;
	json_t *tree;
	int ret;

	if (size > INPUT_MAX)
		return 0;
	if (!size)
		in = "";
	tree = peer_reads(in, size, &accepts, &unknown);
	json_init(&r, in, size, &e);
	ret = same_value(&r, tree);
	if (!ret)
		ret = json_end(&r);
	if (ret && !e.code)
		e.code = 22;
	skip_agrees(in, size, &e);
	if (ret && tree && strstr(e.msg, "number out of range"))
		unknown = has_last_double(tree);
	CHECK(ret || !memchr(in, '\0', size));
	unknown = unknown || memchr(in, '\0', size);
	if (!unknown && !(ret && strstr(e.msg, "recursion limit exceeded")) && accepts != !ret) {
		fprintf(stderr, "jansson %s, mote: %s\n", accepts ? "accepts" : "refuses",
			ret ? e.msg : "accepts");
		abort();
	}
	json_decref(tree);
	return 0;
}
