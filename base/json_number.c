/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_number.c - numbers: their grammar, 64-bit integers, and the spelling of the rest in errors.
 *
 * No floating point: no field takes a float, so one appears only in error sentences and is
 * respelled from its own digits. The C library's conversions would cost more than this whole
 * reader. May be called on any thread.
 */
#include <string.h>

#include "base/text.h"

#include "base/json_text.h"

/* The significant digits of a literal, and where its decimal point belongs. */
struct decimal {
	bool negative;
	char digit[17]; /* what identifies a double */
	size_t nr;	/* 0: the value is zero */
	long point;	/* the value is 0.DIGITS times ten to this */
};

/* Round up the kept digits; 99..9 becomes 1 with one more place before the point. */
static void decimal_round_up(struct decimal *d)
{
	size_t i = d->nr;

	while (i && d->digit[i - 1] == '9')
		i--;
	if (!i) {
		d->digit[0] = '1';
		d->nr = 1;
		d->point++;
		return;
	}
	d->digit[i - 1]++;
	d->nr = i;
}

static void decimal_parse(struct decimal *d, const char *p, size_t len)
{
	const char *end = p + len;
	bool seen_point = false, up = false, full = false;
	bool exp_negative = false;
	long exp = 0;

	memset(d, 0, sizeof(*d));
	d->negative = *p == '-';
	for (p += d->negative; p < end && *p != 'e' && *p != 'E'; p++) {
		if (*p == '.') {
			seen_point = true;
			continue;
		}
		if (d->nr || *p != '0') {
			if (d->nr < sizeof(d->digit)) {
				d->digit[d->nr++] = *p;
			} else if (!full) {
				up = *p >= '5';
				full = true;
			}
			d->point += !seen_point;
		} else {
			d->point -= seen_point;
		}
	}
	for (p += p < end; p < end; p++) {
		if (*p == '-')
			exp_negative = true;
		else if (*p != '+' && exp < 1000000000)
			exp = exp * 10 + (*p - '0');
	}
	d->point += exp_negative ? -exp : exp;
	if (up)
		decimal_round_up(d);
	while (d->nr && d->digit[d->nr - 1] == '0')
		d->nr--;
}

/* Whether a literal is beyond the largest double. */
static bool float_overflows(const char *text, size_t len)
{
	/* The first 17 digits of what rounds to infinity: 2^1024 - 2^970. */
	static const char limit[] = "17976931348623158";
	struct decimal d;
	size_t i;

	decimal_parse(&d, text, len);
	if (!d.nr || d.point < 309)
		return false;
	if (d.point > 309)
		return true;
	for (i = 0; i < sizeof(d.digit); i++) {
		char c = i < d.nr ? d.digit[i] : '0';

		if (c != limit[i])
			return c > limit[i];
	}
	return true;
}

/*
 * As serde_json spells floats: plain for 1e-5 to 1e16, scientific beyond. Of a literal with more
 * than 15 digits serde_json prints the shortest that reads back the same, maybe a digit less.
 */
static void float_print(const char *text, size_t len, char *out, size_t cap)
{
	struct text t = text_init(out, cap - 1);
	struct decimal d;
	int nr, point;

	decimal_parse(&d, text, len);
	nr = (int)d.nr;
	point = (int)d.point;
	if (d.negative)
		text_char(&t, '-');
	if (!nr || d.point < -323)
		text_str(&t, "0.0");
	else if (d.point >= nr && d.point <= 16)
		text_format(&t, "%.*s%.*s.0", nr, d.digit, point - nr, "0000000000000000");
	else if (d.point > 0 && d.point <= 16)
		text_format(&t, "%.*s.%.*s", point, d.digit, nr - point, d.digit + point);
	else if (d.point <= 0 && d.point > -5)
		text_format(&t, "0.%.*s%.*s", -point, "0000", nr, d.digit);
	else
		text_format(&t, "%c%s%.*se%s%ld", d.digit[0], nr > 1 ? "." : "", nr - 1,
			    d.digit + 1, d.point > 0 ? "+" : "", d.point - 1);
	out[t.len] = '\0';
}

/* Digits behind a decimal point or an exponent's sign. */
static void read_digits(struct json_reader *r)
{
	while (json_digit_next(r))
		r->pos++;
}

/* ".digits", at least one. */
static int read_fraction(struct json_reader *r)
{
	r->pos++;
	if (!json_digit_next(r)) {
		if (json_at_end(r) && !r->skipping)
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
	negative = json_next(r) == '-';
	if (negative || json_next(r) == '+')
		r->pos++;
	if (json_at_end(r)) {
		if (r->skipping)
			return json_fail(r, "invalid number");
		return json_fail(r, "EOF while parsing a value");
	}
	if (!json_digit_next(r)) {
		r->pos++;
		return json_fail(r, "invalid number");
	}
	while (json_digit_next(r)) {
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
	if (json_at_end(r)) {
		if (r->skipping)
			return json_fail(r, "invalid number");
		return json_fail(r, "EOF while parsing a value");
	}
	if (r->in[r->pos] == '0') {
		r->pos++;
		if (json_digit_next(r)) /* a leading zero: octal to some, so to nobody here */
			return json_fail_next(r, "invalid number");
		return 0;
	}
	if (!json_digit_next(r)) {
		r->pos++;
		return json_fail(r, "invalid number");
	}
	for (; json_digit_next(r); r->pos++) {
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
	bool negative = json_next(r) == '-';
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
	if (json_next(r) == '.') {
		out->kind = JSON_F64;
		ret = read_fraction(r);
	}
	if (!ret && (json_next(r) == 'e' || json_next(r) == 'E')) {
		out->kind = JSON_F64;
		ret = read_exponent(r, is_zero_literal(r->in + start, r->in + r->pos));
	}
	if (ret)
		return ret;
	out->text = r->in + start;
	out->len = r->pos - start;
	if (out->kind == JSON_F64) {
		out->u64 = 0;
		if (!r->skipping && float_overflows(out->text, out->len))
			return json_fail(r, "number out of range");
	}
	return 0;
}

int json_invalid_number(struct json_reader *r, const struct json_number *n, const char *expected)
{
	char text[64];

	if (n->kind != JSON_F64)
		return json_fail(r, "invalid value: integer `%.*s`, expected %s", (int)n->len,
				 n->text, expected);
	float_print(n->text, n->len, text, sizeof(text));
	return json_fail(r, "invalid type: floating point `%s`, expected %s", text, expected);
}
