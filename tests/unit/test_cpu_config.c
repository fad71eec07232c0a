/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPU templates of clients: numbers and bitmaps, limits, and which template counts.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "api-socket/decode.h"

static struct cpu_config cpu;
static struct config config;
static struct err e;
static char text[65536];

static int decode(const char *json)
{
	return decode_text(&decode_cpu_config, json, strlen(json), &cpu, NULL, &e);
}

static int msr(const char *addr, const char *bitmap)
{
	snprintf(text, sizeof(text), "{\"msr_modifiers\":[{\"addr\":\"%s\",\"bitmap\":\"%s\"}]}",
		 addr, bitmap);
	return decode(text);
}

Test(cpu_config, everything)
{
	cr_assert_eq(
		decode("{\"kvm_capabilities\":[\"121\",\"!56\"],\"cpuid_modifiers\":[{\"leaf\":"
		       "\"0x80000001\",\"subleaf\":\"0b11\",\"flags\":4294967295,\"modifiers\":[{"
		       "\"register\":\"edx\",\"bitmap\":\"0b1x0\"},{\"register\":\"eax\","
		       "\"bitmap\":\"0b0000_0000_0000_0000_0000_0000_0000_0001\"}]},{\"leaf\":"
		       "\"7\",\"subleaf\":\"0\",\"flags\":1,\"modifiers\":[]}],\"msr_modifiers\":"
		       "[{\"addr\":\"0x10a\",\"bitmap\":\"0bx1\"}],\"vcpu_features\":[]}"),
		0, "%s", e.msg);
	cr_expect(cpu.nr_caps == 2 && cpu.nr_cpuid == 2 && cpu.nr_msrs == 1);
	cr_expect(cpu.cap[0].nr == 121 && !cpu.cap[0].removed);
	cr_expect(cpu.cap[1].nr == 56 && cpu.cap[1].removed);
	cr_expect(cpu.cpuid[0].leaf == 0x80000001 && cpu.cpuid[0].index == 3);
	cr_expect(cpu.cpuid[0].flags == UINT32_MAX && cpu.cpuid[0].nr_regs == 2);
	cr_expect(cpu.cpuid[0].reg[0].reg == 3 && cpu.cpuid[0].reg[1].reg == 0);
	cr_expect(cpu.cpuid[0].reg[0].bits.clear == 5 && cpu.cpuid[0].reg[0].bits.set == 4);
	cr_expect(cpu.cpuid[0].reg[1].bits.clear == UINT32_MAX);
	cr_expect(cpu.cpuid[0].reg[1].bits.set == 1);
	cr_expect(cpu.cpuid[1].leaf == 7 && cpu.cpuid[1].nr_regs == 0);
	cr_expect(cpu.msr[0].bits.clear == 1 && cpu.msr[0].bits.set == 1);
	cr_assert_eq(decode("{}"), 0);
	cr_expect(!cpu.nr_caps && !cpu.nr_cpuid && !cpu.nr_msrs);
}

Test(cpu_config, numbers)
{
	static const char *const bad[] = { "",	  "0x",	 "0b",	    "-1",	  "0b2",
					   "0xg", "12a", "0x@",	    "4294967296", "0x100000000",
					   " 1",  "!1",	 "1\\u0000" };

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		cr_expect(msr(bad[i], "0b1"), "%s", bad[i]);
		cr_expect(strstr(e.msg, "is not a number of 32 bits"), "%s", e.msg);
	}
	cr_expect(!msr("0xFfffffff", "0b1") && cpu.msr[0].index == UINT32_MAX);
	cr_expect(!msr("4294967295", "0b1") && cpu.msr[0].index == UINT32_MAX);
}

Test(cpu_config, bitmaps)
{
	static const char *const bad[] = { "", "0b", "0b_", "01", "0x1", "0b2", "0bX" };
	char bits[70] = "0b";

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		cr_expect(msr("1", bad[i]), "%s", bad[i]);
		cr_expect(strstr(e.msg, "is not a bitmap"), "%s", e.msg);
	}
	memset(bits + 2, '1', 64);
	cr_expect(!msr("1", bits) && cpu.msr[0].bits.set == UINT64_MAX);
	bits[66] = '1';
	cr_expect(msr("1", bits));
	bits[2 + 33] = '\0';
	snprintf(text, sizeof(text),
		 "{\"cpuid_modifiers\":[{\"leaf\":\"1\",\"subleaf\":\"0\",\"flags\":0,"
		 "\"modifiers\":[{\"register\":\"eax\",\"bitmap\":\"%s\"}]}]}",
		 bits);
	cr_expect(decode(text) && strstr(e.msg, "up to 32 of"), "%s", e.msg);
}

Test(cpu_config, limits)
{
	size_t len = (size_t)snprintf(text, sizeof(text), "{\"kvm_capabilities\":[\"0\"");

	for (int i = 1; i < CONFIG_CAPS_MAX; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, ",\"%d\"", i);
	snprintf(text + len, sizeof(text) - len, "]}");
	cr_expect_eq(decode(text), 0, "%s", e.msg);
	cr_expect_eq(cpu.nr_caps, CONFIG_CAPS_MAX);
	snprintf(text + len, sizeof(text) - len, ",\"1\"]}");
	cr_expect(decode(text) && strstr(e.msg, "`kvm_capabilities`: more than 32 elements"));
	cr_expect(decode("{\"kvm_capabilities\":[1]}") && strstr(e.msg, "expected a string"));
	cr_expect(decode("{\"kvm_capabilities\":null}"));
	cr_expect(decode("{\"cpuid_modifiers\":[{}]}") && strstr(e.msg, "missing field `leaf`"));
}

Test(cpu_config, the_last_counts)
{
	struct machine_update t2 = { .has_cpu_template = true, .v.cpu_template = CPU_TEMPLATE_C3 };

	config_init(&config);
	cr_assert(!msr("1", "0b1"));
	cr_assert(!config_update_machine(&config, &t2, &e));
	config_put_cpu(&config, &cpu);
	cr_expect(config.machine.cpu_template == CPU_TEMPLATE_NONE && config.cpu.nr_msrs == 1);
	t2.has_cpu_template = false;
	cr_assert(!config_update_machine(&config, &t2, &e));
	cr_expect(config.cpu.nr_msrs == 1);
	t2.has_cpu_template = true;
	cr_assert(!config_update_machine(&config, &t2, &e));
	cr_expect(config.machine.cpu_template == CPU_TEMPLATE_C3 && config.cpu.nr_msrs == 0);
}
