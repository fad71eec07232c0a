#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""http_diff.py [--seconds N] [--seed N] [--reasons] [FILE]...: the HTTP parser against h11, a server's parser that is kept well.

Streams of requests, good and bad, go through both. Requests that both accept must be the same and end at the same byte:
if two readers of one stream disagree about that, one request can hide in another. What only one of them accepts must be
one of the differences listed in `excused`. FILEs are streams as tests/fuzz/corpus/fuzz_http holds them.
"""

from __future__ import annotations

import argparse
import ctypes
import random
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import h11

TOP = Path(__file__).resolve().parents[2]
LINE_MAX = 1024
BODY_MAX = 4096  # of http_story.c
METHODS = [b"GET", b"PUT", b"PATCH", b"DELETE"]
REQUEST, CONTINUE, BAD = 1, 2, 3


@dataclass
class Event:
    """One request or refusal; `end` is the offset behind it."""

    kind: int
    end: int
    method: bytes = b""
    path: bytes = b""
    body: bytes = b""
    text: str = ""


class Ours:
    """api-socket/http.c in this process."""

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="http.")
        library = Path(self.folder.name) / "http.so"
        sources = ["tests/fuzz/http_story.c", "api-socket/http.c", "api-socket/http_text.c", "base/text.c"]
        command = ["gcc", "-std=gnu11", "-O1", "-D_GNU_SOURCE", "-I.", "-shared", "-fPIC", "-o", str(library), *sources]
        subprocess.run(command, cwd=TOP, check=True)
        self.story = ctypes.CDLL(str(library)).http_story
        self.story.restype = ctypes.c_long
        self.story.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
        self.room = ctypes.create_string_buffer(1 << 18)

    def read(self, data: bytes, step: int) -> list[Event]:
        n = self.story(data, len(data), max(step, 1), self.room, len(self.room))
        assert n >= 0, "the story is too long"
        raw, at, events = self.room.raw[:n], 0, []
        while at < n:
            kind, end, method, length, body = struct.unpack_from("=5I", raw, at)
            at += 20
            text = raw[at : at + length]
            at += length
            if kind == BAD:
                events.append(Event(kind, end, text=text.decode()))
            else:
                events.append(Event(kind, end, METHODS[method], text, raw[at : at + body]))
            at += body
        return events


def path_of(target: bytes) -> bytes:
    """What is addressed: the path as it is, or that of an absolute URI."""
    if target.startswith(b"http://"):
        slash = target.find(b"/", 7)
        return target[slash:] if slash >= 0 else b""
    return target if target.startswith(b"/") else b""


@dataclass
class Theirs:
    event: Event
    headers: list[tuple[bytes, bytes]]
    version: bytes
    whole: bool  # the body has ended


def read_h11(data: bytes) -> Theirs | str | None:
    """The first request of a stream, why there is none, or None when it is cut."""
    connection = h11.Connection(our_role=h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(data)
    request, body = None, b""
    try:
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA or isinstance(event, h11.EndOfMessage):
                if request is None:
                    return None
                whole = event is not h11.NEED_DATA
                end = len(data) - len(connection.trailing_data[0]) if whole else len(data)
                ours = Event(REQUEST, end, bytes(request.method), path_of(bytes(request.target)), body)
                return Theirs(ours, [(bytes(k), bytes(v)) for k, v in request.headers], bytes(request.http_version), whole)
            if isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            else:
                return f"h11 said {event!r}"
    except h11.RemoteProtocolError as e:
        return f"h11: {e}"


def head_of(data: bytes) -> list[bytes]:
    """The lines up to the empty one, or all there are."""
    return data.split(b"\r\n\r\n", 1)[0].split(b"\r\n")


def excused(data: bytes, ours: Event | None, theirs: Theirs | str | None) -> str:
    """Why only one of the two accepts; '' when there is no good reason. First what our clients rely on, then what
    this parser's users (programs on the same host, no proxies) do without, then where h11 is generous."""
    lines = head_of(data)
    fields = {line.split(b":")[0].strip().lower() for line in lines[1:] if b":" in line}
    lone_lf = b"\n" in b"".join(lines)
    values = b"\n".join(lines[1:]).lower()
    # A whole head without an event: ours took it and waits for the body.
    accepts = ours.kind == REQUEST if ours else b"\r\n\r\n" in data
    if isinstance(theirs, str) and accepts:
        if "Missing mandatory Host" in theirs or "multiple Host" in theirs:
            return "Host is not asked for"
        if b"transfer-encoding" in fields:
            return "Transfer-Encoding is not understood: without a length there is no body"
        if any(c < 0x21 or c > 0x7E for c in lines[0].split(b" ")[1]):
            return "a target is any UTF-8 without spaces"
        if lone_lf:
            return "a lone LF ends no line"
        if b"content-length" in fields and len(max(values.split(b"content-length:")[1:], default=b"").split(b"\n")[0]) > 20:
            return "a length may have leading zeros"
        lengths = [line.split(b":", 1)[1].strip() for line in lines[1:] if line.lower().startswith(b"content-length:")]
        if len(set(lengths)) > 1 and len(set(map(int, lengths))) == 1:
            return "lengths are compared as numbers"
        return ""
    if isinstance(theirs, Theirs) and ours and ours.kind == BAD:
        if theirs.event.method not in METHODS:
            return "other methods are not served"
        if theirs.version not in (b"1.0", b"1.1"):
            return "other versions are not served"
        if any(len(line) + 2 > LINE_MAX for line in lines):
            return "a line is too long"
        if any(k == b"transfer-encoding" for k, _ in theirs.headers):
            return "a chunked body is not understood"
        if any(k == b"content-length" and int(v) > BODY_MAX for k, v in theirs.headers):
            return "the body is too long"
        if lone_lf:
            return "h11 takes a lone LF for a line's end"
        if any(line[:1] in (b" ", b"\t") for line in lines[1:]):
            return "folded lines are refused"
        try:
            b"\r\n".join(lines).decode()
        except UnicodeDecodeError:
            return "what is no UTF-8 is refused"
        if any((c < 0x20 and c != 9) or c == 0x7F for c in b"".join(lines[1:])):
            return "control characters in values are refused"
        if b"content-length" in fields and b"," in values:
            return "a list of lengths is refused"
        if b"accept-encoding" in fields:
            return "no body is ever encoded"
        return ""
    if isinstance(theirs, Theirs):  # h11 has a head, we have none or another end of its body
        if any(k == b"transfer-encoding" for k, _ in theirs.headers):
            return "Transfer-Encoding is not understood: without a length there is no body"
        if lone_lf:
            return "h11 takes a lone LF for a line's end"
        return ""
    if theirs is None and ours and ours.kind == REQUEST:
        return ""
    return "an error is seen before the end of the head"


