# SPDX-License-Identifier: Apache-2.0
"""Kernel files are untrusted: cut anywhere, or with any header field changed, the answer is one clear sentence or a
guest that runs its own course; never a crash, never a hang of the API."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from mote_process import Mote

pytestmark = pytest.mark.native_ok
Start = Callable[..., Mote]
Tiny = Callable[[str], Path]

# name, offset, size: Elf64_Ehdr, and Elf64_Phdr relative to the table.
EHDR = [
    ("magic", 0, 4), ("class", 4, 1), ("data", 5, 1), ("ident_version", 6, 1), ("type", 16, 2), ("machine", 18, 2),
    ("version", 20, 4), ("entry", 24, 8), ("phoff", 32, 8), ("shoff", 40, 8), ("flags", 48, 4), ("ehsize", 52, 2),
    ("phentsize", 54, 2), ("phnum", 56, 2), ("shentsize", 58, 2), ("shnum", 60, 2), ("shstrndx", 62, 2),
]  # fmt: skip
PHDR = [("p_type", 0, 4), ("p_flags", 4, 4), ("p_offset", 8, 8), ("p_vaddr", 16, 8), ("p_paddr", 24, 8),
        ("p_filesz", 32, 8), ("p_memsz", 40, 8), ("p_align", 48, 8)]  # fmt: skip
PHDR_SIZE = 56
# Setup header of bzImage, by the x86 boot protocol.
SETUP = [
    ("setup_sects", 0x1F1, 1), ("boot_flag", 0x1FE, 2), ("header", 0x202, 4), ("version", 0x206, 2), ("loadflags", 0x211, 1),
    ("code32_start", 0x214, 4), ("initrd_addr_max", 0x22C, 4), ("kernel_alignment", 0x230, 4), ("relocatable", 0x234, 1),
    ("min_alignment", 0x235, 1), ("xloadflags", 0x236, 2), ("cmdline_size", 0x238, 4), ("payload_offset", 0x248, 4),
    ("payload_length", 0x24C, 4), ("pref_address", 0x258, 8), ("init_size", 0x260, 4), ("handover_offset", 0x264, 4),
    ("syssize", 0x1F4, 4), ("jump", 0x201, 1),
]  # fmt: skip
VALUES = {
    1: (0, 1, 0x7F, 0x80, 0xFF),
    2: (0, 1, 0x7FFF, 0x8000, 0xFFFF),
    4: (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFF000, 0xFFFFFFFF),
    8: (0, 1, 0xFFFFFFFF, 1 << 32, 1 << 47, (1 << 63) - 1, 1 << 63, (1 << 64) - 4096, (1 << 64) - 1),
}


def judge(mote: Start, kernel: Path, what: str) -> None:
    """Start with this kernel. Either it is refused with a sentence, or the guest runs (into whatever it is)."""
    vm = mote()
    try:
        reply = vm.api.put("/boot-source", {"kernel_image_path": str(kernel)})
        if reply.status == 204:
            reply = vm.api.put("/actions", {"action_type": "InstanceStart"})
        assert reply.status in (204, 400), what
        if reply.status == 400:
            assert len(reply.fault) > 10, what
            assert vm.process.poll() is None, f"{what}: refused, yet mote ended with {vm.process.returncode}"
            assert vm.api.get("/").json["state"] == "Not started", what
        elif vm.process.poll() is not None:
            # A guest that went astray: reset, triple fault or an instruction KVM cannot interpret. Not a signal.
            assert vm.process.returncode in (0, 1, 2), f"{what}: {vm.said()}"
    finally:
        vm.close()


def changed(data: bytes, offset: int, size: int, value: int) -> bytes:
    return data[:offset] + value.to_bytes(size, "little") + data[offset + size :]


@pytest.mark.parametrize(("field", "offset", "size"), EHDR, ids=[f[0] for f in EHDR])
@pytest.mark.parametrize("name", ["hello", "hello64"])
def test_elf_header(mote: Start, tiny: Tiny, folder: Path, name: str, field: str, offset: int, size: int) -> None:
    good = tiny(name).read_bytes()
    kernel = folder / "kernel"
    for value in VALUES[size]:
        kernel.write_bytes(changed(good, offset, size, value))
        judge(mote, kernel, f"{name} {field}={value:#x}")


@pytest.mark.parametrize(("field", "offset", "size"), PHDR, ids=[f[0] for f in PHDR])
def test_elf_program_headers(mote: Start, tiny: Tiny, folder: Path, field: str, offset: int, size: int) -> None:
    good = tiny("hello").read_bytes()
    (table,) = struct.unpack_from("<Q", good, 32)
    kernel = folder / "kernel"
    for index in range(2):  # the segment and the note
        for value in VALUES[size]:
            kernel.write_bytes(changed(good, table + index * PHDR_SIZE + offset, size, value))
            judge(mote, kernel, f"phdr {index} {field}={value:#x}")


def test_elf_note(mote: Start, tiny: Tiny, folder: Path) -> None:
    good = tiny("hello").read_bytes()
    at = good.index(struct.pack("<III4s", 4, 4, 18, b"Xen\0"))
    kernel = folder / "kernel"
    for offset in (0, 4, 8, 12, 16):
        for value in VALUES[4]:
            kernel.write_bytes(changed(good, at + offset, 4, value))
            judge(mote, kernel, f"note +{offset}={value:#x}")


def test_elf_cut(mote: Start, tiny: Tiny, folder: Path) -> None:
    good = tiny("hello").read_bytes()
    kernel = folder / "kernel"
    for length in (0, 1, 3, 4, 16, 63, 64, 65, 100, 119, 120, 175, 176, 4095, 4096, 4097, 4300):
        kernel.write_bytes(good[:length])
        judge(mote, kernel, f"cut to {length}")


def bzimage(code: bytes = b"\xf4" * 0x1000) -> bytes:
    """The least bzImage that the protocol allows: boot sector, one sector of setup, code whose 64-bit entry halts."""
    head = bytearray(1024)
    for name, value in {
        "setup_sects": 1, "boot_flag": 0xAA55, "header": 0x53726448, "version": 0x20F, "loadflags": 1, "code32_start": 0x100000,
        "initrd_addr_max": 0x7FFFFFFF, "kernel_alignment": 0x200000, "relocatable": 1, "min_alignment": 21, "xloadflags": 0xB,
        "cmdline_size": 2047, "pref_address": 0x1000000, "init_size": 0x100000, "syssize": len(code) // 16, "jump": 0x66,
    }.items():  # fmt: skip
        offset, size = next((o, s) for n, o, s in SETUP if n == name)
        head[offset : offset + size] = value.to_bytes(size, "little")
    return bytes(head) + code


@pytest.mark.parametrize(("field", "offset", "size"), SETUP, ids=[f[0] for f in SETUP])
def test_bzimage_header(mote: Start, folder: Path, field: str, offset: int, size: int) -> None:
    good = bzimage()
    kernel = folder / "kernel"
    for value in VALUES[size]:
        kernel.write_bytes(changed(good, offset, size, value))
        judge(mote, kernel, f"{field}={value:#x}")


def test_bzimage_cut(mote: Start, folder: Path) -> None:
    good = bzimage()
    kernel = folder / "kernel"
    for length in (0x1F0, 0x1FF, 0x202, 0x205, 0x207, 0x210, 0x237, 0x263, 0x268, 0x3FF, 0x400, 0x401, 0x600, 0x601, len(good) - 1):
        kernel.write_bytes(good[:length])
        judge(mote, kernel, f"cut to {length:#x}")


@pytest.mark.parametrize("kind", ["folder", "fifo-less device", "unreadable", "other architecture"])
def test_not_a_file(mote: Start, tiny: Tiny, folder: Path, kind: str) -> None:
    kernel = folder / "kernel"
    if kind == "folder":
        kernel.mkdir()
    elif kind == "fifo-less device":
        kernel = Path("/dev/null")
    elif kind == "unreadable":
        kernel = Path("/proc/1/mem")
    else:
        kernel.write_bytes(changed(tiny("hello").read_bytes(), 18, 2, 183))
    vm = mote()
    reply = vm.api.put("/boot-source", {"kernel_image_path": str(kernel)})
    if reply.status == 204:
        reply = vm.api.put("/actions", {"action_type": "InstanceStart"})
    assert reply.status == 400
    assert reply.fault
    assert vm.api.get("/").status == 200


def test_kernel_larger_than_memory(mote: Start, tiny: Tiny, folder: Path) -> None:
    """Refused with a sentence that names what does not fit."""
    good = tiny("hello").read_bytes()
    (table,) = struct.unpack_from("<Q", good, 32)
    kernel = folder / "kernel"
    kernel.write_bytes(changed(good, table + 40, 8, 256 << 20))
    vm = mote()
    vm.api.machine(1, 128)
    reply = vm.api.put("/boot-source", {"kernel_image_path": str(kernel)})
    if reply.status == 204:
        reply = vm.api.put("/actions", {"action_type": "InstanceStart"})
    assert reply.status == 400
    assert vm.api.get("/").json["state"] == "Not started"


def test_initrd(mote: Start, tiny: Tiny, folder: Path) -> None:
    """Empty, a folder, larger than RAM: refused; a page and a bit: taken."""
    initrd = folder / "initrd"
    kernel = str(tiny("hello"))
    for size, fits in ((4097, True), (0, None), (200 << 20, False)):
        with initrd.open("wb") as file:
            file.truncate(size)
        vm = mote()
        vm.api.machine(1, 128)
        reply = vm.api.put("/boot-source", {"kernel_image_path": kernel, "initrd_path": str(initrd)})
        if reply.status == 204:
            reply = vm.api.put("/actions", {"action_type": "InstanceStart"})
        if fits is not None:
            assert (reply.status == 204) == fits, f"{size}: {reply.body}"
        if reply.status == 204:
            assert vm.wait_exit() == 0
        else:
            assert vm.api.get("/").json["state"] == "Not started"
        vm.close()
