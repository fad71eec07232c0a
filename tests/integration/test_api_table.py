# SPDX-License-Identifier: Apache-2.0
"""Every endpoint, field by field, over the real socket: what api_table.txt says, and that a refusal changes nothing."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from conftest import SUITE
from mote_process import Mote, Reply

pytestmark = pytest.mark.native_ok
Start = Callable[..., Mote]
Tiny = Callable[[str], Path]
TABLE = SUITE / "api_table.txt"
REPLIES = ["Refusal", "InstanceInfo", "Version", "VmConfig"]  # schemas that no request uses
STATES = ["not-started", "running", "paused", "taps"]
JSON_PREFIX = "An error occurred when deserializing the json body of a request: "


@dataclass
class Row:
    """A request and what is expected of it."""

    line: int
    state: str
    method: str
    path: str
    body: str | None
    status: int = 0
    text: str = ""
    deprecated: bool = False
    shows: list[tuple[str, str]] = field(default_factory=list)


def read_table(text: str) -> Iterator[Row]:
    state, row = "", None
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split(maxsplit=2)
        if not words or line.startswith("#"):
            continue
        if words[0] == "==":
            state = words[1]
        elif not line.startswith(" "):
            if row:
                yield row
            row = Row(number, state, words[0], words[1], words[2] if len(words) > 2 else None)
        elif words[0] == "deprecated":
            row.deprecated = True
        elif words[0] == "shows":
            row.shows.append((words[1], words[2]))
        else:
            row.status, row.text = int(words[0]), line.strip().partition(" ")[2]
    yield row


def expand(text: str, files: dict[str, Path]) -> str:
    text = re.sub(r"\$A(\d+)", lambda m: "a" * int(m[1]), text)
    return re.sub(r"\$([A-Z]+2?)", lambda m: str(files[m[1]]), text)


def within(want: Any, got: Any) -> bool:
    """Whether `got` is `want`; objects may have more keys."""
    if isinstance(want, dict) and isinstance(got, dict):
        return all(k in got and within(v, got[k]) for k, v in want.items())
    if isinstance(want, list) and isinstance(got, list):
        return len(want) == len(got) and all(map(within, want, got))
    return bool(want == got and type(want) is type(got))


def complaint(row: Row, reply: Reply, files: dict[str, Path], vm: Mote) -> str:
    """What is wrong with the reply, or ''."""
    text = expand(row.text, files)
    if text.startswith("JSON: "):
        text = JSON_PREFIX + text.removeprefix("JSON: ")
    if reply.status != row.status:
        return f"{reply.status} {reply.body}"
    if row.status == 204 and reply.body:
        return f"a body: {reply.body}"
    if row.status == 200 and text and not within(json.loads(text), reply.json):
        return reply.body
    if row.status == 400 and reply.body != json.dumps({"fault_message": text}, separators=(",", ":"), ensure_ascii=False):
        return reply.body
    if ("deprecation" in reply.headers) != row.deprecated:
        return f"headers {reply.headers}"
    config = vm.api.get("/vm/config").json if row.shows else {}
    for key, want in row.shows:
        if not within(json.loads(expand(want, files)), config[key]):
            return f"/vm/config has {key} {config[key]}"
    return ""


def prepare(mote: Start, tiny: Tiny, folder: Path, state: str, netns: str | None = None) -> tuple[Mote, dict[str, Path]]:
    files = {"KERNEL": tiny("tick"), "DISK": folder / "disk", "DISK2": folder / "disk2", "FOLDER": folder}
    for name in ("DISK", "DISK2"):
        files[name].write_bytes(bytes(65536))
    vm = mote(netns=netns)
    if state in ("running", "paused"):
        vm.api.boot_source(files["KERNEL"])
        vm.api.drive("data", files["DISK"])
        vm.api.start()
    if state == "paused":
        vm.api.must("PATCH", "/vm", {"state": "Paused"})
    return vm, files


@pytest.mark.parametrize("state", STATES)
def test_table(request: pytest.FixtureRequest, mote: Start, tiny: Tiny, folder: Path, state: str) -> None:
    rows = [row for row in read_table(TABLE.read_text()) if row.state == state]
    assert rows
    netns = None
    if state == "taps":
        netns = request.getfixturevalue("network").netns
        for name in ("tap1", "tap2"):
            subprocess.run(["ip", "-n", netns, "tuntap", "add", "dev", name, "mode", "tap"], check=True)
        subprocess.run(["ip", "-n", netns, "tuntap", "add", "dev", "many", "mode", "tap", "multi_queue"], check=True)
    vm, files = prepare(mote, tiny, folder, state, netns)
    wrong = []
    for row in rows:
        before = [vm.api.get(path).body for path in ("/", "/vm/config", "/machine-config")]
        body = None if row.body is None else expand(row.body, files).encode()
        reply = vm.api.request(row.method, expand(row.path, files), body)
        problem = complaint(row, reply, files, vm)
        if not problem and row.status == 400 and before != [vm.api.get(path).body for path in ("/", "/vm/config", "/machine-config")]:
            problem = "the refusal changed something"
        if problem:
            wrong.append(f"line {row.line}: {row.method} {row.path} {row.body or ''}\n    got {problem}")
    assert not wrong, "\n".join(wrong)


def test_table_covers_the_description() -> None:
    """Each operation of openapi.yaml and each field that a request can carry is in the table."""
    description = (SUITE.parents[1] / "api-socket/openapi.yaml").read_text()
    rows = list(read_table(TABLE.read_text()))
    path = ""
    for line in description.partition("\npaths:\n")[2].partition("\ncomponents:\n")[0].splitlines():
        if match := re.fullmatch(r"  (/\S*):", line):
            path = match[1]
        elif match := re.fullmatch(r"    (get|put|patch|delete):", line):
            first = path.partition("{")[0]
            assert any(r.method == match[1].upper() and r.path.startswith(first) for r in rows), (match[1], path)
    schema = ""
    for line in description.partition("\n  schemas:\n")[2].splitlines():
        if match := re.fullmatch(r"    ([A-Z]\w*):", line):
            schema = match[1]
        elif (match := re.fullmatch(r"        (\w+):", line)) and schema not in REPLIES:
            assert any(f'"{match[1]}"' in (r.body or "") for r in rows), (schema, match[1])
