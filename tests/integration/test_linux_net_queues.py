# SPDX-License-Identifier: Apache-2.0
"""An interface of several queue pairs: the guest's CPUs share it, and change how many are in use."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import CONSOLE, TOP, Guest, Network, digest
from mote_process import BOOT_TIMEOUT_S, Mote
from test_linux_net_vhost import need_vhost

Start = Callable[..., Mote]
Guests = Callable[[str], Guest]
TAP = "mq0"


@pytest.fixture
def tap(network: Network) -> Network:
    for command in (f"tuntap add dev {TAP} mode tap multi_queue", "address flush dev tap0",
                    f"address add {network.host}/24 dev {TAP}", f"link set {TAP} up"):
        subprocess.run(["ip", "-n", network.netns, *command.split()], check=True)
    network.tap = TAP
    return network


def channels(folder: Path) -> Path:
    """The program as a disk, whose sectors are whole."""
    out = folder / "channels"
    headers = ["-idirafter", "/usr/include", "-idirafter", "/usr/include/x86_64-linux-gnu"]
    subprocess.run(["musl-gcc", "-static", "-O2", *headers, "-o", str(out), str(TOP / "tests/platform/channels.c")], check=True)
    data = out.read_bytes()
    out.write_bytes(data.ljust(-(-len(data) // 512) * 512, b"\0"))
    return out


@pytest.mark.native_ok
def test_refusals(mote: Start, tap: Network) -> None:
    """Wrong numbers and back ends of one queue are refused with the reason, and change nothing."""
    vm = mote(netns=tap.netns)
    body = {"iface_id": "eth0", "host_dev_name": TAP, "queue_pairs": 4}
    vm.api.must("PUT", "/network-interfaces/eth0", body)
    before = vm.api.get("/vm/config").json
    assert before["network-interfaces"][0]["queue_pairs"] == 4
    for change, why in (
        ({"queue_pairs": 0}, "0 queue pairs are out of range [1, 4]"),
        ({"queue_pairs": 5}, "5 queue pairs are out of range [1, 4]"),
        ({"host_dev_name": "fd:0"}, "fd:0 has one queue pair, not 4; give the name of a tap"),
        ({"host_dev_name": "unix:/x"}, "unix:/x has one queue pair, not 4; give the name of a tap"),
        ({"host_dev_name": "tap0"}, "made with `ip tuntap add NAME mode tap multi_queue`"),
        ({"queue_pairs": 1}, "it must be a single-queue tap"),
    ):
        reply = vm.api.put("/network-interfaces/eth0", body | change)
        assert reply.status == 400 and why in reply.fault, reply
        assert vm.api.get("/vm/config").json == before
    vm.api.must("PUT", "/network-interfaces/eth0", body | {"queue_pairs": 2})
    assert vm.api.get("/vm/config").json["network-interfaces"][0]["queue_pairs"] == 2


@pytest.mark.linux_guest(seconds=60)
@pytest.mark.parametrize("vhost", [False, True])
def test_queues_come_and_go(mote: Start, guest: Guests, tap: Network, folder: Path, vhost: bool) -> None:
    """With 4 vCPUs all pairs are in use; `ethtool -L` changes that, and no byte is lost on the way."""
    if vhost:
        need_vhost()
    data = folder / "data"
    data.write_bytes(bytes(range(251)) * 16711)
    script = f"""
    cat /dev/vda >/channels; chmod +x /channels
    /channels eth0; echo spread; nc -l -p 99
    i=0; until /channels eth0 | grep "received on 4" || [ $i = 100 ]; do sleep 0.1; i=$((i + 1)); done
    mount -t tmpfs -o size=64m t /mnt
    /channels eth0 0; /channels eth0 5
    for i in 1 3 2; do
        /channels eth0 $i
        nc {tap.host} 700$i </dev/null >/mnt/data; sha256sum /mnt/data
    done
    /channels eth0 4
    nc {tap.host} 7004 </mnt/data
    """
    with tap.peers(data, "send", "send", "send", "receive") as peers:
        debian = guest("cloud")
        vm = mote(netns=tap.netns)
        vm.api.machine(4, 256)
        body = {"iface_id": "eth0", "host_dev_name": TAP, "queue_pairs": 4, "vhost": vhost}
        vm.api.must("PUT", "/network-interfaces/eth0", body)
        vm.api.drive("tool", channels(folder), read_only=True)
        vm.api.boot_source(debian.vmlinux, f"{CONSOLE} {tap.boot_args}", debian.with_script(script, folder))
        vm.api.start()
        said = vm.wait_text("spread\n")
        assert "channels 4 of 4\n" in said
        # One datagram from each of many ports: the tap chooses the queue by a hash.
        tap.run("bash", "-c", f"for i in {{1..64}}; do echo x >/dev/udp/{tap.guest}/9; done")
        tap.knock(tap.guest)
        said = vm.wait_end(2 * BOOT_TIMEOUT_S)
        digests = [digest(peer) for peer in peers]
    assert "received on 4\n" in said, said
    assert "cannot set 0: Invalid argument" in said and "cannot set 5: Invalid argument" in said
    for n in (1, 3, 2):
        assert f"channels {n} of 4\n" in said
    assert said.count(digests[0]) == 3 and len(set(digests)) == 1, (digests, said)
