/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the decoders put into the structs: values, defaults, and which fields count as given.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "api-socket/decode.h"
#include "base/log.h"

static void decode(const struct decode_table *t, const char *body, void *out)
{
	struct err e = { 0 };

	cr_assert_eq(decode_body(t, body, strlen(body), out, &e), 0, "%s", e.msg);
}

Test(decode, machine_put_resets_what_is_missing)
{
	struct machine_update u;

	decode(&decode_machine_put, "{\"vcpu_count\":255,\"mem_size_mib\":18446744073709551615}",
	       &u);
	cr_expect(u.has_vcpu_count && u.v.vcpu_count == 255);
	cr_expect(u.has_mem_size_mib && u.v.mem_size_mib == UINT64_MAX);
	cr_expect(u.has_smt && !u.v.smt);
	cr_expect(u.has_track_dirty_pages && !u.v.track_dirty_pages);
	cr_expect(u.has_huge_pages && u.v.huge_pages == HUGE_PAGES_NONE);
	cr_expect(!u.has_cpu_template);
	cr_expect(!decode_machine_is_empty(&u));

	decode(&decode_machine_put,
	       "{\"vcpu_count\":2,\"mem_size_mib\":2,\"smt\":true,\"cpu_template\""
	       ":\"T2A\",\"track_dirty_pages\":true,\"huge_pages\":\"2M\"}",
	       &u);
	cr_expect(u.v.smt && u.v.track_dirty_pages && u.v.huge_pages == HUGE_PAGES_2M);
	cr_expect(u.has_cpu_template && u.v.cpu_template == CPU_TEMPLATE_T2A);
}

Test(decode, machine_patch_gives_only_what_is_there)
{
	struct machine_update u;

	decode(&decode_machine_patch, "{}", &u);
	cr_expect(decode_machine_is_empty(&u));
	decode(&decode_machine_patch, "{\"smt\":null,\"vcpu_count\":null}", &u);
	cr_expect(decode_machine_is_empty(&u));
	decode(&decode_machine_patch, "{\"huge_pages\":\"Transparent\"}", &u);
	cr_expect(u.has_huge_pages && u.v.huge_pages == HUGE_PAGES_TRANSPARENT);
	cr_expect(!u.has_smt && !u.has_vcpu_count && !u.has_mem_size_mib && !u.has_cpu_template);
	decode(&decode_machine_patch, "{\"cpu_template\":\"None\"}", &u);
	cr_expect(u.has_cpu_template && u.v.cpu_template == CPU_TEMPLATE_NONE);
	cr_expect(!decode_machine_is_empty(&u));
}

Test(decode, boot_source)
{
	static struct boot_source_config b;

	decode(&decode_boot_source, " {\"kernel_image_path\" : \"\\/k\\u00e9\\ud83d\\ude00\" } ",
	       &b);
	cr_expect_str_eq(b.kernel_image_path, "/k\xc3\xa9\xf0\x9f\x98\x80");
	cr_expect(!b.has_boot_args && !b.has_initrd_path);
	decode(&decode_boot_source,
	       "{\"boot_args\":\"\",\"kernel_image_path\":\"k\","
	       "\"initrd_path\":\"/i\"}",
	       &b);
	cr_expect(b.has_boot_args && b.has_initrd_path);
	cr_expect_str_eq(b.boot_args, "");
	cr_expect_str_eq(b.initrd_path, "/i");
}

Test(decode, drive)
{
	static struct drive_config d;

	decode(&decode_drive_put, "{\"drive_id\":\"r\",\"is_root_device\":false}", &d);
	cr_expect(d.cache_type == CACHE_TYPE_UNSAFE && d.io_engine == IO_ENGINE_SYNC);
	cr_expect(!d.has_partuuid && !d.has_is_read_only && !d.has_path_on_host);
	cr_expect(!d.has_rate_limiter && !d.has_io_engine && !d.has_socket);
	decode(&decode_drive_put,
	       "{\"drive_id\":\"r_1\",\"partuuid\":\"0eaa91a0-01\",\"is_root_device\":true,"
	       "\"cache_type\":\"Writeback\",\"is_read_only\":true,\"path_on_host\":\"/x\","
	       "\"rate_limiter\":{\"bandwidth\":{\"size\":1,\"one_time_burst\":2,"
	       "\"refill_time\":18446744073709551615},\"ops\":null},\"io_engine\":\"Async\"}",
	       &d);
	cr_expect_str_eq(d.drive_id, "r_1");
	cr_expect_str_eq(d.partuuid, "0eaa91a0-01");
	cr_expect_str_eq(d.path_on_host, "/x");
	cr_expect(d.is_root_device && d.is_read_only && d.cache_type == CACHE_TYPE_WRITEBACK);
	cr_expect(d.io_engine == IO_ENGINE_ASYNC && d.has_io_engine && d.has_path_on_host);
	cr_expect(d.has_rate_limiter && d.rate_limiter.has_bandwidth && !d.rate_limiter.has_ops);
	cr_expect_eq(d.rate_limiter.bandwidth.size, 1);
	cr_expect_eq(d.rate_limiter.bandwidth.one_time_burst, 2);
	cr_expect_eq(d.rate_limiter.bandwidth.refill_time_ms, UINT64_MAX);
}

