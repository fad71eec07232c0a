/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cpuid_x86.c - CPUID edits as a table, topology as code; see cpuid_x86.h.
 */
#include "vmm/cpuid_x86.h"

#include <cpuid.h>
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/fd.h"

enum vendor { ANY, INTEL, AMD };
enum reg { EAX, EBX, ECX, EDX };

#define ALL_BITS 0xffffffffU
#define BIT(n)	 (1U << (n))

/*
 * One edit of one register: clear, then set. Entries that KVM does not report are not invented.
 * Rows that name an index apply to that sub-leaf only, the others to all (index -1).
 */
struct cpuid_edit {
	uint32_t leaf;
	int index;
	enum vendor vendor;
	enum reg reg;
	uint32_t clear;
	uint32_t set;
};

static const struct cpuid_edit edits[] = {
	/* CLFLUSH line of 8 quadwords: all x86_64 CPUs have 64-byte lines, KVM passes the host's */
	{ 0x1, -1, ANY, EBX, 0x0000ff00, 8U << 8 },
	/* PDCM: IA32_PERF_CAPABILITIES is about counters that the guest does not get */
	{ 0x1, -1, ANY, ECX, BIT(15), 0 },
	/* TSC-deadline timer: emulated by KVM, but absent from its list; saves the PIT */
	{ 0x1, -1, ANY, ECX, 0, BIT(24) },
	/* a hypervisor is present: guests look for KVM's leaves only then */
	{ 0x1, -1, ANY, ECX, 0, BIT(31) },
	/* turbo and energy bias are the host's business */
	{ 0x6, -1, INTEL, EAX, BIT(1), 0 },
	{ 0x6, -1, INTEL, ECX, BIT(3), 0 },
	/* x87 details that are the same on every CPU since 2013, but not always reported */
	{ 0x7, 0, INTEL, EBX, 0, BIT(6) | BIT(13) },
	/* WAITPKG: a guest must not keep a host CPU in a light sleep */
	{ 0x7, 0, INTEL, ECX, BIT(5), 0 },
	/* no IA32_ARCH_CAPABILITIES on AMD: KVM emulates the bit, guests stumble over it */
	{ 0x7, 0, AMD, EDX, BIT(29), 0 },
	/* no performance counters in the guest */
	{ 0xa, -1, INTEL, EAX, ALL_BITS, 0 },
	{ 0xa, -1, INTEL, EBX, ALL_BITS, 0 },
	{ 0xa, -1, INTEL, ECX, ALL_BITS, 0 },
	{ 0xa, -1, INTEL, EDX, ALL_BITS, 0 },
	/* leaves 0x8000001d and 0x8000001e describe the topology */
	{ 0x80000001, -1, AMD, ECX, 0, BIT(22) },
};

/* Shown by /proc/cpuinfo; fixed, so that a guest cannot tell hosts of one kind apart. */
static const char brand_amd[48] = "AMD EPYC";
static const char brand_intel[48] = "Intel(R) Xeon(R) Processor";

/* Levels of leaf 0xb and 0x1f (SDM 2A, CPUID: "Extended Topology Enumeration"). */
#define LEVEL_SMT  1U
#define LEVEL_CORE 2U

int cpuid_supported(const struct kvm *kvm, struct cpuid *out, struct err *e)
{
	out->head.nent = CPUID_ENTRIES_MAX;
	if (fd_ioctl(kvm->dev_fd, KVM_GET_SUPPORTED_CPUID, &out->head) < 0)
		return err_set(e, errno, "KVM_GET_SUPPORTED_CPUID");
	return 0;
}

static struct kvm_cpuid_entry2 *cpuid_find(struct cpuid *c, uint32_t leaf)
{
	for (uint32_t i = 0; i < c->head.nent; i++)
		if (c->entry[i].function == leaf)
			return &c->entry[i];
	return NULL;
}

static void cpuid_remove(struct cpuid *c, uint32_t leaf)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < c->head.nent; i++)
		if (c->entry[i].function != leaf)
			c->entry[kept++] = c->entry[i];
	c->head.nent = kept;
}

