/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy.c - reads policy files; see policy.h and README.md.
 */
#include "resources/seccomp/policy.h"

#include <ctype.h>
#include <seccomp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A set has few members, and a line few sets: more belongs into lines of its own. */
#define SET_MAX 16

struct reader {
	struct policy *p;
	uint32_t arch;
	unsigned int line;
	const char *s; /* what is left of the line */
};

static _Noreturn void bad(const struct reader *r, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s:%u: ", r->p->path, r->line);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

static void blanks(struct reader *r)
{
	while (*r->s == ' ' || *r->s == '\t')
		r->s++;
}

static bool eat(struct reader *r, char c)
{
	blanks(r);
	if (*r->s != c)
		return false;
	r->s++;
	return true;
}

static size_t word(struct reader *r)
{
	size_t len = 0;

	blanks(r);
	while (isalnum((unsigned char)r->s[len]) || r->s[len] == '_')
		len++;
	return len;
}

static bool keyword(struct reader *r, const char *text)
{
	size_t len = word(r);

	if (len != strlen(text) || strncmp(r->s, text, len) != 0)
		return false;
	r->s += len;
	return true;
}

/* NAME|NAME|0x10 */
static uint32_t value(struct reader *r)
{
	uint32_t bits = 0;

	do {
		size_t len = word(r);
		uint32_t v = 0;
		char *end;

		if (len && isdigit((unsigned char)*r->s)) {
			v = (uint32_t)strtoul(r->s, &end, 0);
			if (end != r->s + len)
				bad(r, "'%.*s' is no number", (int)len, r->s);
		} else if (!policy_constant(r->s, len, &v)) {
			bad(r, "unknown constant '%.*s'; constants.c lists those there are",
			    (int)len, r->s);
		}
		bits |= v;
		r->s += len;
	} while (eat(r, '|'));
	return bits;
}

/* The alternatives that one argument may be; how many. */
static size_t condition(struct reader *r, struct cond c[SET_MAX])
{
	size_t nr = 0;

	if (eat(r, '{')) {
		do {
			if (nr == SET_MAX)
				bad(r, "more than %d members; use another line", SET_MAX);
			c[nr++] = (struct cond){ COND_EQ, value(r) };
		} while (eat(r, ','));
		if (!eat(r, '}'))
			bad(r, "a set ends in '}'");
		return nr;
	}
	if (keyword(r, "_"))
		c[0] = (struct cond){ COND_ANY, 0 };
	else if (keyword(r, "in"))
		c[0] = (struct cond){ COND_IN, value(r) };
	else if (keyword(r, "not"))
		c[0] = (struct cond){ COND_NOT, value(r) };
	else if (eat(r, '<') && eat(r, '='))
		c[0] = (struct cond){ COND_LE, value(r) };
	else
		c[0] = (struct cond){ COND_EQ, value(r) };
	return 1;
}

static bool cond_covers(struct cond a, struct cond b)
{
	switch (a.op) {
	case COND_ANY:
		return true;
	case COND_EQ:
		return b.op == COND_EQ && a.value == b.value;
	case COND_IN:
		return (b.op == COND_EQ || b.op == COND_IN) && !(b.value & ~a.value);
	case COND_NOT:
		return ((b.op == COND_EQ || b.op == COND_IN) && !(b.value & a.value)) ||
		       (b.op == COND_NOT && !(a.value & ~b.value));
	case COND_LE:
		return b.op == COND_LE && b.value <= a.value;
	}
	return false;
}

bool rule_covers(const struct rule *a, const struct rule *b)
{
	if (a->nr != b->nr)
		return false;
	for (size_t i = 0; i < POLICY_ARGS; i++)
		if (!cond_covers(a->arg[i], b->arg[i]))
			return false;
	return true;
}

static void add_rule(struct reader *r, const struct rule *rule)
{
	struct policy *p = r->p;

	for (size_t i = 0; i < p->nr_rules; i++) {
		const struct rule *other = &p->rule[i];

		if (rule_covers(other, rule))
			bad(r, "redundant: line %u allows this already", other->line);
		if (rule_covers(rule, other))
			bad(r, "makes line %u redundant", other->line);
	}
	if (p->nr_rules == POLICY_RULES_MAX)
		bad(r, "more than %d rules", POLICY_RULES_MAX);
	p->rule[p->nr_rules++] = *rule;
}

/* Every combination of the alternatives is a rule. */
static void add_rules(struct reader *r, struct rule *rule, struct cond c[][SET_MAX],
		      const size_t nr[POLICY_ARGS])
{
	size_t pick[POLICY_ARGS] = { 0 }, i;

	do {
		for (i = 0; i < POLICY_ARGS; i++)
			rule->arg[i] = c[i][pick[i]];
		add_rule(r, rule);
		for (i = 0; i < POLICY_ARGS && ++pick[i] == nr[i]; i++)
			pick[i] = 0;
	} while (i < POLICY_ARGS);
}

static void read_call(struct reader *r)
{
	struct cond c[POLICY_ARGS][SET_MAX] = { 0 };
	size_t nr[POLICY_ARGS] = { 1, 1, 1, 1, 1, 1 }, len = word(r), i = 0;
	struct rule rule = { .line = r->line, .call = strndup(r->s, len) };

	rule.nr = seccomp_syscall_resolve_name_arch(r->arch, rule.call);
	if (!len || rule.nr < 0)
		bad(r, "'%s' is no system call of this architecture", rule.call);
	r->s += len;
	if (eat(r, '(')) {
		do {
			if (i == POLICY_ARGS)
				bad(r, "a call has at most %d arguments", POLICY_ARGS);
			nr[i] = condition(r, c[i]);
			i++;
		} while (eat(r, ','));
		if (!eat(r, ')'))
			bad(r, "expected ',' or ')' at '%s'", r->s);
	}
	if (!eat(r, '#') || (blanks(r), !*r->s || *r->s == '\n'))
		bad(r, "what is %s needed for? '# REASON' ends a line", rule.call);
	add_rules(r, &rule, c, nr);
}

static void read_line(struct reader *r)
{
	blanks(r);
	if (!*r->s || *r->s == '\n' || *r->s == '#')
		return;
	if (keyword(r, "limit")) {
		r->p->limit = value(r);
		return;
	}
	read_call(r);
}

struct policy *policy_read(const char *path, uint32_t arch)
{
	struct policy *p = calloc(1, sizeof(*p));
	struct reader r = { .p = p, .arch = arch };
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	FILE *f = fopen(path, "re");
	char line[1024];

	if (!f || !p) {
		perror(path);
		exit(1);
	}
	p->path = path;
	snprintf(p->name, sizeof(p->name), "%.*s", (int)strcspn(name, "."), name);
	while (fgets(line, sizeof(line), f)) {
		r.line++;
		r.s = line;
		read_line(&r);
	}
	fclose(f);
	if (p->limit && policy_nr_calls(p) > p->limit)
		bad(&r, "allows %u calls, %u are the limit", policy_nr_calls(p), p->limit);
	return p;
}

unsigned int policy_nr_calls(const struct policy *p)
{
	unsigned int nr = 0;

	for (size_t i = 0; i < p->nr_rules; i++) {
		size_t before = 0;

		while (before < i && p->rule[before].nr != p->rule[i].nr)
			before++;
		nr += before == i;
	}
	return nr;
}
