# SPDX-License-Identifier: Apache-2.0
"""System call filters: on every thread by default, and what happens when one is violated."""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import subprocess
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

import pytest
from mote_process import Mote

pytestmark = pytest.mark.native_ok
Start = Callable[..., Mote]
Tiny = Callable[[str], Path]

TOP = Path(__file__).resolve().parents[2]
COMPILER = TOP / "build/seccomp/mote-seccomp-compile"
POLICIES = [TOP / f"resources/seccomp/{step}.{os.uname().machine}.policy" for step in ("setup", "running", "vcpu")]
BAD_ARGUMENTS = 153
SIGSYS = 148


def start(vm: Mote, kernel: Path, vcpus: int = 2) -> Mote:
    vm.api.machine(vcpus=vcpus, mem_mib=64)
    vm.api.boot_source(kernel)
    vm.api.start()
    return vm


def status(vm: Mote, field: str) -> dict[str, str]:
    """A line of /proc/PID/task/*/status by thread."""
    found: dict[str, str] = {}
    for task in Path(f"/proc/{vm.process.pid}/task").iterdir():
        fields = dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines() if ":\t" in line)
        found[fields["Name"]] = fields[field]
    return found


def write_policies(folder: Path, without: dict[str, list[str]]) -> list[Path]:
    """The project's policies, without the lines that begin with these calls."""
    out = []
    for policy in POLICIES:
        lines = policy.read_text().splitlines()
        for call in without.get(policy.name.split(".")[0], []):
            kept = [line for line in lines if not re.match(rf"{re.escape(call)}(\s|\(|$)", line)]
            assert len(kept) < len(lines), f"{policy.name} has no {call}"
            lines = kept
        path = folder / policy.name
        path.write_text("\n".join(lines) + "\n")
        out.append(path)
    return out


def compile_policies(policies: list[Path], *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(COMPILER), *options, *map(str, policies)], capture_output=True, text=True, check=False)


def filters(folder: Path, without: dict[str, list[str]] | None = None) -> Path:
    out = folder / "filters"
    done = compile_policies(write_policies(folder, without or {}), "--output", str(out))
    assert done.returncode == 0, done.stderr
    return out


def check_fault(vm: Mote, call: str, metrics: Path, log: Path) -> None:
    """The documented end: exit code, a line that names the call, one fault, nothing left behind."""
    assert vm.wait_exit() == SIGSYS
    said = log.read_text()
    assert len(re.findall(rf"intercepting signal 31, code 1, bad syscall \(\d+\) {call}\.", said)) == 1, said
    assert said.splitlines()[-1].endswith(f"exit_code={SIGSYS}")
    vm.wait_for(lambda: f" {call}." in vm.errors.decode(), "the same on standard error")
    last = json.loads(metrics.read_text().splitlines()[-1])
    assert last["seccomp"]["num_faults"] == 1
    assert vm.sock is not None and not vm.sock.exists()
    assert vm.terminal_is_restored()


def test_every_thread_is_filtered(mote: Start, tiny: Tiny) -> None:
    vm = mote()
    name = vm.process.args[0].rsplit("/", 1)[-1]
    assert status(vm, "Seccomp") == {name: "2"}
    assert status(vm, "NoNewPrivs") == {name: "1"}
    before = status(vm, "Seccomp_filters")
    start(vm, tiny("tick"))
    vm.wait_text("ticking")
    assert set(status(vm, "Seccomp").values()) == {"2"}
    assert set(status(vm, "NoNewPrivs").values()) == {"1"}
    own = str(int(before[name]) + 1)  # beside the one it inherited
    threads = {name: own, "fc_vcpu 0": own, "fc_vcpu 1": own}
    # The kernel may have put a thread of KVM's beside ours.
    vm.wait_for(lambda: threads.items() <= status(vm, "Seccomp_filters").items(), "filter of its own on each thread")


def test_failed_start_leaves_the_first_filter(mote: Start, tiny: Tiny) -> None:
    """A start that fails can be mended: the rights it needs are still there."""
    vm = mote()
    vm.api.machine(vcpus=1, mem_mib=64)
    vm.api.boot_source(tiny("tick"))
    before = status(vm, "Seccomp_filters")
    bad = vm.sock.parent / "bad" if vm.sock else Path()
    bad.write_bytes(b"\x7fELF" + bytes(4000))
    vm.api.boot_source(bad)
    assert vm.api.put("/actions", {"action_type": "InstanceStart"}).status == 400
    assert status(vm, "Seccomp_filters") == before
    vm.api.boot_source(tiny("tick"))
    vm.api.start()
    vm.wait_text("ticking")


def test_no_seccomp(mote: Start, tiny: Tiny, folder: Path) -> None:
    log = folder / "log"
    vm = mote("--no-seccomp", "--log-path", str(log))
    assert set(status(vm, "NoNewPrivs").values()) == {"0"}
    start(vm, tiny("tick"))
    vm.wait_text("ticking")
    assert set(status(vm, "Seccomp").values()) == {"0"}
    assert "--no-seccomp" in log.read_text()


