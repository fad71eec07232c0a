/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first program of the guests that measure devices. "work=disk,deep" on the kernel's command
 * line chooses the work; the kernel hands that on in the environment. (Not behind "--": QEMU puts
 * there where its devices are.) Work is
 *
 *   disk   /dev/vda, O_DIRECT: 64 MiB read in sequence by 128 KiB, 2000 reads of 4 KiB at random
 *          places one at a time, 32 MiB written in sequence by 128 KiB with an fsync at the end
 *   deep   /dev/vda, O_DIRECT: reads of 4 KiB at random places, 32 in flight (Linux AIO)
 *   net    TCP from eth0 to HOST_ADDRESS: 64 MiB out, 64 MiB in, 2000 round trips of one byte
 *   exits  10000 times CPUID: an exit that KVM answers
 *   timer  1000 sleeps of 1 ms: what a guest costs that has nothing but its timer
 *
 * It tells the console "M:NAME" before each phase and "M:end" after the last; tests/bench/marks
 * times these. A line with "FAILED" says what did not work. Then it restarts the machine, which
 * ends a microVM.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define DISK	      "/dev/vda"
#define SEQ_BLOCK     (128 << 10)
#define SEQ_READS     512
#define SEQ_WRITES    256
#define PAGE	      4096
#define RANDOM_READS  2000
#define RANDOM_PAGES  16384 /* the first 64 MiB */
#define DEPTH	      32
#define DEEP_WARM     2000
#define DEEP_READS    20000
#define STREAM_BYTES  (64L << 20)
#define STREAM_PIECE  (128 << 10)
#define ROUND_TRIPS   2000
#define GUEST_ADDRESS "172.31.0.2"
#define GUEST_NETMASK "255.255.255.252"
#define HOST_ADDRESS  "172.31.0.1"
#define HOST_PORT     5001
#define EXITS	      10000

static int console;
static char *buffer; /* DEPTH pages at least, SEQ_BLOCK and STREAM_PIECE fit as well */

static void say(const char *text)
{
	char line[160];
	int len = snprintf(line, sizeof(line), "%s\n", text);

	if (write(console, line, (size_t)len) != len)
		_exit(1);
}

static void failed(const char *what)
{
	char line[120];

	snprintf(line, sizeof(line), "FAILED: %s: %s", what, strerror(errno));
	say(line);
}

/* A fixed sequence, the same in every run and for every VMM. */
static off_t random_page(void)
{
	static uint32_t x = 1;

	x = x * 1103515245u + 12345u;
	return (off_t)((x >> 8) % RANDOM_PAGES) * PAGE;
}

static void work_disk(void)
{
	int fd = open(DISK, O_RDWR | O_DIRECT);

	if (fd < 0) {
		failed("open " DISK);
		return;
	}
	say("M:seqread");
	for (int i = 0; i < SEQ_READS; i++)
		if (pread(fd, buffer, SEQ_BLOCK, (off_t)i * SEQ_BLOCK) != SEQ_BLOCK) {
			failed("sequential read");
			return;
		}
	say("M:randread");
	for (int i = 0; i < RANDOM_READS; i++)
		if (pread(fd, buffer, PAGE, random_page()) != PAGE) {
			failed("random read");
			return;
		}
	say("M:seqwrite");
	for (int i = 0; i < SEQ_WRITES; i++)
		if (pwrite(fd, buffer, SEQ_BLOCK, (off_t)i * SEQ_BLOCK) != SEQ_BLOCK) {
			failed("sequential write");
			return;
		}
	if (fsync(fd))
		failed("fsync");
	say("M:end");
	close(fd);
}

/*
 * Keeps DEPTH reads in flight until @count are done: as many as came back are submitted again, in
 * one call.
 */
static int deep(aio_context_t aio, int fd, long count)
{
	struct iocb io[DEPTH], *list[DEPTH];
	struct io_event done[DEPTH];
	long submitted = 0;
	long nr = DEPTH;

	for (int i = 0; i < DEPTH; i++) {
		io[i] = (struct iocb){
			.aio_lio_opcode = IOCB_CMD_PREAD,
			.aio_fildes = (uint32_t)fd,
			.aio_buf = (uintptr_t)(buffer + i * PAGE),
			.aio_nbytes = PAGE,
		};
		list[i] = &io[i];
	}
	for (long completed = 0; completed < count;) {
		for (long i = 0; i < nr; i++)
			list[i]->aio_offset = random_page();
		if (nr > 0 && syscall(SYS_io_submit, aio, nr, list) != nr)
			return -1;
		submitted += nr;
		nr = syscall(SYS_io_getevents, aio, 1, DEPTH, done, NULL);
		if (nr < 1)
			return -1;
		completed += nr;
		for (long i = 0; i < nr; i++) {
			if (done[i].res != PAGE)
				return -1;
			list[i] = (struct iocb *)(uintptr_t)done[i].obj;
		}
		if (nr > count - submitted)
			nr = count > submitted ? count - submitted : 0;
	}
	return 0;
}

