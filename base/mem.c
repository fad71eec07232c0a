/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mem.c - guest RAM; see mem.h. mem_host() is the only translation from guest to host in mote.
 */
#include "base/mem.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/fd.h"

#ifndef MAP_HUGE_2MB
#define MAP_HUGE_2MB (21 << 26) /* linux/mman.h: log2 of the size at MAP_HUGE_SHIFT */
#endif
#ifndef MFD_HUGE_2MB
#define MFD_HUGE_2MB (21U << 26)
#endif

/* Alignment of a region in host memory, so that the host can use 2 MiB pages at both levels. */
#define HUGE_PAGE 0x200000ULL

/* This file is compiled for speed; what runs once, or seldom, need not be fast. */
#define COLD __attribute__((cold))

struct mem_region {
	uint64_t base; /* guest address */
	uint64_t len;
	uint8_t *host;
};

struct mem {
	struct mem_region region[MEM_REGIONS_MAX];
	size_t nr;
	uint64_t page_size;
	bool hugetlb;
	int fd; /* memfd with all regions, one after the other; -1: private */
};

/* The one translation. NULL unless [a, a+len) lies inside a single region. */
static inline uint8_t *mem_host(const struct mem *m, gpa_t a, uint64_t len)
{
	const struct mem_region *r = m->region;

	do { /* there is one region at least */
		uint64_t offset = a.v - r->base;

		/* a.v below base makes offset huge; the second test cannot wrap after the first. */
		if (offset < r->len && len <= r->len - offset)
			return r->host + offset;
	} while (++r < m->region + m->nr);
	return NULL;
}

/* Map @len bytes aligned to HUGE_PAGE, by mapping more and giving the ends back. */
COLD static uint8_t *map_aligned(uint64_t len, int flags)
{
	uint64_t slack = flags & MAP_HUGETLB ? 0 : HUGE_PAGE;
	uint8_t *p, *aligned;
	uint64_t head;

	if (len > SIZE_MAX - slack)
		return MAP_FAILED;
	p = mmap(NULL, len + slack, PROT_READ | PROT_WRITE, flags, -1, 0);
	if (p == MAP_FAILED || !slack)
		return p;
	head = -(uintptr_t)p & (HUGE_PAGE - 1);
	aligned = p + head;
	if (head)
		munmap(p, head);
	if (head < slack)
		munmap(aligned + len, slack - head);
	return aligned;
}

COLD static int region_map(struct mem *m, const struct mem_range *range, enum mem_backing backing,
			   struct err *e)
{
	int huge = m->hugetlb ? MAP_HUGETLB | MAP_HUGE_2MB : MAP_NORESERVE;
	struct mem_region *r = &m->region[m->nr];

	r->base = range->base.v;
	r->len = range->len;
	r->host = map_aligned(range->len,
			      MAP_PRIVATE | MAP_ANONYMOUS | (m->fd < 0 ? huge : MAP_NORESERVE));
	if (r->host != MAP_FAILED && m->fd >= 0 &&
	    mmap(r->host, r->len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | huge, m->fd,
		 (off_t)mem_file_offset(m, m->nr)) == MAP_FAILED) {
		munmap(r->host, r->len);
		r->host = MAP_FAILED;
	}
	if (r->host == MAP_FAILED)
		return err_set(e, errno ? errno : ENOMEM, "map %llu MiB of guest RAM%s",
			       (unsigned long long)(range->len >> 20),
			       m->hugetlb ? " in 2 MiB huge pages" : "");
	m->nr++;

	/* Guest RAM never belongs in a core dump. */
	madvise(r->host, r->len, MADV_DONTDUMP);
	if (backing == MEM_BACKING_THP && madvise(r->host, r->len, MADV_HUGEPAGE) < 0)
		return err_set(e, errno, "transparent huge pages for guest RAM");
	return 0;
}

/*
 * One file for all regions. Who gets it may write into it, but not cut it: our next access would
 * be SIGBUS.
 */
