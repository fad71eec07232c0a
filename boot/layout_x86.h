/* SPDX-License-Identifier: Apache-2.0 */
/*
 * layout_x86.h - where everything lies in the guest-physical address space of an x86_64 guest.
 *
 * Constants and one pure function; any thread. The map is the one existing Firecracker guests,
 * command lines and snapshots-by-hand know, so the numbers are fixed and each says what binds it.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"

#define LAYOUT_PAGE_SIZE UINT64_C(0x1000)

/*
 * Low memory, below the 640 KiB line. Everything here is written by boot_setup() into RAM that the
 * memory map calls usable: the guest copies what it needs before it gives the pages out.
 */
#define LAYOUT_GDT	  UINT64_C(0x500)  /* after the real-mode vectors and BIOS data area */
#define LAYOUT_PVH_INFO	  UINT64_C(0x6000) /* struct hvm_start_info */
#define LAYOUT_PVH_MODS	  UINT64_C(0x6040) /* struct hvm_modlist_entry, one: the initrd */
#define LAYOUT_ZERO_PAGE  UINT64_C(0x7000) /* struct boot_params, or the PVH memory map */
#define LAYOUT_STACK_TOP  UINT64_C(0x8ff0) /* Linux protocol; the page below it is free */
#define LAYOUT_PML4	  UINT64_C(0x9000) /* these three: identity map of the first GiB */
#define LAYOUT_PDPT	  UINT64_C(0xa000)
#define LAYOUT_PD	  UINT64_C(0xb000)
#define LAYOUT_SETUP_DATA UINT64_C(0xc000)  /* one page: setup_data node with the boot entropy */
#define LAYOUT_CMDLINE	  UINT64_C(0x20000) /* CMDLINE_MAX bytes (boot/cmdline.h) */

/*
 * Firmware area: RAM that the memory map calls reserved. The MP specification has kernels look for
 * the table in the last KiB below 640 KiB (it fits: 924 bytes with 32 vCPUs); the RSDP is looked
 * for from 0xe0000 on, and the other ACPI tables follow it. 0xa0000-0xdffff stays empty: kernels
 * expect a VGA window and option ROMs there.
 */
#define LAYOUT_LOW_RAM_END  UINT64_C(0x9fc00)
#define LAYOUT_MPTABLE	    UINT64_C(0x9fc00)
#define LAYOUT_MPTABLE_END  UINT64_C(0xa0000)
#define LAYOUT_RSDP	    UINT64_C(0xe0000)
#define LAYOUT_ACPI_TABLES  UINT64_C(0xe0040)
#define LAYOUT_ACPI_END	    UINT64_C(0xf0000)
#define LAYOUT_RESET_VECTOR UINT64_C(0xffff0)  /* where firmware starts over; see setup_x86.c */
#define LAYOUT_HIGH_RAM	    UINT64_C(0x100000) /* RAM again; kernels are never loaded below */

/* The 32-bit hole: virtio-mmio windows, IOAPIC, LAPIC and KVM's own pages live here, no RAM. */
#define LAYOUT_GAP_START UINT64_C(0xc0000000)
#define LAYOUT_GAP_END	 UINT64_C(0x100000000)

/* The boot timer of --boot-timer; virtio-mmio windows follow it. */
#define LAYOUT_BOOT_TIMER	UINT64_C(0xc0000000)
#define LAYOUT_VIRTIO_MMIO	UINT64_C(0xc0001000)
#define LAYOUT_VIRTIO_MMIO_SIZE UINT64_C(0x1000) /* a page each: no two share a mapping */

#define LAYOUT_IOAPIC	    UINT64_C(0xfec00000) /* where KVM's in-kernel IOAPIC answers */
#define LAYOUT_LAPIC	    UINT64_C(0xfee00000) /* reset value of IA32_APIC_BASE */
#define LAYOUT_IDENTITY_MAP UINT64_C(0xfffbc000) /* KVM_SET_IDENTITY_MAP_ADDR's default, a page */
#define LAYOUT_TSS	    UINT64_C(0xfffbd000) /* KVM_SET_TSS_ADDR: three pages, old Intel CPUs */

