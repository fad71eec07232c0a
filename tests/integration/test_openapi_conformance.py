# SPDX-License-Identifier: Apache-2.0
"""api-socket/openapi.yaml against the program: requests that schemathesis derives from it, valid and not, are answered as it says."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import TOP
from mote_process import NESTED, Mote

pytestmark = pytest.mark.native_ok
Start = Callable[..., Mote]
Tiny = Callable[[str], Path]

# When a hang is called one: schemathesis computes for a minute, and interpreted for many.
LIMIT_S = 1200 if NESTED else 400
# No 5xx; status, type, headers and body as described; what the schema forbids is refused. Two of schemathesis' checks
# are not ours: mote answers 400 where others say 405, and valid data may still be refused (a file that does not exist).
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_headers_conformance,response_schema_conformance,negative_data_rejection"
)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    for s in (source, sink):
        try:
            s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


class Bridge:
    """Connections to a TCP port of this host are connections to a Unix socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                server.connect(str(self.path))
            except OSError:
                client.close()
                continue
            for pair in ((client, server), (server, client)):
                threading.Thread(target=_pump, args=pair, daemon=True).start()

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.fixture
def bridge() -> Iterator[Callable[[Path], Bridge]]:
    bridges: list[Bridge] = []

    def open_one(path: Path) -> Bridge:
        bridges.append(Bridge(path))
        return bridges[-1]

    yield open_one
    for b in bridges:
        b.close()


def schemathesis() -> Path:
    ready = sorted((TOP / "build/cache").glob("schemathesis-*/ready"), key=os.path.getmtime)
    assert ready, "schemathesis is not prepared: call tests/clients/build"
    return ready[-1].parent / "bin/schemathesis"


@pytest.mark.parametrize("running", [False, True], ids=["not-started", "running"])
def test_conformance(mote: Start, bridge: Callable[[Path], Bridge], tiny: Tiny, folder: Path, running: bool) -> None:
    files = folder / "files"
    files.mkdir()
    (files / "kernel").symlink_to(tiny("idle"))
    (files / "disk").write_bytes(bytes(65536))
    vm = mote()
    if running:
        vm.api.boot_source(tiny("idle"))
        vm.api.drive("data", files / "disk")
        vm.api.start()
    assert vm.sock is not None
    command = [str(schemathesis()), "run", str(TOP / "api-socket/openapi.yaml"), "--url", f"http://127.0.0.1:{bridge(vm.sock).port}"]
    command += ["--checks", CHECKS, "--phases", "coverage,fuzzing", "--max-examples", "20", "--seed", "1", "--no-shrink"]
    command += ["--request-timeout", "10", "--continue-on-failure", "--warnings", "off"]
    env = os.environ | {
        "SCHEMATHESIS_HOOKS": "schemathesis_hooks",
        "PYTHONPATH": str(TOP / "tests/clients"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "MOTE_FILES": str(files),
    }
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=LIMIT_S)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:] + vm.said()[-2000:]
    assert " generated, " in done.stdout, done.stdout
    assert vm.process.poll() is None
    assert vm.api.get("/").status == 200
    if not running:  # the hooks were at work: drives need a file that exists
        assert vm.api.get("/vm/config").json["drives"]
