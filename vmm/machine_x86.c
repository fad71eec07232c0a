/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine_x86.c - the x86_64 side of a machine; see machine_arch.h.
 *
 * Linux Documentation/virt/kvm/api.rst, Documentation/arch/x86/boot.rst; ACPI 6.4, 4.8.3.6 and
 * 4.8.3.7.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <linux/virtio_blk.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>

#include "base/fd.h"
#include "base/log.h"
#include "boot/cmdline.h"
#include "boot/layout_x86.h"
#include "boot/setup_x86.h"
#include "vmm/boot_timer.h"
#include "vmm/cpu_template_x86.h"
#include "vmm/cpuid_x86.h"
#include "vmm/fatal.h"
#include "vmm/i8042_x86.h"
#include "vmm/machine_arch.h"
#include "vmm/metrics.h"

/* Index registers of the MSRs below (Intel SDM 4, table 2-2). */
#define MSR_IA32_MTRR_DEF_TYPE 0x2ff
#define MTRR_ENABLED	       (1U << 11)
#define MTRR_WRITE_BACK	       6U

struct arch {
	struct bus pio;
	struct i8042 i8042;
	bool has_i8042;
	struct kernel_image kernel;
	struct initrd_image initrd;
	struct cmdline cmdline;
	struct cpuid cpuid;
};

int arch_ram(const struct config *c, struct mem_range *out, size_t *nr, struct err *e)
{
	uint64_t mib = c->machine.mem_size_mib;

	/* Absurd sizes are accepted by the API and fail here, as a map of that size would. */
	if (mib > LAYOUT_RAM_MAX >> 20)
		return err_set(e, ENOMEM, "%llu MiB of guest RAM; at most %llu MiB fit",
			       (unsigned long long)mib, (unsigned long long)(LAYOUT_RAM_MAX >> 20));
	if (layout_x86_ram(mib << 20, out, nr))
		return err_set(e, EINVAL, "%llu MiB of guest RAM is too little",
			       (unsigned long long)mib);
	return 0;
}

int arch_create(struct machine *m, struct err *e)
{
	m->arch = calloc(1, sizeof(*m->arch));
	if (!m->arch)
		return err_set(e, ENOMEM, "machine");
	m->vcpus.pio = &m->arch->pio;
	return 0;
}

void arch_destroy(struct machine *m)
{
	if (!m->arch)
		return;
	if (m->arch->has_i8042)
		i8042_fini(&m->arch->i8042);
	free(m->arch);
	m->arch = NULL;
}

int arch_load_kernel(struct machine *m, struct err *e)
{
	const struct boot_source_config *b = &m->config->boot_source;

	if (kernel_load(m->mem, b->kernel_fd, &m->arch->kernel, e))
		return err_wrap(e, "kernel %s", b->kernel_image_path);
	if (b->has_initrd_path &&
	    initrd_load(m->mem, b->initrd_fd, &m->arch->kernel, &m->arch->initrd, e))
		return err_wrap(e, "initrd %s", b->initrd_path);
	return 0;
}

int arch_device_slot(size_t i, gpa_t *addr, unsigned int *gsi, struct err *e)
{
	if (i >= CONFIG_DEVICES_MAX)
		return err_set(e, ENOSPC, "no interrupt line left for device %zu", i + 1);
	*addr = GPA(LAYOUT_VIRTIO_MMIO + i * LAYOUT_VIRTIO_MMIO_SIZE);
	*gsi = LAYOUT_GSI_FIRST + (unsigned int)i;
	return 0;
}

bool arch_windows(void)
{
	return true;
}

unsigned int arch_serial_gsi(void)
{
	return LAYOUT_COM1_IRQ;
}

/* The guest restarts: a microVM ends instead, with success. vCPU thread. */
static void guest_reset(void *ctx)
{
	struct machine *m = ctx;

	vcpus_end(&m->vcpus, EXIT_CODE_OK);
}

/* Sleep status never has WAK_STS; sleep control and reset read as 0. */
static void acpi_read(void *dev, uint64_t offset, void *data, size_t len)
{
	(void)dev;
	(void)offset;
	memset(data, 0, len);
}

