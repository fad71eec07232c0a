/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_virtio_net_offload.c - checksums and segmentation left to the other side: which features go
 * together, and headers that point out of their frame or ask for what was not accepted. virtio 1.2,
 * 5.1.3.1, 5.1.6.2 and 5.1.6.4.
 */
#include <string.h>

#include "base/byteorder.h"
#include "tests/unit/net_rig.h"

TestSuite(virtio_net_offload, .init = net_rig_setup, .fini = net_rig_teardown);

Test(virtio_net_offload, features_that_need_others)
{
	static const uint8_t offload[] = {
		VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_UFO,
		VIRTIO_NET_F_GUEST_USO4, VIRTIO_NET_F_GUEST_USO6, VIRTIO_NET_F_HOST_TSO4,
		VIRTIO_NET_F_HOST_TSO6,	 VIRTIO_NET_F_HOST_UFO,	  VIRTIO_NET_F_HOST_USO,
	};

	for (size_t i = 0; i < sizeof(offload); i++) {
		uint8_t need = i < 5 ? VIRTIO_NET_F_GUEST_CSUM : VIRTIO_NET_F_CSUM;

		rig_negotiate(r, BIT(VIRTIO_F_VERSION_1) | BIT(offload[i]));
		cr_assert_eq(rig_status(r), 3, "feature %u alone", offload[i]);
		rig_negotiate(r, BIT(VIRTIO_F_VERSION_1) | BIT(offload[i]) | BIT(need));
		cr_assert_eq(rig_status(r), 11);
	}
}

#define CSUM VIRTIO_NET_HDR_F_NEEDS_CSUM

static void header(uint8_t flags, uint8_t gso_type, uint16_t hdr_len, uint16_t gso_size,
		   uint16_t csum_start, uint16_t csum_offset)
{
	frame[0] = flags;
	frame[1] = gso_type;
	le16_put(frame + 2, hdr_len);
	le16_put(frame + 4, gso_size);
	le16_put(frame + 6, csum_start);
	le16_put(frame + 8, csum_offset);
	le16_put(frame + 10, 0);
}

/* Headers for a frame of 100 bytes, and whether it may leave. */
/* clang-format off */
static const struct {
	uint8_t flags, gso_type;
	uint16_t hdr_len, gso_size, csum_start, csum_offset;
	bool ok;
} tx_header[] = {
	{ CSUM, 0, 0, 0, 34, 16, true },
	{ CSUM, 0, 0, 0, 98, 0, true }, /* the last two bytes */
	{ CSUM, 0, 0, 0, 99, 0, false },
	{ CSUM, 0, 0, 0, 0, 98, true },
	{ CSUM, 0, 0, 0, 0, 99, false },
	{ CSUM, 0, 0, 0, 50, 49, false },
	{ CSUM, 0, 0, 0, 65535, 0, false },
	{ CSUM, 0, 0, 0, 0, 65535, false },
	{ CSUM, 0, 0, 0, 65535, 1, false }, /* wraps in 16 bits */
	{ CSUM, 0, 0, 0, 65535, 65535, false },
	{ CSUM, 1, 54, 40, 34, 16, true },
	{ CSUM, 4, 54, 40, 34, 16, true },
	{ CSUM, 3, 54, 40, 34, 6, true },
	{ CSUM, 1, 100, 100, 34, 16, true },
	{ CSUM, 1, 101, 40, 34, 16, false }, /* header beyond the frame */
	{ CSUM, 1, 65535, 40, 34, 16, false },
	{ CSUM, 1, 54, 101, 34, 16, false }, /* segments beyond the frame */
	{ CSUM, 1, 54, 65535, 34, 16, false },
	{ CSUM, 1, 54, 0, 34, 16, false }, /* division by zero somewhere else */
	{ 0, 1, 54, 40, 0, 0, false }, /* segmentation needs the checksum */
	{ CSUM, 2, 54, 40, 34, 16, false }, /* no such kind */
	{ CSUM, 5, 42, 40, 34, 6, true },
	{ CSUM, 5, 42, 0, 34, 6, false },
	{ CSUM, 6, 54, 40, 34, 16, false }, /* no such kind */
	{ CSUM, 0x81, 54, 40, 34, 16, false }, /* ECN was not offered */
	{ CSUM, 0xff, 54, 40, 34, 16, false },
};
/* clang-format on */

Test(virtio_net_offload, send_header_fields)
{
	for (size_t i = 0; i < sizeof(tx_header) / sizeof(tx_header[0]); i++) {
		header(tx_header[i].flags, tx_header[i].gso_type, tx_header[i].hdr_len,
		       tx_header[i].gso_size, tx_header[i].csum_start, tx_header[i].csum_offset);
		send_frame(100, 1);
		if (tx_header[i].ok) {
			cr_assert_eq(wire(got, sizeof(got)), 112, "row %zu", i);
			cr_assert_eq(memcmp(got, frame, 112), 0, "row %zu", i);
		} else {
			cr_assert_eq(wire(got, sizeof(got)), 0, "row %zu", i);
		}
	}
	cr_assert_eq(rig_status(r), 15);
}

Test(virtio_net_offload, send_header_is_made_anew)
{
	/* What means nothing is not passed on. */
	header(0xfe, 0, 65535, 65535, 65535, 65535);
	le16_put(frame + 10, 77);
	send_frame(100, 1);
	cr_assert_eq(wire(got, sizeof(got)), 112);
	for (int i = 0; i < 12; i++)
		cr_assert_eq(got[i], 0, "byte %d", i);
}

Test(virtio_net_offload, send_offloads_not_accepted)
{
	rig_boot(r, BIT(VIRTIO_F_VERSION_1), 256);
	tx_head = 0;
	header(CSUM, 0, 0, 0, 34, 16);
	send_frame(100, 1);
	cr_assert_eq(wire(got, sizeof(got)), 0);
	rig_boot(r, BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_NET_F_CSUM), 256);
	tx_head = 0;
	send_frame(100, 1);
	cr_assert_eq(wire(got, sizeof(got)), 112);
	header(CSUM, 1, 54, 40, 34, 16);
	send_frame(100, 1);
	cr_assert_eq(wire(got, sizeof(got)), 0);
	header(CSUM, VIRTIO_NET_HDR_GSO_UDP_L4, 42, 40, 34, 6);
	send_frame(100, 1);
	cr_assert_eq(wire(got, sizeof(got)), 0);
}

Test(virtio_net_offload, flags_only_with_guest_csum)
{
	offer_rx(0, 4, 1536);
	kick_rx();
	frame[0] = VIRTIO_NET_HDR_F_DATA_VALID;
	from_wire(60);
	rig_run(r, 100);
	cr_assert_eq(received(1536, NULL), 60);
	cr_assert_eq(got[0], VIRTIO_NET_HDR_F_DATA_VALID);
	rig_boot(r, ~(BIT(VIRTIO_NET_F_GUEST_CSUM) | GSO), 16);
	offer_rx(0, 4, 1536);
	kick_rx();
	from_wire(60);
	rig_run(r, 100);
	cr_assert_eq(received(1536, NULL), 60);
	cr_assert_eq(got[0], 0);
}

Test(virtio_net_offload, segmented_frame_not_accepted)
{
	rig_boot(r, ~GSO, 16);
	offer_rx(0, 4, 1536);
	kick_rx();
	frame[1] = VIRTIO_NET_HDR_GSO_TCPV4;
	from_wire(60);
	frame[1] = 0;
	from_wire(61);
	rig_run(r, 100);
	cr_assert_eq(received(1536, NULL), 61);
	cr_assert_eq(metric_get(&m()->rx_fails), 1);
}
