# SPDX-License-Identifier: Apache-2.0
"""Interfaces under load: eight of them with eight disks, peers that do not read, limits that change all the time."""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from conftest import CONSOLE, Guest, Network, digest
from mote_process import BOOT_TIMEOUT_S, Mote

Start = Callable[..., Mote]
Guests = Callable[[str], Guest]
EIGHT = range(1, 9)
MIB = 1 << 20
# How long limits change; longer by hand.
SECONDS = int(os.environ.get("MOTE_TEST_LIMITS_S", "10"))


def pattern(seed: int, length: int) -> bytes:
    return random.Random(seed).randbytes(length)


@pytest.mark.linux_guest(seconds=60)
def test_eight_of_each(mote: Start, guest: Guests, network: Network, folder: Path) -> None:
    """All disks go out through all interfaces at once; one peer reads nothing meanwhile, one tap is down for a moment."""
    go = folder / "go"
    for i in EIGHT:
        (folder / f"disk{i}").write_bytes(pattern(i, 2 * MIB))
        for command in (f"tuntap add dev n{i} mode tap", f"address add 172.17.{i}.1/24 dev n{i}", f"link set n{i} up"):
            subprocess.run(["ip", "-n", network.netns, *command.split()], check=True)
    script = """
    for i in 1 2 3 4 5 6 7 8; do
        ip address add 172.17.$i.2/24 dev eth$((i - 1)); ip link set eth$((i - 1)) up
    done
    echo up; nc -l -p 99
    for i in 1 2 3 4 5 6 7 8; do
        nc 172.17.$i.1 700$i </dev/vd$(echo abcdefgh | cut -c $i) &
    done
    wait
    """
    with network.peers(go, "late", *["receive"] * 7) as (late, *others):
        debian = guest("cloud")
        vm = mote(netns=network.netns)
        vm.api.machine(2, 256)
        for i in EIGHT:
            vm.api.network(f"n{i}", f"n{i}", f"06:00:ac:11:{i:02x}:02")
            vm.api.drive(f"d{i}", folder / f"disk{i}", read_only=True)
        vm.api.boot_source(debian.vmlinux, CONSOLE, debian.with_script(script, folder))
        vm.api.start()
        vm.wait_text("up\n")
        network.knock("172.17.1.2")
        for state in ("down", "up"):
            subprocess.run(["ip", "-n", network.netns, "link", "set", "n8", state], check=True)
            time.sleep(0.3)
        digests = [digest(peer, BOOT_TIMEOUT_S) for peer in others]
        # Who waits for one peer waits alone: its interface still answers others.
        assert late.poll() is None
        assert " 0% packet loss" in network.run("ping", "-c", "3", "-W", "10", "172.17.1.2").stdout
        assert vm.api.get("/").json["state"] == "Running"
        go.touch()
        digests.insert(0, digest(late, BOOT_TIMEOUT_S))
        vm.wait_end()
    assert digests == [sha256(pattern(i, 2 * MIB)).hexdigest() for i in EIGHT]


@pytest.mark.linux_guest(seconds=60)
def test_limits_change_under_load(mote: Start, guest: Guests, network: Network, folder: Path) -> None:
    """TCP both ways while all limits of disk and interface change at random: it goes on, and no byte is lost."""
    data = pattern(0, SECONDS * MIB // 2)
    disk, out = folder / "disk", folder / "out"
    disk.write_bytes(data)
    out.write_bytes(data[::-1])
    script = f"""
    nc {network.host} 7001 </dev/null | sha256sum >/run/sum & nc {network.host} 7002 </dev/vda; wait
    nc -l -p 99; cat /run/sum
    """
    seed = time.time_ns()
    print(f"seed: {seed}")
    dice = random.Random(seed)

    def bucket(largest: int) -> dict[str, int]:
        """Sometimes none, often small."""
        return {"size": dice.choice((0, 1, dice.randrange(largest), largest)), "refill_time": dice.choice((1, 10, 100))}

    def limits() -> dict[str, dict[str, int]]:
        return {"bandwidth": bucket(200_000), "ops": bucket(100)}

    with network.peers(out, "send", "receive") as (_, receive):
        debian = guest("cloud")
        vm = mote(netns=network.netns)
        vm.api.machine(2, 256)
        vm.api.network("eth0", network.tap, "06:00:ac:10:00:02")
        vm.api.drive("disk", disk, read_only=True)
        vm.api.boot_source(debian.vmlinux, f"{CONSOLE} {network.boot_args}", debian.with_script(script, folder))
        vm.api.start()
        vm.wait_text("first line of init")
        until, changes = time.monotonic() + SECONDS, 0
        while time.monotonic() < until:
            interface = {"rx_rate_limiter": limits(), "tx_rate_limiter": limits()}
            vm.api.must("PATCH", "/network-interfaces/eth0", {"iface_id": "eth0", **interface})
            vm.api.must("PATCH", "/drives/disk", {"drive_id": "disk", "rate_limiter": limits()})
            changes += 1
            time.sleep(dice.random() * 0.1)
        none = {"size": 0, "refill_time": 0}
        off = {"bandwidth": none, "ops": none}
        vm.api.must("PATCH", "/network-interfaces/eth0", {"iface_id": "eth0", "rx_rate_limiter": off, "tx_rate_limiter": off})
        vm.api.must("PATCH", "/drives/disk", {"drive_id": "disk", "rate_limiter": off})
        print(f"limits changed {changes} times")  # as often as the machine can
        network.knock(network.guest)
        said = vm.wait_end(2 * BOOT_TIMEOUT_S)
        received = digest(receive)
    assert received == sha256(data).hexdigest()
    assert sha256(data[::-1]).hexdigest() in said
