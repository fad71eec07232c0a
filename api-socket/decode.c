/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decode.c - the one walker that reads JSON objects into structs by their tables.
 *
 * Request bodies are hostile: nesting follows the tables, never the input, so a fixed stack of
 * frames is enough and nothing recurses; each string is bounded by the field that takes it. The
 * order of checks, and so which of several faults is reported, is that of serde's derived
 * decoders. Loop thread.
 */
#include "api-socket/decode.h"

#include <errno.h>
#include <string.h>

#include "api-socket/decode_value.h"
#include "base/json.h"
#include "base/text.h"

/* config file, CPU template, list of leaves, leaf, list of registers, register; one to spare */
#define FRAMES_MAX 7

/* One open object, or one open list when @list is set. */
struct frame {
	const struct decode_table *table;
	const struct decode_field *list;
	char *base;    /* the struct that is filled */
	uint32_t seen; /* one bit per field */
	bool first;    /* no member was read yet */
};

struct walk {
	struct json_reader r;
	const struct decode_sink *sink;
	struct err *e;
	size_t nr;
	struct frame frame[FRAMES_MAX];
};

static void push(struct walk *w, const struct decode_table *t, const struct decode_field *list,
		 char *base)
{
	struct frame *f = &w->frame[w->nr++];

	*f = (struct frame){ .table = t, .list = list, .base = base, .first = true };
	if (!list)
		memset(base, 0, t->size);
}

/* Open an object or a list; anything else has the wrong type. */
static int enter(struct walk *w, const struct decode_table *t, const struct decode_field *list,
		 char *base)
{
	enum json_type type;
	int ret;

	ret = json_peek(&w->r, &type);
	if (ret)
		return ret;
	if (type != (list ? JSON_ARRAY : JSON_OBJECT) || w->nr == FRAMES_MAX)
		return json_invalid_type(&w->r, list ? "a sequence" : t->name);
	ret = json_enter(&w->r);
	if (!ret)
		push(w, t, list, base);
	return ret;
}

static void mark_given(const struct decode_field *f, char *base)
{
	if (f->has != DECODE_NO_HAS && f->type != DECODE_ARRAY)
		*(bool *)(void *)(base + f->has) = true;
}

/* The value of a known field. */
static int read_field(struct walk *w, const struct decode_field *f, char *base)
{
	enum json_type type;
	int ret;

	if (f->need == DECODE_OPTION) {
		ret = json_peek(&w->r, &type);
		if (ret)
			return ret;
		if (type == JSON_NULL)
			return json_null(&w->r);
	}
	mark_given(f, base);
	if (f->type == DECODE_STRUCT_OR_PATH) {
		const struct decode_field path = { .type = DECODE_PATH, .size = f->size };

		ret = json_peek(&w->r, &type);
		if (ret || type == JSON_STRING)
			return ret ? ret :
				     decode_value(&w->r, &path, base + f->offset + f->table->size);
	}
	if (f->type == DECODE_STRUCT || f->type == DECODE_STRUCT_OR_PATH)
		return enter(w, f->table, NULL, base + f->offset);
	if (f->type == DECODE_LIST || f->type == DECODE_ARRAY)
		return enter(w, f->table, f, base + f->offset);
	return decode_value(&w->r, f, base + f->offset);
}

/* "unknown field `x`, expected ..." with all names there are. */
static int unknown_field(struct walk *w, const struct decode_table *t, const struct json_str *key)
{
	char quoted[JSON_QUOTE_MAX], names[512];
	size_t i, len = 0;

	json_str_quote(key, false, quoted);
	names[0] = '\0';
	for (i = 0; i < t->nr_fields; i++)
		len += text_print(names + len, sizeof(names) - len, "%s`%s`",
				  decode_name_separator(i, t->nr_fields), t->field[i].name);
	return json_fail_member(&w->r, "unknown field `%s`, expected %s", quoted, names);
}

/* The object's bracket is consumed: are all required fields there? */
static int finish_object(struct walk *w, const struct frame *f)
{
	size_t i;

	for (i = 0; i < f->table->nr_fields; i++) {
		const struct decode_field *field = &f->table->field[i];

		if (field->need == DECODE_REQUIRED && !(f->seen & 1u << i))
			return json_fail(&w->r, "missing field `%s`", field->name);
		if (field->need == DECODE_DEFAULT)
			mark_given(field, f->base);
	}
	return 0;
}

static int step_object(struct walk *w, struct frame *f)
{
	const struct decode_table *t = f->table;
	const struct decode_field *list;
	struct json_str key;
	bool more;
	size_t i;
	int ret;

	ret = json_object_next(&w->r, f->first, &key, &more);
	if (ret)
		return ret;
	f->first = false;
	if (!more) {
		w->nr--;
		ret = finish_object(w, f);
		list = w->nr ? w->frame[w->nr - 1].list : NULL;
		if (ret || !list || list->type != DECODE_LIST || !w->sink)
			return ret;
		return w->sink->fn(w->sink->ctx, list, f->base, w->e);
	}
	for (i = 0; i < t->nr_fields; i++)
		if (json_str_eq(&key, t->field[i].name))
			break;
	if (i == t->nr_fields) {
		if (!t->ignore_unknown)
			return unknown_field(w, t, &key);
		ret = json_colon(&w->r);
		return ret ? ret : json_skip(&w->r);
	}
	/* Which of two values would count is a matter of opinion, so neither does. */
	if (f->seen & 1u << i)
		return json_fail_member(&w->r, "duplicate field `%s`", t->field[i].name);
	f->seen |= 1u << i;
	ret = json_colon(&w->r);
	return ret ? ret : read_field(w, &t->field[i], f->base);
}

static int step_list(struct walk *w, struct frame *f)
{
	const struct decode_field *list = f->list;
	char *elem = f->base;
	bool more;
	int ret;

	ret = json_array_next(&w->r, f->first, &more);
	if (ret)
		return ret;
	f->first = false;
	if (!more) {
		w->nr--;
		return 0;
	}
	if (list->type == DECODE_ARRAY) {
		/* The count is a neighbour of the array, in the struct of the frame below. */
		size_t *nr = (size_t *)(void *)(w->frame[w->nr - 2].base + list->has);

		if (*nr == list->size / f->table->size)
			return json_fail(&w->r, "`%s`: more than %zu elements", list->name, *nr);
		elem += (*nr)++ * f->table->size;
	}
	if (f->table->bare)
		return decode_value(&w->r, f->table->field, elem);
	return enter(w, f->table, NULL, elem);
}

int decode_text(const struct decode_table *t, const char *text, size_t len, void *out,
		const struct decode_sink *sink, struct err *e)
{
	struct walk w = { .sink = sink, .e = e };
	int ret;

	json_init(&w.r, text, len, e);
	ret = enter(&w, t, NULL, out);
	while (!ret && w.nr) {
		struct frame *f = &w.frame[w.nr - 1];

		ret = f->list ? step_list(&w, f) : step_object(&w, f);
	}
	return ret ? ret : json_end(&w.r);
}

int decode_body(const struct decode_table *t, const char *body, size_t len, void *out,
		struct err *e)
{
	struct err cause;
	int ret;

	ret = decode_text(t, body, len, out, NULL, &cause);
	if (!ret)
		return 0;
	return err_set(e, 0, "An error occurred when deserializing the json body of a request: %s.",
		       cause.msg);
}

bool decode_machine_is_empty(const struct machine_update *u)
{
	return !u->has_vcpu_count && !u->has_mem_size_mib && !u->has_smt && !u->has_cpu_template &&
	       !u->has_track_dirty_pages && !u->has_huge_pages;
}
