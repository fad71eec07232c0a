# SPDX-License-Identifier: Apache-2.0
"""The command line, the config file and the API's socket."""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mote_process import Mote, open_files

pytestmark = pytest.mark.native_ok
Start = Callable[..., Mote]
Tiny = Callable[[str], Path]
BAD_ARGUMENTS = 153


def config(kernel: Path, **more: Any) -> dict[str, Any]:
    return {"boot-source": {"kernel_image_path": str(kernel), "boot_args": "console=ttyS0"}, "drives": [], **more}


def test_version_and_help(mote: Start) -> None:
    version = mote("--version", api=False)
    assert version.wait_exit() == 0
    assert version.text.startswith("mote v") or version.text.startswith("Mote v")
    helped = mote("--help", api=False)
    assert helped.wait_exit() == 0
    for option in ("--api-sock", "--config-file", "--no-api", "--id", "--version"):
        assert option in helped.text


def test_called_as_firecracker(mote: Start) -> None:
    version = mote("--version", api=False, name="firecracker")
    assert version.wait_exit() == 0
    assert version.text.startswith("Firecracker v")
    named = mote(name="/jail/firecracker")  # as a jailer executes it, under a name that is not the file's
    named.wait_ready()
    assert Path(f"/proc/{named.process.pid}/comm").read_text() == "firecracker\n"


def test_tables_are_read_only(mote: Start) -> None:
    """What the linker asks to have protected once it is relocated is (PT_GNU_RELRO), and nothing is writable code."""
    vm = mote()
    vm.wait_ready()
    program = Path(f"/proc/{vm.process.pid}/exe")
    with program.open("rb") as file:
        image = file.read()
    offset, count = struct.unpack_from("<Q", image, 32)[0], struct.unpack_from("<H", image, 56)[0]
    headers = [struct.unpack_from("<IIQQQQQQ", image, offset + 56 * i) for i in range(count)]
    relro = [(address, address + size) for kind, _, _, address, _, _, size, _ in headers if kind == 0x6474E552]
    maps = Path(f"/proc/{vm.process.pid}/maps").read_text().splitlines()
    mapped = [(*(int(n, 16) for n in line.split()[0].split("-")), line.split()[1]) for line in maps]
    base = next(int(line.split("-")[0], 16) for line in maps if line.endswith(str(program.readlink())))
    assert len(relro) == 1
    start, end = (base + n for n in relro[0])
    assert [rights for low, high, rights in mapped if low < end and start < high] == ["r--p"]
    assert not [rights for _, _, rights in mapped if "w" in rights and "x" in rights]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--nonsense"],
        ["--api-sock"],
        ["--id"],
        ["--id", "a", "--id", "b"],
        ["--api-sock", "--id"],
        ["--api-sock=/tmp/x"],
        ["--no-api"],
        ["stray"],
    ],
)
def test_bad_arguments(mote: Start, arguments: list[str]) -> None:
    vm = mote(*arguments, api=False)
    assert vm.wait_exit() == BAD_ARGUMENTS
    said = vm.errors.decode() + vm.text
    assert said.strip(), "an error without a word"


@pytest.mark.parametrize("name", ["", "has space", "under_score", "x" * 65, "ü"])
def test_bad_id(mote: Start, name: str) -> None:
    vm = mote("--id", name, ready=False)
    assert vm.wait_exit() > 0
    assert (vm.errors.decode() + vm.text).strip()


def test_config_file_without_api(mote: Start, tiny: Tiny, folder: Path) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(config(tiny("memmap"), **{"machine-config": {"vcpu_count": 1, "mem_size_mib": 64}})))
    vm = mote("--config-file", str(path), "--no-api", api=False)
    said = vm.wait_end()
    assert "cmdline console=ttyS0" in said


