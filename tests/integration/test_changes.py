# SPDX-License-Identifier: Apache-2.0
"""PATCH of drives and interfaces of a running VM, as the API shows it, and the limit of the serial port."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Network
from mote_process import BOOT_TIMEOUT_S, Mote

pytestmark = pytest.mark.native_ok
Start = Callable[..., Mote]
Tiny = Callable[[str], Path]

DRIVE = "Drive config error: Unable to patch the block device: "
NET = "Network config error: Unable to update the net device: "
BACKEND = "Block: Virtio backend error: Error manipulating the backing file: "
ADVICE = " Please verify the request arguments."
NOT_FOUND = "Failed perform action on device: Device not found"


def bucket(size: int, refill_ms: int, burst: int | None = None) -> dict[str, Any]:
    return {"size": size, "one_time_burst": burst, "refill_time": refill_ms}


@pytest.fixture
def vm(mote: Start, tiny: Tiny, folder: Path) -> Mote:
    """A running VM with one drive."""
    (folder / "disk").write_bytes(bytes(4096))
    vm = mote()
    vm.api.drive("a", folder / "disk")
    vm.api.boot_source(tiny("tick"))
    vm.api.start()
    return vm


def drive(vm: Mote) -> Any:
    return vm.api.get("/vm/config").json["drives"][0]


def test_refusals(vm: Mote, folder: Path) -> None:
    """Each with its whole body; nothing changes, not even when the limiter beside a bad path is good."""
    os.mkfifo(folder / "fifo")
    good = {"ops": bucket(5, 5)}
    rows: list[tuple[str, dict[str, Any], str]] = [
        ("/drives/a", {"drive_id": "a"}, f"{DRIVE}Block: Running method expected different backend.{ADVICE}"),
        ("/drives/b", {"drive_id": "b"}, f"{DRIVE}{NOT_FOUND}{ADVICE}"),
        ("/drives/b", {"drive_id": "b", "rate_limiter": good}, f"{DRIVE}{NOT_FOUND}{ADVICE}"),
        ("/drives/a", {"drive_id": "b"}, "The id from the path does not match the id from the body!"),
        (
            "/drives/a",
            {"drive_id": "a", "path_on_host": f"{folder}/no", "rate_limiter": good},
            f"{DRIVE}{BACKEND}No such file or directory (os error 2) {folder}/no{ADVICE}",
        ),
        (
            "/drives/a",
            {"drive_id": "a", "path_on_host": f"{folder}/fifo"},
            f"{DRIVE}{BACKEND}{folder}/fifo is not a regular file or block device{ADVICE}",
        ),
        ("/network-interfaces/n", {"iface_id": "n"}, f"{NET}{NOT_FOUND}"),
        ("/network-interfaces/n", {"iface_id": "m"}, "The id from the path [n] does not match the id from the body [m]!"),
    ]
    before = vm.api.get("/vm/config").body
    for path, body, fault in rows:
        reply = vm.api.patch(path, body)
        assert (reply.status, reply.fault) == (400, fault), body
    reply = vm.api.patch("/drives/a", {"drive_id": "a", "is_read_only": True})
    assert "unknown field `is_read_only`, expected one of `drive_id`, `path_on_host`, `rate_limiter`" in reply.fault
    assert vm.api.get("/vm/config").body == before
    assert vm.api.get("/").json["state"] == "Running"


def test_buckets_replace_one_by_one(vm: Mote) -> None:
    """A bucket that is not given stays, one of size or time 0 goes, without any the limiter is null."""
    rows: list[tuple[dict[str, Any], dict[str, Any] | None]] = [
        ({}, None),
        ({"ops": bucket(9, 100)}, {"bandwidth": None, "ops": bucket(9, 100)}),
        ({"bandwidth": bucket(4096, 100, 7)}, {"bandwidth": bucket(4096, 100, 7), "ops": bucket(9, 100)}),
        ({"ops": bucket(2**64 - 1, 2**64 - 1)}, {"bandwidth": bucket(4096, 100, 7), "ops": bucket(2**64 - 1, 2**64 - 1)}),
        ({"bandwidth": bucket(0, 100)}, {"bandwidth": None, "ops": bucket(2**64 - 1, 2**64 - 1)}),
        ({"bandwidth": None}, {"bandwidth": None, "ops": bucket(2**64 - 1, 2**64 - 1)}),
        ({"ops": bucket(9, 0)}, None),
    ]
    for limiter, shown in rows:
        vm.api.must("PATCH", "/drives/a", {"drive_id": "a", "rate_limiter": limiter})
        assert drive(vm)["rate_limiter"] == shown


def test_path_while_paused(vm: Mote, folder: Path) -> None:
    (folder / "other").write_bytes(bytes(8192))
    vm.api.must("PATCH", "/vm", {"state": "Paused"})
    vm.api.must("PATCH", "/drives/a", {"drive_id": "a", "path_on_host": f"{folder}/other"})
    vm.api.must("PATCH", "/vm", {"state": "Resumed"})
    assert drive(vm)["path_on_host"] == f"{folder}/other"


def test_direct(mote: Start, tiny: Tiny, folder: Path) -> None:
    """`direct:` before a path opens it for direct I/O; a file that knows none is refused in a sentence."""
    (folder / "disk").write_bytes(bytes(4096))
    try:
        os.close(os.open(folder / "disk", os.O_RDWR | os.O_DIRECT))
    except OSError:
        pytest.skip("no direct I/O on this file system")
    vm = mote()
    path = f"direct:{folder}/disk"
    vm.api.must("PUT", "/drives/a", {"drive_id": "a", "is_root_device": False, "is_read_only": True, "path_on_host": path})
    vm.api.boot_source(tiny("tick"))
    vm.api.start()

    def ways() -> list[int]:
        """The flags with which the file is open."""
        infos, found = Path(f"/proc/{vm.process.pid}/fdinfo"), []
        for fd in Path(f"/proc/{vm.process.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # a connection that was just closed
                if os.readlink(fd) == f"{folder}/disk":
                    found.append(int((infos / fd.name).read_text().split("flags:")[1].split()[0], 8))
        return found

    assert [flags & os.O_DIRECT for flags in ways()] == [os.O_DIRECT]
    assert drive(vm)["path_on_host"] == path
    reply = vm.api.patch("/drives/a", {"drive_id": "a", "path_on_host": "direct:/proc/version"})
    assert reply.status == 400
    assert "Direct I/O on the backing file: Invalid argument (os error 22) /proc/version" in reply.fault
    vm.api.must("PATCH", "/drives/a", {"drive_id": "a", "path_on_host": f"{folder}/disk"})
    assert [flags & os.O_DIRECT for flags in ways()] == [0]
    vm.api.must("PATCH", "/drives/a", {"drive_id": "a", "path_on_host": path})
    assert [flags & os.O_DIRECT for flags in ways()] == [os.O_DIRECT]


def test_no_descriptor_is_lost(vm: Mote, folder: Path) -> None:
    before = vm.fds()
    for _ in range(50):
        vm.api.must("PATCH", "/drives/a", {"drive_id": "a", "path_on_host": f"{folder}/disk"})
        vm.api.patch("/drives/a", {"drive_id": "a", "path_on_host": f"{folder}/no"})
    vm.wait_fds(before)


def test_interface(mote: Start, tiny: Tiny, network: Network) -> None:
    vm = mote(netns=network.netns)
    vm.api.network("eth0", network.tap, "06:00:ac:10:00:02")
    vm.api.boot_source(tiny("tick"))
    vm.api.start()
    rx, tx = {"bandwidth": bucket(4096, 100), "ops": None}, {"bandwidth": None, "ops": bucket(3, 7, 2)}
    vm.api.must("PATCH", "/network-interfaces/eth0", {"iface_id": "eth0", "rx_rate_limiter": rx})
    vm.api.must("PATCH", "/network-interfaces/eth0", {"iface_id": "eth0", "tx_rate_limiter": tx})
    vm.api.must("PATCH", "/network-interfaces/eth0", {"iface_id": "eth0"})
    shown = vm.api.get("/vm/config").json["network-interfaces"][0]
    assert (shown["rx_rate_limiter"], shown["tx_rate_limiter"]) == (rx, tx)


def test_serial_limit(mote: Start, tiny: Tiny, folder: Path) -> None:
    """Of 200000 bytes, the bucket and the burst come out; the others are dropped and counted, and the guest ends."""
    vm = mote()
    limit = bucket(1000, 2**40, 234)
    vm.api.must("PUT", "/serial", {"serial_out_path": f"{folder}/console", "rate_limiter": limit})
    vm.api.must("PUT", "/metrics", {"metrics_path": f"{folder}/metrics"})
    vm.api.boot_source(tiny("flood"))
    vm.api.start()
    assert vm.wait_exit(2 * BOOT_TIMEOUT_S) == 0
    assert (folder / "console").read_bytes() == (b"abcdefghijklmnopqrstuvwxyz" * 50)[:1234]
    lines = [json.loads(line)["uart"] for line in (folder / "metrics").read_text().splitlines()]
    assert sum(line["rate_limiter_dropped_bytes"] for line in lines) == 200000 - 1234
