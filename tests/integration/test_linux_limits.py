# SPDX-License-Identifier: Apache-2.0
"""What may be changed while Linux runs: a drive's file and the limits of drives and interfaces."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import CONSOLE, Guest, Network
from mote_process import Mote

Start = Callable[..., Mote]
Guests = Callable[[str], Guest]

MIB = 1 << 20
# Prints how long a command takes, by the guest's clock: `took 3.21`.
TOOK = "took() { read a _ </proc/uptime; \"$@\"; read b _ </proc/uptime; echo $a $b | awk '{ print \"took\", $2 - $1 }'; }"
READ = "took dd if=/dev/vda of=/dev/null bs=64k 2>/dev/null"
SWAPPED = "Drive config error: Unable to patch the block device: "
UNKNOWN = "Network config error: Unable to update the net device: "
ADVICE = " Please verify the request arguments."


def limit(per_second: int, refill_ms: int = 100, burst: int | None = None) -> dict[str, Any]:
    return {"size": per_second * refill_ms // 1000, "refill_time": refill_ms, "one_time_burst": burst}


def boot(mote: Start, debian: Guest, script: str, folder: Path, **drive: Any) -> Mote:
    vm = mote()
    vm.api.machine(1, 256)
    vm.api.must("PUT", "/drives/data", {"drive_id": "data", "is_root_device": False, **drive})
    vm.api.boot_source(debian.vmlinux, CONSOLE, debian.with_script(script, folder))
    vm.api.start()
    return vm


def wait_took(vm: Mote, number: int) -> float:
    vm.wait_text(f"end {number}\n")
    return float(re.findall(r"took ([0-9.]+)\n", vm.text)[number - 1])


@pytest.mark.linux_guest(seconds=40)
def test_drive_grows_and_changes(mote: Start, guest: Guests, folder: Path) -> None:
    """The guest sees a grown file, then another file, and a refused file changes nothing."""
    disk, other = folder / "disk.raw", folder / "other.raw"
    disk.write_bytes(b"first".ljust(512, b".") * 2048)
    other.write_bytes(b"other".ljust(512, b".") * 512)
    script = """
    size() { while [ "$(cat /sys/block/vda/size)" != $1 ]; do sleep 0.1; done; echo size $1; }
    size 2048; size 4096; size 512
    echo 3 >/proc/sys/vm/drop_caches
    dd if=/dev/vda bs=512 count=1 2>/dev/null | head -c 5; echo
    """
    vm = boot(mote, guest("cloud"), script, folder, path_on_host=str(disk))
    vm.wait_text("size 2048\n")
    with disk.open("ab") as file:
        file.truncate(4096 * 512)
    vm.api.must("PATCH", "/drives/data", {"drive_id": "data", "path_on_host": str(disk)})
    vm.wait_text("size 4096\n")

    before = vm.api.get("/vm/config").json
    for body, why in (
        ({"path_on_host": str(folder / "none")}, f"No such file or directory (os error 2) {folder}/none"),
        ({"path_on_host": str(folder)}, "Is a directory (os error 21) "),
        ({}, "Block: Running method expected different backend."),
    ):
        reply = vm.api.patch("/drives/data", {"drive_id": "data", **body})
        assert reply.status == 400 and reply.fault.startswith(SWAPPED) and reply.fault.endswith(ADVICE), reply
        assert why in reply.fault
    reply = vm.api.patch("/drives/none", {"drive_id": "none", "path_on_host": str(other)})
    assert reply.fault == f"{SWAPPED}Failed perform action on device: Device not found{ADVICE}"
    assert vm.api.get("/vm/config").json == before

    vm.api.must("PATCH", "/drives/data", {"drive_id": "data", "path_on_host": str(other)})
    assert vm.api.get("/vm/config").json["drives"][0]["path_on_host"] == str(other)
    assert "size 512\nother\n" in vm.wait_end()


@pytest.mark.linux_guest(seconds=60)
def test_drive_limits(mote: Start, guest: Guests, folder: Path) -> None:
    """The configured rate is what the guest gets; a change holds at once, also for a request that waits."""
    disk = folder / "disk.raw"
    disk.write_bytes(bytes(8 * MIB))
    script = f"""
    {TOOK}
    step() {{ echo 3 >/proc/sys/vm/drop_caches; echo step $1; {READ}; echo end $1; }}
    step 1; while [ "$(cat /sys/block/vda/size)" = 16384 ]; do sleep 0.1; done; step 2
    """
    vm = boot(
        mote, guest("cloud"), script, folder, path_on_host=str(disk), rate_limiter={"bandwidth": limit(MIB, 200), "ops": limit(100_000)}
    )
    # 8 MiB at 1 MiB/s, less the fifth of a second that the full bucket held.
    took = wait_took(vm, 1)
    print(f"measured: {took} s instead of 7.8")
    # Never faster; a busy machine, which stops the guest's clock for moments, may show it slower.
    assert 7.8 * 0.9 < took < 7.8 * 2, took

    # So slow that the next read would take hours; lifted while it waits.
    slow = {"bandwidth": {"size": 1024, "refill_time": 10_000}}
    vm.api.must("PATCH", "/drives/data", {"drive_id": "data", "rate_limiter": slow})
    shown = vm.api.get("/vm/config").json["drives"][0]["rate_limiter"]
    assert shown["bandwidth"] == {"size": 1024, "refill_time": 10_000, "one_time_burst": None}
    assert shown["ops"]["size"] == 10_000, "a bucket that was not given stays"
    with disk.open("ab") as file:
        file.truncate(8 * MIB + 512)
    vm.api.must("PATCH", "/drives/data", {"drive_id": "data", "path_on_host": str(disk)})
    vm.wait_text("step 2\n")
    assert vm.console_is_quiet(2)
    off = {"bandwidth": {"size": 0, "refill_time": 0}, "ops": {"size": 1, "refill_time": 0}}
    vm.api.must("PATCH", "/drives/data", {"drive_id": "data", "rate_limiter": off})
    assert vm.api.get("/vm/config").json["drives"][0]["rate_limiter"] is None
    wait_took(vm, 2)
    vm.wait_end()


@pytest.mark.linux_guest(seconds=40)
def test_interface_limits(mote: Start, guest: Guests, network: Network, folder: Path) -> None:
    """Pings: their requests are limited by tx, configured before the start, the answers to half of it by rx.

    The rates are small, for the nested host of a busy machine sends a few dozen a second.
    """
    script = f"""
    ping -i 0.01 -s 1000 -c 100000 {network.host} >/dev/null &
    while [ "$(cat /sys/class/net/eth0/statistics/rx_bytes)" -lt 15000 ]; do sleep 0.1; done
    echo limited; while [ "$(cat /sys/class/net/eth0/statistics/rx_bytes)" -lt 80000 ]; do sleep 0.1; done
    """
    vm = mote(netns=network.netns)
    tx, rx = {"bandwidth": limit(10_000, 1000)}, {"bandwidth": limit(5_000, 1000)}
    vm.api.machine(1, 256)
    body = {"iface_id": "eth0", "host_dev_name": network.tap, "guest_mac": "06:00:ac:10:00:02", "tx_rate_limiter": tx}
    vm.api.must("PUT", "/network-interfaces/eth0", body)
    debian = guest("cloud")
    vm.api.boot_source(debian.vmlinux, f"{CONSOLE} {network.boot_args}", debian.with_script(script, folder))
    reply = vm.api.patch("/network-interfaces/eth0", {"iface_id": "eth0"})
    assert reply.fault == "The requested operation is not supported before starting the microVM."
    vm.api.start()
    reply = vm.api.patch("/network-interfaces/eth1", {"iface_id": "eth1"})
    assert reply.fault == f"{UNKNOWN}Failed perform action on device: Device not found"
    vm.api.must("PATCH", "/network-interfaces/eth0", {"iface_id": "eth0", "rx_rate_limiter": rx})
    shown = vm.api.get("/vm/config").json["network-interfaces"][0]
    assert shown["rx_rate_limiter"] == {"bandwidth": limit(5_000, 1000), "ops": None}
    assert shown["tx_rate_limiter"] == {"bandwidth": limit(10_000, 1000), "ops": None}

    # Measured by the host's clock and at the host's end, whose names for the directions are the opposite ones.
    vm.wait_text("limited\n")
    count = f"read up _ </proc/uptime; echo $up $(cat /sys/class/net/{network.tap}/statistics/[rt]x_bytes)"
    said = network.run("sh", "-c", f"{count}; sleep 8; {count}").stdout
    before, after = ([float(number) for number in line.split()] for line in said.splitlines())
    tx_rate, rx_rate = ((after[i] - before[i]) / (after[0] - before[0]) for i in (1, 2))
    print(f"measured: rx {rx_rate:.0f} of 5000, tx {tx_rate:.0f} of 10000")
    # Never faster; slower where the machine is too busy for so many pings.
    assert 0.5 * 5_000 < rx_rate < 1.1 * 5_000, rx_rate
    assert 0.5 * 10_000 < tx_rate < 1.1 * 10_000, tx_rate
    off = {"bandwidth": {"size": 0, "refill_time": 0}}
    vm.api.must("PATCH", "/network-interfaces/eth0", {"iface_id": "eth0", "rx_rate_limiter": off, "tx_rate_limiter": off})
    vm.wait_end()