def test_filters_of_ones_own(mote: Start, tiny: Tiny, folder: Path) -> None:
    vm = start(mote("--seccomp-filter", str(filters(folder))), tiny("tick"))
    vm.wait_text("ticking")
    assert set(status(vm, "Seccomp").values()) == {"2"}
    vm.api.must("PATCH", "/vm", {"state": "Paused"})
    vm.api.must("PATCH", "/vm", {"state": "Resumed"})


def test_violation_before_the_start(mote: Start, folder: Path) -> None:
    out, log = folder / "metrics", folder / "log"
    own = filters(folder, {"setup": ["accept4"], "running": ["accept4"]})
    vm = mote("--seccomp-filter", str(own), "--metrics-path", str(out), "--log-path", str(log), ready=False, terminal=True)
    vm.wait_for(lambda: vm.sock is not None and vm.sock.exists(), "socket")
    vm.wait_ready()
    check_fault(vm, "accept4", out, log)


def test_violation_on_the_loop(mote: Start, tiny: Tiny, folder: Path) -> None:
    out, log = folder / "metrics", folder / "log"
    own = filters(folder, {"running": ["accept4"]})
    vm = mote("--seccomp-filter", str(own), "--metrics-path", str(out), "--log-path", str(log), terminal=True)
    start(vm, tiny("tick"))
    vm.wait_text("ticking")
    vm.wait_ready()
    check_fault(vm, "accept4", out, log)


def test_violation_on_a_vcpu(mote: Start, tiny: Tiny, folder: Path) -> None:
    """It has no right to tidy up, so the loop thread does it in its place."""
    out, log = folder / "metrics", folder / "log"
    own = filters(folder, {"vcpu": ["ioctl"]})
    vm = mote("--seccomp-filter", str(own), "--metrics-path", str(out), "--log-path", str(log), terminal=True)
    vm.api.machine(vcpus=2, mem_mib=64)
    vm.api.boot_source(tiny("tick"))
    try:
        vm.api.put("/actions", {"action_type": "InstanceStart"})
    except (OSError, HTTPException):
        pass  # it may be over before the answer
    check_fault(vm, "ioctl", out, log)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGSEGV, 150), (signal.SIGABRT, -signal.SIGABRT)])
def test_fatal_signal_on_a_vcpu(mote: Start, tiny: Tiny, folder: Path, number: signal.Signals, code: int) -> None:
    out, log = folder / "metrics", folder / "log"
    vm = mote("--metrics-path", str(out), "--log-path", str(log), terminal=True)
    start(vm, tiny("tick"))
    vm.wait_text("ticking")
    tasks = Path(f"/proc/{vm.process.pid}/task").iterdir()
    vcpu = next(int(task.name) for task in tasks if (task / "comm").read_text() == "fc_vcpu 0\n")
    assert ctypes.CDLL(None, use_errno=True).tgkill(vm.process.pid, vcpu, int(number)) == 0
    assert vm.wait_exit() == code
    assert log.read_text().count(f"intercepting signal {int(number)}") == 1
    last = json.loads(out.read_text().splitlines()[-1])
    assert sum(last["signals"].values()) + last["vmm"]["panic_count"] == 1
    assert vm.terminal_is_restored()
    assert vm.sock is not None and not vm.sock.exists()


def test_large_request_while_running(mote: Start, tiny: Tiny) -> None:
    """The pages that it took go back."""
    vm = start(mote(), tiny("tick"))
    vm.wait_text("ticking")
    assert vm.api.patch("/vm", '{"state": "Paused"' + " " * 40_000 + "}").status == 204
    assert vm.api.patch("/vm", {"state": "Resumed"}).status == 204


@pytest.mark.parametrize("thread", ["loop", "vcpu"])
def test_first_line_of_the_log_is_late(mote: Start, tiny: Tiny, folder: Path, thread: str) -> None:
    """What libc wants to read before it knows the time of day, it has read before the rights are gone."""
    log = folder / "log"
    vm = mote("--level", "Error", "--log-path", str(log))
    start(vm, tiny("tick" if thread == "loop" else "triple"))
    if thread == "loop":
        vm.wait_text("ticking")
        assert not log.read_text()
        assert vm.api.patch("/vm", {"state": "Nonsense"}).status == 400
        assert vm.api.get("/").status == 200
    else:
        assert vm.wait_exit() == 1
        assert "] vCPU 0: " in log.read_text()
    assert "syscall" not in log.read_text()


def test_filter_and_no_filter(mote: Start, folder: Path) -> None:
    vm = mote("--no-seccomp", "--seccomp-filter", str(filters(folder)), api=False)
    assert vm.wait_exit() == BAD_ARGUMENTS


def category(name: bytes) -> bytes:
    return name.ljust(12, b"\0") + (1).to_bytes(4, "little") + bytes(8)


