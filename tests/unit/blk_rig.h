/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blk_rig.h - a disk on virtio_rig: a file of 64 sectors, each full of its number plus one, and a
 * host whose transfers fail or stop short when a test says so. Every test of a suite with these two
 * functions begins with a driver that has accepted all features, and rings of 256.
 */
#pragma once

#include <criterion/criterion.h>
#include <linux/virtio_blk.h>

#include "tests/unit/virtio_rig.h"
#include "virtio/blk.h"

#define ALL	   UINT64_MAX
#define NR_SECTORS 64u
#define STATUS	   (RIG_SMALL + 0x100)
#define UNTOUCHED  0x77

extern struct rig blk_rig;
static struct rig *const r = &blk_rig;
extern struct blk *blk;
extern int fd;		       /* the disk's file */
extern unsigned int nr_queues; /* of the next disk(); 0 is 1 */

/*
 * The host's side of a transfer: preadv and pwritev of this program are ours. With err every other
 * call fails, starting with the first; no call moves more than max bytes (0: no limit).
 */
extern struct host {
	int err;
	size_t max;
	int nr_calls;
} host;

void blk_rig_setup(void);
void blk_rig_teardown(void);

/* Another disk in place of the one that is there, of the same file. */
void disk(bool read_only, bool writeback, const char *serial);

/* What the file holds. */
uint8_t file_byte(uint64_t offset);

/* A request's header, at RIG_SMALL. */
void header(uint32_t type, uint64_t sector);

/* Offer chain 0, kick, run, and return the status byte; *len gets the used length. */
uint8_t run(uint32_t *len);

/* One request with one data buffer of @len bytes (none when 0) at RIG_DATA. */
uint8_t request(uint32_t type, uint64_t sector, uint32_t len, uint32_t *used);
