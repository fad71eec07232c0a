# SPDX-License-Identifier: Apache-2.0
"""CPU templates of a client's own: what the guest sees of them, and what KVM does not have."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mote_process import Mote

pytestmark = pytest.mark.native_ok
Start = Callable[..., Mote]
Tiny = Callable[[str], Path]


def edit(leaf: str, register: str, bitmap: str) -> dict[str, Any]:
    return {"leaf": leaf, "subleaf": "0x0", "flags": 0, "modifiers": [{"register": register, "bitmap": bitmap}]}


def seen(vm: Mote) -> tuple[int, int]:
    found = re.search(r"cpuid: ([0-9a-f]{16}) ([0-9a-f]{16})", vm.wait_end())
    assert found, vm.said()
    return int(found[1], 16), int(found[2], 16)


def run(vm: Mote, kernel: Path, *templates: dict[str, Any]) -> tuple[int, int]:
    for template in templates:
        vm.api.must("PUT", "/cpu-config", template)
    vm.api.boot_source(kernel)
    vm.api.start()
    return seen(vm)


def test_guest_sees_it(mote: Start, tiny: Tiny) -> None:
    kernel = tiny("cpuid")
    signature, name = run(mote(), kernel)
    # The stepping's lowest bits, and the top bit of a name: nothing else touches them, nor does the guest mind.
    template = {"cpuid_modifiers": [edit("1", "eax", f"0b{~signature >> 1 & 1}_x"), edit("0x40000000", "ebx", "0b1" + "x" * 31)]}
    assert run(mote(), kernel, template) == (signature ^ 2, name | 1 << 31)
    assert run(mote(), kernel, template, {}) == (signature, name), "an empty template is none"


@pytest.mark.parametrize("inline", [False, True])
def test_config_file(mote: Start, tiny: Tiny, folder: Path, inline: bool) -> None:
    template = {"cpuid_modifiers": [edit("1", "eax", "0b" + "0" * 32)]}
    (folder / "template").write_text(json.dumps(template))
    whole: dict[str, Any] = {"boot-source": {"kernel_image_path": str(tiny("cpuid"))}, "drives": []}
    whole["cpu-config"] = template if inline else str(folder / "template")
    (folder / "file").write_text(json.dumps(whole))
    assert seen(mote("--config-file", str(folder / "file"), ready=False))[0] == 0


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ({"kvm_capabilities": ["!7", "99999"]}, "KVM does not have the capability that the CPU template needs: 99999"),
        (
            {"cpuid_modifiers": [{"leaf": "0x12345678", "subleaf": "9", "flags": 0, "modifiers": []}]},
            "Template changes a CPUID entry not supported by KVM: Leaf: 12345678, Subleaf: 9",
        ),
        (
            {"msr_modifiers": [{"addr": "0x4bad0000", "bitmap": "0b1"}]},
            "Template changes an MSR entry not supported by KVM: Register Address: 4bad0000",
        ),
    ],
)
def test_kvm_does_not_have_it(mote: Start, tiny: Tiny, template: dict[str, Any], words: str) -> None:
    vm = mote()
    vm.api.boot_source(tiny("cpuid"))
    vm.api.must("PUT", "/cpu-config", template)
    reply = vm.api.put("/actions", {"action_type": "InstanceStart"})
    assert (reply.status, reply.json) == (400, {"fault_message": f"Start microvm error: {words}"})
    vm.api.must("PUT", "/cpu-config", {"kvm_capabilities": ["3"]})
    vm.api.start()
    seen(vm)


def test_body_is_logged_at_debug_only(mote: Start, folder: Path) -> None:
    for level in ("Info", "Debug"):
        log = folder / level
        vm = mote("--log-path", str(log), "--level", level)
        vm.api.must("PUT", "/cpu-config", {"kvm_capabilities": ["!4711"]})
        assert ("4711" in log.read_text()) == (level == "Debug")
