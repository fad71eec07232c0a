/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mem.h - guest RAM, the only way from a guest address to bytes.
 *
 * A guest address is a gpa_t, neither a pointer nor an integer, and struct mem is opaque: the one
 * function that turns an address and a length into a host pointer is static in mem.c. Every access
 * here is checked against RAM as a whole range; a range that leaves RAM, spans two regions, or
 * wraps is refused with -EFAULT and nothing is transferred.
 *
 * Guest RAM changes under our feet: each byte read may differ at the next read. So callers copy
 * first (mem_read, mem_load*) and decide on the copy.
 *
 * Guest RAM can be shared with another process (a vhost-user back end), which then reads and writes
 * it like the guest does. Whoever describes it to that process uses mem_fd and mem_file_offset, and
 * names addresses inside it by their gpa_t; no pointer of ours ever leaves.
 *
 * mem_create, mem_map_file and mem_destroy run on the thread that builds the machine; all other
 * functions may run on any thread.
 */
#pragma once

#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/err.h"

/* A guest physical address. Make one with GPA(), look inside with .v. */
typedef struct {
	uint64_t v;
} gpa_t;

#define GPA(addr) ((gpa_t){ (addr) })

static inline gpa_t gpa_add(gpa_t a, uint64_t offset)
{
	return GPA(a.v + offset);
}

/*
 * More ranges than any layout needs: x86 has at most 3 (below 3 GiB, above 4 GiB, above 512 GiB).
 */
#define MEM_REGIONS_MAX 4

/* One contiguous range of guest RAM. */
struct mem_range {
	gpa_t base;
	uint64_t len; /* bytes, a multiple of the page size */
};

/* How the host backs guest RAM (API field huge_pages). */
enum mem_backing {
	MEM_BACKING_PAGES,	/* base pages; the host's own THP policy applies */
	MEM_BACKING_THP,	/* madvise(MADV_HUGEPAGE) */
	MEM_BACKING_HUGETLB_2M, /* hugetlbfs, 2 MiB pages, reserved at creation */
	MEM_SHARED = 8,		/* or'ed in: all of it in one memfd, see mem_fd */
};

struct mem;

/*
 * mem_create - map guest RAM: not reserved (except hugetlb), zero-filled; private and anonymous,
 * or with MEM_SHARED a memfd that can neither shrink nor grow.
 * @ranges: sorted, not overlapping, page-aligned; @nr_ranges 1..MEM_REGIONS_MAX.
 * On success *out is owned by the caller (mem_destroy). Errors: ENOMEM, EINVAL; with MEM_SHARED
 * the errno of memfd_create, ftruncate or fcntl.
 */
int mem_create(struct mem **out, const struct mem_range *ranges, size_t nr_ranges,
	       enum mem_backing backing, struct err *e);

/* mem_destroy - unmap everything. NULL is allowed. No other thread may still use @m. */
void mem_destroy(struct mem *m);

/* mem_nr_ranges / mem_range - what RAM there is, in ascending order. */
size_t mem_nr_ranges(const struct mem *m);
struct mem_range mem_range(const struct mem *m, size_t i);

/* mem_size - all of RAM in bytes. */
uint64_t mem_size(const struct mem *m);

/*
 * mem_host_base - host address of region @i, for KVM_SET_USER_MEMORY_REGION and
 * VHOST_SET_MEM_TABLE only. Nothing else may follow this pointer: it carries no length.
 */
uint64_t mem_host_base(const struct mem *m, size_t i);

/*
 * mem_fd - the memfd that holds guest RAM, owned by @m, or -1 when it is private. Region @i lies in
 * it from byte mem_file_offset(m, i) on. For a process that shall see all of guest RAM.
 */
int mem_fd(const struct mem *m);
uint64_t mem_file_offset(const struct mem *m, size_t i);

/*
 * A range of RAM that was judged once, for what is looked at all the time (rings). Only mem.h looks
 * inside; valid until mem_destroy. One of zeroes is a range of no bytes.
 */
struct mem_span {
	uint8_t *host;
	uint64_t len;
};

/* mem_span - judge [a, a+len). 0, or -EFAULT and a range of no bytes. */
int mem_span(const struct mem *m, gpa_t a, uint64_t len, struct mem_span *out);

