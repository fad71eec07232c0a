/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.c - defaults, and the judgement on each change of the configuration. Loop thread.
 */
#include "vmm/config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/fd.h"
#include "virtio/vhost_user.h"
#include "vmm/host_file.h"

const struct config_name config_huge_pages[] = {
	{ "None", HUGE_PAGES_NONE },
	{ "Transparent", HUGE_PAGES_TRANSPARENT },
	{ "2M", HUGE_PAGES_2M },
	{ "", 0 },
};

const struct config_name config_cache_types[] = {
	{ "Unsafe", CACHE_TYPE_UNSAFE },
	{ "Writeback", CACHE_TYPE_WRITEBACK },
	{ "", 0 },
};

const struct config_name config_io_engines[] = {
	{ "Async", IO_ENGINE_ASYNC },
	{ "Sync", IO_ENGINE_SYNC },
	{ "", 0 },
};

const char *config_name_of(const struct config_name *table, uint8_t value)
{
	while (table->name[0] && table->value != value)
		table++;
	return table->name;
}

void config_init(struct config *c)
{
	c->machine = (struct machine_config){
		.vcpu_count = 1,
		.mem_size_mib = CONFIG_MEM_DEFAULT_MIB,
		.cpu_template = CPU_TEMPLATE_NONE,
	};
	c->has_boot_source = false;
	c->has_logger = false;
	c->has_metrics = false;
	c->has_serial = false;
	c->boot_timer = false;
	c->nr_drives = 0;
	c->nr_nets = 0;
	c->cpu.nr_caps = c->cpu.nr_cpuid = c->cpu.nr_msrs = 0;
	c->boot_source.kernel_fd = -1;
	c->boot_source.initrd_fd = -1;
}

void config_fini(struct config *c)
{
	size_t i;

	fd_close(&c->boot_source.kernel_fd);
	fd_close(&c->boot_source.initrd_fd);
	for (i = 0; i < c->nr_drives; i++)
		fd_close(&c->drive[i].fd);
	for (i = 0; i < c->nr_nets; i++)
		config_close_net(&c->net[i]);
	config_init(c);
}

/* The candidate for an update: what is given over what there is. */
static struct machine_config machine_merge(const struct machine_config *old,
					   const struct machine_update *u)
{
	struct machine_config m = *old;

	if (u->has_vcpu_count)
		m.vcpu_count = u->v.vcpu_count;
	if (u->has_mem_size_mib)
		m.mem_size_mib = u->v.mem_size_mib;
	if (u->has_smt)
		m.smt = u->v.smt;
	if (u->has_cpu_template)
		m.cpu_template = u->v.cpu_template;
	if (u->has_track_dirty_pages)
		m.track_dirty_pages = u->v.track_dirty_pages;
	if (u->has_huge_pages)
		m.huge_pages = u->v.huge_pages;
	return m;
}

int config_update_machine(struct config *c, const struct machine_update *u, struct err *e)
{
	struct machine_config m = machine_merge(&c->machine, u);
	int ret;

	ret = config_check_arch(&m, e);
	if (ret)
		return err_wrap(e, "Machine config error");
	if (m.vcpu_count < 1 || m.vcpu_count > CONFIG_VCPUS_MAX ||
	    (m.smt && m.vcpu_count > 1 && m.vcpu_count % 2))
		return err_set(e, 0,
			       "Machine config error: The number of vCPUs must be greater than 0, "
			       "less than %d and must be 1 or an even number if SMT is enabled.",
			       CONFIG_VCPUS_MAX);
	/* Transparent huge pages would work with odd sizes, but lose the last page's alignment. */
	if (!m.mem_size_mib || (m.huge_pages != HUGE_PAGES_NONE && m.mem_size_mib % 2))
		return err_set(e, 0,
			       "Machine config error: The memory size (MiB) is either 0, or not a "
			       "multiple of the configured page size.");
	c->machine = m;
	if (u->has_cpu_template)
		c->cpu.nr_caps = c->cpu.nr_cpuid = c->cpu.nr_msrs = 0;
	return 0;
}

void config_put_cpu(struct config *c, const struct cpu_config *cpu)
{
	c->cpu = *cpu;
	c->machine.cpu_template = CPU_TEMPLATE_NONE;
}

/* Text before " -- " and after: printable ASCII only, or a guest reads something else than we. */
static int check_boot_args(const char *args, struct err *e)
{
	size_t len = strlen(args), i;

	if (len >= CONFIG_CMDLINE_MAX)
		return err_set(e, 0,
			       "Boot source error: The kernel command line is invalid: Inserting "
			       "string would make command line too long.");
	for (i = 0; i < len; i++)
		if (args[i] < ' ' || args[i] > '~')
			return err_set(e, 0,
				       "Boot source error: The kernel command line is invalid: "
				       "String contains a non-printable ASCII character.");
	return 0;
}

