# SPDX-License-Identifier: Apache-2.0
"""Debian's qemu-storage-daemon as a vhost-user-blk back end, and the images it serves."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

# Driver and options of qemu-img for each format that people have.
FORMATS = {
    "qcow2": ("qcow2", ""),
    "vmdk": ("vmdk", "subformat=monolithicSparse"),
    "vhd": ("vpc", "subformat=dynamic"),
    "vhdfixed": ("vpc", "subformat=fixed"),
    "raw": ("raw", ""),
}


def image_tool(*arguments: str | Path) -> str:
    done = subprocess.run(["qemu-img", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"qemu-img {arguments}: {done.stdout}{done.stderr}"
    return done.stdout


def options_of(name: str) -> list[str]:
    driver, options = FORMATS[name]
    return [driver, *(["-o", options] if options else [])]


class StorageDaemon:
    """One process that exports images: {name: (format, path)}, each on the socket FOLDER/NAME.vu."""

    def __init__(self, folder: Path, images: dict[str, tuple[str, Path]], read_only: bool = False) -> None:
        self.folder = folder
        self.command = ["qemu-storage-daemon"]
        writable = "off" if read_only else "on"
        for name, (kind, path) in images.items():
            driver = FORMATS[kind][0]
            self.command += [
                "--blockdev", f"driver=file,node-name={name}-file,filename={path},read-only={'on' if read_only else 'off'}",
                "--blockdev", f"driver={driver},node-name={name},file={name}-file,read-only={'on' if read_only else 'off'}",
                "--export", f"type=vhost-user-blk,id={name}-export,node-name={name},writable={writable},"
                f"addr.type=unix,addr.path={self.socket(name)}",
            ]  # fmt: skip
        self.names = list(images)
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def socket(self, name: str) -> Path:
        return self.folder / f"{name}.vu"

    def start(self) -> None:
        for name in self.names:
            self.socket(name).unlink(missing_ok=True)
        self.process = subprocess.Popen(self.command)
        end = time.monotonic() + 60
        while not all(self.socket(name).exists() for name in self.names):
            assert self.process.poll() is None, "qemu-storage-daemon ended"
            assert time.monotonic() < end, "qemu-storage-daemon does not listen"
            time.sleep(0.05)

    def stop(self, kill: bool = False) -> None:
        if self.process:
            if kill:
                self.process.kill()
            else:
                self.process.terminate()
            self.process.wait(60)
            self.process = None
