# SPDX-License-Identifier: Apache-2.0
"""What lies in a jail before a start, planted or left behind, and what lies there after one that failed."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from jail import GID, UID, Jail, wait_until

pytestmark = pytest.mark.native_ok

Start = Callable[..., Jail]
FOLDERS = ["", "dev", "dev/net", "run"]
FILES = ["dev/kvm", "dev/net/tun", "dev/urandom", "mote.pid"]


class Victim:
    """A file and a folder outside of the jail that must stay as they are."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "victim"
        self.folder.mkdir(mode=0o755)
        self.file = self.folder / "file"
        self.file.write_text("precious")
        self.file.chmod(0o640)
        self.before = self.look()

    def look(self) -> list[tuple[int, int, int]]:
        return [(s.st_mode, s.st_uid, s.st_gid) for s in (self.folder.stat(), self.file.stat())]

    def check(self) -> None:
        assert self.look() == self.before
        assert self.file.read_text() == "precious"
        assert os.listdir(self.folder) == ["file"]


@pytest.fixture
def victim(folder: Path) -> Victim:
    return Victim(folder)


@pytest.fixture
def root(folder: Path) -> Path:
    """The root of a jail "planted" as a start left it, whose user owns everything."""
    path = folder / "base/mote/planted/root"
    (path / "dev/net").mkdir(parents=True)
    (path / "run").mkdir()
    for name in FOLDERS:
        os.chown(path / name, UID, GID)
    return path


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", ["symbolic", "hard", "dangling", "fifo"])
def test_planted_file(jail: Start, victim: Victim, folder: Path, root: Path, kind: str, name: str) -> None:
    """A name that a link was planted under becomes the jailer's own file; the link's target never hears of it."""
    if kind == "symbolic":
        (root / name).symlink_to(victim.file)
    elif kind == "hard":
        os.link(victim.file, root / name)
    elif kind == "dangling":
        (root / name).symlink_to(victim.folder / "new")
    else:
        os.mkfifo(root / name)
    vm = jail("planted", base=folder / "base")
    victim.check()
    assert victim.file.stat().st_nlink == 1
    found = (root / name).lstat()
    if name == "mote.pid":
        assert stat.S_ISREG(found.st_mode) and vm.pid == vm.process.pid
    else:
        assert stat.S_ISCHR(found.st_mode) and (found.st_uid, found.st_gid) == (UID, GID)


@pytest.mark.parametrize("name", ["dev/kvm", "dev/net/tun"])
def test_planted_node(jail: Start, folder: Path, root: Path, name: str) -> None:
    """Another device under the name, or another jail's own: replaced, not given away."""
    other = folder / "other"
    os.mknod(other, stat.S_IFCHR | 0o600, os.makedev(1, 1))
    os.link(other, root / name)
    jail("planted", base=folder / "base")
    assert other.stat().st_uid == 0
    assert os.major((root / name).stat().st_rdev) == 10


@pytest.mark.parametrize("name", [*FOLDERS, ".."], ids=["root", "dev", "dev-net", "run", "id"])
def test_planted_link_to_a_folder(jail: Start, victim: Victim, folder: Path, root: Path, name: str) -> None:
    path = root.parent if name == ".." else root / name
    path.rename(folder / "away")
    path.symlink_to(victim.folder)
    vm = jail("planted", base=folder / "base", api=False)
    assert vm.wait_exit() == 1
    assert f"{path} (links are not followed here)" in vm.said
    victim.check()


@pytest.mark.parametrize("name", FILES)
def test_folder_in_place_of_a_file(jail: Start, folder: Path, root: Path, name: str) -> None:
    (root / name / "deep").mkdir(parents=True)
    vm = jail("planted", base=folder / "base", api=False)
    if name == "dev/urandom":  # the one that a VM can do without
        vm.wait_ready()
        return
    assert vm.wait_exit() == 1
    assert str(root / name) in vm.said
    for folder_name in FOLDERS:
        found = (root / folder_name).stat()
        assert (found.st_uid, found.st_gid) == (UID, GID), "given back to whom it was taken from"


