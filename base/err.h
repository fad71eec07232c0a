/* SPDX-License-Identifier: Apache-2.0 */
/*
 * err.h - one error, with its whole context, on the caller's stack.
 *
 * Owns nothing and allocates nothing. Functions that can fail for a reason an operator must read
 * take a `struct err *` as their last parameter and return a negative errno; the data path returns
 * a plain -errno instead. May be called on any thread.
 */
#pragma once

/* Room for one sentence with a path or two; longer texts are cut and end in "...". */
#define ERR_MSG_MAX 1024

struct err {
	int code;	       /* positive errno value, 0 when nothing failed */
	char msg[ERR_MSG_MAX]; /* one sentence without a final full stop or newline */
};

/*
 * err_set - fill an error.
 * @errnum: positive errno value; its text is appended as ": <text> (os error N)". 0 means that the
 *          format says it all; the code is then EINVAL.
 * Returns -code, so that callers write `return err_set(...)`. @e may be NULL.
 */
int err_set(struct err *e, int errnum, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/*
 * err_wrap - put what the caller was doing in front: "<text>: <message so far>".
 * Returns -code like err_set().
 */
int err_wrap(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
