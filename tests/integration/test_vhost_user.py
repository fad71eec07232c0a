# SPDX-License-Identifier: Apache-2.0
"""Drives with a socket, as far as no guest driver is needed: what the API says of back ends that are not there."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mote_process import Mote

pytestmark = pytest.mark.native_ok
Start = Callable[..., Mote]
Tiny = Callable[[str], Path]

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
