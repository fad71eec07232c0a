/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The JSON reader and writer by themselves: strings, numbers, bounds. RFC 8259.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "base/json.h"

static struct json_str str(const char *text)
{
	static struct err e;
	struct json_reader r;
	struct json_str s;

	json_init(&r, text, strlen(text), &e);
	cr_assert_eq(json_string(&r, &s), 0, "%s: %s", text, e.msg);
	return s;
}

static void expect_text(const char *json, const char *want, size_t want_len)
{
	struct json_str s = str(json);
	char buf[64];

	cr_expect_eq(json_str_copy(&s, buf, sizeof(buf)), want_len, "%s", json);
	cr_expect(!memcmp(buf, want, want_len + 1), "%s", json);
}

Test(json, unescape)
{
	expect_text("\"\"", "", 0);
	expect_text("\"a\\\"\\\\\\/\\b\\f\\n\\r\\tz\"", "a\"\\/\b\f\n\r\tz", 10);
	expect_text("\"\\u0041\\u00e9\\u20AC\\ud83d\\ude00\"",
		    "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 10);
	expect_text("\"\xf4\x8f\xbf\xbf\\uffff\"", "\xf4\x8f\xbf\xbf\xef\xbf\xbf", 7);
	expect_text("\"a\\u0000b\"", "a\0b", 3);
}

Test(json, copy_is_bounded_and_ended)
{
	struct json_str s = str("\"ab\\u20acd\"");
	char buf[8];
	size_t cap;

	for (cap = 1; cap <= 7; cap++) {
		memset(buf, 'X', sizeof(buf));
		cr_expect_eq(json_str_copy(&s, buf, cap), 6);
		cr_expect_eq(buf[cap], 'X', "wrote behind %zu", cap);
		cr_expect(memchr(buf, '\0', cap), "not ended at %zu", cap);
		/* Never half a character. */
		cr_expect_eq(strlen(buf), cap < 3 ? cap - 1 : cap < 6 ? 2 : cap < 7 ? 5 : 6);
	}
}

Test(json, compare)
{
	struct json_str s = str("\"si\\u007ae\"");

	cr_expect(json_str_eq(&s, "size"));
	cr_expect(!json_str_eq(&s, "siz"));
	cr_expect(!json_str_eq(&s, "sizes"));
	cr_expect(!json_str_eq(&s, ""));
	s = str("\"\"");
	cr_expect(json_str_eq(&s, ""));
	/* A NUL does not end a name. */
	s = str("\"size\\u0000\"");
	cr_expect(!json_str_eq(&s, "size"));
	s = str("\"\\u0000\"");
	cr_expect(!json_str_eq(&s, ""));
}

Test(json, utf8)
{
	static const char *const bad[] = {
		"\"\x80\"",
		"\"\xbf\"",
		"\"\xc0\x80\"",
		"\"\xc1\xbf\"",
		"\"\xc3\"",
		"\"\xe0\x9f\xbf\"",
		"\"\xed\xa0\x80\"",
		"\"\xe2\x82\"",
		"\"\xf0\x8f\x80\x80\"",
		"\"\xf4\x90\x80\x80\"",
		"\"\xf5\x80\x80\x80\"",
		"\"\xff\"",
		"\"\xe2\x82z\"",
		"\"\xf0\x9f\x98\"",
	};
	struct json_reader r;
	struct json_str s;
	struct err e;
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		json_init(&r, bad[i], strlen(bad[i]), &e);
		cr_expect_eq(json_string(&r, &s), -EINVAL, "%zu", i);
	}
	str("\"\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xf0\x90\x80\x80\"");
}

static void expect_number(const char *text, enum json_number_kind kind, uint64_t v)
{
	struct json_reader r;
	struct json_number n;
	struct err e;

	json_init(&r, text, strlen(text), &e);
	cr_assert_eq(json_number(&r, &n), 0, "%s: %s", text, e.msg);
	cr_expect_eq(n.kind, kind, "%s", text);
	cr_expect_eq(n.u64, v, "%s", text);
	cr_expect_eq(n.len, strlen(text));
}

