# SPDX-License-Identifier: Apache-2.0
"""The API before and after start: what is accepted, what is refused and with which words, and that a refusal changes nothing."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Network
from mote_process import Mote

pytestmark = pytest.mark.native_ok
Start = Callable[..., Mote]
Tiny = Callable[[str], Path]

AFTER_START = "The requested operation is not supported after starting the microVM."
BEFORE_START = "The requested operation is not supported before starting the microVM."
JSON_PREFIX = "An error occurred when deserializing the json body of a request: "


def test_instance_and_version(mote: Start) -> None:
    vm = mote("--id", "some-vm-1")
    info = vm.api.get("/").json
    assert info["id"] == "some-vm-1"
    assert info["state"] == "Not started"
    assert sorted(info) == ["app_name", "id", "state", "vmm_version"]
    assert vm.api.get("/version").json == {"firecracker_version": info["vmm_version"]}


def test_wire_format(mote: Start) -> None:
    """The status line has no reason phrase, the headers come in a fixed order, a 204 has no length."""
    vm = mote()
    got = vm.api.raw(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n", until=b"}")
    head, _, body = got.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 200 "
    names = [line.split(b":")[0] for line in lines[1:]]
    assert names == [b"Server", b"Connection", b"Content-Type", b"Content-Length"]
    assert int(lines[-1].split(b":")[1]) == len(body)
    request = b'{"vcpu_count":1,"mem_size_mib":64}'
    got = vm.api.raw(b"PUT /machine-config HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(request), request), until=b"\r\n\r\n")
    assert got.startswith(b"HTTP/1.1 204 \r\n") and got.endswith(b"\r\n\r\n")
    assert b"Content-Length" not in got


def test_pipelined_and_split_requests(mote: Start) -> None:
    vm = mote()
    one = b"GET /version HTTP/1.1\r\n\r\n"
    assert vm.api.raw(one * 3, until=b"}", times=3).count(b"HTTP/1.1 200 ") == 3
    assert b"HTTP/1.1 200 " in vm.api.raw(b"GET http://localhost/version HTTP/1.0\r\n\r\n", until=b"}")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"HELLO\r\n\r\n",
        b"POST / HTTP/1.1\r\n\r\n",
        b"get / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/3.0\r\n\r\n",
        b"GET /" + b"x" * 2000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"PUT / HTTP/1.1\r\nContent-Length: many\r\n\r\n",
        b"\x00\xff\xfe\r\n\r\n",
    ],
)
def test_bad_http(mote: Start, request_bytes: bytes) -> None:
    """Each is answered with 400 and the parser's error object, and the next client is served as ever."""
    vm = mote()
    got = vm.api.raw(request_bytes, until=b"}")
    assert got.startswith(b"HTTP/1.1 400 ")
    body = got.partition(b"\r\n\r\n")[2].split(b"HTTP/1.1")[0]
    assert "error" in json.loads(body, strict=False)  # the sentence holds a bare newline
    assert vm.api.get("/").status == 200


def test_payload_limit(mote: Start) -> None:
    vm = mote()
    got = vm.api.raw(b"PUT /machine-config HTTP/1.1\r\nContent-Length: 51201\r\n\r\n", until=b"}")
    assert got.startswith(b"HTTP/1.1 400 ")
    assert (
        b'{ "error": "Request payload with size 51201 is larger than the limit of 51200 allowed by server.'
        b'\nAll previous unanswered requests will be dropped." }'
    ) in got


def test_eleventh_connection(mote: Start) -> None:
    vm = mote()
    held = []
    try:
        for _ in range(11):
            s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            s.settimeout(5)
            s.connect(str(vm.sock))
            held.append(s)
        got = held[-1].recv(4096)
        assert got.startswith(b"HTTP/1.1 503")
        assert got.endswith(b'{ "error": "Too many open connections" }')
        held[0].sendall(b"GET /version HTTP/1.1\r\n\r\n")
        assert held[0].recv(4096).startswith(b"HTTP/1.1 200 ")
    finally:
        for s in held:
            s.close()


