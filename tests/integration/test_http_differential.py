# SPDX-License-Identifier: Apache-2.0
"""HTTP as h11 reads it: its server's reading of requests against mote's, its client's reading of mote's replies."""

from __future__ import annotations

import random
import socket
import subprocess
import sys
from collections.abc import Callable

import h11
import pytest
from conftest import TOP
from mote_process import TIMEOUT_S, Mote

sys.path.insert(0, str(TOP / "tests/fuzz"))
import http_diff  # noqa: E402

pytestmark = pytest.mark.native_ok
Start = Callable[..., Mote]
WORDS = {b"GET": "Get", b"PUT": "Put", b"PATCH": "Patch", b"DELETE": "Delete"}
ESCAPES = {ord('"'): '\\"', ord("\\"): "\\\\", ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t"}


def test_parser() -> None:
    """The corpus of the fuzz target, then streams made up on the spot (the seed is in the message)."""
    corpus = sorted((TOP / "tests/fuzz/corpus/fuzz_http").iterdir())
    done = subprocess.run([str(TOP / "tests/fuzz/http_diff.py"), "--seconds", "6", *map(str, corpus)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def requests_of(data: bytes) -> list[http_diff.Event]:
    """What h11 receives; nothing when the stream has what the two read in different ways on purpose."""
    found = []
    while data:
        theirs = http_diff.read_h11(data)
        if not isinstance(theirs, http_diff.Theirs) or not theirs.whole:
            return []
        head = data[: theirs.event.end].lower()
        if theirs.event.method not in WORDS or any(word in head for word in (b"transfer-encoding", b"*;q=0", b"x-a :")):
            return []
        found.append(theirs.event)
        data = data[theirs.event.end :]
    return found


def read_reply(data: bytes, method: bytes) -> tuple[h11.Response, bytes, bytes] | None:
    """The first reply of a stream and what follows it; None when it is not there in whole."""
    client = h11.Connection(our_role=h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "localhost")]))
    client.send(h11.EndOfMessage())
    client.receive_data(data)
    reply, body = None, b""
    while True:
        event = client.next_event()
        if event is h11.NEED_DATA:
            return None
        if isinstance(event, h11.Response):
            reply = event
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            assert reply is not None
            return reply, body, client.trailing_data[0]
        else:
            assert isinstance(event, h11.InformationalResponse), event


def exchange(vm: Mote, data: bytes, rng: random.Random, wanted: list[http_diff.Event]) -> list[tuple[int, bytes]]:
    """Send in pieces, read until every request has its reply."""
    replies: list[tuple[int, bytes]] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        s.settimeout(TIMEOUT_S)
        s.connect(str(vm.sock))
        cut = sorted(rng.randrange(len(data) + 1) for _ in range(rng.choice([0, 1, 3, 9])))
        for begin, end in zip([0, *cut], [*cut, len(data)]):
            s.sendall(data[begin:end])
        got = b""
        while len(replies) < len(wanted):
            piece = s.recv(65536)
            assert piece, f"the connection was closed after {len(replies)} of {len(wanted)} replies: {data!r}"
            got += piece
            while len(replies) < len(wanted) and got and (one := read_reply(got, wanted[len(replies)].method)):
                replies.append((one[0].status_code, one[1]))
                got = one[2]
        s.setblocking(False)
        try:
            got += s.recv(65536)
        except BlockingIOError:
            pass
        assert not got, f"more than the replies: {got!r}"
    return replies


def test_real_socket(mote: Start) -> None:
    """What mote says that it received is what h11 receives; each request has one reply, which h11 can read."""
    seed = random.randrange(1 << 32)
    rng = random.Random(seed)
    vm = mote()
    lines: list[str] = []
    for _ in range(150):
        data = b"".join(http_diff.request(rng) for _ in range(rng.choice([1, 2, 4])))
        wanted = requests_of(data)
        if not wanted:
            continue
        replies = exchange(vm, data, rng, wanted)
        for request, (status, body) in zip(wanted, replies):
            known = request.method == b"GET" and request.path in (b"", b"/version", b"/vm/config", b"/machine-config", b"/") and not request.body
            assert status == (200 if known else 400), f"seed {seed}: {request} {body!r}"
            text = request.body.decode().translate(ESCAPES)
            with_body = f' with body "{text}"' if request.body else ""
            lines.append(f'The API server received a {WORDS[request.method]} request on "{request.path.decode()}"{with_body}.')
    assert vm.api.get("/vm/config").status == 200
    vm.close()
    said = [line.partition("] ")[2] for line in vm.text.splitlines() if "The API server received a " in line][: len(lines)]
    assert len(lines) > 20
    for got, want in zip(said, lines, strict=True):
        assert got == want, f"seed {seed}"
