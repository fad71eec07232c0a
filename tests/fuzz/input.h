/* SPDX-License-Identifier: Apache-2.0 */
/*
 * input.h - a fuzzer's input as a supply of numbers, for targets that turn bytes into calls.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct input {
	const uint8_t *p;
	size_t len;
};

/* The next @n bytes, at most eight, as a number; those behind the end are zero. */
static inline uint64_t take(struct input *in, size_t n)
{
	uint64_t v = 0;

	for (size_t i = 0; i < n && in->len > 0; i++, in->p++, in->len--)
		v |= (uint64_t)*in->p << 8 * i;
	return v;
}
