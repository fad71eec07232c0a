# SPDX-License-Identifier: Apache-2.0
"""What mote gives up when the guest starts, as an operator meets it: what still works, what is refused, and what is said."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mote_process import Mote

pytestmark = pytest.mark.native_ok
Start = Callable[..., Mote]
Tiny = Callable[[str], Path]

REFUSED = (
    "Drive config error: Unable to patch the block device: Block: Virtio backend error: Error manipulating the backing "
    "file: Permission denied (os error 13) {path}: only the files that drives had at the start can be opened, as "
    "--landlock files demands; --landlock actions allows others. Please verify the request arguments."
)
TOO_LATE = "Start microvm error: the last start failed when this process had given up the rights to start anything; start another process"
# Runs a program for which a system call (its number) fails with this error: a host that is full, or older.
FAILING = """
import ctypes, os, struct, sys
number, error = int(sys.argv[1]), int(sys.argv[2])
code = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x50000 | error), (0x06, 0, 0, 0x7FFF0000)]
text = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *c) for c in code))
prog = ctypes.create_string_buffer(struct.pack("@HP", len(code), ctypes.addressof(text)))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, prog, 0, 0) == 0, os.strerror(ctypes.get_errno())
os.execv(sys.argv[3], sys.argv[3:])
"""
SYS_CLONE, SYS_LANDLOCK_CREATE_RULESET = 56, 444
EAGAIN, ENOSYS = 11, 38


@pytest.fixture
def failing(binary: Path, folder: Path) -> Iterator[Callable[..., Mote]]:
    """failing(number, error, *arguments): a mote whose kernel fails that call."""
    running: list[Mote] = []

    def start(number: int, error: int, *arguments: str) -> Mote:
        sock = folder / "failing.sock"
        command = ["-c", FAILING, str(number), str(error), str(binary), "--api-sock", str(sock), *arguments]
        running.append(Mote(Path(sys.executable), command, sock))
        return running[-1].wait_ready()

    yield start
    for process in running:
        process.close()


def start(vm: Mote, kernel: Path, disk: Path, read_only: bool = False) -> Mote:
    disk.write_bytes(bytes(4096))
    vm.api.drive("a", disk, read_only=read_only)
    vm.api.boot_source(kernel)
    vm.api.start()
    return vm


@pytest.mark.parametrize("read_only", [False, True])
def test_files_allows_only_the_drives(mote: Start, tiny: Tiny, folder: Path, read_only: bool) -> None:
    """The drive's file may grow; another file is refused with the reason, and the drive stays what it was."""
    vm = start(mote("--landlock", "files"), tiny("tick"), folder / "disk", read_only)
    (folder / "other").write_bytes(bytes(8192))
    before = vm.api.get("/vm/config").body
    other = [path for path in (folder / "other", Path("/etc/passwd"), Path("/dev/kvm")) if os.access(path, os.W_OK)]
    for path in other:
        reply = vm.api.patch("/drives/a", {"drive_id": "a", "path_on_host": str(path)})
        assert (reply.status, reply.fault) == (400, REFUSED.format(path=path))
    reply = vm.api.patch("/drives/a", {"drive_id": "a", "path_on_host": f"{folder}/none"})
    assert "No such file or directory (os error 2)" in reply.fault and "landlock" not in reply.fault
    assert vm.api.get("/vm/config").body == before
    with (folder / "disk").open("ab") as file:
        file.truncate(16384)
    vm.api.must("PATCH", "/drives/a", {"drive_id": "a", "path_on_host": f"{folder}/disk"})
    shown = len(vm.text)
    vm.wait_for(lambda: len(vm.text) > shown, "more from the guest")


@pytest.mark.parametrize("level", [[], ["--landlock", "actions"], ["--landlock", "off"]])
def test_other_levels_allow_all_files(mote: Start, tiny: Tiny, folder: Path, level: list[str]) -> None:
    vm = start(mote(*level), tiny("tick"), folder / "disk")
    (folder / "other").write_bytes(bytes(8192))
    vm.api.must("PATCH", "/drives/a", {"drive_id": "a", "path_on_host": f"{folder}/other"})


