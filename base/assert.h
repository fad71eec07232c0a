/* SPDX-License-Identifier: Apache-2.0 */
/*
 * assert.h - for our own broken invariants: a line in the log, then SIGABRT. In release builds too.
 *
 * In libc's place, whose assert brings stdio along. Any thread; no side effects inside.
 */
#pragma once

#include "base/log.h"

#define assert(what) ((what) ? (void)0 : log_assert(LOG_AT(LOG_ERROR), __FILE__, #what))