static int cpuid_add(struct cpuid *c, const struct kvm_cpuid_entry2 *entry, struct err *e)
{
	if (c->head.nent == CPUID_ENTRIES_MAX)
		return err_set(e, E2BIG, "CPUID has more than %d entries", CPUID_ENTRIES_MAX);
	c->entry[c->head.nent++] = *entry;
	return 0;
}

static enum vendor cpuid_vendor(struct cpuid *c)
{
	const struct kvm_cpuid_entry2 *leaf0 = cpuid_find(c, 0);

	if (!leaf0)
		return ANY;
	if (leaf0->ebx == signature_INTEL_ebx)
		return INTEL;
	return leaf0->ebx == signature_AMD_ebx ? AMD : ANY;
}

static uint32_t *cpuid_reg(struct kvm_cpuid_entry2 *entry, enum reg reg)
{
	uint32_t *const regs[] = { &entry->eax, &entry->ebx, &entry->ecx, &entry->edx };

	return regs[reg];
}

static void apply_edits(struct cpuid *c, enum vendor vendor)
{
	for (size_t i = 0; i < sizeof(edits) / sizeof(edits[0]); i++) {
		const struct cpuid_edit *edit = &edits[i];

		if (edit->vendor != ANY && edit->vendor != vendor)
			continue;
		for (uint32_t j = 0; j < c->head.nent; j++) {
			struct kvm_cpuid_entry2 *entry = &c->entry[j];
			uint32_t *reg;

			if (entry->function != edit->leaf ||
			    (edit->index >= 0 && entry->index != (uint32_t)edit->index))
				continue;
			reg = cpuid_reg(entry, edit->reg);
			*reg = (*reg & ~edit->clear) | edit->set;
		}
	}
}

/* Smallest n with 2^n >= v. */
static uint32_t ceil_log2(uint32_t v)
{
	uint32_t n = 0;

	while ((1U << n) < v)
		n++;
	return n;
}

/*
 * Leaf 0xb: one sub-leaf for threads of a core, one for cores of the package, one that ends them.
 */
static int add_extended_topology(struct cpuid *c, uint32_t leaf, unsigned int nr_vcpus,
				 unsigned int threads, struct err *e)
{
	const struct kvm_cpuid_entry2 level[] = {
		{ .function = leaf,
		  .index = 0,
		  .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
		  .eax = ceil_log2(threads),
		  .ebx = threads,
		  .ecx = LEVEL_SMT << 8 },
		{ .function = leaf,
		  .index = 1,
		  .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
		  .eax = ceil_log2(nr_vcpus),
		  .ebx = nr_vcpus,
		  .ecx = LEVEL_CORE << 8 | 1 },
		{ .function = leaf,
		  .index = 2,
		  .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
		  .ecx = 2 },
	};

	cpuid_remove(c, leaf);
	for (size_t i = 0; i < sizeof(level) / sizeof(level[0]); i++) {
		int ret = cpuid_add(c, &level[i], e);

		if (ret)
			return ret;
	}
	return 0;
}

/*
 * Which vCPUs share a cache, from its level: the first two belong to a core, the others to all.
 * @entry is a sub-leaf of leaf 4 (Intel) or 0x8000001d (AMD); both keep "maximum sharing ids - 1"
 * in EAX[25:14] and the level in EAX[7:5].
 */
static void set_cache_sharing(struct kvm_cpuid_entry2 *entry, unsigned int nr_vcpus,
			      unsigned int threads)
{
	uint32_t level = entry->eax >> 5 & 7;
	uint32_t sharing = level <= 2 ? threads : 1U << ceil_log2(nr_vcpus);

	entry->eax = (entry->eax & ~(0xfffU << 14)) | (sharing - 1) << 14;
}

