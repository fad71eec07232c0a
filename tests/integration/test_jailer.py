# SPDX-License-Identifier: Apache-2.0
"""mote-jailer: the jail as an operator sees it from the host, and the VM in it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from jail import GID, UID, Jail, alive, wait_until
from mote_process import open_files

pytestmark = pytest.mark.native_ok

Start = Callable[..., Jail]
Tiny = Callable[[str], Path]
BOTH_ROOTS = pytest.mark.parametrize("options", [(), ("--new-mount-ns",)], ids=["chroot", "mount-ns"])
ALL_WAYS = pytest.mark.parametrize(
    "options", [(), ("--daemonize",), ("--new-pid-ns",), ("--daemonize", "--new-pid-ns"), ("--new-mount-ns",)], ids=" ".join
)


def boot(vm: Jail, kernel: Path) -> None:
    vm.api.machine(1, 128)
    vm.api.boot_source(Path(vm.file(kernel)))
    vm.api.start()


def check(path: Path, mode: int, owner: tuple[int, int] = (UID, GID)) -> os.stat_result:
    found = path.lstat()
    assert (oct(found.st_mode), found.st_uid, found.st_gid) == (oct(mode), *owner), path
    return found


@ALL_WAYS
def test_layout(jail: Start, options: tuple[str, ...]) -> None:
    vm = jail("layout", *options)
    for name in ("", "dev", "dev/net", "run"):
        check(vm.root / name, stat.S_IFDIR | 0o700)
    for name, device in (("dev/net/tun", (10, 200)), ("dev/kvm", (10, 232)), ("dev/urandom", (1, 9))):
        found = check(vm.root / name, stat.S_IFCHR | 0o600)
        assert (os.major(found.st_rdev), os.minor(found.st_rdev)) == device
    check(vm.sock, stat.S_IFSOCK | 0o755)
    check(vm.root.parent, stat.S_IFDIR | 0o755, (0, 0))
    check(vm.pid_file, stat.S_IFREG | 0o644, (0, 0))
    files = {str(p.relative_to(vm.root)) for p in vm.root.rglob("*")}
    assert files == {"dev", "dev/net", "dev/net/tun", "dev/kvm", "dev/urandom", "run", "run/firecracker.socket", "mote.pid"}


def test_vhost_net(jail: Start) -> None:
    """One more node, and only for who asks: it is for interfaces whose frames the kernel moves."""
    found = check(jail("vhost", "--vhost-net").root / "dev/vhost-net", stat.S_IFCHR | 0o600)
    assert (os.major(found.st_rdev), os.minor(found.st_rdev)) == (10, 238)


@ALL_WAYS
def test_process(jail: Start, options: tuple[str, ...]) -> None:
    """Who it is, what it may, what it holds and what it is called with."""
    vm = jail("process", *options, env={"SECRET": "1"}, extra_groups=[4, 24], arguments=("--level", "Debug"))
    status = vm.status()
    assert status["Uid"].split() == [str(UID)] * 4
    assert status["Gid"].split() == [str(GID)] * 4
    assert status["Groups"] == ""
    for field in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[field], 16) == 0, field
    assert status["NoNewPrivs"] == "1"
    proc = Path(f"/proc/{vm.pid}")
    assert (proc / "environ").read_bytes() == b""
    words = (proc / "cmdline").read_text().split("\0")[:-1]
    assert words[:3] == ["/mote", "--id", "process"]
    assert words[3::2][:3] == ["--start-time-us", "--start-time-cpu-us", "--parent-cpu-time-us"]
    assert words[9:] == ["--level", "Debug"]
    for fd, name in open_files(vm.pid).items():
        assert fd <= 2 or not name.startswith("/") or name.startswith("/dev/")
    assert os.stat(proc / "root").st_ino == vm.root.stat().st_ino
    assert os.stat(proc / "cwd").st_ino == vm.root.stat().st_ino
    assert alive(vm.pid)


@ALL_WAYS
def test_life(jail: Start, tiny: Tiny, options: tuple[str, ...]) -> None:
    """A guest is started, paused, resumed and ended through the socket in the jail."""
    vm = jail("life", *options)
    pid = vm.pid
    boot(vm, tiny("tick"))
    vm.api.must("PATCH", "/vm", {"state": "Paused"})
    assert vm.api.get("/").json["state"] == "Paused"
    vm.api.must("PATCH", "/vm", {"state": "Resumed"})
    assert vm.api.get("/").json["id"] == "life"
    vm.kill()
    again = jail("life", *options)
    boot(again, tiny("hello"))
    pid = again.pid
    wait_until(lambda: not alive(pid), "end of the guest")
    assert again.wait_exit() == 0


def test_guest_ends_with_its_status(jail: Start, tiny: Tiny) -> None:
    vm = jail("triple")
    boot(vm, tiny("triple"))
    assert vm.wait_exit() == 1


@pytest.mark.parametrize("options", [(), ("--daemonize", "--new-pid-ns")], ids=" ".join)
def test_startup_metrics(jail: Start, tiny: Tiny, options: tuple[str, ...]) -> None:
    """The times that the jailer hands on are of this start: between nothing and the time that has gone by."""
    began = time.monotonic()
    vm = jail("metrics", *options, arguments=("--metrics-path", "/run/metrics"))
    took_us = (time.monotonic() - began) * 1e6
    boot(vm, tiny("tick"))
    vm.api.must("PUT", "/actions", {"action_type": "FlushMetrics"})
    lines = [json.loads(line)["api_server"] for line in (vm.root / "run/metrics").read_text().splitlines()]
    for name in ("process_startup_time_us", "process_startup_time_cpu_us"):
        assert 0 < max(line[name] for line in lines) < took_us, name


def test_called_firecracker(jail: Start, folder: Path, binary: Path) -> None:
    """The name given decides about paths and identity, also where it is a link."""
    link = folder / "bin/firecracker"
    link.parent.mkdir()
    link.symlink_to(binary)
    vm = jail("named", exec_file=link)
    assert vm.root == folder / "firecracker/named/root"
    assert vm.api.get("/").json["app_name"] == "Firecracker"
    assert vm.pid_file.name == "firecracker.pid"


@pytest.mark.parametrize("name", ["jailer", "mote-jailer"])
def test_version(jailer: Path, name: str) -> None:
    done = subprocess.run([name, "--version"], executable=jailer, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Jailer v1." if name == "jailer" else "mote-jailer v")


def limits(vm: Jail) -> tuple[str, str]:
    """Soft and hard limits of open files and of a file's size."""
    lines = Path(f"/proc/{vm.pid}/limits").read_text().splitlines()
    found = [next(line.split()[3:5] for line in lines if line.startswith(name)) for name in ("Max open files", "Max file size")]
    return " ".join(found[0]), " ".join(found[1])


