/* SPDX-License-Identifier: Apache-2.0 */
/*
 * err.c - formats errors into the caller's struct err; see err.h.
 */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* A text that does not fit ends in "..." so that nobody takes the cut for the end. */
static void err_mark_cut(char *msg, int len)
{
	if (len >= ERR_MSG_MAX)
		memcpy(msg + ERR_MSG_MAX - 4, "...", 4);
}

int err_set(struct err *e, int errnum, const char *fmt, ...)
{
	int code = errnum ? errnum : EINVAL;
	va_list ap;
	int len;

	if (!e)
		return -code;
	e->code = code;
	va_start(ap, fmt);
	len = vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
	va_end(ap);
	if (errnum && len >= 0 && len < ERR_MSG_MAX)
		len += snprintf(e->msg + len, sizeof(e->msg) - (size_t)len, ": %s (os error %d)",
				strerror(errnum), errnum);
	err_mark_cut(e->msg, len);
	return -code;
}

int err_wrap(struct err *e, const char *fmt, ...)
{
	char front[ERR_MSG_MAX];
	size_t front_len, msg_len;
	va_list ap;

	if (!e)
		return -EINVAL;
	va_start(ap, fmt);
	vsnprintf(front, sizeof(front) - 2, fmt, ap);
	va_end(ap);
	front_len = strlen(front);
	memcpy(front + front_len, ": ", 2);
	front_len += 2;

	msg_len = strlen(e->msg);
	if (front_len + msg_len >= sizeof(e->msg)) {
		msg_len = sizeof(e->msg) - 1 - front_len;
		memmove(e->msg + front_len, e->msg, msg_len);
		memcpy(e->msg, front, front_len);
		err_mark_cut(e->msg, ERR_MSG_MAX);
	} else {
		memmove(e->msg + front_len, e->msg, msg_len + 1);
		memcpy(e->msg, front, front_len);
	}
	return -e->code;
}
