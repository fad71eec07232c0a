# SPDX-License-Identifier: Apache-2.0
"""`vhost` of an interface: the host's kernel moves the frames, and mote only begins and ends that."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import CONSOLE, Guest, Network, digest
from mote_process import BOOT_TIMEOUT_S, NESTED, TIMEOUT_S, Mote

Start = Callable[..., Mote]
Guests = Callable[[str], Guest]
BODY = {"iface_id": "eth0", "host_dev_name": "tap0", "vhost": True}
PUT_FAILED = "Network config error: Could not create the network device: "
NO_LIMITS = "with vhost the host's kernel moves the frames, so there are no rate limiters"
LIMITER = {"bandwidth": {"size": 1000, "refill_time": 100}}


def need_vhost() -> None:
    """Emulated hosts must have it."""
    if not NESTED and not os.path.exists("/dev/vhost-net"):
        pytest.skip("needs /dev/vhost-net: modprobe vhost_net")


def workers(pid: int) -> list[str]:
    """The kernel's threads that move the frames of this mote: its own, or threads of the process since Linux 6.4."""
    found = []
    for path in (*Path("/proc").glob("[0-9]*/comm"), *Path(f"/proc/{pid}/task").glob("*/comm")):
        try:
            found.append(path.read_text().strip())
        except OSError:
            continue
    return [name for name in found if name == f"vhost-{pid}"]


@pytest.mark.native_ok
def test_refusals(mote: Start, network: Network) -> None:
    """What cannot work is refused with the reason, before anything changes."""
    vm = mote(netns=network.netns)
    bad = [
        ({"rx_rate_limiter": LIMITER}, NO_LIMITS),
        ({"tx_rate_limiter": LIMITER}, NO_LIMITS),
        ({"host_dev_name": "unix:/x"}, "vhost needs a TAP, which unix:/x is not"),
    ]
    if not os.path.exists("/dev/vhost-net"):
        bad.append(({}, "vhost needs /dev/vhost-net (`modprobe vhost_net`, rights of this user, in a jail --vhost-net): "
                        "No such file or directory (os error 2)"))
    for change, why in bad:
        reply = vm.api.put("/network-interfaces/eth0", BODY | change)
        assert (reply.status, reply.fault) == (400, PUT_FAILED + why)
        assert vm.api.get("/vm/config").json["network-interfaces"] == []
    vm.api.must("PUT", "/network-interfaces/eth0", BODY | {"vhost": False})
    assert vm.api.get("/vm/config").json["network-interfaces"][0]["vhost"] is False


@pytest.mark.linux_guest(seconds=45)
def test_tcp_both_ways(mote: Start, guest: Guests, network: Network, folder: Path) -> None:
    """
    Both ways and again after the driver has let go of the device, with pauses meanwhile: what arrives is what was sent,
    and no frame came through mote. After kill -9 nothing is left.
    """
    need_vhost()
    data = folder / "data"
    data.write_bytes(bytes(range(251)) * 33421)
    script = f"""
    mount -t tmpfs -o size=64m t /mnt
    nc {network.host} 7001 </dev/null >/mnt/data; sha256sum /mnt/data
    nc {network.host} 7002 </mnt/data
    cd /sys/bus/virtio/drivers/virtio_net; for d in virtio*; do echo $d >unbind; echo $d >bind; done
    ip address add {network.guest}/24 dev eth0; ip link set eth0 up
    rm /mnt/data
    nc {network.host} 7003 </dev/null >/mnt/data; sha256sum /mnt/data
    nc {network.host} 7004 </mnt/data
    echo told; nc -l -p 99; echo heard; sleep 1000
    """
    with network.peers(data, "send", "receive", "send", "receive") as peers:
        debian = guest("cloud")
        vm = mote(netns=network.netns)
        pid = vm.process.pid
        vm.api.machine(1, 256)
        vm.api.must("PUT", "/network-interfaces/eth0", BODY)
        vm.api.boot_source(debian.vmlinux, f"{CONSOLE} {network.boot_args}", debian.with_script(script, folder))
        vm.api.start()
        assert vm.api.get("/vm/config").json["network-interfaces"][0]["vhost"] is True
        assert len(workers(pid)) == 1
        patch = vm.api.patch("/network-interfaces/eth0", {"iface_id": "eth0", "rx_rate_limiter": LIMITER})
        assert (patch.status, patch.fault) == (400, f"Network config error: Unable to update the net device: {NO_LIMITS}")
        end = time.monotonic() + 2 * BOOT_TIMEOUT_S
        while "told\n" not in vm.text and time.monotonic() < end:
            vm.api.must("PATCH", "/vm", {"state": "Paused"})
            vm.api.must("PATCH", "/vm", {"state": "Resumed"})
            time.sleep(1)
        said = vm.wait_text("told\n")
        network.knock(network.guest)
        vm.wait_text("heard\n")
        sums = {digest(peer) for peer in peers}
    assert len(sums) == 1 and said.count(sums.pop()) == 2, said
    counted = re.findall(r'mote_net_[rt]x_packets_total\{iface="eth0"\} (\d+)', vm.api.get("/metrics").body)
    assert counted == ["0", "0"]
    vm.signal(signal.SIGKILL)
    vm.wait_exit()
    end = time.monotonic() + TIMEOUT_S
    while workers(pid):
        assert time.monotonic() < end, "the kernel's thread outlives mote"
        time.sleep(0.05)
    mote(netns=network.netns).api.must("PUT", "/network-interfaces/eth0", BODY)


@pytest.mark.parametrize("vhost", [
    pytest.param(False, marks=pytest.mark.native_ok),
    pytest.param(True, marks=pytest.mark.linux_guest(seconds=5)),
])
def test_hostile_rings(mote: Start, tiny: Callable[[str], Path], network: Network, vhost: bool) -> None:
    """A ring or a frame outside RAM makes the device need a reset; after one it is as good as new."""
    if vhost:
        need_vhost()
    vm = mote(netns=network.netns)
    vm.api.must("PUT", "/network-interfaces/eth0", BODY | {"vhost": vhost})
    vm.api.boot_source(tiny("rings"))
    vm.api.start()
    said = vm.wait_end()
    assert said.splitlines() == [
        "ring refused", "frame refused", "frame sent", "frame sent", "frame refused", "frame sent"
    ], vm.said()
    assert "the device needs a reset" in vm.text
