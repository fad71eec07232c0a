/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --config-file: sections, nulls, order of devices, refusals.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api-socket/config_file.h"
#include "base/log.h"

static struct config c;
static struct err e;
static char name[] = "/tmp/mote-config-file-XXXXXX";

static void setup(void)
{
	int fd = mkostemp(name, O_CLOEXEC);

	cr_assert(fd >= 0);
	close(fd);
	config_init(&c);
}

static void teardown(void)
{
	config_fini(&c);
	unlink(name);
}

TestSuite(config_file, .init = setup, .fini = teardown);

/* Every %s of the text becomes the path of an existing file. */
static int apply(const char *format)
{
	char text[4096];
	size_t len = 0;

	for (; *format; format++) {
		if (format[0] == '%' && format[1] == 's') {
			len += (size_t)snprintf(text + len, sizeof(text) - len, "%s", name);
			format++;
		} else {
			text[len++] = *format;
		}
	}
	return config_file_apply(&c, text, len, &e);
}

Test(config_file, everything)
{
	cr_expect_eq(
		apply("{\"drives\":[{\"drive_id\":\"b\",\"is_root_device\":false,"
		      "\"path_on_host\":\"%s\"},{\"drive_id\":\"r\",\"is_root_device\":true,"
		      "\"path_on_host\":\"%s\"}],\"x\":{\"y\":[1]},"
		      "\"boot-source\":{\"kernel_image_path\":\"%s\",\"boot_args\":\"a\"},"
		      "\"machine-config\":{\"vcpu_count\":2,\"mem_size_mib\":512},"
		      "\"logger\":{\"level\":\"debug\"},\"metrics\":{\"metrics_path\":\"/m\"}}"),
		0, "%s", e.msg);
	cr_expect_eq(c.nr_drives, 2);
	cr_expect_str_eq(c.drive[0].drive_id, "r");
	cr_expect_str_eq(c.drive[1].drive_id, "b");
	cr_expect_str_eq(config_boot_args(&c), "a");
	cr_expect(c.machine.vcpu_count == 2 && c.machine.mem_size_mib == 512);
	cr_expect(c.has_logger && c.logger.level == LOG_DEBUG);
	cr_expect(c.has_metrics && !strcmp(c.metrics.metrics_path, "/m"));
	cr_expect_eq(config_check(&c, &e), 0);
}

Test(config_file, nulls_and_empty_lists)
{
	cr_expect_eq(apply("{\"drives\":[],\"boot-source\":{\"kernel_image_path\":\"%s\"},"
			   "\"balloon\":null,\"cpu-config\":null,\"logger\":null,"
			   "\"machine-config\":null,\"metrics\":null,\"mmds-config\":null,"
			   "\"network-interfaces\":[],\"vsock\":null,\"entropy\":null,\"pmem\":[],"
			   "\"memory-hotplug\":null}"),
		     0, "%s", e.msg);
	cr_expect(!c.has_logger && !c.has_metrics && c.nr_drives == 0);
	cr_expect(c.machine.vcpu_count == 1 && c.machine.mem_size_mib == 128);
}