def compare(parser: Ours, data: bytes, step: int, reasons: Counter[str]) -> tuple[int, str]:
    """How many requests both accepted; and what is wrong, or ''."""
    events = parser.read(data, step)
    at = agreed = 0
    for event in [*events, None]:
        if event is not None and event.kind == CONTINUE:
            continue
        rest = data[at:]
        theirs = read_h11(rest)
        waiting = theirs is None or isinstance(theirs, Theirs) and not theirs.whole
        if event is None and (waiting or not rest):
            return agreed, ""
        if isinstance(theirs, Theirs) and theirs.whole and event and event.kind == REQUEST:
            got, want = event, theirs.event
            same = (got.method, got.path, got.body, got.end - at) == (want.method, want.path, want.body, want.end)
            if not same:
                if any(k == b"transfer-encoding" for k, _ in theirs.headers):
                    return agreed, ""
                return agreed, f"they differ at {at}: ours {got} h11 {want}"
            agreed += 1
            at = event.end
            continue
        if isinstance(theirs, str) and event and event.kind == BAD:
            return agreed, ""
        reason = excused(rest, event, theirs)
        if reason:
            reasons[reason] += 1
            # The requests behind can still be compared when ours knows where this one ends.
            if event is None or event.kind == BAD:
                return agreed, ""
            at = event.end
            continue
        return agreed, f"only one accepts at {at}: ours {event}, h11 {theirs}"
    return agreed, ""


