# SPDX-License-Identifier: Apache-2.0
"""Debian's kernels boot: every format, with and without ACPI, 1 to 32 vCPUs, 128 MiB to 6 GiB."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import CONSOLE, Guest
from mote_process import BOOT_TIMEOUT_S, Mote

Start = Callable[..., Mote]
Guests = Callable[[str], Guest]


def boot(mote: Start, kernel: Path, initrd: Path, args: str = CONSOLE, vcpus: int = 1, mem_mib: int = 256) -> Mote:
    vm = mote()
    vm.api.machine(vcpus, mem_mib)
    vm.api.boot_source(kernel, args, initrd)
    vm.api.start()
    return vm


@pytest.mark.linux_guest(seconds=15)
@pytest.mark.parametrize("kernel_format", ["vmlinux", "bzimage"])
@pytest.mark.parametrize("kind", ["generic", "cloud"])
def test_kernel(mote: Start, guest: Guests, folder: Path, kind: str, kernel_format: str) -> None:
    debian = guest(kind)
    initrd = debian.with_script("uname -r; cat /proc/cmdline; cat /proc/sys/kernel/random/entropy_avail", folder)
    vm = boot(mote, getattr(debian, kernel_format), initrd)
    said = vm.wait_end()
    assert "guest: script ended with 0" in said
    assert CONSOLE in said
    assert ("-cloud-amd64" in said) == (kind == "cloud")


@pytest.mark.linux_guest(seconds=15)
def test_without_acpi(mote: Start, guest: Guests, folder: Path) -> None:
    """Processors come from the MP table; the i8042 ends the machine."""
    debian = guest("generic")
    initrd = debian.with_script("nproc; ls /sys/firmware/acpi 2>&1", folder)
    vm = boot(mote, debian.vmlinux, initrd, f"{CONSOLE} acpi=off reboot=k guest.end=reboot", vcpus=2)
    said = vm.wait_end()
    assert "\n2\n" in said
    assert "No such file" in said


@pytest.mark.linux_guest(seconds=20)
@pytest.mark.parametrize("vcpus", [1, 2, 8, 32])
def test_vcpus_online(mote: Start, guest: Guests, folder: Path, vcpus: int) -> None:
    debian = guest("cloud")
    script = "echo online $(cat /sys/devices/system/cpu/online); grep -c ^processor /proc/cpuinfo; nproc; grep -c 'core id' /proc/cpuinfo"
    vm = boot(mote, debian.vmlinux, debian.with_script(script, folder), vcpus=vcpus)
    said = vm.wait_end(3 * BOOT_TIMEOUT_S)
    online = "0" if vcpus == 1 else f"0-{vcpus - 1}"
    assert f"online {online}\n" in said
    assert said.count(f"\n{vcpus}\n") >= 2


@pytest.mark.linux_guest(seconds=15)
@pytest.mark.parametrize("mem_mib", [88, 128, 1024])
def test_memory(mote: Start, guest: Guests, folder: Path, mem_mib: int) -> None:
    """88 MiB: this kernel's image ends at 62 MiB, and with less than 80 MiB it panics for want of memory. What mote
    does with 32 MiB is shown by a tiny guest (test_endings.py) and by the tuned kernel (test_linux_tuned.py)."""
    debian = guest("cloud")
    script = "dmesg | grep -o 'Memory: .*'; grep MemTotal /proc/meminfo"
    vm = boot(mote, debian.vmlinux, debian.with_script(script, folder), CONSOLE, mem_mib=mem_mib)
    said = vm.wait_end()
    found = re.search(r"Memory: \d+K/(\d+)K available", said)
    assert found, said
    # All but the first MiB's legacy hole and what the monitor's own tables take.
    assert mem_mib * 1024 - 1024 <= int(found.group(1)) <= mem_mib * 1024


@pytest.mark.linux_guest(seconds=40)
def test_memory_beyond_the_hole(mote: Start, guest: Guests, folder: Path) -> None:
    """6 GiB: Linux sees all of it, and 24 MiB above 4 GiB (zone Normal) hold what is written there."""
    debian = guest("cloud")
    script = """
    dmesg | grep -o 'Memory: .*'
    normal_free() { awk '/zone +Normal/ { n = 1 } n && /nr_free_pages/ { print $2; exit }' /proc/zoneinfo; }
    before=$(normal_free)
    mount -t tmpfs -o size=64m t /mnt
    seq 1 300000 >/tmp/piece
    for i in 1 2 3 4 5 6 7 8 9 10 11 12 13; do cat /tmp/piece; done >/mnt/data
    echo taken $((before - $(normal_free)))
    md5sum </mnt/data
    for i in 1 2 3 4 5 6 7 8 9 10 11 12 13; do cat /tmp/piece; done | md5sum
    """
    vm = boot(mote, debian.vmlinux, debian.with_script(script, folder), mem_mib=6144)
    said = vm.wait_end(2 * BOOT_TIMEOUT_S)
    found = re.search(r"Memory: \d+K/(\d+)K available", said)
    assert found, said
    assert 6144 * 1024 - 1024 <= int(found.group(1)) <= 6144 * 1024
    taken = re.search(r"taken (\d+)", said)
    assert taken and int(taken.group(1)) > 24 * 256, said
    sums = re.findall(r"\b([0-9a-f]{32})\b", said)
    assert len(sums) == 2 and sums[0] == sums[1]
