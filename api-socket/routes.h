/* SPDX-License-Identifier: Apache-2.0 */
/*
 * routes.h - which request means what: one row per method and path.
 *
 * A row names the states it is allowed in, the table that decodes its body, and the function that
 * hands the result to vmm/. Nothing is decided here. Exported so that the OpenAPI description can
 * be tested against it. Loop thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "api-socket/decode.h"
#include "api-socket/http.h"
#include "api-socket/server.h"
#include "vmm/metrics.h"
#include "vmm/vmm.h"

/* Methods of a row, as bits. */
#define ROUTE_GET    (1u << HTTP_GET)
#define ROUTE_PUT    (1u << HTTP_PUT)
#define ROUTE_PATCH  (1u << HTTP_PATCH)
#define ROUTE_DELETE (1u << HTTP_DELETE)

/* States of a row, as bits. */
#define ROUTE_PRE  VMM_NOT_STARTED
#define ROUTE_POST (VMM_RUNNING | VMM_PAUSED)
#define ROUTE_ANY  (ROUTE_PRE | ROUTE_POST)

/* The two refusals that every client knows. */
#define ROUTE_AFTER_START  "The requested operation is not supported after starting the microVM."
#define ROUTE_BEFORE_START "The requested operation is not supported before starting the microVM."

struct route {
	uint8_t methods;
	uint8_t count; /* enum metrics_request: what it counts as */
	uint8_t states;
	bool has_id;   /* the component after @path is an id that must be there */
	char path[20]; /* first one or two components, without slashes around: "vm/config" */
	/*
	 * 0 or a negative errno with @e set. A handler that answers a GET fills reply->body_len.
	 * @in is what @body decoded; @id is checked. NULL for endpoints that mote refuses.
	 */
	int (*fn)(struct vmm *v, const union decode_out *in, const char *id,
		  struct server_reply *reply, struct err *e);
	union {
		const struct decode_table *body; /* NULL: no body is decoded */
		const char *refusal;		 /* without @fn: the sentence */
	};
};

/* The table: rows in the order they are tried. */
extern const struct route routes[];
extern const size_t nr_routes;

/* routes_handle - answer one request; a server_fn, @vmm is a struct vmm. */
void routes_handle(void *vmm, const struct http_request *req, struct server_reply *reply);