def test_default_limits(jail: Start) -> None:
    assert limits(jail("limits")) == ("2048 2048", "unlimited unlimited")


def test_limits(jail: Start) -> None:
    vm = jail("limits", "--resource-limit", "no-file=1024", "--resource-limit", "fsize=2097151")
    assert limits(vm) == ("1024 1024", "2097151 2097151")


def test_file_size_limit_is_met(jail: Start) -> None:
    vm = jail("fsize", "--resource-limit", "fsize=1000", arguments=("--log-path", "/run/log"))
    try:
        for _ in range(50):
            vm.api.get("/")
    except (ConnectionError, FileNotFoundError, http.client.HTTPException):
        pass
    assert vm.wait_exit() == 151


def test_no_descriptors_are_left(jail: Start) -> None:
    vm = jail("no-file", "--resource-limit", "no-file=4", api=False)
    assert vm.wait_exit() == 1
    assert "No file descriptors available (os error 24)" in vm.said


@pytest.mark.parametrize("daemonize", [(), ("--daemonize",)], ids=["", "daemonize"])
def test_pid_namespace(jail: Start, daemonize: tuple[str, ...]) -> None:
    vm = jail("pid", "--new-pid-ns", *daemonize)
    assert vm.wait_exit() == 0, "the jailer is done when the VM runs"
    assert vm.status()["NStgid"].split() == [str(vm.pid), "1"]
    assert os.getsid(vm.pid) != os.getsid(0), "a hang-up of our terminal is none for the VM"
    vm.kill()


