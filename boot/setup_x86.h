/* SPDX-License-Identifier: Apache-2.0 */
/*
 * setup_x86.h - everything beside the kernel that an x86_64 guest finds in RAM at its first
 * instruction: zero page or PVH start info, memory map, command line, GDT, page tables, ACPI and MP
 * tables, boot entropy; and the register values that go with it.
 *
 * Knows memory, not KVM. Runs on the thread that builds the machine, once, after kernel_load and
 * initrd_load. Documentation/arch/x86/boot.rst (64-bit protocol), Xen docs/misc/pvh, ACPI 6.4,
 * MP 1.4.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "boot/kernel_x86.h"
#include "boot/layout_x86.h"

/* A virtio-mmio window that the tables announce; LAYOUT_VIRTIO_MMIO_SIZE bytes. */
struct boot_device {
	gpa_t addr;	  /* page-aligned, inside the 32-bit gap */
	unsigned int gsi; /* LAYOUT_GSI_FIRST..LAYOUT_GSI_LAST */
};

#define BOOT_DEVICES_MAX LAYOUT_NR_GSIS
#define BOOT_SEED_MAX	 64U

struct boot_info {
	const struct kernel_image *kernel;
	const struct initrd_image *initrd; /* NULL: none */
	const char *cmdline;		   /* NUL-terminated, shorter than CMDLINE_MAX */
	unsigned int nr_vcpus;		   /* 1..LAYOUT_MAX_VCPUS; APIC ids are 0..nr_vcpus-1 */
	bool serial;			   /* announce COM1 */
	const struct boot_device *devices; /* in the order of their names in the guest */
	size_t nr_devices;		   /* 0..BOOT_DEVICES_MAX */
	/* Entropy for SETUP_RNG_SEED; 0 bytes: none. PVH has no place for it, and ignores it. */
	uint8_t rng_seed[BOOT_SEED_MAX];
	size_t rng_seed_len;
};

/* A segment register as the CPU caches it (Intel SDM 3A, 3.4.5; names as in struct kvm_segment). */
struct boot_segment {
	uint64_t base;
	uint32_t limit; /* in bytes, already scaled by g */
	uint16_t selector;
	uint8_t type;
	uint8_t present, dpl, db, s, l, g;
};

/*
 * How vCPU 0 starts; the other vCPUs wait for INIT/SIPI in their reset state. Registers that are
 * not named here are 0 (all general registers), or keep KVM's reset value (apic_base, cr8).
 */
struct boot_start {
	uint64_t rip, rsp, rbp, rsi, rbx;
	uint64_t rflags;
	uint64_t cr0, cr3, cr4, efer;
	uint64_t gdt_base, idt_base; /* the IDT is empty: a fault before the guest's own is fatal */
	uint16_t gdt_limit, idt_limit;
	struct boot_segment cs;
	struct boot_segment data; /* ds, es, fs, gs, ss */
	struct boot_segment tr;	  /* busy TSS: VM entry wants a usable one */
};

/*
 * boot_setup - write it all and say how to start.
 * Errors: EINVAL when @info is out of its documented ranges, EFAULT when RAM is too small for the
 * low structures (layout_x86_ram never makes such RAM).
 */
int boot_setup(struct mem *m, const struct boot_info *info, struct boot_start *out, struct err *e);
