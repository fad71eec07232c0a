/* SPDX-License-Identifier: Apache-2.0 */
/*
 * aml.h - writes the few AML terms that our DSDT needs, into a caller's buffer.
 *
 * A term that does not fit sets the overflow mark and writes nothing more; the caller looks once,
 * at the end (aml_ok). Names are NameSegs: exactly four characters. Loop thread, build time.
 * ACPI 6.4, chapter 20 (AML) and 6.4 (resource data types).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct aml {
	uint8_t *buf;
	size_t max;
	size_t len;
	bool overflow;
};

static inline bool aml_ok(const struct aml *a)
{
	return !a->overflow;
}

/*
 * aml_scope_open / aml_device_open / aml_package_open - start a block; returns where it began, to
 * be handed to aml_close. @path of a scope: "\\_SB_" or the like. @nr: elements of the package.
 */
size_t aml_scope_open(struct aml *a, const char *path);
size_t aml_device_open(struct aml *a, const char *name);
size_t aml_package_open(struct aml *a, uint8_t nr);
void aml_close(struct aml *a, size_t block);

/* aml_int - an integer constant in its shortest form. */
void aml_int(struct aml *a, uint64_t v);

/* aml_name - NameOp; an object (aml_int, a package) must follow. */
void aml_name(struct aml *a, const char *name);

/* Name(@name, integer), Name(@name, "string"), Name(@name, EISAID(@id)), @id like "PNP0501". */
void aml_name_int(struct aml *a, const char *name, uint64_t v);
void aml_name_string(struct aml *a, const char *name, const char *s);
void aml_name_eisaid(struct aml *a, const char *name, const char *id);

/* aml_crs_open - Name(_CRS, ResourceTemplate()); resources follow, then aml_crs_close. */
size_t aml_crs_open(struct aml *a);
void aml_crs_close(struct aml *a, size_t block);

/* aml_res_io - IO(Decode16): @len ports from @base. */
void aml_res_io(struct aml *a, uint16_t base, uint8_t len);

/* aml_res_memory32 - Memory32Fixed(ReadWrite). */
void aml_res_memory32(struct aml *a, uint32_t base, uint32_t len);

/* aml_res_interrupt - Interrupt(ResourceConsumer, Edge, ActiveHigh, Exclusive). */
void aml_res_interrupt(struct aml *a, uint32_t gsi);