def test_config_file_with_api(mote: Start, tiny: Tiny, folder: Path) -> None:
    path = folder / "config.json"
    more = {"unknown-section": 1, "balloon": None, "network-interfaces": [], "vsock": None}
    path.write_text(json.dumps(config(tiny("tick"), **more)))
    vm = mote("--config-file", str(path))
    vm.wait_text("ticking")
    assert vm.api.get("/").json["state"] == "Running"
    assert vm.api.get("/vm/config").json["boot-source"]["kernel_image_path"] == str(tiny("tick"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1 column 0"),
        ("{", "line 1 column"),
        ("{}", "missing field `"),
        ('{"boot-source": {"kernel_image_path": "/does/not/exist"}, "drives": []}', "os error 2"),
        ('{"boot-source": {"kernel_image_path": "KERNEL"}}', "missing field `drives`"),
        ('{"boot-source": {"kernel_image_path": "KERNEL"}, "drives": [], "machine-config": {"vcpu_count": 99, "mem_size_mib": 1}}', "vCPU"),
        ('{"boot-source": {"kernel_image_path": "KERNEL"}, "drives": [{"drive_id": "a"}]}', "missing field"),
        ('{"boot-source": {"kernel_image_path": "KERNEL"}, "drives": [{"drive_id": "a", "is_root_device": true, "path_on_host": "/does/not/exist"}]}', "os error 2"),
        ('{"boot-source": {"kernel_image_path": "KERNEL"}, "drives": [], "network-interfaces": [{"iface_id": "a", "host_dev_name": "no-such-tap"}]}', "no-such-tap"),
    ],
)
def test_bad_config_file(mote: Start, tiny: Tiny, folder: Path, text: str, words: str) -> None:
    path = folder / "config.json"
    path.write_text(text.replace("KERNEL", str(tiny("hello"))))
    vm = mote("--config-file", str(path), ready=False)
    assert vm.wait_exit() > 0
    said = vm.errors.decode() + vm.text
    assert words in said, said
    assert vm.sock is not None and not vm.sock.exists()


def test_missing_config_file(mote: Start, folder: Path) -> None:
    vm = mote("--config-file", str(folder / "none.json"), "--no-api", api=False)
    assert vm.wait_exit() > 0
    assert "none.json" in vm.errors.decode() + vm.text


def test_busy_socket(mote: Start) -> None:
    """A socket that somebody serves is refused in one sentence and stays theirs."""
    first = mote()
    second = mote("--api-sock", str(first.sock), api=False)
    assert second.wait_exit() == 1
    said = second.errors.decode() + second.text
    assert f"Failed to open the API socket at: {first.sock}. Check that it is not already used." in said
    assert first.api.get("/").status == 200


def test_not_a_socket(mote: Start, folder: Path) -> None:
    """A file of another kind in its place is not removed."""
    path = folder / "precious"
    path.write_text("data")
    vm = mote("--api-sock", str(path), api=False)
    assert vm.wait_exit() == 1
    assert str(path) in vm.errors.decode() + vm.text
    assert path.read_text() == "data"


def test_stale_socket(mote: Start, folder: Path) -> None:
    """A socket file that nobody serves any more is replaced."""
    path = folder / "stale.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        s.bind(str(path))
    vm = mote("--api-sock", str(path), api=False)
    vm.sock = path
    vm.wait_ready()
    assert vm.api.get("/").status == 200


def test_socket_path_too_long_or_missing_folder(mote: Start, folder: Path) -> None:
    missing = folder / "no" / "such" / "folder.sock"
    for path, words in ((folder / ("x" * 120), "107"), (missing, str(missing))):
        vm = mote("--api-sock", str(path), api=False)
        assert vm.wait_exit() == 1
        assert words in vm.errors.decode() + vm.text


def test_few_files_are_open(mote: Start) -> None:
    """What a process inherits is closed or not used; what it opens is closed on exec."""
    vm = mote()
    flags = []
    for fd in open_files(vm.process.pid):
        try:
            info = Path(f"/proc/{vm.process.pid}/fdinfo/{fd}").read_text()
        except FileNotFoundError:
            continue  # closed meanwhile
        if fd > 2:
            flags.append(int(info.split("flags:")[1].split()[0], 8))
    assert all(f & os.O_CLOEXEC for f in flags)
