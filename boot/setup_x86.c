/* SPDX-License-Identifier: Apache-2.0 */
/*
 * setup_x86.c - what the guest finds beside its kernel, and the registers to start with.
 *
 * Runs once, on the thread that builds the machine. Linux: Documentation/arch/x86/boot.rst (64-bit
 * boot protocol) and zero-page.rst. PVH: Xen's docs/misc/pvh and public/arch-x86/hvm/start_info.h.
 */
#include "boot/setup_x86.h"

#include <asm/bootparam.h>
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "base/byteorder.h"
#include "boot/acpi_x86.h"
#include "boot/cmdline.h"
#include "boot/mptable_x86.h"

/* Memory types: e820 and PVH use the same numbers. */
enum { MEMMAP_RAM = 1, MEMMAP_RESERVED = 2 };

struct memmap_entry {
	uint64_t addr, len;
	uint32_t type;
};

/* Low RAM, the firmware area, RAM from 1 MiB, and each further region. */
#define MEMMAP_MAX (2 + MEM_REGIONS_MAX)

/* struct hvm_start_info and its parts (version 1); linux-libc-dev does not carry them. */
#define PVH_MAGIC      0x336ec578U
#define PVH_INFO_LEN   56U
#define PVH_MODULE_LEN 32U
#define PVH_MEMMAP_LEN 24U

_Static_assert(LAYOUT_PVH_INFO + PVH_INFO_LEN <= LAYOUT_PVH_MODS, "start info fits");
_Static_assert(sizeof(struct boot_params) == LAYOUT_PAGE_SIZE, "the zero page is a page");
_Static_assert(BOOT_SEED_MAX + sizeof(struct setup_data) <= LAYOUT_PAGE_SIZE, "the seed fits");

/* Control registers, Intel SDM 3A 2.5; EFER, SDM 4. */
#define CR0_PE	 (1U << 0)
#define CR0_ET	 (1U << 4)
#define CR0_PG	 (1U << 31)
#define CR4_PAE	 (1U << 5)
#define EFER_LME (1U << 8)
#define EFER_LMA (1U << 10)
#define RFLAGS_1 (1U << 1) /* always set */

/* Page table entries, SDM 3A 4.5. */
#define PTE_TABLE 0x03U /* present, writable */
#define PTE_2M	  0x83U

/*
 * Selectors: the 64-bit boot protocol asks for code at 0x10 and data at 0x18. The task register
 * needs a descriptor too: VM entry refuses an unusable one. It spans two slots in long mode.
 */
enum { GDT_CODE = 2, GDT_DATA = 3, GDT_TSS = 4, GDT_SLOTS = 6 };

static int build_memmap(const struct mem *m, struct memmap_entry map[MEMMAP_MAX])
{
	struct mem_range low = mem_range(m, 0);
	int nr = 0;

	map[nr++] = (struct memmap_entry){ 0, LAYOUT_LOW_RAM_END, MEMMAP_RAM };
	map[nr++] = (struct memmap_entry){ LAYOUT_LOW_RAM_END, LAYOUT_HIGH_RAM - LAYOUT_LOW_RAM_END,
					   MEMMAP_RESERVED };
	map[nr++] = (struct memmap_entry){ LAYOUT_HIGH_RAM, low.len - LAYOUT_HIGH_RAM, MEMMAP_RAM };
	for (size_t i = 1; i < mem_nr_ranges(m); i++) {
		struct mem_range r = mem_range(m, i);

		map[nr++] = (struct memmap_entry){ r.base.v, r.len, MEMMAP_RAM };
	}
	return nr;
}

/* The seed as a setup_data node: Linux mixes it in before anything asks for random numbers. */
static int write_seed(struct mem *m, const struct boot_info *info)
{
	uint8_t node[sizeof(struct setup_data) + BOOT_SEED_MAX] = { 0 };
	struct setup_data head = { .type = SETUP_RNG_SEED, .len = (uint32_t)info->rng_seed_len };

	memcpy(node, &head, sizeof(head));
	memcpy(node + sizeof(head), info->rng_seed, info->rng_seed_len);
	return mem_write(m, GPA(LAYOUT_SETUP_DATA), node, sizeof(head) + info->rng_seed_len);
}

