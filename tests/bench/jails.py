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
import statistics
import subprocess
import tempfile

MOUNTS = 500
AT_ONCE = 10
TURNS = 3
IDLE, CPU = "jailer to the VM's first reply, idle host", "CPU time of that, jailer and VM"
MANY, TEN = f"the same with {MOUNTS} mounts on the host", f"the same, {AT_ONCE} at a time, per start"
SIZE = "mote-jailer, stripped"
ROWS = [IDLE, CPU, MANY, TEN, SIZE]
TARGETS = {
    IDLE: ("ms", 2.0, 1.0),
    CPU: ("ms", 1.2, 0.8),
    MANY: ("x idle", 1.3, 1.1),
    TEN: ("x idle", 1.3, 1.0),
    SIZE: ("KB", 60, 40),
}
MAKE_MOUNTS = 'for i in $(seq "$0"); do mkdir -p "$1/$i" && mount -t tmpfs none "$1/$i" || exit 1; done; shift; exec "$@"'


class Failed(Exception):
    """The part could not be measured; the text says why."""


def jail_ready(out: pathlib.Path, mote: pathlib.Path, rounds: int, at_once: int, *options: str, mounts: int = 0,
               where: str | None = "/dev/shm") -> list[dict[str, float]]:
    """What jail_ready printed, a dict a round; in a mount namespace with more mounts if so asked."""
    with tempfile.TemporaryDirectory(prefix="mj.", dir=where) as folder:
        base, many = pathlib.Path(folder, "base"), pathlib.Path(folder, "many")
        base.mkdir()
        command = [out / "jail_ready", rounds, at_once, base, mote.with_name("mote-jailer"), mote, *options]
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
    runs: dict[str, list[dict[str, float]]] = {"idle": [], "many": [], "ten": [], "daemon": [], "namespace": [], "disk": []}
    for _ in range(TURNS):
        each = -(-rounds // TURNS)
        runs["idle"] += jail_ready(out, mote, each, 1)
        runs["many"] += jail_ready(out, mote, each, 1, mounts=MOUNTS)
        runs["ten"] += jail_ready(out, mote, -(-each // 3), AT_ONCE)
        runs["daemon"] += jail_ready(out, mote, each, 1, "--daemonize", "--new-pid-ns")
        runs["disk"] += jail_ready(out, mote, each, 1, where=None)
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
        size,
    ]  # fmt: skip