@pytest.mark.parametrize("level", ["off", "actions", "files"])
def test_block_device(mote: Start, tiny: Tiny, folder: Path, level: str) -> None:
    """A device's size is found also after ioctl on new devices was given up."""
    (folder / "back").write_bytes(bytes(1 << 20))
    made = subprocess.run(["losetup", "--find", "--show", str(folder / "back")], check=True, capture_output=True, text=True)
    device = made.stdout.strip()
    try:
        vm = mote("--landlock", level)
        vm.api.drive("a", Path(device))
        vm.api.boot_source(tiny("tick"))
        vm.api.start()
        vm.api.must("PATCH", "/drives/a", {"drive_id": "a", "path_on_host": device})
        vm.close()
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


@pytest.mark.parametrize("level", ["actions", "files"])
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGILL, 157)])
def test_socket_is_removed(mote: Start, tiny: Tiny, folder: Path, level: str, number: signal.Signals, status: int) -> None:
    vm = start(mote("--landlock", level), tiny("tick"), folder / "disk")
    vm.signal(number)
    assert vm.wait_exit() == status
    assert not list(folder.glob("*.sock"))


@pytest.mark.parametrize("level", ["actions", "files"])
def test_second_start(mote: Start, tiny: Tiny, folder: Path, level: str) -> None:
    """A start that fails for a reason that can be mended gives nothing up."""
    (folder / "bad").write_bytes(b"no kernel at all" * 512)
    vm = mote("--landlock", level)
    vm.api.boot_source(folder / "bad")
    assert vm.api.put("/actions", {"action_type": "InstanceStart"}).status == 400
    start(vm, tiny("tick"), folder / "disk").wait_text("ticking")


@pytest.mark.parametrize(("level", "again"), [("off", "start a vCPU thread"), ("actions", TOO_LATE), ("files", TOO_LATE)])
def test_no_more_threads(failing: Callable[..., Mote], tiny: Tiny, level: str, again: str) -> None:
    """No thread can be made, the last step: the reply says so, and the next says why it cannot be tried again."""
    vm = failing(SYS_CLONE, EAGAIN, "--landlock", level)
    vm.api.boot_source(tiny("tick"))
    for reason in ("start a vCPU thread", again):
        reply = vm.api.put("/actions", {"action_type": "InstanceStart"})
        assert reply.status == 400 and reason in reply.fault, reply.fault
    vm.signal(signal.SIGTERM)
    assert vm.wait_exit() == -signal.SIGTERM


@pytest.mark.parametrize(("level", "said"), [([], 0), (["--landlock", "actions"], 0), (["--landlock", "files"], 1)])
def test_kernel_without_it(failing: Callable[..., Mote], tiny: Tiny, folder: Path, level: list[str], said: int) -> None:
    """Goes on as it can; only who asked for files is told, in one line."""
    vm = failing(SYS_LANDLOCK_CREATE_RULESET, ENOSYS, *level, "--log-path", f"{folder}/log")
    start(vm, tiny("tick"), folder / "disk").wait_text("ticking")
    lines = [line for line in (folder / "log").read_text().splitlines() if "--landlock" in line]
    assert len(lines) == said, lines
    assert all("is not in force: Function not implemented: the host's kernel has to be" in line for line in lines)


@pytest.mark.parametrize("level", ["actions", "files"])
def test_every_thread_has_no_new_privileges(mote: Start, tiny: Tiny, level: str) -> None:
    vm = mote("--landlock", level)
    vm.api.machine(2)
    vm.api.boot_source(tiny("tick"))
    vm.api.start()
    task = Path(f"/proc/{vm.process.pid}/task")

    def ours() -> list[str]:
        """KVM may have put threads of its own into the process; ours name themselves when they run."""
        texts = [(t / "status").read_text() for t in task.iterdir()]
        return [text for text in texts if text.startswith("Name:\tfc_vcpu") or f"\nPid:\t{vm.process.pid}\n" in text]

    vm.wait_for(lambda: len(ours()) == 3, "three threads")
    assert all("NoNewPrivs:\t1\n" in text for text in ours())