Test(config_file, refusals)
{
#define DESIGN "not supported by design: mote has drives, network interfaces and a serial port"
#define BOOT   "\"boot-source\":{\"kernel_image_path\":\"%s\"}"
	static const struct {
		const char *text;
		const char *error;
	} rows[] = {
		{ "", "Invalid JSON: EOF while parsing a value at line 1 column 0" },
		{ "{}", "Invalid JSON: missing field `drives` at line 1 column 2" },
		{ "{\"drives\":[]}",
		  "Invalid JSON: missing field `boot-source` at line 1 column 13" },
		{ "{\"vsock\":{\"guest_cid\":3}}",
		  "Invalid JSON: `vsock`: " DESIGN " at line 1 column 9" },
		{ "{\"pmem\":[ {}]}", "Invalid JSON: `pmem`: " DESIGN " at line 1 column 10" },
		{ "{\"cpu-config\":3}",
		  "Invalid JSON: invalid type: integer `3`, expected struct CustomCpuTemplate at line 1 "
		  "column 15" },
		{ "{\"drives\":[]," BOOT ",\"cpu-config\":\"/nonexistent/t\"}",
		  "Unable to open or read from the CPU template file /nonexistent/t: No such file or "
		  "directory (os error 2)" },
		{ "{\"drives\":[]," BOOT ",\"cpu-config\":\"%s\"}",
		  "Invalid CPU template: EOF while parsing a value at line 1 column 0" },
		{ "{\"drives\":[]," BOOT
		  ",\"machine-config\":{\"vcpu_count\":0,\"mem_size_mib\":1}}",
		  "Machine config error: The number of vCPUs must be greater than 0, less than 32 and "
		  "must be 1 or an even number if SMT is enabled." },
		{ "{\"drives\":[],\"boot-source\":{\"kernel_image_path\":\"/nonexistent/k\"}}",
		  "Boot source error: The kernel file cannot be opened: No such file or directory (os "
		  "error 2) /nonexistent/k" },
		{ "{\"drives\":[{\"drive_id\":\"a\",\"is_root_device\":true,\"path_on_host\":\"%s\"},"
		  "{\"drive_id\":\"b\",\"is_root_device\":true,\"path_on_host\":\"%s\"}]," BOOT "}",
		  "Drive config error: A root block device already exists!" },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		config_fini(&c);
		cr_expect_eq(apply(rows[i].text), rows[i].text[0] ? -e.code : -EINVAL);
		cr_expect_str_eq(e.msg, rows[i].error);
	}
}

Test(config_file, cpu_template)
{
	FILE *f = fopen(name, "w");

	cr_assert_not_null(f);
	fputs("{\"msr_modifiers\":[{\"addr\":\"0x10a\",\"bitmap\":\"0b1\"}]}", f);
	fclose(f);
	cr_expect_eq(apply("{\"drives\":[]," BOOT ",\"cpu-config\":\"%s\"}"), 0, "%s", e.msg);
	cr_expect(c.cpu.nr_msrs == 1 && c.cpu.msr[0].index == 0x10a);
	cr_expect_eq(apply("{\"drives\":[]," BOOT
			   ",\"cpu-config\":{\"kvm_capabilities\":[\"!1\",\"2\"]}}"),
		     0, "%s", e.msg);
	cr_expect(c.cpu.nr_msrs == 0 && c.cpu.nr_caps == 2 && c.cpu.cap[0].removed);
	cr_expect(c.cpu.cap[1].nr == 2 && !c.cpu.cap[1].removed);
}

/* A fault of grammar anywhere is found before anything is opened. */
Test(config_file, grammar_first)
{
	cr_expect_eq(apply("{\"drives\":[{\"drive_id\":\"a\",\"is_root_device\":true,"
			   "\"path_on_host\":\"/nonexistent\"}]," BOOT "} x"),
		     -EINVAL);
	cr_expect(strstr(e.msg, "trailing characters"));
	cr_expect(!c.has_boot_source);
}

Test(config_file, load)
{
	FILE *f = fopen(name, "w");
	size_t i;

	cr_assert_not_null(f);
	fprintf(f, "{\n\"drives\": [],\n\"boot-source\": {\"kernel_image_path\": \"%s\"}\n}\n",
		name);
	fclose(f);
	cr_expect_eq(config_file_load(&c, name, &e), 0, "%s", e.msg);
	cr_expect(c.has_boot_source);
	cr_expect_eq(config_file_load(&c, "/nonexistent/c.json", &e), -ENOENT);
	cr_expect_str_eq(e.msg, "Unable to open or read from the configuration file "
				"/nonexistent/c.json: No such file or directory (os error 2)");
	cr_expect_eq(config_file_load(&c, "/tmp", &e), -EISDIR);
	f = fopen(name, "a");
	for (i = 0; i < CONFIG_FILE_MAX; i++)
		fputc(' ', f);
	fclose(f);
	cr_expect_eq(config_file_load(&c, name, &e), -EFBIG);
}
