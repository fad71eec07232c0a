# SPDX-License-Identifier: Apache-2.0
"""
The part `jail` of tests/bench/run: jail_ready.c starts jails that did not exist before and asks the VM in each for its
version. Needs root. Three situations take turns, so that what else this machine does meets all of them: a host as it
is, one with MOUNTS more mounts, and AT_ONCE starts at a time. The jails lie in memory: each is ten new inodes, and a
disk's file system adds its own time and its own queue to that, which is measured too and printed beside.

A ratio is of medians. With AT_ONCE starts on fewer CPUs each waits for the others, whatever the jailer does; so that
row compares how long the host is busy per start, and what it says beside it is CPU time per start.
"""
from __future__ import annotations

import os
import pathlib
import shutil
import statistics
import subprocess
import tempfile

MOUNTS = 500
AT_ONCE = 10
TURNS = 3
IDLE, CPU = "jailer to the VM's first reply, idle host", "CPU time of that, jailer and VM"
MANY, TEN = f"the same with {MOUNTS} mounts on the host", f"the same, {AT_ONCE} at a time, per start"
ROOTLESS = "--rootless, as an ordinary user"
SIZE = "mote-jailer, stripped"
ROWS = [IDLE, CPU, MANY, TEN, ROOTLESS, SIZE]
TARGETS = {
    IDLE: ("ms", 2.0, 1.0),
    CPU: ("ms", 1.2, 0.8),
    MANY: ("x idle", 1.3, 1.1),
    TEN: ("x idle", 1.3, 1.0),
    ROOTLESS: ("ms", 2.0, 1.2),
    SIZE: ("KB", 60, 40),
}
MAKE_MOUNTS = 'for i in $(seq "$0"); do mkdir -p "$1/$i" && mount -t tmpfs none "$1/$i" || exit 1; done; shift; exec "$@"'
# jail_ready's user 1234 with /dev/kvm for a group of its own, which only this mount namespace knows.
AS_USER = """
mount -t tmpfs none "$0" && mknod -m 660 "$0/kvm" c $(stat -c '0x%t 0x%T' /dev/kvm) && chgrp 1235 "$0/kvm" &&
mount --bind "$0/kvm" /dev/kvm && exec setpriv --reuid 1234 --regid 1234 --groups 1235 "$@"
"""


class Failed(Exception):
    """The part could not be measured; the text says why."""


def jail_ready(out: pathlib.Path, mote: pathlib.Path, rounds: int, at_once: int, *options: str, mounts: int = 0,
               where: str | None = "/dev/shm", user: bool = False) -> list[dict[str, float]]:
    """What jail_ready printed, a dict a round; in a mount namespace with more mounts, or as a user, if so asked."""
    with tempfile.TemporaryDirectory(prefix="mj.", dir=where) as folder, tempfile.TemporaryDirectory(prefix="mj.") as programs:
        base, many, devices = (pathlib.Path(folder, name) for name in ("base", "many", "devices"))
        base.mkdir()
        # The user must reach what it runs, wherever this was built.
        for source in (out / "jail_ready", mote.with_name("mote-jailer"), mote):
            shutil.copy2(source, programs)
        ready, jailer, mote = (pathlib.Path(programs, name) for name in ("jail_ready", "mote-jailer", mote.name))
        command = [ready, rounds, at_once, base, jailer, mote, *options]
        if user:
            devices.mkdir()
            os.chown(base, 1234, 1234)
            for path in (folder, programs):
                os.chmod(path, 0o755)
            command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", AS_USER, devices, *command]
        if mounts:
            command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", MAKE_MOUNTS, mounts, many, *command]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed((done.stderr.strip().splitlines() or [f"jail_ready ended with {done.returncode}"])[-1])
    words = [line.split() for line in done.stdout.splitlines()]
    return [{line[i]: float(line[i + 1]) for i in range(0, len(line), 2)} for line in words]


def measure(options: object, out: pathlib.Path) -> list[tuple[str, float, str]]:
    mote, rounds = options.mote, options.rounds or 30  # type: ignore[attr-defined]
    if os.geteuid() != 0:
        raise Failed("needs root")
    size = (SIZE, mote.with_name("mote-jailer").stat().st_size / 1e3, "")
    runs: dict[str, list[dict[str, float]]] = {"idle": [], "many": [], "ten": [], "daemon": [], "namespace": [], "disk": [], "user": [],
                                             "net": []}  # fmt: skip
    for _ in range(TURNS):
        each = -(-rounds // TURNS)
        runs["idle"] += jail_ready(out, mote, each, 1)
        runs["many"] += jail_ready(out, mote, each, 1, mounts=MOUNTS)
        runs["ten"] += jail_ready(out, mote, -(-each // 3), AT_ONCE)
        runs["daemon"] += jail_ready(out, mote, each, 1, "--daemonize", "--new-pid-ns")
        runs["disk"] += jail_ready(out, mote, each, 1, where=None)
        runs["user"] += jail_ready(out, mote, each, 1, "--rootless", user=True)
        runs["net"] += jail_ready(out, mote, each, 1, "--rootless", "--new-net-ns", user=True)
        runs["namespace"] += jail_ready(out, mote, each, 1, "--new-mount-ns", mounts=MOUNTS)

    def ms(kind: str, key: str, of: object = statistics.median) -> float:
        return of(run[key] for run in runs[kind]) / 1e3  # type: ignore[operator,no-any-return]

    idle, cpu = ms("idle", "reply_us"), ms("idle", "cpu_us")
    return [
        (IDLE, idle, f"least {ms('idle', 'reply_us', min):.2f} ms; --daemonize --new-pid-ns {ms('daemon', 'reply_us'):.2f} ms "
                     f"(CPU {ms('daemon', 'cpu_us'):.2f})"),
        (CPU, cpu, f"least {ms('idle', 'cpu_us', min):.2f} ms; with jails on this disk {ms('disk', 'reply_us'):.2f} ms "
                   f"(CPU {ms('disk', 'cpu_us'):.2f})"),
        (MANY, ms("many", "reply_us") / idle, f"{ms('many', 'reply_us'):.2f} ms (CPU {ms('many', 'cpu_us'):.2f}); with --new-mount-ns "
                                              f"{ms('namespace', 'reply_us'):.2f} ms (CPU {ms('namespace', 'cpu_us'):.2f})"),
        (TEN, ms("ten", "all_us") / idle, f"{ms('ten', 'all_us'):.2f} ms a start on {os.cpu_count()} CPUs, CPU {ms('ten', 'cpu_us'):.2f} ms "
                                          f"({ms('ten', 'cpu_us') / cpu:.2f} x); last of {AT_ONCE} after {ms('ten', 'all_us') * AT_ONCE:.1f} ms"),
        (ROOTLESS, ms("user", "reply_us"), f"least {ms('user', 'reply_us', min):.2f} ms, CPU {ms('user', 'cpu_us'):.2f} ms; with "
                                           f"--new-net-ns {ms('net', 'reply_us'):.2f} ms (CPU {ms('net', 'cpu_us'):.2f})"),
        size,
    ]  # fmt: skip
