/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_routes.c - the route table: which request reaches what in which state, and the sentence of
 * each refusal. A refused request leaves the config as it was.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api-socket/reply.h"
#include "api-socket/routes.h"
#include "base/log.h"

static struct vmm vmm;
static char room[REPLY_MAX];
static char answer[REPLY_MAX + 64];

static void setup(void)
{
	log_set_level(LOG_OFF);
	memset(&vmm, 0, sizeof(vmm));
	vmm_init(&vmm, "some-id", vmm_identity("mote"), NULL);
}

static void teardown(void)
{
	vmm_fini(&vmm);
}

TestSuite(routes, .init = setup, .fini = teardown);

/* "<status>[ deprecated][ <body>]"; @text is "METHOD path[ body]". */
static const char *ask(const char *text)
{
	static const char *const names[] = { "GET", "PUT", "PATCH", "DELETE" };
	struct server_reply reply = { .body = room };
	struct http_request req = { 0 };
	const char *space = strchr(text, ' ');
	const char *path = space + 1;
	const char *body = strchr(path, ' ');
	size_t m;

	for (m = 0; strncmp(names[m], text, (size_t)(space - text)); m++)
		;
	req.method = (enum http_method)m;
	req.path = path;
	req.path_len = body ? (size_t)(body - path) : strlen(path);
	if (body) {
		req.body = body + 1;
		req.body_len = strlen(body + 1);
	}
	routes_handle(&vmm, &req, &reply);
	snprintf(answer, sizeof(answer), "%d%s%s%.*s", reply.status,
		 reply.deprecated ? " deprecated" : "", reply.body_len ? " " : "",
		 (int)reply.body_len, reply.body);
	return answer;
}

#define FAULT(text) "400 {\"fault_message\":\"" text "\"}"
#define BEFORE	    FAULT("The requested operation is not supported before starting the microVM.")
#define AFTER	    FAULT("The requested operation is not supported after starting the microVM.")
#define MACHINE(n, mib)                                                                            \
	"200 {\"vcpu_count\":" #n ",\"mem_size_mib\":" #mib                                        \
	",\"smt\":false,\"track_dirty_pages\":false,\"huge_pages\":\"None\"}"

struct row {
	const char *request;
	const char *answer;
};

static void check(const struct row *rows, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		cr_assert_str_eq(ask(rows[i].request), rows[i].answer, "%s -> %s", rows[i].request,
				 answer);
}

#define CHECK(rows) check(rows, sizeof(rows) / sizeof((rows)[0]))

Test(routes, shape_and_path)
{
	static const struct row rows[] = {
		{ "GET /",
		  "200 {\"id\":\"some-id\",\"state\":\"Not started\",\"vmm_version\":\"" MOTE_VERSION
		  "\",\"app_name\":\"mote\"}" },
		{ "GET /version", "200 {\"firecracker_version\":\"" MOTE_VERSION "\"}" },
		{ "GET ///machine-config", MACHINE(1, 128) },
		{ "GET /machine-config/", MACHINE(1, 128) },
		{ "GET /machine-config/and/more", MACHINE(1, 128) },
		{ "GET /machine-configs",
		  FAULT("Invalid request method and/or path: GET machine-configs.") },
		{ "GET /foo/bar", FAULT("Invalid request method and/or path: GET foo.") },
		{ "GET /vm", FAULT("Invalid request method and/or path: GET vm.") },
		{ "GET /vm/other", FAULT("Invalid request method and/or path: GET vm.") },
		{ "GET /drives/a", FAULT("Invalid request method and/or path: GET drives.") },
		{ "GET /\"q", FAULT("Invalid request method and/or path: GET \\\"q.") },
		{ "DELETE /version", FAULT("Invalid request method and/or path: DELETE version.") },
		{ "GET /nowhere {}", FAULT("GET request cannot have a body.") },
		{ "PUT /nowhere", FAULT("Empty PUT request.") },
		{ "PUT /machine-config", FAULT("Empty PUT request.") },
		{ "PATCH /machine-config", FAULT("Empty PATCH request.") },
		{ "DELETE /nowhere {}", FAULT("Empty Delete request.") },
		{ "PUT / {}", FAULT("Invalid request method and/or path: PUT .") },
	};

	CHECK(rows);
	/* a target that is no absolute path */
	cr_assert(strstr(ask("GET "), "\"state\":\"Not started\""));
}