def test_base_is_a_link(jail: Start, folder: Path) -> None:
    """Links in the operator's own paths are the operator's business."""
    (folder / "disk").mkdir()
    (folder / "disk2/mote").mkdir(parents=True)
    (folder / "base").symlink_to(folder / "disk")
    jail("a", base=folder / "base")
    (folder / "disk/mote2").symlink_to(folder / "disk2/mote")
    assert (folder / "disk/mote/a/root/dev/kvm").exists()


@pytest.mark.parametrize("options", [(), ("--daemonize", "--new-pid-ns")], ids=" ".join)
def test_start_again(jail: Start, options: tuple[str, ...]) -> None:
    """The same name after a VM was killed: socket, pid file and nodes are there already."""
    for _ in range(3):
        vm = jail("again", *options)
        assert vm.api.get("/version").status == 200
        vm.kill()
        vm.sock.unlink()  # as after any Firecracker that was killed


def test_second_start_while_it_runs(jail: Start) -> None:
    first = jail("twice")
    second = jail("twice", api=False)
    assert second.wait_exit() == 1
    assert f"is in use by process {first.pid}" in second.said
    assert first.api.get("/version").status == 200
    assert (first.root / "run").stat().st_uid == UID


def test_pid_file_of_a_stranger(jail: Start, root: Path, folder: Path) -> None:
    """A number is no proof: that process is elsewhere."""
    (root / "mote.pid").write_text(str(os.getpid()))
    jail("planted", base=folder / "base")


@pytest.mark.parametrize("ways", [(), ("--daemonize",), ("--new-pid-ns",), ("--new-mount-ns",)], ids=" ".join)
@pytest.mark.parametrize("wrong", ["netns", "exec-format", "no-file"])
def test_failed_start_leaves_nothing(jail: Start, folder: Path, binary: Path, ways: tuple[str, ...], wrong: str) -> None:
    """Steps fail at the beginning, in the middle and near the end."""
    base, program, options = folder / "base", binary, list(ways)
    base.mkdir()
    if wrong == "netns":
        options += ["--netns", "/etc/hostname"]
    elif wrong == "no-file":
        options += ["--resource-limit", f"no-file={2**63}"]  # beyond what the kernel has
    else:
        program = folder / "mote"
        program.write_bytes(b"\x7fELF" + bytes(8192))
        program.chmod(0o755)
    vm = jail("fails", *options, base=base, exec_file=program, api=False)
    assert vm.wait_exit() == 1
    assert vm.said.startswith("Error: ") and vm.said.count("\n") == 1
    assert not list(base.iterdir())


def test_not_executable_by_its_user(jail: Start, folder: Path, binary: Path) -> None:
    program = folder / "private"
    program.write_bytes(binary.read_bytes())
    program.chmod(0o700)
    vm = jail("private", exec_file=program, api=False)
    assert vm.wait_exit() == 1
    assert f"{program} may not be executed by user {UID}, group {GID}: Permission denied" in vm.said


@pytest.fixture(scope="session")
def escape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("escape") / "escape"
    source = Path(__file__).resolve().parents[1] / "platform/escape.c"
    headers = ["-idirafter", "/usr/include", "-idirafter", f"/usr/include/{os.uname().machine}-linux-gnu"]
    subprocess.run(["musl-gcc", "-static", "-O2", *headers, "-o", str(out), str(source)], check=True)
    return out


@pytest.mark.parametrize("uid", [UID, 0])
@pytest.mark.parametrize("options", [(), ("--new-pid-ns",), ("--new-mount-ns",)], ids=["chroot", "pid-ns", "mount-ns"])
def test_ways_out(jail: Start, escape: Path, uid: int, options: tuple[str, ...]) -> None:
    """A VMM that a guest took over, without any system call filter, as an ordinary user or as user 0."""
    vm = jail("escape", *options, exec_file=escape, uid=uid, gid=uid, api=False)
    assert vm.wait_exit() == 0
    wait_until(lambda: "user-ns:" in vm.said, "the last way")
    ways = {name: int(code) for name, _, code in (line.partition(": ") for line in vm.said.splitlines())}
    assert len(ways) == 16
    if uid == 0:  # it is already who it asks to become
        assert ways.pop("setuid") == ways.pop("setgid") == 0
    if options == ("--new-mount-ns",):
        # Its root is no chroot any more, so the kernel allows this; what is there to mount is the jail.
        ways.pop("user-ns")
    assert {name for name, code in ways.items() if code == 0} == set(), ways
