# SPDX-License-Identifier: Apache-2.0
"""What an operator sees of a mote: log, metrics, signals with their exit codes, the console's file, the boot timer."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from metrics_schema import check_metrics
from mote_process import TIMEOUT_S, Mote

pytestmark = pytest.mark.native_ok
Start = Callable[..., Mote]
Tiny = Callable[[str], Path]


def start(vm: Mote, kernel: Path) -> Mote:
    vm.api.machine(1, 64)
    vm.api.boot_source(kernel)
    vm.api.start()
    return vm


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def flush(vm: Mote) -> None:
    vm.api.must("PUT", "/actions", {"action_type": "FlushMetrics"})


# --- the log

LINE = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9} \[anonymous-instance:[^:\]]+%s\] ."


@pytest.mark.parametrize(
    ("arguments", "middle"),
    [
        ([], ""),
        (["--show-level"], ":(ERROR|WARN|INFO|DEBUG)"),
        (["--show-log-origin"], r":[^:]+/[^:]+:\d+"),
        (["--show-level", "--show-log-origin", "--level", "Debug"], r":(ERROR|WARN|INFO|DEBUG):[^:]+/[^:]+:\d+"),
    ],
)
def test_log_line(mote: Start, tiny: Tiny, folder: Path, arguments: list[str], middle: str) -> None:
    log = folder / "log"
    vm = start(mote("--log-path", str(log), *arguments), tiny("hello"))
    assert vm.wait_exit() == 0
    said = log.read_text().splitlines()
    for line in said:
        assert re.match(LINE % middle, line), line
    assert "Running mote v" in said[0]
    assert any('The API server received a Put request on "/actions" with body' in line for line in said)
    assert any("The request was executed successfully. Status code: 204 No Content." in line for line in said)
    assert said[-2].endswith(" Vmm is stopping.")
    assert said[-1].endswith(" mote exiting successfully. exit_code=0")
    assert any("Total previous API call duration: " in line for line in said) == ("Debug" in arguments)


def test_log_time_is_local(mote: Start, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = folder / "log"
    for zone, hours in (("UTC0", 0), ("EAST-5:45", 5.75), ("WEST+8", -8)):
        monkeypatch.setenv("TZ", zone)
        mote("--log-path", str(log)).signal(signal.SIGTERM)
        deadline = time.monotonic() + TIMEOUT_S
        while not log.exists() or not log.read_text():
            assert time.monotonic() < deadline
        want = time.time() + hours * 3600
        got = log.read_text().splitlines()[-1].split(" ")[0]
        seconds = time.mktime(time.strptime(got[:19], "%Y-%m-%dT%H:%M:%S")) - time.mktime(time.gmtime(want))
        assert abs(seconds) < 5, (zone, got)
        log.unlink()


def test_put_logger(mote: Start, folder: Path) -> None:
    """Repeatable; a level that is not given returns to Info, all else stays; nothing is truncated."""
    first, second = folder / "first", folder / "second"
    second.write_text("here before\n")
    vm = mote()
    vm.api.must("PUT", "/logger", {"log_path": str(first), "level": "Debug", "show_level": True})
    vm.api.get("/")
    assert ":DEBUG] Total previous API call duration" in first.read_text()
    vm.api.must("PUT", "/logger", {"log_path": str(second)})
    size = first.stat().st_size
    vm.api.get("/")
    assert first.stat().st_size == size
    text = second.read_text()
    assert text.startswith("here before\n")
    assert ':INFO] The API server received a Get request on "/".' in text
    assert "DEBUG" not in text
    vm.api.must("PUT", "/logger", {"level": "wArNiNg"})
    before = second.read_text()
    vm.api.get("/")
    assert second.read_text() == before
    refused = vm.api.put("/logger", {"log_path": str(folder / "no" / "such")})
    assert refused.status == 400
    assert refused.fault.startswith("Logger error: Failed to open target file: No such file or directory (os error 2)")


def test_log_fifo_without_reader(mote: Start, folder: Path) -> None:
    fifo = folder / "fifo"
    os.mkfifo(fifo)
    vm = mote("--log-path", str(fifo))
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    assert b"Running mote v" in os.read(reader, 65536)
    vm.api.get("/")
    os.close(reader)
    for _ in range(500):  # far more than a pipe holds: lines are lost, nothing waits
        assert vm.api.get("/").status == 200


@pytest.mark.parametrize(
    ("module", "api", "rest"),
    [("api_server", True, False), ("firecracker::api_server", True, False), ("api-socket/routes", True, False),
     ("vmm", False, True), ("firecracker", True, True), ("nobody", False, False)],
)
def test_log_module(mote: Start, tiny: Tiny, folder: Path, module: str, api: bool, rest: bool) -> None:
    log = folder / "log"
    vm = start(mote("--log-path", str(log), "--level", "Debug", "--module", module), tiny("hello"))
    assert vm.wait_exit() == 0
    text = log.read_text()
    assert ("The API server received" in text) == api
    assert ("event_start: build microvm for boot" in text or "Running mote" in text) == rest


def test_bad_level(mote: Start) -> None:
    vm = mote("--level", "loud", api=False)
    assert vm.wait_exit() == 152
    assert b"Invalid value for logger level: loud." in vm.errors


@pytest.mark.parametrize(
    "arguments",
    [["--metadata", "f"], ["--snapshot-version"], ["--describe-snapshot", "f"]],
)
def test_what_there_is_not(mote: Start, arguments: list[str]) -> None:
    vm = mote(*arguments, api=False)
    assert vm.wait_exit() == 153
    assert b" is not supported by this version of mote: " in vm.errors


@pytest.mark.parametrize("arguments", [["--enable-pci"], ["--mmds-size-limit", "1"]])
def test_without_effect(mote: Start, tiny: Tiny, arguments: list[str]) -> None:
    vm = start(mote(*arguments), tiny("hello"))
    assert vm.wait_exit() == 0
    assert f"The argument '{arguments[0][2:]}' has no effect: " in vm.text


# --- metrics


def test_metrics_lines(mote: Start, tiny: Tiny, folder: Path) -> None:
    """One line at the start, one for each flush, one at the end; counters are what was added since."""
    out = folder / "metrics"
    vm = mote("--metrics-path", str(out), "--start-time-us", "1", "--start-time-cpu-us", "0", "--parent-cpu-time-us", "9")
    vm.api.must("PATCH", "/machine-config", {"vcpu_count": 1, "cpu_template": "None"})
    assert vm.api.put("/drives/x", "{}").status == 400
    vm.api.get("/version")
    start(vm, tiny("tick"))
    assert len(lines(out)) == 1
    vm.wait_text("ticking")
    flush(vm)
    vm.api.must("PATCH", "/vm", {"state": "Paused"})
    flush(vm)
    vm.api.must("PATCH", "/vm", {"state": "Resumed"})
    vm.signal(signal.SIGTERM)
    vm.wait_exit()
    got = lines(out)
    assert len(got) == 4
    for line in got:
        check_metrics(line)
        assert "id" not in line and "properties" not in line
    assert abs(got[-1]["utc_timestamp_ms"] - time.time() * 1000) < 5000
    first, second, third, last = got
    assert first["api_server"]["process_startup_time_us"] > 1000
    assert first["api_server"]["process_startup_time_cpu_us"] >= 9
    assert last["api_server"] == first["api_server"]
    assert first["patch_api_requests"]["machine_cfg_count"] == 1
    assert first["deprecated_api"]["deprecated_http_api_calls"] == 1
    assert first["put_api_requests"]["drive_count"] == first["put_api_requests"]["drive_fails"] == 1
    assert first["get_api_requests"]["vmm_version_count"] == 1
    assert second["put_api_requests"]["drive_count"] == second["get_api_requests"]["vmm_version_count"] == 0
    assert second["put_api_requests"]["actions_count"] == 1  # the start; the flush itself is not yet counted
    assert second["vcpu"]["exit_io_out"] > 0 and second["uart"]["write_count"] >= len("ticking")
    assert third["latencies_us"]["pause_vm"] >= third["latencies_us"]["vmm_pause_vm"] > 0
    assert last["latencies_us"]["pause_vm"] == third["latencies_us"]["pause_vm"]
    assert last["latencies_us"]["resume_vm"] > 0
    assert last["seccomp"]["num_faults"] == 0


def test_metrics_devices(mote: Start, tiny: Tiny, folder: Path) -> None:
    out = folder / "metrics"
    vm = mote()
    vm.api.must("PUT", "/metrics", {"metrics_path": str(out), "emit_id": True, "properties": {"a": 'b"c', "d": "e"}})
    again = vm.api.put("/metrics", {"metrics_path": str(out)})
    assert again.status == 400
    assert again.fault.endswith("Reinitialization of metrics not allowed.")
    for name in ("one", "two"):
        (folder / name).write_bytes(bytes(4096))
        vm.api.drive(name, folder / name)
    start(vm, tiny("tick"))
    flush(vm)
    for line in lines(out):
        check_metrics(line)
        assert {name for name in line if name.startswith("block_")} == {"block_one", "block_two"}
        assert line["id"] == "anonymous-instance"
        assert line["properties"] == {"a": 'b"c', "d": "e"}


def test_metrics_config_file(mote: Start, tiny: Tiny, folder: Path) -> None:
    path, log = folder / "c.json", folder / "log"
    config = {
        "boot-source": {"kernel_image_path": str(tiny("hello"))},
        "drives": [],
        "logger": {"log_path": str(log), "level": "Debug", "show_level": True},
        "metrics": {"metrics_path": str(folder / "metrics")},
    }
    path.write_text(json.dumps(config))
    vm = mote("--config-file", str(path), "--no-api", api=False)
    assert vm.wait_exit() == 0
    assert len(lines(folder / "metrics")) == 2
    for line in lines(folder / "metrics"):
        check_metrics(line)
    assert "configured from one single json" in log.read_text()
    assert ":DEBUG] event_end: build microvm for boot" in log.read_text()


def test_metrics_path_errors(mote: Start, folder: Path) -> None:
    bad = str(folder / "no" / "such")
    vm = mote("--metrics-path", bad, ready=False)
    assert vm.wait_exit() == 1
    assert b"Could not initialize metrics: " in vm.errors
    refused = mote().api.put("/metrics", {"metrics_path": bad})
    assert refused.status == 400 and "Cannot initialize the metrics system due to bad user input" in refused.fault


def test_metrics_reader_comes_late(mote: Start, tiny: Tiny, folder: Path) -> None:
    """Lines are longer than what a pipe takes as a whole: none is cut, and nothing counted is lost."""
    fifo = folder / "fifo"
    os.mkfifo(fifo)
    vm = mote("--metrics-path", str(fifo))
    start(vm, tiny("tick"))
    for _ in range(30):
        vm.api.put("/actions", {"action_type": "FlushMetrics"})
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    text = b""
    for _ in range(3):
        try:
            while piece := os.read(reader, 1 << 20):
                text += piece
        except BlockingIOError:
            flush(vm)
    os.close(reader)
    got = [json.loads(line) for line in text.splitlines()]
    for line in got:
        check_metrics(line)
    assert sum(line["logger"]["missed_metrics_count"] for line in got) > 0
    assert sum(line["put_api_requests"]["actions_count"] for line in got) >= 30


def test_prometheus(mote: Start, tiny: Tiny, folder: Path) -> None:
    (folder / "disk").write_bytes(bytes(4096))
    vm = mote()
    vm.api.drive("disk", folder / "disk")
    start(vm, tiny("tick"))
    vm.wait_text("ticking")
    reply = vm.api.get("/metrics")
    assert reply.status == 200
    assert reply.headers["content-type"] == "text/plain; version=0.0.4"
    types: dict[str, str] = {}
    values: dict[str, float] = {}
    for line in reply.body.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in types
            types[name] = kind
            continue
        match = re.fullmatch(r'([a-z0-9_]+)(\{(drive|iface)="\w+"\})? (\d+(\.\d{6})?)', line)
        assert match, line
        assert types[match[1]] == ("counter" if match[1].endswith("_total") else "gauge")
        assert line.rsplit(" ", 1)[0] not in values
        values[line.rsplit(" ", 1)[0]] = float(match[4])
    assert values['mote_block_read_bytes_total{drive="disk"}'] == 0
    assert values["mote_uart_write_total"] > 0
    assert values["mote_put_api_requests_drive_total"] == 1


# --- signals

SIGNALS = [
    (signal.SIGSYS, 148, "seccomp", "num_faults"),
    (signal.SIGBUS, 149, "signals", "sigbus"),
    (signal.SIGSEGV, 150, "signals", "sigsegv"),
    (signal.SIGXFSZ, 151, "signals", "sigxfsz"),
    (signal.SIGXCPU, 154, "signals", "sigxcpu"),
    (signal.SIGHUP, 156, "signals", "sighup"),
    (signal.SIGILL, 157, "signals", "sigill"),
    (signal.SIGABRT, -signal.SIGABRT, "vmm", "panic_count"),
]


@pytest.mark.parametrize(("number", "code", "group", "field"), SIGNALS)
@pytest.mark.parametrize("when", ["before start", "running"])
def test_fatal_signals(
    mote: Start, tiny: Tiny, folder: Path, number: signal.Signals, code: int, group: str, field: str, when: str
) -> None:
    out, log = folder / "metrics", folder / "log"
    vm = mote("--metrics-path", str(out), "--log-path", str(log), terminal=True)
    if when == "running":
        start(vm, tiny("tick"))
        vm.wait_text("ticking")
    vm.api.get("/")  # who is connected to the socket does not know yet whether a signal would remove it
    before = len(lines(out))
    vm.signal(number)
    assert vm.wait_exit() == code
    got = lines(out)
    assert len(got) == before + 1
    check_metrics(got[-1])
    assert got[-1][group][field] == 1
    assert sum(got[-1]["signals"].values()) + got[-1]["seccomp"]["num_faults"] + got[-1]["vmm"]["panic_count"] == 1
    said = log.read_text().splitlines()
    assert sum(f"Shutting down VM after intercepting signal {int(number)}, code 0." in line for line in said) == 1
    if code > 0:
        assert said[-1].endswith(f"mote exiting with error. exit_code={code}")
    assert vm.terminal_is_restored()
    assert vm.sock is not None and not vm.sock.exists()


def test_sigpipe_is_counted(mote: Start, tiny: Tiny, folder: Path) -> None:
    out, log = folder / "metrics", folder / "log"
    vm = start(mote("--metrics-path", str(out), "--log-path", str(log)), tiny("tick"))
    vm.signal(signal.SIGPIPE)
    flush(vm)
    assert lines(out)[-1]["signals"]["sigpipe"] == 1
    assert "Received signal 13, code 0." in log.read_text()


def test_file_size_limit(mote: Start, tiny: Tiny, folder: Path) -> None:
    """The console's file meets its limit: the metrics, in another file, still say why."""
    out, console = folder / "metrics", folder / "console"
    vm = mote("--metrics-path", str(out), "--log-path", "/dev/null")
    vm.api.must("PUT", "/serial", {"serial_out_path": str(console)})
    console.write_bytes(bytes(65536))
    resource.prlimit(vm.process.pid, resource.RLIMIT_FSIZE, (40000, resource.RLIM_INFINITY))
    start(vm, tiny("flood"))
    assert vm.wait_exit() == 151
    assert lines(out)[-1]["signals"]["sigxfsz"] == 1


