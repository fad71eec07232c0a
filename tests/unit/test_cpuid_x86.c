/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_cpuid_x86.c - CPUID as a guest decodes it: topology for each number of vCPUs, with and
 * without threads, on tables like those of an Intel and an AMD host.
 */
#include <cpuid.h>
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <string.h>

#include "vmm/cpuid_x86.h"

#define INDEXED KVM_CPUID_FLAG_SIGNIFCANT_INDEX
#define BIT(n)	(1U << (n))

/* Cache sub-leaf: EAX[4:0] type, [7:5] level, [25:14] sharing ids - 1, [31:26] core ids - 1. */
#define CACHE(type, level) ((type) | (level) << 5 | 0xfffU << 14 | 0x3fU << 26)

/* What the tests need of a host's table; hosts differ from guests in every field that is edited. */
/* clang-format off */
static const struct kvm_cpuid_entry2 intel[] = {
	{ .function = 0x0, .eax = 0x1f, .ebx = signature_INTEL_ebx, .ecx = signature_INTEL_ecx,
	  .edx = signature_INTEL_edx },
	{ .function = 0x1, .eax = 0x806f8, .ebx = 0x37ff0000, .ecx = BIT(15) | BIT(0),
	  .edx = BIT(28) | BIT(0) },
	{ .function = 0x4, .index = 0, .flags = INDEXED, .eax = CACHE(1U, 1U) },
	{ .function = 0x4, .index = 1, .flags = INDEXED, .eax = CACHE(2U, 1U) },
	{ .function = 0x4, .index = 2, .flags = INDEXED, .eax = CACHE(3U, 2U) },
	{ .function = 0x4, .index = 3, .flags = INDEXED, .eax = CACHE(3U, 3U) },
	{ .function = 0x4, .index = 4, .flags = INDEXED },
	{ .function = 0x6, .eax = BIT(1) | BIT(2), .ecx = BIT(3) | BIT(0) },
	{ .function = 0x7, .index = 0, .flags = INDEXED, .ecx = BIT(5), .edx = BIT(29) },
	{ .function = 0xa, .eax = 0x07300805, .ebx = 1, .ecx = 15, .edx = 0x8603 },
	{ .function = 0xb, .index = 0, .flags = INDEXED, .eax = 1, .ebx = 2, .ecx = 0x100 },
	{ .function = 0xb, .index = 1, .flags = INDEXED, .eax = 7, .ebx = 112, .ecx = 0x201 },
	{ .function = 0x1f, .index = 0, .flags = INDEXED, .eax = 1, .ebx = 2, .ecx = 0x100 },
	{ .function = 0x80000002, .eax = 0x6c706d45 },
	{ .function = 0x80000003 },
	{ .function = 0x80000004 },
	{ .function = 0x80000008, .eax = 0x3934, .ecx = 0x1234 },
};

static const struct kvm_cpuid_entry2 amd[] = {
	{ .function = 0x0, .eax = 0x10, .ebx = signature_AMD_ebx, .ecx = signature_AMD_ecx,
	  .edx = signature_AMD_edx },
	{ .function = 0x1, .eax = 0xa00f11, .ebx = 0x37ff0000, .ecx = BIT(0), .edx = BIT(28) },
	{ .function = 0x7, .index = 0, .flags = INDEXED, .ecx = BIT(5), .edx = BIT(29) },
	{ .function = 0xb, .index = 0, .flags = INDEXED, .eax = 1, .ebx = 2, .ecx = 0x100 },
	{ .function = 0x80000001, .ecx = BIT(1) },
	{ .function = 0x80000002 },
	{ .function = 0x80000003 },
	{ .function = 0x80000004 },
	{ .function = 0x80000008, .eax = 0x3030, .ecx = 0x707f },
	{ .function = 0x8000001d, .index = 0, .flags = INDEXED, .eax = CACHE(1U, 1U) },
	{ .function = 0x8000001d, .index = 1, .flags = INDEXED, .eax = CACHE(3U, 3U) },
	{ .function = 0x8000001d, .index = 2, .flags = INDEXED },
	{ .function = 0x8000001e, .eax = 0x55, .ebx = 0x1ff, .ecx = 0x301 },
	{ .function = 0x80000026, .index = 0, .flags = INDEXED, .eax = 1, .ebx = 2 },
};
/* clang-format on */

static struct cpuid c;
static struct err e;

static void load(const struct kvm_cpuid_entry2 *entries, size_t bytes)
{
	memcpy(c.entry, entries, bytes);
	c.head.nent = (uint32_t)(bytes / sizeof(*entries));
}

#define LOAD(table) load(table, sizeof(table))

static struct kvm_cpuid_entry2 *find(uint32_t leaf, uint32_t index)
{
	for (uint32_t i = 0; i < c.head.nent; i++)
		if (c.entry[i].function == leaf && c.entry[i].index == index)
			return &c.entry[i];
	return NULL;
}

static struct kvm_cpuid_entry2 *leaf(uint32_t nr, uint32_t index)
{
	struct kvm_cpuid_entry2 *entry = find(nr, index);

