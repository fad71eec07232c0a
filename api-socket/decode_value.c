/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decode_value.c - single JSON values to the C types of config structs.
 *
 * Each refuses what does not fit, in serde's words. Loop thread.
 */
#include "api-socket/decode_value.h"

#include <string.h>
#include <strings.h>

#include "base/log.h"
#include "base/text.h"

const char *decode_name_separator(size_t i, size_t nr)
{
	if (i == 0)
		return nr > 2 ? "one of " : "";
	return nr == 2 ? " or " : ", ";
}

static int read_bool(struct json_reader *r, bool *out)
{
	enum json_type type;
	int ret;

	ret = json_peek(r, &type);
	if (ret)
		return ret;
	if (type != JSON_BOOL)
		return json_invalid_type(r, "a boolean");
	return json_bool(r, out);
}

static int read_uint(struct json_reader *r, uint64_t max, const char *expected, uint64_t *out)
{
	struct json_number n;
	enum json_type type;
	int ret;

	ret = json_peek(r, &type);
	if (ret)
		return ret;
	if (type != JSON_NUMBER)
		return json_invalid_type(r, expected);
	ret = json_number(r, &n);
	if (ret)
		return ret;
	if (n.kind != JSON_U64 || n.u64 > max)
		return json_invalid_number(r, &n, expected);
	*out = n.u64;
	return 0;
}

static int read_integer(struct json_reader *r, enum decode_type type, void *out)
{
	uint64_t v = 0;
	int ret;

	switch (type) {
	case DECODE_U8:
		ret = read_uint(r, UINT8_MAX, "u8", &v);
		*(uint8_t *)out = (uint8_t)v;
		return ret;
	case DECODE_U16:
		ret = read_uint(r, UINT16_MAX, "u16", &v);
		*(uint16_t *)out = (uint16_t)v;
		return ret;
	case DECODE_U32:
		ret = read_uint(r, UINT32_MAX, "u32", &v);
		*(uint32_t *)out = (uint32_t)v;
		return ret;
	default:
		ret = read_uint(r, UINT64_MAX, type == DECODE_USIZE ? "usize" : "u64", &v);
		*(uint64_t *)out = v;
		return ret;
	}
}

int decode_expect_string(struct json_reader *r, const char *expected, struct json_str *s)
{
	enum json_type type;
	int ret;

	ret = json_peek(r, &type);
	if (ret)
		return ret;
	if (type != JSON_STRING)
		return json_invalid_type(r, expected);
	return json_string(r, s);
}

static int read_string(struct json_reader *r, const char *expected, char *out, size_t cap)
{
	struct json_str s;
	size_t len;
	int ret;

	ret = decode_expect_string(r, expected, &s);
	if (ret)
		return ret;
	len = json_str_copy(&s, out, cap);
	if (len >= cap)
		return json_fail(r, "invalid length %zu, expected at most %zu bytes", len, cap - 1);
	/* C would read a NUL as the end and act on another name than the one that was checked. */
	if (strlen(out) != len)
		return json_fail(r, "invalid value: a string with a NUL character, expected %s",
				 expected);
	return 0;
}

static int read_enum(struct json_reader *r, const struct config_name *names, uint8_t *out)
{
	char quoted[JSON_QUOTE_MAX], list[256];
	size_t i, nr, len = 0;
	enum json_type type;
	struct json_str s;
	int ret;

	ret = json_peek(r, &type);
	if (ret)
		return ret;
	if (type != JSON_STRING)
		return json_fail_next(r, "expected value");
	ret = json_string(r, &s);
	if (ret)
		return ret;
	for (nr = 0; names[nr].name[0]; nr++) {
		if (json_str_eq(&s, names[nr].name)) {
			*out = names[nr].value;
			return 0;
		}
	}
	list[0] = '\0';
	for (i = 0; i < nr; i++)
		len += text_print(list + len, sizeof(list) - len, "%s`%s`",
				  decode_name_separator(i, nr), names[i].name);
	json_str_quote(&s, false, quoted);
	return json_fail(r, "unknown variant `%s`, expected %s", quoted, list);
}