static int write_zero_page(struct mem *m, const struct boot_info *info)
{
	struct boot_params bp = { 0 };
	struct setup_header *h = &bp.hdr;
	struct memmap_entry map[MEMMAP_MAX];
	int r = 0;

	/* From the file, then the fields that boot.rst marks as the loader's. */
	*h = info->kernel->setup;
	h->type_of_loader = 0xff; /* no id assigned */
	h->ext_loader_type = 0;
	h->ext_loader_ver = 0;
	h->loadflags &= (uint8_t) ~(KEEP_SEGMENTS | CAN_USE_HEAP);
	h->vid_mode = 0xffff; /* "normal" */
	h->cmd_line_ptr = (uint32_t)LAYOUT_CMDLINE;
	h->setup_data = 0;
	h->ramdisk_image = 0;
	h->ramdisk_size = 0;
	if (info->initrd) {
		h->ramdisk_image = (uint32_t)info->initrd->addr.v;
		bp.ext_ramdisk_image = (uint32_t)(info->initrd->addr.v >> 32);
		h->ramdisk_size = (uint32_t)info->initrd->len;
		bp.ext_ramdisk_size = (uint32_t)(info->initrd->len >> 32);
	}
	if (info->rng_seed_len) {
		h->setup_data = LAYOUT_SETUP_DATA;
		r = write_seed(m, info);
	}
	bp.acpi_rsdp_addr = LAYOUT_RSDP;

	bp.e820_entries = (uint8_t)build_memmap(m, map);
	for (size_t i = 0; i < bp.e820_entries; i++) {
		bp.e820_table[i].addr = map[i].addr;
		bp.e820_table[i].size = map[i].len;
		bp.e820_table[i].type = map[i].type;
	}
	return r ? r : mem_write(m, GPA(LAYOUT_ZERO_PAGE), &bp, sizeof(bp));
}

static int write_pvh(struct mem *m, const struct boot_info *info)
{
	uint8_t start[PVH_INFO_LEN] = { 0 };
	uint8_t module[PVH_MODULE_LEN] = { 0 };
	uint8_t table[MEMMAP_MAX * PVH_MEMMAP_LEN] = { 0 };
	struct memmap_entry map[MEMMAP_MAX];
	int nr = build_memmap(m, map);
	int r;

	for (int i = 0; i < nr; i++) {
		le64_put(table + (size_t)i * PVH_MEMMAP_LEN, map[i].addr);
		le64_put(table + (size_t)i * PVH_MEMMAP_LEN + 8, map[i].len);
		le32_put(table + (size_t)i * PVH_MEMMAP_LEN + 16, map[i].type);
	}
	le32_put(start, PVH_MAGIC);
	le32_put(start + 4, 1); /* version: the first with a memory map */
	if (info->initrd) {
		le64_put(module, info->initrd->addr.v);
		le64_put(module + 8, info->initrd->len);
		le32_put(start + 12, 1); /* modules */
		le64_put(start + 16, LAYOUT_PVH_MODS);
	}
	le64_put(start + 24, LAYOUT_CMDLINE);
	le64_put(start + 32, LAYOUT_RSDP);
	le64_put(start + 40, LAYOUT_ZERO_PAGE);
	le32_put(start + 48, (uint32_t)nr);

	r = mem_write(m, GPA(LAYOUT_PVH_INFO), start, sizeof(start));
	if (!r)
		r = mem_write(m, GPA(LAYOUT_PVH_MODS), module, sizeof(module));
	if (!r)
		r = mem_write(m, GPA(LAYOUT_ZERO_PAGE), table, (size_t)nr * PVH_MEMMAP_LEN);
	return r;
}