static void work_deep(void)
{
	int fd = open(DISK, O_RDONLY | O_DIRECT);
	aio_context_t aio = 0;

	if (fd < 0 || syscall(SYS_io_setup, DEPTH, &aio)) {
		failed("open " DISK ", io_setup");
		return;
	}
	if (deep(aio, fd, DEEP_WARM))
		failed("reads in parallel");
	/* Twice: the host counts the time of the VMM in the first, and where it goes in the second. */
	say("M:deep");
	if (deep(aio, fd, DEEP_READS))
		failed("reads in parallel");
	say("M:deepsample");
	if (deep(aio, fd, DEEP_READS))
		failed("reads in parallel");
	say("M:end");
}

static int set_address(int fd, struct ifreq *r, unsigned long request, const char *text)
{
	struct sockaddr_in *a = (void *)&r->ifr_addr;

	*a = (struct sockaddr_in){ .sin_family = AF_INET };
	inet_pton(AF_INET, text, &a->sin_addr);
	return ioctl(fd, (int)request, r);
}

static int interface_up(void)
{
	struct ifreq r = { .ifr_name = "eth0" };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	if (fd < 0 || set_address(fd, &r, SIOCSIFADDR, GUEST_ADDRESS) ||
	    set_address(fd, &r, SIOCSIFNETMASK, GUEST_NETMASK) || ioctl(fd, SIOCGIFFLAGS, &r))
		return -1;
	r.ifr_flags |= IFF_UP | IFF_RUNNING;
	return ioctl(fd, SIOCSIFFLAGS, &r);
}

static int connect_host(void)
{
	struct sockaddr_in host = { .sin_family = AF_INET, .sin_port = htons(HOST_PORT) };
	int one = 1;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	inet_pton(AF_INET, HOST_ADDRESS, &host.sin_addr);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	for (int tries = 0; tries < 20; tries++) {
		if (connect(fd, (struct sockaddr *)&host, sizeof(host)) == 0)
			return fd;
		usleep(50000);
	}
	return -1;
}

static void work_net(void)
{
	int fd = interface_up() ? -1 : connect_host();
	char byte = 'x';

	if (fd < 0) {
		failed("connect to " HOST_ADDRESS);
		return;
	}
	say("M:out");
	for (long done = 0; done < STREAM_BYTES;) {
		ssize_t n = write(fd, buffer, STREAM_PIECE);

		if (n <= 0) {
			failed("send");
			return;
		}
		done += n;
	}
	/* The host says when it has everything. */
	if (read(fd, &byte, 1) != 1)
		failed("answer");
	say("M:in");
	for (long done = 0; done < STREAM_BYTES;) {
		ssize_t n = read(fd, buffer, STREAM_PIECE);

		if (n <= 0) {
			failed("receive");
			return;
		}
		done += n;
	}
	say("M:roundtrip");
	for (int i = 0; i < ROUND_TRIPS; i++)
		if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1) {
			failed("round trip");
			return;
		}
	say("M:end");
}

static void work_exits(void)
{
	unsigned int a, b, c, d;

	say("M:cpuid");
	for (int i = 0; i < EXITS; i++)
		__cpuid(0, a, b, c, d);
	say("M:end");
}

static void work_timer(void)
{
	const struct timespec ms = { .tv_nsec = 1000000 };

	say("M:timer");
	for (int i = 0; i < 1000; i++)
		nanosleep(&ms, NULL);
	say("M:end");
}

int main(void)
{
	static const struct {
		const char *name;
		void (*work)(void);
	} parts[] = {
		{ "disk", work_disk },	 { "deep", work_deep },	  { "net", work_net },
		{ "exits", work_exits }, { "timer", work_timer },
	};
	const char *wanted = getenv("work");

	mount("dev", "/dev", "devtmpfs", 0, NULL);
	console = open("/dev/console", O_WRONLY);
	buffer = aligned_alloc(PAGE, SEQ_BLOCK);
	if (console < 0 || !buffer)
		return 1;
	/* So that no page of it is touched for the first time below. */
	memset(buffer, 7, SEQ_BLOCK);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (wanted && strstr(wanted, parts[i].name))
			parts[i].work();
	say("READY");
	sync();
	reboot(RB_AUTOBOOT);
	for (;;)
		pause();
}