COLD static int share(struct mem *m, uint64_t len, struct err *e)
{
	unsigned int flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;

	if (m->hugetlb)
		flags |= MFD_HUGETLB | MFD_HUGE_2MB;
	m->fd = memfd_create("guest RAM", flags);
	if (m->fd < 0 || ftruncate(m->fd, (off_t)len) < 0 ||
	    fcntl(m->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return err_set(e, errno, "memfd for %llu MiB of guest RAM",
			       (unsigned long long)(len >> 20));
	return 0;
}

COLD static int regions_map(struct mem *m, const struct mem_range *ranges, size_t nr_ranges,
			    enum mem_backing backing, struct err *e)
{
	uint64_t end = 0, sum = 0;
	int ret;

	for (size_t i = 0; i < nr_ranges; i++) {
		const struct mem_range *r = &ranges[i];

		if (r->len == 0 || r->base.v < end || r->base.v + r->len < r->base.v ||
		    (r->base.v | r->len) % m->page_size)
			return err_set(e, EINVAL, "guest RAM range %zu is not valid", i);
		end = r->base.v + r->len;
		sum += r->len;
	}
	ret = backing & MEM_SHARED ? share(m, sum, e) : 0;
	for (size_t i = 0; !ret && i < nr_ranges; i++)
		ret = region_map(m, &ranges[i], backing & ~(unsigned int)MEM_SHARED, e);
	return ret;
}

COLD int mem_create(struct mem **out, const struct mem_range *ranges, size_t nr_ranges,
		    enum mem_backing backing, struct err *e)
{
	struct mem *m;
	int ret;

	assert(nr_ranges >= 1 && nr_ranges <= MEM_REGIONS_MAX);
	m = calloc(1, sizeof(*m));
	if (!m)
		return err_set(e, ENOMEM, "guest RAM");
	m->fd = -1;
	m->page_size = (uint64_t)getpagesize();
	m->hugetlb = (backing & ~(unsigned int)MEM_SHARED) == MEM_BACKING_HUGETLB_2M;
	ret = regions_map(m, ranges, nr_ranges, backing, e);
	if (ret) {
		mem_destroy(m);
		return ret;
	}
	*out = m;
	return 0;
}

COLD void mem_destroy(struct mem *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->nr; i++)
		munmap(m->region[i].host, m->region[i].len);
	fd_close(&m->fd);
	free(m);
}

size_t mem_nr_ranges(const struct mem *m)
{
	return m->nr;
}

struct mem_range mem_range(const struct mem *m, size_t i)
{
	assert(i < m->nr);
	return (struct mem_range){ .base = GPA(m->region[i].base), .len = m->region[i].len };
}

uint64_t mem_size(const struct mem *m)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < m->nr; i++)
		sum += m->region[i].len;
	return sum;
}

uint64_t mem_host_base(const struct mem *m, size_t i)
{
	assert(i < m->nr);
	return (uintptr_t)m->region[i].host;
}

int mem_fd(const struct mem *m)
{
	return m->fd;
}

COLD uint64_t mem_file_offset(const struct mem *m, size_t i)
{
	uint64_t sum = 0;

	while (i > 0)
		sum += m->region[--i].len;
	return sum;
}

int mem_span(const struct mem *m, gpa_t a, uint64_t len, struct mem_span *out)
{
	uint8_t *p = mem_host(m, a, len);

	*out = (struct mem_span){ .host = p, .len = p ? len : 0 };
	return p ? 0 : -EFAULT;
}

bool mem_valid(const struct mem *m, gpa_t a, uint64_t len)
{
	return mem_host(m, a, len) != NULL;
}

int mem_read(const struct mem *m, gpa_t a, void *buf, size_t len)
{
	const uint8_t *p = mem_host(m, a, len);

	if (!p)
		return -EFAULT;
	memcpy(buf, p, len);
	return 0;
}

