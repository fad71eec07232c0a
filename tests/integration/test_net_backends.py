# SPDX-License-Identifier: Apache-2.0
"""Networking without root: a tap handed in as a descriptor, and passt's stream socket."""

from __future__ import annotations

import os
import re
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import CONSOLE, Guest, Network, digest
from mote_process import BOOT_TIMEOUT_S, TIMEOUT_S, Mote, open_files

Start = Callable[..., Mote]
Tiny = Callable[[str], Path]
Guests = Callable[[str], Guest]
HERE = Path(__file__).parent
REFUSED = "Network config error: Could not create the network device: "
TAP_FLAGS = "no_pi,vnet_hdr"


def with_tap(name: str, address: str, flags: str = TAP_FLAGS, number: int = 9) -> list[str]:
    return [str(HERE / "with_tap.py"), str(number), name, flags, address]


def put(vm: Mote, name: str, backend: str) -> str:
    """The answer's sentence, empty when there is none."""
    reply = vm.api.put(f"/network-interfaces/{name}", {"iface_id": name, "host_dev_name": backend})
    return "" if reply.status == 204 else reply.fault


@pytest.mark.native_ok
def test_tap_descriptor(mote: Start, tiny: Tiny, network: Network) -> None:
    """Taken once, kept when the interface is configured again, closed with it; the tap goes with its last user."""
    vm = mote(netns=network.netns, wrapper=with_tap("mine", "10.7.0.1/24"))
    assert put(vm, "a", "fd:9") == ""
    assert put(vm, "b", "fd:9").startswith(f"{REFUSED}TAP descriptor fd:9: interface a has it")
    assert put(vm, "a", "fd:9") == ""
    assert list(open_files(vm.process.pid).values()).count("/dev/net/tun") == 1
    flags = int(re.search(r"flags:\s+(\d+)", Path(f"/proc/{vm.process.pid}/fdinfo/9").read_text())[1], 8)  # type: ignore[index]
    assert flags & os.O_NONBLOCK and flags & os.O_CLOEXEC
    vm.api.boot_source(tiny("hello"))
    vm.api.start()
    vm.wait_end()
    assert "mine" not in network.run("ip", "link").stdout


@pytest.mark.native_ok
@pytest.mark.parametrize("flags", ["tun,no_pi,vnet_hdr", "no_pi"])
def test_descriptor_of_another_kind(mote: Start, network: Network, flags: str) -> None:
    vm = mote(netns=network.netns, wrapper=with_tap("mine", "10.7.0.1/24", flags))
    assert put(vm, "a", "fd:9").startswith(f"{REFUSED}TAP descriptor fd:9: open it with IFF_TAP | IFF_NO_PI | IFF_VNET_HDR")
    assert put(vm, "a", network.tap) == ""


@pytest.mark.native_ok
def test_own_descriptors_are_not_for_sale(mote: Start, network: Network) -> None:
    """A number that is open, but for something else: refused, whatever it is, also the tap of another interface."""
    vm = mote(netns=network.netns)
    assert put(vm, "a", network.tap) == ""
    for fd in open_files(vm.process.pid):
        assert put(vm, "b", f"fd:{fd}").startswith(REFUSED), fd
    assert [n["iface_id"] for n in vm.api.get("/vm/config").json["network-interfaces"]] == ["a"]


@pytest.mark.native_ok
def test_stream_peer_that_closes(mote: Start, tiny: Tiny, folder: Path) -> None:
    """Connected when configured, once; found again after it went; a lie about a length ends the connection only."""
    path = folder / "peer"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(TIMEOUT_S)
        vm = mote()
        assert put(vm, "a", f"unix:{path}") == ""
        peer = listener.accept()[0]
        assert put(vm, "a", f"unix:{path}") == ""
        vm.api.boot_source(tiny("tick"))
        vm.api.start()
        peer.close()
        for _ in range(2):
            peer = listener.accept()[0]
            peer.settimeout(TIMEOUT_S)
            peer.sendall(struct.pack(">I", 1 << 30))
            peer.close()
        assert vm.api.get("/").json["state"] == "Running"