def test_curl(mote: Start, tiny: Tiny) -> None:
    """The client that people type."""
    vm = mote()

    def curl(*arguments: str) -> str:
        command = ["curl", "-sS", "--max-time", "10", "--unix-socket", str(vm.sock), "-w", "\n%{http_code}", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert curl("http://localhost/version").endswith("\n200")
    body = json.dumps({"kernel_image_path": str(tiny("hello"))})
    assert curl("-X", "PUT", "http://localhost/boot-source", "-H", "Content-Type: application/json", "-d", body) == "\n204"
    # curl asks for `100 Continue` before it sends a long body.
    assert curl("-X", "PUT", "http://localhost/boot-source", "-H", "Expect: 100-continue", "-d", body) == "\n204"
    assert curl("-X", "PUT", "http://localhost/actions", "-d", '{"action_type": "InstanceStart"}') == "\n204"
    assert "hello from the guest" in vm.wait_end()


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/nothing"), ("PUT", "/"), ("PATCH", "/boot-source"), ("DELETE", "/machine-config"), ("GET", "/actions"), ("GET", "/vm")],
)
def test_unknown_route(mote: Start, method: str, path: str) -> None:
    vm = mote()
    body = None if method in ("GET", "DELETE") else {}
    reply = vm.api.request(method, path, body)
    assert reply.status == 400
    first = path.strip("/").split("/")[0]
    assert reply.fault == f"Invalid request method and/or path: {method} {first}."


BAD_BODIES: list[tuple[str, str, str, str]] = [
    # method, path, body, what the answer must contain
    ("PUT", "/machine-config", "{", JSON_PREFIX),
    ("PUT", "/machine-config", "", "Empty PUT request."),
    ("PATCH", "/machine-config", "{}", "Empty PATCH request."),
    ("PUT", "/machine-config", "[]", "struct MachineConfig"),
    ("PUT", "/machine-config", "nonsense", "line 1 column"),
    ("PUT", "/machine-config", '{"vcpu_count": 1}', "missing field `mem_size_mib` at line 1 column 17."),
    ("PUT", "/machine-config", '{"mem_size_mib": 128}', "missing field `vcpu_count` at line 1 column 21."),
    ("PUT", "/machine-config", '{"vcpu_count": "1", "mem_size_mib": 128}', "invalid type: string"),
    ("PUT", "/machine-config", '{"vcpu_count": 1.5, "mem_size_mib": 128}', "invalid type: floating point"),
    ("PUT", "/machine-config", '{"vcpu_count": -1, "mem_size_mib": 128}', "invalid value: integer `-1`, expected u8"),
    ("PUT", "/machine-config", '{"vcpu_count": 256, "mem_size_mib": 128}', "invalid value: integer `256`, expected u8"),
    ("PUT", "/machine-config", '{"vcpu_count": 1, "vcpu_count": 1, "mem_size_mib": 128}', "duplicate field `vcpu_count`"),
    ("PUT", "/machine-config", '{"vcpu_count": 1, "mem_size_mib": 128} x', "trailing characters"),
    ("PUT", "/machine-config", '{"vcpu_count": 0, "mem_size_mib": 128}', "vCPU"),
    ("PUT", "/machine-config", '{"vcpu_count": 33, "mem_size_mib": 128}', "vCPU"),
    ("PUT", "/machine-config", '{"vcpu_count": 1, "mem_size_mib": 0}', "memory size"),
    ("PUT", "/machine-config", '{"vcpu_count": 3, "mem_size_mib": 128, "smt": true}', "SMT"),
    ("PUT", "/machine-config", '{"vcpu_count": 1, "mem_size_mib": 128, "huge": 1}', "unknown field `huge`"),
    ("PUT", "/boot-source", "{}", "missing field `kernel_image_path`"),
    ("PUT", "/boot-source", '{"kernel_image_path": "/does/not/exist"}', "No such file or directory (os error 2)"),
    ("PUT", "/drives/a", '{"drive_id": "b", "is_root_device": false, "path_on_host": "/dev/null"}', "does not match"),
    ("PUT", "/drives/a", '{"drive_id": "a", "is_root_device": false}', "Invalid block config"),
    ("PUT", "/drives/a", '{"drive_id": "a", "is_root_device": false, "path_on_host": "/does/not/exist"}', "No such file or directory (os error 2)"),
    ("PUT", "/drives/a", '{"drive_id": "a", "is_root_device": false, "path_on_host": "/dev/null", "is_read": true}', "unknown field `is_read`"),
    ("PUT", "/drives/a-b", '{"drive_id": "a-b", "is_root_device": false, "path_on_host": "/dev/null"}', "alphanumeric"),
    ("PUT", "/network-interfaces/a", '{"iface_id": "b", "host_dev_name": "tap0"}', "does not match"),
    ("PUT", "/network-interfaces/a", '{"iface_id": "a"}', "missing field `host_dev_name`"),
    ("PUT", "/network-interfaces/a", '{"iface_id": "a", "host_dev_name": "tap0", "guest_mac": "wrong"}', "MAC"),
    ("PUT", "/actions", '{"action_type": "Explode"}', "unknown variant `Explode`"),
    ("PUT", "/actions", '{"action_type": "InstanceStart"}', "without kernel"),
    ("PATCH", "/vm", '{"state": "Asleep"}', BEFORE_START + "|unknown variant `Asleep`, expected `Paused` or `Resumed`"),
    ("PATCH", "/vm", '{"state": "Paused"}', BEFORE_START),
]