	cr_assert_not_null(entry, "leaf 0x%x.%u is there", nr, index);
	return entry;
}

struct shape {
	unsigned int nr_vcpus;
	bool smt;
	unsigned int threads, cores; /* a core has, the package has */
	unsigned int core_bits;	     /* width of a thread's number in its core */
	unsigned int id_bits;	     /* width of an APIC id */
};

static struct shape shapes[] = {
	{ 1, false, 1, 1, 0, 0 },  { 1, true, 1, 1, 0, 0 },  { 2, false, 1, 2, 0, 1 },
	{ 2, true, 2, 1, 1, 1 },   { 6, false, 1, 6, 0, 3 }, { 6, true, 2, 3, 1, 3 },
	{ 8, false, 1, 8, 0, 3 },  { 8, true, 2, 4, 1, 3 },  { 32, false, 1, 32, 0, 5 },
	{ 32, true, 2, 16, 1, 5 },
};

/* A number of vCPUs rounded up to a power of two: what APIC ids of that width can name. */
static unsigned int room(unsigned int nr)
{
	unsigned int n = 1;

	while (n < nr)
		n *= 2;
	return n;
}

static void check_extended(uint32_t nr, const struct shape *s)
{
	cr_expect_eq(leaf(nr, 0)->eax, s->core_bits);
	cr_expect_eq(leaf(nr, 0)->ebx, s->threads);
	cr_expect_eq(leaf(nr, 0)->ecx, 0x100, "level 0 is threads");
	cr_expect_eq(leaf(nr, 1)->eax, s->id_bits);
	cr_expect_eq(leaf(nr, 1)->ebx, s->nr_vcpus);
	cr_expect_eq(leaf(nr, 1)->ecx, 0x201, "level 1 is cores");
	cr_expect_eq(leaf(nr, 2)->ebx, 0);
	cr_expect_eq(leaf(nr, 2)->ecx, 2, "level 2 ends the list");
	for (uint32_t i = 0; i < 3; i++)
		cr_expect(leaf(nr, i)->flags & INDEXED);
}

static unsigned int sharing(uint32_t nr, uint32_t index)
{
	return (leaf(nr, index)->eax >> 14 & 0xfff) + 1;
}

static void check_leaf_1(const struct shape *s)
{
	cr_expect_eq(leaf(1, 0)->ebx >> 16 & 0xff, room(s->nr_vcpus), "ids in the package");
	cr_expect_eq(leaf(1, 0)->ebx >> 8 & 0xff, 8, "64-byte lines");
	cr_expect_eq(!!(leaf(1, 0)->edx & BIT(28)), s->nr_vcpus > 1, "HTT");
}

ParameterizedTestParameters(cpuid, topology_intel)
{
	return cr_make_param_array(struct shape, shapes, sizeof(shapes) / sizeof(shapes[0]));
}

ParameterizedTest(struct shape *s, cpuid, topology_intel)
{
	LOAD(intel);
	cr_assert_eq(cpuid_normalise(&c, s->nr_vcpus, s->smt, &e), 0, "%s", e.msg);
	check_leaf_1(s);
	check_extended(0xb, s);
	check_extended(0x1f, s);
	for (uint32_t i = 0; i < 4; i++) {
		cr_expect_eq(sharing(4, i), i < 3 ? s->threads : room(s->nr_vcpus), "cache %u", i);
		cr_expect_eq(leaf(4, i)->eax >> 26, room(s->cores) - 1, "cache %u", i);
	}
	cr_expect_eq(leaf(4, 4)->eax, 0, "the end of the list stays");
	cr_expect_eq(leaf(0x80000008, 0)->ecx, 0x1234, "no Intel field");
}

ParameterizedTestParameters(cpuid, topology_amd)
{
	return cr_make_param_array(struct shape, shapes, sizeof(shapes) / sizeof(shapes[0]));
}

ParameterizedTest(struct shape *s, cpuid, topology_amd)
{
	LOAD(amd);
	cr_assert_eq(cpuid_normalise(&c, s->nr_vcpus, s->smt, &e), 0, "%s", e.msg);
	check_leaf_1(s);
	check_extended(0xb, s);
	cr_expect_null(find(0x1f, 0), "not invented");
	cr_expect_null(find(0x80000026, 0), "the host's");
	cr_expect_eq(!!(leaf(0x80000001, 0)->ecx & BIT(1)), s->nr_vcpus > 1, "CmpLegacy");
	cr_expect(leaf(0x80000001, 0)->ecx & BIT(22), "topology extensions");
	cr_expect_eq(leaf(0x80000008, 0)->ecx & 0xff, s->nr_vcpus - 1);
	cr_expect_eq(leaf(0x80000008, 0)->ecx >> 12 & 0xf, s->id_bits);
	cr_expect_eq(sharing(0x8000001d, 0), s->threads);
	cr_expect_eq(sharing(0x8000001d, 1), room(s->nr_vcpus));
	cr_expect_eq(leaf(0x8000001d, 2)->eax, 0, "the end of the list stays");
	cr_expect_eq((leaf(0x8000001e, 0)->ebx >> 8 & 0xff) + 1, s->threads);
	cr_expect_eq(leaf(0x8000001e, 0)->ecx, 0, "one node");
}

