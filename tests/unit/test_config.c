/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a configuration accepts, in which order its devices end up, and that a refusal changes
 * nothing and leaks no file.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/config.h"

static struct config c;
static struct err e;
static char dir[] = "/tmp/mote-config-XXXXXX";
static char path[64];

/* A file of the given name in the test's own folder; the path stays valid until the next call. */
static const char *file(const char *name)
{
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	cr_assert(fd >= 0);
	close(fd);
	return path;
}

static int nr_open_files(void)
{
	DIR *d = opendir("/proc/self/fd");
	int nr = 0;

	while (readdir(d))
		nr++;
	closedir(d);
	return nr;
}

static void setup(void)
{
	cr_assert_not_null(mkdtemp(dir));
	config_init(&c);
}

static void teardown(void)
{
	char cmd[64];

	config_fini(&c);
	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	cr_assert_eq(system(cmd), 0);
}

TestSuite(config, .init = setup, .fini = teardown);

static int update(unsigned int vcpus, uint64_t mib, bool smt, enum huge_pages huge)
{
	struct machine_update u = {
		.has_vcpu_count = true,
		.has_mem_size_mib = true,
		.has_smt = true,
		.has_huge_pages = true,
		.v = { .vcpu_count = (uint8_t)vcpus,
		       .mem_size_mib = mib,
		       .smt = smt,
		       .huge_pages = (uint8_t)huge },
	};

	return config_update_machine(&c, &u, &e);
}

#define VCPU_ERROR                                                                                 \
	"Machine config error: The number of vCPUs must be greater than 0, less than 32 and must " \
	"be 1 or an even number if SMT is enabled."
#define MEM_ERROR                                                                                  \
	"Machine config error: The memory size (MiB) is either 0, or not a multiple of the "       \
	"configured page size."

Test(config, machine)
{
	struct machine_config before;

	cr_expect_eq(update(1, 1, false, HUGE_PAGES_NONE), 0);
	cr_expect_eq(update(32, UINT64_MAX, true, HUGE_PAGES_NONE), 0);
	cr_expect_eq(update(1, 2, true, HUGE_PAGES_2M), 0);
	cr_expect_eq(update(31, 128, false, HUGE_PAGES_TRANSPARENT), 0);
	before = c.machine;
	cr_expect_eq(update(0, 128, false, HUGE_PAGES_NONE), -EINVAL);
	cr_expect_str_eq(e.msg, VCPU_ERROR);
	cr_expect_eq(update(33, 128, false, HUGE_PAGES_NONE), -EINVAL);
	cr_expect_eq(update(3, 128, true, HUGE_PAGES_NONE), -EINVAL);
	cr_expect_str_eq(e.msg, VCPU_ERROR);
	cr_expect_eq(update(1, 0, false, HUGE_PAGES_NONE), -EINVAL);
	cr_expect_str_eq(e.msg, MEM_ERROR);
	cr_expect_eq(update(1, 3, false, HUGE_PAGES_TRANSPARENT), -EINVAL);
	cr_expect_eq(update(1, 3, false, HUGE_PAGES_2M), -EINVAL);
	cr_expect(!memcmp(&before, &c.machine, sizeof(before)));
}

/* A PATCH is judged together with what it leaves alone. */
Test(config, machine_patch)
{
	struct machine_update smt = { .has_smt = true, .v.smt = true };
	struct machine_update template = { .has_cpu_template = true,
					   .v.cpu_template = CPU_TEMPLATE_C3 };

	cr_expect_eq(update(3, 128, false, HUGE_PAGES_NONE), 0);
	cr_expect_eq(config_update_machine(&c, &smt, &e), -EINVAL);
	cr_expect_eq(update(4, 128, false, HUGE_PAGES_NONE), 0);
	cr_expect_eq(config_update_machine(&c, &smt, &e), 0);
	cr_expect(c.machine.smt && c.machine.vcpu_count == 4);
	cr_expect_eq(config_update_machine(&c, &template, &e), 0);
	/* A PUT without a template keeps the one there is. */
	cr_expect_eq(update(1, 128, false, HUGE_PAGES_NONE), 0);
	cr_expect_eq(c.machine.cpu_template, CPU_TEMPLATE_C3);
}

