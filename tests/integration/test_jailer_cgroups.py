# SPDX-License-Identifier: Apache-2.0
"""Cgroups of jails, version 1 and 2 and side by side, as the host that runs the tests has them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from jail import Jail, cgroups_named, remove_cgroups

Start = Callable[..., Jail]


def mount_of(kind: str, controller: str = "") -> Path:
    """Where a hierarchy is mounted; skips the test where there is none."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, path, found, options, *_ = line.split()
        if found == kind and (not controller or controller in options.split(",")):
            return Path(path)
    pytest.skip(f"no {kind} {controller} is mounted here")


@pytest.fixture
def parent(jail: Start) -> Iterator[str]:
    """A name for parent cgroups; what was made under it goes when the VMs are gone."""
    del jail  # closes after us, so VMs are ended here
    name = f"mote-test-{os.getpid()}"
    yield name
    remove_cgroups(name)


@pytest.fixture
def ended(jail: Start, parent: str) -> Iterator[Start]:
    """`jail`, whose VMs end before `parent` cleans up."""
    started: list[Jail] = []

    def start(*options: object, **more: object) -> Jail:
        started.append(jail(*options, **more))
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.mark.native_ok
def test_none_without_being_asked(ended: Start) -> None:
    before = Path("/proc/self/cgroup").read_text()
    vm = ended("plain")
    assert Path(f"/proc/{vm.pid}/cgroup").read_text() == before
    assert not cgroups_named("plain")


@pytest.mark.native_ok
@pytest.mark.parametrize("version", [(), ("--cgroup-version", "1")], ids=["found", "v1"])
@pytest.mark.parametrize("ways", [(), ("--daemonize", "--new-pid-ns")], ids=" ".join)
def test_version_1(ended: Start, parent: str, version: tuple[str, ...], ways: tuple[str, ...]) -> None:
    cpu, cpuset = mount_of("cgroup", "cpu"), mount_of("cgroup", "cpuset")
    vm = ended("one", "--parent-cgroup", f"{parent}//deeper/", "--cgroup", "cpu.shares=200", "--cgroup", "cpuset.mems=0",
               *version, *ways)  # fmt: skip
    where = f"{parent}/deeper/one"
    assert (cpu / where / "cpu.shares").read_text() == "200\n"
    assert (cpuset / where / "cpuset.mems").read_text() == "0\n"
    assert (cpuset / where / "cpuset.cpus").read_text() == (cpuset / "cpuset.cpus").read_text(), "taken over from above"
    for controller, mount in (("cpu", cpu), ("cpuset", cpuset)):
        assert vm.cgroup(controller) == f"/{where}"
        assert (mount / where / "tasks").read_text().split() == [str(vm.pid)], "the VM and nobody else"
    assert not (mount_of("cgroup", "memory") / parent).exists(), "only where something was to be set"


@pytest.mark.native_ok
def test_default_parent_is_the_program(ended: Start, folder: Path, binary: Path, parent: str) -> None:
    cpu = mount_of("cgroup", "cpu")
    (folder / "bin").mkdir()
    (folder / "bin" / parent).symlink_to(binary)
    vm = ended("one", "--cgroup", "cpu.shares=200", exec_file=folder / "bin" / parent)
    assert vm.cgroup("cpu") == f"/{parent}/one"
    assert (cpu / parent / "one").is_dir()


@pytest.mark.native_ok
def test_version_2_beside_version_1(ended: Start, parent: str) -> None:
    """A host with both: each file goes where its controller is."""
    unified, cpu = mount_of("cgroup2"), mount_of("cgroup", "cpu")
    vm = ended("both", "--parent-cgroup", parent, "--cgroup", "cgroup.max.descendants=7", "--cgroup", "cpu.shares=300")
    assert (unified / parent / "both/cgroup.max.descendants").read_text() == "7\n"
    assert (cpu / parent / "both/cpu.shares").read_text() == "300\n"
    assert vm.cgroup("") == vm.cgroup("cpu") == f"/{parent}/both"


