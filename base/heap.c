/* SPDX-License-Identifier: Apache-2.0 */
/*
 * heap.c - malloc, calloc and free of the release build in the place of libc's (7 KB). Any thread.
 *
 * The program makes a dozen objects while a VM is built and none later: each is a mapping of its
 * own, nothing is managed, and what is freed is gone. Tests have the heap that sanitizers watch.
 */
#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>

/* Not from stdlib.h: what analyzers know about these names is not what is written here. */
void *malloc(size_t size);
void *calloc(size_t nr, size_t size);
void free(void *object);
/* What libc's own code calls (a time zone's name); without it the linker takes another heap. */
void *__libc_malloc(size_t size); /* NOLINT(bugprone-reserved-identifier,cert-*) */

/* Stands before each object, which is therefore aligned as malloc(3) promises. */
struct head {
	_Alignas(max_align_t) size_t len; /* of the mapping */
};

static void *map_object(size_t size)
{
	struct head *h;
	size_t len;

	if (__builtin_add_overflow(size, sizeof(*h), &len)) {
		errno = ENOMEM;
		return NULL;
	}
	h = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (h == MAP_FAILED)
		return NULL;
	h->len = len;
	return h + 1;
}

void *malloc(size_t size)
{
	return map_object(size);
}

/* NOLINTNEXTLINE(bugprone-reserved-identifier,cert-*) */
void *__libc_malloc(size_t size)
{
	return map_object(size);
}

void *calloc(size_t nr, size_t size)
{
	size_t all;

	if (__builtin_mul_overflow(nr, size, &all)) {
		errno = ENOMEM;
		return NULL;
	}
	return map_object(all);
}

void free(void *object)
{
	struct head *h = object;

	if (h--)
		munmap(h, h->len);
}
