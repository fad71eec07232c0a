/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_text.c - text around the JSON reader: positions and sentences of errors, UTF-8, unescaping,
 * and the spelling of strings inside error sentences. May be called on any thread.
 */
#include "base/json_text.h"

#include <stdarg.h>
#include <string.h>

#include "base/text.h"

/* Room for the longest sentence: a quoted value and the names of a large table's fields. */
#define SENTENCE_MAX (ERR_MSG_MAX - 64)

/* Line and column of an error whose last byte is @pos - 1; both start at 1, as editors count. */
static int __attribute__((format(printf, 3, 0)))
fail_at(struct json_reader *r, size_t pos, const char *fmt, va_list ap)
{
	char msg[SENTENCE_MAX];
	struct text t = text_init(msg, sizeof(msg) - 1);
	size_t line = 1, start = 0, i;

	if (pos > r->len)
		pos = r->len;
	for (i = 0; i < pos; i++) {
		if (r->in[i] == '\n') {
			line++;
			start = i + 1;
		}
	}
	text_vformat(&t, fmt, ap);
	msg[t.len] = '\0';
	return err_set(r->e, 0, "%s at line %zu column %zu", msg, line, pos - start);
}

int json_fail(struct json_reader *r, const char *fmt, ...)
{
	va_list ap;
	int ret;

	va_start(ap, fmt);
	ret = fail_at(r, r->pos, fmt, ap);
	va_end(ap);
	return ret;
}

int json_fail_next(struct json_reader *r, const char *fmt, ...)
{
	va_list ap;
	int ret;

	va_start(ap, fmt);
	ret = fail_at(r, r->pos + 1, fmt, ap);
	va_end(ap);
	return ret;
}

int json_fail_member(struct json_reader *r, const char *fmt, ...)
{
	va_list ap;
	int ret;

	json_skip_space(r);
	if (r->pos < r->len && r->in[r->pos] == '}')
		r->pos++;
	va_start(ap, fmt);
	ret = fail_at(r, r->pos, fmt, ap);
	va_end(ap);
	return ret;
}

bool json_hex(const char *p, size_t n, unsigned int *out)
{
	unsigned int v = 0;

	for (; n; n--, p++) {
		if (*p >= '0' && *p <= '9')
			v = v << 4 | (unsigned int)(*p - '0');
		else if (*p >= 'a' && *p <= 'f')
			v = v << 4 | (unsigned int)(*p - 'a' + 10);
		else if (*p >= 'A' && *p <= 'F')
			v = v << 4 | (unsigned int)(*p - 'A' + 10);
		else
			return false;
	}
	*out = v;
	return true;
}

/*
 * Length of the character that starts at @p, or 0. The second byte's range depends on the first:
 * that is what excludes overlong forms (a second spelling of '/' or NUL), surrogates and what lies
 * beyond Unicode.
 */
