/* SPDX-License-Identifier: Apache-2.0 */
/*
 * landlock.h - the file system, TCP, abstract sockets and signals, given up for good when the guest
 * starts.
 *
 * Loop thread, before there are vCPU threads: a thread inherits what its maker gave up. Landlock
 * acts on what is opened, made or called from then on; files that are open stay what they are.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "vmm/config.h"

enum landlock_level {
	LANDLOCK_OFF,
	LANDLOCK_ACTIONS, /* files may be opened, nothing else done with a path */
	LANDLOCK_FILES,	  /* and of files only the drives of the configuration */
};

/*
 * landlock_enter - give up what @level says, as far as this kernel knows it, for this thread and
 * all that it makes. @c was built into a machine: its drives are open. @api_sock: NULL without one.
 *
 * SHOULD leave: opening files to read and write (with LANDLOCK_FILES only the drives of @c, those
 * that are read-only only to read), removing files in the directory of @api_sock, connecting to
 * sockets that have a path, signals to this process.
 * MUST NOT leave: executing; making, linking or renaming anything, removing elsewhere; listing
 * directories; cutting files; TCP (ABI 4); ioctl on devices opened from now on (ABI 5); abstract
 * sockets and signals outside (ABI 6). Also not no_new_privs unset.
 *
 * Without Landlock in the kernel this succeeds with a line in the log: of level debug, or a warning
 * for LANDLOCK_FILES, which somebody asked for. Errors: errno of the system calls; EPERM also when
 * reading back shows that nothing happened.
 */
int landlock_enter(enum landlock_level level, const struct config *c, const char *api_sock,
		   struct err *e);

/*
 * landlock_entered - the level that is in force: LANDLOCK_OFF also when the kernel knows none. What
 * a start needs cannot be opened any more unless it is LANDLOCK_OFF.
 */
enum landlock_level landlock_entered(void);