/* Identity map of the first GiB; kernel_load refuses a 64-bit kernel that ends above it. */
static int write_page_tables(struct mem *m)
{
	uint8_t pd[LAYOUT_PAGE_SIZE];
	uint8_t entry[8];
	int r;

	for (uint64_t i = 0; i < sizeof(pd) / 8; i++)
		le64_put(pd + i * 8, i << 21 | PTE_2M);
	le64_put(entry, LAYOUT_PDPT | PTE_TABLE);
	r = mem_write(m, GPA(LAYOUT_PML4), entry, sizeof(entry));
	le64_put(entry, LAYOUT_PD | PTE_TABLE);
	if (!r)
		r = mem_write(m, GPA(LAYOUT_PDPT), entry, sizeof(entry));
	return r ? r : mem_write(m, GPA(LAYOUT_PD), pd, sizeof(pd));
}

/* The descriptor of a flat or TSS segment (SDM 3A, 3.4.5), from the same values as the register. */
static uint64_t descriptor(const struct boot_segment *s)
{
	uint64_t limit = s->g ? s->limit >> 12 : s->limit;

	return (limit & 0xffff) | (s->base & 0xffffff) << 16 | (uint64_t)s->type << 40 |
	       (uint64_t)s->s << 44 | (uint64_t)s->dpl << 45 | (uint64_t)s->present << 47 |
	       (limit >> 16 & 0xf) << 48 | (uint64_t)s->l << 53 | (uint64_t)s->db << 54 |
	       (uint64_t)s->g << 55 | (s->base >> 24 & 0xff) << 56;
}

static int write_gdt(struct mem *m, struct boot_start *s)
{
	uint8_t gdt[GDT_SLOTS * 8] = { 0 };

	le64_put(gdt + (size_t)GDT_CODE * 8, descriptor(&s->cs));
	le64_put(gdt + (size_t)GDT_DATA * 8, descriptor(&s->data));
	le64_put(gdt + (size_t)GDT_TSS * 8, descriptor(&s->tr));
	s->gdt_base = LAYOUT_GDT;
	s->gdt_limit = sizeof(gdt) - 1;
	return mem_write(m, GPA(LAYOUT_GDT), gdt, sizeof(gdt));
}

/*
 * The only code of ours that a guest can run. A Linux with CONFIG_EFI takes hardware-reduced ACPI
 * to mean UEFI; it then restarts through EFI alone, not through the FADT's reset register, and when
 * there is no EFI, through the BIOS: real mode, jump to ffff:0000 (arch/x86/kernel/reboot.c).
 * Instead of zeros it finds there what the reset register wants.
 */
static int write_reset_vector(struct mem *m)
{
	static const uint8_t code[] = {
		/* clang-format off */
		/* mov dx, port; mov al, value; out dx, al */
		0xba, LAYOUT_ACPI_RESET_PORT & 0xff, LAYOUT_ACPI_RESET_PORT >> 8,
		0xb0, LAYOUT_ACPI_RESET_VALUE, 0xee,
		/* 1: hlt; jmp 1b */
		0xf4, 0xeb, 0xfd,
		/* clang-format on */
	};

	return mem_write(m, GPA(LAYOUT_RESET_VECTOR), code, sizeof(code));
}

/* 32-bit flat segments, paging off (Xen docs/misc/pvh); the same with long mode for Linux. */
static void fill_start(const struct kernel_image *k, struct boot_start *s)
{
	bool lm = k->protocol == BOOT_PROTOCOL_LINUX64;

	*s = (struct boot_start){
		.rip = k->entry.v,
		.rflags = RFLAGS_1,
		.cr0 = CR0_PE | CR0_ET,
		/* clang-format off */
		.cs = { .limit = 0xffffffff, .selector = GDT_CODE * 8, .type = 0xb, .present = 1,
			.db = !lm, .s = 1, .l = lm, .g = 1 },
		.data = { .limit = 0xffffffff, .selector = GDT_DATA * 8, .type = 0x3, .present = 1,
			  .db = 1, .s = 1, .g = 1 },
		/* clang-format on */
		.tr = { .limit = 0x67, .selector = GDT_TSS * 8, .type = 0xb, .present = 1 },
	};
	if (lm) {
		s->rsi = LAYOUT_ZERO_PAGE;
		s->rsp = s->rbp = LAYOUT_STACK_TOP;
		s->cr0 |= CR0_PG;
		s->cr3 = LAYOUT_PML4;
		s->cr4 = CR4_PAE;
		s->efer = EFER_LME | EFER_LMA;
	} else {
		s->rbx = LAYOUT_PVH_INFO;
	}
}

