/* SPDX-License-Identifier: Apache-2.0 */
/*
 * compile.c - mote-seccomp-compile: policy files in, filters out. README.md has syntax and format.
 *
 * Runs where mote is built, with libseccomp, nothing of which gets into mote.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/prctl.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "resources/seccomp/policy.h"
#include "vmm/sandbox_filter.h"

/* More than the kernel has calls, on any architecture. */
#define CALLS_MAX 512

/* In the order of their numbers in enum sandbox_step, which is how each is told from the others. */
static const char *const steps[SANDBOX_STEPS] = { "setup", "running", "vcpu" };

struct filter {
	struct sock_filter *insn;
	uint32_t nr;
};

static _Noreturn void fail(const char *what, int errnum)
{
	fprintf(stderr, "mote-seccomp-compile: %s: %s\n", what, strerror(errnum));
	exit(1);
}

static struct scmp_arg_cmp comparison(unsigned int arg, struct cond c)
{
	/*
	 * The arguments we look at are 32 bits wide in the kernel, which ignores the rest: so must
	 * the filter, or a request with bit 31, sign-extended by a libc, would not match.
	 */
	switch (c.op) {
	case COND_IN:
		return SCMP_CMP64(arg, SCMP_CMP_MASKED_EQ, (uint32_t)~c.value, 0);
	case COND_NOT:
		return SCMP_CMP64(arg, SCMP_CMP_MASKED_EQ, c.value, 0);
	case COND_LE:
		return SCMP_CMP64(arg, SCMP_CMP_LE, c.value);
	default:
		return SCMP_CMP64(arg, SCMP_CMP_MASKED_EQ, UINT32_MAX, c.value);
	}
}

static void add_rule(scmp_filter_ctx ctx, const struct rule *r)
{
	struct scmp_arg_cmp cmp[POLICY_ARGS];
	unsigned int nr = 0;
	int ret;

	for (unsigned int i = 0; i < POLICY_ARGS; i++)
		if (r->arg[i].op != COND_ANY)
			cmp[nr++] = comparison(i, r->arg[i]);
	/* libseccomp wants the number that the call has here, also for another architecture. */
	ret = seccomp_rule_add_exact_array(ctx, SCMP_ACT_ALLOW,
					   seccomp_syscall_resolve_name(r->call), nr, cmp);
	if (ret)
		fail(r->call, -ret);
}

/* A call that is answered with a number of this step's own: how mote reads back where it is. */
static void add_answer(scmp_filter_ctx ctx, unsigned int step)
{
	int ret = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(SANDBOX_ANSWER + step), SCMP_SYS(prctl), 1,
				   SCMP_A0(SCMP_CMP_MASKED_EQ, UINT32_MAX, PR_GET_SECCOMP));

	if (ret)
		fail("prctl", -ret);
}

/*
 * libseccomp compares 64 bits, the upper ones after an "and" with 0: three instructions (load, and,
 * jump if 0) that say nothing. They are a fifth of a filter, which is time at every start of mote.
 */
static bool says_nothing(const struct filter *f, uint32_t i)
{
	const struct sock_filter *s = &f->insn[i];

	return i + 3 < f->nr && s[0].code == (BPF_LD | BPF_W | BPF_ABS) &&
	       s[1].code == (BPF_ALU | BPF_AND | BPF_K) && s[1].k == 0 &&
	       s[2].code == (BPF_JMP | BPF_JEQ | BPF_K) && s[2].k == 0 && s[2].jt == 0 &&
	       s[3].code == (BPF_LD | BPF_W | BPF_ABS); /* nobody wants what was loaded */
}

