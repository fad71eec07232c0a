# SPDX-License-Identifier: Apache-2.0
"""Many jails at once, many one after another, and starts that are killed anywhere: nothing leaks, nothing trips.

MOTE_ENDURANCE=1000 sets how many follow one another; 150 where nobody says. The figures are printed (pytest -s).
"""

from __future__ import annotations

import fcntl
import os
import random
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from jail import GID, UID, Jail, alive, cgroups_named, processes_in, remove_cgroups, wait_until

pytestmark = pytest.mark.native_ok

Start = Callable[..., Jail]
AT_ONCE = 100
IN_A_ROW = int(os.environ.get("MOTE_ENDURANCE", "150"))
KILLED = 150


def has_cpu_v1() -> bool:
    return any(line.split()[2] == "cgroup" and "cpu" in line.split()[3].split(",")
               for line in Path("/proc/mounts").read_text().splitlines())  # fmt: skip


@pytest.fixture
def parent() -> Iterator[str]:
    name = f"mote-many-{os.getpid()}"
    yield name
    remove_cgroups(name)


@pytest.fixture
def cgroup(parent: str) -> list[str]:
    """Every start in a cgroup of its own where the host has one for us."""
    return ["--parent-cgroup", parent, "--cgroup", "cpu.shares=100"] if has_cpu_v1() else []


@pytest.fixture
def host(folder: Path) -> Iterator[None]:
    """No mount of ours is left on the host. (Others' come and go.)"""
    yield
    assert str(folder) not in Path("/proc/self/mounts").read_text()


def nothing_runs(base: Path) -> bool:
    """Kills what has its root below `base`; true when there is nothing, and no start is on its way there."""
    busy = False
    for pid in processes_in(base):
        busy = busy or alive(pid)
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    for name in base.glob("*/*"):
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            busy = True
        os.close(fd)
    return not busy


def end_all(base: Path) -> None:
    # Twice: what held a lock when processes were looked at may be one by now.
    wait_until(lambda: nothing_runs(base) and nothing_runs(base), "end of all VMs")


def test_at_once(jail: Start, folder: Path, cgroup: list[str], parent: str, tiny: Callable[[str], Path], host: None) -> None:
    """A hundred starts before the first is looked at; each VM runs a guest to its end."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    began = time.monotonic()
    vms = [jail(f"vm-{i}", "--daemonize", "--new-pid-ns", *cgroup, api=False) for i in range(AT_ONCE)]
    for vm in vms:
        vm.wait_ready()
    took = time.monotonic() - began
    pids = [vm.pid for vm in vms]
    assert len(set(pids)) == AT_ONCE and all(alive(pid) for pid in pids)
    kernel = tiny("hello")
    for vm in vms:
        assert vm.wait_exit() == 0
        vm.api.machine(1, 32)
        vm.api.boot_source(Path(vm.file(kernel)))
        vm.api.start()
    for pid in pids:
        wait_until(lambda pid=pid: not alive(pid), f"end of {pid}")  # type: ignore[misc]
    assert not processes_in(folder)
    for found in cgroups_named(parent):
        assert len([p for p in found.iterdir() if p.is_dir()]) == AT_ONCE
    remove_cgroups(parent)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    print(f"{AT_ONCE} VMs at once: the last socket after {took * 1e3:.0f} ms")


def test_in_a_row(jailer: Path, binary: Path, folder: Path, cgroup: list[str], parent: str, host: None) -> None:
    """One name again and again, ended by SIGKILL each time. What lies in its jail is the same at the end as at first."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    ways = [(), ("--daemonize",), ("--new-pid-ns",), ("--daemonize", "--new-pid-ns"), ("--new-mount-ns",)]
    began, first = time.monotonic(), None
    for i in range(IN_A_ROW):
        vm = Jail(jailer, binary, folder, "row", *ways[i % len(ways)], *cgroup)
        files = sorted(str(p) for p in folder.rglob("*"))
        first = first or files
        assert files == first
        vm.kill()
        vm.close()
        vm.sock.unlink()
    assert not processes_in(folder)
    assert all([p.name for p in found.iterdir() if p.is_dir()] == ["row"] for found in cgroups_named(parent))
    print(f"{IN_A_ROW} in a row: {(time.monotonic() - began) / IN_A_ROW * 1e3:.1f} ms each, with this test's own work")


def test_killed_at_any_point(jailer: Path, binary: Path, folder: Path, cgroup: list[str], parent: str, host: None) -> None:
    """SIGKILL after 0 to 2 ms. After each, the next start with this name works, or is killed just the same."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    chance = random.Random(5)
    ways = [(), ("--daemonize",), ("--new-pid-ns",), ("--new-mount-ns",)]
    stages = set()
    for i in range(KILLED):
        vm = Jail(jailer, binary, folder, "killed", *ways[i % len(ways)], *cgroup, api=False)
        time.sleep(chance.uniform(0, 0.002))
        vm.process.kill()
        vm.process.wait()
        stages.add(len(list(folder.rglob("*"))))
        if i % 10 == 9:
            # What a killed jailer had already begun may run on, as a VM that has lost its parent.
            end_all(folder)
            vm.sock.unlink(missing_ok=True)
            after = Jail(jailer, binary, folder, "killed", *cgroup)
            assert after.api.get("/version").status == 200
            after.close()
            after.sock.unlink()
        else:
            end_all(folder)
            vm.sock.unlink(missing_ok=True)
        vm.close()
        if chance.random() < 0.3:
            shutil.rmtree(folder / binary.name, ignore_errors=True)
    assert not processes_in(folder)
    print(f"{KILLED} killed starts, at {len(stages)} different stages of the jail's files")


def test_same_name_at_once(jailer: Path, binary: Path, folder: Path) -> None:
    """Of several starts of one name one wins, and the others say why and break nothing."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    command = [str(jailer), "--id", "same", "--exec-file", str(binary), "--uid", str(UID), "--gid", str(GID),
               "--chroot-base-dir", str(folder)]  # fmt: skip
    for _ in range(5):
        starts = [subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
                  for _ in range(6)]  # fmt: skip
        sock = folder / binary.name / "same/root/run/firecracker.socket"
        try:
            wait_until(lambda: sum(p.poll() is not None for p in starts) == len(starts) - 1, "all but one gave up")  # noqa: B023
            wait_until(sock.exists, "the socket")
            losers = [p for p in starts if p.poll() is not None]
            for p in losers:
                assert p.stderr is not None
                said = p.stderr.read()
                assert p.returncode == 1 and "is in use by process" in said, said
        finally:
            for p in starts:
                p.kill()
                p.wait()
                assert p.stderr is not None
                p.stderr.close()
        sock.unlink(missing_ok=True)