/* The ranges of setup_x86.h: the machine keeps them, but a kernel file may break the last. */
static int check_info(const struct boot_info *info, size_t cmdline_len, struct err *e)
{
	uint32_t kernel_max = info->kernel->setup.cmdline_size;

	if (info->nr_vcpus < 1 || info->nr_vcpus > LAYOUT_MAX_VCPUS)
		return err_set(e, 0, "%u vCPUs, must be 1 to %u", info->nr_vcpus, LAYOUT_MAX_VCPUS);
	if (info->nr_devices > BOOT_DEVICES_MAX)
		return err_set(e, 0, "%zu devices, at most %u have an interrupt", info->nr_devices,
			       BOOT_DEVICES_MAX);
	if (info->rng_seed_len > BOOT_SEED_MAX)
		return err_set(e, 0, "boot seed of %zu bytes, at most %u", info->rng_seed_len,
			       BOOT_SEED_MAX);
	for (size_t i = 0; i < info->nr_devices; i++) {
		const struct boot_device *d = &info->devices[i];

		if (d->gsi < LAYOUT_GSI_FIRST || d->gsi > LAYOUT_GSI_LAST ||
		    d->addr.v % LAYOUT_PAGE_SIZE || d->addr.v < LAYOUT_GAP_START ||
		    d->addr.v > LAYOUT_IOAPIC - LAYOUT_VIRTIO_MMIO_SIZE)
			return err_set(e, 0, "device %zu: address 0x%" PRIx64 " or GSI %u", i,
				       d->addr.v, d->gsi);
	}
	if (cmdline_len >= CMDLINE_MAX)
		return err_set(e, 0, "kernel command line: %zu characters, at most %d fit",
			       cmdline_len, CMDLINE_MAX - 1);
	/* A bzImage may take less; 0 is what an ELF kernel says, it takes CMDLINE_MAX. */
	if (kernel_max && cmdline_len > kernel_max)
		return err_set(e, 0,
			       "kernel command line: %zu characters, this kernel takes %u "
			       "(cmdline_size)",
			       cmdline_len, kernel_max);
	return 0;
}

int boot_setup(struct mem *m, const struct boot_info *info, struct boot_start *out, struct err *e)
{
	size_t cmdline_len = strnlen(info->cmdline, CMDLINE_MAX);
	int r = check_info(info, cmdline_len, e);

	if (r)
		return r;
	fill_start(info->kernel, out);

	/* All of the low structures lie below 1 MiB; a RAM that has less is no layout of ours. */
	if (!mem_valid(m, GPA(0), LAYOUT_HIGH_RAM + LAYOUT_PAGE_SIZE))
		return err_set(e, EFAULT, "boot structures in guest RAM");
	r = mem_write(m, GPA(LAYOUT_CMDLINE), info->cmdline, cmdline_len + 1);
	if (!r)
		r = write_gdt(m, out);
	if (!r)
		r = write_reset_vector(m);
	if (!r && info->kernel->protocol == BOOT_PROTOCOL_LINUX64)
		r = write_zero_page(m, info);
	else if (!r)
		r = write_pvh(m, info);
	if (!r && info->kernel->protocol == BOOT_PROTOCOL_LINUX64)
		r = write_page_tables(m);
	if (r)
		return err_set(e, -r, "boot structures in guest RAM");

	r = mptable_write(m, info->nr_vcpus, e);
	return r ? r : acpi_write(m, info, e);
}
