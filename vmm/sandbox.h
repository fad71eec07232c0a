/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sandbox.h - the steps at which this process gives up rights for good: system call filters.
 *
 * The filters are compiled from resources/seccomp when mote is built. Each step is a function that
 * installs one on the calling thread and reads back that it is there; nothing can undo it, and
 * filters add up. A forbidden call ends the process as vmm/fatal.h says for SIGSYS.
 */
#pragma once

#include "base/err.h"
#include "vmm/sandbox_filter.h"

/*
 * sandbox_init - take the filters from @path (--seccomp-filter), or with NULL those built in.
 * Without this call the steps below do nothing. Main thread. Errors: one sentence that begins with
 * "Seccomp error".
 */
int sandbox_init(const char *path, struct err *e);

/*
 * sandbox_check - whether the @len bytes at @data, aligned to 8, are filters for this program;
 * remembers them if so. For sandbox_init, and for tests. Errors: -EINVAL and why not.
 */
int sandbox_check(unsigned char *data, size_t len, struct err *e);

/*
 * sandbox_enter_setup - on the main thread, before the first byte from a client, a configuration
 * file or a guest is read; threads made later inherit it.
 * Should leave: opening files, making a VM and its threads, serving the API.
 * Must not leave: new programs or processes, memory that can be executed, sockets other than
 * AF_UNIX, signals to others, a way back.
 */
int sandbox_enter_setup(struct err *e);

/*
 * sandbox_enter_running - on the loop thread, once the vCPU threads have been started.
 * Should leave: the devices' and the API's work, opening files that exist, an orderly end.
 * Must not leave: new threads and mappings, new files, every ioctl that makes or changes a VM.
 */
int sandbox_enter_running(struct err *e);

/*
 * sandbox_enter_vcpu - on a vCPU thread before its first KVM_RUN.
 * Should leave: KVM_RUN, eventfds, locks, the clock, writing what a device or the log has to say.
 * Must not leave: files or sockets being opened, read or removed; any other ioctl.
 */
int sandbox_enter_vcpu(struct err *e);

/* sandbox_call_name - name of system call @nr; "" when it has none. Async-signal-safe. */
const char *sandbox_call_name(unsigned int nr);