/* Log levels are the one enumeration whose spelling clients vary. */
static int read_level(struct json_reader *r, uint8_t *out)
{
	static const struct config_name levels[] = {
		{ "off", LOG_OFF },	{ "error", LOG_ERROR },	 { "warn", LOG_WARN },
		{ "info", LOG_INFO },	{ "warning", LOG_WARN }, { "debug", LOG_DEBUG },
		{ "trace", LOG_TRACE },
	};
	struct json_str s;
	char text[16];
	size_t i, len;
	int ret;

	ret = decode_expect_string(r, "a string", &s);
	if (ret)
		return ret;
	len = json_str_copy(&s, text, sizeof(text));
	for (i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		if (len == strlen(levels[i].name) && !strcasecmp(text, levels[i].name)) {
			*out = levels[i].value;
			return 0;
		}
	}
	return json_fail_member(r, "Invalid LevelFilter");
}

static bool hex_digit(char c, uint8_t *out)
{
	static const char digits[] = "0123456789abcdef0123456789ABCDEF";
	const char *hit = c ? strchr(digits, c) : NULL;

	if (!hit)
		return false;
	*out = (uint8_t)((hit - digits) & 15);
	return true;
}

/* Exactly "XX:XX:XX:XX:XX:XX". */
static bool parse_mac(const char *text, size_t len, uint8_t mac[6])
{
	uint8_t high, low;
	size_t i;

	if (len != 17)
		return false;
	for (i = 0; i < 6; i++, text += 3) {
		if (!hex_digit(text[0], &high) || !hex_digit(text[1], &low))
			return false;
		if (text[2] != (i < 5 ? ':' : '\0'))
			return false;
		mac[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

static int read_mac(struct json_reader *r, uint8_t mac[6])
{
	struct json_str s;
	char text[18];
	size_t len;
	int ret;

	ret = decode_expect_string(r, "a string", &s);
	if (ret)
		return ret;
	len = json_str_copy(&s, text, sizeof(text));
	if (!parse_mac(text, len, mac))
		return json_fail_member(r, "The provided MAC address is invalid.");
	return 0;
}

/* An object of strings, without its white space: it ends up in one line of output. */
static int read_strmap(struct json_reader *r, char *out, size_t cap)
{
	struct json_writer w;
	struct json_str key, value;
	enum json_type type;
	bool first, more;
	int ret;

	ret = json_peek(r, &type);
	if (ret)
		return ret;
	if (type != JSON_OBJECT)
		return json_invalid_type(r, "a map");
	json_write_init(&w, out, cap - 1);
	json_write_open(&w, NULL, '{');
	ret = json_enter(r);
	for (first = true; !ret; first = false) {
		ret = json_object_next(r, first, &key, &more);
		if (ret || !more)
			break;
		ret = json_colon(r);
		if (!ret)
			ret = decode_expect_string(r, "a string", &value);
		if (!ret)
			json_write_span(&w, &key, &value);
	}
	if (ret)
		return ret;
	json_write_close(&w, '}');
	if (w.overflow)
		return json_fail(r, "invalid length, expected at most %zu bytes", cap - 2);
	out[w.len] = '\0';
	return 0;
}

/* A section for a device that mote does not have: only nothing may be in it. */
static int read_absent(struct json_reader *r, const struct decode_field *f)
{
	enum json_type type;
	bool more = false;
	int ret;

	ret = json_peek(r, &type);
	if (ret)
		return ret;
	if (type == JSON_NULL)
		return json_null(r);
	if (type == JSON_ARRAY) {
		ret = json_enter(r);
		if (!ret)
			ret = json_array_next(r, true, &more);
		if (ret || !more)
			return ret;
	}
	return json_fail(r, "`%s`: %s", f->name, f->refusal);
}

int decode_value(struct json_reader *r, const struct decode_field *f, void *out)
{
	switch (f->type) {
	case DECODE_BOOL:
		return read_bool(r, out);
	case DECODE_U8:
	case DECODE_U16:
	case DECODE_U32:
	case DECODE_U64:
	case DECODE_USIZE:
		return read_integer(r, f->type, out);
	case DECODE_STRING:
		return read_string(r, "a string", out, f->size);
	case DECODE_PATH:
		return read_string(r, "path string", out, f->size);
	case DECODE_ENUM:
		return read_enum(r, f->names, out);
	case DECODE_MAC:
		return read_mac(r, out);
	case DECODE_LEVEL:
		return read_level(r, out);
	case DECODE_STRMAP:
		return read_strmap(r, out, f->size);
	case DECODE_NUMBER:
	case DECODE_BITS:
	case DECODE_CAP:
		return decode_cpu_value(r, f, out);
	default:
		return read_absent(r, f);
	}
}
