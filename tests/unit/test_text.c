/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_text.c - formatted text: what libc's printf makes of the same format is what we make.
 */
#include <criterion/criterion.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

#define SAME(...)                                                                                  \
	do {                                                                                       \
		char ours[256], theirs[256];                                                       \
		int len = snprintf(theirs, sizeof(theirs), __VA_ARGS__);                           \
		cr_assert_eq(text_print(ours, sizeof(ours), __VA_ARGS__), (size_t)len);            \
		cr_assert_str_eq(ours, theirs);                                                    \
	} while (0)

Test(text, strings)
{
	SAME("plain");
	SAME("%s", "");
	SAME("<%s> and %s%s", "one", "two", "three");
	SAME("100%% of %c%c", 'a', 'z');
	SAME("%.0s%.3s%.64s|", "none", "three of it", "all");
	for (int n = -1; n < 7; n++)
		SAME("<%.*s>%d", n, "12345", n);
}

Test(text, a_precision_stops_before_the_end_is_looked_for)
{
	const char raw[3] = { 'r', 'a', 'w' };

	SAME("%.*s %.3s", 3, raw, raw);
}

Test(text, numbers)
{
	static const long long values[] = { 0,	      1,	-1,	   9,
					    10,	      15,	16,	   INT_MAX,
					    INT_MIN,  UINT_MAX, LONG_MAX,  LONG_MIN,
					    0x1000LL, 99999LL,	1LL << 32, 1LL << 62 };

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		long long v = values[i];

		SAME("%d %u %x|", (int)v, (unsigned int)v, (unsigned int)v);
		SAME("%ld %lu %lx|", (long)v, (unsigned long)v, (unsigned long)v);
		SAME("%lld %llu %llx|", v, (unsigned long long)v, (unsigned long long)v);
		SAME("%zu %zx|", (size_t)v, (size_t)v);
		SAME("%6llu %3x|", (unsigned long long)v, (unsigned int)v);
		SAME("%02x %04x %08u %016llx|", (unsigned int)v, (unsigned int)v, (unsigned int)v,
		     (unsigned long long)v);
	}
}

Test(text, what_does_not_fit_is_cut)
{
	char whole[64], buf[64];
	size_t len =
		text_print(whole, sizeof(whole), "%s %d %x %c%%", "text", -12345, 0xabcdU, 'c');

	for (size_t cap = 1; cap <= len + 2; cap++) {
		memset(buf, '#', sizeof(buf));
		cr_assert_eq(text_print(buf, cap, "%s %d %x %c%%", "text", -12345, 0xabcdU, 'c'),
			     cap > len ? len : cap - 1);
		cr_assert_eq(memcmp(buf, whole, cap > len ? len : cap - 1), 0, "%zu", cap);
		cr_assert_eq(buf[cap > len ? len : cap - 1], '\0');
		cr_assert_eq(buf[cap > len ? len + 1 : cap], '#');
	}
}

Test(text, formats_append_and_tell_of_cuts)
{
	char buf[8];
	struct text t = text_init(buf, sizeof(buf));

	text_str(&t, "ab");
	text_format(&t, "%d%s", 34, "ef");
	cr_assert_eq(t.len, 6);
	cr_assert_not(t.cut);
	text_format(&t, "%d", 789);
	cr_assert(t.cut);
	cr_assert_eq(memcmp(buf, "ab34ef78", 8), 0);
}
