/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decode.h - request bodies (JSON) to config structs, by tables.
 *
 * One table per JSON object lists its fields; one walker reads any of them. A new endpoint is a
 * new table and no code. The tables are exported so that the OpenAPI description can be tested
 * against them. Loop thread; allocates nothing.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "vmm/config.h"

struct decode_table;

enum decode_type {
	DECODE_BOOL,   /* bool */
	DECODE_U8,     /* uint8_t */
	DECODE_U16,    /* uint16_t */
	DECODE_U32,    /* uint32_t */
	DECODE_U64,    /* uint64_t */
	DECODE_USIZE,  /* uint64_t; only its name in error sentences differs */
	DECODE_STRING, /* char[size], ended by NUL; a NUL inside is refused */
	DECODE_PATH,   /* the same; only its name in error sentences differs */
	DECODE_ENUM,   /* uint8_t; @names */
	DECODE_STRUCT, /* nested object; @table */
	DECODE_LIST,   /* array of objects, each read into the same struct for the sink; @table */
	DECODE_ARRAY, /* array of up to @size bytes of the table's struct, counted in size_t @has */
	DECODE_STRUCT_OR_PATH, /* DECODE_STRUCT, or a string to the char[@size] right behind it */
	DECODE_NUMBER,	       /* uint32_t from "0x1f", "0b11" or "31" */
	DECODE_BITS,	       /* struct bits_edit from "0b01_xx"; @size: its width in bits */
	DECODE_CAP,	       /* struct cap_modifier from "121" or "!121" */
	DECODE_MAC,	       /* uint8_t[6] from "AA:BB:CC:DD:EE:FF" */
	DECODE_LEVEL,	       /* uint8_t, enum log_level; case does not matter */
	DECODE_STRMAP,	       /* object of strings, kept as compact JSON text in char[size] */
	DECODE_ABSENT, /* a section mote does not have: null and [] pass; else refused, @refusal */
};

/* What a missing field means. */
enum decode_need {
	DECODE_REQUIRED, /* an error; null is a wrong type */
	DECODE_OPTION,	 /* not given, and so does null; @has stays false */
	DECODE_DEFAULT,	 /* zero, and it counts as given; null is a wrong type */
};

#define DECODE_NO_HAS UINT32_MAX

/* Names are inside: a pointer in a table costs 32 bytes of a position independent program. */
struct decode_field {
	char name[26];
	uint8_t type;	 /* enum decode_type */
	uint8_t need;	 /* enum decode_need */
	uint32_t offset; /* in the table's struct */
	uint32_t size;	 /* DECODE_STRING, _PATH, _STRMAP: capacity with NUL; others: see there */
	uint32_t has;	 /* offset of a bool that says whether it was given, or DECODE_NO_HAS */
	union {
		const struct config_name *names;
		const struct decode_table *table;
		const char *refusal;
	};
};

struct decode_table {
	const char *name; /* as error sentences call it: "struct X" */
	const struct decode_field *field;
	uint32_t size;	   /* of the struct */
	uint8_t nr_fields; /* at most 32 */
	bool ignore_unknown;
	bool bare; /* the value of the only field, not an object; for elements of DECODE_ARRAY */
};

/* Request bodies and their structs. */
extern const struct decode_table decode_machine_put;   /* struct machine_update */
extern const struct decode_table decode_machine_patch; /* struct machine_update */
extern const struct decode_table decode_boot_source;   /* struct boot_source_config */
extern const struct decode_table decode_drive_put;     /* struct drive_config */
extern const struct decode_table decode_drive_patch;   /* struct drive_update */
extern const struct decode_table decode_net_put;       /* struct net_config */
extern const struct decode_table decode_net_patch;     /* struct net_update */
extern const struct decode_table decode_action;	       /* struct action_request */
extern const struct decode_table decode_vm_patch;      /* struct vm_state_request */
extern const struct decode_table decode_logger;	       /* struct logger_config */
extern const struct decode_table decode_metrics;       /* struct metrics_config */
extern const struct decode_table decode_serial;	       /* struct serial_config */
extern const struct decode_table decode_cpu_config;    /* struct cpu_config */

/* PUT /actions */
enum action_type { ACTION_FLUSH_METRICS, ACTION_INSTANCE_START, ACTION_SEND_CTRL_ALT_DEL };

struct action_request {
	uint8_t action_type;
};

/* PATCH /vm */
enum vm_state_wanted { VM_STATE_PAUSED, VM_STATE_RESUMED };

struct vm_state_request {
	uint8_t state;
};

/* Room for any of the above; one static instance serves all requests. */
union decode_out {
	struct machine_update machine;
	struct boot_source_config boot_source;
	struct drive_config drive;
	struct drive_update drive_update;
	struct net_config net;
	struct net_update net_update;
	struct action_request action;
	struct vm_state_request vm_state;
	struct logger_config logger;
	struct metrics_config metrics;
	struct serial_config serial;
	struct cpu_config cpu;
};

/*
 * decode_body - read a request body into @out, a struct of the table's type, which is zeroed first.
 * Errors: -EINVAL with the whole fault_message ("An error occurred when deserializing the json body
 * of a request: ... at line L column C.").
 */
int decode_body(const struct decode_table *t, const char *body, size_t len, void *out,
		struct err *e);

/*
 * Who takes the elements of lists: called after each one with the list's field and the struct it
 * was decoded into; an error ends the decoding.
 */
struct decode_sink {
	int (*fn)(void *ctx, const struct decode_field *list, const void *elem, struct err *e);
	void *ctx;
};

/*
 * decode_text - the same for any JSON text; @sink may be NULL. The error is the bare sentence
 * without the words about a request's body.
 */
int decode_text(const struct decode_table *t, const char *text, size_t len, void *out,
		const struct decode_sink *sink, struct err *e);

/*
 * decode_machine_is_empty - a PATCH /machine-config that changes nothing is answered like one
 * without a body ("Empty PATCH request.").
 */
bool decode_machine_is_empty(const struct machine_update *u);
