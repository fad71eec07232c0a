# SPDX-License-Identifier: Apache-2.0
"""
The parts of tests/bench/run that measure disk and network: work.c is the guest, marks.c the clock.

Each round is an emulated host of its own, in which mote and then QEMU's microvm run the same kernel and the same guest
program. Such a host is known to hang in two rounds of five under long loops of disk or network: a round has ROUND_S of
real time (more where the machine is busy) and is repeated up to ATTEMPTS times, which is reported; rounds that end
agree within 1 %. What a round found before it hung is kept.
"""
from __future__ import annotations

import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parent.parent
ROUND_S = 100
ATTEMPTS = 5
VIRTUAL_S = 1000  # for one guest, by the leaping clock
RAM_MIB = 128
DISK_MIB = 64
TAP, HOST_ADDRESS, PREFIX = "bench0", "172.31.0.1", 30
MAC = "06:00:ac:1f:00:02"
REQUESTS = 20000  # DEEP_READS of work.c
SAMPLE_NS = 10007  # of marks.c
WORKS = {"disk": ("disk", "deep"), "net": ("net",)}

# (phase of work.c, row of the table)
ROWS = {
    "seqread": "64 MiB sequential read by 128 KiB",
    "randread": "2000 random 4 KiB reads, one at a time",
    "seqwrite": "32 MiB sequential write + fsync",
    "out": "TCP 64 MiB guest to host",
    "in": "TCP 64 MiB host to guest",
    "roundtrip": "2000 TCP round trips of one byte",
}
DEEP_ROW = "host instructions per 4 KiB read, 32 deep"
# The same, measured once with the peer's own binary, of the first-try tiny 6.1 kernel: must, reach for.
TARGETS = {
    ROWS["seqread"]: ("ms virtual", 50, 30),
    ROWS["randread"]: ("ms virtual", 85, 70),
    ROWS["seqwrite"]: ("ms virtual", 30, 18),
    ROWS["out"]: ("ms virtual", 95, 75),
    ROWS["in"]: ("ms virtual", 80, 65),
    ROWS["roundtrip"]: ("ms virtual", 175, 145),
    DEEP_ROW: ("instr. of user space", 1500, 800),
}
PARTS = {"disk": [ROWS["seqread"], ROWS["randread"], ROWS["seqwrite"], DEEP_ROW],
         "net": [ROWS["out"], ROWS["in"], ROWS["roundtrip"]]}


def limit_s() -> int:
    """Real seconds for one round: more where other programs have the CPUs."""
    return int(ROUND_S * min(4.0, max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))))


class Failed(Exception):
    """A part could not be measured; the text says why."""


