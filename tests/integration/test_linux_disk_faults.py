# SPDX-License-Identifier: Apache-2.0
"""Disks that have to be waited for, break, fill up, are exchanged or lose their mote; with both engines."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import CONSOLE, Guest
from mote_process import Mote

Start = Callable[..., Mote]
Guests = Callable[[str], Guest]
Device = Callable[[Path], Path]

MIB = 1 << 20
KILL_ROUNDS = int(os.environ.get("MOTE_KILL_ROUNDS", "2"))
both = pytest.mark.parametrize("engine", ["Sync", "Async"])


def run(*command: str | Path) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture
def loop_device() -> Iterator[Device]:
    """loop_device(file): a block device, for what lies in memory is never waited for."""
    made: list[str] = []

    def make(file: Path) -> Path:
        made.append(run("losetup", "-f", "--show", file).strip())
        return Path(made[-1])

    yield make
    for device in made:
        subprocess.run(["losetup", "-d", device], check=False)


def boot(mote: Start, debian: Guest, script: str, folder: Path, *drives: dict[str, Any], vcpus: int = 1) -> Mote:
    vm = mote(terminal=True)
    vm.api.machine(vcpus, 256)
    for number, drive in enumerate(drives):
        vm.api.must("PUT", f"/drives/d{number}", {"drive_id": f"d{number}", "is_root_device": False, **drive})
    vm.api.must("PUT", "/metrics", {"metrics_path": str(folder / "metrics")})
    vm.api.boot_source(debian.vmlinux, CONSOLE, debian.with_script(script, folder))
    vm.api.start()
    return vm


def drive(path: Path, engine: str | None = None, cache: str = "Writeback") -> dict[str, Any]:
    return {"path_on_host": str(path), "cache_type": cache, **({"io_engine": engine} if engine else {})}


def rings(vm: Mote) -> int:
    """io_urings among the descriptors of mote."""
    links = [os.readlink(fd) for fd in Path(f"/proc/{vm.process.pid}/fd").iterdir()]
    return links.count("anon_inode:[io_uring]")


@pytest.mark.linux_guest(seconds=15)
@pytest.mark.parametrize("engine", ["Sync", "Async", None, "direct"])
def test_engines(mote: Start, guest: Guests, folder: Path, loop_device: Device, engine: str | None) -> None:
    """What four readers and writers at once put on two disks is there, also when no cache has it."""
    files = [folder / "0.raw", folder / "1.raw"]
    for file in files:
        file.write_bytes(bytes(8 * MIB))
    devices = [loop_device(file) for file in files]
    script = """
    for d in vda vdb; do for i in 0 1; do
        head -c 3m /dev/urandom >/$d$i
        (dd if=/$d$i of=/dev/$d bs=1M seek=$((4 * i)) conv=fsync 2>&1 || echo failed) | grep -v records &
    done; done; wait
    echo written; read _
    echo 3 >/proc/sys/vm/drop_caches
    for d in vda vdb; do for i in 0 1; do
        [ "$(sha256sum </$d$i)" = "$(dd if=/dev/$d bs=1M skip=$((4 * i)) count=3 2>/dev/null | sha256sum)" ] && echo same &
    done; done; wait
    """
    if engine == "direct":
        drives = [drive(Path(f"direct:{device}")) for device in devices]
    else:
        drives = [drive(device, engine) for device in devices]
    vm = boot(mote, guest("cloud"), script, folder, *drives)
    vm.wait_text("written\n")
    assert rings(vm) == (0 if engine == "Sync" else 1)
    for device in devices:
        run("blockdev", "--flushbufs", device)  # empties the host's cache
    vm.type("\n")
    said = vm.wait_end()
    assert said.count("same\n") == 4, said
    assert "failed" not in said


def stop_at_random(vm: Mote, chance: random.Random) -> str:
    """kill -9 while files are written; what had been said by then."""
    vm.wait_text(f"synced {chance.randrange(3, 12)} ")
    time.sleep(chance.random() / 2)
    vm.signal(signal.SIGKILL)
    vm.wait_exit()
    return vm.text


@pytest.mark.linux_guest(seconds=20 * KILL_ROUNDS)
@both
def test_killed(mote: Start, guest: Guests, folder: Path, loop_device: Device, engine: str) -> None:
    """After kill -9 of mote the file system is sound, and every file that the guest had synced is whole."""
    file, copy = folder / "disk.raw", folder / "copy"
    script = """
    mkdir /mnt; mount -t ext4 /dev/vda /mnt || echo mount failed
    i=0
    while i=$((i + 1)); do
        head -c $((i * 7919 % 300000 + 1)) /dev/urandom >/x
        dd if=/x of=/mnt/f$i bs=64k conv=fsync 2>/dev/null
        echo synced $i $(sha256sum </x)
        rm -f /mnt/f$((i - 40))
        head -c 200000 /dev/urandom >>/mnt/rest; [ $((i % 8)) != 0 ] || rm /mnt/rest
    done
    """
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    checked = 0
    with file.open("wb") as disk:
        disk.truncate(32 * MIB)
    path = loop_device(file)
    for number in range(KILL_ROUNDS):
        run("mke2fs", "-q", "-F", "-t", "ext4", path)
        vm = boot(mote, guest("cloud"), script, folder, drive(path, engine))
        said = stop_at_random(vm, chance)
        where = f"seed {seed}, round {number}"
        replay = subprocess.run(["e2fsck", "-p", str(path)], capture_output=True, text=True, check=False)
        assert replay.returncode in (0, 1), f"{where}: {replay.stdout}"
        run("e2fsck", "-f", "-n", path)
        synced = re.findall(r"synced (\d+) ([0-9a-f]{64})", said)
        for name, total in synced[-39:]:
            run("debugfs", "-R", f"dump /f{name} {copy}", path)
            assert run("sha256sum", copy).split()[0] == total, f"{where}, file {name} of {len(synced)}"
            checked += 1
    assert checked >= 3 * KILL_ROUNDS
    print(f"{KILL_ROUNDS} kills, {checked} files")


@pytest.fixture
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 6 MiB."""
    where = folder / "small"
    where.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", where)
    yield where
    subprocess.run(["umount", "-l", str(where)], check=False)