@pytest.fixture
def passt(network: Network, folder: Path) -> Iterator[Path]:
    """passt's socket. What the guest sends to its gateway arrives at the loopback of the network namespace, and
    port 8099 there leads to port 99 of the guest."""
    for command in ("link add v0 type veth peer name v1", "link set v1 up", "address add 10.9.0.2/24 dev v0", "link set v0 up",
                    "route add default via 10.9.0.1"):  # fmt: skip
        subprocess.run(["ip", "-n", network.netns, *command.split()], check=True)
    path = folder / "passt"
    folder.chmod(0o777)  # it runs as nobody
    command = ["ip", "netns", "exec", network.netns, "passt", "-f", "-q", "-4", "-s", str(path), "-t", "8099:99", "-u", "none"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + TIMEOUT_S
    while not path.exists():
        assert process.poll() is None, f"passt ended with {process.returncode}"
        assert time.monotonic() < end, "passt made no socket"
        time.sleep(0.02)
    yield path
    process.kill()
    process.wait()


def exchange(network: Network, vm: Callable[[str], Mote], data: bytes, folder: Path, gateway: str) -> str:
    """Files of these bytes from and to the guest, whose console is returned. Not even nc closes its side before all is
    there: to passt that is the end of a connection."""
    file = folder / "data"
    file.write_bytes(data)
    script = f"""
    mount -t tmpfs -o size=64m t /mnt; mkfifo /mnt/quiet; exec 3<>/mnt/quiet
    nc {gateway} 7001 <&3 >/mnt/data; sha256sum /mnt/data
    nc {gateway} 7002 </mnt/data
    echo come; nc -l -p 99
    """
    with network.peers(file, "send", "receive") as (send, receive):
        running = vm(script)
        running.wait_text("come\n", 2 * BOOT_TIMEOUT_S)
        sent, received = digest(send), digest(receive)
    assert re.search(rf"{sent}\s+/mnt/data", running.text), running.said()
    assert received == sent
    return running.text


def boot(mote: Start, debian: Guest, folder: Path, backend: str, boot_args: str, script: str, **how: object) -> Mote:
    vm = mote(**how)
    vm.api.machine(1, 256)
    vm.api.network("eth0", backend, "06:00:ac:10:00:02")
    vm.api.boot_source(debian.vmlinux, f"{CONSOLE} {boot_args}", debian.with_script(script, folder))
    vm.api.start()
    return vm


@pytest.mark.linux_guest(seconds=30)
def test_linux_tap_descriptor(mote: Start, guest: Guests, network: Network, folder: Path) -> None:
    started: list[Mote] = []

    def start(script: str) -> Mote:
        how = {"netns": network.netns, "wrapper": with_tap("mine", "10.7.0.1/24")}
        started.append(boot(mote, guest("cloud"), folder, "fd:9", "guest.ip=10.7.0.2/24 guest.gw=10.7.0.1", script, **how))
        return started[0]

    exchange(network, start, bytes(range(251)) * 16711, folder, "10.7.0.1")
    network.knock("10.7.0.2")
    started[0].wait_end()


@pytest.mark.linux_guest(seconds=40)
def test_linux_passt(mote: Start, guest: Guests, network: Network, passt: Path, folder: Path) -> None:
    """TCP both ways and a connection from outside, through another project's user-mode network."""
    started: list[Mote] = []

    def start(script: str) -> Mote:
        args = "guest.ip=10.9.0.2/24 guest.gw=10.9.0.1"
        started.append(boot(mote, guest("cloud"), folder, f"unix:{passt}", args, script))
        return started[0]

    exchange(network, start, bytes(range(251)) * 16711, folder, "10.9.0.1")
    network.knock("127.0.0.1", 8099)
    started[0].wait_end()