@pytest.mark.parametrize(("method", "path", "body", "words"), BAD_BODIES)
def test_refused(mote: Start, method: str, path: str, body: str, words: str) -> None:
    vm = mote()
    before = vm.api.get("/vm/config").body
    reply = vm.api.request(method, path, body)
    assert reply.status == 400, reply.body
    assert any(w in reply.fault for w in words.split("|")), reply.fault
    assert vm.api.get("/vm/config").body == before


def test_deep_json(mote: Start) -> None:
    vm = mote()
    reply = vm.api.put("/machine-config", '{"vcpu_count":' + "[" * 20000)
    assert reply.status == 400
    assert vm.api.get("/").status == 200


def test_get_with_body(mote: Start) -> None:
    vm = mote()
    reply = vm.api.request("GET", "/", "{}")
    assert reply.status == 400
    assert reply.fault == "GET request cannot have a body."


def test_config_round_trip(mote: Start, tiny: Tiny, folder: Path) -> None:
    """What was put comes back, by key and value."""
    disk = folder / "disk"
    disk.write_bytes(bytes(4096))
    vm = mote()
    vm.api.must("PUT", "/machine-config", {"vcpu_count": 2, "mem_size_mib": 96})
    vm.api.boot_source(tiny("hello"), "console=ttyS0 one=two")
    vm.api.drive("data", disk, read_only=True)
    machine = vm.api.get("/machine-config").json
    assert machine["vcpu_count"] == 2 and machine["mem_size_mib"] == 96
    assert machine["smt"] is False and machine["track_dirty_pages"] is False and machine["huge_pages"] == "None"
    config = vm.api.get("/vm/config").json
    keys = (
        "balloon drives boot-source cpu-config logger machine-config metrics mmds-config network-interfaces vsock entropy pmem memory-hotplug"
    )
    assert sorted(config) == sorted(keys.split())
    assert config["machine-config"] == machine
    assert config["boot-source"]["kernel_image_path"] == str(tiny("hello"))
    assert config["boot-source"]["boot_args"] == "console=ttyS0 one=two"
    assert [d["drive_id"] for d in config["drives"]] == ["data"]
    assert config["drives"][0]["is_read_only"] is True
    assert config["network-interfaces"] == []
    for absent in ("balloon", "cpu-config", "logger", "metrics", "mmds-config", "vsock", "entropy", "memory-hotplug"):
        assert config[absent] is None, absent
    assert config["pmem"] == []


def test_replacing_and_two_roots(mote: Start, folder: Path) -> None:
    one, two = folder / "one", folder / "two"
    for disk in (one, two):
        disk.write_bytes(bytes(4096))
    vm = mote()
    vm.api.drive("a", one, root=True)
    vm.api.drive("a", two, root=True)
    assert vm.api.get("/vm/config").json["drives"][0]["path_on_host"] == str(two)
    reply = vm.api.put("/drives/b", {"drive_id": "b", "path_on_host": str(one), "is_root_device": True})
    assert reply.status == 400 and "A root block device already exists!" in reply.fault
    vm.api.drive("b", one)
    assert [d["drive_id"] for d in vm.api.get("/vm/config").json["drives"]] == ["a", "b"]


def test_wrong_state_after_start(mote: Start, tiny: Tiny, folder: Path) -> None:
    disk = folder / "disk"
    disk.write_bytes(bytes(4096))
    vm = mote()
    vm.api.boot_source(tiny("tick"))
    vm.api.start()
    refused: list[tuple[str, str, Any]] = [
        ("PUT", "/machine-config", {"vcpu_count": 1, "mem_size_mib": 128}),
        ("PUT", "/boot-source", {"kernel_image_path": str(tiny("hello"))}),
        ("PUT", "/actions", {"action_type": "InstanceStart"}),
    ]
    for method, path, body in refused:
        reply = vm.api.request(method, path, body)
        assert reply.status == 400, path
        assert reply.fault == AFTER_START, path
    assert vm.api.put("/drives/a", {"drive_id": "a", "path_on_host": str(disk), "is_root_device": False}).status == 400
    assert vm.api.get("/").json["state"] == "Running"


