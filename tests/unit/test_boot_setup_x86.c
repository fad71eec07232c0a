/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_boot_setup_x86.c - the layout, and every structure that a guest reads, checked as a guest
 * would: by following the pointers it is given.
 */
#include "boot_util_x86.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "boot/cmdline.h"
#include "boot/setup_x86.h"

Test(boot_layout, ram_around_the_holes)
{
	static const struct {
		uint64_t bytes;
		size_t nr;
		uint64_t range[6];
	} row[] = {
		{ 32 * MIB, 1, { 0, 32 * MIB } },
		{ 3 * GIB - 4096, 1, { 0, 3 * GIB - 4096 } },
		{ 3 * GIB, 1, { 0, 3 * GIB } },
		{ 3 * GIB + 4096, 2, { 0, 3 * GIB, 4 * GIB, 4096 } },
		{ 6 * GIB, 2, { 0, 3 * GIB, 4 * GIB, 3 * GIB } },
		{ 255 * GIB, 2, { 0, 3 * GIB, 4 * GIB, 252 * GIB } },
		{ 256 * GIB, 3, { 0, 3 * GIB, 4 * GIB, 252 * GIB, 512 * GIB, GIB } },
		{ LAYOUT_RAM_MAX, 3, { 0, 3 * GIB, 4 * GIB, 252 * GIB, 512 * GIB, 512 * GIB } },
	};

	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		struct mem_range r[MEM_REGIONS_MAX];
		size_t nr = 0;

		cr_assert(layout_x86_ram(row[i].bytes, r, &nr) == 0);
		cr_assert(nr == row[i].nr, "row %zu", i);
		for (size_t j = 0; j < nr; j++) {
			cr_assert(r[j].base.v == row[i].range[2 * j]);
			cr_assert(r[j].len == row[i].range[2 * j + 1]);
		}
	}
}

Test(boot_layout, sizes_that_are_refused)
{
	struct mem_range r[MEM_REGIONS_MAX];
	size_t nr;

	cr_assert(layout_x86_ram(0, r, &nr) == -EINVAL);
	cr_assert(layout_x86_ram(MIB, r, &nr) == -EINVAL);
	cr_assert(layout_x86_ram(32 * MIB + 1, r, &nr) == -EINVAL);
	cr_assert(layout_x86_ram(LAYOUT_RAM_MAX + 4096, r, &nr) == -EINVAL);
	cr_assert(layout_x86_ram(UINT64_MAX & ~UINT64_C(0xfff), r, &nr) == -EINVAL);
}

static struct boot_device device[BOOT_DEVICES_MAX];
static struct kernel_image kernel;
static const struct initrd_image initrd = { .addr = { 0x7000000 }, .len = 0x12345 };

static struct boot_info info(enum boot_protocol protocol)
{
	struct boot_info in = { .kernel = &kernel,
				.cmdline = "console=ttyS0",
				.nr_vcpus = 2,
				.serial = true,
				.devices = device,
				.nr_devices = 2 };

	kernel = (struct kernel_image){ .protocol = protocol,
					.entry = GPA(0x1000200),
					.start = GPA(0x1000000),
					.end = GPA(0x2000000) };
	kernel.setup.version = 0x020f;
	kernel.setup.cmdline_size = 2047;
	kernel.setup.loadflags = LOADED_HIGH | KEEP_SEGMENTS | CAN_USE_HEAP;
	for (unsigned int i = 0; i < BOOT_DEVICES_MAX; i++)
		device[i] = (struct boot_device){ .addr = GPA(LAYOUT_VIRTIO_MMIO +
							      i * LAYOUT_VIRTIO_MMIO_SIZE),
						  .gsi = LAYOUT_GSI_FIRST + i };
	return in;
}

static void get(const struct mem *m, uint64_t addr, void *buf, size_t len)
{
	cr_assert(mem_read(m, GPA(addr), buf, len) == 0, "0x%lx", (unsigned long)addr);
}

static void setup(struct mem *m, const struct boot_info *in, struct boot_start *s)
{
	struct err e = { 0 };

	cr_assert(boot_setup(m, in, s, &e) == 0, "%s", e.msg);
}

