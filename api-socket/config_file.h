/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_file.h - --config-file: the whole VM from one JSON document.
 *
 * Sections are those of the API; each is decoded by the same tables and passes the same config_*
 * functions as a request. Sections that mote does not have may be null, absent or empty; unknown
 * ones are ignored. Main thread, before the event loop runs.
 */
#pragma once

#include <stddef.h>

#include "api-socket/decode.h"
#include "base/err.h"
#include "vmm/config.h"

/* Largest config file: 17 devices with the longest paths fit several times. */
#define CONFIG_FILE_MAX (1024L * 1024)

/* The document's sections; for tests that compare tables with the API's description. */
extern const struct decode_table decode_config_file;

/*
 * config_file_load - read the file at @path (a pipe is fine) and apply it to @c, which was just
 * initialised. c->logger and c->metrics are filled (has_logger, has_metrics), not acted upon.
 * On error @c holds what was applied before the fault; the caller exits. Errors: errno of
 * open/read, EFBIG, EINVAL with line and column.
 */
int config_file_load(struct config *c, const char *path, struct err *e);

/* config_file_apply - the same from memory; @len bytes at @text. For tests and snapshots. */
int config_file_apply(struct config *c, const char *text, size_t len, struct err *e);