WORDS = [
    b"Content-Length", b"content-length", b"Host", b"Expect", b"Accept-Encoding", b"Transfer-Encoding", b"Connection", b"X-Y",
    b"Content-Type", b"Accept", b"100-continue", b"chunked", b"close", b"identity", b"gzip, identity;q=0", b"HTTP/1.1", b"HTTP/1.0",
    b"HTTP/2.0", b"GET", b"PUT", b"PATCH", b"DELETE", b"POST", b"http://h/", b"/", b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b"0", b"5",
    b"\x00", b"\xff", "é".encode(), b"\x7f", b",", b"+5", b"4294967296",
]  # fmt: skip


def request(rng: random.Random) -> bytes:
    """One request that is in order."""
    method = rng.choice(METHODS)
    target = rng.choice([b"/", b"/version", b"/machine-config", b"http://localhost/vm/config", b"http://localhost", b"/drives/a?x=%20", b"*"])
    headers = [b"Host: localhost"]
    body = b""
    if rng.random() < 0.6:
        body = bytes(rng.choice(b'{}[]":,0189aeGET /\r\n') for _ in range(rng.choice([0, 1, 5, 33, 300])))
        headers.append(rng.choice([b"Content-Length: ", b"content-length:", b"CONTENT-LENGTH:  "]) + str(len(body)).encode())
    for line in (b"Accept: */*", b"Connection: close", b"X-A: b c", b"Expect: 100-continue", b"Accept-Encoding: gzip", b"X-Empty:"):
        if rng.random() < 0.15:
            headers.append(line)
    for line in (b"Transfer-Encoding: chunked", b"Accept-Encoding: gzip, *;q=0", b"Content-Length: 5", b"X-A : b"):
        if rng.random() < 0.02:
            headers.append(line)
    rng.shuffle(headers)
    version = rng.choice([b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0"])
    return b"%s %s %s\r\n%s\r\n\r\n" % (method, target, version, b"\r\n".join(headers)) + body


def mutate(rng: random.Random, data: bytes) -> bytes:
    """A few small changes anywhere."""
    out = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 4])):
        at = rng.randrange(len(out) + 1)
        kind = rng.randrange(5)
        if kind == 0:
            out[at:at] = rng.choice(WORDS)
        elif kind == 1:
            del out[at : at + rng.choice([1, 2, 8])]
        elif kind == 2 and at < len(out):
            out[at] = rng.randrange(256)
        elif kind == 3:
            line = out[at : out.find(b"\n", at) + 1] or out[at:]
            out[at:at] = line
        else:
            word = rng.choice(WORDS)
            out[at : at + len(word)] = word
    return bytes(out)


def stream(rng: random.Random) -> bytes:
    data = b"".join(request(rng) for _ in range(rng.choice([1, 1, 2, 3])))
    return mutate(rng, data) if rng.random() < 0.8 else data


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--reasons", action="store_true", help="count why only one of the two accepted")
    parser.add_argument("files", nargs="*", type=Path)
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.randrange(1 << 32)
    rng = random.Random(seed)
    ours = Ours()
    seeds = [path.read_bytes()[1:] for path in options.files]
    end = time.monotonic() + options.seconds
    runs = agreed = 0
    reasons: Counter[str] = Counter()
    while seeds or time.monotonic() < end:
        data = seeds.pop() if seeds else stream(rng)
        step = rng.choice([1, 7, len(data)])
        both, wrong = compare(ours, data, step, reasons)
        runs += 1
        agreed += both
        if wrong:
            print(f"http_diff: seed {seed}, stream {data!r}, in steps of {step}: {wrong}")
            return 1
    print(f"http_diff: {runs} streams, {agreed} requests read alike, seed {seed}")
    if options.reasons:
        print("".join(f"{count:8} {reason}\n" for reason, count in reasons.most_common()), end="")
    return 0 if agreed else 1


if __name__ == "__main__":
    sys.exit(main())
