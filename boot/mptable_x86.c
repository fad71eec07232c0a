/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mptable_x86.c - Intel MultiProcessor Specification 1.4, chapter 4. Runs at build time.
 *
 * It says the same as the MADT: all CPUs, one IOAPIC whose pins are interrupts 0 to 23, LINT0 for
 * external interrupts, LINT1 for NMI. There is one ISA bus, because ISA interrupts are edge-
 * triggered and active high, as ours are.
 */
#include "boot/mptable_x86.h"

#include <errno.h>
#include <string.h>

#include "base/byteorder.h"
#include "boot/layout_x86.h"

enum { MP_PROCESSOR, MP_BUS, MP_IOAPIC, MP_INTERRUPT, MP_LOCAL_INTERRUPT };
enum { INT_VECTORED = 0, INT_NMI = 1, INT_EXTINT = 3 };

#define POINTER_LEN 16U
#define HEADER_LEN  44U
#define CPU_LEN	    20U
#define OTHER_LEN   8U

#define ISA_BUS	     0U
#define APIC_VERSION 0x14U /* integrated APIC */

#define TABLE_MAX                                                                                  \
	(POINTER_LEN + HEADER_LEN + LAYOUT_MAX_VCPUS * CPU_LEN +                                   \
	 (2 + LAYOUT_NR_PINS + 2) * OTHER_LEN)

_Static_assert(LAYOUT_MPTABLE + TABLE_MAX <= LAYOUT_MPTABLE_END, "the MP table fits");

static uint8_t checksum(const uint8_t *p, size_t len)
{
	unsigned int sum = 0;

	for (size_t i = 0; i < len; i++)
		sum += p[i];
	return (uint8_t)(0x100U - (sum & 0xffU));
}

static uint8_t *put_cpu(uint8_t *p, unsigned int cpu)
{
	p[0] = MP_PROCESSOR;
	p[1] = (uint8_t)cpu; /* APIC id */
	p[2] = APIC_VERSION;
	p[3] = cpu ? 1 : 3;	/* enabled; the first is the boot processor */
	le32_put(p + 4, 0x600); /* signature: family 6; nobody reads more than that it is there */
	le32_put(p + 8, 0x201); /* features: APIC and FPU */
	return p + CPU_LEN;
}

/* Interrupt entries, I/O and local, have the same form (4.3.4, 4.3.5). Flags 0: as the bus does. */
static uint8_t *put_interrupt(uint8_t *p, uint8_t entry, uint8_t type, uint8_t irq, uint8_t apic,
			      uint8_t pin)
{
	p[0] = entry;
	p[1] = type;
	p[4] = ISA_BUS;
	p[5] = irq;
	p[6] = apic;
	p[7] = pin;
	return p + OTHER_LEN;
}

static uint8_t *put_entries(uint8_t *p, unsigned int nr_vcpus)
{
	uint8_t ioapic = (uint8_t)nr_vcpus; /* the first id that no CPU has */

	for (unsigned int cpu = 0; cpu < nr_vcpus; cpu++)
		p = put_cpu(p, cpu);

	p[0] = MP_BUS;
	p[1] = ISA_BUS;
	memcpy(p + 2, "ISA   ", 6);
	p += OTHER_LEN;

	p[0] = MP_IOAPIC;
	p[1] = ioapic;
	p[2] = APIC_VERSION;
	p[3] = 1; /* usable */
	le32_put(p + 4, LAYOUT_IOAPIC);
	p += OTHER_LEN;

	for (uint8_t pin = 0; pin < LAYOUT_NR_PINS; pin++)
		p = put_interrupt(p, MP_INTERRUPT, INT_VECTORED, pin, ioapic, pin);
	p = put_interrupt(p, MP_LOCAL_INTERRUPT, INT_EXTINT, 0, 0, 0);
	return put_interrupt(p, MP_LOCAL_INTERRUPT, INT_NMI, 0, 0xff, 1); /* 0xff: all CPUs */
}

int mptable_write(struct mem *m, unsigned int nr_vcpus, struct err *e)
{
	uint8_t buf[TABLE_MAX] = { 0 };
	uint8_t *fp = buf;
	uint8_t *header = buf + POINTER_LEN;
	uint8_t *end = put_entries(header + HEADER_LEN, nr_vcpus);
	size_t len = (size_t)(end - header);

	memcpy(fp, "_MP_", 4);
	le32_put(fp + 4, LAYOUT_MPTABLE + POINTER_LEN);
	fp[8] = 1; /* length in 16-byte units */
	fp[9] = 4; /* specification 1.4 */
	fp[10] = checksum(fp, POINTER_LEN);

	memcpy(header, "PCMP", 4);
	le16_put(header + 4, (uint16_t)len);
	header[6] = 4;
	memcpy(header + 8, "MOTE    ", 8);
	memcpy(header + 16, "MOTEVM      ", 12);
	le16_put(header + 34, (uint16_t)(nr_vcpus + 2 + LAYOUT_NR_PINS + 2));
	le32_put(header + 36, LAYOUT_LAPIC);
	header[7] = checksum(header, len);

	if (mem_write(m, GPA(LAYOUT_MPTABLE), buf, POINTER_LEN + len))
		return err_set(e, EFAULT, "MP table");
	return 0;
}
