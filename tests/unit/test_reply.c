/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bodies of replies, byte for byte.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "api-socket/reply.h"

static struct config c;
static char buf[REPLY_MAX];

static const char *text(long len)
{
	cr_assert(len > 0 && len < REPLY_MAX, "%ld", len);
	buf[len] = '\0';
	return buf;
}

static const char defaults[] =
	"{\"balloon\":null,\"drives\":[],\"boot-source\":{\"kernel_image_path\":\"\","
	"\"initrd_path\":null,\"boot_args\":null},\"cpu-config\":null,\"logger\":null,"
	"\"machine-config\":{\"vcpu_count\":1,\"mem_size_mib\":128,\"smt\":false,"
	"\"track_dirty_pages\":false,\"huge_pages\":\"None\"},\"metrics\":null,"
	"\"mmds-config\":null,\"network-interfaces\":[],\"vsock\":null,\"entropy\":null,"
	"\"pmem\":[],\"memory-hotplug\":null}";

Test(reply, defaults)
{
	config_init(&c);
	cr_expect_str_eq(text(reply_machine_config(buf, sizeof(buf), &c)),
			 "{\"vcpu_count\":1,\"mem_size_mib\":128,\"smt\":false,"
			 "\"track_dirty_pages\":false,\"huge_pages\":\"None\"}");
	cr_expect_str_eq(text(reply_vm_config(buf, sizeof(buf), &c)), defaults);
}

Test(reply, machine_config)
{
	config_init(&c);
	c.machine = (struct machine_config){ .vcpu_count = 32,
					     .mem_size_mib = UINT64_MAX,
					     .smt = true,
					     .cpu_template = CPU_TEMPLATE_C3,
					     .track_dirty_pages = true,
					     .huge_pages = HUGE_PAGES_2M };
	cr_expect_str_eq(
		text(reply_machine_config(buf, sizeof(buf), &c)),
		"{\"vcpu_count\":32,\"mem_size_mib\":18446744073709551615,\"smt\":true,"
		"\"cpu_template\":\"C3\",\"track_dirty_pages\":true,\"huge_pages\":\"2M\"}");
}

/* Everything set, with characters that must be escaped. */
static void fill(void)
{
	struct drive_config *d = &c.drive[0];
	struct net_config *n = &c.net[0];

	config_init(&c);
	c.has_boot_source = true;
	c.boot_source.has_boot_args = true;
	strcpy(c.boot_source.kernel_image_path, "/k \"q\"");
	strcpy(c.boot_source.boot_args, "a=\\b");
	c.nr_drives = 2;
	strcpy(d->drive_id, "rootfs");
	strcpy(d->partuuid, "0eaa91a0-01");
	strcpy(d->path_on_host, "/d\n");
	d->has_partuuid = d->is_root_device = d->is_read_only = true;
	d->cache_type = CACHE_TYPE_WRITEBACK;
	d->io_engine = IO_ENGINE_ASYNC;
	d->has_rate_limiter = d->rate_limiter.has_bandwidth = d->rate_limiter.has_ops = true;
	d->rate_limiter.bandwidth =
		(struct bucket_config){ .size = 1, .refill_time_ms = 2, .one_time_burst = 3 };
	d->rate_limiter.ops = (struct bucket_config){ .size = 4, .refill_time_ms = 5 };
	strcpy(c.drive[1].drive_id, "b");
	strcpy(c.drive[1].path_on_host, "/e");
	/* Limits nothing, so it is not there: size 0. */
	c.drive[1].has_rate_limiter = c.drive[1].rate_limiter.has_ops = true;
	c.drive[1].rate_limiter.ops = (struct bucket_config){ .refill_time_ms = 5 };
	c.nr_nets = 2;
	strcpy(n->iface_id, "1");
	strcpy(n->host_dev_name, "tap0");
	n->has_guest_mac = n->has_mtu = n->has_tx_rate_limiter = n->tx_rate_limiter.has_ops = true;
	memcpy(n->guest_mac, "\x06\x00\xac\x10\x00\x02", 6);
	n->mtu = 9000;
	n->tx_rate_limiter.ops = (struct bucket_config){ .size = 4, .refill_time_ms = 5 };
	strcpy(c.net[1].iface_id, "2");
	strcpy(c.net[1].host_dev_name, "tap1");
}