Test(json, numbers)
{
	expect_number("0", JSON_U64, 0);
	expect_number("18446744073709551615", JSON_U64, UINT64_MAX);
	expect_number("18446744073709551616", JSON_F64, 0);
	expect_number("184467440737095516150", JSON_F64, 0);
	expect_number("99999999999999999999999999999999999999999", JSON_F64, 0);
	expect_number("-1", JSON_I64, 1);
	expect_number("-9223372036854775808", JSON_I64, 1ull << 63);
	expect_number("-9223372036854775809", JSON_F64, 0);
	expect_number("-0", JSON_F64, 0);
	expect_number("0.0", JSON_F64, 0);
	expect_number("1e2", JSON_F64, 0);
	expect_number("1.7976931348623157e308", JSON_F64, 0);
	expect_number("0.00001e313", JSON_F64, 0);
	expect_number("1e-400", JSON_F64, 0);
}

Test(json, numbers_out_of_range)
{
	static const char *const bad[] = {
		"1e309",	"-1e309",	"1.7976931348623159e308", "2e308",
		"1e2147483648", "1e4294967296", "1e18446744073709551616", "10e308",
	};
	struct json_reader r;
	struct json_number n;
	struct err e;
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		json_init(&r, bad[i], strlen(bad[i]), &e);
		cr_expect_eq(json_number(&r, &n), -EINVAL, "%s", bad[i]);
		cr_expect(!strncmp(e.msg, "number out of range", 19), "%s", e.msg);
	}
}

Test(json, skip_is_exact)
{
	static const char text[] = "[{\"a\":[1,2,{\"b\":null}],\"c\":\"]\"},[],{},-0.5e+7,true]x";
	struct json_reader r;
	struct err e;

	json_init(&r, text, sizeof(text) - 1, &e);
	cr_expect_eq(json_skip(&r), 0, "%s", e.msg);
	cr_expect_eq(json_end(&r), -EINVAL);
	cr_expect_str_eq(e.msg, "trailing characters at line 1 column 52");
}

Test(json, depth)
{
	struct json_reader r;
	char deep[200];
	struct err e;
	int i;

	memset(deep, '[', sizeof(deep));
	json_init(&r, deep, sizeof(deep), &e);
	for (i = 0; i < JSON_DEPTH_MAX - 1; i++)
		cr_assert_eq(json_enter(&r), 0);
	cr_expect_eq(json_enter(&r), -EINVAL);
	cr_expect_str_eq(e.msg, "recursion limit exceeded at line 1 column 128");
}

Test(json, write)
{
	struct json_writer w;
	char buf[256];

	json_write_init(&w, buf, sizeof(buf));
	json_write_open(&w, NULL, '{');
	json_write_string(&w, "a", "x\"\\\b\f\n\r\t\x01\x1f\x7f/\xc3\xa9");
	json_write_u64(&w, "b", UINT64_MAX);
	json_write_u64(&w, "c", 0);
	json_write_open(&w, "d", '[');
	json_write_close(&w, ']');
	json_write_open(&w, "e", '[');
	json_write_bool(&w, NULL, true);
	json_write_bool(&w, NULL, false);
	json_write_null(&w, NULL);
	json_write_open(&w, NULL, '{');
	json_write_close(&w, '}');
	json_write_close(&w, ']');
	json_write_null(&w, "f");
	json_write_close(&w, '}');
	buf[json_write_finish(&w)] = '\0';
	cr_expect_str_eq(buf, "{\"a\":\"x\\\"\\\\\\b\\f\\n\\r\\t\\u0001\\u001f\x7f/\xc3\xa9\","
			      "\"b\":18446744073709551615,\"c\":0,\"d\":[],"
			      "\"e\":[true,false,null,{}],\"f\":null}");
}

Test(json, write_is_bounded)
{
	struct json_writer w;
	char buf[16];
	size_t cap;

	for (cap = 0; cap < 12; cap++) {
		memset(buf, 'X', sizeof(buf));
		json_write_init(&w, buf, cap);
		json_write_open(&w, NULL, '{');
		json_write_string(&w, "k", "a\n\x02");
		json_write_close(&w, '}');
		cr_expect_eq(json_write_finish(&w), -ENOSPC);
		cr_expect_eq(buf[cap], 'X');
	}
}
