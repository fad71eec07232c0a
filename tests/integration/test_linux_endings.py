# SPDX-License-Identifier: Apache-2.0
"""Every way in which a Linux guest ends, and pausing it. Ends that a tiny guest can show are in test_endings.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import CONSOLE, Guest
from mote_process import BOOT_TIMEOUT_S, Mote

Start = Callable[..., Mote]
Guests = Callable[[str], Guest]


@pytest.mark.linux_guest(seconds=12)
@pytest.mark.parametrize(
    ("args", "script", "status"),
    [
        pytest.param("", "poweroff -f", 0, id="poweroff"),
        pytest.param("", "reboot -f", 0, id="reboot-acpi"),
        pytest.param("reboot=k", "reboot -f", 0, id="reboot-i8042"),
        pytest.param("", "echo c >/proc/sysrq-trigger", 0, id="panic"),
        pytest.param("reboot=t", "reboot -f", 1, id="triple-fault"),
    ],
)
def test_end(mote: Start, guest: Guests, folder: Path, args: str, script: str, status: int) -> None:
    debian = guest("cloud")
    vm = mote()
    vm.api.machine(1, 128)
    vm.api.boot_source(debian.vmlinux, f"{CONSOLE} {args}", debian.with_script(script, folder))
    vm.api.start()
    assert vm.wait_exit(BOOT_TIMEOUT_S) == status, vm.said()
    assert "guest: first line of init" in vm.text
    assert vm.sock is not None and not vm.sock.exists()


@pytest.mark.linux_guest(seconds=20)
def test_pause_and_resume(mote: Start, guest: Guests, folder: Path) -> None:
    debian = guest("cloud")
    script = "n=0; while [ $n -lt 400 ]; do n=$((n + 1)); echo tick $n; usleep 50000; done"
    vm = mote()
    vm.api.machine(2, 128)
    vm.api.boot_source(debian.vmlinux, CONSOLE, debian.with_script(script, folder))
    vm.api.start()
    vm.wait_text("tick 3\n")
    vm.api.must("PATCH", "/vm", {"state": "Paused"})
    assert vm.api.get("/").json["state"] == "Paused"
    assert vm.console_is_quiet(3)
    seen = vm.text.count("tick ")
    vm.api.must("PATCH", "/vm", {"state": "Resumed"})
    vm.wait_text(f"tick {seen + 5}\n")
    assert vm.api.get("/").json["state"] == "Running"
