/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_file.c - reads a --config-file twice: first to see that all of it is well-formed and of
 * the right types, then to apply it section by section.
 *
 * Between the two the single sections are applied, and the second reading takes the lists. Main
 * thread, before the event loop runs.
 */
#include "api-socket/config_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "api-socket/decode.h"
#include "base/fd.h"

#define NOT_OURS "not supported by design: mote has drives, network interfaces and a serial port"

/* One struct for each section; list elements pass through theirs one after the other. */
struct sections {
	bool has_machine;
	bool has_logger;
	bool has_metrics;
	bool has_cpu;
	struct machine_update machine;
	struct boot_source_config boot_source;
	struct drive_config drive;
	struct net_config net;
	struct logger_config logger;
	struct metrics_config metrics;
	struct cpu_config cpu;
	char cpu_path[PATH_MAX]; /* right behind cpu: DECODE_STRUCT_OR_PATH */
};

_Static_assert(offsetof(struct sections, cpu_path) ==
		       offsetof(struct sections, cpu) + sizeof(struct cpu_config),
	       "DECODE_STRUCT_OR_PATH");

/* One row stays one row: */
/* clang-format off */
/* NOLINTBEGIN(bugprone-macro-parentheses): initialisers, with names and braces in them */
#define SECTION(n, t, need, m, h, tab)                                                             \
	{ n, t, need, offsetof(struct sections, m), sizeof(((struct sections *)0)->m), h,          \
	  { .table = tab } }
#define ABSENT(n, need, why)                                                                       \
	{ n, DECODE_ABSENT, need, 0, 0, DECODE_NO_HAS, { .refusal = why } }
/* NOLINTEND(bugprone-macro-parentheses) */
/* clang-format on */

static const struct decode_field section_fields[] = {
	ABSENT("balloon", DECODE_OPTION, NOT_OURS),
	SECTION("drives", DECODE_LIST, DECODE_REQUIRED, drive, DECODE_NO_HAS, &decode_drive_put),
	SECTION("boot-source", DECODE_STRUCT, DECODE_REQUIRED, boot_source, DECODE_NO_HAS,
		&decode_boot_source),
	{ "cpu-config",
	  DECODE_STRUCT_OR_PATH,
	  DECODE_OPTION,
	  offsetof(struct sections, cpu),
	  PATH_MAX,
	  offsetof(struct sections, has_cpu),
	  { .table = &decode_cpu_config } },
	SECTION("logger", DECODE_STRUCT, DECODE_OPTION, logger,
		offsetof(struct sections, has_logger), &decode_logger),
	SECTION("machine-config", DECODE_STRUCT, DECODE_OPTION, machine,
		offsetof(struct sections, has_machine), &decode_machine_put),
	SECTION("metrics", DECODE_STRUCT, DECODE_OPTION, metrics,
		offsetof(struct sections, has_metrics), &decode_metrics),
	ABSENT("mmds-config", DECODE_OPTION, "the metadata service is not supported yet"),
	SECTION("network-interfaces", DECODE_LIST, DECODE_DEFAULT, net, DECODE_NO_HAS,
		&decode_net_put),
	ABSENT("vsock", DECODE_OPTION, NOT_OURS),
	ABSENT("entropy", DECODE_OPTION, NOT_OURS),
	ABSENT("pmem", DECODE_OPTION, NOT_OURS),
	ABSENT("memory-hotplug", DECODE_OPTION, NOT_OURS),
};

const struct decode_table decode_config_file = {
	.name = "struct VmmConfig",
	.field = section_fields,
	.nr_fields = sizeof(section_fields) / sizeof(section_fields[0]),
	.size = sizeof(struct sections),
	.ignore_unknown = true,
};

static int apply_element(void *ctx, const struct decode_field *list, const void *elem,
			 struct err *e)
{
	if (list->table == &decode_drive_put)
		return config_put_drive(ctx, elem, e);
	return config_put_net(ctx, elem, e);
}

/* The whole file, or as much as @cap takes: the length, or -errno. */
static ssize_t read_file(const char *path, char *buf, size_t cap)
{
	size_t len = 0;
	ssize_t n;
	int fd;

	do {
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	} while (fd < 0 && errno == EINTR);
	if (fd < 0)
		return -errno;
	while (len < cap) {
		n = read(fd, buf + len, cap - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	if (len < cap && n < 0)
		len = (size_t)-errno;
	fd_close(&fd);
	return (ssize_t)len;
}

/* Hand the text of a file to @apply. */
static int load(struct config *c, const char *what, const char *path,
		int (*apply)(struct config *c, const char *text, size_t len, struct err *e),
		struct err *e)
{
	ssize_t len;
	char *text;
	int ret;

	/* Mapped, not allocated: it is gone after start-up, and untouched pages cost nothing. */
	text = mmap(NULL, CONFIG_FILE_MAX + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		    -1, 0);
	if (text == MAP_FAILED)
		return err_set(e, errno, "map %ld bytes for %s", CONFIG_FILE_MAX, path);
	len = read_file(path, text, CONFIG_FILE_MAX + 1);
	if (len < 0)
		ret = err_set(e, (int)-len, "Unable to open or read from the %s file %s", what,
			      path);
	else if (len > CONFIG_FILE_MAX)
		ret = err_set(e, EFBIG, "%s file %s: more than %ld bytes", what, path,
			      CONFIG_FILE_MAX);
	else
		ret = apply(c, text, (size_t)len, e);
	munmap(text, CONFIG_FILE_MAX + 1);
	return ret;
}

static int apply_cpu(struct config *c, const char *text, size_t len, struct err *e)
{
	static struct cpu_config cpu; /* too large for a stack; used once, at start */
	int ret = decode_text(&decode_cpu_config, text, len, &cpu, NULL, e);

	if (ret)
		return err_wrap(e, "Invalid CPU template");
	config_put_cpu(c, &cpu);
	return 0;
}

int config_file_apply(struct config *c, const char *text, size_t len, struct err *e)
{
	static struct sections s; /* too large for a stack; used once, at start */
	const struct decode_sink apply = { .fn = apply_element, .ctx = c };
	int ret;

	ret = decode_text(&decode_config_file, text, len, &s, NULL, e);
	if (ret)
		return err_wrap(e, "Invalid JSON");
	if (s.has_machine) {
		ret = config_update_machine(c, &s.machine, e);
		if (ret)
			return ret;
	}
	ret = config_put_boot_source(c, &s.boot_source, e);
	if (!ret && s.has_cpu && s.cpu_path[0])
		ret = load(c, "CPU template", s.cpu_path, apply_cpu, e);
	else if (s.has_cpu)
		config_put_cpu(c, &s.cpu);
	if (ret)
		return ret;
	if (s.has_logger)
		c->logger = s.logger;
	if (s.has_metrics)
		c->metrics = s.metrics;
	c->has_logger = s.has_logger;
	c->has_metrics = s.has_metrics;
	/* Lists are too long to keep, so they are read again, now one by one into the config. */
	return decode_text(&decode_config_file, text, len, &s, &apply, e);
}

int config_file_load(struct config *c, const char *path, struct err *e)
{
	return load(c, "configuration", path, config_file_apply, e);
}