Test(boot_setup, registers_of_the_linux_protocol)
{
	struct mem *m = ram(128 * MIB);
	struct boot_info in = info(BOOT_PROTOCOL_LINUX64);
	struct boot_start s;
	uint64_t gdt[6], v;

	setup(m, &in, &s);
	cr_assert(s.rip == 0x1000200 && s.rsi == 0x7000 && s.rbx == 0);
	cr_assert(s.rsp == 0x8ff0 && s.rflags == 2);
	cr_assert(s.cr0 == 0x80000011 && s.cr3 == 0x9000 && s.cr4 == 0x20 && s.efer == 0x500);
	cr_assert(s.cs.selector == 0x10 && s.cs.l == 1 && s.cs.db == 0);
	cr_assert(s.data.selector == 0x18 && s.tr.selector == 0x20);
	cr_assert(s.gdt_base == LAYOUT_GDT && s.gdt_limit == 6 * 8 - 1 && s.idt_limit == 0);

	/* Flat descriptors as the SDM writes them; accessed bits set, as in the registers. */
	get(m, s.gdt_base, gdt, sizeof(gdt));
	cr_assert(gdt[0] == 0 && gdt[1] == 0);
	cr_assert(gdt[2] == 0x00af9b000000ffff, "%lx", gdt[2]);
	cr_assert(gdt[3] == 0x00cf93000000ffff, "%lx", gdt[3]);
	cr_assert(gdt[4] == 0x00008b0000000067, "%lx", gdt[4]);

	/* Walk the page tables for the last byte of the first GiB. */
	get(m, s.cr3, &v, 8);
	cr_assert((v & 3) == 3);
	get(m, v & ~UINT64_C(0xfff), &v, 8);
	cr_assert((v & 0x83) == 3);
	get(m, (v & ~UINT64_C(0xfff)) + 511 * 8, &v, 8);
	cr_assert(v == (511 * 0x200000 | 0x83));
	mem_destroy(m);
}

Test(boot_setup, registers_of_pvh)
{
	struct mem *m = ram(128 * MIB);
	struct boot_info in = info(BOOT_PROTOCOL_PVH);
	struct boot_start s;
	uint64_t gdt[6];

	setup(m, &in, &s);
	cr_assert(s.rip == 0x1000200 && s.rbx == 0x6000 && s.rsi == 0);
	cr_assert(s.cr0 == 0x11 && s.cr3 == 0 && s.cr4 == 0 && s.efer == 0 && s.rflags == 2);
	cr_assert(s.cs.l == 0 && s.cs.db == 1 && s.cs.limit == 0xffffffff && s.tr.limit == 0x67);
	get(m, s.gdt_base, gdt, sizeof(gdt));
	cr_assert(gdt[2] == 0x00cf9b000000ffff, "%lx", gdt[2]);
	mem_destroy(m);
}

/* mov dx, reset port; mov al, value; out dx, al */
Test(boot_setup, reset_vector_writes_the_reset_register)
{
	struct mem *m = ram(32 * MIB);
	struct boot_info in = info(BOOT_PROTOCOL_PVH);
	struct boot_start s;
	uint8_t code[9];

	setup(m, &in, &s);
	get(m, 0xffff0, code, sizeof(code));
	cr_assert(code[0] == 0xba && le16_get(code + 1) == LAYOUT_ACPI_RESET_PORT);
	cr_assert(code[3] == 0xb0 && code[4] == LAYOUT_ACPI_RESET_VALUE && code[5] == 0xee);
	mem_destroy(m);
}

