# SPDX-License-Identifier: Apache-2.0
"""mote-jailer --rootless: an ordinary user who may open /dev/kvm starts VMs in jails, looked at from outside."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import stat
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from conftest import CONSOLE, Guest
from jail import Jail, alive, wait_until
from mote_process import BOOT_TIMEOUT_S, TIMEOUT_S

Start = Callable[..., Jail]
Tiny = Callable[[str], Path]
Guests = Callable[[str], Guest]

UID, GID, KVM_GID = 4321, 4322, 4323
CLONE_NEWNS, MS_BIND, MS_REC, MS_PRIVATE = 0x20000, 0x1000, 0x4000, 0x40000
OWN = ("user", "mnt", "ipc", "uts")
ALL_WAYS = pytest.mark.parametrize(
    "options", [(), ("--daemonize",), ("--new-pid-ns",), ("--daemonize", "--new-pid-ns")], ids=" ".join
)
libc = ctypes.CDLL(None, use_errno=True)


def must(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), "set-up of the user")


@dataclass
class User:
    """An ordinary user, in a mount namespace where /dev/kvm belongs to a group; only there, not on the machine."""

    folder: Path
    groups: list[int] = field(default_factory=lambda: [KVM_GID])
    cgroup: Path | None = None

    def become(self) -> None:
        if self.cgroup:
            (self.cgroup / "cgroup.procs").write_text("0")
        must(libc.unshare(CLONE_NEWNS))
        must(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None))
        must(libc.mount(b"none", bytes(self.folder / "devices"), b"tmpfs", 0, None))
        node = self.folder / "devices/kvm"
        os.mknod(node, stat.S_IFCHR | 0o600, os.stat("/dev/kvm").st_rdev)
        os.chown(node, 0, KVM_GID)
        os.chmod(node, 0o660)
        must(libc.mount(bytes(node), b"/dev/kvm", None, MS_BIND, None))
        os.setgroups(self.groups)
        os.setresgid(GID, GID, GID)
        os.setresuid(UID, UID, UID)


@dataclass
class Place:
    """Programs that the user may execute, and where it may make jails."""

    folder: Path
    jailer: Path
    mote: Path
    base: Path


@pytest.fixture
def place(folder: Path, jailer: Path, binary: Path) -> Place:
    if os.geteuid() != 0:
        pytest.skip("needs root to become a user that may open /dev/kvm")
    folder.chmod(0o755)
    for name in ("devices", "bin", "jails"):
        (folder / name).mkdir(mode=0o755)
    os.chown(folder / "jails", UID, GID)
    programs = [Path(shutil.copy2(path, folder / "bin")) for path in (jailer, binary)]
    return Place(folder, *programs, folder / "jails")


@pytest.fixture
def start(place: Place) -> Iterator[Start]:
    """start(name, *options, …): a VM in a jail that the user makes; gone when the test ends."""
    started: list[Jail] = []

    def make(name: str, *options: str, user: User | None = None, api: bool = True, **more: Any) -> Jail:
        user = user or User(place.folder)
        words = ("--rootless", *options)
        made = Jail(place.jailer, place.mote, place.base, name, *words, api=False, uid=UID, gid=GID, preexec_fn=user.become, **more)
        started.append(made)
        if api:
            made.wait_ready()
        return made

    yield make
    for vm in started:
        if vm.process.poll() == 0 and vm.pid_file.exists() and alive(vm.pid):
            os.kill(vm.pid, signal.SIGKILL)  # its root has no path here, by which others are found
            wait_until(lambda pid=vm.pid: not alive(pid), "end of the VM")
        vm.close()


def run(place: Place, *words: str, user: User | None = None, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [str(place.jailer), "--id", "x", "--exec-file", str(place.mote), *words]
    become = (user or User(place.folder)).become
    return subprocess.run(command, preexec_fn=become, env=env or {}, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)


def put(vm: Jail, source: Path) -> Path:
    """Puts a file into the jail, for its user; its path inside."""
    os.chown(shutil.copy(source, vm.root), UID, GID)
    return Path("/") / source.name


def namespace(pid: int | str, kind: str) -> str:
    return os.readlink(f"/proc/{pid}/ns/{kind}")


@pytest.mark.native_ok
@ALL_WAYS
def test_walls(start: Start, options: tuple[str, ...]) -> None:
    """Who the VM is, what it may, which namespaces it has, and all the mounts and files it sees."""
    vm = start("walls", *options)
    status, proc = vm.status(), Path(f"/proc/{vm.pid}")
    assert status["Uid"].split() == [str(UID)] * 4
    assert status["Gid"].split() == [str(GID)] * 4
    assert status["Groups"].split() == [str(KVM_GID)]
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[name], 16) == 0, name
    assert status["NoNewPrivs"] == "1"
    for kind in OWN:
        assert namespace(vm.pid, kind) != namespace("self", kind), kind
    assert namespace(vm.pid, "net") == namespace("self", "net")
    inside = status["NSpid"].split()
    assert inside == ([str(vm.pid), "1"] if "--new-pid-ns" in options else [str(vm.pid)])
    for name, own in (("uid_map", UID), ("gid_map", GID)):
        assert (proc / name).read_text().split() == [str(own), str(own), "1"]
    points = [line.split()[4] for line in (proc / "mountinfo").read_text().splitlines()]
    assert set(points) - {"/dev/net/tun"} == {"/", "/dev/kvm", "/dev/urandom"}
    assert {"dev", "run", "mote.pid"} == set(os.listdir(proc / "root"))
    fds = {int(fd.name): os.readlink(fd) for fd in (proc / "fd").iterdir()}
    assert all(fd <= 2 or target.split(":")[0] in ("anon_inode", "socket") for fd, target in fds.items()), fds
    assert (proc / "environ").read_bytes() == b""
    assert (proc / "cmdline").read_text().split("\0")[-3:-1] == ["--landlock", "files"]
    outside = vm.root.stat()
    assert (outside.st_uid, outside.st_gid, outside.st_mode) == (UID, GID, stat.S_IFDIR | 0o700)


@pytest.mark.native_ok
@ALL_WAYS
def test_life(start: Start, tiny: Tiny, options: tuple[str, ...], folder: Path) -> None:
    """A guest is started, paused, resumed and ended; a drive changes only as its Landlock level says."""
    vm = start("life", *options)
    for name in ("disk", "other"):
        (folder / name).write_bytes(bytes(4096))
    disk, other = put(vm, folder / "disk"), put(vm, folder / "other")
    vm.api.machine(2, 64)
    vm.api.drive("a", disk)
    vm.api.boot_source(put(vm, tiny("tick")))
    vm.api.start()
    for state in ("Paused", "Resumed"):
        vm.api.must("PATCH", "/vm", {"state": state})
    vm.api.must("PATCH", "/drives/a", {"drive_id": "a", "path_on_host": str(disk)})
    reply = vm.api.patch("/drives/a", {"drive_id": "a", "path_on_host": str(other)})
    assert reply.status == 400 and "--landlock files demands" in reply.fault
    pid = vm.pid
    os.kill(pid, signal.SIGTERM)
    if vm.process.pid == pid:
        vm.wait_exit()
    wait_until(lambda: not alive(pid), "end of the VM")
    assert not vm.sock.exists()


@pytest.mark.native_ok
def test_landlock_of_ones_own(start: Start, tiny: Tiny, folder: Path) -> None:
    vm = start("own", arguments=("--landlock", "actions"))
    (folder / "disk").write_bytes(bytes(4096))
    (folder / "other").write_bytes(bytes(4096))
    vm.api.drive("a", put(vm, folder / "disk"))
    vm.api.boot_source(put(vm, tiny("tick")))
    vm.api.start()
    vm.api.must("PATCH", "/drives/a", {"drive_id": "a", "path_on_host": str(put(vm, folder / "other"))})


@pytest.mark.native_ok
def test_the_same_jail_again(start: Start) -> None:
    """Not while its VM runs; afterwards what that left is taken over."""
    vm = start("again")
    second = start("again", api=False)
    assert second.process.wait(TIMEOUT_S) == 1
    assert f"is in use by process {vm.pid}" in second.said
    os.kill(vm.pid, signal.SIGKILL)
    vm.process.wait()
    third = start("again")
    assert third.pid == third.process.pid
    assert third.api.get("/").status == 200


@pytest.mark.native_ok
def test_base_of_the_session(place: Place) -> None:
    """Without a base folder that of the user's session is taken, without either nothing is done."""
    done = run(place, "--rootless")
    assert (done.returncode, done.stderr) == (1, "Error: --rootless needs --chroot-base-dir where XDG_RUNTIME_DIR is not set\n")
    command = [str(place.jailer), "--id", "x", "--exec-file", str(place.mote), "--rootless", "--", "--version"]
    env = {"XDG_RUNTIME_DIR": str(place.base)}
    done = subprocess.run(command, preexec_fn=User(place.folder).become, env=env, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert (done.returncode, done.stdout[:4]) == (0, "mote")
    assert (place.base / "mote/x/root/dev/kvm").is_file()


@pytest.mark.native_ok
def test_network_namespaces(start: Start, place: Place) -> None:
    """A new empty one, or one that the user made; the host's and other users' cannot be entered."""
    vm = start("empty", "--new-net-ns")
    assert namespace(vm.pid, "net") != namespace("self", "net")
    lines = Path(f"/proc/{vm.pid}/net/dev").read_text().splitlines()[2:]
    assert [line.split(":")[0].strip() for line in lines] == ["lo"]

    command = ["unshare", "--user", "--map-root-user", "--net", "sleep", "600"]
    with subprocess.Popen(command, preexec_fn=User(place.folder).become) as other:
        try:
            wait_until(lambda: Path(f"/proc/{other.pid}/comm").read_text() == "sleep\n", "the user's network namespace")
            vm = start("made", "--netns", f"/proc/{other.pid}/ns/net")
            assert namespace(vm.pid, "net") == namespace(other.pid, "net")
            assert vm.status()["Uid"].split() == [str(UID)] * 4
            assert vm.api.get("/").status == 200
        finally:
            other.kill()

    done = run(place, "--rootless", "--chroot-base-dir", str(place.base), "--netns", "/proc/self/ns/net")
    assert done.returncode == 1
    assert "only if the same user made it together with a user namespace" in done.stderr
    assert "Operation not permitted (os error 1)" in done.stderr
    assert not (place.base / "mote/x").exists()


@pytest.mark.native_ok
@pytest.mark.parametrize("options", [(), ("--new-net-ns",)], ids=["", "new-net-ns"])
def test_socket_for_an_interface(start: Start, tiny: Tiny, options: tuple[str, ...]) -> None:
    """As passt's: a path in the jail, found again while the guest runs with its drives for the only files."""
    vm = start("net", *options)
    path = vm.root / "peer"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        os.chown(path, UID, GID)
        listener.listen()
        listener.settimeout(TIMEOUT_S)
        vm.api.must("PUT", "/network-interfaces/a", {"iface_id": "a", "host_dev_name": "unix:/peer"})
        vm.api.boot_source(put(vm, tiny("tick")))
        vm.api.start()
        for _ in range(2):
            listener.accept()[0].close()
        assert vm.api.get("/").json["state"] == "Running"


REFUSED = [
    (("--uid", "0"), f"Invalid uid: 0: with --rootless it can only be your own, {UID}"),
    (("--gid", str(KVM_GID)), f"Invalid gid: {KVM_GID}: with --rootless it can only be your own, {GID}"),
    (("--new-net-ns", "--netns", "/proc/self/ns/net"), "cannot be used together with argument"),
    (("--cgroup", "cgroup.max.depth=3", "--cgroup-version", "2"), "were delegated to this user"),
    (("--resource-limit", "no-file=99999999999"), "Failed to set limit for resource: no-file"),
    (("--resource-limit", "no-file=99999999999", "--new-pid-ns"), "Failed to set limit for resource: no-file"),
    (("--resource-limit", "no-file=99999999999", "--daemonize"), "Failed to set limit for resource: no-file"),
]


@pytest.mark.native_ok
@pytest.mark.parametrize(("words", "text"), REFUSED, ids=[" ".join(words)[:60] for words, _ in REFUSED])
def test_refused(place: Place, words: tuple[str, ...], text: str) -> None:
    """One sentence each, and nothing is left."""
    done = run(place, "--rootless", "--chroot-base-dir", str(place.base), *words)
    assert done.returncode == 1 and text in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(place.base.iterdir())


@pytest.mark.native_ok
def test_not_in_the_group(place: Place) -> None:
    user = User(place.folder, groups=[])
    done = run(place, "--rootless", "--chroot-base-dir", str(place.base), user=user)
    text = f"Error: /dev/kvm cannot be used by user {UID}: add it to the group of /dev/kvm: Permission denied (os error 13)\n"
    assert (done.returncode, done.stderr) == (1, text)
    assert not list(place.base.iterdir())


@pytest.mark.native_ok
def test_host_without_user_namespaces(place: Place) -> None:
    """The sentence names what an administrator can change; nothing is left."""
    inner = f"echo 0 >/proc/sys/user/max_user_namespaces && exec {place.jailer} --id x --exec-file {place.mote} --rootless"
    command = ["unshare", "--user", "--map-root-user", "sh", "-c", f"{inner} --chroot-base-dir {place.base}"]
    os.chown(place.base, 0, 0)
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    assert done.returncode == 1
    assert "--rootless: unshare: the host must let users have namespaces" in done.stderr
    assert "user.max_user_namespaces" in done.stderr and "No space left on device" in done.stderr
    assert not list(place.base.iterdir())


@pytest.mark.native_ok
def test_delegated_cgroup(start: Start, place: Place) -> None:
    """In a tree of cgroups that was given to the user, its VMs get limits of their own."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    top = next(Path(m[1]) for m in mounts if m[2] == "cgroup2") / f"mote-test-{os.getpid()}"
    session = top / "session"
    session.mkdir(parents=True)
    try:
        for folder in (top, session):
            for name in ("", "cgroup.procs", "cgroup.subtree_control"):
                os.chown(folder / name, UID, GID)
        options = ("--cgroup", "cgroup.max.depth=3", "--cgroup-version", "2", "--parent-cgroup", top.name)
        vm = start("limited", *options, user=User(place.folder, cgroup=session))
        assert (top / "limited/cgroup.procs").read_text().split() == [str(vm.pid)]
        assert (top / "limited/cgroup.max.depth").read_text() == "3\n"
        vm.process.kill()
        vm.process.wait()
    finally:
        for name in ("limited", "session", "."):
            path = top / name
            wait_until(lambda path=path: not path.exists() or not (path / "cgroup.procs").read_text(), f"end of all in {path}")
            if path.exists():
                path.resolve().rmdir()


@pytest.mark.linux_guest(seconds=25)
def test_linux(start: Start, guest: Guests, folder: Path) -> None:
    """Linux with a disk, from its kernel to its end, in the jail of an ordinary user."""
    debian = guest("cloud")
    (folder / "script").mkdir()
    (folder / "data.raw").write_bytes(bytes(1 << 20))
    initrd = debian.with_script("yes mote | dd of=/dev/vda bs=64k count=16 iflag=fullblock conv=fsync; echo written", folder / "script")
    vm = start("linux", "--new-pid-ns", "--daemonize")
    vm.api.must("PUT", "/serial", {"serial_out_path": "/console"})
    vm.api.machine(1, 256)
    vm.api.drive("data", put(vm, folder / "data.raw"))
    vm.api.boot_source(put(vm, debian.vmlinux), CONSOLE, put(vm, initrd))
    pid = vm.pid
    vm.api.start()
    wait_until(lambda: not alive(pid), "end of the guest", BOOT_TIMEOUT_S)
    assert "written" in (vm.root / "console").read_text()
    assert (vm.root / "data.raw").read_bytes() == (b"mote\n" * (1 << 18))[: 1 << 20]
