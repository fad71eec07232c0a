/* SPDX-License-Identifier: Apache-2.0 */
/*
 * acpi_x86.c - RSDP, XSDT, FADT, MADT and DSDT of a hardware-reduced machine. Runs at build time.
 *
 * ACPI 6.4: 5.2.5 RSDP, 5.2.8 XSDT, 5.2.9 FADT, 5.2.12 MADT, 4.1 hardware-reduced. What is absent
 * is said to be absent: Linux probes for what it is not told about, and each probe is an exit:
 *
 * - hardware-reduced: no PM timer, no SCI, no 8254 and 8259. Linux then neither waits for timer
 *   interrupts (check_timer) nor programs the PIC pair; it calibrates by kvm-clock alone.
 * - no CMOS RTC, no VGA: no reads of ports 0x70/0x71 (time comes from kvm-clock), no 0x3d4.
 * - 8042 present with PNP0303 alone: Ctrl-Alt-Del needs the keyboard; no PNP0F13, so the mouse port
 *   is not looked for. The driver's own probing is stopped by the default command line.
 * - no HPET, no MCFG: nothing to map or test.
 * - no processor objects in the DSDT: there are no C- or P-states to hand out.
 */
#include "boot/acpi_x86.h"

#include <errno.h>
#include <string.h>

#include "base/byteorder.h"
#include "boot/aml.h"

#define SDT_HEADER 36U
#define TABLE_MAX  4096U /* the largest: the DSDT with 19 devices, 1.4 KiB */

/* Fixed lengths of the revisions written here. */
#define RSDP_LEN  36U
#define FADT_LEN  276U
#define NR_TABLES 2U /* in the XSDT: FADT, MADT */

/* Padded with blanks or zeros to the size of their fields; shown by guests in their boot log. */
#define OEM_ID	     "MOTE  "
#define OEM_TABLE_ID "MOTEVM  "
#define CREATOR_ID   "MOTE"

/* FADT flags, 5.2.9 table 5.10 */
#define FADT_WBINVD	(1U << 0)
#define FADT_PWR_BUTTON (1U << 4) /* set: there is no fixed power button */
#define FADT_SLP_BUTTON (1U << 5) /* set: there is no fixed sleep button */
#define FADT_RESET_REG	(1U << 10)
#define FADT_HW_REDUCED (1U << 20)

/* IAPC_BOOT_ARCH, 5.2.9.3. NO_MSI stays clear, so that a PCI transport could use them. */
#define BOOT_ARCH_8042	 (1U << 1)
#define BOOT_ARCH_NO_VGA (1U << 2)
#define BOOT_ARCH_NO_RTC (1U << 5)

/* MADT structures, 5.2.12 */
enum { MADT_LAPIC = 0, MADT_IOAPIC = 1, MADT_LAPIC_NMI = 4 };

/* A table being built, and where the next one goes. */
struct tables {
	struct mem *m;
	uint64_t next; /* guest address, 16-byte aligned */
	size_t len;
	uint8_t buf[TABLE_MAX];
};

static uint8_t checksum(const uint8_t *p, size_t len)
{
	unsigned int sum = 0;

	for (size_t i = 0; i < len; i++)
		sum += p[i];
	return (uint8_t)(0x100U - (sum & 0xffU));
}

static void table_begin(struct tables *t, const char *signature, uint8_t revision, size_t len)
{
	memset(t->buf, 0, sizeof(t->buf));
	memcpy(t->buf, signature, 4);
	t->buf[8] = revision;
	memcpy(t->buf + 10, OEM_ID, 6);
	memcpy(t->buf + 16, OEM_TABLE_ID, 8);
	le32_put(t->buf + 24, 1);
	memcpy(t->buf + 28, CREATOR_ID, 4);
	le32_put(t->buf + 32, 1);
	t->len = len;
}