Test(boot_setup, zero_page)
{
	struct mem *m = ram(128 * MIB);
	struct boot_info in = info(BOOT_PROTOCOL_LINUX64);
	struct boot_start s;
	struct boot_params bp;
	struct setup_data node;
	uint8_t seed[32];
	char text[32];

	in.initrd = &initrd;
	in.rng_seed_len = 32;
	memset(in.rng_seed, 0xa7, sizeof(in.rng_seed));
	setup(m, &in, &s);
	get(m, s.rsi, &bp, sizeof(bp));
	cr_assert(bp.sentinel == 0 && bp.acpi_rsdp_addr == 0xe0000);
	cr_assert(bp.hdr.type_of_loader == 0xff && bp.hdr.version == 0x020f);
	cr_assert(bp.hdr.loadflags == LOADED_HIGH);
	cr_assert(bp.hdr.ramdisk_image == 0x7000000 && bp.hdr.ramdisk_size == 0x12345);
	get(m, bp.hdr.cmd_line_ptr, text, sizeof(text));
	cr_assert_str_eq(text, "console=ttyS0");
	get(m, bp.hdr.setup_data, &node, sizeof(node));
	cr_assert(node.next == 0 && node.type == SETUP_RNG_SEED && node.len == 32);
	get(m, bp.hdr.setup_data + sizeof(node), seed, sizeof(seed));
	cr_assert(seed[0] == 0xa7 && seed[31] == 0xa7);
	mem_destroy(m);

	/* No initrd, no seed: nothing is pointed to. */
	m = ram(128 * MIB);
	in = info(BOOT_PROTOCOL_LINUX64);
	setup(m, &in, &s);
	get(m, s.rsi, &bp, sizeof(bp));
	cr_assert(bp.hdr.setup_data == 0 && bp.hdr.ramdisk_image == 0 && bp.hdr.ramdisk_size == 0);
	mem_destroy(m);
}

Test(boot_setup, pvh_start_info)
{
	struct mem *m = ram(128 * MIB);
	struct boot_info in = info(BOOT_PROTOCOL_PVH);
	struct boot_start s;
	uint8_t p[56], mod[32];
	char text[32];

	in.initrd = &initrd;
	setup(m, &in, &s);
	get(m, s.rbx, p, sizeof(p));
	cr_assert(le32_get(p) == 0x336ec578 && le32_get(p + 4) == 1 && le32_get(p + 8) == 0);
	cr_assert(le32_get(p + 12) == 1);
	get(m, le64_get(p + 16), mod, sizeof(mod));
	cr_assert(le64_get(mod) == 0x7000000 && le64_get(mod + 8) == 0x12345);
	get(m, le64_get(p + 24), text, sizeof(text));
	cr_assert_str_eq(text, "console=ttyS0");
	cr_assert(le64_get(p + 32) == 0xe0000);
	mem_destroy(m);
}

Test(boot_setup, both_protocols_give_the_same_memory_map)
{
	static const struct {
		uint64_t bytes;
		unsigned int nr;
		uint64_t map[12]; /* address, length, type */
	} row[] = {
		{ 32 * MIB, 3, { 0 } },
		{ 3 * GIB - 4096, 3, { 0 } },
		{ 3 * GIB, 3, { 0 } },
		{ 6 * GIB,
		  4,
		  { 0, 0x9fc00, 1, 0x9fc00, 0x60400, 2, 0x100000, 0xbff00000, 1, 0x100000000,
		    0xc0000000, 1 } },
	};

	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		struct mem *a = ram(row[i].bytes), *b = ram(row[i].bytes);
		struct boot_info in = info(BOOT_PROTOCOL_LINUX64);
		struct boot_start s;
		struct boot_params bp;
		uint64_t sum = 0, end = 0;
		uint8_t start[56];

		setup(a, &in, &s);
		get(a, s.rsi, &bp, sizeof(bp));
		in = info(BOOT_PROTOCOL_PVH);
		setup(b, &in, &s);
		get(b, s.rbx, start, sizeof(start));
		cr_assert(bp.e820_entries == row[i].nr && le32_get(start + 48) == row[i].nr);

		for (unsigned int j = 0; j < row[i].nr; j++) {
			const struct boot_e820_entry *x = &bp.e820_table[j];
			uint8_t y[24];

			get(b, le64_get(start + 40) + j * 24, y, sizeof(y));
			cr_assert(x->addr == le64_get(y) && x->size == le64_get(y + 8));
			cr_assert(x->type == le32_get(y + 16) && le32_get(y + 20) == 0);
			cr_assert(x->addr >= end, "sorted, no overlap");
			cr_assert(mem_valid(a, GPA(x->addr), x->size));
			end = x->addr + x->size;
			sum += x->size;
			if (row[i].map[1]) {
				cr_assert(x->addr == row[i].map[3 * j]);
				cr_assert(x->size == row[i].map[3 * j + 1]);
				cr_assert(x->type == row[i].map[3 * j + 2]);
			}
		}
		cr_assert(sum == row[i].bytes, "each byte of RAM is described once");
		mem_destroy(a);
		mem_destroy(b);
	}
}

