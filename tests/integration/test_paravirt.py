# SPDX-License-Identifier: Apache-2.0
"""What KVM does for guests that know it: all that the host offers reaches the guest, and Linux makes use of it."""

from __future__ import annotations

import array
import fcntl
import os
import re
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import CONSOLE, Guest
from mote_process import Mote

Start = Callable[..., Mote]
Tiny = Callable[[str], Path]
Guests = Callable[[str], Guest]

# linux/kvm.h, and struct kvm_cpuid_entry2: function, index, flags, EAX..EDX, padding.
KVM_GET_SUPPORTED_CPUID = 0xC008AE05
ENTRY = struct.Struct("=7I12x")
KVM_FEATURES = 0x40000001


def offered() -> int:
    """EAX of KVM's features, as this host's KVM offers it."""
    most = 256
    buffer = array.array("B", struct.pack("=II", most, 0) + bytes(most * ENTRY.size))
    with open("/dev/kvm", "rb", buffering=0) as kvm:
        fcntl.ioctl(kvm, KVM_GET_SUPPORTED_CPUID, buffer)
    count = struct.unpack_from("=I", buffer)[0]
    entries = [ENTRY.unpack_from(buffer, 8 + i * ENTRY.size) for i in range(count)]
    return next(entry[3] for entry in entries if entry[0] == KVM_FEATURES)


@pytest.mark.native_ok
def test_nothing_is_withheld(mote: Start, tiny: Tiny) -> None:
    vm = mote()
    vm.api.boot_source(tiny("cpuid"))
    vm.api.start()
    found = re.search(r"cpuid: [0-9a-f]{16} [0-9a-f]{16} ([0-9a-f]{16})", vm.wait_end())
    assert found, vm.said()
    assert int(found[1], 16) == offered()
    # kvm-clock (old and new MSRs, stable), steal time, PV EOI: every KVM since Linux 4.14 offers these.
    assert int(found[1], 16) & 0x01000069 == 0x01000069


@pytest.mark.linux_guest(seconds=20)
def test_linux_uses_it(mote: Start, guest: Guests, folder: Path) -> None:
    """Two busy vCPUs on one CPU: the guest's clock is KVM's, and it knows that half of its time was given to others."""
    debian = guest("generic")
    script = """
    dmesg | grep -E 'kvm-clock|kvm-guest'
    echo clock=$(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)
    for i in 1 2; do timeout 2 sh -c 'while :; do :; done' & done
    wait
    set -- $(grep '^cpu ' /proc/stat)
    echo "columns=$# steal=$9"
    """
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})  # mote inherits it
    try:
        vm = mote()
    finally:
        os.sched_setaffinity(0, cpus)
    vm.api.machine(2, 256)
    vm.api.boot_source(debian.vmlinux, CONSOLE, debian.with_script(script, folder))
    vm.api.start()
    said = vm.wait_end()
    assert "guest: script ended with 0" in said
    assert "clock=kvm-clock\n" in said
    assert "kvm-clock: Using msrs 4b564d01 and 4b564d00" in said
    # With one vCPU Linux would need none of these.
    for line in ("KVM setup pv remote TLB flush", "setup PV sched yield", "PV spinlocks enabled", "setup PV IPIs"):
        assert f"kvm-guest: {line}" in said, said
    # "cpu", then user, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice; in hundredths of a second.
    found = re.search(r"columns=11 steal=(\d+)\n", said)
    assert found, said
    assert int(found[1]) > 20, said