@pytest.mark.native_ok
def test_version_2_lacks_the_controller(ended: Start, parent: str, folder: Path) -> None:
    mount_of("cgroup", "cpu")  # so version 2 has it not
    vm = ended("two", "--parent-cgroup", parent, "--cgroup-version", "2", "--cgroup", "cpu.weight=50", api=False)
    assert vm.wait_exit() == 1
    assert "Controller cpu is unavailable" in vm.said
    assert not list(folder.iterdir()) and not cgroups_named(parent)


@pytest.mark.native_ok
@pytest.mark.parametrize("version", [(), ("--cgroup-version", "2")], ids=["found", "v2"])
def test_existing_parent_of_version_2(ended: Start, parent: str, version: tuple[str, ...]) -> None:
    """Without --cgroup an existing parent takes the VM; nothing is made."""
    unified = mount_of("cgroup2")
    (unified / parent).mkdir()
    vm = ended("moved", "--parent-cgroup", parent, *version)
    assert vm.cgroup("") == f"/{parent}"
    assert [p for p in (unified / parent).iterdir() if p.is_dir()] == []


@pytest.mark.native_ok
def test_missing_parent_of_version_2(ended: Start, parent: str) -> None:
    mount_of("cgroup2")
    vm = ended("stays", "--parent-cgroup", parent, "--cgroup-version", "2")
    assert vm.cgroup("") == next(x[3:] for x in Path("/proc/self/cgroup").read_text().splitlines() if x.startswith("0::"))
    assert not cgroups_named(parent)


@pytest.mark.native_ok
@pytest.mark.parametrize("ways", [(), ("--daemonize", "--new-pid-ns")], ids=" ".join)
@pytest.mark.parametrize("wrong", [("--cgroup", "cpu.shares=many"), ("--netns", "/etc/hostname")], ids=["value", "later-step"])
def test_failed_start_leaves_none(
    ended: Start, parent: str, folder: Path, wrong: tuple[str, ...], ways: tuple[str, ...]
) -> None:
    """Also when the process that fails is already a member."""
    mount_of("cgroup", "cpu")
    vm = ended("fails", "--parent-cgroup", f"{parent}//deeper/", "--cgroup", "cpu.shares=200", *wrong, *ways, api=False)
    assert vm.wait_exit() == 1
    assert not cgroups_named(parent)
    assert not list(folder.iterdir())


@pytest.mark.native_ok
def test_start_again_in_the_same(ended: Start, parent: str) -> None:
    mount_of("cgroup", "cpu")
    for shares in ("200", "300"):
        vm = ended("again", "--parent-cgroup", parent, "--cgroup", f"cpu.shares={shares}")
        assert vm.cgroup("cpu") == f"/{parent}/again"
        vm.kill()
        vm.sock.unlink()


@pytest.mark.linux_guest(seconds=20)
@pytest.mark.parametrize("version", [(), ("--cgroup-version", "2")], ids=["found", "v2"])
def test_version_2_alone(ended: Start, parent: str, version: tuple[str, ...]) -> None:
    """A host with version 2 only, and its controllers."""
    root = mount_of("cgroup2")
    vm = ended("two", "--parent-cgroup", f"{parent}/deeper", "--daemonize", "--new-pid-ns", *version, "--cgroup",
               "memory.max=268435456", "--cgroup", "cpuset.mems=0", "--cgroup", "pids.max=50")  # fmt: skip
    where = root / parent / "deeper/two"
    for level in (root, root / parent, root / parent / "deeper"):
        assert {"memory", "cpuset", "pids"} <= set((level / "cgroup.subtree_control").read_text().split())
    values = {name: (where / name).read_text().strip() for name in ("memory.max", "cpuset.mems", "pids.max")}
    assert values == {"memory.max": "268435456", "cpuset.mems": "0", "pids.max": "50"}
    assert (where / "cgroup.procs").read_text().split() == [str(vm.pid)]
    assert vm.cgroup("") == f"/{parent}/deeper/two"
    assert vm.api.get("/version").status == 200
    vm.kill()
    bad = ended("bad", "--parent-cgroup", f"{parent}/deeper", "--cgroup", "memory.max=much", api=False)
    assert bad.wait_exit() == 1
    assert not cgroups_named("bad")