def test_vcpu_signal_does_not_kill(mote: Start, tiny: Tiny) -> None:
    vm = start(mote(), tiny("tick"))
    vm.wait_text("ticking")
    os.kill(vm.process.pid, 35)  # what musl calls SIGRTMIN
    time.sleep(0.1)
    assert vm.api.get("/").json["state"] == "Running"


# --- console, keyboard, boot timer


def test_serial_to_file(mote: Start, tiny: Tiny, folder: Path) -> None:
    """Neither truncated nor appended to; standard output stays for others, and the terminal as it was."""
    console = folder / "console"
    console.write_text("x" * 100)
    vm = mote(terminal=True)
    vm.api.must("PUT", "/serial", {"serial_out_path": str(console)})
    vm.api.machine(1, 64)
    vm.api.boot_source(tiny("tick"))
    vm.api.start()
    deadline = time.monotonic() + TIMEOUT_S
    while not console.read_bytes().startswith(b"ticking\r\n"):
        assert time.monotonic() < deadline
    assert vm.terminal_is_restored()
    assert console.stat().st_size >= 100
    assert "ticking" not in vm.text


def test_serial_to_fifo(mote: Start, tiny: Tiny, folder: Path) -> None:
    fifo = folder / "fifo"
    os.mkfifo(fifo)
    vm = mote()
    vm.api.must("PUT", "/serial", {"serial_out_path": str(fifo)})
    # Before the start: what a FIFO holds is gone with the last who has it open, and this guest ends soon.
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    start(vm, tiny("hello"))
    assert vm.wait_exit() == 0
    assert os.read(reader, 4096) == b"hello from the guest\r\n"
    os.close(reader)