Test(cpuid, ids_differ_from_vcpu_to_vcpu)
{
	LOAD(intel);
	cr_assert_eq(cpuid_normalise(&c, 8, true, &e), 0);
	for (unsigned int id = 0; id < 8; id++) {
		cpuid_set_apic_id(&c, id);
		cr_expect_eq(leaf(1, 0)->ebx >> 24, id);
		cr_expect_eq(leaf(1, 0)->ebx >> 16 & 0xff, 8, "and nothing else");
		for (uint32_t i = 0; i < 3; i++) {
			cr_expect_eq(leaf(0xb, i)->edx, id);
			cr_expect_eq(leaf(0x1f, i)->edx, id);
		}
	}
	LOAD(amd);
	cr_assert_eq(cpuid_normalise(&c, 8, true, &e), 0);
	for (unsigned int id = 0; id < 8; id++) {
		cpuid_set_apic_id(&c, id);
		cr_expect_eq(leaf(0x8000001e, 0)->eax, id);
		cr_expect_eq(leaf(0x8000001e, 0)->ebx & 0xff, id / 2, "two threads, one core");
		cr_expect_eq(leaf(0x8000001e, 0)->ebx >> 8, 1);
	}
}

Test(cpuid, hosts_of_a_kind_look_the_same)
{
	char brand[49] = "";

	LOAD(intel);
	cr_assert_eq(cpuid_normalise(&c, 2, false, &e), 0);
	cr_expect_eq(leaf(1, 0)->ecx, BIT(0) | BIT(24) | BIT(31),
		     "no PDCM; TSC-deadline and hypervisor");
	cr_expect_eq(leaf(6, 0)->eax, BIT(2), "no turbo");
	cr_expect_eq(leaf(6, 0)->ecx, BIT(0), "no energy bias");
	cr_expect_eq(leaf(7, 0)->ebx, BIT(6) | BIT(13));
	cr_expect_eq(leaf(7, 0)->ecx, 0, "no WAITPKG");
	cr_expect_eq(leaf(7, 0)->edx, BIT(29), "ARCH_CAPABILITIES is Intel's");
	cr_expect_eq(leaf(0xa, 0)->eax | leaf(0xa, 0)->ebx | leaf(0xa, 0)->ecx | leaf(0xa, 0)->edx,
		     0, "no performance counters");
	for (uint32_t i = 0; i < 3; i++)
		memcpy(brand + 16 * i, &leaf(0x80000002 + i, 0)->eax, 16);
	cr_expect_str_eq(brand, "Intel(R) Xeon(R) Processor");

	LOAD(amd);
	cr_assert_eq(cpuid_normalise(&c, 2, false, &e), 0);
	cr_expect_eq(leaf(7, 0)->edx, 0, "no ARCH_CAPABILITIES on AMD");
	cr_expect_eq(leaf(7, 0)->ecx, BIT(5), "an Intel row does not touch AMD");
	memcpy(brand, &leaf(0x80000002, 0)->eax, 16);
	cr_expect_str_eq(brand, "AMD EPYC");
}

Test(cpuid, other_vendors_and_old_hosts_get_no_new_leaves)
{
	static const struct kvm_cpuid_entry2 other[] = {
		{ .function = 0x0, .eax = 0x7, .ebx = 0x12345678 },
		{ .function = 0x1 },
		{ .function = 0x80000002, .eax = 0x20202020 },
	};

	LOAD(other);
	cr_assert_eq(cpuid_normalise(&c, 4, false, &e), 0);
	cr_expect_eq(c.head.nent, 3);
	cr_expect_null(find(0xb, 0), "its presence would say that x2APIC ids are to be trusted");
	cr_expect_eq(leaf(0x80000002, 0)->eax, 0x20202020, "a brand we do not know stays");
	cr_expect_eq(leaf(1, 0)->ecx, BIT(24) | BIT(31));
	c.head.nent = 0;
	cr_expect_eq(cpuid_normalise(&c, 4, false, &e), 0, "an empty table stays empty");
	cr_expect_eq(c.head.nent, 0);
}

Test(cpuid, entries_that_do_not_fit_are_an_error)
{
	LOAD(intel);
	/* 0xb and 0x1f lose 3 entries and gain 6: one too many */
	while (c.head.nent < CPUID_ENTRIES_MAX - 2)
		c.entry[c.head.nent++] = (struct kvm_cpuid_entry2){ .function = 0x40000100 };
	cr_assert_eq(cpuid_normalise(&c, 2, false, &e), -E2BIG);
	cr_assert_leq(c.head.nent, CPUID_ENTRIES_MAX);
	LOAD(intel);
	while (c.head.nent < CPUID_ENTRIES_MAX - 3)
		c.entry[c.head.nent++] = (struct kvm_cpuid_entry2){ .function = 0x40000100 };
	cr_assert_eq(cpuid_normalise(&c, 2, false, &e), 0);
	cr_assert_eq(c.head.nent, CPUID_ENTRIES_MAX);
}
