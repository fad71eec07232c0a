/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c - from the command line to the event loop and out again.
 *
 * The main thread becomes the loop thread. What comes before the first API reply is kept to the
 * system calls that are needed; everything of a size is static or reserved and touched late.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "api-socket/config_file.h"
#include "api-socket/routes.h"
#include "api-socket/server.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "vmm/fatal.h"
#include "vmm/logger.h"
#include "vmm/metrics.h"
#include "vmm/options.h"
#include "vmm/sandbox.h"
#include "vmm/terminal.h"
#include "vmm/vmm.h"

/* Beyond every exit code: the loop was stopped by signal (status - STOPPED_BY_SIGNAL). */
#define STOPPED_BY_SIGNAL 256

/* All that lives as long as the process. */
static struct vmm vmm;

struct process {
	struct loop *loop;
	struct server *server;
	struct watch signals;
};

/* An operator told us to go: leave the loop, tidy up, then die as if we had no handler. */
static void on_signal(void *ctx, uint32_t events)
{
	struct process *p = ctx;
	struct signalfd_siginfo info;

	(void)events;
	if (read(p->signals.fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		loop_stop(p->loop, STOPPED_BY_SIGNAL + (int)info.ssi_signo);
}

/*
 * SIGTERM and SIGINT arrive through the loop. They are blocked here, before any other thread
 * exists, so that no vCPU thread ever takes them.
 */
static int signals_init(struct process *p, struct err *e)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return err_set(e, errno, "signal set-up");
	p->signals = (struct watch){ .fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC),
				     .events = EPOLLIN,
				     .fn = on_signal,
				     .ctx = p };
	if (p->signals.fd < 0)
		return err_set(e, errno, "signalfd");
	return loop_add(p->loop, &p->signals, e);
}

/* Too long a path is refused here as open(2) would; all else by who opens it. */
static int copy_path(char *to, size_t cap, const char *path, struct err *e)
{
	size_t len = strlen(path);

	if (len >= cap)
		return err_set(e, ENAMETOOLONG, "%.64s...", path);
	memcpy(to, path, len + 1);
	return 0;
}

static int start_log(const struct options *o, struct err *e)
{
	static struct logger_config c; /* too large for a stack */
	int ret = 0;

	c.has_level = true;
	c.level = (uint8_t)o->level;
	c.has_show_level = o->show_level;
	c.show_level = o->show_level;
	c.has_show_log_origin = o->show_log_origin;
	c.show_log_origin = o->show_log_origin;
	if (o->module) {
		c.has_module = true;
		ret = copy_path(c.module, sizeof(c.module), o->module, e);
	}
	if (!ret && o->log_path) {
		c.has_log_path = true;
		ret = copy_path(c.log_path, sizeof(c.log_path), o->log_path, e);
	}
	if (!ret)
		ret = logger_apply(&c, e);
	return ret ? err_wrap(e, "Could not initialize logger") : 0;
}

static int start_metrics(const struct options *o, struct err *e)
{
	struct metrics_config *c = &vmm.config.metrics;
	int ret;

	if (!o->metrics_path)
		return 0;
	ret = copy_path(c->metrics_path, sizeof(c->metrics_path), o->metrics_path, e);
	if (!ret)
		ret = metrics_configure(c, o->id, e);
	return ret ? err_wrap(e, "Could not initialize metrics") : 0;
}

/* The handlers stand before the first filter does: what it forbids shall end in words. */
static int prepare_sandbox(const struct options *o, struct err *e)
{
	int ret = fatal_init(e);

	if (o->no_seccomp) {
		log_warn("System calls are not filtered (--no-seccomp).");
		return ret;
	}
	/* For the log's times libc opens and maps a file, once: later no thread may. */
	tzset();
	return ret ? ret : sandbox_init(o->seccomp_filter, e);
}

static int start_from_file(const char *path, struct err *e)
{
	int ret = config_file_load(&vmm.config, path, e);

	if (!ret && vmm.config.has_logger)
		ret = logger_apply(&vmm.config.logger, e);
	if (!ret && vmm.config.has_metrics)
		ret = metrics_configure(&vmm.config.metrics, vmm.id, e);
	if (!ret)
		ret = vmm_start(&vmm, e);
	if (ret)
		return err_wrap(e, "Configuration file %s", path);
	log_info("Successfully started microvm that was configured from one single json.");
	return 0;
}

