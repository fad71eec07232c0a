/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_openapi.c - api-socket/openapi.yaml says what the route and field tables say, and no more.
 *
 * Reads the file by its indentation (the layout is promised at its top); runs from the project's
 * root.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "api-socket/routes.h"

#define LINES_MAX 1024

static char line[LINES_MAX][256];
static size_t nr_lines;

static void load(void)
{
	FILE *f = fopen("api-socket/openapi.yaml", "r");

	cr_assert(f, "run the tests from the project's root");
	nr_lines = 0;
	while (fgets(line[nr_lines], sizeof(line[0]), f)) {
		line[nr_lines][strcspn(line[nr_lines], "\n")] = '\0';
		cr_assert(++nr_lines < LINES_MAX);
	}
	fclose(f);
}

TestSuite(openapi, .init = load);

static size_t indent(size_t i)
{
	return strspn(line[i], " ");
}

/* The first line after a block that begins at @i. */
static size_t block_end(size_t i)
{
	size_t end = i + 1;

	while (end < nr_lines && indent(end) > indent(i))
		end++;
	return end;
}

/* The line "key:" one level below @parent, or 0. */
static size_t child(size_t parent, const char *key)
{
	const size_t end = block_end(parent), len = strlen(key);

	for (size_t i = parent + 1; i < end; i++) {
		const char *text = line[i] + indent(i);

		if (indent(i) == indent(parent) + 2 && !strncmp(text, key, len) && text[len] == ':')
			return i;
	}
	return 0;
}

static size_t top(const char *key)
{
	for (size_t i = 0; i < nr_lines; i++)
		if (!strncmp(line[i], key, strlen(key)) && !strcmp(line[i] + strlen(key), ":"))
			return i;
	cr_assert_fail("no %s", key);
	return 0;
}

/* Follow "$ref: '#/components/schemas/NAME'" somewhere in the block at @i. */
static size_t schema_of(size_t i)
{
	static const char mark[] = "$ref: '#/components/schemas/";
	const size_t end = block_end(i);

	for (; i < end; i++) {
		char *at = strstr(line[i], mark);
		char name[64];

		if (!at)
			continue;
		snprintf(name, sizeof(name), "%s", at + sizeof(mark) - 1);
		name[strcspn(name, "'")] = '\0';
		i = child(child(top("components"), "schemas"), name);
		cr_assert(i, "schema %s is missing", name);
		return i;
	}
	return 0;
}

/* Whether @word stands in the list "[a, b]" of line @i. */
static bool lists(size_t i, const char *word)
{
	const char *at = strchr(line[i], '[');

	while (at && *at && *at != ']') {
		size_t len;

		at += 1 + strspn(at + 1, " ");
		len = strcspn(at, ",]");
		if (len == strlen(word) && !strncmp(at, word, len))
			return true;
		at += len;
	}
	return false;
}

static size_t list_length(size_t i)
{
	const char *at = strchr(line[i], '[');
	size_t n = at && at[1] != ']';

	for (; at && *at; at++)
		n += *at == ',';
	return n;
}

static void check_field(size_t schema, const struct decode_field *f);

static void check_table(size_t schema, const struct decode_table *t)
{
	const size_t properties = child(schema, "properties"), required = child(schema, "required");
	size_t nr_properties = 0, nr_required = 0;

	cr_assert(properties, "%s", line[schema]);
	for (size_t i = properties + 1; i < block_end(properties); i++)
		nr_properties += indent(i) == indent(properties) + 2;
	cr_assert(nr_properties == t->nr_fields, "%s: %zu properties, %s has %zu fields",
		  line[schema], nr_properties, t->name, t->nr_fields);
	for (size_t i = 0; i < t->nr_fields; i++) {
		const struct decode_field *f = &t->field[i];

		check_field(schema, f);
		cr_assert((required && lists(required, f->name)) == (f->need == DECODE_REQUIRED),
			  "%s %s", t->name, f->name);
		nr_required += f->need == DECODE_REQUIRED;
	}
	cr_assert((required ? list_length(required) : 0) == nr_required, "%s", line[schema]);
	cr_assert(!child(schema, "additionalProperties") == t->ignore_unknown, "%s", t->name);
}

