/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_bzimage.c - kernel_load with an arbitrary bzImage; see boot_fuzz_x86.h.
 */
#include <stddef.h>

#include "boot_fuzz_x86.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_kernel(data, size);
	return 0;
}