static void shorten(struct filter *f)
{
	uint32_t *to = calloc(f->nr + 1, sizeof(*to)), nr = 0, i;

	if (!to)
		fail("filters", ENOMEM);
	for (i = 0; i < f->nr;) {
		if (says_nothing(f, i)) {
			to[i] = to[i + 1] = to[i + 2] = nr;
			i += 3;
		} else {
			to[i++] = nr++;
		}
	}
	for (i = 0; i < f->nr;) {
		struct sock_filter s = f->insn[i];

		if (says_nothing(f, i)) {
			i += 3;
			continue;
		}
		if (BPF_CLASS(s.code) == BPF_JMP && BPF_OP(s.code) == BPF_JA) {
			s.k = to[i + 1 + s.k] - to[i] - 1;
		} else if (BPF_CLASS(s.code) == BPF_JMP) {
			s.jt = (uint8_t)(to[i + 1 + s.jt] - to[i] - 1);
			s.jf = (uint8_t)(to[i + 1 + s.jf] - to[i] - 1);
		}
		f->insn[to[i++]] = s;
	}
	f->nr = nr;
	free(to);
}

static struct filter compile(const struct policy *p, uint32_t arch, unsigned int step)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_TRAP);
	int fd = memfd_create("bpf", MFD_CLOEXEC), ret = ctx ? 0 : -ENOMEM;
	struct filter f;
	off_t len;

	/* Calls of another architecture, x32 included, end as forbidden ones do. */
	if (!ret)
		ret = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_TRAP);
	if (!ret)
		ret = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (!ret && arch != seccomp_arch_native()) {
		ret = seccomp_arch_add(ctx, arch);
		if (!ret)
			ret = seccomp_arch_remove(ctx, SCMP_ARCH_NATIVE);
	}
	if (ret)
		fail(p->path, -ret);
	for (size_t i = 0; i < p->nr_rules; i++)
		add_rule(ctx, &p->rule[i]);
	add_answer(ctx, step);
	ret = seccomp_export_bpf(ctx, fd);
	len = ret ? 0 : lseek(fd, 0, SEEK_END);
	f.nr = (uint32_t)((size_t)len / sizeof(*f.insn));
	f.insn = malloc((size_t)len);
	if (ret || !f.nr || f.nr > BPF_MAXINSNS || !f.insn ||
	    pread(fd, f.insn, (size_t)len, 0) != len)
		fail(p->path, ret ? -ret : EFBIG);
	close(fd);
	seccomp_release(ctx);
	shorten(&f);
	return f;
}

/* Filters add up: what the first one forbids no later one can allow. */
static void check_steps(struct policy *const p[SANDBOX_STEPS])
{
	for (unsigned int step = 1; step < SANDBOX_STEPS; step++) {
		for (size_t i = 0; i < p[step]->nr_rules; i++) {
			const struct rule *r = &p[step]->rule[i];
			size_t j = 0;

			while (j < p[0]->nr_rules && !rule_covers(&p[0]->rule[j], r))
				j++;
			if (j < p[0]->nr_rules)
				continue;
			fprintf(stderr, "%s:%u: %s does not allow this, so %s cannot\n",
				p[step]->path, r->line, p[0]->path, steps[step]);
			exit(1);
		}
	}
}

/* The whole in the format of vmm/sandbox_filter.h. */
static unsigned char *pack(const struct filter f[SANDBOX_STEPS], uint32_t audit_arch, size_t *len)
{
	struct sandbox_file head = { SANDBOX_MAGIC, audit_arch, SANDBOX_STEPS };
	unsigned char *out, *at;

	*len = sizeof(head);
	for (unsigned int i = 0; i < SANDBOX_STEPS; i++)
		*len += sizeof(struct sandbox_category) + f[i].nr * sizeof(struct sock_filter);
	out = at = malloc(*len);
	if (!out)
		fail("filters", ENOMEM);
	at = mempcpy(at, &head, sizeof(head));
	for (unsigned int i = 0; i < SANDBOX_STEPS; i++) {
		struct sandbox_category c = { .nr = f[i].nr };

		memcpy(c.name, steps[i], strlen(steps[i]));
		at = mempcpy(at, &c, sizeof(c));
		at = mempcpy(at, f[i].insn, f[i].nr * sizeof(struct sock_filter));
	}
	return out;
}

