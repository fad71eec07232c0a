/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_cpu_template_x86.c - CPU templates by name: which CPUs they are for, and what they change.
 */
#include <cpuid.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "vmm/cpu_template_x86.h"

#define CASCADE_LAKE 0x00050657
#define MILAN	     0x00a00f11

static struct cpuid c;
static struct err e;

/* A CPU that has every feature. */
static void host(uint32_t vendor, uint32_t signature)
{
	static const uint32_t leaf[][2] = {
		{ 0, 0 },   { 1, 0 },	{ 7, 0 },	   { 7, 1 },
		{ 0xd, 0 }, { 0xd, 1 }, { 0x80000001, 0 }, { 0x80000008, 0 },
	};

	memset(&c, 0xff, sizeof(c));
	c.head.nent = sizeof(leaf) / sizeof(leaf[0]);
	for (uint32_t i = 0; i < c.head.nent; i++) {
		c.entry[i].function = leaf[i][0];
		c.entry[i].index = leaf[i][1];
	}
	c.entry[0].ebx = vendor;
	c.entry[1].eax = signature;
}

Test(cpu_template, none_changes_nothing)
{
	struct cpuid before;

	host(signature_INTEL_ebx, 1);
	before = c;
	cr_assert(!cpu_template_apply(&c, CPU_TEMPLATE_NONE, &e));
	cr_assert(!memcmp(&before, &c, sizeof(c)));
}

Test(cpu_template, t2)
{
	host(signature_INTEL_ebx, CASCADE_LAKE);
	cr_assert(!cpu_template_apply(&c, CPU_TEMPLATE_T2, &e), "%s", e.msg);
	cr_assert_eq(c.entry[1].eax, 0x000306f2);
	cr_assert_eq(c.entry[1].ecx, 0xfffb3203);
	cr_assert_eq(c.entry[1].edx, 0x179bff7f | 0x1080);
	cr_assert_eq(c.entry[1].ebx, 0xffffffff);
	cr_assert_eq(c.entry[2].ebx, 0x001027eb);
	cr_assert_eq(c.entry[3].ebx, 0xffffffff, "another sub-leaf");
	cr_assert_eq(c.entry[4].eax, ~0x2f8u);
	cr_assert_eq(c.entry[5].eax, ~0xeu);
	cr_assert_eq(c.entry[6].edx, ~0x04000000u);
	cr_assert_eq(c.entry[7].ebx, ~0x200u);
}

Test(cpu_template, t2a)
{
	host(signature_AMD_ebx, MILAN);
	cr_assert(!cpu_template_apply(&c, CPU_TEMPLATE_T2A, &e), "%s", e.msg);
	cr_assert_eq(c.entry[1].eax, 0x00000000 | 0x000306f2);
	cr_assert_eq(c.entry[6].ecx, ~0x200001c4u);
	cr_assert_eq(c.entry[7].ebx, ~0x201u);
}

Test(cpu_template, only_where_it_fits)
{
	static const struct {
		uint32_t vendor, signature;
		enum cpu_template t;
		const char *msg;
	} bad[] = {
		{ signature_AMD_ebx, MILAN, CPU_TEMPLATE_T2,
		  "Failed to get CPU template: CPU vendor mismatched between actual CPU and CPU "
		  "template. T2 is for CPUs of Intel." },
		{ signature_INTEL_ebx, CASCADE_LAKE, CPU_TEMPLATE_T2A,
		  "Failed to get CPU template: CPU vendor mismatched between actual CPU and CPU "
		  "template. T2A is for CPUs of AMD." },
		{ signature_INTEL_ebx, 0x806f8, CPU_TEMPLATE_C3,
		  "Failed to get CPU template: The current CPU model is not permitted to apply "
		  "the CPU template. C3 was not made for signature 0x806f8." },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		host(bad[i].vendor, bad[i].signature);
		cr_assert_eq(cpu_template_apply(&c, bad[i].t, &e), -ENOTSUP);
		cr_assert_str_eq(e.msg, bad[i].msg);
	}
	host(signature_INTEL_ebx, CASCADE_LAKE);
	c.head.nent -= 2;
	cr_assert_eq(cpu_template_apply(&c, CPU_TEMPLATE_T2CL, &e), -ENOTSUP);
	cr_assert_str_eq(e.msg, "Template changes a CPUID entry not supported by KVM: Leaf: "
				"80000001, Subleaf: 0");
}

Test(cpu_template, of_a_client)
{
	static struct cpu_config cpu = {
		.nr_cpuid = 1,
		.cpuid[0] = { .leaf = 7,
			      .index = 1,
			      .flags = 1,
			      .nr_regs = 2,
			      .reg = { { 2, { .clear = 0xf0, .set = 0x10 } },
				       { 3, { .clear = UINT32_MAX, .set = 0 } } } },
	};

	host(signature_INTEL_ebx, CASCADE_LAKE);
	cr_assert(!cpu_custom_apply(&c, &cpu, -1, &e), "%s", e.msg);
	cr_assert_eq(c.entry[3].ecx, 0xffffff1f);
	cr_assert_eq(c.entry[3].edx, 0);
	cr_assert_eq(c.entry[3].eax, UINT32_MAX);
	cr_assert_eq(c.entry[3].flags, 1);
	cr_assert_eq(c.entry[2].ecx, UINT32_MAX, "another sub-leaf");
	cpu.cpuid[0].index = 2;
	cr_assert_eq(cpu_custom_apply(&c, &cpu, -1, &e), -ENOTSUP);
	cr_assert_str_eq(e.msg, "Template changes a CPUID entry not supported by KVM: Leaf: 7, "
				"Subleaf: 2");
	cpu.cap[cpu.nr_caps++] = (struct cap_modifier){ .nr = 9999, .removed = true };
	cpu.cap[cpu.nr_caps++] = (struct cap_modifier){ .nr = 9998 };
	cr_assert_eq(cpu_custom_apply(&c, &cpu, -1, &e), -ENOTSUP);
	cr_assert_str_eq(e.msg,
			 "KVM does not have the capability that the CPU template needs: 9998");
}