def test_serial_made_when_missing(mote: Start, tiny: Tiny, folder: Path) -> None:
    vm = mote()
    vm.api.must("PUT", "/serial", {"serial_out_path": str(folder / "new")})
    start(vm, tiny("hello"))
    assert vm.wait_exit() == 0
    assert (folder / "new").read_bytes() == b"hello from the guest\r\n"


def test_serial_path_refused_at_start(mote: Start, tiny: Tiny, folder: Path) -> None:
    vm = mote()
    vm.api.must("PUT", "/serial", {"serial_out_path": str(folder / "no" / "such")})
    vm.api.machine(1, 64)
    vm.api.boot_source(tiny("hello"))
    refused = vm.api.put("/actions", {"action_type": "InstanceStart"})
    assert refused.status == 400 and "No such file or directory (os error 2)" in refused.fault
    vm.api.must("PUT", "/serial", {})
    vm.api.start()
    assert vm.wait_exit() == 0


def test_ctrl_alt_del(mote: Start, tiny: Tiny) -> None:
    vm = start(mote(), tiny("keys"))
    vm.wait_text("waiting for keys")
    vm.api.must("PUT", "/actions", {"action_type": "SendCtrlAltDel"})
    assert vm.wait_exit() == 0
    assert re.findall(r"key 0*([0-9a-f]+)", vm.text) == ["14", "11", "e0", "71"]


def test_ctrl_alt_del_nobody_listens(mote: Start, tiny: Tiny) -> None:
    vm = start(mote(), tiny("tick"))
    replies = [vm.api.put("/actions", {"action_type": "SendCtrlAltDel"}).status for _ in range(6)]
    assert replies == [204] * 4 + [400] * 2


def test_boot_timer(mote: Start, tiny: Tiny, folder: Path) -> None:
    log = folder / "log"
    vm = start(mote("--boot-timer", "--log-path", str(log)), tiny("booted"))
    assert vm.wait_exit() == 0
    assert re.search(r"Guest-boot-time = +\d+ us \d+ ms, +\d+ CPU us \d+ CPU ms\n", log.read_text())
    quiet = folder / "quiet"
    assert start(mote("--log-path", str(quiet)), tiny("booted")).wait_exit() == 0
    assert "Guest-boot-time" not in quiet.read_text()