def collect(part: str, share: pathlib.Path, rounds: int, peer: bool) -> dict:
    """Runs emulated hosts until there are enough rounds of each VMM, or ATTEMPTS in a row found nothing new."""
    save = share / "result.json"
    result: dict = {"mote": [], "qemu": [], "refused": {}, "repeats": 0, "said": ""}
    save.write_text(json.dumps(result))
    wanted = {"mote": rounds, "qemu": 1 if peer else 0}
    idle = 0
    while any(len(result[vmm]) < wanted[vmm] for vmm in wanted) and idle < ATTEMPTS:
        missing = [vmm for vmm in wanted if len(result[vmm]) < wanted[vmm]]
        done = subprocess.run(
            [TOP / "tests/testbed/nested-host", "--virtual-time", "--time", str(limit_s()), "--once",
             "--memory", "2048", "--share", share, f"python3 -B {HERE / 'run'} --inside {part} --vmm {','.join(missing)}"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
        before, result = result, json.loads(save.read_text())
        idle = 0 if any(len(result[vmm]) > len(before[vmm]) for vmm in wanted) else idle + 1
        for vmm in result["refused"]:
            wanted[vmm] = 0
        if done.returncode:
            result["repeats"] += 1
            result["said"] = (done.stdout + done.stderr).strip()[-300:]
            save.write_text(json.dumps(result))
            print(f"bench: {part}: a round did not end well ({done.returncode}), repeated", file=sys.stderr)
    return result


def median(runs: list[dict], phase: str, key: str) -> float:
    return statistics.median(run[phase][key] for run in runs)


def beside(result: dict, phase: str) -> str:
    """What stands beside mote's figure: its CPU time and spread, and the peer."""
    walls = [run[phase]["wall_us"] for run in result["mote"]]
    text = f"CPU {median(result['mote'], phase, 'cpu_us') / 1e3:.1f} ms"
    text += f", loop thread {median(result['mote'], phase, 'loop_ns') / 1e6:.1f}"
    if len(walls) > 1:
        text += f", {len(walls)} rounds +-{(max(walls) - min(walls)) / 2 / statistics.median(walls):.1%}"
    if result["qemu"]:
        text += f"; QEMU microvm {median(result['qemu'], phase, 'wall_us') / 1e3:.0f} ms"
        text += f" (CPU {median(result['qemu'], phase, 'cpu_us') / 1e3:.0f})"
    return text


def deep_row(result: dict) -> tuple[str, float, str]:
    """User space is counted by sampling, for the emulated CPU counts no instructions by mode."""
    sample, plain = "deepsample", "deep"
    user = statistics.median(run[sample]["user_samples"] * SAMPLE_NS / REQUESTS for run in result["mote"])
    loop = median(result["mote"], plain, "loop_ns") / REQUESTS
    wall = median(result["mote"], plain, "wall_us") * 1e3 / REQUESTS
    text = f"of the loop thread; with its system calls {loop:.0f}; start to end {wall:.0f} a request"
    if result["qemu"]:
        text += f"; QEMU microvm {median(result['qemu'], plain, 'wall_us') * 1e3 / REQUESTS:.0f}"
    return DEEP_ROW, user, text


def measure(part: str, options, out: pathlib.Path, kernel: pathlib.Path, copy) -> list[tuple[str, float, str]]:
    share = out / part
    shutil.rmtree(share, ignore_errors=True)
    share.mkdir(parents=True)
    for source, name in ((options.mote, "mote"), (out / "marks", "marks"), (out / "work.cpio", "initrd.cpio"),
                         (kernel, "vmlinux")):
        copy(source, share / name)
    result = collect(part, share, options.rounds or 2, not options.no_peer)
    if not result["mote"]:
        raise Failed(result["refused"].get("mote") or f"no round ended in {ATTEMPTS} attempts: {result['said']}")
    if "qemu" in result["refused"]:
        print(f"bench: {part}: QEMU microvm {result['refused']['qemu']}", file=sys.stderr)
    rows = [(ROWS[phase], median(result["mote"], phase, "wall_us") / 1e3, beside(result, phase))
            for phase in result["mote"][0] if phase in ROWS]
    if "deepsample" in result["mote"][0]:
        rows.append(deep_row(result))
    if result["repeats"]:
        rows[0] = (*rows[0][:2], rows[0][2] + f"; {result['repeats']} rounds repeated")
    return rows


# ---- inside the emulated host -------------------------------------------------------------------------------------

def mote_argv(folder: pathlib.Path, part: str, boot_args: str) -> list[str]:
    config = {"boot-source": {"kernel_image_path": str(folder / "vmlinux"), "initrd_path": str(folder / "initrd.cpio"),
                              "boot_args": f"{boot_args} reboot=k work={','.join(WORKS[part])}"},
              "machine-config": {"vcpu_count": 1, "mem_size_mib": RAM_MIB}, "drives": []}
    if part == "disk":
        config["drives"] = [{"drive_id": "disk", "path_on_host": str(folder / "disk.raw"), "is_root_device": False,
                             "is_read_only": False, "cache_type": "Writeback"}]
    else:
        config["network-interfaces"] = [{"iface_id": "net", "host_dev_name": TAP, "guest_mac": MAC}]
    path = folder / f"{part}.json"
    path.write_text(json.dumps(config))
    return [str(folder / "mote"), "--no-api", "--config-file", str(path)]


def qemu_argv(folder: pathlib.Path, part: str, boot_args: str) -> list[str]:
    # Without ACPI it names its devices on the command line, which is where this kernel looks for them.
    argv = ["qemu-system-x86_64", "-M", "microvm,acpi=off,x-option-roms=off,pit=off,pic=off,rtc=off,isa-serial=on",
            "-accel", "kvm", "-cpu", "host", "-smp", "1", "-m", str(RAM_MIB), "-nodefaults", "-no-user-config",
            "-nographic", "-serial", "stdio", "-no-reboot", "-kernel", str(folder / "vmlinux"),
            "-initrd", str(folder / "initrd.cpio"), "-append", f"{boot_args} reboot=t work={','.join(WORKS[part])}"]
    if part == "disk":
        return [*argv, "-drive", f"id=disk,file={folder / 'disk.raw'},format=raw,if=none,cache=writeback",
                "-device", "virtio-blk-device,drive=disk"]
    return [*argv, "-netdev", f"tap,id=net,ifname={TAP},script=no,downscript=no",
            "-device", f"virtio-net-device,netdev=net,mac={MAC}"]


def run_marks(folder: pathlib.Path, part: str, argv: list[str]) -> dict:
    listen = ["-l", HOST_ADDRESS] if part == "net" else []
    done = subprocess.run([folder / "marks", "-t", str(VIRTUAL_S), *listen, *argv], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise Failed(f"{pathlib.Path(argv[0]).name}: {done.stderr.strip()[-200:]}")
    phases = {}
    for line in done.stdout.splitlines():
        name, *words = line.split()
        phases[name] = {words[i]: float(words[i + 1]) for i in range(0, len(words), 2)}
    return phases


def inside(part: str, vmms: list[str], copy) -> None:
    share = pathlib.Path(os.environ["SHARE"])
    folder = pathlib.Path(tempfile.mkdtemp(prefix="bench."))
    for name in ("mote", "marks", "initrd.cpio", "vmlinux"):
        copy(share / name, folder / name)  # reading them over 9p would cost more than the boot
    os.environ["TZ"] = "UTC"  # or the C library reads /etc/localtime, over 9p
    with open(folder / "disk.raw", "wb") as disk:
        for _ in range(DISK_MIB):
            disk.write(bytes(1 << 20))  # no holes: tmpfs has all its pages before the guest runs
    if part == "net":
        for words in (f"tuntap add {TAP} mode tap vnet_hdr", f"address add {HOST_ADDRESS}/{PREFIX} dev {TAP}",
                      f"link set {TAP} up"):
            subprocess.run(["ip", *words.split()], check=True)
    boot_args = "console=ttyS0 quiet loglevel=0 panic=1"
    argv = {"mote": mote_argv, "qemu": qemu_argv}
    save = share / "result.json"
    result = json.loads(save.read_text())
    for vmm in vmms:
        if vmm == "qemu":  # its libraries come over 9p: the first time not while it is measured
            subprocess.run(["qemu-system-x86_64", "--version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                           check=False)
        started = time.monotonic()
        try:
            phases = run_marks(folder, part, argv[vmm](folder, part, boot_args))
        except (Failed, OSError) as why:  # that is not the emulator's hanging: another round would find the same
            result["refused"][vmm] = f"after {time.monotonic() - started:.1f} s virtual: {why}"
        else:
            result[vmm].append(phases)
        save.write_text(json.dumps(result))
