/* SPDX-License-Identifier: Apache-2.0 */
/*
 * channels NAME [NR]: what `ethtool -L NAME combined NR` and `ethtool -S NAME` do, for guests that
 * have no such program. Prints "channels NR" or why not, and then how many receive queues have had
 * packets.
 */
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define STATS_MAX 256

static int ask(const char *name, void *command)
{
	struct ifreq r = { .ifr_data = command };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	return ioctl(fd, SIOCETHTOOL, &r);
}

int main(int argc, char **argv)
{
	static struct {
		struct ethtool_gstrings h;
		char name[STATS_MAX][ETH_GSTRING_LEN];
	} strings = { .h = { .cmd = ETHTOOL_GSTRINGS, .string_set = ETH_SS_STATS } };
	static struct {
		struct ethtool_stats h;
		unsigned long long v[STATS_MAX];
	} stats = { .h = { .cmd = ETHTOOL_GSTATS } };
	struct ethtool_channels c = { .cmd = ETHTOOL_GCHANNELS };
	unsigned int nr = 0;

	if (argc < 2)
		return 2;
	if (ask(argv[1], &c))
		printf("cannot ask: %s\n", strerror(errno));
	if (argc > 2) {
		c.cmd = ETHTOOL_SCHANNELS;
		c.combined_count = (unsigned int)atoi(argv[2]);
		if (ask(argv[1], &c))
			printf("cannot set %s: %s\n", argv[2], strerror(errno));
		c.cmd = ETHTOOL_GCHANNELS;
		ask(argv[1], &c);
	}
	printf("channels %u of %u\n", c.combined_count, c.max_combined);
	if (ask(argv[1], &strings) || ask(argv[1], &stats))
		printf("no statistics: %s\n", strerror(errno));
	for (unsigned int i = 0; i < stats.h.n_stats && i < STATS_MAX; i++)
		if (!strncmp(strings.name[i], "rx_queue_", 9) &&
		    strstr(strings.name[i], "_packets") && stats.v[i])
			nr++;
	printf("received on %u\n", nr);
	return 0;
}
