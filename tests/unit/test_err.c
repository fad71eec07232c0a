/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_err.c - errors: code, sentence, context in front, and texts that do not fit.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "base/err.h"

static struct err e;

Test(err, says_what_failed_and_why)
{
	cr_assert_eq(err_set(&e, ENOENT, "open %s", "/x"), -ENOENT);
	cr_assert_eq(e.code, ENOENT);
	cr_assert_str_eq(e.msg, "open /x: No such file or directory (os error 2)");
}

Test(err, without_errno_the_sentence_is_all)
{
	cr_assert_eq(err_set(&e, 0, "%d is too many", 7), -EINVAL);
	cr_assert_eq(e.code, EINVAL);
	cr_assert_str_eq(e.msg, "7 is too many");
}

Test(err, wraps_from_inside_out)
{
	err_set(&e, EBUSY, "open tap0");
	cr_assert_eq(err_wrap(&e, "interface %s", "eth0"), -EBUSY);
	cr_assert_eq(err_wrap(&e, "start"), -EBUSY);
	cr_assert_str_eq(e.msg, "start: interface eth0: open tap0: Device or resource busy "
				"(os error 16)");
}

Test(err, nobody_needs_to_listen)
{
	cr_assert_eq(err_set(NULL, EIO, "x"), -EIO);
	cr_assert_eq(err_set(NULL, 0, "x"), -EINVAL);
	cr_assert_lt(err_wrap(NULL, "x"), 0);
}

static const char *filled(char *buf, size_t len, char c)
{
	memset(buf, c, len);
	buf[len] = '\0';
	return buf;
}

Test(err, a_cut_text_ends_in_dots_and_stays_inside)
{
	struct {
		struct err e;
		char canary[8];
	} s = { .canary = "canary" };
	char text[2 * ERR_MSG_MAX];

	for (size_t len = ERR_MSG_MAX - 60; len < ERR_MSG_MAX + 60; len++) {
		cr_assert_eq(err_set(&s.e, EIO, "%s", filled(text, len, 'a')), -EIO);
		cr_assert_lt(strlen(s.e.msg), ERR_MSG_MAX);
		if (len + strlen(": Input/output error (os error 5)") >= ERR_MSG_MAX)
			cr_assert_str_eq(s.e.msg + ERR_MSG_MAX - 4, "...", "at %zu", len);
		else
			cr_assert_not_null(strstr(s.e.msg, "(os error 5)"));
		cr_assert_str_eq(s.canary, "canary");
	}
}

Test(err, a_wrap_that_does_not_fit_keeps_the_front)
{
	struct {
		struct err e;
		char canary[8];
	} s = { .canary = "canary" };
	char text[2 * ERR_MSG_MAX];

	/* 100 bytes, ": " and the NUL leave room for ERR_MSG_MAX - 103 */
	for (size_t len = ERR_MSG_MAX - 102; len < ERR_MSG_MAX + 20; len++) {
		err_set(&s.e, 0, "%s", filled(text, 100, 'm'));
		cr_assert_eq(err_wrap(&s.e, "%s", filled(text, len, 'f')), -EINVAL);
		cr_assert_eq(s.e.msg[0], 'f');
		cr_assert_eq(strlen(s.e.msg), ERR_MSG_MAX - 1);
		cr_assert_str_eq(s.e.msg + ERR_MSG_MAX - 4, "...");
		cr_assert_str_eq(s.canary, "canary");
	}
	err_set(&s.e, 0, "%s", filled(text, 100, 'm'));
	err_wrap(&s.e, "%s", filled(text, ERR_MSG_MAX - 1 - 2 - 100, 'f'));
	cr_assert_eq(s.e.msg[ERR_MSG_MAX - 2], 'm', "what fits to the last byte is not cut");
}
