/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cpu_template_x86.c - the templates as rows; see cpu_template_x86.h.
 *
 * Values are those that guests of Firecracker know: a snapshot or a fleet that relies on a template
 * must find the same bits here. Intel SDM 2A (CPUID), 4 (MSRs); AMD APM 3 appendix E.
 */
#include "vmm/cpu_template_x86.h"

#include <cpuid.h>
#include <errno.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <sys/ioctl.h>

#include "base/fd.h"

#define C3   (1U << CPU_TEMPLATE_C3)
#define T2   (1U << CPU_TEMPLATE_T2)
#define T2S  (1U << CPU_TEMPLATE_T2S)
#define T2CL (1U << CPU_TEMPLATE_T2CL)
#define T2A  (1U << CPU_TEMPLATE_T2A)
#define T2X  (T2 | T2S | T2CL | T2A)
#define ALL  (C3 | T2X)

#define MSR_IA32_ARCH_CAPABILITIES 0x10a

/* Leaf 1 EAX: type, family, model and stepping; the reserved bits between them stay. */
#define SIGNATURE 0x0fff3fff

enum reg { EAX, EBX, ECX, EDX };

/* Which bits a template decides in one register, and how. */
static const struct row {
	uint32_t templates;
	uint32_t leaf;
	uint32_t index;
	enum reg reg;
	uint32_t clear;
	uint32_t set;
} rows[] = {
	/* the CPU is an Ivy Bridge or a Haswell server */
	{ C3, 0x1, 0, EAX, SIGNATURE, 0x000306e4 },
	{ T2X, 0x1, 0, EAX, SIGNATURE, 0x000306f2 },
	/* DTES64, MONITOR, VMX, thermal control, debug interfaces; T2: SMX, DCA; C3: FMA, MOVBE */
	{ C3, 0x1, 0, ECX, 0x0040dd3c, 0 },
	{ T2X, 0x1, 0, ECX, 0x0004cdfc, 0 },
	/*
	 * machine checks and MTRRs are there; serial number, debug store, thermal interrupts are
	 * not
	 */
	{ C3, 0x1, 0, EDX, 0xa8641080, 0x00001080 },
	{ T2X, 0x1, 0, EDX, 0xe8641080, 0x00001080 },
	/* SGX, HLE, RTM, MPX, AVX-512, SHA, trace; C3: also AVX2, BMI; T2: ERMS is there */
	{ C3, 0x7, 0, EBX, 0xffafdd3c, 0 },
	{ T2X, 0x7, 0, EBX, 0xffefda14, 0x00000200 },
	{ C3, 0x7, 0, ECX, 0x4041481e, 0 },
	{ T2X, 0x7, 0, ECX, 0x40415f5e, 0 },
	{ C3, 0x7, 0, EDX, 0x0000000c, 0 },
	{ T2X, 0x7, 0, EDX, 0x0000011c, 0 },
	/* extended state of what is gone above: MPX, AVX-512, PKRU; XSAVEC, XGETBV 1, XSAVES */
	{ ALL, 0xd, 0, EAX, 0x000002f8, 0 },
	{ ALL, 0xd, 1, EAX, 0x0000000e, 0 },
	/* PREFETCHW, MONITORX, SSE4A, SVM; C3: LZCNT */
	{ C3, 0x80000001, 0, ECX, 0x00000120, 0 },
	{ T2 | T2S, 0x80000001, 0, ECX, 0x20000100, 0 },
	{ T2CL, 0x80000001, 0, ECX, 0x200001c0, 0 },
	{ T2A, 0x80000001, 0, ECX, 0x200001c4, 0 },
	/* pages of 1 GiB; T2CL and T2A: MMXEXT and fast FXSAVE, which are AMD's */
	{ C3 | T2 | T2S, 0x80000001, 0, EDX, 0x04000000, 0 },
	{ T2CL, 0x80000001, 0, EDX, 0x07c00000, 0 },
	{ T2A, 0x80000001, 0, EDX, 0x06400000, 0 },
	/*
	 * WBNOINVD; T2A: CLZERO too, and the pointers and speculation controls of Milan are there
	 */
	{ T2 | T2S | T2CL, 0x80000008, 0, EBX, 0x00000200, 0 },
	{ T2A, 0x80000008, 0, EBX, 0x001c0205, 0x001c0004 },
};

/* MSRs, which must look the same where CPUs differ in what they are immune against. */
static const struct {
	uint32_t templates;
	uint32_t index;
	uint64_t clear;
	uint64_t set;
} msr_rows[] = {
	{ T2S, MSR_IA32_ARCH_CAPABILITIES, UINT64_MAX, 0x0c0a0c4c },
	{ T2CL, MSR_IA32_ARCH_CAPABILITIES, 0xffffffffe2f51e00, 0 },
};

/* The CPUs that a template was made for: leaf 1 EAX of Skylake, Cascade Lake, Ice Lake, Milan. */
static const struct {
	uint32_t templates;
	uint32_t signature;
} cpus[] = {
	{ C3 | T2 | T2S, 0x00050654 },
	{ C3 | T2 | T2S | T2CL, 0x00050657 },
	{ C3 | T2 | T2CL, 0x000606a6 },
	{ T2A, 0x00a00f11 },
};

#define NR(a) (sizeof(a) / sizeof((a)[0]))

