/* SPDX-License-Identifier: Apache-2.0 */
/*
 * logger.c - see logger.h. Loop thread.
 */
#include "vmm/logger.h"

#include <fcntl.h>

#include "base/fd.h"
#include "base/log.h"

static int file_fd = -1;
static bool show_level, show_origin;

int logger_apply(const struct logger_config *c, struct err *e)
{
	int fd;

	if (c->has_log_path) {
		/*
		 * Appending, also when others write to the same file, or we did before: a restart
		 * must not write over the lines that say why it was needed.
		 */
		fd = fd_open_output(c->log_path, O_APPEND, "Failed to open target file", e);
		if (fd < 0)
			return fd;
		log_set_fd(fd);
		fd_close(&file_fd);
		file_fd = fd;
	}
	log_set_level(c->has_level ? (enum log_level)c->level : LOG_INFO);
	if (c->has_show_level)
		show_level = c->show_level;
	if (c->has_show_log_origin)
		show_origin = c->show_log_origin;
	log_set_format(show_level, show_origin);
	if (c->has_module)
		log_set_module(c->module);
	return 0;
}