def test_daemon(jail: Start) -> None:
    vm = jail("daemon", "--daemonize")
    assert vm.wait_exit() == 0
    assert os.getsid(vm.pid) not in (os.getsid(0), vm.pid), "it leads no session, so it gets no terminal"
    for fd in range(3):
        assert os.readlink(f"/proc/{vm.pid}/fd/{fd}") == "/dev/null"


def test_network_namespace(jail: Start, folder: Path) -> None:
    name = f"mote-jail-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        link = folder / "link"
        link.symlink_to(f"/run/netns/{name}")
        vm = jail("netns", "--netns", str(link))
        assert os.stat(f"/proc/{vm.pid}/ns/net").st_ino == os.stat(f"/run/netns/{name}").st_ino
        vm.kill()
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


def test_kept_descriptor(jail: Start) -> None:
    """One is handed in and stays, its neighbours do not."""
    ends = [os.memfd_create(f"kept-{i}", 0) for i in range(3)]
    kept = ends[1]
    try:
        vm = jail("keep", "--keep-fd", str(kept), pass_fds=ends)
        names = open_files(vm.pid)
        assert names[kept].startswith("/memfd:kept-1")
        assert sum(name.startswith("/memfd:") for name in names.values()) == 1
    finally:
        for fd in ends:
            os.close(fd)


def test_kept_directory_is_refused(jail: Start, folder: Path) -> None:
    fd = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    try:
        vm = jail("keep", "--keep-fd", str(fd), pass_fds=[fd], api=False)
        assert vm.wait_exit() == 1
        assert "a way out of the jail" in vm.said
    finally:
        os.close(fd)
    assert not list(folder.iterdir())


def test_closed_standard_streams(jail: Start) -> None:
    """A file of the jail must not come in their place."""
    vm = jail("closed", preexec_fn=lambda: os.closerange(0, 3))
    for fd in range(3):
        assert os.readlink(f"/proc/{vm.pid}/fd/{fd}") == "/dev/null"