/* Close the table and put it into guest RAM; *addr gets its place. */
static int table_end(struct tables *t, uint64_t *addr, struct err *e)
{
	if (t->len > LAYOUT_ACPI_END - t->next)
		return err_set(e, ENOSPC, "ACPI tables");
	le32_put(t->buf + 4, (uint32_t)t->len);
	t->buf[9] = checksum(t->buf, t->len);
	if (mem_write(t->m, GPA(t->next), t->buf, t->len))
		return err_set(e, EFAULT, "ACPI tables");
	*addr = t->next;
	t->next += (t->len + 15) & ~(size_t)15;
	return 0;
}

static void dsdt_serial(struct aml *a)
{
	size_t dev = aml_device_open(a, "COM1");
	size_t crs;

	aml_name_eisaid(a, "_HID", "PNP0501");
	aml_name_int(a, "_UID", 0);
	crs = aml_crs_open(a);
	aml_res_io(a, LAYOUT_COM1_PORT, LAYOUT_COM1_NR_PORTS);
	aml_res_interrupt(a, LAYOUT_COM1_IRQ);
	aml_crs_close(a, crs);
	aml_close(a, dev);
}

static void dsdt_keyboard(struct aml *a)
{
	size_t dev = aml_device_open(a, "PS2K");
	size_t crs;

	aml_name_eisaid(a, "_HID", "PNP0303");
	crs = aml_crs_open(a);
	aml_res_io(a, LAYOUT_I8042_DATA, 1);
	aml_res_io(a, LAYOUT_I8042_CMD, 1);
	aml_res_interrupt(a, LAYOUT_I8042_IRQ);
	aml_crs_close(a, crs);
	aml_close(a, dev);
}

/* LNRO0005 is the id that Linux' virtio-mmio driver knows. */
static void dsdt_virtio(struct aml *a, const struct boot_device *d, size_t i)
{
	const char name[5] = { 'V', '0', (char)('0' + i / 10), (char)('0' + i % 10) };
	size_t dev = aml_device_open(a, name);
	size_t crs;

	aml_name_string(a, "_HID", "LNRO0005");
	aml_name_int(a, "_UID", i);
	crs = aml_crs_open(a);
	aml_res_memory32(a, (uint32_t)d->addr.v, (uint32_t)LAYOUT_VIRTIO_MMIO_SIZE);
	aml_res_interrupt(a, d->gsi);
	aml_crs_close(a, crs);
	aml_close(a, dev);
}

static int write_dsdt(struct tables *t, const struct boot_info *info, uint64_t *addr, struct err *e)
{
	struct aml a = { .buf = t->buf, .max = sizeof(t->buf), .len = SDT_HEADER };
	size_t block;

	table_begin(t, "DSDT", 2, SDT_HEADER);
	block = aml_scope_open(&a, "\\_SB_");
	if (info->serial)
		dsdt_serial(&a);
	dsdt_keyboard(&a);
	for (size_t i = 0; i < info->nr_devices; i++)
		dsdt_virtio(&a, &info->devices[i], i);
	aml_close(&a, block);

	/* What to write to the sleep control register to power off (7.4.2). */
	aml_name(&a, "_S5_");
	block = aml_package_open(&a, 4);
	aml_int(&a, LAYOUT_ACPI_S5_TYPE);
	aml_int(&a, LAYOUT_ACPI_S5_TYPE);
	aml_int(&a, 0);
	aml_int(&a, 0);
	aml_close(&a, block);

	if (!aml_ok(&a))
		return err_set(e, ENOSPC, "ACPI DSDT");
	t->len = a.len;
	return table_end(t, addr, e);
}

/* Generic address structure (5.2.3.2): a byte-wide register in port space. */
static void put_port(uint8_t *p, uint16_t port)
{
	p[0] = 1; /* system I/O */
	p[1] = 8; /* bits */
	p[2] = 0;
	p[3] = 1; /* byte access */
	le64_put(p + 4, port);
}