static void acpi_write(void *dev, uint64_t offset, const void *data, size_t len)
{
	uint8_t v = *(const uint8_t *)data;

	if (len != 1)
		return;
	if (offset == LAYOUT_ACPI_RESET_PORT - LAYOUT_ACPI_PORT && v == LAYOUT_ACPI_RESET_VALUE)
		guest_reset(dev);
	if (offset == LAYOUT_ACPI_SLEEP_CTL_PORT - LAYOUT_ACPI_PORT && v == LAYOUT_ACPI_SLEEP_S5)
		guest_reset(dev);
}

static const struct bus_ops acpi_bus_ops = { .read = acpi_read, .write = acpi_write };

int arch_add_platform(struct machine *m, struct err *e)
{
	struct arch *a = m->arch;
	const struct bus_range range[] = {
		{ .base = LAYOUT_COM1_PORT,
		  .len = LAYOUT_COM1_NR_PORTS,
		  .ops = &serial_bus_ops,
		  .dev = &m->serial,
		  .lock = &m->serial.lock },
		{ .base = LAYOUT_I8042_DATA,
		  .len = LAYOUT_I8042_CMD - LAYOUT_I8042_DATA + 1,
		  .ops = &i8042_bus_ops,
		  .dev = &a->i8042,
		  .lock = &a->i8042.lock },
		{ .base = LAYOUT_ACPI_PORT,
		  .len = LAYOUT_ACPI_NR_PORTS,
		  .ops = &acpi_bus_ops,
		  .dev = m },
	};
	int ret = i8042_init(&a->i8042, LAYOUT_I8042_IRQ, guest_reset, m, e);

	if (ret)
		return ret;
	a->has_i8042 = true;
	ret = kvm_add_irqfd(&m->kvm, &a->i8042.irq, e);
	if (ret == 0 && m->config->boot_timer)
		ret = boot_timer_add(&m->mmio, GPA(LAYOUT_BOOT_TIMER), e);
	for (size_t i = 0; ret == 0 && i < sizeof(range) / sizeof(range[0]); i++)
		ret = bus_add(&a->pio, &range[i], e);
	return ret;
}

void arch_publish(struct machine *m)
{
	metrics_set_source(METRICS_I8042, &m->arch->i8042.metrics.error_count,
			   sizeof(m->arch->i8042.metrics) / sizeof(metric_t));
}

int machine_ctrl_alt_del(struct machine *m, struct err *e)
{
	struct i8042 *k = &m->arch->i8042;
	int ret;

	pthread_mutex_lock(&k->lock);
	ret = i8042_ctrl_alt_del(k);
	pthread_mutex_unlock(&k->lock);
	if (ret)
		return err_set(e, ENOSPC,
			       "The guest does not read its keyboard, so Ctrl-Alt-Del cannot be "
			       "sent");
	return 0;
}

/* What the operator gave, and after it what only we know. */
static int build_cmdline(struct machine *m, struct err *e)
{
	const struct config *c = m->config;
	struct cmdline *line = &m->arch->cmdline;
	int ret = cmdline_init(line, config_boot_args(c), e);

	if (ret == 0)
		ret = cmdline_add(line, "pci=off", e);
	if (ret == 0 && c->nr_drives > 0 && c->drive[0].is_root_device)
		ret = cmdline_add_root(line, c->drive[0].has_partuuid ? c->drive[0].partuuid : NULL,
				       m->device[0].virtio->features & 1 << VIRTIO_BLK_F_RO, e);
	for (size_t i = 0; ret == 0 && i < m->nr_devices; i++)
		ret = cmdline_add_virtio_mmio(line, m->device[i].addr.v, m->device[i].gsi, e);
	return ret;
}

static int write_tables(struct machine *m, struct boot_start *start, struct err *e)
{
	struct boot_device device[CONFIG_DEVICES_MAX];
	struct boot_info info = {
		.kernel = &m->arch->kernel,
		.initrd = m->config->boot_source.has_initrd_path ? &m->arch->initrd : NULL,
		.cmdline = m->arch->cmdline.text,
		.nr_vcpus = m->vcpus.nr,
		.serial = true,
		.devices = device,
		.nr_devices = m->nr_devices,
	};
	ssize_t n = getrandom(info.rng_seed, sizeof(info.rng_seed), GRND_NONBLOCK);

	/* A host that has no entropy yet gives none away. */
	info.rng_seed_len = n > 0 ? (size_t)n : 0;
	for (size_t i = 0; i < m->nr_devices; i++)
		/* cppcheck-suppress unreadVariable ; @info points to it */
		device[i] = (struct boot_device){ m->device[i].addr, m->device[i].gsi };
	return boot_setup(m->mem, &info, start, e);
}

