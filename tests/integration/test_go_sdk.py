# SPDX-License-Identifier: Apache-2.0
"""The Go SDK of Firecracker, unmodified. The steps are in tests/clients/go/sdk_test.go; here is what they run on."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import CONSOLE, TOP, Guest, Network, two_disks, watch_disk
from mote_process import BOOT_TIMEOUT_S, TIMEOUT_S

Tiny = Callable[[str], Path]
Guests = Callable[[str], Guest]


def run(name: str, binary: Path, timeout_s: float, **settings: str | Path) -> None:
    program = TOP / "build/clients/go-sdk.test"
    assert program.exists(), f"{program} does not exist: call tests/clients/build"
    env = os.environ | {k: str(v) for k, v in settings.items()} | {"MOTE": str(binary), "MOTE_TIMEOUT_S": str(int(timeout_s))}
    # The program's own limit is for a hang of the SDK: it then shows where every goroutine stands.
    command = [str(program), "-test.v", "-test.run", f"^{name}$", "-test.timeout", f"{int(3 * timeout_s)}s"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    assert f"--- PASS: {name}" in done.stdout, done.stdout


@pytest.mark.native_ok
@pytest.mark.parametrize("name", ["TestStop", "TestStartRefused"])
def test_tiny_guest(binary: Path, tiny: Tiny, name: str) -> None:
    """Start, describe, pause, resume, stop, wait; and a start that is refused."""
    run(name, binary, TIMEOUT_S, KERNEL=tiny("tick"))


@pytest.mark.linux_guest(seconds=45)
def test_life_cycle(binary: Path, guest: Guests, network: Network, folder: Path) -> None:
    """Start, pause, resume, another file behind a drive, limiters, what is refused, Ctrl-Alt-Del, wait."""
    debian = guest("generic")
    one, two = two_disks(folder)
    run(
        "TestLifeCycle",
        binary,
        BOOT_TIMEOUT_S,
        KERNEL=debian.vmlinux,
        INITRD=debian.with_script(watch_disk("/dev/vdb"), folder),
        KERNEL_ARGS=CONSOLE,
        ROOT=debian.disk(folder),
        DISK1=one,
        DISK2=two,
        NETNS=network.netns,
        TAP=network.tap,
        LOG_PATH=folder / "log",
        METRICS_PATH=folder / "metrics",
    )
    assert 'request on "/drives/data"' in (folder / "log").read_text()
    metrics = [json.loads(line) for line in (folder / "metrics").read_text().splitlines()]
    assert sum(m["block"]["update_count"] for m in metrics) >= 2