/* mem_span_at - where [offset, offset+len) of a range is; NULL outside. For the four below. */
static inline void *mem_span_at(const struct mem_span *s, uint64_t offset, uint64_t len)
{
	return offset <= s->len && len <= s->len - offset ? s->host + offset : NULL;
}

/* mem_span_read / mem_span_write - as mem_read and mem_write at @offset of a range. */
static inline int mem_span_read(const struct mem_span *s, uint64_t offset, void *buf, size_t len)
{
	const void *p = mem_span_at(s, offset, len);

	if (!p)
		return -EFAULT;
	memcpy(buf, p, len);
	return 0;
}

static inline int mem_span_write(const struct mem_span *s, uint64_t offset, const void *buf,
				 size_t len)
{
	void *p = mem_span_at(s, offset, len);

	if (!p)
		return -EFAULT;
	memcpy(p, buf, len);
	return 0;
}

/* mem_span_base - host address of a range, for VHOST_SET_VRING_ADDR only. */
static inline uint64_t mem_span_base(const struct mem_span *s)
{
	return (uintptr_t)s->host;
}

/*
 * mem_span_load16 / mem_span_store16 - as mem_load16 and mem_store16; the range and @offset are
 * 2-byte aligned.
 */
static inline int mem_span_load16(const struct mem_span *s, uint64_t offset, uint16_t *out)
{
	const uint16_t *p = mem_span_at(s, offset, sizeof(*out));

	if (!p)
		return -EFAULT;
	*out = le16toh(__atomic_load_n(p, __ATOMIC_ACQUIRE));
	return 0;
}

static inline int mem_span_store16(const struct mem_span *s, uint64_t offset, uint16_t v)
{
	uint16_t *p = mem_span_at(s, offset, sizeof(v));

	if (!p)
		return -EFAULT;
	__atomic_store_n(p, htole16(v), __ATOMIC_RELEASE);
	return 0;
}

/* mem_valid - whether [a, a+len) lies inside one RAM region. len 0 is valid anywhere in RAM. */
bool mem_valid(const struct mem *m, gpa_t a, uint64_t len);

/* mem_read / mem_write - copy @len bytes. 0 or -EFAULT. */
int mem_read(const struct mem *m, gpa_t a, void *buf, size_t len);
int mem_write(struct mem *m, gpa_t a, const void *buf, size_t len);

/*
 * mem_zero - clear @len bytes. 0 or -EFAULT. RAM starts zeroed, so boot code needs it only for bss.
 */
int mem_zero(struct mem *m, gpa_t a, size_t len);

/*
 * mem_load16 / mem_store16 - one little-endian 16-bit field shared with the guest, read or written
 * exactly once: the load has acquire, the store release semantics (ring indexes, virtio 1.2,
 * 2.7.13).
 * @a must be 2-byte aligned (-EINVAL). 0 or -EFAULT.
 */
int mem_load16(const struct mem *m, gpa_t a, uint16_t *out);
int mem_store16(struct mem *m, gpa_t a, uint16_t v);

/*
 * mem_iov - describe [a, a+len) for preadv/pwritev/readv/writev.
 * *out stays valid until mem_destroy. 0, or -EFAULT and an entry of no bytes.
 */
int mem_iov(const struct mem *m, gpa_t a, uint64_t len, struct iovec *out);

/*
 * mem_map_file - put @len bytes of @fd from @offset at guest address @a.
 * Whole pages are mapped MAP_PRIVATE over RAM where (@offset - a) is a multiple of the page size,
 * so that all VMs share them through the page cache and the guest's writes stay private; the ragged
 * ends, and everything where the alignment differs (or RAM is hugetlb, or shared: its other users
 * see the memfd and no mapping over it), are copied. The caller has
 * checked that the file is at least @offset + @len long; a file that is cut later makes accesses
 * raise SIGBUS. Errors: EFAULT (not in RAM), EIO (short read), errno of mmap or pread.
 */
int mem_map_file(struct mem *m, gpa_t a, int fd, uint64_t offset, uint64_t len, struct err *e);

/*
 * mem_owns - whether a host address lies in guest RAM; @a gets the guest address when it does.
 * For the SIGBUS path, which must say what was lost; async-signal-safe.
 */
bool mem_owns(const struct mem *m, const void *host, gpa_t *a);
