# SPDX-License-Identifier: Apache-2.0
"""virtio-blk under a real file system."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import CONSOLE, Guest
from mote_process import Mote

Start = Callable[..., Mote]
Guests = Callable[[str], Guest]


def fsck(disk: Path) -> None:
    done = subprocess.run(["e2fsck", "-f", "-n", str(disk)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.linux_guest(seconds=35)
@pytest.mark.parametrize("kind", ["generic", "cloud"])
def test_root_survives_reboot(mote: Start, guest: Guests, folder: Path, kind: str) -> None:
    """Write on the root, reboot (which ends mote with 0), start again: the data is there and the disk is clean."""
    debian = guest(kind)
    disk = debian.disk(folder)
    write = "mount | grep ' / '; seq 1 400000 | head -c 2097152 >/data; sync; sha256sum /data >/sum; echo kept >/etc/mark"
    check = "sha256sum -c /sum && cat /etc/mark"
    for script, end, expected in ((write, "guest.end=reboot", "/dev/vda on / type ext4 (rw"), (check, "", "/data: OK\nkept\n")):
        vm = mote()
        vm.api.machine(1, 256)
        vm.api.drive("rootfs", disk, root=True)
        vm.api.boot_source(debian.vmlinux, f"{CONSOLE} {end}", debian.with_script(script, folder))
        vm.api.start()
        said = vm.wait_end()
        assert expected in said, said
        assert "guest: script ended with 0" in said
        fsck(disk)


@pytest.mark.linux_guest(seconds=15)
def test_several_disks(mote: Start, guest: Guests, folder: Path) -> None:
    """The root comes first whatever the order of requests, a read-only disk takes no write, sizes and ids are right."""
    debian = guest("cloud")
    disk = debian.disk(folder)
    plain, locked = folder / "plain.raw", folder / "locked.raw"
    plain.write_bytes(bytes(1 << 20))
    locked.write_bytes(b"locked".ljust(512, b".") * 4096)
    before = locked.read_bytes()
    script = """
    for d in vda vdb vdc; do echo $d $(cat /sys/block/$d/size) ro=$(cat /sys/block/$d/ro); done
    echo id=$(cat /sys/block/vdb/serial)
    mount | grep ' / '
    dd if=/dev/zero of=/dev/vdc bs=4096 count=1 conv=fsync 2>&1 | head -n 1
    dd if=/dev/vdc bs=1M count=1 2>/dev/null | head -c 6; echo
    yes mote | dd of=/dev/vdb bs=64k count=16 iflag=fullblock conv=fsync 2>&1 | tail -n 1
    """
    vm = mote("--landlock", "files")
    vm.api.machine(1, 256)
    vm.api.drive("plain", plain)
    vm.api.drive("locked", locked, read_only=True)
    vm.api.drive("rootfs", disk, root=True, read_only=True)
    vm.api.boot_source(debian.vmlinux, CONSOLE, debian.with_script(script, folder))
    vm.api.start()
    said = vm.wait_end()
    assert "vda 131072 ro=1\nvdb 2048 ro=0\nvdc 4096 ro=1\n" in said
    assert "id=\n" not in said
    assert "/dev/vda on / type ext4 (ro" in said
    assert "locked\n" in said
    assert locked.read_bytes() == before
    assert plain.read_bytes() == (b"mote\n" * (1 << 18))[: 1 << 20]