def test_pause_is_idempotent(mote: Start, tiny: Tiny) -> None:
    vm = mote()
    vm.api.boot_source(tiny("tick"))
    vm.api.start()
    vm.wait_text("ticking")
    for _ in range(2):
        vm.api.must("PATCH", "/vm", {"state": "Paused"})
        assert vm.api.get("/").json["state"] == "Paused"
    assert vm.console_is_quiet(0.5)
    for _ in range(2):
        vm.api.must("PATCH", "/vm", {"state": "Resumed"})
        assert vm.api.get("/").json["state"] == "Running"
    seen = len(vm.output)
    vm.wait_for(lambda: len(vm.output) > seen, "output after resuming")
    assert vm.api.patch("/vm", {"state": "Asleep"}).status == 400


@pytest.mark.parametrize("path", ["/vsock", "/balloon", "/entropy", "/mmds", "/mmds/config", "/pmem/a", "/hotplug/memory", "/snapshot/create", "/snapshot/load"])
def test_not_built(mote: Start, path: str) -> None:
    """Devices that mote does not have are refused with 400 and one sentence, never with silence."""
    vm = mote()
    reply = vm.api.put(path, {"a": 1})
    assert reply.status == 400
    assert reply.fault


def test_start_fails_and_is_tried_again(mote: Start, tiny: Tiny, folder: Path) -> None:
    """A kernel that is none: 400, and the machine can still be started with another."""
    bad = folder / "kernel"
    bad.write_bytes(b"this is not a kernel" * 100)
    vm = mote()
    first = vm.api.put("/boot-source", {"kernel_image_path": str(bad)})
    if first.status == 204:
        first = vm.api.put("/actions", {"action_type": "InstanceStart"})
    assert first.status == 400 and first.fault
    assert vm.api.get("/").json["state"] == "Not started"
    vm.api.boot_source(tiny("hello"))
    vm.api.start()
    assert "hello from the guest" in vm.wait_end()


def test_tap_that_does_not_exist(mote: Start, tiny: Tiny) -> None:
    """Refused by name when put or at start, and none is left behind."""
    vm = mote()
    vm.api.boot_source(tiny("hello"))
    reply = vm.api.put("/network-interfaces/eth0", {"iface_id": "eth0", "host_dev_name": "no-such-tap"})
    if reply.status == 204:
        reply = vm.api.put("/actions", {"action_type": "InstanceStart"})
    assert reply.status == 400
    assert "no-such-tap" in reply.fault
    assert "no-such-tap" not in Path("/proc/net/dev").read_text()


def test_tap_in_use(mote: Start, network: Network) -> None:
    body = {"iface_id": "eth0", "host_dev_name": network.tap}
    first = mote(netns=network.netns)
    first.api.must("PUT", "/network-interfaces/eth0", body)
    second = mote(netns=network.netns)
    reply = second.api.put("/network-interfaces/eth0", body)
    assert reply.status == 400
    assert network.tap in reply.fault


def test_same_mac_twice(mote: Start, network: Network) -> None:
    subprocess.run(["ip", "-n", network.netns, "tuntap", "add", "dev", "tap1", "mode", "tap"], check=True)
    vm = mote(netns=network.netns)
    vm.api.network("one", "tap0", "06:00:00:00:00:01")
    body = {"iface_id": "two", "host_dev_name": "tap1", "guest_mac": "06:00:00:00:00:01"}
    reply = vm.api.put("/network-interfaces/two", body)
    assert reply.status == 400 and "06:00:00:00:00:01" in reply.fault


def test_many_requests_leak_nothing(mote: Start, tiny: Tiny) -> None:
    vm = mote()
    vm.api.boot_source(tiny("tick"))
    vm.api.start()
    for _ in range(50):
        vm.api.get("/vm/config")
    fds = vm.fds()
    rss = vm.rss_kib()
    for _ in range(1000):
        assert vm.api.get("/vm/config").status == 200
    vm.wait_fds(fds)
    assert vm.rss_kib() - rss <= 64
