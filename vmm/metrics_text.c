/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metrics_text.c - the same numbers for Prometheus: text format 0.0.4. Loop thread.
 *
 * mote_<group>_<field>[_total], seconds instead of microseconds, and one family for all devices of
 * a kind, told apart by a label. https://prometheus.io/docs/practices/naming/
 */
#include "vmm/metrics.h"

#include <string.h>

#include "vmm/metrics_schema.h"

/* A family: what its samples have in common. */
struct family {
	struct metrics_word group, field;
	const char *agg; /* "_min", "_max" of an aggregate, else "" */
	bool last;	 /* a last value, not a counter */
	bool us;	 /* microseconds */
};

/* Without @end, if the word has it. */
static bool cut_end(struct metrics_word *w, const char *end)
{
	size_t len = strlen(end);

	if (w->len <= len || memcmp(w->s + w->len - len, end, len))
		return false;
	w->len -= len;
	return true;
}

static void put_name(struct text *t, const struct family *f)
{
	struct metrics_word group = f->group, field = f->field;

	cut_end(&group, "_us");
	if (!cut_end(&field, "_us") && !cut_end(&field, "_agg"))
		cut_end(&field, "_count");
	text_str(t, "mote_");
	text_bytes(t, group.s, group.len);
	text_char(t, '_');
	text_bytes(t, field.s, field.len);
	text_str(t, f->agg);
	if (f->us)
		text_str(t, "_seconds");
	if (!f->last)
		text_str(t, "_total");
}

static void put_sample(struct text *t, const struct family *f, const char *label, const char *value,
		       uint64_t v)
{
	put_name(t, f);
	if (label) {
		text_char(t, '{');
		text_str(t, label);
		text_str(t, "=\"");
		text_str(t, value);
		text_str(t, "\"}");
	}
	text_char(t, ' ');
	if (f->us) {
		text_u64(t, v / 1000000, 1);
		text_char(t, '.');
		text_u64(t, v % 1000000, 6);
	} else {
		text_u64(t, v, 1);
	}
	text_char(t, '\n');
}

static void put_type(struct text *t, const struct family *f)
{
	text_str(t, "# TYPE ");
	put_name(t, f);
	text_str(t, f->last ? " gauge\n" : " counter\n");
}

/* Number @i of group @g: of each device, or of the one source. */
static void put_family(struct text *t, const struct family *f, unsigned int g, size_t i)
{
	const enum metrics_device kind = g == GROUP_NET	  ? METRICS_NET :
					 g == GROUP_BLOCK ? METRICS_BLOCK :
							    METRICS_VHOST_USER;
	bool typed = false;
	size_t d;

	if (g != GROUP_BLOCK && g != GROUP_NET && g != GROUP_VHOST_USER) {
		const metric_t *m = metrics_at(&metrics_part[g], i);

		if (!m)
			return;
		put_type(t, f);
		put_sample(t, f, NULL, NULL, metric_get(m));
		return;
	}
	for (d = 0; d < metrics_nr_devs; d++) {
		const metric_t *m = metrics_at(&metrics_dev[d].part, i);

		if (metrics_dev[d].kind != kind || !m)
			continue;
		if (!typed)
			put_type(t, f);
		typed = true;
		put_sample(t, f, kind == METRICS_NET ? "iface" : "drive", metrics_dev[d].id,
			   metric_get(m));
	}
}

static void put_group(struct text *t, unsigned int g)
{
	static const char agg[3][8] = { "_min", "_max", "" };
	const char *p = metrics_line(g);
	struct family f = { .agg = "" };
	size_t i = 0, j;

	metrics_next(&p, &f.group);
	while (metrics_next(&p, &f.field)) {
		struct metrics_word end = f.field;

		if (f.field.kind != '@') {
			f.agg = "";
			f.last = f.field.kind == '=';
			f.us = g == GROUP_LATENCIES || cut_end(&end, "_us");
			put_family(t, &f, g, i++);
			continue;
		}
		f.us = true;
		for (j = 0; j < 3; j++) {
			f.agg = agg[j];
			f.last = j < 2;
			put_family(t, &f, g, i++);
		}
	}
}

void metrics_put_prometheus(struct text *t)
{
	unsigned int g;

	for (g = 0; g < NR_GROUPS; g++)
		put_group(t, g);
}
