/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metrics.c - the line of metrics and the file it goes to; see metrics.h.
 *
 * The last line is written by whatever thread dies, while the loop thread may be in the middle of
 * one: so it has a buffer of its own, and nothing here locks or allocates.
 */
#include "vmm/metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "vmm/metrics_schema.h"

static int out_fd = -1;
static bool emit_id;
static const char *instance_id;
static char properties[CONFIG_PROPERTIES_MAX];

/* What was composed and not taken yet is line[line_pos..line_len). Untouched pages cost nothing. */
static char line[METRICS_LINE_MAX];
static size_t line_pos, line_len;
static char last_line[METRICS_LINE_MAX];

static uint64_t clock_us(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

int metrics_configure(const struct metrics_config *c, const char *id, struct err *e)
{
	static const char what[] = "Cannot initialize the metrics system due to bad user input";
	int fd;

	if (out_fd >= 0)
		return err_set(e, 0, "%s: Reinitialization of metrics not allowed.", what);
	fd = fd_open_output(c->metrics_path, O_APPEND, what, e);
	if (fd < 0)
		return fd;
	emit_id = c->emit_id;
	instance_id = id;
	properties[0] = '\0';
	if (c->has_properties)
		memcpy(properties, c->properties, sizeof(properties));
	__atomic_store_n(&out_fd, fd, __ATOMIC_RELEASE);
	return 0;
}

bool metrics_enabled(void)
{
	return out_fd >= 0;
}

void metrics_startup(const uint64_t *start_us, const uint64_t *start_cpu_us,
		     const uint64_t *parent_cpu_us)
{
	uint64_t now;

	/* The numbers come from the command line: a start in the future took no time. */
	if (start_us) {
		now = clock_us(CLOCK_MONOTONIC);
		metric_set(&metrics.startup_time[0], now > *start_us ? now - *start_us : 0);
	}
	if (start_cpu_us) {
		now = clock_us(CLOCK_PROCESS_CPUTIME_ID) + (parent_cpu_us ? *parent_cpu_us : 0);
		metric_set(&metrics.startup_time[1], now > *start_cpu_us ? now - *start_cpu_us : 0);
	}
}

static void put_key(struct text *t, const char *s, size_t len)
{
	text_char(t, '"');
	text_bytes(t, s, len);
	text_str(t, "\":");
}

/*
 * One number. Counters give what was added, and add it to @total too; last values of several
 * devices have no sum, so there they stay 0.
 */
static uint64_t take(const struct metrics_part *part, size_t i, bool last, metric_t *total)
{
	metric_t *m = metrics_at(part, i);
	uint64_t v;

	if (!m)
		return 0;
	if (last)
		return metric_get(m);
	v = metric_take(m);
	if (total)
		total[i].v += v;
	return v;
}

/* The members of a group, whose words begin at @p; numbers from @part, in order. */
static void put_fields(struct text *t, const char *p, const struct metrics_part *part,
		       metric_t *total)
{
	static const char agg[3][8] = { "min_us", "max_us", "sum_us" };
	struct metrics_word w;
	size_t i = 0, j;
	bool first = true;

	text_char(t, '{');
	while (metrics_next(&p, &w)) {
		if (!first)
			text_char(t, ',');
		first = false;
		put_key(t, w.s, w.len);
		if (w.kind != '@') {
			text_u64(t, take(part, i++, w.kind == '=', total), 1);
			continue;
		}
		for (j = 0; j < 3; j++) {
			text_char(t, j ? ',' : '{');
			put_key(t, agg[j], strlen(agg[j]));
			text_u64(t, take(part, i++, j < 2, total), 1);
		}
		text_char(t, '}');
	}
	text_char(t, '}');
}

/* Groups of single devices, and what they add up to. */
static void put_devices(struct text *t, metric_t total[2][METRICS_FIELDS_MAX], metric_t irq[2])
{
	static const enum metrics_group group[] = { GROUP_BLOCK, GROUP_NET, GROUP_VHOST_USER };
	size_t nr = __atomic_load_n(&metrics_nr_devs, __ATOMIC_ACQUIRE), i;

	for (i = 0; i < nr; i++) {
		struct metrics_dev *d = &metrics_dev[i];
		const char *p = metrics_line(group[d->kind]);
		struct metrics_word name;

		metrics_next(&p, &name);
		text_str(t, ",\"");
		text_bytes(t, name.s, name.len);
		text_char(t, '_');
		text_str(t, d->id);
		text_str(t, "\":");
		put_fields(t, p, &d->part, d->kind == METRICS_VHOST_USER ? NULL : total[d->kind]);
		irq[0].v += metric_take(&d->virtio->irq_triggers);
		irq[1].v += metric_take(&d->virtio->config_updates);
	}
}

void metrics_put_json(struct text *t)
{
	metric_t total[2][METRICS_FIELDS_MAX] = { 0 }, irq[2] = { 0 };
	const struct metrics_part sum[2] = {
		{ .m = total[METRICS_BLOCK], .nr = METRICS_FIELDS_MAX },
		{ .m = total[METRICS_NET], .nr = METRICS_FIELDS_MAX },
	}, interrupts = { .m = irq, .nr = 2 };
	const char *p = metrics_schema;
	unsigned int g;

	text_str(t, "{\"utc_timestamp_ms\":");
	text_u64(t, clock_us(CLOCK_REALTIME) / 1000, 1);
	if (emit_id) {
		text_str(t, ",\"id\":\"");
		text_str(t, instance_id);
		text_char(t, '"');
	}
	if (properties[0]) {
		text_str(t, ",\"properties\":");
		text_str(t, properties);
	}
	put_devices(t, total, irq);
	for (g = 0; g < NR_GROUPS; g++, p = metrics_line(g)) {
		const struct metrics_part *part = &metrics_part[g];
		struct metrics_word name;

		if (g == GROUP_VHOST_USER || (g == GROUP_RTC && !part->m))
			break;
		if (g == GROUP_BLOCK || g == GROUP_NET)
			part = &sum[g == GROUP_NET];
		else if (g == GROUP_INTERRUPTS)
			part = &interrupts;
		metrics_next(&p, &name);
		text_char(t, ',');
		put_key(t, name.s, name.len);
		put_fields(t, p, part, NULL);
	}
	text_char(t, '}');
}

/* Write what is left of @s; how much is left then, or -errno. */
static ssize_t write_rest(const char *s, size_t *pos, size_t len)
{
	while (*pos < len) {
		ssize_t n = write(out_fd, s + *pos, len - *pos);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		*pos += (size_t)n;
	}
	return 0;
}

static int drain(void)
{
	int ret = (int)write_rest(line, &line_pos, line_len);

	if (ret == -EAGAIN) {
		metric_inc(&log_metrics.missed_metrics_count);
	} else if (ret) {
		/*
		 * A full disk: keep the line whole for the next time, it is not half written twice.
		 */
		metric_inc(&log_metrics.metrics_fails);
	}
	return ret;
}

int metrics_flush(void)
{
	struct text t = text_init(line, sizeof(line) - 1);
	int ret;

	if (out_fd < 0)
		return 0;
	ret = drain();
	if (ret)
		return ret;
	metrics_put_json(&t);
	line[t.len++] = '\n';
	line_pos = 0;
	line_len = t.len;
	return drain();
}

void metrics_dying(void)
{
	struct text t = text_init(last_line, sizeof(last_line) - 1);
	size_t pos = line_pos;

	/* The end of a line that is only half with its reader, or ours would not be one. */
	if (out_fd < 0 || (pos && write_rest(line, &pos, line_len)))
		return;
	metrics_put_json(&t);
	last_line[t.len++] = '\n';
	pos = 0;
	if (write_rest(last_line, &pos, t.len))
		return;
}
