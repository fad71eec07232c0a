/* SPDX-License-Identifier: Apache-2.0 */
/*
 * aml.c - see aml.h.
 */
#include "boot/aml.h"

#include <string.h>

#include "base/byteorder.h"

/* ACPI 6.4, 20.2 */
enum {
	AML_ZERO = 0x00,
	AML_ONE = 0x01,
	AML_NAME = 0x08,
	AML_BYTE_PREFIX = 0x0a,
	AML_WORD_PREFIX = 0x0b,
	AML_DWORD_PREFIX = 0x0c,
	AML_STRING_PREFIX = 0x0d,
	AML_QWORD_PREFIX = 0x0e,
	AML_SCOPE = 0x10,
	AML_BUFFER = 0x11,
	AML_PACKAGE = 0x12,
	AML_EXT_PREFIX = 0x5b,
	AML_DEVICE = 0x82,
};

/*
 * PkgLength always in its two-byte form (20.2.4): it can be filled in when the block is closed, and
 * reaches 4095 bytes, more than the buffer of the only caller.
 */
#define PKG_LEN_BYTES 2U
#define PKG_LEN_MAX   0xfffU

/* BufferOp PkgLength WordPrefix size: what precedes the resources in a template. */
#define CRS_SIZE_BYTES 3U

static void put(struct aml *a, const void *p, size_t len)
{
	if (a->overflow || len > a->max - a->len) {
		a->overflow = true;
		return;
	}
	memcpy(a->buf + a->len, p, len);
	a->len += len;
}

static void put8(struct aml *a, unsigned int v)
{
	uint8_t b = (uint8_t)v;

	put(a, &b, sizeof(b));
}

static size_t block_open(struct aml *a)
{
	static const uint8_t room[PKG_LEN_BYTES];
	size_t block = a->len;

	put(a, room, sizeof(room));
	return block;
}

void aml_close(struct aml *a, size_t block)
{
	size_t len = a->len - block;

	if (a->overflow || len > PKG_LEN_MAX) {
		a->overflow = true;
		return;
	}
	a->buf[block] = (uint8_t)(0x40U | (len & 0xfU));
	a->buf[block + 1] = (uint8_t)(len >> 4);
}

size_t aml_scope_open(struct aml *a, const char *path)
{
	size_t block;

	put8(a, AML_SCOPE);
	block = block_open(a);
	put(a, path, strlen(path));
	return block;
}

size_t aml_device_open(struct aml *a, const char *name)
{
	size_t block;

	put8(a, AML_EXT_PREFIX);
	put8(a, AML_DEVICE);
	block = block_open(a);
	put(a, name, 4);
	return block;
}

size_t aml_package_open(struct aml *a, uint8_t nr)
{
	size_t block;

	put8(a, AML_PACKAGE);
	block = block_open(a);
	put8(a, nr);
	return block;
}

void aml_int(struct aml *a, uint64_t v)
{
	uint8_t le[8];
	size_t len = v <= UINT8_MAX ? 1 : v <= UINT16_MAX ? 2 : v <= UINT32_MAX ? 4 : 8;

	if (v <= 1) {
		put8(a, v ? AML_ONE : AML_ZERO);
		return;
	}
	put8(a, len == 1 ? AML_BYTE_PREFIX :
		len == 2 ? AML_WORD_PREFIX :
		len == 4 ? AML_DWORD_PREFIX :
			   AML_QWORD_PREFIX);
	le64_put(le, v);
	put(a, le, len);
}

void aml_name(struct aml *a, const char *name)
{
	put8(a, AML_NAME);
	put(a, name, 4);
}

void aml_name_int(struct aml *a, const char *name, uint64_t v)
{
	aml_name(a, name);
	aml_int(a, v);
}

void aml_name_string(struct aml *a, const char *name, const char *s)
{
	aml_name(a, name);
	put8(a, AML_STRING_PREFIX);
	put(a, s, strlen(s) + 1);
}

static unsigned int hex_digit(char c)
{
	return (unsigned int)(c <= '9' ? c - '0' : c - 'A' + 10);
}

/* Three letters in 5 bits each, four hex digits; stored big-endian (19.3.4, EISAID). */
void aml_name_eisaid(struct aml *a, const char *name, const char *id)
{
	uint8_t b[4];
	unsigned int v = 0;

	for (int i = 0; i < 3; i++)
		v = v << 5 | (unsigned int)(id[i] - '@');
	for (int i = 3; i < 7; i++)
		v = v << 4 | hex_digit(id[i]);
	for (int i = 0; i < 4; i++)
		b[i] = (uint8_t)(v >> (24 - 8 * i));

	aml_name(a, name);
	put8(a, AML_DWORD_PREFIX);
	put(a, b, sizeof(b));
}

size_t aml_crs_open(struct aml *a)
{
	static const uint8_t size[CRS_SIZE_BYTES] = { AML_WORD_PREFIX };
	size_t block;

	aml_name(a, "_CRS");
	put8(a, AML_BUFFER);
	block = block_open(a);
	put(a, size, sizeof(size));
	return block;
}

void aml_crs_close(struct aml *a, size_t block)
{
	static const uint8_t end_tag[] = { 0x79, 0 }; /* checksum 0: not used (6.4.2.9) */
	size_t start = block + PKG_LEN_BYTES + CRS_SIZE_BYTES;

	put(a, end_tag, sizeof(end_tag));
	if (!a->overflow)
		le16_put(a->buf + block + PKG_LEN_BYTES + 1, (uint16_t)(a->len - start));
	aml_close(a, block);
}

/* 6.4.2.5 I/O Port Descriptor */
void aml_res_io(struct aml *a, uint16_t base, uint8_t len)
{
	uint8_t d[8] = { 0x47, 1 /* decodes 16 bits */ };

	le16_put(d + 2, base);
	le16_put(d + 4, base);
	d[6] = 1; /* alignment */
	d[7] = len;
	put(a, d, sizeof(d));
}

/* 6.4.3.4 32-Bit Fixed Memory Range Descriptor */
void aml_res_memory32(struct aml *a, uint32_t base, uint32_t len)
{
	uint8_t d[12] = { 0x86, 9, 0, 1 /* writable */ };

	le32_put(d + 4, base);
	le32_put(d + 8, len);
	put(a, d, sizeof(d));
}

/*
 * 6.4.3.6 Extended Interrupt Descriptor. Also for ISA interrupts: Linux takes trigger and polarity
 * from it as they stand, where for the short form it would look for legacy overrides first.
 */
void aml_res_interrupt(struct aml *a, uint32_t gsi)
{
	uint8_t d[9] = { 0x89, 6, 0, 0x03 /* consumer, edge; active high, exclusive */, 1 };

	le32_put(d + 5, gsi);
	put(a, d, sizeof(d));
}