static struct kvm_segment kvm_segment(const struct boot_segment *s)
{
	return (struct kvm_segment){
		.base = s->base,
		.limit = s->limit,
		.selector = s->selector,
		.type = s->type,
		.present = s->present,
		.dpl = s->dpl,
		.db = s->db,
		.s = s->s,
		.l = s->l,
		.g = s->g,
	};
}

/* Only vCPU 0 starts at the kernel; the others wait in their reset state for INIT and SIPI. */
static int set_registers(int fd, const struct boot_start *start, struct err *e)
{
	struct kvm_sregs sregs;
	struct kvm_regs regs = {
		.rip = start->rip,
		.rsp = start->rsp,
		.rbp = start->rbp,
		.rsi = start->rsi,
		.rbx = start->rbx,
		.rflags = start->rflags,
	};

	if (fd_ioctl(fd, KVM_GET_SREGS, &sregs) < 0)
		return err_set(e, errno, "KVM_GET_SREGS");
	sregs.cs = kvm_segment(&start->cs);
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = kvm_segment(&start->data);
	sregs.tr = kvm_segment(&start->tr);
	sregs.gdt.base = start->gdt_base;
	sregs.gdt.limit = start->gdt_limit;
	sregs.idt.base = start->idt_base;
	sregs.idt.limit = start->idt_limit;
	sregs.cr0 = start->cr0;
	sregs.cr3 = start->cr3;
	sregs.cr4 = start->cr4;
	sregs.efer = start->efer;
	if (fd_ioctl(fd, KVM_SET_SREGS, &sregs) < 0)
		return err_set(e, errno, "KVM_SET_SREGS");
	if (fd_ioctl(fd, KVM_SET_REGS, &regs) < 0)
		return err_set(e, errno, "KVM_SET_REGS");
	return 0;
}

/*
 * KVM's reset state is right for everything else that firmware would leave: FPU, LINT0 as ExtINT on
 * vCPU 0, fast strings, SYSCALL registers zero. Each of those left alone saves a system call.
 */
static void set_msrs(int fd)
{
	/* Without MTRRs a kernel believes all RAM uncached, and turns PAT off. */
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry[1];
	} msrs = {
		.head.nmsrs = 1,
		.entry = { { .index = MSR_IA32_MTRR_DEF_TYPE,
			     .data = MTRR_ENABLED | MTRR_WRITE_BACK } },
	};

	/* Hosts differ in what they take, also nested ones; guests cope. */
	if (fd_ioctl(fd, KVM_SET_MSRS, &msrs) != 1)
		log_warn("KVM_SET_MSRS: the host refuses the memory types");
}

int arch_setup_boot(struct machine *m, struct err *e)
{
	struct cpuid *cpuid = &m->arch->cpuid;
	struct boot_start start;
	int ret = build_cmdline(m, e);

	if (ret == 0)
		ret = write_tables(m, &start, e);
	if (ret == 0)
		ret = cpuid_supported(&m->kvm, cpuid, e);
	if (ret == 0)
		ret = cpu_template_apply(cpuid, m->config->machine.cpu_template, e);
	if (ret == 0)
		ret = cpu_custom_apply(cpuid, &m->config->cpu, m->kvm.dev_fd, e);
	if (ret == 0)
		ret = cpuid_normalise(cpuid, m->vcpus.nr, m->config->machine.smt, e);
	for (unsigned int i = 0; ret == 0 && i < m->vcpus.nr; i++) {
		int fd = m->vcpus.vcpu[i].fd;

		cpuid_set_apic_id(cpuid, i);
		if (fd_ioctl(fd, KVM_SET_CPUID2, &cpuid->head) < 0)
			return err_set(e, errno, "KVM_SET_CPUID2, vCPU %u", i);
		ret = cpu_template_msrs(fd, m->config->machine.cpu_template, e);
		if (ret == 0)
			ret = cpu_custom_msrs(m->vcpus.vcpu[0].fd, fd, &m->config->cpu, e);
		set_msrs(fd);
	}
	if (ret == 0)
		ret = set_registers(m->vcpus.vcpu[0].fd, &start, e);
	return ret;
}