static int write_fadt(struct tables *t, uint64_t dsdt, uint64_t *addr, struct err *e)
{
	uint8_t *p = t->buf;

	table_begin(t, "FACP", 6, FADT_LEN);
	le32_put(p + 40, (uint32_t)dsdt);
	le16_put(p + 109, BOOT_ARCH_8042 | BOOT_ARCH_NO_VGA | BOOT_ARCH_NO_RTC);
	le32_put(p + 112, FADT_WBINVD | FADT_PWR_BUTTON | FADT_SLP_BUTTON | FADT_RESET_REG |
				  FADT_HW_REDUCED);
	put_port(p + 116, LAYOUT_ACPI_RESET_PORT);
	p[128] = LAYOUT_ACPI_RESET_VALUE;
	p[131] = 4; /* minor revision: 6.4 */
	le64_put(p + 140, dsdt);
	put_port(p + 244, LAYOUT_ACPI_SLEEP_CTL_PORT);
	put_port(p + 256, LAYOUT_ACPI_SLEEP_STS_PORT);
	memcpy(p + 268, "MOTE\0\0\0", 8); /* hypervisor vendor */
	return table_end(t, addr, e);
}

static int write_madt(struct tables *t, const struct boot_info *info, uint64_t *addr, struct err *e)
{
	uint8_t *p = t->buf + SDT_HEADER + 8;

	table_begin(t, "APIC", 5, 0);
	le32_put(t->buf + SDT_HEADER, LAYOUT_LAPIC);
	/* Flags 0: PCAT_COMPAT clear, there is no 8259 pair to mask. */

	for (unsigned int cpu = 0; cpu < info->nr_vcpus; cpu++, p += 8) {
		p[0] = MADT_LAPIC;
		p[1] = 8;
		p[2] = (uint8_t)cpu; /* processor uid */
		p[3] = (uint8_t)cpu; /* APIC id */
		le32_put(p + 4, 1);  /* enabled */
	}
	p[0] = MADT_IOAPIC;
	p[1] = 12;
	/* The first id that no CPU has: older kernels give out a new one when it collides. */
	p[2] = (uint8_t)info->nr_vcpus;
	le32_put(p + 4, LAYOUT_IOAPIC);
	le32_put(p + 8, 0); /* its pins are GSI 0 to 23 */
	p += 12;
	p[0] = MADT_LAPIC_NMI;
	p[1] = 6;
	p[2] = 0xff; /* all CPUs */
	le16_put(p + 3, 0);
	p[5] = 1; /* LINT1, as the vCPUs are set up */
	p += 6;

	t->len = (size_t)(p - t->buf);
	return table_end(t, addr, e);
}

static int write_xsdt(struct tables *t, const uint64_t table[NR_TABLES], uint64_t *addr,
		      struct err *e)
{
	table_begin(t, "XSDT", 1, SDT_HEADER + NR_TABLES * 8);
	for (size_t i = 0; i < NR_TABLES; i++)
		le64_put(t->buf + SDT_HEADER + i * 8, table[i]);
	return table_end(t, addr, e);
}

static int write_rsdp(struct mem *m, uint64_t xsdt, struct err *e)
{
	uint8_t p[RSDP_LEN] = { 0 };

	memcpy(p, "RSD PTR ", 8);
	memcpy(p + 9, OEM_ID, 6);
	p[15] = 2; /* revision */
	le32_put(p + 20, RSDP_LEN);
	le64_put(p + 24, xsdt);
	p[8] = checksum(p, 20);
	p[32] = checksum(p, RSDP_LEN);
	if (mem_write(m, GPA(LAYOUT_RSDP), p, sizeof(p)))
		return err_set(e, EFAULT, "ACPI RSDP");
	return 0;
}

_Static_assert(SDT_HEADER + 8 + LAYOUT_MAX_VCPUS * 8 + 12 + 6 <= TABLE_MAX, "the MADT fits");

int acpi_write(struct mem *m, const struct boot_info *info, struct err *e)
{
	struct tables t = { .m = m, .next = LAYOUT_ACPI_TABLES };
	uint64_t table[NR_TABLES] = { 0 };
	uint64_t dsdt = 0, xsdt = 0;
	int r;

	r = write_dsdt(&t, info, &dsdt, e);
	if (!r)
		r = write_fadt(&t, dsdt, &table[0], e);
	if (!r)
		r = write_madt(&t, info, &table[1], e);
	if (!r)
		r = write_xsdt(&t, table, &xsdt, e);
	return r ? r : write_rsdp(m, xsdt, e);
}
