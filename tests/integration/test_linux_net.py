# SPDX-License-Identifier: Apache-2.0
"""virtio-net through a TAP: ping, and TCP with checksums of the data in both directions."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import CONSOLE, Guest, Network, digest
from mote_process import BOOT_TIMEOUT_S, Mote

Start = Callable[..., Mote]
Guests = Callable[[str], Guest]
MAC = "06:00:ac:10:00:02"


def boot(mote: Start, debian: Guest, network: Network, script: str, folder: Path) -> Mote:
    vm = mote(netns=network.netns)
    vm.api.machine(1, 256)
    vm.api.network("eth0", network.tap, MAC)
    vm.api.boot_source(debian.vmlinux, f"{CONSOLE} {network.boot_args}", debian.with_script(script, folder))
    vm.api.start()
    return vm


@pytest.mark.linux_guest(seconds=20)
@pytest.mark.parametrize("kind", ["generic", "cloud"])
def test_ping_both_ways(mote: Start, guest: Guests, network: Network, folder: Path, kind: str) -> None:
    script = f"cat /sys/class/net/eth0/address; ping -c 3 -s 1472 {network.host}; echo come; nc -l -p 99"
    vm = boot(mote, guest(kind), network, script, folder)
    said = vm.wait_text("come\n")
    assert MAC in said
    assert "3 packets received" in said
    answer = network.run("ping", "-c", "3", "-s", "1472", "-W", "5", network.guest)
    assert " 3 received" in answer.stdout, answer.stdout
    network.knock(network.guest)
    vm.wait_end()


@pytest.mark.linux_guest(seconds=30)
def test_tcp_both_ways(mote: Start, guest: Guests, network: Network, folder: Path) -> None:
    """16 MiB each way, in frames as large as offloads make them, and what arrives is what was sent."""
    data = folder / "data"
    data.write_bytes(bytes(range(251)) * 66843)
    script = f"""
    mount -t tmpfs -o size=64m t /mnt
    nc {network.host} 7001 </dev/null >/mnt/data; sha256sum /mnt/data
    nc {network.host} 7002 </mnt/data
    cat /proc/net/dev
    """
    with network.peers(data, "send", "receive") as (send, receive):
        vm = boot(mote, guest("cloud"), network, script, folder)
        said = vm.wait_end(2 * BOOT_TIMEOUT_S)
        sent, received = digest(send), digest(receive)
    assert re.search(rf"{sent}\s+/mnt/data", said), said
    assert received == sent
