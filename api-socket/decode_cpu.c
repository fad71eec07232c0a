/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decode_cpu.c - the CPU templates of clients: their tables, and numbers and bitmaps in strings.
 *
 * Numbers stand in strings because JSON has no hexadecimal ones. Loop thread.
 */
#include <string.h>

#include "api-socket/decode_value.h"

/* The longest: 0b, 64 digits, a separator before each. */
#define TEXT_MAX 160

/* Digits of one base, at least one, up to the end; false also beyond 32 bits. */
static bool parse_number(const char *s, uint32_t *out)
{
	uint64_t v = 0;
	unsigned int base = 10;

	if (s[0] == '0' && (s[1] == 'x' || s[1] == 'b')) {
		base = s[1] == 'x' ? 16 : 2;
		s += 2;
	}
	if (!*s)
		return false;
	for (; *s; s++) {
		unsigned int c = (unsigned char)*s, digit = c - '0';

		if (c > '9')
			digit = (c | 0x20) >= 'a' ? (c | 0x20) - 'a' + 10 : base;
		v = v * base + digit;
		if (digit >= base || v > UINT32_MAX)
			return false;
	}
	*out = (uint32_t)v;
	return true;
}

/* Bits from the top; those that a short text does not reach stay as they are. */
static bool parse_bits(const char *s, size_t width, struct bits_edit *out)
{
	size_t n = 0;

	*out = (struct bits_edit){ 0 };
	if (s[0] != '0' || s[1] != 'b')
		return false;
	for (s += 2; *s; s++) {
		if (*s == '_')
			continue;
		if (!strchr("01x", *s) || n++ == width)
			return false;
		out->clear = out->clear << 1 | (*s != 'x');
		out->set = out->set << 1 | (*s == '1');
	}
	return n > 0;
}

int decode_cpu_value(struct json_reader *r, const struct decode_field *f, void *out)
{
	struct cap_modifier *modifier = out;
	char text[TEXT_MAX], quoted[JSON_QUOTE_MAX];
	struct json_str s;
	size_t len;
	bool good;
	int ret = decode_expect_string(r, "a string", &s);

	if (ret)
		return ret;
	len = json_str_copy(&s, text, sizeof(text));
	good = len < sizeof(text) && strlen(text) == len;
	json_str_quote(&s, false, quoted);
	if (f->type == DECODE_BITS) {
		if (good && parse_bits(text, f->size, out))
			return 0;
		return json_fail(r, "`%s` is not a bitmap: 0b, then up to %u of 0, 1, x", quoted,
				 f->size);
	}
	if (f->type == DECODE_NUMBER) {
		good = good && parse_number(text, out);
	} else {
		modifier->removed = text[0] == '!';
		good = good && parse_number(text + modifier->removed, &modifier->nr);
	}
	return good ? 0 : json_fail(r, "`%s` is not a number of 32 bits", quoted);
}

/* One row stays one row: */
/* clang-format off */
/* NOLINTBEGIN(bugprone-macro-parentheses): initialisers, with names and braces in them */
#define ROW(s, n, t, need, m) { n, t, need, offsetof(s, m), 0, DECODE_NO_HAS, { 0 } }
#define BITS(s, width) \
	{ "bitmap", DECODE_BITS, DECODE_REQUIRED, offsetof(s, bits), width, DECODE_NO_HAS, { 0 } }
#define ARRAY(s, n, need, m, nr, tab) \
	{ n, DECODE_ARRAY, need, offsetof(s, m), sizeof(((s *)0)->m), offsetof(s, nr), \
	  { .table = tab } }
#define ABSENT(n) \
	{ n, DECODE_ABSENT, DECODE_OPTION, 0, 0, DECODE_NO_HAS, { .refusal = "for aarch64 only" } }
#define TABLE(title, s, fields, is_bare) \
	{ title, fields, sizeof(s), sizeof(fields) / sizeof((fields)[0]), false, is_bare }
/* NOLINTEND(bugprone-macro-parentheses) */
/* clang-format on */

static const struct config_name regs[] = {
	{ "eax", 0 }, { "ebx", 1 }, { "ecx", 2 }, { "edx", 3 }, { "", 0 },
};

#define REG struct cpuid_reg_modifier
static const struct decode_field reg_fields[] = {
	{ "register",
	  DECODE_ENUM,
	  DECODE_REQUIRED,
	  offsetof(REG, reg),
	  1,
	  DECODE_NO_HAS,
	  { .names = regs } },
	BITS(REG, 32),
};
static const struct decode_table reg =
	TABLE("struct CpuidRegisterModifier", REG, reg_fields, false);

#define LEAF struct cpuid_modifier
static const struct decode_field leaf_fields[] = {
	ROW(LEAF, "leaf", DECODE_NUMBER, DECODE_REQUIRED, leaf),
	ROW(LEAF, "subleaf", DECODE_NUMBER, DECODE_REQUIRED, index),
	ROW(LEAF, "flags", DECODE_U32, DECODE_REQUIRED, flags),
	ARRAY(LEAF, "modifiers", DECODE_REQUIRED, reg, nr_regs, &reg),
};
static const struct decode_table leaf = TABLE("struct CpuidLeafModifier", LEAF, leaf_fields, false);

#define MSR struct msr_modifier
static const struct decode_field msr_fields[] = {
	ROW(MSR, "addr", DECODE_NUMBER, DECODE_REQUIRED, index),
	BITS(MSR, 64),
};
static const struct decode_table msr = TABLE("struct RegisterModifier", MSR, msr_fields, false);

static const struct decode_field cap_fields[] = {
	{ "", DECODE_CAP, DECODE_REQUIRED, 0, 0, DECODE_NO_HAS, { 0 } },
};
static const struct decode_table cap = TABLE("a string", struct cap_modifier, cap_fields, true);

#define CPU struct cpu_config
static const struct decode_field cpu_fields[] = {
	ARRAY(CPU, "kvm_capabilities", DECODE_DEFAULT, cap, nr_caps, &cap),
	ARRAY(CPU, "cpuid_modifiers", DECODE_DEFAULT, cpuid, nr_cpuid, &leaf),
	ARRAY(CPU, "msr_modifiers", DECODE_DEFAULT, msr, nr_msrs, &msr),
	ABSENT("reg_modifiers"),
	ABSENT("vcpu_features"),
};
const struct decode_table decode_cpu_config =
	TABLE("struct CustomCpuTemplate", CPU, cpu_fields, false);
