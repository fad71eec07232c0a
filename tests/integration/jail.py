# SPDX-License-Identifier: Apache-2.0
"""Jails made by mote-jailer: start, look inside, end, and see that nothing is left. Nothing here knows pytest."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from mote_process import Api

# When a hang is called one: a hundred VMs on a busy machine take their time.
TIMEOUT_S = 60.0
UID, GID = 1234, 1235
CGROUPS = Path("/sys/fs/cgroup")


def alive(pid: int) -> bool:
    """Whether a process runs, with any of its threads; one that ended and waits for its parent does not."""
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except (FileNotFoundError, ProcessLookupError):
        return False
    for task in tasks:
        try:
            if Path(f"/proc/{pid}/task/{task}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX":
                return True
        except (FileNotFoundError, ProcessLookupError):
            pass
    return False


def wait_until(condition, what: str, timeout_s: float = TIMEOUT_S):  # type: ignore[no-untyped-def]
    """What `condition` returns once that is true."""
    end = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < end, f"not in {timeout_s} s: {what}"
        time.sleep(0.005)
    return found


def processes_in(root: Path) -> list[int]:
    """Every process whose root directory is `root` or lies in it."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                where = os.readlink(f"/proc/{entry}/root")
            except OSError:
                continue
            if where == str(root) or where.startswith(f"{root}/"):
                found.append(int(entry))
    return found


class Jail:
    """One start of a VM in a jail. Its files are below `base`, which the caller removes."""

    def __init__(self, jailer: Path, mote: Path, base: Path, name: str, *options: str, api: bool = True,
                 arguments: tuple[str, ...] = (), uid: int = UID, gid: int = GID, **more: object) -> None:  # fmt: skip
        self.name, self.base = name, base
        self.root = base / mote.name / name / "root"
        self.sock = self.root / "run/firecracker.socket"
        self.pid_file = self.root / f"{mote.name}.pid"
        self.output = tempfile.TemporaryFile()
        command = [str(jailer), "--id", name, "--exec-file", str(mote), "--uid", str(uid), "--gid", str(gid),
                   "--chroot-base-dir", str(base), *options, *(("--", *arguments) if arguments else ())]  # fmt: skip
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.output, **more)  # type: ignore[call-overload]
        if api:
            self.wait_ready()

    @property
    def said(self) -> str:
        self.output.seek(0)
        return self.output.read().decode(errors="replace")

    @property
    def api(self) -> Api:
        return Api(self.sock)

    @property
    def pid(self) -> int:
        return int(self.pid_file.read_text())

    def _answers(self) -> bool:
        assert self.process.poll() in (None, 0), f"the jailer ended with {self.process.returncode}: {self.said}"
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
                s.connect(str(self.sock))
            return True
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            return False

    def wait_ready(self) -> None:
        wait_until(self._answers, f"API socket of {self.name}")

    def wait_exit(self) -> int:
        """For a VM that stays the jailer's process."""
        return self.process.wait(TIMEOUT_S)

    def file(self, source: Path) -> str:
        """Puts a file into the jail, for its user; returns its path inside."""
        target = self.root / source.name
        shutil.copy(source, target)
        os.chown(target, UID, GID)
        return f"/{source.name}"

    def status(self) -> dict[str, str]:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}

    def cgroup(self, controller: str) -> str:
        """The VM's cgroup in the hierarchy of a controller; "" is version 2."""
        for line in Path(f"/proc/{self.pid}/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controller in controllers.split(","):
                return path
        raise AssertionError(f"no hierarchy of {controller!r}")

    def kill(self) -> None:
        """Ends the VM as its operator would, and waits until it is gone."""
        pid = self.pid
        os.kill(pid, signal.SIGKILL)
        if pid == self.process.pid:
            self.process.wait()
        wait_until(lambda: not alive(pid), f"end of {pid}")

    def close(self) -> None:
        """Whatever happened before."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        while pids := [pid for pid in processes_in(self.root) if alive(pid)]:
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.005)
        self.output.close()


def cgroups_named(name: str) -> list[Path]:
    """Every cgroup directory of that name, in all hierarchies."""
    return [Path(folder) / name for folder, folders, _ in os.walk(CGROUPS) if name in folders]


def remove_cgroups(name: str) -> None:
    """A test's parent cgroups and what is left in them; the processes must have ended."""
    for top in cgroups_named(name):
        for folder, _, _ in os.walk(top, topdown=False):
            end = time.monotonic() + TIMEOUT_S
            while True:
                try:
                    os.rmdir(folder)
                    break
                except FileNotFoundError:
                    break
                except OSError:  # the last process is still on its way out
                    assert time.monotonic() < end, f"{folder} stays busy"
                    time.sleep(0.01)
