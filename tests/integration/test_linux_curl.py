# SPDX-License-Identifier: Apache-2.0
"""The life of a Linux guest, driven by curl: every request as a person would type it, several over one connection."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import CONSOLE, Guest, Network, two_disks, watch_disk
from mote_process import BOOT_TIMEOUT_S, TIMEOUT_S, Mote

Start = Callable[..., Mote]
Guests = Callable[[str], Guest]


class Curl:
    """curl on a Unix socket."""

    def __init__(self, sock: Path) -> None:
        self.base = ["curl", "-sS", "--max-time", str(TIMEOUT_S), "--unix-socket", str(sock), "-w", "\n%{http_code}\n"]

    def run(self, *arguments: str) -> str:
        return subprocess.run([*self.base, *arguments], capture_output=True, text=True, check=True).stdout

    def send(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, str]:
        # --data makes curl say application/x-www-form-urlencoded: mote does not mind.
        text, _, status = self.run("-X", method, f"http://localhost{path}", "--data", json.dumps(body)).rstrip("\n").rpartition("\n")
        return int(status), text

    def must(self, method: str, path: str, body: dict[str, Any]) -> None:
        status, text = self.send(method, path, body)
        assert status == 204, f"{method} {path}: {status} {text}"

    def state(self) -> str:
        return str(json.loads(self.run("http://localhost/").rpartition("\n")[0].rpartition("\n")[0])["state"])


@pytest.mark.linux_guest(seconds=35)
def test_life_cycle(mote: Start, guest: Guests, network: Network, folder: Path) -> None:
    debian = guest("cloud")
    one, two = two_disks(folder)
    vm = mote(netns=network.netns)
    assert vm.sock is not None
    curl = Curl(vm.sock)
    initrd = debian.with_script(watch_disk("/dev/vda"), folder)
    source = {"kernel_image_path": str(debian.vmlinux), "initrd_path": str(initrd), "boot_args": CONSOLE}
    curl.must("PUT", "/machine-config", {"vcpu_count": 1, "mem_size_mib": 256})
    curl.must("PUT", "/boot-source", source)
    curl.must("PUT", "/drives/data", {"drive_id": "data", "path_on_host": str(one), "is_root_device": False, "is_read_only": True})
    curl.must("PUT", "/network-interfaces/eth0", {"iface_id": "eth0", "host_dev_name": network.tap})
    curl.must("PUT", "/actions", {"action_type": "InstanceStart"})
    assert curl.state() == "Running"
    vm.wait_text("data=one")

    curl.must("PATCH", "/vm", {"state": "Paused"})
    assert curl.state() == "Paused"
    assert vm.console_is_quiet(1)
    curl.must("PATCH", "/vm", {"state": "Resumed"})
    limit = {"bandwidth": {"size": 1 << 20, "refill_time": 1000}}
    curl.must("PATCH", "/drives/data", {"drive_id": "data", "path_on_host": str(two), "rate_limiter": limit})
    vm.wait_text("data=two")
    curl.must("PATCH", "/network-interfaces/eth0", {"iface_id": "eth0", "rx_rate_limiter": limit})
    for method in ("PUT", "PATCH"):
        status, text = curl.send(method, "/mmds", {"a": "b"})
        assert status == 400 and "fault_message" in json.loads(text)

    # Two requests over one connection, as curl makes them of two addresses.
    both = curl.run("-v", "http://localhost/version", "http://localhost/machine-config")
    assert both.count("\n200\n") == 2

    curl.must("PUT", "/actions", {"action_type": "SendCtrlAltDel"})
    assert vm.wait_exit(BOOT_TIMEOUT_S) == 0, vm.said()