static int put_boot(const char *kernel, const char *initrd, const char *args)
{
	static struct boot_source_config b;

	memset(&b, 0, sizeof(b));
	snprintf(b.kernel_image_path, PATH_MAX, "%s", kernel);
	b.has_initrd_path = initrd;
	snprintf(b.initrd_path, PATH_MAX, "%s", initrd ? initrd : "");
	b.has_boot_args = args;
	snprintf(b.boot_args, PATH_MAX, "%s", args ? args : "");
	return config_put_boot_source(&c, &b, &e);
}

Test(config, boot_source)
{
	int before = nr_open_files();
	char args[2200];

	cr_expect_eq(config_check(&c, &e), -EINVAL);
	cr_expect_str_eq(e.msg, "Start microvm error: Cannot start microvm without kernel "
				"configuration.");
	cr_expect_eq(put_boot("/nonexistent/k", NULL, NULL), -ENOENT);
	cr_expect_str_eq(e.msg,
			 "Boot source error: The kernel file cannot be opened: No such file or "
			 "directory (os error 2) /nonexistent/k");
	cr_expect_eq(e.code, ENOENT);
	cr_expect(!c.has_boot_source);

	cr_expect_eq(put_boot(file("k"), NULL, NULL), 0);
	cr_expect_str_eq(config_boot_args(&c), CONFIG_CMDLINE_DEFAULT);
	cr_expect_eq(config_check(&c, &e), 0);
	cr_expect_eq(c.boot_source.initrd_fd, -1);
	cr_expect_eq(put_boot(file("k"), "/nonexistent/i", NULL), -ENOENT);
	cr_expect_str_eq(e.msg,
			 "Boot source error: The initrd file cannot be opened due to invalid "
			 "path or invalid permissions. No such file or directory (os error 2) "
			 "/nonexistent/i");
	cr_expect_eq(put_boot(file("k"), path, ""), 0);
	cr_expect_str_eq(config_boot_args(&c), "");
	cr_expect_eq(put_boot("/tmp", NULL, NULL), -EINVAL);

	memset(args, 'a', sizeof(args));
	args[CONFIG_CMDLINE_MAX - 1] = '\0';
	cr_expect_eq(put_boot(file("k"), NULL, args), 0);
	args[CONFIG_CMDLINE_MAX - 1] = 'a';
	args[CONFIG_CMDLINE_MAX] = '\0';
	cr_expect_eq(put_boot(file("k"), NULL, args), -EINVAL);
	cr_expect_str_eq(e.msg, "Boot source error: The kernel command line is invalid: Inserting "
				"string would make command line too long.");
	cr_expect_eq(put_boot(file("k"), NULL, "a\nb"), -EINVAL);
	cr_expect_str_eq(e.msg, "Boot source error: The kernel command line is invalid: String "
				"contains a non-printable ASCII character.");
	cr_expect_eq(strlen(c.boot_source.boot_args), CONFIG_CMDLINE_MAX - 1);
	config_fini(&c);
	cr_expect_eq(nr_open_files(), before);
}

static int put_drive(const char *id, const char *p, bool root)
{
	static struct drive_config d;

	memset(&d, 0, sizeof(d));
	snprintf(d.drive_id, sizeof(d.drive_id), "%s", id);
	d.is_root_device = root;
	d.has_path_on_host = p;
	snprintf(d.path_on_host, PATH_MAX, "%s", p ? p : "");
	return config_put_drive(&c, &d, &e);
}

/* The ids in order, as one string. */
static const char *drives(void)
{
	static char order[256];
	size_t i;

	order[0] = '\0';
	for (i = 0; i < c.nr_drives; i++) {
		strcat(order, c.drive[i].drive_id);
		cr_expect(fcntl(c.drive[i].fd, F_GETFD) >= 0, "%s is not open", order);
	}
	return order;
}

