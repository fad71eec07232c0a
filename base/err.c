/* SPDX-License-Identifier: Apache-2.0 */
/*
 * err.c - formats errors into the caller's struct err; see err.h.
 */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "base/text.h"

/* A text that does not fit ends in "..." so that nobody takes the cut for the end. */
static void err_finish(struct text *t)
{
	if (t->cut)
		memcpy(t->buf + t->cap - 3, "...", 3);
	t->buf[t->len] = '\0';
}

int err_set(struct err *e, int errnum, const char *fmt, ...)
{
	int code = errnum ? errnum : EINVAL;
	struct text t;
	va_list ap;

	if (!e)
		return -code;
	e->code = code;
	t = text_init(e->msg, sizeof(e->msg) - 1);
	va_start(ap, fmt);
	text_vformat(&t, fmt, ap);
	va_end(ap);
	if (errnum)
		text_format(&t, ": %s (os error %d)", strerror(errnum), errnum);
	err_finish(&t);
	return -code;
}

int err_wrap(struct err *e, const char *fmt, ...)
{
	char msg[ERR_MSG_MAX];
	struct text t = text_init(msg, sizeof(msg) - 1);
	va_list ap;

	if (!e)
		return -EINVAL;
	va_start(ap, fmt);
	text_vformat(&t, fmt, ap);
	va_end(ap);
	text_format(&t, ": %s", e->msg);
	err_finish(&t);
	memcpy(e->msg, msg, t.len + 1);
	return -e->code;
}