Test(decode, net)
{
	static const uint8_t mac[6] = { 0x06, 0, 0xac, 0x10, 0xff, 2 };
	struct net_config n;
	struct net_update u;

	decode(&decode_net_put,
	       "{\"iface_id\":\"1\",\"host_dev_name\":\"tap0\","
	       "\"guest_mac\":\"06:00:AC:10:fF:02\",\"mtu\":9000}",
	       &n);
	cr_expect_str_eq(n.iface_id, "1");
	cr_expect_str_eq(n.host_dev_name, "tap0");
	cr_expect(n.has_guest_mac && !memcmp(n.guest_mac, mac, 6));
	cr_expect(n.has_mtu && n.mtu == 9000);
	cr_expect(!n.has_rx_rate_limiter && !n.has_tx_rate_limiter);
	decode(&decode_net_patch,
	       "{\"iface_id\":\"1\",\"tx_rate_limiter\":{\"ops\":{\"size\":0,"
	       "\"refill_time\":0}}}",
	       &u);
	cr_expect(!u.has_rx_rate_limiter && u.has_tx_rate_limiter && u.tx_rate_limiter.has_ops);
}

Test(decode, actions_and_state)
{
	struct vm_state_request v;
	struct action_request a;

	decode(&decode_action, "{\"action_type\":\"FlushMetrics\"}", &a);
	cr_expect_eq(a.action_type, ACTION_FLUSH_METRICS);
	decode(&decode_action, "{\"action_type\":\"InstanceStart\"}", &a);
	cr_expect_eq(a.action_type, ACTION_INSTANCE_START);
	decode(&decode_action, "{\"action_type\":\"SendCtrlAltDel\"}", &a);
	cr_expect_eq(a.action_type, ACTION_SEND_CTRL_ALT_DEL);
	decode(&decode_vm_patch, "{\"state\":\"Paused\"}", &v);
	cr_expect_eq(v.state, VM_STATE_PAUSED);
	decode(&decode_vm_patch, "{\"state\":\"Resumed\"}", &v);
	cr_expect_eq(v.state, VM_STATE_RESUMED);
}

Test(decode, logger_levels)
{
	static const struct {
		const char *name;
		enum log_level level;
	} rows[] = {
		{ "Off", LOG_OFF },	 { "ERROR", LOG_ERROR }, { "warn", LOG_WARN },
		{ "Warning", LOG_WARN }, { "iNfo", LOG_INFO },	 { "Debug", LOG_DEBUG },
		{ "TRACE", LOG_TRACE },
	};
	static struct logger_config l;
	char body[64];
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		snprintf(body, sizeof(body), "{\"level\":\"%s\"}", rows[i].name);
		decode(&decode_logger, body, &l);
		cr_expect(l.has_level && l.level == rows[i].level, "%s", body);
	}
	decode(&decode_logger, "{\"show_level\":true,\"module\":\"m\"}", &l);
	cr_expect(!l.has_level && l.has_show_level && l.show_level && !l.has_log_path);
	cr_expect_str_eq(l.module, "m");
}

Test(decode, metrics_properties_become_one_line)
{
	static struct metrics_config m;

	decode(&decode_metrics,
	       "{\"metrics_path\":\"/m\",\"unknown\":[1],\"properties\":\n"
	       "{ \"a\" : \"b\\n\" ,\n \"c\\\"\" : \"\" } }",
	       &m);
	cr_expect(m.has_properties && !m.emit_id);
	cr_expect_str_eq(m.properties, "{\"a\":\"b\\n\",\"c\\\"\":\"\"}");
	decode(&decode_metrics, "{\"metrics_path\":\"/m\",\"properties\":{},\"emit_id\":true}", &m);
	cr_expect(m.has_properties && m.emit_id);
	cr_expect_str_eq(m.properties, "{}");
}

Test(decode, serial)
{
	static struct serial_config s;

	decode(&decode_serial,
	       "{\"serial_out_path\":\"/s\",\"rate_limiter\":{\"size\":7,"
	       "\"refill_time\":9}}",
	       &s);
	cr_expect(s.has_serial_out_path && s.has_rate_limiter);
	cr_expect(s.rate_limiter.size == 7 && s.rate_limiter.refill_time_ms == 9);
	cr_expect(!s.rate_limiter.has_one_time_burst && s.rate_limiter.one_time_burst == 0);
}

/* A table that breaks these breaks the walker, so they are checked for each. */
Test(decode, tables_are_sound)
{
	static const struct decode_table *const tables[] = {
		&decode_machine_put, &decode_machine_patch, &decode_boot_source, &decode_drive_put,
		&decode_drive_patch, &decode_net_put,	    &decode_net_patch,	 &decode_action,
		&decode_vm_patch,    &decode_logger,	    &decode_metrics,	 &decode_serial,
	};
	size_t i, k;

	for (i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		const struct decode_table *t = tables[i];

		cr_expect(t->nr_fields >= 1 && t->nr_fields <= 32);
		cr_expect(t->size <= sizeof(union decode_out));
		for (k = 0; k < t->nr_fields; k++) {
			const struct decode_field *f = &t->field[k];

			cr_expect(strnlen(f->name, sizeof(f->name)) < sizeof(f->name));
			cr_expect(f->offset + f->size <= t->size, "%s.%s", t->name, f->name);
			cr_expect(f->has == DECODE_NO_HAS || f->has < t->size);
			cr_expect(f->need != DECODE_OPTION || f->has != DECODE_NO_HAS);
		}
	}
}