Test(config, drive_order)
{
	int before = nr_open_files();

	cr_expect_eq(put_drive("a", file("a"), false), 0);
	cr_expect_eq(put_drive("b", file("b"), false), 0);
	cr_expect_str_eq(drives(), "ab");
	cr_expect_eq(put_drive("r", file("r"), true), 0);
	cr_expect_str_eq(drives(), "rab");
	/* Replaced where it is, root or not. */
	cr_expect_eq(put_drive("a", file("a2"), false), 0);
	cr_expect_str_eq(drives(), "rab");
	cr_expect(strstr(c.drive[1].path_on_host, "/a2"));
	cr_expect_eq(put_drive("r", file("r2"), true), 0);
	cr_expect_str_eq(drives(), "rab");
	cr_expect_eq(put_drive("s", file("s"), true), -EINVAL);
	cr_expect_str_eq(e.msg, "Drive config error: A root block device already exists!");
	cr_expect_eq(put_drive("b", file("b"), true), -EINVAL);
	cr_expect_str_eq(drives(), "rab");
	/* The old root gives up being root; then another may, and changes places with the first. */
	cr_expect_eq(put_drive("r", file("r"), false), 0);
	cr_expect_eq(put_drive("b", file("b"), true), 0);
	cr_expect_str_eq(drives(), "bar");
	cr_expect(c.drive[0].is_root_device && !c.drive[2].is_root_device);
	cr_expect_eq(nr_open_files(), before + 3);
	config_fini(&c);
	cr_expect_eq(nr_open_files(), before);
}

Test(config, drive_refusals)
{
	static struct drive_config d = { .drive_id = "v", .has_socket = true, .socket = "/s" };
	int before = nr_open_files();
	char fifo[80];

	cr_expect_eq(put_drive("a", "foo.bar", false), -ENOENT);
	cr_expect_str_eq(e.msg,
			 "Drive config error: Unable to create the virtio block device: Virtio "
			 "backend error: Error manipulating the backing file: No such file or "
			 "directory (os error 2) foo.bar");
	cr_expect_eq(put_drive("a", NULL, false), -EINVAL);
	cr_expect_str_eq(e.msg, "Drive config error: Unable to create the virtio block device: "
				"Invalid block config.");
	cr_expect_eq(put_drive("a", "/tmp", false), -EISDIR);
	cr_expect_eq(put_drive("a", "/dev/null", false), -EINVAL);
	cr_expect(strstr(e.msg, "/dev/null is not a regular file or block device"));
	cr_expect_eq(config_put_drive(&c, &d, &e), -ENOENT);
	cr_expect_str_eq(
		e.msg,
		"Drive config error: Unable to create the virtio block device: Vhost user "
		"backend error: Vhost-user error: Failed to connect to UDS Unix stream: No such "
		"file or directory (os error 2) /s");
	d.has_io_engine = true;
	cr_expect_eq(config_put_drive(&c, &d, &e), -EINVAL);
	cr_expect(strstr(e.msg, "Invalid block config."));
	/* A FIFO without a writer would block a plain open for ever. */
	snprintf(fifo, sizeof(fifo), "%s/fifo", dir);
	cr_assert_eq(mkfifo(fifo, 0600), 0);
	d = (struct drive_config){ .drive_id = "f",
				   .has_path_on_host = true,
				   .is_read_only = true };
	strcpy(d.path_on_host, fifo);
	cr_expect_eq(config_put_drive(&c, &d, &e), -EINVAL);
	cr_expect_eq(c.nr_drives, 0);
	cr_expect_eq(nr_open_files(), before);
}