@pytest.mark.linux_guest(seconds=15)
@both
def test_host_disk_full(mote: Start, guest: Guests, folder: Path, small_disk: Path, engine: str) -> None:
    """The guest gets an I/O error for what does not fit, keeps the rest, and goes on when there is room again."""
    with (small_disk / "disk.raw").open("wb") as file:
        file.truncate(16 * MIB)
    script = """
    head -c 1m /dev/urandom >/x
    put() { dd if=/x of=/dev/vda bs=1M seek=$1 oflag=direct 2>&1 | grep -o 'Input/output error'; echo put $1; }
    for i in 0 1 2 3 4 5 6 7; do put $i; done
    for i in 0 1; do dd if=/dev/vda bs=1M skip=$i count=1 iflag=direct 2>/dev/null | cmp - /x && echo kept; done
    echo full; read _
    put 9; echo again
    """
    vm = boot(mote, guest("cloud"), script, folder, drive(small_disk / "disk.raw", engine))
    said = vm.wait_text("full\n")
    assert said.count("kept\n") == 2
    assert "Input/output error\nput 7\n" in said
    run("mount", "-o", "remount,size=20m", small_disk)
    vm.type("\n")
    said = vm.wait_end()
    assert "put 9\nagain\n" in said
    assert "error\nput 9" not in said


