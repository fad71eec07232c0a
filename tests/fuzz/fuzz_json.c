/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_json.c - hostile text for the JSON reader, through every decoder and the config file.
 *
 * First byte: which table. The rest is the body. Besides memory errors it looks for broken
 * promises: an accepted text must be skippable as a whole, what is decoded must be printable, and
 * the reply's text must be accepted by the reader again.
 */
#include <stdlib.h>
#include <string.h>

#include "api-socket/config_file.h"
#include "api-socket/decode.h"
#include "api-socket/reply.h"
#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct decode_table *const tables[] = {
	&decode_machine_put, &decode_machine_patch, &decode_boot_source, &decode_drive_put,
	&decode_drive_patch, &decode_net_put,	    &decode_net_patch,	 &decode_action,
	&decode_vm_patch,    &decode_logger,	    &decode_metrics,	 &decode_serial,
	&decode_config_file,
};

/* Fails on purpose, in a way that every fuzzer notices. */
static void check(bool ok)
{
	if (!ok)
		abort();
}

static bool well_formed(const char *text, size_t len)
{
	struct json_reader r;
	struct err e;

	json_init(&r, text, len, &e);
	return json_skip(&r) == 0 && json_end(&r) == 0;
}

/* What was accepted fits its struct: print it as the API would. */
static void print_back(const struct decode_table *t, const void *out)
{
	static struct config c;
	static char buf[REPLY_MAX];
	long len;

	config_init(&c);
	if (t == &decode_drive_put)
		c.drive[c.nr_drives++] = *(const struct drive_config *)out;
	else if (t == &decode_net_put)
		c.net[c.nr_nets++] = *(const struct net_config *)out;
	else if (t == &decode_boot_source)
		c.boot_source = *(const struct boot_source_config *)out;
	else if (t == &decode_machine_put)
		config_update_machine(&c, out, NULL);
	c.has_boot_source = t == &decode_boot_source;
	len = reply_vm_config(buf, sizeof(buf), &c);
	check(len > 0 && well_formed(buf, (size_t)len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char out[256 * 1024];
	const struct decode_table *t;
	struct err e = { 0 };
	const char *text;
	int ret;

	if (!size)
		return 0;
	t = tables[data[0] % (sizeof(tables) / sizeof(tables[0]))];
	text = (const char *)data + 1;
	check(t->size <= sizeof(out));
	ret = decode_text(t, text, size - 1, out, NULL, &e);
	check(ret == 0 || (ret < 0 && e.code > 0 && strstr(e.msg, " at line ")));
	if (ret == 0) {
		check(well_formed(text, size - 1));
		print_back(t, out);
	}
	return 0;
}
