/* SPDX-License-Identifier: Apache-2.0 */
/*
 * terminal.h - standard input and output as the guest's serial console.
 *
 * Process-wide state, because it must be undone on every way out, fatal signals included. Loop
 * thread, except terminal_restore.
 */
#pragma once

#include <stdbool.h>

/*
 * terminal_output - a non-blocking descriptor for standard output: a full pipe or a stopped
 * terminal must never stop a vCPU. Where it can, this is a new open file, so that the flags of the
 * one we share with our parent stay as they are; otherwise flags are changed and restored later.
 */
int terminal_output(void);

/*
 * terminal_input - standard input if it is our terminal (put into raw mode) or a FIFO, else -1:
 * other kinds (files, /dev/null) carry no console input, as Firecracker has it.
 */
int terminal_input(void);

/* terminal_restore - undo all of it. Async-signal-safe, idempotent. */
void terminal_restore(void);
