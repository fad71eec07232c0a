# SPDX-License-Identifier: Apache-2.0
"""Drives with a socket, as far as no guest driver is needed: what the API says of back ends that are not there."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mote_process import Mote, open_files
from storage_daemon import StorageDaemon, image_tool, options_of

pytestmark = pytest.mark.native_ok
Start = Callable[..., Mote]
Tiny = Callable[[str], Path]

PATCH = "Drive config error: Unable to patch the block device: Block: "
ADVICE = " Please verify the request arguments."
CREATE = "Drive config error: Unable to create the virtio block device: "


def drive(path: Path | str, **more: object) -> dict[str, object]:
    return {"drive_id": "a", "is_root_device": False, "socket": str(path), **more}


def test_refused_in_put(mote: Start, folder: Path) -> None:
    """A socket excludes what files have; one that nobody listens to is refused at once."""
    vm = mote()
    for more in ({"path_on_host": "/x"}, {"is_read_only": False}, {"rate_limiter": {}}, {"io_engine": "Sync"}):
        reply = vm.api.put("/drives/a", drive("/s", **more))
        assert (reply.status, reply.json["fault_message"]) == (400, f"{CREATE}Invalid block config.")
    reply = vm.api.put("/drives/a", drive(folder / "none"))
    assert reply.status == 400
    assert reply.json["fault_message"] == (
        f"{CREATE}Vhost user backend error: Vhost-user error: Failed to connect to UDS Unix stream: "
        f"No such file or directory (os error 2) {folder}/none"
    )
    assert vm.api.get("/vm/config").json["drives"] == []


def test_silent_back_end(mote: Start, tiny: Tiny, folder: Path) -> None:
    """It accepts and never answers: InstanceStart is refused soon, and works without the drive."""
    vm = mote()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(folder / "vu"))
        listener.listen(1)
        vm.api.must("PUT", "/drives/a", drive(folder / "vu"))
        vm.api.boot_source(tiny("tick"))
        begin = time.monotonic()
        reply = vm.api.put("/actions", {"action_type": "InstanceStart"})
        assert reply.status == 400
        assert f"drive a: the vhost-user back end at {folder}/vu does not answer" in reply.json["fault_message"]
        assert time.monotonic() - begin < 30
    (folder / "disk").write_bytes(bytes(4096))
    vm.api.drive("a", folder / "disk")
    vm.api.start()


@pytest.fixture
def daemon(folder: Path) -> Iterator[StorageDaemon]:
    image_tool("create", "-q", "-f", *options_of("vmdk"), folder / "a.vmdk", "16M")
    daemon = StorageDaemon(folder, {"a": ("vmdk", folder / "a.vmdk")})
    yield daemon
    daemon.stop(kill=True)


def memfds(vm: Mote) -> int:
    return sum("memfd:guest" in name for name in open_files(vm.process.pid).values())


def test_shared_memory_only_with_a_socket(mote: Start, tiny: Tiny, folder: Path, daemon: StorageDaemon) -> None:
    (folder / "disk").write_bytes(bytes(4096))
    for number, body in enumerate((drive(daemon.socket("a")), {"drive_id": "a", "is_root_device": False, "path_on_host": f"{folder}/disk"})):
        vm = mote()
        vm.api.must("PUT", "/drives/a", body)
        vm.api.boot_source(tiny("tick"))
        vm.api.start()
        vm.wait_text("tick")
        assert memfds(vm) == 1 - number
        vm.close()


def test_patch(mote: Start, tiny: Tiny, folder: Path, daemon: StorageDaemon) -> None:
    """An empty one asks the back end again; it fails soon while that is stopped or gone, and works when it is back."""
    vm = mote("--metrics-path", str(folder / "metrics"))
    vm.api.must("PUT", "/drives/a", drive(daemon.socket("a")))
    vm.api.boot_source(tiny("tick"))
    vm.api.start()

    def patch(**more: object) -> tuple[int, str]:
        reply = vm.api.patch("/drives/a", {"drive_id": "a", **more})
        return reply.status, "" if reply.status == 204 else reply.json["fault_message"]

    def patch_until_it_works() -> None:
        end = time.monotonic() + 60
        while patch()[0] != 204:
            assert time.monotonic() < end
            time.sleep(0.1)

    patch_until_it_works()
    other = (400, f"{PATCH}Running method expected different backend.{ADVICE}")
    assert patch(path_on_host=str(folder / "disk")) == other
    assert patch(rate_limiter={"ops": {"size": 1, "refill_time": 1}}) == other

    assert daemon.process
    daemon.process.send_signal(signal.SIGSTOP)
    what = f"{PATCH}Vhost user backend error: Vhost-user error: the vhost-user back end at {daemon.socket('a')}"
    assert patch() == (400, f"{what} does not answer: Protocol error (os error 71){ADVICE}")
    assert patch() == (400, f"{what}: Socket not connected (os error 107){ADVICE}")
    assert vm.api.get("/").status == 200
    daemon.process.send_signal(signal.SIGCONT)
    patch_until_it_works()
    daemon.stop(kill=True)
    assert patch()[0] == 400
    daemon.start()
    patch_until_it_works()

    vm.api.must("PUT", "/actions", {"action_type": "FlushMetrics"})
    line = json.loads((folder / "metrics").read_text().splitlines()[-1])
    fields = ["activate_fails", "cfg_fails", "config_change_time_us", "init_time_us", "activate_time_us"]
    assert sorted(line["vhost_user_block_a"]) == sorted(fields)
    assert line["vhost_user_block_a"]["config_change_time_us"] > 0
    assert "vhost_user_block" not in line