static int serve(struct process *p, const struct options *o, struct err *e)
{
	const struct server_config config = {
		.path = o->api_sock,
		.payload_max = o->payload_max,
		.loop = p->loop,
		.handle = routes_handle,
		.ctx = &vmm,
	};
	int ret = server_open(&p->server, &config, e);

	if (ret)
		return ret;
	fatal_set_socket(o->api_sock);
	metrics_startup(o->has_start_time_us ? &o->start_time_us : NULL,
			o->has_start_time_cpu_us ? &o->start_time_cpu_us : NULL,
			o->has_parent_cpu_time_us ? &o->parent_cpu_time_us : NULL);
	log_info("Listening on API socket (\"%s\").", o->api_sock);
	log_info("API server started.");
	return 0;
}

/* Returns an exit code or STOPPED_BY_SIGNAL + signal; tidies up whatever was reached. */
static int run(const struct options *o, struct err *e)
{
	struct process p = { .signals.fd = -1 };
	int status = EXIT_CODE_ERROR;
	int ret;

	ret = loop_create(&p.loop, e);
	if (ret)
		return status;
	ret = signals_init(&p, e);
	if (!ret && o->api_sock)
		ret = serve(&p, o, e);
	/*
	 * From here on bytes are read whose writer is not the operator. A client that sees the
	 * socket connects meanwhile, so the time that this takes is hidden from it.
	 */
	if (!ret)
		ret = sandbox_enter_setup(e);
	if (!ret) {
		vmm_init(&vmm, o->id, vmm.identity, p.loop);
		vmm.config.boot_timer = o->boot_timer;
		vmm.landlock = o->landlock;
		vmm.api_sock = o->api_sock;
		if (o->config_file)
			ret = start_from_file(o->config_file, e);
		if (!ret)
			status = loop_run(p.loop);
		if (!ret && status < STOPPED_BY_SIGNAL)
			log_info("Vmm is stopping.");
		vmm_fini(&vmm);
	}
	fatal_set_socket(NULL);
	server_close(p.server);
	fd_close(&p.signals.fd);
	loop_destroy(p.loop);
	return status;
}

static int fail(const char *name, int code, const struct err *e)
{
	log_error("%s", e->msg);
	fd_print(STDERR_FILENO, "Error: %s\n", e->msg);
	log_error("%s exiting with error. exit_code=%d", name, code);
	return code;
}

/*
 * ps and pgrep look for the name we were called by; where a jailer executed us through a
 * descriptor, kernels before 6.14 name us by its number.
 */
static void name_process(const char *argv0)
{
	const char *slash = strrchr(argv0, '/');

	prctl(PR_SET_NAME, slash ? slash + 1 : argv0);
}

int main(int argc, char **argv)
{
	struct err e = { 0 };
	struct options o;
	const char *name;
	int ret;

	if (argc > 0)
		name_process(argv[0]);
	vmm.identity = vmm_identity(argc > 0 ? argv[0] : NULL);
	name = vmm.identity.app_name;
	ret = options_parse(&o, argc, argv, &e);
	if (ret == OPTIONS_VERSION || ret == OPTIONS_HELP) {
		fd_print(STDOUT_FILENO, "%s v%s\n", name, vmm.identity.version);
		if (ret == OPTIONS_HELP)
			options_help();
		return EXIT_CODE_OK;
	}
	if (ret < 0) {
		fd_print(STDERR_FILENO, "%s: %s For more information try --help.\n", name, e.msg);
		return -ret;
	}
	log_set_id(o.id);
	/* A pipe that nobody reads must not hold up anything, the last line included. */
	log_set_fd(terminal_output());
	fatal_set_name(name);
	if (start_log(&o, &e))
		return fail(name, EXIT_CODE_ERROR, &e);
	log_info("Running %s v%s", name, vmm.identity.version);
	options_warn();
	if (start_metrics(&o, &e))
		return fail(name, EXIT_CODE_ERROR, &e);
	if (prepare_sandbox(&o, &e))
		return fail(name, EXIT_CODE_ERROR, &e);

	ret = run(&o, &e);
	if (e.code)
		return fail(name, ret, &e);
	if (ret >= STOPPED_BY_SIGNAL) {
		log_info("%s ended by signal %d.", name, ret - STOPPED_BY_SIGNAL);
		fatal_die_by(ret - STOPPED_BY_SIGNAL);
	}
	if (ret == EXIT_CODE_OK)
		log_info("%s exiting successfully. exit_code=0", name);
	else
		log_error("%s exiting with error. exit_code=%d", name, ret);
	return ret;
}