static void write_file(const char *path, const unsigned char *data, size_t len)
{
	FILE *f = fopen(path, "we");

	if (!f || fwrite(data, len, 1, f) != 1 || fclose(f))
		fail(path, errno);
}

/* What is built into mote: the filters, and the names of all calls, one after the other. */
static void write_c(const char *path, const unsigned char *data, size_t len, uint32_t arch)
{
	FILE *f = fopen(path, "we");
	int nr, last = 0;

	if (!f)
		fail(path, errno);
	fprintf(f, "/* Made by mote-seccomp-compile from resources/seccomp. */\n"
		   "#include \"vmm/sandbox_filter.h\"\n\n"
		   "_Alignas(8) unsigned char sandbox_builtin[] = {");
	for (size_t i = 0; i < len; i++)
		fprintf(f, "%s%u,", i % 24 ? "" : "\n", data[i]);
	fprintf(f, "\n};\nconst size_t sandbox_builtin_len = sizeof(sandbox_builtin);\n"
		   "const char sandbox_call_names[] =");
	for (nr = 0; nr < CALLS_MAX; nr++) {
		char *name = seccomp_syscall_resolve_num_arch(arch, nr);

		if (!name)
			continue;
		for (; last < nr; last++)
			fprintf(f, "\n\t\"\\0\"");
		fprintf(f, " \"%s\"", name);
		free(name);
	}
	fprintf(f, ";\nconst unsigned int sandbox_nr_call_names = %d;\n", last + 1);
	if (ferror(f) || fclose(f))
		fail(path, errno);
}

static _Noreturn void usage(void)
{
	fprintf(stderr,
		"usage: mote-seccomp-compile [--arch x86_64|aarch64] [--output FILE] [--c FILE] "
		"[--count]\n"
		"                            setup.POLICY running.POLICY vcpu.POLICY\n"
		"  --output FILE  filters for mote --seccomp-filter FILE\n"
		"  --c FILE       the same as C source\n"
		"  --count        print how many calls each step allows, and instructions\n"
		"Each policy's name begins with that of its step.\n");
	exit(2);
}

int main(int argc, char **argv)
{
	const char *arch_name = NULL, *output = NULL, *c_file = NULL;
	struct policy *policy[SANDBOX_STEPS] = { NULL };
	struct filter filter[SANDBOX_STEPS];
	unsigned char *data;
	bool count = false;
	uint32_t arch;
	size_t len;
	int i;

	for (i = 1; i < argc && !strncmp(argv[i], "--", 2); i++) {
		if (!strcmp(argv[i], "--count"))
			count = true;
		else if (!strcmp(argv[i], "--arch") && i + 1 < argc)
			arch_name = argv[++i];
		else if (!strcmp(argv[i], "--output") && i + 1 < argc)
			output = argv[++i];
		else if (!strcmp(argv[i], "--c") && i + 1 < argc)
			c_file = argv[++i];
		else
			usage();
	}
	arch = arch_name ? seccomp_arch_resolve_name(arch_name) : seccomp_arch_native();
	if (!arch || argc - i != SANDBOX_STEPS)
		usage();
	for (; i < argc; i++) {
		struct policy *p = policy_read(argv[i], arch);
		unsigned int step = 0;

		while (step < SANDBOX_STEPS && strcmp(steps[step], p->name) != 0)
			step++;
		if (step == SANDBOX_STEPS || policy[step])
			usage();
		policy[step] = p;
	}
	check_steps(policy);
	for (unsigned int step = 0; step < SANDBOX_STEPS; step++) {
		filter[step] = compile(policy[step], arch, step);
		if (count)
			printf("%s %u calls %u instructions\n", steps[step],
			       policy_nr_calls(policy[step]), filter[step].nr);
	}
	data = pack(filter, arch, &len);
	if (output)
		write_file(output, data, len);
	if (c_file)
		write_c(c_file, data, len, arch);
	return 0;
}
