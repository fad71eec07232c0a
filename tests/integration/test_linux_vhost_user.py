# SPDX-License-Identifier: Apache-2.0
"""Drives with a socket: Linux on disk formats that another process understands, and on a back end that dies."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import CONSOLE, Guest
from mote_process import Mote
from storage_daemon import FORMATS, StorageDaemon, image_tool, options_of

Start = Callable[..., Mote]
Guests = Callable[[str], Guest]
Serve = Callable[..., StorageDaemon]
MIB = 1 << 20


@pytest.fixture
def serve(folder: Path) -> Iterator[Serve]:
    running: list[StorageDaemon] = []

    def start(images: dict[str, tuple[str, Path]], read_only: bool = False) -> StorageDaemon:
        running.append(StorageDaemon(folder, images, read_only))
        return running[-1]

    yield start
    for daemon in running:
        daemon.stop(kill=True)


def attach(vm: Mote, daemon: StorageDaemon, name: str, root: bool = False) -> None:
    body = {"drive_id": name, "socket": str(daemon.socket(name)), "is_root_device": root, "cache_type": "Writeback"}
    vm.api.must("PUT", f"/drives/{name}", body)


@pytest.mark.linux_guest(seconds=40)
def test_formats(mote: Start, guest: Guests, folder: Path, serve: Serve) -> None:
    """The root is a qcow2; VMDK, VHD and raw beside it are written, flushed and read by the guest, then on the host."""
    debian = guest("cloud")
    images = {"root": ("qcow2", folder / "root.qcow2")}
    image_tool("convert", "-O", "qcow2", debian.disk(folder), images["root"][1])
    for kind in FORMATS:
        images[kind] = (kind, folder / f"data.{kind}")
        image_tool("create", "-q", "-f", *options_of(kind), images[kind][1], "16M")
    daemon = serve(images)
    locked = folder / "locked.raw"
    locked.write_bytes(bytes(MIB))
    reader = serve({"locked": ("raw", locked)}, read_only=True)
    script = """
    mount | grep ' / '
    echo kept >/etc/mark
    for d in vdb vdc vdd vde vdf; do
        yes "a line of $d, of 32 characters" | head -c 262144 >/tmp/data
        dd if=/tmp/data of=/dev/$d bs=64k seek=16 conv=fsync 2>/dev/null
        echo 3 >/proc/sys/vm/drop_caches
        dd if=/dev/$d bs=64k skip=16 count=4 2>/dev/null | cmp - /tmp/data && same=yes
        echo $d $(($(cat /sys/block/$d/size) / 2048)) ro=$(cat /sys/block/$d/ro) $(cat /sys/block/$d/queue/write_cache) $same
    done
    echo vdg ro=$(cat /sys/block/vdg/ro) $(dd if=/dev/zero of=/dev/vdg bs=4096 count=1 conv=fsync 2>&1 | grep -c 'not permitted')
    """
    vm = mote()
    vm.api.machine(2, 256)
    for name in images:
        attach(vm, daemon, name, root=name == "root")
    attach(vm, reader, "locked")
    vm.api.boot_source(debian.vmlinux, CONSOLE, debian.with_script(script, folder))
    vm.api.start()
    drives = vm.api.get("/vm/config").json["drives"]
    assert drives[1] == {
        "drive_id": "qcow2", "partuuid": None, "is_root_device": False, "cache_type": "Writeback", "is_read_only": None,
        "path_on_host": None, "rate_limiter": None, "io_engine": None, "socket": str(daemon.socket("qcow2")),
    }  # fmt: skip
    said = vm.wait_end()
    assert "/dev/vda on / type ext4 (rw" in said, said
    for disk in ("vdb", "vdc", "vdd", "vde", "vdf"):
        assert f"{disk} 16 ro=0 write back yes\n" in said, said
    assert "vdg ro=1 1\n" in said, said
    daemon.stop()

    raw = folder / "out.raw"
    for disk, kind in zip(("vdb", "vdc", "vdd", "vde", "vdf"), FORMATS):
        driver, path = FORMATS[kind][0], images[kind][1]
        image_tool("convert", "-f", driver, "-O", "raw", path, raw)
        data = raw.read_bytes()
        line = f"a line of {disk}, of 32 characters\n".encode()
        assert data.startswith(bytes(MIB) + (line * 40000)[: MIB // 4] + bytes(MIB)), kind
        if kind in ("qcow2", "vmdk"):
            image_tool("check", "-f", driver, path)
    image_tool("check", "-f", "qcow2", images["root"][1])
    image_tool("convert", "-f", "qcow2", "-O", "raw", images["root"][1], raw)
    done = subprocess.run(["e2fsck", "-f", "-n", str(raw)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    done = subprocess.run(["debugfs", "-R", "cat /etc/mark", str(raw)], capture_output=True, text=True, check=True)
    assert done.stdout == "kept\n"


@pytest.mark.linux_guest(seconds=45)
def test_back_end_dies_and_returns(mote: Start, guest: Guests, folder: Path, serve: Serve) -> None:
    """Killed three times under load from several writers: each request is answered once it is back, data is right, and
    the driver lets go of the disk and takes it again."""
    debian = guest("cloud")
    disk = folder / "data.qcow2"
    image_tool("create", "-q", "-f", "qcow2", disk, "64M")
    daemon = serve({"data": ("qcow2", disk)})
    script = """
    fill() { yes "writer $1 round $2" | head -c 1048576; }
    for w in 1 2 3 4; do
        (for n in 1 2 3 4 5 6 7 8; do
            fill $w $n | dd of=/dev/vda bs=4k seek=$((w * 2048)) iflag=fullblock conv=fsync 2>/dev/null || echo failed
            [ $w != 1 ] || echo round $n
        done) &
    done
    wait
    echo 3 >/proc/sys/vm/drop_caches
    for w in 1 2 3 4; do
        fill $w 8 >/tmp/expected
        dd if=/dev/vda bs=4k skip=$((w * 2048)) count=256 2>/dev/null | cmp - /tmp/expected && echo right $w
    done
    device=$(basename $(readlink -f /sys/block/vda/device))
    echo $device >/sys/bus/virtio/drivers/virtio_blk/unbind
    echo $device >/sys/bus/virtio/drivers/virtio_blk/bind
    dd if=/dev/vda bs=4k skip=2048 count=1 2>/dev/null | head -n 1
    """
    vm = mote("--metrics-path", str(folder / "metrics"))
    vm.api.machine(2, 256)
    attach(vm, daemon, "data")
    vm.api.boot_source(debian.vmlinux, CONSOLE, debian.with_script(script, folder))
    vm.api.start()
    for rounds in (1, 3, 5):
        vm.wait_text(f"round {rounds}\n")
        daemon.stop(kill=True)
        time.sleep(0.3)
        daemon.start()
    said = vm.wait_end()
    assert "failed" not in said, said
    for writer in (1, 2, 3, 4):
        assert f"right {writer}\n" in said, said
    assert "\nwriter 1 round 8\n" in said, said
    assert "needs a reset" not in said
    assert '"vhost_user_block_data":{' in (folder / "metrics").read_text()
