/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmdline.c - builds the kernel command line. See cmdline.h. Loop thread, build time.
 */
#include "boot/cmdline.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/text.h"

/* The defaults that existing users of this API rely on when they leave boot_args out. */
const char cmdline_default[] = "reboot=k panic=1 nomodule 8250.nr_uarts=0 i8042.noaux i8042.nomux "
			       "i8042.dumbkbd swiotlb=noforce";

/*
 * Only printable ASCII: a control character would end up in the guest's logs and in /proc/cmdline,
 * where a newline forges lines, and the kernel gives other bytes no meaning.
 */
static int check_text(const char *s, struct err *e)
{
	for (size_t i = 0; s[i]; i++)
		if (s[i] < 0x20 || s[i] > 0x7e)
			return err_set(e, 0,
				       "kernel command line: byte 0x%02x at position %zu is not "
				       "printable ASCII",
				       (unsigned int)(unsigned char)s[i], i);
	return 0;
}

static int check_room(size_t len, struct err *e)
{
	if (len < CMDLINE_MAX)
		return 0;
	(void)err_set(e, 0, "kernel command line: %zu characters, at most %d fit", len,
		      CMDLINE_MAX - 1);
	if (e)
		e->code = E2BIG;
	return -E2BIG;
}

/*
 * Where the word "--" begins, including one blank before it; the end when there is none. Blanks
 * inside double quotes do not end a word, as in the kernel's next_arg().
 */
static size_t find_init_args(const char *s, size_t len)
{
	bool quoted = false;
	size_t word = 0;

	for (size_t i = 0; i <= len; i++) {
		if (s[i] == '"')
			quoted = !quoted;
		if (i < len && (s[i] != ' ' || quoted))
			continue;
		if (i - word == 2 && s[word] == '-' && s[word + 1] == '-')
			return word ? word - 1 : 0;
		word = i + 1;
	}
	return len;
}

int cmdline_init(struct cmdline *c, const char *args, struct err *e)
{
	int r;

	*c = (struct cmdline){ 0 };
	if (!args)
		args = cmdline_default;
	r = check_room(strlen(args), e);
	if (!r)
		r = check_text(args, e);
	if (r)
		return r;

	c->len = strlen(args);
	memcpy(c->text, args, c->len + 1);
	c->insert = find_init_args(c->text, c->len);
	return 0;
}

int cmdline_add(struct cmdline *c, const char *word, struct err *e)
{
	size_t n = strlen(word);
	/* A blank goes before the word, or behind it when it becomes the first and more follows. */
	bool before = c->insert > 0;
	bool after = c->insert == 0 && c->len > 0;
	size_t grow = n + before + after;
	char *at = c->text + c->insert;
	int r;

	r = check_text(word, e);
	if (!r)
		r = check_room(c->len + grow, e);
	if (r)
		return r;

	memmove(at + grow, at, c->len - c->insert + 1);
	if (before)
		*at++ = ' ';
	memcpy(at, word, n);
	if (after)
		at[n] = ' ';
	/* With "--" as the very first word, the next addition follows this one's text. */
	c->insert += before + n;
	c->len += grow;
	return 0;
}

int cmdline_add_root(struct cmdline *c, const char *partuuid, bool read_only, struct err *e)
{
	char word[128] = "root=/dev/vda";
	int r;

	if (partuuid &&
	    text_print(word, sizeof(word), "root=PARTUUID=%s", partuuid) == sizeof(word) - 1)
		return err_set(e, 0, "partuuid: longer than any partition id");
	r = cmdline_add(c, word, e);
	return r ? r : cmdline_add(c, read_only ? "ro" : "rw", e);
}

int cmdline_add_virtio_mmio(struct cmdline *c, uint64_t addr, unsigned int gsi, struct err *e)
{
	char word[64];

	text_print(word, sizeof(word), "virtio_mmio.device=4K@0x%" PRIx64 ":%u", addr, gsi);
	return cmdline_add(c, word, e);
}
