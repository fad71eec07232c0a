/* SPDX-License-Identifier: Apache-2.0 */
/*
 * floor_x86 [-t] KERNEL: the least that any VMM must do before a guest's first instruction, and nothing
 * more: no options, no devices, no checks of the file (it is only ever given hello_x86). A VMM's start is
 * measured as a multiple of this. -t prints the time after each step to standard error.
 *
 * The order of the calls decides more than their number: a memory slot that is added once there is an
 * interrupt controller waits for an SRCU grace period of the VM, 5-10 ms. So: memory, irqchip, vCPU.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define RAM_BYTES	  (128u << 20)
#define PAGE_BYTES	  4096u
#define CPUID_ENTRIES_MAX 256
#define I8042_COMMAND	  0x64

static int trace;
static struct timespec start;

static void step(const char *name)
{
	struct timespec t;

	if (!trace)
		return;
	clock_gettime(CLOCK_MONOTONIC, &t);
	fprintf(stderr, "%-10s %ld us\n", name,
		(t.tv_sec - start.tv_sec) * 1000000 + (t.tv_nsec - start.tv_nsec) / 1000);
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int need(int ret, const char *what)
{
	if (ret < 0)
		die(what);
	return ret;
}

/* musl declares the request as int, glibc as unsigned long: one cast here serves both. */
static int kvm_call(int fd, unsigned long request, void *arg, const char *what)
{
#ifdef __GLIBC__
	return need(ioctl(fd, request, arg), what);
#else
	return need(ioctl(fd, (int)request, arg), what);
#endif
}

/* Maps the loadable segments of the file over guest RAM; returns the address of the first instruction. */
static uint64_t load(const char *path, uint8_t *ram)
{
	int file = need(open(path, O_RDONLY | O_CLOEXEC), path);
	uint8_t head[PAGE_BYTES] = { 0 };
	Elf64_Ehdr eh;
	Elf64_Phdr ph;

	need((int)read(file, head, sizeof(head)), path);
	memcpy(&eh, head, sizeof(eh));
	for (int i = 0; i < eh.e_phnum; i++) {
		memcpy(&ph, head + eh.e_phoff + (size_t)i * sizeof(ph), sizeof(ph));
		if (ph.p_type != PT_LOAD)
			continue;
		if (mmap(ram + ph.p_paddr, ph.p_filesz, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_FIXED, file, (off_t)ph.p_offset) == MAP_FAILED)
			die("map segment");
	}
	return eh.e_entry;
}

static void vcpu_registers(int vcpu, uint64_t entry)
{
	struct kvm_segment code = {
		.limit = ~0u,
		.selector = 8,
		.type = 11,
		.present = 1,
		.s = 1,
		.db = 1,
		.g = 1,
	};
	struct kvm_regs regs = { .rip = entry, .rflags = 2 };
	struct kvm_segment data = code;
	struct kvm_sregs sregs;

	kvm_call(vcpu, KVM_GET_SREGS, &sregs, "KVM_GET_SREGS");
	data.type = 3;
	data.selector = 16;
	sregs.cs = code;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	sregs.cr0 = 1; /* protected mode, no paging: the state PVH asks for */
	kvm_call(vcpu, KVM_SET_SREGS, &sregs, "KVM_SET_SREGS");
	kvm_call(vcpu, KVM_SET_REGS, &regs, "KVM_SET_REGS");
}

static void run(int vcpu, struct kvm_run *r)
{
	int printed = 0;

	for (;;) {
		kvm_call(vcpu, KVM_RUN, NULL, "KVM_RUN");
		if (r->exit_reason != KVM_EXIT_IO) {
			fprintf(stderr, "floor_x86: exit reason %u\n", r->exit_reason);
			exit(1);
		}
		if (r->io.port == I8042_COMMAND)
			_exit(0);
		need((int)write(1, (uint8_t *)r + r->io.data_offset, 1), "write");
		if (!printed++)
			step("first byte");
	}
}

int main(int argc, char **argv)
{
	static union {
		struct kvm_cpuid2 head;
		uint8_t room[sizeof(struct kvm_cpuid2) +
			     CPUID_ENTRIES_MAX * sizeof(struct kvm_cpuid_entry2)];
	} cpuid;
	struct kvm_userspace_memory_region slot = { .memory_size = RAM_BYTES };
	struct kvm_run *r;
	uint64_t entry;
	uint8_t *ram;
	int kvm, vm, vcpu;

	clock_gettime(CLOCK_MONOTONIC, &start);
	trace = argc > 2 && !strcmp(argv[1], "-t");
	if (argc != 2 + trace) {
		fprintf(stderr, "usage: floor_x86 [-t] KERNEL\n");
		return 2;
	}
	kvm = need(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
	vm = kvm_call(kvm, KVM_CREATE_VM, NULL, "KVM_CREATE_VM");
	step("vm");
	ram = mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (ram == MAP_FAILED)
		die("guest memory");
	entry = load(argv[1 + trace], ram);
	slot.userspace_addr = (uintptr_t)ram;
	kvm_call(vm, KVM_SET_USER_MEMORY_REGION, &slot, "KVM_SET_USER_MEMORY_REGION");
	step("memory");
	kvm_call(vm, KVM_CREATE_IRQCHIP, NULL, "KVM_CREATE_IRQCHIP");
	step("irqchip");
	vcpu = kvm_call(vm, KVM_CREATE_VCPU, NULL, "KVM_CREATE_VCPU");
	r = mmap(NULL, (size_t)kvm_call(kvm, KVM_GET_VCPU_MMAP_SIZE, NULL, "vCPU size"),
		 PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (r == MAP_FAILED)
		die("vCPU state");
	step("vcpu");
	cpuid.head.nent = CPUID_ENTRIES_MAX;
	kvm_call(kvm, KVM_GET_SUPPORTED_CPUID, &cpuid, "KVM_GET_SUPPORTED_CPUID");
	kvm_call(vcpu, KVM_SET_CPUID2, &cpuid, "KVM_SET_CPUID2");
	step("cpuid");
	vcpu_registers(vcpu, entry);
	step("registers");
	run(vcpu, r);
}
