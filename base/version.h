/* SPDX-License-Identifier: Apache-2.0 */
/*
 * version.h - what the programs answer when they are asked for their version.
 */
#pragma once

/* Set by the Makefile. */
#ifndef MOTE_VERSION
#define MOTE_VERSION "0.0.0"
#endif

/*
 * What `firecracker` and `jailer` answer: clients choose their features by it, so it names the
 * release whose behaviour is followed here, not our own count.
 */
#define FIRECRACKER_VERSION "1.16.1"