Test(routes, ids)
{
	static const struct row rows[] = {
		{ "PUT /drives {}", FAULT("The ID cannot be empty.") },
		{ "PUT /drives/ {}", FAULT("The ID cannot be empty.") },
		{ "PUT /drives//x {}", FAULT("The ID cannot be empty.") },
		{ "PUT /drives/a-b {}",
		  FAULT("API Resource IDs can only contain alphanumeric characters and underscores.") },
		{ "PUT /network-interfaces/a.b {}",
		  FAULT("API Resource IDs can only contain alphanumeric characters and underscores.") },
		{ "PUT /drives/\xe2\x80\x93 {}",
		  FAULT("API Resource IDs can only contain alphanumeric characters and underscores.") },
		{ "PUT /drives/a {\"drive_id\":\"b\",\"is_root_device\":false,\"path_on_host\":\"/dev/null\"}",
		  FAULT("The id from the path does not match the id from the body!") },
		{ "PUT /network-interfaces/a {\"iface_id\":\"b\",\"host_dev_name\":\"x\"}",
		  FAULT("The id from the path [a] does not match the id from the body [b]!") },
	};

	CHECK(rows);
	/* letters are letters in any script */
	cr_assert(strstr(ask("PUT /drives/gr\xc3\xb6\xc3\x9f"
			     "e_1 {}"),
			 "missing field `drive_id`"),
		  "%s", answer);
	cr_assert(vmm.config.nr_drives == 0 && vmm.config.nr_nets == 0);
}

Test(routes, machine_config)
{
	static const struct row rows[] = {
		{ "PUT /machine-config {\"vcpu_count\":2,\"mem_size_mib\":256}", "204" },
		{ "GET /machine-config", MACHINE(2, 256) },
		{ "PATCH /machine-config {}", FAULT("Empty PATCH request.") },
		{ "PATCH /machine-config {\"vcpu_count\":4}", "204" },
		{ "GET /machine-config", MACHINE(4, 256) },
		{ "PATCH /machine-config {\"cpu_template\":\"None\"}", "204 deprecated" },
		{ "PUT /machine-config {\"vcpu_count\":3}",
		  FAULT("An error occurred when deserializing the json body of a request: "
			"missing field `mem_size_mib` at line 1 column 16.") },
		{ "GET /machine-config", MACHINE(4, 256) },
	};

	CHECK(rows);
	cr_assert(!strncmp(ask("PUT /machine-config {\"vcpu_count\":33,\"mem_size_mib\":1,"
			       "\"cpu_template\":\"None\"}"),
			   "400 deprecated ", 15),
		  "%s", answer);
	cr_assert_str_eq(ask("GET /machine-config"), MACHINE(4, 256));
}

Test(routes, state_gate)
{
	static const struct row before[] = {
		{ "PATCH /vm {\"state\":\"Paused\"}", BEFORE },
		{ "PUT /actions {\"action_type\":\"FlushMetrics\"}", BEFORE },
		{ "PUT /actions {\"action_type\":\"SendCtrlAltDel\"}", BEFORE },
		{ "PATCH /drives/a {\"drive_id\":\"a\"}", BEFORE },
		{ "DELETE /network-interfaces/a", BEFORE },
		{ "PUT /actions {\"action_type\":\"InstanceStart\"}",
		  FAULT("Start microvm error: Cannot start microvm without kernel configuration.") },
	};
	static const struct row after[] = {
		{ "PUT /machine-config {\"vcpu_count\":2,\"mem_size_mib\":256}", AFTER },
		{ "PATCH /machine-config {\"vcpu_count\":2}", AFTER },
		{ "PUT /boot-source {\"kernel_image_path\":\"/dev/null\"}", AFTER },
		{ "PUT /drives/a {\"drive_id\":\"a\",\"is_root_device\":true}", AFTER },
		{ "PUT /network-interfaces/a {\"iface_id\":\"a\",\"host_dev_name\":\"x\"}", AFTER },
		{ "PUT /actions {\"action_type\":\"InstanceStart\"}", AFTER },
		{ "PATCH /vm {\"state\":\"Gone\"}",
		  FAULT("An error occurred when deserializing the json body of a request: "
			"unknown variant `Gone`, expected `Paused` or `Resumed` at line 1 column 15.") },
	};

	CHECK(before);
	cr_assert(vmm.state == VMM_NOT_STARTED && !vmm.machine);
	vmm.state = VMM_RUNNING;
	CHECK(after);
	cr_assert_str_eq(ask("PATCH /vm {\"state\":\"Resumed\"}"), "204");
	cr_assert(strstr(ask("GET /"), "\"state\":\"Running\""));
	vmm.state = VMM_PAUSED;
	CHECK(after);
	cr_assert_str_eq(ask("PATCH /vm {\"state\":\"Paused\"}"), "204");
	cr_assert(strstr(ask("GET /"), "\"state\":\"Paused\""));
	cr_assert_str_eq(ask("GET /machine-config"), MACHINE(1, 128));
}