Test(boot_setup, out_of_range)
{
	static char text[CMDLINE_MAX + 1];
	struct mem *m = ram(128 * MIB);
	struct boot_start s;
	struct err e = { 0 };
	struct boot_info in;

	in = info(BOOT_PROTOCOL_PVH);
	in.nr_vcpus = 0;
	cr_assert(boot_setup(m, &in, &s, &e) == -EINVAL);
	in.nr_vcpus = LAYOUT_MAX_VCPUS + 1;
	cr_assert(boot_setup(m, &in, &s, &e) == -EINVAL);

	in = info(BOOT_PROTOCOL_PVH);
	in.nr_devices = BOOT_DEVICES_MAX + 1;
	cr_assert(boot_setup(m, &in, &s, &e) == -EINVAL);
	in = info(BOOT_PROTOCOL_PVH);
	in.rng_seed_len = BOOT_SEED_MAX + 1;
	cr_assert(boot_setup(m, &in, &s, &e) == -EINVAL);
	in = info(BOOT_PROTOCOL_PVH);
	device[1].gsi = 4;
	cr_assert(boot_setup(m, &in, &s, &e) == -EINVAL);
	in = info(BOOT_PROTOCOL_PVH);
	device[1].addr = GPA(LAYOUT_IOAPIC);
	cr_assert(boot_setup(m, &in, &s, &e) == -EINVAL);

	memset(text, 'a', CMDLINE_MAX);
	in = info(BOOT_PROTOCOL_PVH);
	in.cmdline = text;
	cr_assert(boot_setup(m, &in, &s, &e) == -EINVAL);
	cr_assert(strstr(e.msg, "at most 2047 fit"), "%s", e.msg);
	text[256] = 0;
	kernel.setup.cmdline_size = 255;
	cr_assert(boot_setup(m, &in, &s, &e) == -EINVAL);
	cr_assert(strstr(e.msg, "256 characters, this kernel takes 255"), "%s", e.msg);
	text[255] = 0;
	cr_assert(boot_setup(m, &in, &s, &e) == 0);
	mem_destroy(m);
}

static unsigned int sum8(const uint8_t *p, size_t len)
{
	unsigned int sum = 0;

	for (size_t i = 0; i < len; i++)
		sum += p[i];
	return sum & 0xff;
}

static uint8_t table[4096];

/* Read the ACPI table at @addr into table[] and check its header. Returns its length. */
static uint32_t acpi_table(const struct mem *m, uint64_t addr, const char *signature)
{
	uint32_t len;

	cr_assert(addr >= LAYOUT_LOW_RAM_END && addr < LAYOUT_HIGH_RAM);
	get(m, addr, table, 36);
	len = le32_get(table + 4);
	cr_assert(len >= 36 && len <= sizeof(table));
	get(m, addr, table, len);
	cr_assert(!memcmp(table, signature, 4), "%.4s", (const char *)table);
	cr_assert(sum8(table, len) == 0, "checksum of %s", signature);
	return len;
}

static uint64_t acpi_find(const struct mem *m, const char *signature)
{
	uint8_t rsdp[36], head[4];
	uint32_t len;

	get(m, LAYOUT_RSDP, rsdp, sizeof(rsdp));
	cr_assert(!memcmp(rsdp, "RSD PTR ", 8) && rsdp[15] == 2);
	cr_assert(sum8(rsdp, 20) == 0 && sum8(rsdp, 36) == 0);
	len = acpi_table(m, le64_get(rsdp + 24), "XSDT");
	for (uint32_t i = 36; i < len; i += 8) {
		get(m, le64_get(table + i), head, sizeof(head));
		if (!memcmp(head, signature, 4))
			return le64_get(table + i);
	}
	cr_assert_fail("no %s", signature);
	return 0;
}

