# SPDX-License-Identifier: Apache-2.0
"""The API under load: ten thousand requests, slow clients, twenty machines."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mote_process import NESTED, TIMEOUT_S, Mote

pytestmark = pytest.mark.native_ok
Start = Callable[..., Mote]
Tiny = Callable[[str], Path]

GET = b"GET /vm/config HTTP/1.1\r\n\r\n"
REFUSED = b"PUT /machine-config HTTP/1.1\r\nContent-Length: 34\r\n\r\n" + b'{"vcpu_count":1,"mem_size_mib":64}'
BROKEN = b"PATCH /drives/a HTTP/1.1\r\nContent-Length: 400\r\n\r\n" + b'{"drive_id":"a","rate_limiter":['.ljust(400, b"[")
PAUSE = b"PATCH /vm HTTP/1.1\r\nContent-Length: 18\r\n\r\n" + b'{"state":"Paused"}'
RESUME = b"PATCH /vm HTTP/1.1\r\nContent-Length: 19\r\n\r\n" + b'{"state":"Resumed"}'


def connect(vm: Mote) -> socket.socket:
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    s.settimeout(TIMEOUT_S)
    s.connect(str(vm.sock))
    return s


def ask(s: socket.socket, request: bytes) -> int:
    """One request over a connection that stays open; the status."""
    s.sendall(request)
    got = b""
    while True:
        piece = s.recv(65536)
        assert piece, "the connection was closed"
        got += piece
        head, end, body = got.partition(b"\r\n\r\n")
        length = next((int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:")), 0)
        if end and len(body) >= length:
            assert len(body) == length
            return int(head[9:12])


def running(mote: Start, kernel: Path) -> Mote:
    vm = mote()
    vm.api.must("PUT", "/logger", {"level": "Off"})  # the log is not what is measured
    vm.api.machine(1, 32)
    vm.api.boot_source(kernel)
    vm.api.start()
    return vm


def test_ten_thousand_requests(mote: Start, tiny: Tiny) -> None:
    """Good, refused and broken ones, over connections that stay and such that go: no memory, no descriptor is lost."""
    vm = running(mote, tiny("tick"))
    vm.wait_text("ticking")
    kept = [connect(vm) for _ in range(8)]
    mix = [GET, REFUSED, GET, BROKEN, PAUSE, GET, REFUSED, RESUME]

    def some(count: int) -> None:
        for i in range(count):
            status = ask(kept[i % len(kept)], mix[i % len(mix)])
            assert status == {GET: 200, PAUSE: 204, RESUME: 204}.get(mix[i % len(mix)], 400)
            if i % 10 == 0:
                with connect(vm) as s:
                    assert ask(s, GET) == 200

    some(500)
    fds, rss = vm.fds(), vm.rss_kib()
    some(10_000 if not NESTED else 2_000)
    vm.wait_fds(fds)
    assert vm.rss_kib() - rss <= 64
    for s in kept:
        s.close()
    assert vm.api.get("/").json["state"] == "Running"


def drip(vm: Mote, data: bytes, stop: threading.Event, seen: list[bytes]) -> None:
    """A byte each 100 ms."""
    with connect(vm) as s:
        for byte in data:
            s.sendall(bytes([byte]))
            if stop.wait(0.1):
                return
        seen.append(s.recv(4096))


def median(vm: Mote, seconds: float) -> float:
    """What half of another client's requests needed at most meanwhile. The rest may be the scheduler's."""
    end, took = time.monotonic() + seconds, []
    with connect(vm) as s:
        while time.monotonic() < end:
            start = time.monotonic()
            assert ask(s, GET) == 200
            took.append(time.monotonic() - start)
            time.sleep(0.01)
    return sorted(took)[len(took) // 2]


def test_slow_clients_delay_nobody(mote: Start, tiny: Tiny) -> None:
    """Some send a byte each 100 ms, one never ends its body, one never reads: others are served at once."""
    vm = running(mote, tiny("tick"))
    stop = threading.Event()
    seen: list[bytes] = []
    requests = [b"GET / HTTP/1.1\r\n\r\n", b"GET /version HTTP/1.0\r\nHost: slow.example\r\n\r\n"]
    threads = [threading.Thread(target=drip, args=(vm, data, stop, seen)) for data in requests]
    with connect(vm) as no_body, connect(vm) as no_reader:
        no_body.sendall(REFUSED[:-1])
        no_reader.setblocking(False)
        try:
            for _ in range(100):
                no_reader.send(GET * 500)
        except BlockingIOError:
            pass  # it is not read from before it reads: what is wanted
        for thread in threads:
            thread.start()
        took = median(vm, 2.5)
        no_body.sendall(REFUSED[-1:])
        assert no_body.recv(4096).startswith(b"HTTP/1.1 400 ")
    for _ in range(600):
        if seen:
            break
        time.sleep(0.1)
    stop.set()
    for thread in threads:
        thread.join()
    assert any(reply.startswith(b"HTTP/1.1 200 ") for reply in seen)
    assert took < 2.0, f"{took * 1000:.1f} ms, as when one waits for the end of a slow request"
    assert vm.process.poll() is None


def test_twenty_machines(mote: Start, tiny: Tiny) -> None:
    """Started side by side, each runs its guest and answers."""
    kernel = tiny("tick")

    def life(vm: Mote) -> str:
        vm.wait_ready()
        vm.api.machine(1, 32)
        vm.api.boot_source(kernel)
        vm.api.start()
        vm.wait_text("ticking")
        state = str(vm.api.get("/").json["state"])
        vm.api.must("PATCH", "/vm", {"state": "Paused"})
        return state

    machines = [mote(ready=False) for _ in range(20)]
    with ThreadPoolExecutor(len(machines)) as pool:
        assert list(pool.map(life, machines)) == ["Running"] * len(machines)
    for vm in machines:
        assert vm.api.get("/").json["state"] == "Paused"
        assert vm.process.poll() is None