static const char everything[] =
	"{\"balloon\":null,\"drives\":["
	"{\"drive_id\":\"rootfs\",\"partuuid\":\"0eaa91a0-01\",\"is_root_device\":true,"
	"\"cache_type\":\"Writeback\",\"is_read_only\":true,\"path_on_host\":\"/d\\n\","
	"\"rate_limiter\":{\"bandwidth\":{\"size\":1,\"one_time_burst\":3,\"refill_time\":2},"
	"\"ops\":{\"size\":4,\"one_time_burst\":null,\"refill_time\":5}},"
	"\"io_engine\":\"Async\",\"socket\":null},"
	"{\"drive_id\":\"b\",\"partuuid\":null,\"is_root_device\":false,\"cache_type\":\"Unsafe\","
	"\"is_read_only\":false,\"path_on_host\":\"/e\",\"rate_limiter\":null,"
	"\"io_engine\":\"Sync\",\"socket\":null}],"
	"\"boot-source\":{\"kernel_image_path\":\"/k \\\"q\\\"\",\"initrd_path\":null,"
	"\"boot_args\":\"a=\\\\b\"},\"cpu-config\":null,\"logger\":null,"
	"\"machine-config\":{\"vcpu_count\":1,\"mem_size_mib\":128,\"smt\":false,"
	"\"track_dirty_pages\":false,\"huge_pages\":\"None\"},\"metrics\":null,"
	"\"mmds-config\":null,\"network-interfaces\":["
	"{\"iface_id\":\"1\",\"host_dev_name\":\"tap0\",\"guest_mac\":\"06:00:ac:10:00:02\","
	"\"mtu\":9000,\"rx_rate_limiter\":null,\"tx_rate_limiter\":{\"bandwidth\":null,"
	"\"ops\":{\"size\":4,\"one_time_burst\":null,\"refill_time\":5}}},"
	"{\"iface_id\":\"2\",\"host_dev_name\":\"tap1\",\"guest_mac\":null,\"mtu\":null,"
	"\"rx_rate_limiter\":null,\"tx_rate_limiter\":null}],"
	"\"vsock\":null,\"entropy\":null,\"pmem\":[],\"memory-hotplug\":null}";

Test(reply, everything)
{
	fill();
	cr_expect_str_eq(text(reply_vm_config(buf, sizeof(buf), &c)), everything);
}

Test(reply, is_bounded)
{
	size_t cap;

	fill();
	for (cap = 0; cap < sizeof(everything) - 1; cap++) {
		buf[cap] = 'X';
		cr_assert_eq(reply_vm_config(buf, cap, &c), -ENOSPC);
		cr_assert_eq(buf[cap], 'X');
	}
	cr_expect_eq(reply_vm_config(buf, cap, &c), (long)cap);
}

Test(reply, largest_config_fits)
{
	size_t i;

	fill();
	c.nr_drives = CONFIG_DEVICES_MAX;
	for (i = 0; i < c.nr_drives; i++) {
		c.drive[i] = c.drive[0];
		memset(c.drive[i].path_on_host, '"', PATH_MAX - 1);
	}
	memset(c.boot_source.kernel_image_path, '"', PATH_MAX - 1);
	memset(c.boot_source.boot_args, '"', CONFIG_CMDLINE_MAX - 1);
	cr_expect(reply_vm_config(buf, sizeof(buf), &c) > 0);
}

Test(reply, small_bodies)
{
	cr_expect_str_eq(text(reply_instance_info(buf, sizeof(buf), "id-1", "Not started", "0.1.0",
						  "Firecracker")),
			 "{\"id\":\"id-1\",\"state\":\"Not started\",\"vmm_version\":\"0.1.0\","
			 "\"app_name\":\"Firecracker\"}");
	cr_expect_str_eq(text(reply_version(buf, sizeof(buf), "0.1.0")),
			 "{\"firecracker_version\":\"0.1.0\"}");
	cr_expect_str_eq(text(reply_fault(buf, sizeof(buf), "a \"b\"")),
			 "{\"fault_message\":\"a \\\"b\\\"\"}");
	cr_expect_str_eq(text(reply_error(buf, sizeof(buf), "x")), "{\"error\":\"x\"}");
}