Test(boot_acpi, fadt_says_what_is_not_there)
{
	struct mem *m = ram(128 * MIB);
	struct boot_info in = info(BOOT_PROTOCOL_PVH);
	struct boot_start s;

	setup(m, &in, &s);
	cr_assert(acpi_table(m, acpi_find(m, "FACP"), "FACP") == 276);
	cr_assert(table[8] == 6);
	cr_assert(le32_get(table + 112) & 1U << 20, "hardware-reduced");
	cr_assert(le32_get(table + 112) & 1U << 10, "reset register");
	cr_assert(le16_get(table + 109) == 0x26, "8042, no VGA, no RTC");
	cr_assert(table[116] == 1 && le64_get(table + 120) == LAYOUT_ACPI_RESET_PORT);
	cr_assert(table[128] == LAYOUT_ACPI_RESET_VALUE);
	cr_assert(table[244] == 1 && le64_get(table + 248) == LAYOUT_ACPI_SLEEP_CTL_PORT);
	cr_assert(table[256] == 1 && le64_get(table + 260) == LAYOUT_ACPI_SLEEP_STS_PORT);
	cr_assert(le64_get(table + 140) == le32_get(table + 40));
	acpi_table(m, le64_get(table + 140), "DSDT");
	mem_destroy(m);
}

Test(boot_acpi, madt_has_every_cpu)
{
	static const unsigned int nr[] = { 1, 2, 8, 32 };

	for (size_t i = 0; i < 4; i++) {
		struct mem *m = ram(128 * MIB);
		struct boot_info in = info(BOOT_PROTOCOL_PVH);
		struct boot_start s;
		unsigned int cpus = 0, ioapics = 0, nmis = 0;
		uint32_t len;

		in.nr_vcpus = nr[i];
		setup(m, &in, &s);
		len = acpi_table(m, acpi_find(m, "APIC"), "APIC");
		cr_assert(le32_get(table + 36) == 0xfee00000 && le32_get(table + 40) == 0);
		for (uint32_t at = 44; at < len; at += table[at + 1]) {
			cr_assert(table[at + 1] >= 6 && at + table[at + 1] <= len);
			if (table[at] == 0) {
				cr_assert(table[at + 3] == cpus && le32_get(table + at + 4) == 1);
				cpus++;
			} else if (table[at] == 1) {
				cr_assert(table[at + 2] == nr[i], "an id that no CPU has");
				cr_assert(le32_get(table + at + 4) == 0xfec00000);
				ioapics++;
			} else if (table[at] == 4) {
				nmis++;
			}
		}
		cr_assert(cpus == nr[i] && ioapics == 1 && nmis == 1);
		mem_destroy(m);
	}
}

static bool table_has(uint32_t len, const void *what, size_t n)
{
	for (uint32_t i = 0; i + n <= len; i++)
		if (!memcmp(table + i, what, n))
			return true;
	return false;
}

static const uint8_t pnp0501[] = { 0x0c, 0x41, 0xd0, 0x05, 0x01 };
static const uint8_t pnp0303[] = { 0x0c, 0x41, 0xd0, 0x03, 0x03 };

Test(boot_acpi, dsdt_names_the_devices)
{
	struct mem *m = ram(128 * MIB);
	struct boot_info in = info(BOOT_PROTOCOL_PVH);
	struct boot_start s;
	uint8_t window[8], irq[9] = { 0x89, 6, 0, 3, 1, 6 };
	uint32_t len;

	setup(m, &in, &s);
	acpi_table(m, acpi_find(m, "FACP"), "FACP");
	len = acpi_table(m, le64_get(table + 140), "DSDT");
	cr_assert(table_has(len, pnp0501, 5) && table_has(len, pnp0303, 5));
	cr_assert(table_has(len, "V001", 4) && !table_has(len, "V002", 4));
	cr_assert(table_has(len, "LNRO0005", 9));
	le32_put(window, 0xc0002000);
	le32_put(window + 4, 0x1000);
	cr_assert(table_has(len, window, 8) && table_has(len, irq, 9));
	/* Name(_S5, Package(4){5, 5, 0, 0}) */
	cr_assert(table_has(len, "_S5_\x12\x49\0\x04\x0a\x05\x0a\x05\0\0", 14));
	mem_destroy(m);

	m = ram(128 * MIB);
	in.serial = false;
	in.nr_devices = 0;
	setup(m, &in, &s);
	acpi_table(m, acpi_find(m, "FACP"), "FACP");
	len = acpi_table(m, le64_get(table + 140), "DSDT");
	cr_assert(!table_has(len, pnp0501, 5) && !table_has(len, "LNRO", 4));
	mem_destroy(m);
}

