/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reply.h - config and state to JSON bodies, in the key order clients know.
 *
 * Each function writes one whole body into @buf (not ended by NUL) and returns its length, or
 * -ENOSPC when @cap is too small. Loop thread.
 */
#pragma once

#include <stddef.h>

#include "vmm/config.h"

/* The largest body: GET /vm/config with every path at its limit; give at least this much room. */
#define REPLY_MAX 262144U

/* GET /machine-config */
long reply_machine_config(char *buf, size_t cap, const struct config *c);

/* GET /vm/config. @c is struct config at any time, before or after start. */
long reply_vm_config(char *buf, size_t cap, const struct config *c);

/* GET / - @state is "Not started", "Running" or "Paused". */
long reply_instance_info(char *buf, size_t cap, const char *id, const char *state,
			 const char *version, const char *app_name);

/* GET /version */
long reply_version(char *buf, size_t cap, const char *version);

/* {"fault_message":"..."} and {"error":"..."}; a text that does not fit is cut. */
long reply_fault(char *buf, size_t cap, const char *text);
long reply_error(char *buf, size_t cap, const char *text);