int config_put_boot_source(struct config *c, const struct boot_source_config *b, struct err *e)
{
	int kernel_fd, initrd_fd = -1, ret;

	kernel_fd = host_file_open(b->kernel_image_path, O_RDONLY, HOST_FILE_REGULAR,
				   "Boot source error: The kernel file cannot be opened:", e);
	if (kernel_fd < 0)
		return kernel_fd;
	if (b->has_initrd_path) {
		initrd_fd =
			host_file_open(b->initrd_path, O_RDONLY, HOST_FILE_REGULAR,
				       "Boot source error: The initrd file cannot be opened due "
				       "to invalid path or invalid permissions.",
				       e);
		if (initrd_fd < 0) {
			fd_close(&kernel_fd);
			return initrd_fd;
		}
	}
	ret = b->has_boot_args ? check_boot_args(b->boot_args, e) : 0;
	if (ret) {
		fd_close(&kernel_fd);
		fd_close(&initrd_fd);
		return ret;
	}
	fd_close(&c->boot_source.kernel_fd);
	fd_close(&c->boot_source.initrd_fd);
	c->boot_source = *b;
	c->boot_source.kernel_fd = kernel_fd;
	c->boot_source.initrd_fd = initrd_fd;
	c->has_boot_source = true;
	return 0;
}

size_t config_find_drive(const struct config *c, const char *id)
{
	size_t i;

	for (i = 0; i < c->nr_drives; i++)
		if (!strcmp(c->drive[i].drive_id, id))
			break;
	return i;
}

/* Is this a drive we can open, and may it stand at place @i? */
static int check_drive(const struct config *c, const struct drive_config *d, size_t i,
		       struct err *e)
{
	if (d->is_root_device && c->nr_drives && c->drive[0].is_root_device && i != 0)
		return err_set(e, 0, "Drive config error: A root block device already exists!");
	if (i == CONFIG_SLOTS_MAX)
		return err_set(e, 0,
			       "Drive config error: no room for drive %s: at most %d drives "
			       "can be configured",
			       d->drive_id, CONFIG_SLOTS_MAX);
	/* What a file needs says nothing about a back end, and the other way round. */
	if (d->has_socket ? d->has_path_on_host || d->has_is_read_only || d->has_rate_limiter ||
				    d->has_io_engine :
			    !d->has_path_on_host)
		return err_set(e, 0,
			       "Drive config error: Unable to create the virtio block device: "
			       "Invalid block config.");
	return 0;
}

static void swap_drives(struct drive_config *a, struct drive_config *b)
{
	char *p = (char *)a, *q = (char *)b;
	size_t i;

	for (i = 0; i < sizeof(*a); i++) {
		char t = p[i];

		p[i] = q[i];
		q[i] = t;
	}
}

int config_open_drive(const char *path, bool read_only, struct err *e)
{
	int flags = read_only ? O_RDONLY : O_RDWR;
	size_t len = strlen(CONFIG_DRIVE_DIRECT);

	if (strncmp(path, CONFIG_DRIVE_DIRECT, len) == 0)
		return host_file_open(path + len, flags | O_DIRECT, HOST_FILE_OR_DISK,
				      "Virtio backend error: Direct I/O on the backing file:", e);
	return host_file_open(path, flags, HOST_FILE_OR_DISK,
			      "Virtio backend error: Error manipulating the backing file:", e);
}

static int open_back_end(const struct drive_config *d, struct err *e)
{
	int fd;

	if (!d->has_socket)
		return config_open_drive(d->path_on_host, d->is_read_only, e);
	fd = vhost_user_dial(d->socket, e);
	return fd < 0 ? err_wrap(e, "Vhost user backend error: Vhost-user error") : fd;
}

int config_put_drive(struct config *c, const struct drive_config *d, struct err *e)
{
	size_t i = config_find_drive(c, d->drive_id);
	int fd, ret;

	ret = check_drive(c, d, i, e);
	if (ret)
		return ret;
	fd = open_back_end(d, e);
	if (fd < 0)
		return err_wrap(e, "Drive config error: Unable to create the virtio block device");
	if (i < c->nr_drives) {
		fd_close(&c->drive[i].fd);
	} else if (d->is_root_device) {
		memmove(&c->drive[1], &c->drive[0], c->nr_drives * sizeof(c->drive[0]));
		c->nr_drives++;
		i = 0;
	} else {
		c->nr_drives++;
	}
	c->drive[i] = *d;
	c->drive[i].fd = fd;
	/* The kernel's root=/dev/vda means the first. */
	if (d->is_root_device && i != 0)
		swap_drives(&c->drive[0], &c->drive[i]);
	return 0;
}

void config_started(struct config *c)
{
	for (size_t i = 0; i < c->nr_drives; i++)
		if (c->drive[i].has_socket)
			fd_close(&c->drive[i].fd);
}

int config_put_serial(struct config *c, const struct serial_config *s, struct err *e)
{
	(void)e;
	c->serial = *s;
	c->has_serial = true;
	return 0;
}

int config_check(const struct config *c, struct err *e)
{
	size_t nr = c->nr_drives + c->nr_nets;

	if (!c->has_boot_source)
		return err_set(e, 0,
			       "Start microvm error: Cannot start microvm without kernel "
			       "configuration.");
	if (nr > CONFIG_DEVICES_MAX)
		return err_set(e, 0,
			       "Start microvm error: Could not attach device: Could not allocate "
			       "GSI: The requested resource is not available. %zu drives and "
			       "interfaces are configured, %d fit",
			       nr, CONFIG_DEVICES_MAX);
	return 0;
}

const char *config_boot_args(const struct config *c)
{
	return c->boot_source.has_boot_args ? c->boot_source.boot_args : CONFIG_CMDLINE_DEFAULT;
}
