# SPDX-License-Identifier: Apache-2.0
"""A running mote: its process, its console, its API. Nothing here knows pytest."""

from __future__ import annotations

import http.client
import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import termios
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Everything is some ten times slower in the nested host. These limits only decide when a hang is called one.
NESTED = bool(os.environ.get("NESTED_HOST"))
BOOT_TIMEOUT_S = 240.0 if NESTED else 40.0
TIMEOUT_S = 40.0 if NESTED else 10.0
LOG_LINE = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]{18} \[[^\n]*\n")


@dataclass
class Reply:
    """An answer of the API: status, headers in lower case, body as text."""

    status: int
    headers: dict[str, str]
    body: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def fault(self) -> str:
        return str(self.json["fault_message"])


def open_files(pid: int) -> dict[int, str]:
    """What each descriptor of a process leads to. One that it closes meanwhile is left out."""
    found = {}
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found[int(fd.name)] = os.readlink(fd)
        except FileNotFoundError:
            pass
    return found


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


class Api:
    """The small client: one connection a request, so that no test depends on what another left behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def request(self, method: str, path: str, body: Any = None) -> Reply:
        connection = _UnixConnection(self.path)
        data = body if isinstance(body, (str, bytes, type(None))) else json.dumps(body)
        headers = {} if data is None else {"Content-Type": "application/json"}
        connection.request(method, path, body=data, headers=headers)
        answer = connection.getresponse()
        reply = Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode())
        connection.close()
        return reply

    def get(self, path: str) -> Reply:
        return self.request("GET", path)

    def put(self, path: str, body: Any = None) -> Reply:
        return self.request("PUT", path, body)

    def patch(self, path: str, body: Any = None) -> Reply:
        return self.request("PATCH", path, body)

    def raw(self, data: bytes, until: bytes, times: int = 1) -> bytes:
        """Send bytes as they are; return what comes until `until` came so often, or the peer closes."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
            s.settimeout(TIMEOUT_S)
            s.connect(str(self.path))
            s.sendall(data)
            answer = b""
            while answer.count(until) < times and (piece := s.recv(65536)):
                answer += piece
            return answer

    # The life cycle's requests, each of which a test expects to succeed.

    def must(self, method: str, path: str, body: Any) -> None:
        reply = self.request(method, path, body)
        assert reply.status == 204, f"{method} {path}: {reply.status} {reply.body}"

    def machine(self, vcpus: int = 1, mem_mib: int = 128) -> None:
        self.must("PUT", "/machine-config", {"vcpu_count": vcpus, "mem_size_mib": mem_mib})

    def boot_source(self, kernel: Path, args: str | None = None, initrd: Path | None = None) -> None:
        body = {"kernel_image_path": str(kernel)}
        if args is not None:
            body["boot_args"] = args
        if initrd is not None:
            body["initrd_path"] = str(initrd)
        self.must("PUT", "/boot-source", body)

    def drive(self, name: str, path: Path, root: bool = False, read_only: bool = False) -> None:
        body = {"drive_id": name, "path_on_host": str(path), "is_root_device": root, "is_read_only": read_only}
        self.must("PUT", f"/drives/{name}", body)

    def network(self, name: str, tap: str, mac: str) -> None:
        body = {"iface_id": name, "host_dev_name": tap, "guest_mac": mac}
        self.must("PUT", f"/network-interfaces/{name}", body)

    def start(self) -> None:
        self.must("PUT", "/actions", {"action_type": "InstanceStart"})


class Mote:
    """One mote process. Its console is a pty (`terminal=True`) or a pipe; what it writes is collected all the time,
    except when `unread=True`: then nobody reads it, as when the reader of a pipe has stopped."""

    def __init__(
        self,
        binary: Path,
        arguments: list[str],
        sock: Path | None,
        terminal: bool = False,
        unread: bool = False,
        netns: str | None = None,
        name: str | None = None,
        wrapper: list[str] | None = None,
    ) -> None:
        self.sock = sock
        self.output = bytearray()
        self._changed = threading.Condition()
        command = [*(wrapper or []), name or str(binary), *arguments]
        if netns:
            command = ["ip", "netns", "exec", netns, *command]  # execs, so the pid stays ours
        self.pty_slave = -1
        if terminal:
            self._console, self.pty_slave = pty.openpty()
            self.terminal_before = termios.tcgetattr(self.pty_slave)
            stdin: int = self.pty_slave
            stdout = self.pty_slave
            stderr = subprocess.PIPE
        else:
            self._console, stdout = os.pipe()
            stdin, stderr = subprocess.DEVNULL, subprocess.PIPE
        self.process = subprocess.Popen(
            command,
            executable=None if netns or wrapper else str(binary),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,  # a Ctrl-C for pytest is not one for mote
        )
        if not terminal:
            os.close(stdout)
        self.errors = b""
        self._threads = [threading.Thread(target=self._read_errors, daemon=True)]
        if not unread:
            self._threads.append(threading.Thread(target=self._read_console, daemon=True))
        for thread in self._threads:
            thread.start()

    @property
    def api(self) -> Api:
        assert self.sock is not None
        return Api(self.sock)

    @property
    def text(self) -> str:
        return self.output.decode(errors="replace").replace("\r\n", "\n")

    @property
    def console(self) -> str:
        """What the guest wrote, without the lines of the log that came in between, also in the middle of words and of
        the two bytes that end a line."""
        return LOG_LINE.sub("", self.output.decode(errors="replace")).replace("\r\n", "\n")

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        while piece := os.read(self.process.stderr.fileno(), 65536):
            with self._changed:
                self.errors += piece
                self._changed.notify_all()

    def _read_console(self) -> None:
        while True:
            try:
                piece = os.read(self._console, 65536)
            except OSError:  # EIO: the pty's other side is closed
                break
            if not piece:
                break
            with self._changed:
                self.output += piece
                self._changed.notify_all()

    def wait_ready(self) -> Mote:
        """Wait for the API's socket."""
        assert self.sock is not None
        end = time.monotonic() + TIMEOUT_S
        while True:
            try:
                with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
                    s.connect(str(self.sock))
                return self
            except (FileNotFoundError, ConnectionRefusedError):
                assert self.process.poll() is None, f"mote ended with {self.process.returncode}: {self.said()}"
                assert time.monotonic() < end, "no API socket"
                time.sleep(0.005)

    def wait_for(self, condition: Callable[[], bool], what: str, timeout_s: float = BOOT_TIMEOUT_S) -> None:
        """Wait until the console's output fulfils a condition."""
        end = time.monotonic() + timeout_s
        with self._changed:
            while not condition():
                if self.process.poll() is not None:
                    # What is still in the pipe comes in a moment.
                    self._changed.wait(0.5)
                    assert condition(), f"mote ended with {self.process.returncode} before {what}: {self.said()}"
                    return
                assert time.monotonic() < end, f"no {what} in {timeout_s} s: {self.said()}"
                self._changed.wait(0.2)
                # A guest that writes without end must not make us look at each byte.
                self._changed.wait_for(lambda: False, 0.01)

    def wait_text(self, text: str, timeout_s: float = BOOT_TIMEOUT_S) -> str:
        """Wait until the console showed `text`; return everything it showed."""
        self.wait_for(lambda: text in self.console or text in self.text, repr(text), timeout_s)
        return self.console

    def said(self) -> str:
        """The ends of console and log, for failure messages."""
        return f"console: …{self.text[-1500:]!r} stderr: …{self.errors.decode(errors='replace')[-1500:]!r}"

    def type(self, text: str) -> None:
        os.write(self._console, text.encode())

    def console_is_quiet(self, seconds: float) -> bool:
        """Whether nothing arrives for so long, after what was under way arrived. That may take a while on a busy machine."""
        for _ in range(10):
            before = len(self.output)
            time.sleep(seconds)
            if len(self.output) == before:
                return True
        return False

    def wait_exit(self, timeout_s: float = TIMEOUT_S) -> int:
        """The exit status, negative for a signal."""
        try:
            status = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"mote did not end in {timeout_s} s: {self.said()}") from None
        if self.pty_slave < 0:
            for thread in self._threads:
                thread.join(2)
        return status

    def wait_end(self, timeout_s: float = BOOT_TIMEOUT_S) -> str:
        """Wait for an end with status 0; return what the guest wrote."""
        status = self.wait_exit(timeout_s)
        assert status == 0, f"exit status {status}: {self.said()}"
        return self.console

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def fds(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def wait_fds(self, most: int) -> None:
        """Expect at most so many descriptors, as soon as mote has seen that connections were closed."""
        end = time.monotonic() + TIMEOUT_S
        while (now := self.fds()) > most:
            assert time.monotonic() < end, f"{now} descriptors, expected {most}"
            time.sleep(0.01)

    def rss_kib(self) -> int:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise AssertionError("no VmRSS")

    def terminal_is_restored(self) -> bool:
        return bool(termios.tcgetattr(self.pty_slave) == self.terminal_before)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.pty_slave >= 0:
            os.close(self.pty_slave)
            self.pty_slave = -1
        for thread in self._threads:
            thread.join(2)
        assert self.process.stderr is not None
        self.process.stderr.close()
        if self._console >= 0:
            os.close(self._console)
            self._console = -1

    def read_unread(self) -> bytes:
        """With `unread`: what waits in the pipe now."""
        data = b""
        while select.select([self._console], [], [], 0.2)[0]:
            piece = os.read(self._console, 65536)
            if not piece:
                break
            data += piece
        return data
