# SPDX-License-Identifier: Apache-2.0
"""Endings that a tiny guest can show: exit codes, signals, terminal and socket afterwards; and the console's edges."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from mote_process import BOOT_TIMEOUT_S, Mote

pytestmark = pytest.mark.native_ok
Start = Callable[..., Mote]
Tiny = Callable[[str], Path]


def start(vm: Mote, kernel: Path, mem_mib: int = 64, args: str | None = None) -> Mote:
    vm.api.machine(1, mem_mib)
    vm.api.boot_source(kernel, args)
    vm.api.start()
    return vm


@pytest.mark.parametrize("name", ["hello", "hello64"])
def test_protocols(mote: Start, tiny: Tiny, name: str) -> None:
    """PVH where the note is there, else the 64-bit protocol; the i8042 ends mote with 0."""
    vm = start(mote(), tiny(name))
    said = vm.wait_end()
    assert "hello from the guest\n" in said or "hello in 64-bit mode\n" in said
    assert vm.sock is not None and not vm.sock.exists()


def test_triple_fault(mote: Start, tiny: Tiny) -> None:
    vm = start(mote(), tiny("triple"))
    assert vm.wait_exit() == 1, vm.said()
    assert "about to fault" in vm.console
    assert "still here" not in vm.console
    assert vm.sock is not None and not vm.sock.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("when", ["before start", "running", "paused"])
def test_signals(mote: Start, tiny: Tiny, number: signal.Signals, when: str) -> None:
    """The supervisor sees the signal; terminal and socket are as if mote had ended by itself."""
    vm = mote(terminal=True)
    if when != "before start":
        start(vm, tiny("tick"))
        vm.wait_text("ticking")
        assert not vm.terminal_is_restored()
    if when == "paused":
        vm.api.must("PATCH", "/vm", {"state": "Paused"})
    vm.signal(number)
    assert vm.wait_exit() == -number
    assert vm.terminal_is_restored()
    assert vm.sock is not None and not vm.sock.exists()


def test_terminal_is_restored_after_the_end(mote: Start, tiny: Tiny) -> None:
    vm = start(mote(terminal=True), tiny("hello"))
    assert vm.wait_exit() == 0
    assert vm.terminal_is_restored()


def test_typed_input(mote: Start, tiny: Tiny) -> None:
    vm = start(mote(terminal=True), tiny("echo"))
    vm.wait_text("echo is ready")
    vm.type("HAL")
    vm.wait_text("IBM")
    vm.type("\x03\x1a\x04")  # Ctrl-C, Ctrl-Z, Ctrl-D are bytes like others
    vm.wait_text("\x04\x1b\x05")
    text = "abcdefgh" * 100  # far more than the UART's FIFO
    vm.type(text)
    vm.wait_text("bcdefghi" * 100)
    vm.type("q")
    assert vm.wait_exit() == 0
    assert vm.terminal_is_restored()


@pytest.mark.parametrize("cut", [False, True])
def test_file_is_cut_under_a_running_guest(mote: Start, tiny: Tiny, folder: Path, cut: bool) -> None:
    """The initrd is mapped, not copied: what the guest has not touched goes with the file, and the VM with it."""
    initrd = folder / "initrd"
    initrd.write_bytes(b"x" * (1 << 20))
    vm = mote(terminal=True)
    vm.api.machine(1, 128)
    vm.api.boot_source(tiny("late"), None, initrd)
    vm.api.start()
    vm.wait_text("late is ready")
    if cut:
        os.truncate(initrd, 4096)
    vm.type("g")
    assert vm.wait_exit() == (149 if cut else 0)
    assert vm.terminal_is_restored()
    said = vm.said()
    assert ("byte x" in said) != cut
    assert ("was cut or could not be read" in said) == cut


def test_nobody_reads(mote: Start, tiny: Tiny) -> None:
    """Three pipes full of output and no reader: the guest runs to its end, and mote does not grow."""
    vm = start(mote(unread=True), tiny("flood"))
    assert vm.wait_exit(2 * BOOT_TIMEOUT_S) == 0
    got = vm.read_unread()
    assert b"abcdefghijklmnopqrstuvwxyzabc" in got
    assert 4096 <= len(got) < 200000


def test_reader_goes_away(mote: Start, tiny: Tiny) -> None:
    """A closed pipe is not the end of the guest."""
    vm = mote(unread=True)
    os.close(vm._console)
    vm._console = -1
    start(vm, tiny("flood"))
    assert vm.wait_exit(2 * BOOT_TIMEOUT_S) == 0


@pytest.mark.parametrize("mem_mib", [32, 128, 3072, 3073, 6144])
def test_memory_map(mote: Start, tiny: Tiny, mem_mib: int) -> None:
    """RAM entries add up to what was asked for, but for the legacy hole; none reaches into the MMIO hole below 4 GiB."""
    vm = start(mote(), tiny("memmap"), mem_mib, "console=ttyS0 marker=1")
    said = vm.wait_end()
    assert "cmdline console=ttyS0 marker=1" in said
    entries = []
    for line in said.splitlines():
        if line.startswith("map "):
            addr, size, kind = (int(x, 16) for x in line.split()[1:])
            entries.append((addr, size, kind))
    ram = [(a, s) for a, s, k in entries if k == 1]
    assert ram
    total = sum(s for _, s in ram)
    assert (mem_mib << 20) - (1 << 20) <= total <= mem_mib << 20
    for addr, size in ram:
        assert addr + size <= 3 << 30 or addr >= 4 << 30
        assert addr + size <= 0x9FC00 or addr >= 1 << 20
    for (a, s, _), (b, _, _) in zip(sorted(entries), sorted(entries)[1:]):
        assert a + s <= b, "entries overlap"
    assert any(addr >= 4 << 30 for addr, _ in ram) == (mem_mib > 3072)


def test_config_file_terminal(mote: Start, tiny: Tiny, folder: Path) -> None:
    """Without an API a terminal is restored too."""
    path = folder / "c.json"
    path.write_text(json.dumps({"boot-source": {"kernel_image_path": str(tiny("tick"))}, "drives": []}))
    vm = mote("--config-file", str(path), "--no-api", api=False, terminal=True)
    vm.wait_text("ticking")
    vm.signal(signal.SIGTERM)
    assert vm.wait_exit() == -signal.SIGTERM
    assert vm.terminal_is_restored()
