/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmdline.h - the kernel command line in a fixed buffer.
 *
 * What mote appends goes before a word "--": the kernel hands everything after it to init
 * (kernel/params.c), and init must see exactly what the operator wrote. Loop thread, build time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Bytes with the terminating NUL: x86 kernels' COMMAND_LINE_SIZE. */
#define CMDLINE_MAX 2048

/* Used when the operator gives no boot_args (an empty string is respected as empty). */
extern const char cmdline_default[];

struct cmdline {
	char text[CMDLINE_MAX]; /* always NUL-terminated */
	size_t len;		/* without the NUL */
	size_t insert;		/* where additions go: the end, or in front of " --" */
};

/*
 * cmdline_init - start from the operator's text, or from cmdline_default when @args is NULL.
 * Errors: EINVAL when a byte is not printable ASCII (its position is named), E2BIG when it is too
 * long. @e may be NULL to just ask whether the text is acceptable.
 */
int cmdline_init(struct cmdline *c, const char *args, struct err *e);

/* cmdline_add - append a word, separated by a space. Errors as cmdline_init; then unchanged. */
int cmdline_add(struct cmdline *c, const char *word, struct err *e);

/* cmdline_add_root - root=/dev/vda, or root=PARTUUID=... unless @partuuid is NULL; and ro or rw. */
int cmdline_add_root(struct cmdline *c, const char *partuuid, bool read_only, struct err *e);

/* cmdline_add_virtio_mmio - virtio_mmio.device=4K@0x<addr>:<gsi>, for kernels without ACPI. */
int cmdline_add_virtio_mmio(struct cmdline *c, uint64_t addr, unsigned int gsi, struct err *e);