static size_t utf8_char(const unsigned char *p, size_t len)
{
	unsigned char low = 0x80, high = 0xbf;
	size_t n, i;

	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	n = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (p[0] == 0xe0)
		low = 0xa0;
	else if (p[0] == 0xed)
		high = 0x9f;
	else if (p[0] == 0xf0)
		low = 0x90;
	else if (p[0] == 0xf4)
		high = 0x8f;
	if (len < n || p[1] < low || p[1] > high)
		return 0;
	for (i = 2; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

bool json_utf8_valid(const char *p, size_t len)
{
	size_t i, n;

	for (i = 0; i < len; i += n) {
		n = utf8_char((const unsigned char *)p + i, len - i);
		if (!n)
			return false;
	}
	return true;
}

/* Encode @c, valid by construction; returns the number of bytes at @out. */
static size_t utf8_put(unsigned int c, char *out)
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

/* One unescaped character (or byte of one) of a checked string; *len bytes of @s are used up. */
static size_t unescape(const char *s, size_t *len, char out[4])
{
	static const char from[] = "bfnrt";
	static const char to[] = "\b\f\n\r\t";
	unsigned int v = 0, low = 0xdc00;
	const char *hit;

	out[0] = s[0];
	if (s[0] != '\\') {
		*len = 1;
		return 1;
	}
	*len = 2;
	if (s[1] != 'u') {
		hit = strchr(from, s[1]);
		out[0] = hit ? to[hit - from] : s[1];
		return 1;
	}
	*len = 6;
	json_hex(s + 2, 4, &v);
	if (v >= 0xd800 && v <= 0xdbff) {
		*len = 12;
		json_hex(s + 8, 4, &low);
		v = 0x10000 + ((v - 0xd800) << 10) + (low - 0xdc00);
	}
	return utf8_put(v, out);
}

size_t json_str_copy(const struct json_str *s, char *dst, size_t cap)
{
	size_t i, used, n, len = 0;
	bool cut = false;
	char c[4];

	for (i = 0; i < s->len; i += used) {
		n = unescape(s->p + i, &used, c);
		/* Once something did not fit nothing more is copied, so there are no holes. */
		cut = cut || len + n >= cap;
		if (!cut)
			memcpy(dst + len, c, n);
		else if (len < cap)
			dst[len] = '\0';
		len += n;
	}
	if (!cut)
		dst[len] = '\0';
	return len;
}

bool json_str_eq(const struct json_str *s, const char *text)
{
	size_t i, used, n;
	char c[4];

	for (i = 0; i < s->len; i += used) {
		n = unescape(s->p + i, &used, c);
		if (strncmp(text, c, n) != 0 || !*text)
			return false;
		text += n;
	}
	return !*text;
}

/*
 * Text for error sentences: the value as Rust's Debug prints it (@debug) or as it is. Control
 * characters are never printed raw with @debug: sentences end up in logs and on terminals. Long
 * texts are cut between characters, so that the position at the end of the sentence survives.
 */
void json_str_quote(const struct json_str *s, bool debug, char out[JSON_QUOTE_MAX])
{
	static const char plain[] = "\t\r\n\"\\";
	static const char letter[] = "trn\"\\";
	size_t i, used, n, len = 0;
	char c[4], text[12];
	const char *hit;

	for (i = 0; i < s->len; i += used) {
		n = unescape(s->p + i, &used, c);
		hit = c[0] ? strchr(plain, c[0]) : NULL;
		if (!debug || (c[0] & 0x80) || (!hit && c[0] >= 0x20 && c[0] < 0x7f)) {
			memcpy(text, c, n);
		} else if (hit || !c[0]) {
			text[0] = '\\';
			text[1] = hit ? letter[hit - plain] : '0';
			n = 2;
		} else {
			n = text_print(text, sizeof(text), "\\u{%x}", (unsigned int)c[0]);
		}
		if (len + n + 4 > JSON_QUOTE_MAX) {
			/* Do not leave the head of a character without its tail. */
			while (len && (out[len - 1] & 0xc0) == 0x80)
				len--;
			len -= len && (out[len - 1] & 0x80);
			memcpy(out + len, "...", 3);
			len += 3;
			break;
		}
		memcpy(out + len, text, n);
		len += n;
	}
	out[len] = '\0';
}

int json_invalid_type(struct json_reader *r, const char *expected)
{
	char quoted[JSON_QUOTE_MAX];
	struct json_number n;
	enum json_type type;
	struct json_str s;
	bool b;
	int ret;

	ret = json_peek(r, &type);
	if (ret)
		return ret;
	switch (type) {
	case JSON_NULL:
		ret = json_null(r);
		return ret ? ret : json_fail(r, "invalid type: null, expected %s", expected);
	case JSON_BOOL:
		ret = json_bool(r, &b);
		return ret ? ret :
			     json_fail(r, "invalid type: boolean `%s`, expected %s",
				       b ? "true" : "false", expected);
	case JSON_NUMBER:
		ret = json_number(r, &n);
		if (ret || n.kind == JSON_F64)
			return ret ? ret : json_invalid_number(r, &n, expected);
		return json_fail(r, "invalid type: integer `%.*s`, expected %s", (int)n.len, n.text,
				 expected);
	case JSON_STRING:
		ret = json_string(r, &s);
		if (ret)
			return ret;
		json_str_quote(&s, true, quoted);
		return json_fail(r, "invalid type: string \"%s\", expected %s", quoted, expected);
	case JSON_ARRAY:
		return json_fail(r, "invalid type: sequence, expected %s", expected);
	default:
		return json_fail(r, "invalid type: map, expected %s", expected);
	}
}
