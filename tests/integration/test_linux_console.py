# SPDX-License-Identifier: Apache-2.0
"""The serial console with a person at it, with a script at it, and with nobody reading it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from conftest import CONSOLE, Guest
from mote_process import BOOT_TIMEOUT_S, Mote

Start = Callable[..., Mote]
Guests = Callable[[str], Guest]
PROMPT = "guest:/# "


@pytest.mark.linux_guest(seconds=15)
def test_shell_on_a_terminal(mote: Start, guest: Guests) -> None:
    """Typed commands reach the shell, Ctrl-C too (and not mote), leaving the shell ends the VM and the terminal is as before."""
    debian = guest("cloud")
    vm = mote(terminal=True)
    vm.api.machine(1, 256)
    vm.api.boot_source(debian.vmlinux, CONSOLE, debian.initrd)
    vm.api.start()
    vm.wait_text(PROMPT)
    assert not vm.terminal_is_restored()  # raw
    vm.type("echo $((6 * 7))-typed\n")
    vm.wait_text("42-typed\n")
    # Until the command runs, the shell's line editor takes Ctrl-C as a mere byte: hence the echo before the sleep.
    vm.type("echo $((20 + 1))-sleeps; sleep 1000\n")
    vm.wait_text("21-sleeps\n")
    prompts = vm.text.count(PROMPT)
    vm.type("\x03")
    vm.wait_for(lambda: vm.text.count(PROMPT) > prompts, "a prompt after Ctrl-C")
    vm.type("echo after $((1 + 1))\n")
    vm.wait_text("after 2\n")
    # A line longer than the UART's FIFO must come through whole.
    vm.type("echo " + "0123456789" * 20 + " | wc -c\n")
    vm.wait_text("\n201\n")
    vm.type("exit\n")
    assert vm.wait_exit(BOOT_TIMEOUT_S) == 0
    assert vm.terminal_is_restored()
