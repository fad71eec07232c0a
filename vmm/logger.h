/* SPDX-License-Identifier: Apache-2.0 */
/*
 * logger.h - applies a logger configuration (command line, PUT /logger, config file) to the log.
 *
 * Owns the log's file. Loop thread, before the machine is built.
 */
#pragma once

#include "base/err.h"
#include "vmm/config.h"

/*
 * logger_apply - open log_path if given, then change what is given; a level that is not given
 * returns to Info, everything else stays. Can be repeated: the file before is closed. On error
 * nothing has changed. Errors: errno of open.
 */
int logger_apply(const struct logger_config *c, struct err *e);