int mem_write(struct mem *m, gpa_t a, const void *buf, size_t len)
{
	uint8_t *p = mem_host(m, a, len);

	if (!p)
		return -EFAULT;
	memcpy(p, buf, len);
	return 0;
}

COLD int mem_zero(struct mem *m, gpa_t a, size_t len)
{
	uint8_t *p = mem_host(m, a, len);

	if (!p)
		return -EFAULT;
	memset(p, 0, len);
	return 0;
}

COLD int mem_load16(const struct mem *m, gpa_t a, uint16_t *out)
{
	const uint8_t *p = mem_host(m, a, sizeof(*out));

	if (a.v % sizeof(*out))
		return -EINVAL;
	if (!p)
		return -EFAULT;
	/* Acquire: what the guest wrote before it published this index is read after it. */
	*out = le16toh(__atomic_load_n((const uint16_t *)(const void *)p, __ATOMIC_ACQUIRE));
	return 0;
}

COLD int mem_store16(struct mem *m, gpa_t a, uint16_t v)
{
	uint8_t *p = mem_host(m, a, sizeof(v));

	if (a.v % sizeof(v))
		return -EINVAL;
	if (!p)
		return -EFAULT;
	/* Release: the guest sees the index only after what it announces. */
	__atomic_store_n((uint16_t *)(void *)p, htole16(v), __ATOMIC_RELEASE);
	return 0;
}

int mem_iov(const struct mem *m, gpa_t a, uint64_t len, struct iovec *out)
{
	uint8_t *p = mem_host(m, a, len);

	*out = (struct iovec){ .iov_base = p, .iov_len = p ? len : 0 };
	return p ? 0 : -EFAULT;
}

COLD static int copy_file(struct mem *m, gpa_t a, int fd, uint64_t offset, uint64_t len,
			  struct err *e)
{
	uint8_t *p = mem_host(m, a, len);
	int ret;

	if (len == 0)
		return 0;
	if (!p)
		return err_set(e, EFAULT, "load %llu bytes at guest address 0x%llx",
			       (unsigned long long)len, (unsigned long long)a.v);
	ret = fd_pread_all(fd, p, len, offset);
	if (ret)
		return err_set(e, -ret, "read %llu bytes at offset %llu", (unsigned long long)len,
			       (unsigned long long)offset);
	return 0;
}

COLD int mem_map_file(struct mem *m, gpa_t a, int fd, uint64_t offset, uint64_t len, struct err *e)
{
	uint64_t mask = m->page_size - 1;
	uint64_t head = -a.v & mask;
	uint64_t pages;
	uint8_t *p = mem_host(m, a, len);
	int ret;

	if (!p)
		return err_set(e, EFAULT, "place %llu bytes at guest address 0x%llx",
			       (unsigned long long)len, (unsigned long long)a.v);
	if (m->hugetlb || m->fd >= 0 || ((a.v ^ offset) & mask) || len < head + m->page_size)
		return copy_file(m, a, fd, offset, len, e);

	pages = (len - head) & ~mask;
	ret = copy_file(m, a, fd, offset, head, e);
	if (ret)
		return ret;
	if (mmap(p + head, pages, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE,
		 fd, (off_t)(offset + head)) == MAP_FAILED)
		return err_set(e, errno, "map %llu bytes at offset %llu", (unsigned long long)pages,
			       (unsigned long long)offset + head);
	madvise(p + head, pages, MADV_DONTDUMP);
	head += pages;
	return copy_file(m, gpa_add(a, head), fd, offset + head, len - head, e);
}

COLD bool mem_owns(const struct mem *m, const void *host, gpa_t *a)
{
	for (size_t i = 0; i < m->nr; i++) {
		uint64_t offset = (uintptr_t)host - (uintptr_t)m->region[i].host;

		if (offset < m->region[i].len) {
			*a = GPA(m->region[i].base + offset);
			return true;
		}
	}
	return false;
}
