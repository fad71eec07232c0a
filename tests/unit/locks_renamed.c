/* SPDX-License-Identifier: Apache-2.0 */
/* locks_renamed.c - base/locks.c beside libc's; a file of its own, as callers must not see inside. */
#include "locks_renamed.h"

#include "base/locks.c"