/* Run a shell command in @dir. */
static int run(const char *dir, const char *what)
{
	char cmd[512];
	int status;

	(void)snprintf(cmd, sizeof(cmd), "cd %s && %s", dir, what);
	status = system(cmd);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* The reference compiler must be able to take the tables apart and put them together again. */
Test(boot_acpi, iasl_understands_all_tables)
{
	static const char *const name[] = { "DSDT", "FACP", "APIC" };
	struct mem *m = ram(128 * MIB);
	struct boot_info in = info(BOOT_PROTOCOL_PVH);
	char dir[] = "/tmp/mote-acpi-XXXXXX", path[64];
	struct boot_start s;

	if (run("/", "command -v iasl >/dev/null"))
		cr_skip_test("iasl is not installed (acpica-tools)");
	in.nr_devices = BOOT_DEVICES_MAX;
	in.nr_vcpus = LAYOUT_MAX_VCPUS;
	setup(m, &in, &s);
	cr_assert(mkdtemp(dir));
	for (size_t i = 0; i < 3; i++) {
		uint64_t addr;
		uint32_t len;
		FILE *f;

		addr = acpi_find(m, i ? name[i] : "FACP");
		len = acpi_table(m, addr, i ? name[i] : "FACP");
		if (!i)
			len = acpi_table(m, le64_get(table + 140), "DSDT");
		(void)snprintf(path, sizeof(path), "%s/%s.dat", dir, name[i]);
		f = fopen(path, "w");
		cr_assert(f && fwrite(table, 1, len, f) == len && fclose(f) == 0);
	}
	cr_assert(run(dir, "for t in DSDT FACP APIC; do iasl -d $t.dat && iasl -we -p re $t.dsl; "
			   "done >log 2>&1 && test $(grep -c '0 Errors, 0 Warnings' log) = 3") == 0,
		  "see %s/log", dir);
	run(dir, "rm -r $PWD");
	mem_destroy(m);
}

Test(boot_mptable, checksums_and_entries)
{
	static const unsigned int nr[] = { 1, 2, 32 };
	static const uint8_t entry_len[] = { 20, 8, 8, 8, 8 };

	for (size_t i = 0; i < 3; i++) {
		struct mem *m = ram(32 * MIB);
		struct boot_info in = info(BOOT_PROTOCOL_LINUX64);
		unsigned int count[5] = { 0 }, total = 0;
		struct boot_start s;
		uint8_t fp[16], t[1024];
		uint16_t len;

		in.nr_vcpus = nr[i];
		setup(m, &in, &s);
		get(m, 0x9fc00, fp, sizeof(fp));
		cr_assert(!memcmp(fp, "_MP_", 4) && sum8(fp, 16) == 0 && fp[8] == 1 && fp[9] == 4);
		get(m, le32_get(fp + 4), t, 44);
		len = le16_get(t + 4);
		cr_assert(le32_get(fp + 4) + len <= 0xa0000);
		get(m, le32_get(fp + 4), t, len);
		cr_assert(!memcmp(t, "PCMP", 4) && sum8(t, len) == 0);
		for (size_t at = 44; at < len; at += entry_len[t[at]]) {
			cr_assert(t[at] <= 4);
			if (t[at] == 3)
				cr_assert(t[at + 5] == t[at + 7] && t[at + 6] == nr[i]);
			count[t[at]]++;
			total++;
		}
		cr_assert(total == le16_get(t + 34));
		cr_assert(count[0] == nr[i] && count[1] == 1 && count[2] == 1);
		cr_assert(count[3] == 24 && count[4] == 2);
		mem_destroy(m);
	}
}