static void check_field(size_t schema, const struct decode_field *f)
{
	const size_t property = child(child(schema, "properties"), f->name);
	size_t type, choice;

	cr_assert(property, "%s: no property %s", line[schema], f->name);
	if (f->type == DECODE_STRUCT) {
		check_table(schema_of(property), f->table);
		return;
	}
	type = child(property, "type");
	choice = child(property, "enum");
	cr_assert(type, "%s", f->name);
	switch (f->type) {
	case DECODE_BOOL:
		cr_assert(strstr(line[type], ": boolean"), "%s", f->name);
		break;
	case DECODE_U8:
	case DECODE_U16:
	case DECODE_U32:
	case DECODE_U64:
	case DECODE_USIZE:
		cr_assert(strstr(line[type], ": integer"), "%s", f->name);
		break;
	case DECODE_STRMAP:
		cr_assert(strstr(line[type], ": object"), "%s", f->name);
		break;
	case DECODE_ARRAY:
		if (!f->table->bare)
			check_table(schema_of(property), f->table);
		/* fall through */
	case DECODE_ABSENT:
		cr_assert(strstr(line[type], ": array"), "%s", f->name);
		break;
	default:
		cr_assert(strstr(line[type], ": string"), "%s", f->name);
	}
	cr_assert(!child(property, "nullable") == (f->need != DECODE_OPTION), "%s", f->name);
	/* which CPU templates there are hangs on the architecture, so no list of them is given */
	if (f->type != DECODE_ENUM || !strcmp(f->name, "cpu_template"))
		return;
	cr_assert(choice, "%s: no enum", f->name);
	for (const struct config_name *n = f->names; n->name[0]; n++)
		cr_assert(lists(choice, n->name), "%s: %s", f->name, n->name);
}

static size_t path_line(const struct route *r)
{
	const size_t paths = top("paths");
	char key[128];

	snprintf(key, sizeof(key), "/%s%s", r->path, r->has_id ? "/{" : "");
	for (size_t i = paths + 1; i < block_end(paths); i++) {
		const size_t len = strlen(key);

		if (indent(i) == 2 && !strncmp(line[i] + 2, key, len) &&
		    (r->has_id || line[i][2 + len] == ':'))
			return i;
	}
	return 0;
}

static const char *const method_key[] = { "get", "put", "patch", "delete" };

Test(openapi, every_route_is_described)
{
	for (size_t i = 0; i < nr_routes; i++) {
		const struct route *r = &routes[i];

		for (unsigned int m = 0; r->fn && m < 4; m++) {
			size_t method, body;

			if (!(r->methods & (1u << m)))
				continue;
			cr_assert(path_line(r), "%s is missing", r->path);
			method = child(path_line(r), method_key[m]);
			cr_assert(method, "%s %s is missing", method_key[m], r->path);
			body = child(method, "requestBody");
			cr_assert(!body == !r->body, "%s %s", method_key[m], r->path);
			if (body)
				check_table(schema_of(body), r->body);
			cr_assert(child(child(method, "responses"), r->body ? "'204'" : "'200'"));
		}
	}
}

Test(openapi, nothing_else_is_described)
{
	const size_t paths = top("paths");
	size_t described = 0, handled = 0;

	for (size_t i = paths + 1; i < block_end(paths); i++)
		if (indent(i) == 4)
			described++;
	for (size_t i = 0; i < nr_routes; i++)
		if (routes[i].fn)
			handled += (size_t)__builtin_popcount(routes[i].methods);
	cr_assert(described == handled, "%zu methods described, %zu handled", described, handled);
}