@pytest.mark.parametrize("kind", ["missing", "empty", "text", "cut", "longer", "large", "fourth", "folder", "unknown"])
def test_bad_filter_files(mote: Start, folder: Path, kind: str) -> None:
    path = filters(folder)
    good = path.read_bytes()
    if kind == "missing":
        path.unlink()
    elif kind == "folder":
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(
            {
                "empty": b"",
                "text": b'{"vmm": {}, "api": {}, "vcpu": {}}',
                "cut": good[:-1],
                "longer": good + b"\0",
                "large": good + bytes(100_001 - len(good)),
                "fourth": good + category(b"api"),
                "unknown": good.replace(b"vcpu\0\0\0\0", b"vcpus\0\0\0", 1),
            }[kind]
        )
    vm = mote("--seccomp-filter", str(path), ready=False)
    assert vm.wait_exit() == 1
    words = "Seccomp error: Filter deserialization failed: "
    vm.wait_for(lambda: words in vm.text and words in vm.errors.decode(), words)
    assert vm.sock is not None and not vm.sock.exists()


@pytest.mark.parametrize("step", ["setup", "running", "vcpu"])
def test_refused_filter(mote: Start, tiny: Tiny, folder: Path, step: str) -> None:
    """One that the kernel refuses: no thread goes on without it."""
    path, out = filters(folder), b""
    whole = path.read_bytes()
    out, at = whole[:16], 16
    while at < len(whole):
        end = at + 16 + 8 * int.from_bytes(whole[at + 12 : at + 16], "little")
        name = whole[at : at + 12].rstrip(b"\0")
        out += category(name) if name == step.encode() else whole[at:end]
        at = end
    path.write_bytes(out)
    vm = mote("--seccomp-filter", str(path), ready=step != "setup")
    words = f"Seccomp error: {step} filter"
    if step != "setup":
        vm.api.machine(vcpus=2, mem_mib=64)
        vm.api.boot_source(tiny("tick"))
        try:
            answer = vm.api.put("/actions", {"action_type": "InstanceStart"})
            assert step == "vcpu" or (answer.status == 400 and words in answer.body)
        except (OSError, HTTPException):
            assert step == "vcpu"  # it may be over before the answer
    if step != "running":
        assert vm.wait_exit() == 1
    vm.wait_for(lambda: words in vm.text + vm.errors.decode(), words)
    if step == "running":  # its vCPUs may have begun
        assert '"Not started"' in vm.api.get("/").body
    else:
        assert "ticking" not in vm.text


def test_counts() -> None:
    """What the policies say of themselves is what the compiler enforces."""
    done = compile_policies(POLICIES, "--count")
    counts = {line.split()[0]: int(line.split()[1]) for line in done.stdout.splitlines()}
    assert set(counts) == {"setup", "running", "vcpu"}
    assert counts["setup"] <= 58
    assert counts["running"] <= 40
    assert counts["vcpu"] <= 12


# What one architecture has in place of what the other has.
PAIRS = {
    "open": "openat", "poll": "ppoll", "lstat": "newfstatat", "unlink": "unlinkat", "rename": "renameat",
    "getpgrp": "getpgid",
}  # fmt: skip


def test_both_architectures_allow_the_same(folder: Path) -> None:
    for policy in POLICIES:
        calls = {}
        for arch in ("x86_64", "aarch64"):
            text = (policy.parent / f"{policy.name.split('.')[0]}.{arch}.policy").read_text()
            calls[arch] = set(re.findall(r"^(?!limit)(\w+)", text, re.MULTILINE))
        assert {PAIRS.get(call, call) for call in calls["x86_64"]} == calls["aarch64"]
    out = folder / "filters"
    done = subprocess.run(
        [str(COMPILER), "--arch", "aarch64", "--output", str(out)]
        + [str(p.with_name(p.name.replace("x86_64", "aarch64"))) for p in POLICIES],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert out.read_bytes()[:8] == b"motebpf1"


@pytest.mark.parametrize(
    ("step", "line", "why"),
    [
        ("vcpu", "write  # again", "redundant"),
        ("setup", "mmap(_, _, in PROT_READ|PROT_WRITE, MAP_SHARED)  # less", "redundant"),
        ("running", "fcntl  # more", "redundant"),
        ("vcpu", "read", "needed for"),
        ("vcpu", "read  #", "needed for"),
        ("vcpu", "no_such_call  # what", "no system call"),
        ("vcpu", "ioctl(_, KVM_NONSENSE)  # what", "unknown constant"),
        ("vcpu", "ioctl(_, {KVM_RUN)  # what", "set ends"),
        ("vcpu", "ioctl(_, KVM_RUN, _, _, _, _, _)  # what", "at most 6"),
        ("vcpu", "limit 9", "limit"),
        ("vcpu", "execve  # more than before", "does not allow"),
        ("vcpu", "socket(2)  # more than before", "does not allow"),
    ],
)
def test_bad_policies(folder: Path, step: str, line: str, why: str) -> None:
    policies = write_policies(folder, {})
    path = next(p for p in policies if p.name.startswith(step))
    text = path.read_text() if "limit" in line else path.read_text().replace("\nlimit ", "\nlimit 1")
    path.write_text(text + line + "\n")
    done = compile_policies(policies)
    assert done.returncode == 1
    assert why in done.stderr
    assert re.match(rf"\S+{path.name}:\d+: ", done.stderr)