/* RAM leaves a 64-bit window for device memory at [256 GiB, 512 GiB), as guests know it. */
#define LAYOUT_GAP64_START UINT64_C(0x4000000000)
#define LAYOUT_GAP64_END   UINT64_C(0x8000000000)
#define LAYOUT_RAM_END	   UINT64_C(0x10000000000) /* 1 TiB: last byte + 1 that any RAM may have */

/* IOAPIC pins of virtio-mmio devices: 0-4 belong to the timer, keyboard, cascade, COM2 and COM1. */
#define LAYOUT_GSI_FIRST 5U
#define LAYOUT_GSI_LAST	 23U
#define LAYOUT_NR_GSIS	 (LAYOUT_GSI_LAST - LAYOUT_GSI_FIRST + 1U)
#define LAYOUT_NR_PINS	 24U /* of KVM's IOAPIC */

#define LAYOUT_MAX_VCPUS 32U

/* Ports. COM1 and the keyboard controller are where every PC has them. */
#define LAYOUT_COM1_PORT     0x3f8U
#define LAYOUT_COM1_NR_PORTS 8U
#define LAYOUT_COM1_IRQ	     4U
#define LAYOUT_I8042_DATA    0x60U
#define LAYOUT_I8042_CMD     0x64U
#define LAYOUT_I8042_IRQ     1U

/*
 * Registers that the FADT names (ACPI 6.4, 4.8.3.6 reset, 4.8.3.7 sleep control and status). Byte
 * wide, in port space that no PC device claims. What the platform device has to do:
 * - a write of LAYOUT_ACPI_RESET_VALUE to LAYOUT_ACPI_RESET_PORT restarts, i.e. ends, the VM;
 * - a write of LAYOUT_ACPI_SLEEP_S5 to LAYOUT_ACPI_SLEEP_CTL_PORT powers the VM off;
 * - LAYOUT_ACPI_SLEEP_STS_PORT reads as 0 (never woken); the guest writes WAK_STS (0x80) to clear.
 * Reads of the control register give 0; other values written are ignored.
 */
#define LAYOUT_ACPI_PORT	   0x600U /* first of LAYOUT_ACPI_NR_PORTS */
#define LAYOUT_ACPI_NR_PORTS	   4U
#define LAYOUT_ACPI_SLEEP_CTL_PORT 0x600U
#define LAYOUT_ACPI_SLEEP_STS_PORT 0x601U
#define LAYOUT_ACPI_RESET_PORT	   0x602U
#define LAYOUT_ACPI_RESET_VALUE	   0x01U
#define LAYOUT_ACPI_S5_TYPE	   5U /* the DSDT's _S5 says this SLP_TYP */
#define LAYOUT_ACPI_SLEEP_S5	   (LAYOUT_ACPI_S5_TYPE << 2 | 0x20U) /* SLP_TYP, SLP_EN */

/*
 * layout_x86_ram - the RAM ranges of a guest with @mem_bytes of memory.
 * @mem_bytes: a multiple of the page size, at least LAYOUT_HIGH_RAM + one page.
 * @out has room for MEM_REGIONS_MAX entries; *nr gets how many are used (1..3).
 * Returns 0, or -EINVAL: not page-aligned, too small, or more than fits below LAYOUT_RAM_END.
 */
int layout_x86_ram(uint64_t mem_bytes, struct mem_range *out, size_t *nr);

/* The most memory that layout_x86_ram() can place, in bytes. */
#define LAYOUT_RAM_MAX                                                                             \
	(LAYOUT_GAP_START + (LAYOUT_GAP64_START - LAYOUT_GAP_END) +                                \
	 (LAYOUT_RAM_END - LAYOUT_GAP64_END))
