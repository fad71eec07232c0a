# SPDX-License-Identifier: Apache-2.0
"""Interfaces under load: eight of them with eight disks, peers that do not read, limits that change all the time.

MOTE_TEST_LIMITS_S=60 sets how long they change, for iperf3 each way; some seconds where nobody says.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from conftest import CONSOLE, Guest, Network, digest
from mote_process import BOOT_TIMEOUT_S, Mote

Start = Callable[..., Mote]
Guests = Callable[[str], Guest]
EIGHT = range(1, 9)
MIB = 1 << 20
SECONDS = int(os.environ.get("MOTE_TEST_LIMITS_S", "10"))
EACH_WAY_S = int(os.environ.get("MOTE_TEST_LIMITS_S", "4"))
# For a boot and both ways; more is a hang.
IPERF_TIMEOUT_S = BOOT_TIMEOUT_S + 8 * EACH_WAY_S
NONE = {"size": 0, "refill_time": 0}
NO_LIMITS = {"bandwidth": NONE, "ops": NONE}


def pattern(seed: int, length: int) -> bytes:
    return random.Random(seed).randbytes(length)


def chance() -> random.Random:
    seed = time.time_ns()
    print(f"seed: {seed}")
    return random.Random(seed)


def limits(dice: random.Random) -> dict[str, dict[str, int]]:
    """Sometimes none, often small."""

    def bucket(largest: int) -> dict[str, int]:
        return {"size": dice.choice((0, 1, dice.randrange(largest), largest)), "refill_time": dice.choice((1, 10, 100))}

    return {"bandwidth": bucket(200_000), "ops": bucket(100)}


def limit_interface(vm: Mote, rx: dict[str, Any], tx: dict[str, Any]) -> None:
    body = {"iface_id": "eth0", "rx_rate_limiter": rx, "tx_rate_limiter": tx}
    vm.api.must("PATCH", "/network-interfaces/eth0", body)


def limit_disk(vm: Mote, limiter: dict[str, Any]) -> None:
    vm.api.must("PATCH", "/drives/disk", {"drive_id": "disk", "rate_limiter": limiter})


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
    dice = chance()
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
            limit_interface(vm, limits(dice), limits(dice))
            limit_disk(vm, limits(dice))
            changes += 1
            time.sleep(dice.random() * 0.1)
        limit_interface(vm, NO_LIMITS, NO_LIMITS)
        limit_disk(vm, NO_LIMITS)
        print(f"limits changed {changes} times")  # as often as the machine can
        network.knock(network.guest)
        said = vm.wait_end(2 * BOOT_TIMEOUT_S)
        received = digest(receive)
    assert received == sha256(data).hexdigest()
    assert sha256(data[::-1]).hexdigest() in said


@contextmanager
def iperf_server(network: Network, tree: Path) -> Iterator[None]:
    """Debian's iperf3 with the libraries that it came with, at the host's end."""
    loader = [str(tree / "lib/ld-linux-x86-64.so.2"), "--library-path", str(tree / "lib")]
    with network.popen(*loader, str(tree / "bin/iperf3"), "--server", "--forceflush") as server:
        try:
            assert server.stdout is not None and any("listening" in line for line in server.stdout)
            yield
        finally:
            server.kill()


@pytest.mark.linux_guest(seconds=30 + 3 * EACH_WAY_S)
def test_iperf3_while_limits_change(mote: Start, guest: Guests, network: Network, tools: Path, folder: Path) -> None:
    """Debian's iperf3 out of a guest and into it while both limits change at random: it ends well, and so does each request."""
    script = f"""
    mount -t ext4 -o ro /dev/vda /mnt
    for m in proc sys dev; do mount --bind /$m /mnt/$m; done
    mount -t tmpfs tmp /mnt/tmp
    for way in out in; do
        [ $way = out ] && more= || more=--reverse
        chroot /mnt iperf3 --client {network.host} --time {EACH_WAY_S} --interval 0 --format k $more >/run/$way 2>&1
        status=$?
        sed "s/^/$way: /" /run/$way
        echo "$way ended with $status"
    done
    nc -l -p 99
    """
    dice = chance()
    slowest_s, changes = 0.0, 0
    with iperf_server(network, tools.parent / "tree"):
        debian = guest("cloud")
        vm = mote(netns=network.netns)
        vm.api.machine(2, 256)
        vm.api.network("eth0", network.tap, "06:00:ac:10:00:02")
        vm.api.drive("tools", tools, read_only=True)
        vm.api.boot_source(debian.vmlinux, f"{CONSOLE} {network.boot_args}", debian.with_script(script, folder))
        vm.api.start()
        end = time.monotonic() + IPERF_TIMEOUT_S
        while not re.search(r"in ended with \d+\n", vm.console):
            before = time.monotonic()
            assert before < end, vm.said()
            limit_interface(vm, limits(dice), limits(dice))
            assert vm.api.get("/").json["state"] == "Running"
            slowest_s = max(slowest_s, time.monotonic() - before)
            changes += 1
            time.sleep(dice.random() * 0.1)
        said = vm.console
        rates = dict(re.findall(r"(out|in): .* ([\d.]+) Kbits/sec +receiver", said))
        print(f"limits changed {changes} times, the slowest two requests took {slowest_s:.3f} s; Kbit/s: {rates}")
        for way in ("out", "in"):
            assert f"{way} ended with 0\n" in said, said
            assert float(rates[way]) > 0, said
        limit_interface(vm, NO_LIMITS, NO_LIMITS)
        counters = vm.api.get("/metrics").body
        network.knock(network.guest)
        vm.wait_end()
    for way in ("rx", "tx"):
        held = re.search(rf"^mote_net_{way}_rate_limiter_throttled_total{{[^}}]*}} (\d+)", counters, re.MULTILINE)
        assert held and int(held[1]) > 0, counters
