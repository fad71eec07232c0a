# SPDX-License-Identifier: Apache-2.0
"""The tuned kernel (resources/kernel): no ACPI, processors by the MP table, devices by virtio_mmio.device=, 32 MiB.

Left out where that kernel was not built.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import CONSOLE, TUNED, Guest, Network
from mote_process import BOOT_TIMEOUT_S, Mote

Start = Callable[..., Mote]
Guests = Callable[[str], Guest]


@pytest.mark.linux_guest(seconds=10)
def test_least_memory(mote: Start, guest: Guests, folder: Path) -> None:
    vm = mote()
    vm.api.machine(1, 32)
    vm.api.boot_source(TUNED, f"{CONSOLE} reboot=k guest.end=reboot", guest("cloud").with_script("free -k; uname -r", folder))
    vm.api.start()
    assert "guest: script ended with 0" in vm.wait_end()


@pytest.mark.linux_guest(seconds=15)
def test_devices_without_acpi(mote: Start, guest: Guests, network: Network, folder: Path) -> None:
    debian = guest("cloud")
    script = f"nproc; mount | grep ' / '; echo kept >/mark; sync; ping -c 2 {network.host}; ls /sys/firmware/acpi"
    vm = mote(netns=network.netns)
    vm.api.machine(2, 64)
    vm.api.drive("rootfs", debian.disk(folder), root=True)
    vm.api.network("eth0", network.tap, "06:00:ac:10:00:02")
    args = f"{CONSOLE} reboot=k guest.end=reboot {network.boot_args}"
    vm.api.boot_source(TUNED, args, debian.with_script(script, folder))
    vm.api.start()
    said = vm.wait_end(BOOT_TIMEOUT_S)
    assert "\n2\n" in said
    assert "/dev/vda on / type ext4 (rw" in said
    assert "2 packets received" in said
    assert "/sys/firmware/acpi: No such file" in said