static struct kvm_cpuid_entry2 *find(struct cpuid *c, uint32_t leaf, uint32_t index)
{
	for (uint32_t i = 0; i < c->head.nent; i++)
		if (c->entry[i].function == leaf && c->entry[i].index == index)
			return &c->entry[i];
	return NULL;
}

static int check_host(struct cpuid *c, enum cpu_template t, struct err *e)
{
	const struct kvm_cpuid_entry2 *vendor = find(c, 0, 0), *version = find(c, 1, 0);
	const bool amd = t == CPU_TEMPLATE_T2A;
	const uint32_t signature = amd ? signature_AMD_ebx : signature_INTEL_ebx;
	const char *name = config_name_of(config_cpu_templates, (uint8_t)t);

	if (!vendor || !version || vendor->ebx != signature) {
		err_set(e, 0,
			"Failed to get CPU template: CPU vendor mismatched between actual CPU and "
			"CPU template. %s is for CPUs of %s.",
			name, amd ? "AMD" : "Intel");
		return -ENOTSUP;
	}
	for (size_t i = 0; i < NR(cpus); i++)
		if ((cpus[i].templates & 1U << t) &&
		    cpus[i].signature == (version->eax & SIGNATURE))
			return 0;
	err_set(e, 0,
		"Failed to get CPU template: The current CPU model is not permitted to apply the "
		"CPU template. %s was not made for signature 0x%x.",
		name, version->eax);
	return -ENOTSUP;
}

/* The entry to edit; every template fails in the same words when there is none. */
static struct kvm_cpuid_entry2 *want(struct cpuid *c, uint32_t leaf, uint32_t index, struct err *e)
{
	struct kvm_cpuid_entry2 *entry = find(c, leaf, index);

	if (!entry)
		err_set(e, 0,
			"Template changes a CPUID entry not supported by KVM: Leaf: %x, "
			"Subleaf: %x",
			leaf, index);
	return entry;
}

static void edit(struct kvm_cpuid_entry2 *entry, unsigned int r, uint32_t clear, uint32_t set)
{
	uint32_t *reg =
		(uint32_t *const[]){ &entry->eax, &entry->ebx, &entry->ecx, &entry->edx }[r];

	*reg = (*reg & ~clear) | set;
}

static int edit_msr(int from, int to, uint32_t index, uint64_t clear, uint64_t set, struct err *e)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry[1];
	} msrs = { .head.nmsrs = 1, .entry[0].index = index };

	if (fd_ioctl(from, KVM_GET_MSRS, &msrs.head) == 1) {
		msrs.entry[0].data = (msrs.entry[0].data & ~clear) | set;
		if (fd_ioctl(to, KVM_SET_MSRS, &msrs.head) == 1)
			return 0;
	}
	err_set(e, 0, "Template changes an MSR entry not supported by KVM: Register Address: %x",
		index);
	return -ENOTSUP;
}

int cpu_template_apply(struct cpuid *c, enum cpu_template t, struct err *e)
{
	int ret;

	if (t == CPU_TEMPLATE_NONE)
		return 0;
	ret = check_host(c, t, e);
	if (ret)
		return ret;
	for (size_t i = 0; i < NR(rows); i++) {
		struct kvm_cpuid_entry2 *entry;

		if (!(rows[i].templates & 1U << t))
			continue;
		entry = want(c, rows[i].leaf, rows[i].index, e);
		if (!entry)
			return -ENOTSUP;
		edit(entry, rows[i].reg, rows[i].clear, rows[i].set);
	}
	return 0;
}

int cpu_template_msrs(int fd, enum cpu_template t, struct err *e)
{
	int ret = 0;

	for (size_t i = 0; ret == 0 && i < NR(msr_rows); i++)
		if (msr_rows[i].templates & 1U << t)
			ret = edit_msr(fd, fd, msr_rows[i].index, msr_rows[i].clear,
				       msr_rows[i].set, e);
	return ret;
}

int cpu_custom_apply(struct cpuid *c, const struct cpu_config *cpu, int kvm_fd, struct err *e)
{
	for (size_t i = 0; i < cpu->nr_caps; i++) {
		if (cpu->cap[i].removed)
			continue;
		if (ioctl(kvm_fd, KVM_CHECK_EXTENSION, (unsigned long)cpu->cap[i].nr) <= 0) {
			err_set(e, 0,
				"KVM does not have the capability that the CPU template needs: %u",
				cpu->cap[i].nr);
			return -ENOTSUP;
		}
	}
	for (size_t i = 0; i < cpu->nr_cpuid; i++) {
		const struct cpuid_modifier *m = &cpu->cpuid[i];
		struct kvm_cpuid_entry2 *entry = want(c, m->leaf, m->index, e);

		if (!entry)
			return -ENOTSUP;
		entry->flags = m->flags;
		for (size_t j = 0; j < m->nr_regs; j++)
			edit(entry, m->reg[j].reg, (uint32_t)m->reg[j].bits.clear,
			     (uint32_t)m->reg[j].bits.set);
	}
	return 0;
}

int cpu_custom_msrs(int from, int to, const struct cpu_config *cpu, struct err *e)
{
	int ret = 0;

	for (size_t i = 0; ret == 0 && i < cpu->nr_msrs; i++)
		ret = edit_msr(from, to, cpu->msr[i].index, cpu->msr[i].bits.clear,
			       cpu->msr[i].bits.set, e);
	return ret;
}