Test(config, read_only_drive_needs_no_write_access)
{
	static struct drive_config d = { .drive_id = "a",
					 .has_path_on_host = true,
					 .has_is_read_only = true,
					 .is_read_only = true };

	strcpy(d.path_on_host, file("ro"));
	cr_assert_eq(chmod(d.path_on_host, 0400), 0);
	cr_expect_eq(config_put_drive(&c, &d, &e), 0);
	cr_expect_eq(fcntl(c.drive[0].fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	cr_expect(!(fcntl(c.drive[0].fd, F_GETFL) & O_NONBLOCK));
	cr_expect(fcntl(c.drive[0].fd, F_GETFD) & FD_CLOEXEC);
}

Test(config, too_many_devices)
{
	char id[16];
	int i;

	cr_expect_eq(put_boot(file("k"), NULL, NULL), 0);
	for (i = 0; i < CONFIG_SLOTS_MAX; i++) {
		snprintf(id, sizeof(id), "d%d", i);
		cr_expect_eq(put_drive(id, file("d"), false), 0);
		cr_expect_eq(config_check(&c, &e), i < CONFIG_DEVICES_MAX ? 0 : -EINVAL);
	}
	cr_expect(
		strstr(e.msg, "Could not allocate GSI: The requested resource is not available."));
	cr_expect_eq(put_drive("more", file("d"), false), -EINVAL);
	cr_expect_eq(put_drive("d31", file("d"), false), 0);
}

static int put_net(const char *id, const char *tap, const char *mac, unsigned int mtu)
{
	static struct net_config n;

	memset(&n, 0, sizeof(n));
	snprintf(n.iface_id, sizeof(n.iface_id), "%s", id);
	snprintf(n.host_dev_name, sizeof(n.host_dev_name), "%s", tap);
	n.has_guest_mac = mac;
	if (mac)
		memcpy(n.guest_mac, mac, 6);
	n.has_mtu = mtu;
	n.mtu = (uint16_t)mtu;
	return config_put_net(&c, &n, &e);
}

/* Stands in for interfaces whose taps are open, as taps need rights a unit test has not. */
static void fake_nets(const char *ids)
{
	for (; *ids; ids++) {
		struct net_config *n = &c.net[c.nr_nets++];

		memset(n, 0, sizeof(*n));
		n->iface_id[0] = *ids;
		snprintf(n->host_dev_name, sizeof(n->host_dev_name), "tap%c", *ids);
		n->has_guest_mac = true;
		n->guest_mac[5] = (uint8_t)*ids;
		n->tap_fd[0] = open("/dev/null", O_RDWR | O_CLOEXEC);
	}
}

static const char *nets(void)
{
	static char order[64];
	size_t i;

	for (i = 0; i < c.nr_nets; i++) {
		order[i] = c.net[i].iface_id[0];
		cr_expect(fcntl(c.net[i].tap_fd[0], F_GETFD) >= 0, "%s is not open", order);
	}
	order[i] = '\0';
	return order;
}

Test(config, net_order)
{
	int before = nr_open_files();

	fake_nets("1234");
	/* Replaced with the same tap: the fd is kept, the last interface fills the gap. */
	cr_expect_eq(put_net("2", "tap2", NULL, 0), 0);
	cr_expect_str_eq(nets(), "1432");
	cr_expect_eq(put_net("2", "tap2", NULL, 9000), 0);
	cr_expect_str_eq(nets(), "1432");
	cr_expect_eq(put_net("1", "tap1", NULL, 0), 0);
	cr_expect_str_eq(nets(), "2431");
	cr_expect_eq(c.net[0].mtu, 9000);
	cr_expect_eq(nr_open_files(), before + 4);
	config_fini(&c);
	cr_expect_eq(nr_open_files(), before);
}

Test(config, net_refusals)
{
	fake_nets("12");
	cr_expect_eq(put_net("2", "tap2",
			     "\0\0\0\0\0"
			     "1",
			     0),
		     -EINVAL);
	cr_expect_str_eq(e.msg, "Network config error: The MAC address is already in use: "
				"00:00:00:00:00:31");
	cr_expect_eq(put_net("3", "tap3",
			     "\0\0\0\0\0"
			     "2",
			     0),
		     -EINVAL);
	cr_expect_eq(put_net("2", "tap2", NULL, 67), -EINVAL);
	cr_expect_str_eq(e.msg,
			 "Network config error: Could not create the network device: MTU 67 is "
			 "out of range [68, 65535]");
	cr_expect_lt(put_net("1", "no/such-tap", NULL, 0), 0);
	cr_expect(!strncmp(e.msg,
			   "Network config error: Could not create the network device: Open tap "
			   "device failed: ",
			   83),
		  "%s", e.msg);
	cr_expect(strstr(e.msg, "provided by no/such-tap. "));
	cr_expect_str_eq(nets(), "12");
	/* Its own address is not a clash. */
	cr_expect_eq(put_net("2", "tap2",
			     "\0\0\0\0\0"
			     "2",
			     68),
		     0);
}
