# SPDX-License-Identifier: Apache-2.0
"""What the integration tests share: the binary, guests, and processes that are gone when a test ends."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from jail import Jail
from mote_process import BOOT_TIMEOUT_S, NESTED, TIMEOUT_S, Mote

SUITE = Path(__file__).resolve().parent
TOP = SUITE.parents[1]
PEER = SUITE / "tcp_peer.py"
# The kernel's part of the command line: everything else of it is what a test is about.
CONSOLE = "console=ttyS0 quiet panic=1"
# Built by resources/kernel/build, which takes minutes: `make test` uses it where it is there (run-suite says when not).
TUNED = TOP / "build/cache/kernel-tuned/vmlinux"
collect_ignore = [] if TUNED.exists() else ["test_linux_tuned.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        marks = [item.get_closest_marker(name) for name in ("native_ok", "linux_guest")]
        assert sum(m is not None for m in marks) == 1, f"{item.nodeid} must be either native_ok or linux_guest"


def pytest_collection_finish(session: pytest.Session) -> None:
    """For tests/testbed/run-suite: which tests there are and where they can run."""
    out = os.environ.get("MOTE_TESTS_LIST")
    if out:
        tests = []
        for item in session.items:
            mark = item.get_closest_marker("linux_guest")
            seconds = mark.kwargs.get("seconds", 60) if mark else 1
            tests.append({
                "id": str(SUITE / item.nodeid), "linux": mark is not None, "seconds": seconds,
                "tools": "tools" in getattr(item, "fixturenames", ()),
            })  # fmt: skip
        Path(out).write_text(json.dumps(tests))


@pytest.fixture(scope="session")
def binary() -> Path:
    path = Path(os.environ.get("MOTE", TOP / "build/release/mote"))
    assert path.exists(), f"{path} does not exist: call make"
    if not NESTED:
        return path
    copy = Path(tempfile.mkdtemp(prefix="mote.")) / "mote"  # off the slow 9p
    shutil.copy2(path, copy)
    return copy


@pytest.fixture(scope="session")
def jailer(binary: Path) -> Path:
    """Beside mote, as everybody builds and installs it."""
    path = Path(os.environ.get("MOTE", TOP / "build/release/mote")).with_name("mote-jailer")
    assert path.exists(), f"{path} does not exist: call make"
    return Path(shutil.copy2(path, binary.parent)) if NESTED else path


@pytest.fixture
def jail(jailer: Path, binary: Path, folder: Path) -> Iterator[Callable[..., Jail]]:
    """jail(name, *options, …): start a VM in a jail below `folder`. All are gone when the test ends."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    started: list[Jail] = []

    def start(name: str, *options: str, base: Path = folder, exec_file: Path = binary, **more: Any) -> Jail:
        made = Jail(jailer, exec_file, base, name, *options, api=False, **{k: v for k, v in more.items() if k != "api"})
        started.append(made)
        if more.get("api", True):
            made.wait_ready()
        return made

    yield start
    for each in started:
        each.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path (a socket's name has 107 bytes) that is removed even if a test fails."""
    path = Path(tempfile.mkdtemp(prefix="mt."))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def mote(binary: Path, folder: Path) -> Iterator[Callable[..., Mote]]:
    """mote(*arguments, …): start one with an API socket of its own (`api=False`: with the given arguments only)."""
    running: list[Mote] = []

    def start(*arguments: str, api: bool = True, ready: bool | None = None, **options: Any) -> Mote:
        sock = folder / f"{len(running)}.sock" if api else None
        full = (["--api-sock", str(sock)] if api else []) + list(arguments)
        running.append(Mote(binary, full, sock, **options))
        if api and ready is not False:
            running[-1].wait_ready()
        return running[-1]

    yield start
    for process in running:
        process.close()


def _compile(source: Path, out: Path) -> None:
    linker = ["-static", "-nostdlib", "-no-pie", f"-Wl,-T,{TOP}/tests/guests/guest.ld", "-Wl,--build-id=none"]
    if source.suffix == ".S":
        command = ["gcc", *linker, "-o", str(out), str(source)]
    else:
        flags = "-m32 -Os -std=gnu11 -Wall -Wextra -Werror -ffreestanding -fno-pie -fno-stack-protector -fcf-protection=none"
        headers = ["-idirafter", "/usr/include/x86_64-linux-gnu"]
        command = ["gcc", *flags.split(), *headers, "-fno-asynchronous-unwind-tables", *linker, "-o", str(out), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    if source.suffix != ".S":
        # 32-bit code in a 64-bit ELF file, the only class of which kernels for x86_64 are.
        subprocess.run(["objcopy", "-I", "elf32-i386", "-O", "elf64-x86-64", str(out)], check=True)


@pytest.fixture(scope="session")
def tiny() -> Iterator[Callable[[str], Path]]:
    """tiny(name): a guest of tests/guests, compiled."""
    folder = Path(tempfile.mkdtemp(prefix="tiny."))

    def get(name: str) -> Path:
        out = folder / name
        if not out.exists():
            source = next(p for p in (TOP / "tests/guests").glob(f"{name}.[cS]"))
            _compile(source, out)
        return out

    yield get
    shutil.rmtree(folder, ignore_errors=True)


class Guest:
    """A Linux guest's files. In the nested host each is copied off the slow 9p when first used."""

    def __init__(self, source: Path) -> None:
        self.source = source
        self.copies = Path(tempfile.mkdtemp(prefix="guest.")) if NESTED else None

    def _file(self, name: str) -> Path:
        if self.copies is None:
            return self.source / name
        copy = self.copies / name
        if not copy.exists():
            subprocess.run(["cp", "--sparse=always", str(self.source / name), str(copy)], check=True)
        return copy

    def close(self) -> None:
        if self.copies is not None:
            shutil.rmtree(self.copies, ignore_errors=True)

    @property
    def vmlinux(self) -> Path:
        return self._file("vmlinux")

    @property
    def bzimage(self) -> Path:
        return self._file("bzImage")

    @property
    def initrd(self) -> Path:
        return self._file("initrd.cpio")

    def with_script(self, script: str, folder: Path) -> Path:
        """An initrd whose init runs this script instead of a shell."""
        source, out = folder / "script", folder / "initrd.cpio"
        source.write_text(script)
        subprocess.run([str(TOP / "resources/guest/add-script"), str(self.initrd), str(source), str(out)], check=True)
        return out

    def disk(self, folder: Path, name: str = "root.ext4") -> Path:
        """A disk of one's own."""
        out = folder / name
        subprocess.run(["cp", "--sparse=always", str(self._file("root.ext4")), str(out)], check=True)
        return out


@pytest.fixture(scope="session")
def guest() -> Iterator[Callable[[str], Guest]]:
    """guest(kind): `generic` or `cloud`, see resources/guest/build."""
    guests: dict[str, Guest] = {}

    def get(kind: str) -> Guest:
        if kind not in guests:
            command = [str(TOP / "resources/guest/build"), kind]
            found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            guests[kind] = Guest(Path(found.stdout.strip()))
        return guests[kind]

    yield get
    for made in guests.values():
        made.close()


@pytest.fixture(scope="session")
def tools() -> Path:
    """A disk with Debian's fio and iperf3; what is on it lies in `tree` beside it."""
    done = subprocess.run([str(TOP / "resources/guest/build-tools")], check=True, stdout=subprocess.PIPE, text=True)
    return Path(done.stdout.strip())


def two_disks(folder: Path) -> tuple[Path, Path]:
    """Files of different sizes that say `one` and `two`."""
    one, two = folder / "one", folder / "two"
    one.write_bytes(b"one\n".ljust(65536, b"."))
    two.write_bytes(b"two\n".ljust(131072, b"."))
    return one, two


def watch_disk(device: str) -> str:
    """A guest's script: `data=` and what this disk says, again and again."""
    return f"""
    n=0
    while :; do
        n=$((n + 1))
        blockdev --flushbufs {device}
        echo "tick $n data=$(head -n 1 {device})"
        usleep 50000
    done
    """


@dataclass
class Network:
    """A TAP in a network namespace of its own, with the host's end of a /24."""

    netns: str
    tap: str
    host: str
    guest: str

    @property
    def boot_args(self) -> str:
        return f"guest.ip={self.guest}/24 guest.gw={self.host}"

    def run(self, *command: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["ip", "netns", "exec", self.netns, *command], capture_output=True, text=True, check=False, **options
        )

    def popen(self, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(["ip", "netns", "exec", self.netns, *command], stdout=subprocess.PIPE, text=True)

    @contextmanager
    def peers(self, file: Path, *roles: str) -> Iterator[list[subprocess.Popen[str]]]:
        """tcp_peer.py in each of these roles, at ports 7001, 7002, ...: all listen when the block begins, none is left
        when it ends."""
        started: list[subprocess.Popen[str]] = []
        try:
            for port, role in enumerate(roles, 7001):
                started.append(self.popen(str(PEER), role, str(port), str(file)))
            for peer in started:
                assert peer.stdout is not None and peer.stdout.readline() == "ready\n"
            yield started
        finally:
            for peer in started:
                peer.kill()
                peer.wait()

    def knock(self, address: str, port: int = 99) -> None:
        """Tell a guest that listens, or will, to go on."""
        tries = f"until (echo >/dev/tcp/{address}/{port}) 2>/dev/null; do sleep 0.2; done"
        assert self.run("timeout", str(BOOT_TIMEOUT_S), "bash", "-c", tries).returncode == 0


def digest(peer: subprocess.Popen[str], timeout_s: float = TIMEOUT_S) -> str:
    """The checksum that a peer says at its end."""
    return peer.communicate(timeout=timeout_s)[0].strip()


@pytest.fixture
def network() -> Iterator[Network]:
    if os.geteuid() != 0:
        pytest.skip("needs root to make a network namespace")
    net = Network(f"mote-test-{os.getpid()}", "tap0", "172.16.0.1", "172.16.0.2")
    subprocess.run(["ip", "netns", "add", net.netns], check=True)
    try:
        for command in ("link set lo up", "tuntap add dev tap0 mode tap", f"address add {net.host}/24 dev tap0", "link set tap0 up"):
            subprocess.run(["ip", "-n", net.netns, *command.split()], check=True)
        yield net
    finally:
        subprocess.run(["ip", "netns", "del", net.netns], check=True)