@BOTH_ROOTS
def test_later_mounts_appear(jailer: Path, binary: Path, folder: Path, options: tuple[str, ...]) -> None:
    """What the host mounts below a jail after the start is there inside, and nothing comes back out."""
    (folder / "there").mkdir()
    (folder / "there/file").write_text("from the host")
    script = f"""
        set -e
        {jailer} --id m --exec-file {binary} --uid {UID} --gid {GID} --chroot-base-dir {folder} --daemonize {" ".join(options)}
        root={folder}/{binary.name}/m/root
        pid=$(cat $root/{binary.name}.pid)
        trap 'kill -9 $pid' EXIT
        mkdir $root/here
        mount --bind {folder}/there $root/here
        cat /proc/$pid/root/here/file
    """
    if os.geteuid() != 0:
        pytest.skip("needs root")
    command = ["unshare", "--mount", "--propagation", "shared", "bash", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "from the host", done.stderr


def test_own_mount_table(jail: Start) -> None:
    vm = jail("table", "--new-mount-ns")
    assert len(Path(f"/proc/{vm.pid}/mountinfo").read_text().splitlines()) == 1
    assert os.stat(f"/proc/{vm.pid}/ns/mnt").st_ino != os.stat("/proc/self/ns/mnt").st_ino


REFUSED = [
    (("--id", ""), "Invalid instance ID: Invalid len (0); the length must be between 1 and 64"),
    (("--id", "x" * 65), "Invalid instance ID: Invalid len (65)"),
    (("--id", "a/b"), "Invalid instance ID: Invalid char (/) at position 1"),
    (("--exec-file", "/nonexistent/mote"), "Failed to canonicalize path /nonexistent/mote: No such file or directory"),
    (("--exec-file", "/tmp"), "/tmp is not a file"),
    (("--exec-file", "/bin/sh"), "/bin/sh is not linked statically"),
    (("--uid", "root"), "Invalid uid: root"),
    (("--gid", "4294967295"), "Invalid gid: 4294967295"),
    (("--chroot-base-dir", "/nonexistent"), "Failed to canonicalize path /nonexistent: No such file or directory"),
    (("--netns", "/nonexistent"), "Failed to open file /nonexistent: No such file or directory"),
    (("--cgroup", "cpu.shares"), "Invalid format for cgroups: cpu.shares"),
    (("--cgroup", "shares=1"), "Cgroup invalid file: shares"),
    (("--cgroup", "../x.y=1"), "Cgroup invalid file: ../x.y"),
    (("--cgroup", "nonsense.x=1"), "Controller nonsense is unavailable"),
    (("--cgroup-version", "3"), "3 is an invalid cgroup version specifier"),
    (("--parent-cgroup", "/a"), "Parent cgroup path is invalid. Path should not be absolute or contain '..' or '.'"),
    (("--parent-cgroup", "a/../b"), "Parent cgroup path is invalid."),
    (("--resource-limit", "fsize"), "Invalid format for resources limits: fsize"),
    (("--resource-limit", "fsize=x"), "Invalid limit value for resource: x"),
    (("--resource-limit", "core=1"), "Invalid resource argument: core"),
    (("--keep-fd", "2"), "Invalid file descriptor to keep: 2"),
    (("--keep-fd", "77"), "Failed to keep file descriptor 77: Bad file descriptor (os error 9)"),
    (("--daemonise",), "Found argument 'daemonise' which wasn't expected"),
    (("--uid",), "The argument 'uid' requires a value, but none was supplied"),
]


@pytest.mark.parametrize("words,text", REFUSED, ids=[text[:40] for _, text in REFUSED])
def test_refused(jailer: Path, binary: Path, folder: Path, words: tuple[str, ...], text: str) -> None:
    options = {"--id": "r", "--exec-file": str(binary), "--uid": "1", "--gid": "1", "--chroot-base-dir": str(folder)}
    options.pop(words[0], None)
    command = [str(jailer), *(word for pair in options.items() for word in pair), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1
    assert text in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(folder.iterdir()), "nothing is made before all was judged, or it is gone again"


@pytest.mark.parametrize("missing", ["id", "exec-file", "uid", "gid"])
def test_required(jailer: Path, missing: str) -> None:
    words = [w for name in ("id", "exec-file", "uid", "gid") if name != missing for w in (f"--{name}", "1")]
    done = subprocess.run([str(jailer), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"Argument '{missing}' required, but not found." in done.stderr


def test_no_signal_is_blocked(jail: Start) -> None:
    """Blocked signals of whoever started the jailer are not the VM's; it blocks its own two."""
    blocked = {signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1}
    vm = jail("signals", preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, blocked) and None)
    mask = int(vm.status()["SigBlk"], 16)
    assert not mask & (1 << (signal.SIGHUP - 1)) and not mask & (1 << (signal.SIGUSR1 - 1))
    vm.process.send_signal(signal.SIGTERM)
    assert vm.wait_exit() == -signal.SIGTERM
    assert not vm.sock.exists()


def test_super_user_without_rights(jail: Start) -> None:
    """User 0 is allowed, and has no capability either."""
    vm = jail("zero", uid=0, gid=0)
    status = vm.status()
    assert status["Uid"].split() == ["0"] * 4
    assert [int(status[field], 16) for field in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")] == [0] * 5