static void set_topology(struct cpuid *c, enum vendor vendor, unsigned int nr_vcpus,
			 unsigned int threads)
{
	uint32_t id_bits = ceil_log2(nr_vcpus);
	uint32_t core_ids = 1U << ceil_log2(nr_vcpus / threads);

	for (uint32_t i = 0; i < c->head.nent; i++) {
		struct kvm_cpuid_entry2 *entry = &c->entry[i];

		switch (entry->function) {
		case 0x1:
			/* EBX[23:16]: ids in the package; HTT says that the field counts */
			entry->ebx = (entry->ebx & ~0x00ff0000U) | (1U << id_bits) << 16;
			entry->edx &= ~BIT(28);
			if (nr_vcpus > 1)
				entry->edx |= BIT(28);
			break;
		case 0x4:
			if ((entry->eax & 0x1f) == 0)
				break; /* the sub-leaf that ends the list */
			set_cache_sharing(entry, nr_vcpus, threads);
			/* EAX[31:26]: core ids in the package - 1 */
			entry->eax = (entry->eax & 0x03ffffff) | (core_ids - 1) << 26;
			break;
		case 0x80000001:
			/* CmpLegacy: several cores, not threads (APM: 0x80000001 ECX[1]) */
			if (vendor == AMD)
				entry->ecx = (entry->ecx & ~BIT(1)) | (nr_vcpus > 1 ? BIT(1) : 0);
			break;
		case 0x80000008:
			/* ECX[7:0]: threads - 1; ECX[15:12]: width of the ids */
			if (vendor == AMD)
				entry->ecx =
					(entry->ecx & ~0xf0ffU) | (nr_vcpus - 1) | id_bits << 12;
			break;
		case 0x8000001d:
			if (entry->eax & 0x1f)
				set_cache_sharing(entry, nr_vcpus, threads);
			break;
		case 0x8000001e:
			/* EBX[15:8]: threads of a core - 1; ECX: one node, number 0 */
			entry->ebx = (threads - 1) << 8;
			entry->ecx = 0;
			break;
		default:
			break;
		}
	}
}

static void set_brand(struct cpuid *c, enum vendor vendor)
{
	const char *brand = vendor == AMD ? brand_amd : brand_intel;

	if (vendor == ANY)
		return;
	for (uint32_t leaf = 0x80000002; leaf <= 0x80000004; leaf++, brand += 16) {
		struct kvm_cpuid_entry2 *entry = cpuid_find(c, leaf);

		if (!entry)
			continue;
		memcpy(&entry->eax, brand, 4);
		memcpy(&entry->ebx, brand + 4, 4);
		memcpy(&entry->ecx, brand + 8, 4);
		memcpy(&entry->edx, brand + 12, 4);
	}
}

int cpuid_normalise(struct cpuid *c, unsigned int nr_vcpus, bool smt, struct err *e)
{
	enum vendor vendor = cpuid_vendor(c);
	unsigned int threads = smt && nr_vcpus > 1 ? 2 : 1;
	struct kvm_cpuid_entry2 *leaf0 = cpuid_find(c, 0);
	int ret;

	apply_edits(c, vendor);
	set_brand(c, vendor);
	set_topology(c, vendor, nr_vcpus, threads);

	/*
	 * Only CPUs that have the leaf get it: its presence says that x2APIC ids are to be trusted.
	 */
	if (leaf0 && leaf0->eax >= 0xb) {
		ret = add_extended_topology(c, 0xb, nr_vcpus, threads, e);
		if (ret)
			return ret;
	}
	cpuid_remove(c, 0x1f);
	cpuid_remove(c, 0x80000026);
	if (leaf0 && vendor == INTEL && leaf0->eax >= 0x1f)
		return add_extended_topology(c, 0x1f, nr_vcpus, threads, e);
	return 0;
}

void cpuid_set_apic_id(struct cpuid *c, unsigned int apic_id)
{
	for (uint32_t i = 0; i < c->head.nent; i++) {
		struct kvm_cpuid_entry2 *entry = &c->entry[i];

		switch (entry->function) {
		case 0x1:
			entry->ebx = (entry->ebx & 0x00ffffff) | apic_id << 24;
			break;
		case 0xb:
		case 0x1f:
			entry->edx = apic_id;
			break;
		case 0x8000001e: {
			uint32_t threads = (entry->ebx >> 8 & 0xff) + 1;

			entry->eax = apic_id;
			entry->ebx = (entry->ebx & ~0xffU) | apic_id / threads;
			break;
		}
		default:
			break;
		}
	}
}