@pytest.fixture
def broken(folder: Path, loop_device: Device) -> Iterator[Path]:
    """A device of 8 MiB, of which the second half gives errors."""
    (folder / "below.raw").write_bytes(b"good".ljust(512, b".") * (8 * MIB // 512))
    below, name = loop_device(folder / "below.raw"), f"mote-{os.getpid()}"
    table = f"0 8192 linear {below} 0\n8192 8192 error"
    subprocess.run(["dmsetup", "create", "--noudevrules", "--noudevsync", name], input=table, text=True, check=True)
    run("dmsetup", "mknodes")
    yield Path("/dev/mapper") / name
    subprocess.run(["dmsetup", "remove", "--noudevsync", name], check=False)


@pytest.mark.linux_guest(seconds=15)
@both
def test_device_errors(mote: Start, guest: Guests, folder: Path, broken: Path, engine: str) -> None:
    """An error of the host's device is one for the guest, whose other requests are not touched by it."""
    script = """
    error() { "$@" 2>&1 | grep -o 'Input/output error'; }
    cd /dev
    while :; do dd if=vda of=/dev/null bs=64k count=64 iflag=direct 2>&1 || echo bad; [ -e /stop ] && break; done | grep bad &
    for i in 1 2 3; do
        error dd if=vda of=/dev/null bs=4k skip=1024 count=1 iflag=direct && echo read
        error dd if=/dev/zero of=vda bs=4k seek=1500 count=1 conv=fsync && echo write
        error dd if=vda of=/dev/null bs=1M skip=3 count=2 iflag=direct && echo across
    done
    touch /stop; wait
    dd if=vda bs=512 skip=8191 count=1 2>/dev/null | head -c 4; echo
    """
    vm = boot(mote, guest("cloud"), script, folder, drive(broken, engine))
    said = vm.wait_end()
    for what in ("read", "write", "across"):
        assert said.count(f"Input/output error\n{what}\n") == 3, said
    assert "good\n" in said
    assert "bad" not in said


@pytest.fixture
def freezer(folder: Path, loop_device: Device) -> Iterator[Path]:
    """A file system that the test may freeze: whoever changes it then waits until it is thawed."""
    where, image = folder / "freezer", folder / "freezer.raw"
    with image.open("wb") as file:
        file.truncate(32 * MIB)
    device = loop_device(image)
    run("mke2fs", "-q", "-t", "ext4", device)
    where.mkdir()
    run("mount", device, where)
    yield where
    subprocess.run(["fsfreeze", "-u", str(where)], check=False, capture_output=True)
    run("umount", "-l", where)


@pytest.mark.native_ok
def test_discard_that_waits(mote: Start, tiny: Callable[[str], Path], folder: Path, freezer: Path) -> None:
    """A discard that the host cannot do yet holds up neither the API nor the guest's console, and is done in the end."""
    disk, other = freezer / "disk.raw", folder / "other.raw"
    for file in (disk, other):
        file.write_bytes(b"x" * 8 * MIB)
    vm = mote(terminal=True)
    vm.api.machine(1, 64)
    vm.api.must("PUT", "/drives/d0", {"drive_id": "d0", "is_root_device": False, **drive(disk)})
    vm.api.must("PUT", "/drives/d1", {"drive_id": "d1", "is_root_device": False, **drive(other)})
    vm.api.boot_source(tiny("trim"))
    vm.api.start()
    vm.wait_text("ready")
    run("fsfreeze", "-f", freezer)
    vm.type("x")
    vm.wait_text("asked")
    for _ in range(3):
        vm.api.must("PATCH", "/drives/d1", {"drive_id": "d1", "path_on_host": str(other)})
    assert "trimmed" not in vm.text
    run("fsfreeze", "-u", freezer)
    assert "trimmed" in vm.wait_end()
    assert disk.read_bytes() == b"x" * MIB + bytes(4 * MIB) + b"x" * 3 * MIB


@pytest.mark.linux_guest(seconds=25)
@both
def test_exchange_under_load(mote: Start, guest: Guests, folder: Path, loop_device: Device, engine: str) -> None:
    """PATCH of path_on_host to and fro while two readers and two writers work: no error, nothing is lost."""
    files = [folder / "a.raw", folder / "b.raw"]
    for file in files:
        file.write_bytes(bytes(8 * MIB))
    devices = [loop_device(file) for file in files]
    script = """
    head -c 1m /dev/zero | tr '\\0' x >/x
    for i in 0 1; do
        (until [ -e /stop ]; do dd if=/x of=/dev/vda bs=1M seek=$((2 * i)) oflag=direct conv=fsync 2>/dev/null || echo bad; done) &
        (until [ -e /stop ]; do dd if=/dev/vda of=/dev/null bs=16k iflag=direct 2>/dev/null || echo bad; done) &
    done
    echo working; read _; touch /stop; wait; echo done
    """
    vm = boot(mote, guest("cloud"), script, folder, drive(devices[0], engine), vcpus=2)
    vm.wait_text("working\n")
    before = vm.fds()
    for number in range(30):
        vm.api.must("PATCH", "/drives/d0", {"drive_id": "d0", "path_on_host": str(devices[(number + 1) % 2])})
        time.sleep(0.05)
    vm.wait_fds(before)
    vm.type("\n")
    said = vm.wait_end()
    assert "done\n" in said
    assert "bad" not in said
    for file, device in zip(files, devices, strict=True):
        run("blockdev", "--flushbufs", device)
        assert file.read_bytes()[:MIB] == b"x" * MIB, "each of them was written to"


@pytest.mark.linux_guest(seconds=40)
def test_four_vcpus_eight_disks(mote: Start, guest: Guests, folder: Path, loop_device: Device) -> None:
    """Four vCPUs write to and read from four queues of each of eight disks; every second one has to be waited for."""
    drives = []
    for number in range(8):
        file = folder / f"{number}.raw"
        file.write_bytes(bytes(2 * MIB))
        drives.append(drive(loop_device(file) if number % 2 else file))
    script = """
    echo queues $(ls -d /sys/block/vda/mq/* | wc -l)
    one() {
        head -c 256k /dev/urandom >/x$1
        for d in a b c d e f g h; do
            taskset -c $1 dd if=/x$1 of=/dev/vd$d bs=16k seek=$((16 * $1)) oflag=direct conv=fsync 2>/dev/null || echo bad
        done
        for d in a b c d e f g h; do
            taskset -c $1 dd if=/dev/vd$d bs=4k skip=$((64 * $1)) count=64 iflag=direct 2>/dev/null | cmp - /x$1 && echo same
        done
    }
    for c in 0 1 2 3; do one $c & done; wait
    """
    vm = boot(mote, guest("cloud"), script, folder, *drives, vcpus=4)
    said = vm.wait_end()
    assert "queues 4\n" in said
    assert said.count("same\n") == 32, said
    assert "bad" not in said