/* Rows without a handler answer one sentence; none of them is reached through an unknown route. */
Test(routes, refused_endpoints)
{
	static const char *const requests[] = {
		"PUT /vsock {}",
		"PUT /entropy {}",
		"GET /balloon",
		"PUT /balloon {}",
		"PATCH /balloon {}",
		"GET /balloon/statistics",
		"PATCH /balloon/hinting/start {}",
		"PUT /pmem/a {}",
		"DELETE /pmem/a",
		"GET /hotplug/memory",
		"PUT /hotplug/memory {}",
		"GET /mmds",
		"PUT /mmds {}",
		"PUT /mmds/config {}",
		"PUT /snapshot/create {}",
		"PUT /snapshot/load {}",
	};

	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		ask(requests[i]);
		cr_assert(!strncmp(answer, "400 {\"fault_message\":\"", 22), "%s: %s", requests[i],
			  answer);
		cr_assert(strstr(answer, " not supported by "), "%s: %s", requests[i], answer);
	}
}

Test(routes, table_is_consistent)
{
	for (size_t i = 0; i < nr_routes; i++) {
		const struct route *r = &routes[i];

		cr_assert(r->methods && r->states);
		cr_assert(r->fn || r->refusal, "%s", r->path);
		cr_assert(r->path[0] != '/' && strnlen(r->path, sizeof(r->path)) < sizeof(r->path));
		/* a body is decoded exactly where a handler takes PUT or PATCH */
		if (r->fn)
			cr_assert(!!r->body == !!(r->methods & (ROUTE_PUT | ROUTE_PATCH)), "%s",
				  r->path);
	}
}

/* What a client sends is logged in one line and cannot forge a second. */
Test(routes, log_lines)
{
	char line[4096];
	FILE *f = tmpfile();
	size_t n;

	log_set_level(LOG_INFO);
	log_set_fd(fileno(f));
	ask("PUT /machine-config {\n\"a\\b\"\x01}");
	ask("GET /");
	log_set_level(LOG_OFF);
	log_set_fd(1);
	rewind(f);
	n = fread(line, 1, sizeof(line) - 1, f);
	line[n] = '\0';
	fclose(f);
	cr_assert(strstr(line,
			 "] The API server received a Put request on \"/machine-config\" with body "
			 "\"{\\n\\\"a\\\\b\\\"\\u{1}}\".\n"),
		  "%s", line);
	cr_assert(strstr(line, "] Received Error. Status code: 400 Bad Request. Message: "), "%s",
		  line);
	cr_assert(strstr(line, "] The API server received a Get request on \"/\".\n"), "%s", line);
	cr_assert(strstr(line, "] The request was executed successfully. Status code: 200 OK.\n"),
		  "%s", line);
}

Test(vmm, identity)
{
	cr_assert_str_eq(vmm_identity("/srv/jail/firecracker").app_name, "Firecracker");
	cr_assert_str_eq(vmm_identity("firecracker").version, FIRECRACKER_VERSION);
	cr_assert_str_eq(vmm_identity("./mote").app_name, "mote");
	cr_assert_str_eq(vmm_identity("/opt/firecracker/mote").app_name, "mote");
	cr_assert_str_eq(vmm_identity(NULL).app_name, "mote");
}
