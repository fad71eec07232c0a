/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decode_value.h - what decode.c and decode_value.c share; nobody else includes it. Loop thread.
 */
#pragma once

#include <stddef.h>

#include "api-socket/decode.h"
#include "base/json.h"

/*
 * decode_value - read one value that is neither an object nor a list of objects into @out, where
 * @f->type says what it is. 0 or -EINVAL.
 */
int decode_value(struct json_reader *r, const struct decode_field *f, void *out);

/* decode_cpu_value - the same for DECODE_NUMBER, _BITS and _CAP. */
int decode_cpu_value(struct json_reader *r, const struct decode_field *f, void *out);

/* decode_expect_string - consume a string; anything else is not @expected. 0 or -EINVAL. */
int decode_expect_string(struct json_reader *r, const char *expected, struct json_str *s);

/*
 * decode_name_separator - what stands before name @i of @nr in "`a`", "`a` or `b`",
 * "one of `a`, `b`, `c`".
 */
const char *decode_name_separator(size_t i, size_t nr);
