/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_boot_cmdline.c - what the kernel reads, and what init reads after " -- ".
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "boot/cmdline.h"

Test(boot_cmdline, default_and_empty)
{
	struct cmdline c;
	struct err e = { 0 };

	cr_assert(cmdline_init(&c, NULL, &e) == 0);
	cr_assert_str_eq(c.text, "reboot=k panic=1 nomodule 8250.nr_uarts=0 i8042.noaux "
				 "i8042.nomux i8042.dumbkbd swiotlb=noforce");
	cr_assert(cmdline_init(&c, "", &e) == 0);
	cr_assert_str_eq(c.text, "");
	cr_assert(cmdline_add(&c, "pci=off", &e) == 0);
	cr_assert_str_eq(c.text, "pci=off");
	cr_assert(c.len == 7);
}

Test(boot_cmdline, additions)
{
	struct cmdline c;
	struct err e = { 0 };

	cr_assert(cmdline_init(&c, "console=ttyS0", &e) == 0);
	cr_assert(cmdline_add(&c, "pci=off", &e) == 0);
	cr_assert(cmdline_add_root(&c, NULL, false, &e) == 0);
	cr_assert(cmdline_add_virtio_mmio(&c, 0xc0001000, 5, &e) == 0);
	cr_assert_str_eq(c.text, "console=ttyS0 pci=off root=/dev/vda rw "
				 "virtio_mmio.device=4K@0xc0001000:5");
	cr_assert(c.len == strlen(c.text));

	cr_assert(cmdline_init(&c, "a", &e) == 0);
	cr_assert(cmdline_add_root(&c, "0eaa91a0-01", true, &e) == 0);
	cr_assert_str_eq(c.text, "a root=PARTUUID=0eaa91a0-01 ro");
}

Test(boot_cmdline, init_arguments_stay_last_and_untouched)
{
	static const struct {
		const char *args, *want;
	} row[] = {
		{ "a -- b  c", "a x y -- b  c" },
		{ "a --", "a x y --" },
		{ "-- b", "x y -- b" },
		{ "--", "x y --" },
		{ "a -- b -- c", "a x y -- b -- c" },
		{ "a --b", "a --b x y" },
		{ "a b--", "a b-- x y" },
		{ "a=\"b -- c\" d", "a=\"b -- c\" d x y" },
		{ "a=\"b -- c\" -- d", "a=\"b -- c\" x y -- d" },
		{ "a  -- b", "a  x y -- b" },
	};

	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		struct cmdline c;
		struct err e = { 0 };

		cr_assert(cmdline_init(&c, row[i].args, &e) == 0);
		cr_assert(cmdline_add(&c, "x", &e) == 0);
		cr_assert(cmdline_add(&c, "y", &e) == 0);
		cr_assert_str_eq(c.text, row[i].want);
		cr_assert(c.len == strlen(c.text));
	}
}

Test(boot_cmdline, only_printable_ascii)
{
	static const char *const bad[] = { "a\nb", "a\tb", "caf\xc3\xa9", "\x7f", "\x01" };
	struct cmdline c;
	struct err e = { 0 };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		cr_assert(cmdline_init(&c, bad[i], &e) == -EINVAL);
		cr_assert(strstr(e.msg, "printable ASCII"), "%s", e.msg);
		cr_assert(cmdline_init(&c, "a", &e) == 0);
		cr_assert(cmdline_add(&c, bad[i], &e) == -EINVAL);
		cr_assert_str_eq(c.text, "a");
	}
	cr_assert(cmdline_init(&c, "caf\xc3\xa9", &e) == -EINVAL);
	cr_assert(strstr(e.msg, "byte 0xc3 at position 3"), "%s", e.msg);
	cr_assert(cmdline_init(&c, "a\n", NULL) == -EINVAL);
}

Test(boot_cmdline, length_limit_includes_the_nul)
{
	static char text[CMDLINE_MAX + 2];
	struct cmdline c;
	struct err e = { 0 };

	memset(text, 'a', CMDLINE_MAX);
	cr_assert(cmdline_init(&c, text, &e) == -E2BIG);
	cr_assert(e.code == E2BIG);
	cr_assert(strstr(e.msg, "2048 characters, at most 2047 fit"), "%s", e.msg);
	text[CMDLINE_MAX - 1] = 0;
	cr_assert(cmdline_init(&c, text, &e) == 0);
	cr_assert(c.len == CMDLINE_MAX - 1);
	cr_assert(cmdline_add(&c, "", &e) == -E2BIG);
	cr_assert(c.len == CMDLINE_MAX - 1);

	text[CMDLINE_MAX - 9] = 0; /* room for a blank and seven characters */
	cr_assert(cmdline_init(&c, text, &e) == 0);
	cr_assert(cmdline_add(&c, "pci=off8", &e) == -E2BIG);
	cr_assert(cmdline_add(&c, "pci=off", &e) == 0);
	cr_assert(c.len == CMDLINE_MAX - 1 && strlen(c.text) == c.len);
}

Test(boot_cmdline, partuuid_too_long)
{
	static char uuid[300];
	struct cmdline c;
	struct err e = { 0 };

	memset(uuid, 'a', sizeof(uuid) - 1);
	cr_assert(cmdline_init(&c, "", &e) == 0);
	cr_assert(cmdline_add_root(&c, uuid, true, &e) == -EINVAL);
	cr_assert_str_eq(c.text, "");
}
