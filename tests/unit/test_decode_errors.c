/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every kind of refusal by the decoders, word for word with line and column, and what lies beside
 * each that must pass.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decode_cases.h"

/* Decode from a block of exactly the text's size, so that a sanitizer sees a read behind it. */
static int decode(const struct decode_table *t, const char *text, size_t len, struct err *e)
{
	static char out[128 * 1024];
	char *copy = malloc(len ? len : 1);
	int ret;

	cr_assert(t->size <= sizeof(out));
	memcpy(copy, text, len);
	ret = decode_text(t, copy, len, out, NULL, e);
	free(copy);
	return ret;
}

Test(decode_errors, table)
{
	size_t i;

	for (i = 0; i < sizeof(decode_cases) / sizeof(decode_cases[0]); i++) {
		const struct decode_case *c = &decode_cases[i];
		struct err e = { 0 };
		int ret = decode(c->table, c->body, strlen(c->body), &e);

		if (!c->error)
			cr_expect_eq(ret, 0, "%s: %s: %s", c->table->name, c->body, e.msg);
		else
			cr_expect(ret == -22 && !strcmp(e.msg, c->error),
				  "%s: %s\n got %s\nwant %s", c->table->name, c->body,
				  ret ? e.msg : "ok", c->error);
	}
}

/* No cut of a valid body crashes, and none is taken for a whole one. */
Test(decode_errors, every_prefix)
{
	size_t i, len;

	for (i = 0; i < sizeof(decode_cases) / sizeof(decode_cases[0]); i++) {
		const struct decode_case *c = &decode_cases[i];
		const char *end = c->error ? NULL : strrchr(c->body, '}');

		for (len = 0; end && len <= (size_t)(end - c->body); len++) {
			struct err e;

			cr_expect_eq(decode(c->table, c->body, len, &e), -22, "%.*s", (int)len,
				     c->body);
		}
	}
}

static void expect_error(const struct decode_table *t, const char *body, size_t len,
			 const char *want)
{
	struct err e = { 0 };

	cr_expect_eq(decode(t, body, len, &e), -22);
	cr_expect_str_eq(e.msg, want);
}

#define EXPECT_ERROR(t, body, want) expect_error(t, body, sizeof(body) - 1, want)

Test(decode_errors, bytes_that_are_no_text)
{
	EXPECT_ERROR(&decode_vm_patch, "{\"state\":\"\xff\"}",
		     "invalid unicode code point at line 1 column 12");
	EXPECT_ERROR(&decode_vm_patch, "{\"\xc0\xaf\":1}",
		     "invalid unicode code point at line 1 column 5");
	EXPECT_ERROR(&decode_vm_patch, "{\"state\":\"\xed\xa0\x80\"}",
		     "invalid unicode code point at line 1 column 14");
	EXPECT_ERROR(&decode_vm_patch, "\0", "expected value at line 1 column 1");
	EXPECT_ERROR(&decode_vm_patch, "{\"state\":\"Paused\"}\0",
		     "trailing characters at line 1 column 19");
	EXPECT_ERROR(&decode_vm_patch, "{\"state\0\":1}",
		     "control character (\\u0000-\\u001F) found while parsing a string at line 1 "
		     "column 8");
}

/* Where mote is stricter than what its clients knew: all of these name the fault. */
Test(decode_errors, stricter)
{
	EXPECT_ERROR(&decode_machine_put, "[1,128]",
		     "invalid type: sequence, expected struct MachineConfig at line 1 column 0");
	EXPECT_ERROR(&decode_vm_patch, "{\"state\":{\"Paused\":null}}",
		     "expected value at line 1 column 10");
	EXPECT_ERROR(&decode_boot_source, "{\"kernel_image_path\":\"/a\\u0000b\"}",
		     "invalid value: a string with a NUL character, expected a string at line 1 "
		     "column 32");
	EXPECT_ERROR(
		&decode_net_put,
		"{\"iface_id\":\"1\",\"host_dev_name\":\"t\",\"guest_mac\":\"+6:00:00:00:00:00\"}",
		"The provided MAC address is invalid. at line 1 column 68");
	EXPECT_ERROR(&decode_metrics, "{\"x\":\"\xff\"}",
		     "invalid unicode code point at line 1 column 8");
}

Test(decode_errors, lengths)
{
	static char body[64 * 1024];
	struct err e = { 0 };
	size_t n;

	/* The longest path that passes, and one more. */
	n = (size_t)snprintf(body, sizeof(body), "{\"kernel_image_path\":\"%0*d\"}", 4095, 0);
	cr_expect_eq(decode(&decode_boot_source, body, n, &e), 0);
	n = (size_t)snprintf(body, sizeof(body), "{\"kernel_image_path\":\"%0*d\"}", 4096, 0);
	cr_expect_eq(decode(&decode_boot_source, body, n, &e), -22);
	cr_expect_str_eq(e.msg, "invalid length 4096, expected at most 4095 bytes at line 1 column "
				"4119");

	/* A client's own text never pushes the position out of the sentence. */
	n = (size_t)snprintf(body, sizeof(body), "{\"%0*d\":1}", 50000, 0);
	cr_expect_eq(decode(&decode_drive_put, body, n, &e), -22);
	cr_expect_not_null(strstr(e.msg, "...`, expected one of `drive_id`"));
	cr_expect_not_null(strstr(e.msg, " at line 1 column 50003"));
	n = (size_t)snprintf(body, sizeof(body), "{\"drive_id\":\"r\",\"is_root_device\":\"%0*d\"}",
			     50000, 0);
	cr_expect_eq(decode(&decode_drive_put, body, n, &e), -22);
	cr_expect_not_null(strstr(e.msg, "...\", expected a boolean at line 1 column 50035"));
}

/* Nesting costs the attacker bytes and us nothing. */
Test(decode_errors, nesting)
{
	static char body[20000] = "{\"metrics_path\":\"/m\",\"x\":";
	size_t start = strlen(body);
	struct err e = { 0 };

	memset(body + start, '[', 10000);
	cr_expect_eq(decode(&decode_metrics, body, start + 10000, &e), -22);
	cr_expect_str_eq(e.msg, "recursion limit exceeded at line 1 column 152");
	memset(body + start, '[', 126);
	memset(body + start + 126, ']', 126);
	body[start + 252] = '}';
	cr_expect_eq(decode(&decode_metrics, body, start + 253, &e), 0, "%s", e.msg);
}

Test(decode_errors, body_prefix)
{
	struct vm_state_request out;
	struct err e = { 0 };

	cr_expect_eq(decode_body(&decode_vm_patch, "{}", 2, &out, &e), -22);
	cr_expect_str_eq(e.msg, "An error occurred when deserializing the json body of a request: "
				"missing field `state` at line 1 column 2.");
}
