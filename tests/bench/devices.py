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
PROGRAMS_S = 240  # the same for fio and iperf3; their round is not by virtual time, in which it never ended
PROGRAMS_ATTEMPTS = 2
PROGRAM_RUN_S = 5  # of each job of fio and each way of iperf3: slow as the host is, the round ends
VIRTUAL_S = 1000  # for one guest, by the leaping clock
RAM_MIB = 128
DISK_MIB = 64
TAP, HOST_ADDRESS, GUEST_ADDRESS, PREFIX = "bench0", "172.31.0.1", "172.31.0.2", 30
MAC = "06:00:ac:1f:00:02"
REQUESTS = 20000  # DEEP_READS of work.c
WORKS = {"disk": ("disk", "deep"), "net": ("net",)}
REALISTIC = "realistic"
REALISTIC_RAM_MIB = 256
IPERF_LIBRARIES = ("libiperf.so.0", "libcrypto.so.3", "libsctp.so.1", "libm.so.6", "libc.so.6")

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
# What programs of others say in a guest of Debian's kernel and packages; for information.
PROGRAM_ROWS = {
    "seqread": "fio: read in sequence by 128 KiB, 4 deep",
    "randread": "fio: random reads of 4 KiB, 32 deep",
    "randwrite": "fio: random writes of 4 KiB, 32 deep, fsync",
    "out": "iperf3: guest to host",
    "in": "iperf3: host to guest",
}
TARGETS |= {row: ("MiB/s" if row[0] == "f" else "Mbit/s", None, None) for row in PROGRAM_ROWS.values()}
PARTS = {"disk": [ROWS["seqread"], ROWS["randread"], ROWS["seqwrite"], DEEP_ROW],
         "net": [ROWS["out"], ROWS["in"], ROWS["roundtrip"]],
         REALISTIC: list(PROGRAM_ROWS.values())}

# Run by the init of resources/guest; the tools' disk is told from the other one by its size.
SCRIPT = f"""
for b in vda vdb; do
    if [ $(cat /sys/block/$b/size) = {DISK_MIB * 2048} ]; then d=$b; else mount -t ext4 -o ro /dev/$b /mnt; fi
done
for m in proc sys dev; do mount --bind /$m /mnt/$m; done
mount -t tmpfs tmp /mnt/tmp
disk() {{
    n=$1
    shift
    chroot /mnt fio --name=$n --filename=/dev/$d --direct=1 --ioengine=libaio --size={DISK_MIB}m --randrepeat=1 \\
        --time_based --runtime={PROGRAM_RUN_S} --output-format=terse --terse-version=3 "$@" |
        awk -F ';' '$1 == 3 {{ print "R '$n' " ($7 + $48) / 1024, $5 }}'
}}
disk seqread --rw=read --bs=128k --iodepth=4
disk randread --rw=randread --bs=4k --iodepth=32
disk randwrite --rw=randwrite --bs=4k --iodepth=32 --end_fsync=1
for way in out in; do
    more=
    [ $way = out ] || more=-R
    chroot /mnt iperf3 -c {HOST_ADDRESS} -t {PROGRAM_RUN_S} -f m $more | awk '/receiver/ {{ print "R '$way' " $7, 0 }}'
done
echo READY
"""


def patience_s(idle_s: int) -> int:
    """Real seconds for what takes @idle_s at most on an idle machine: more where other programs have the CPUs."""
    return int(idle_s * min(4.0, max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))))


class Failed(Exception):
    """A part could not be measured; the text says why."""


def collect(part: str, share: pathlib.Path, rounds: int, peer: bool) -> dict:
    """Runs emulated hosts until there are enough rounds of each VMM, or ATTEMPTS in a row found nothing new."""
    save = share / "result.json"
    result: dict = {"mote": [], "qemu": [], "refused": {}, "repeats": 0, "said": ""}
    save.write_text(json.dumps(result))
    wanted = {"mote": rounds, "qemu": 1 if peer else 0}
    attempts = PROGRAMS_ATTEMPTS if part == REALISTIC else ATTEMPTS
    idle = 0
    while any(len(result[vmm]) < wanted[vmm] for vmm in wanted) and idle < attempts:
        missing = [vmm for vmm in wanted if len(result[vmm]) < wanted[vmm]]
        done = subprocess.run(
            [TOP / "tests/testbed/nested-host", *([] if part == REALISTIC else ["--virtual-time"]),
             "--time", str(patience_s(PROGRAMS_S if part == REALISTIC else ROUND_S)), "--once", "--memory", "2048",
             "--share", share, f"python3 -B {HERE / 'run'} --inside {part} --vmm {','.join(missing)}"],
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
    """User space's share is sampled, for the emulated CPU counts no instructions by mode."""
    sample, plain = "deepsample", "deep"
    loop = median(result["mote"], plain, "loop_ns") / REQUESTS
    user = loop * statistics.median(run[sample]["user_samples"] / run[sample]["samples"] for run in result["mote"])
    wall = median(result["mote"], plain, "wall_us") * 1e3 / REQUESTS
    text = f"of the loop thread; with its system calls {loop:.0f}; start to end {wall:.0f} a request"
    if result["qemu"]:
        text += f"; QEMU microvm {median(result['qemu'], plain, 'wall_us') * 1e3 / REQUESTS:.0f}"
    return DEEP_ROW, user, text


def program_rows(result: dict) -> list[tuple[str, float, str]]:
    rows = []
    for phase, row in PROGRAM_ROWS.items():
        text = "real clock, interpreted; guest of Debian's kernel and packages"
        if result["qemu"]:
            text += f"; QEMU microvm {median(result['qemu'], phase, 'rate'):.3g}"
        rows.append((row, median(result["mote"], phase, "rate"), text))
    return rows


def realistic_files(share: pathlib.Path, kernel: pathlib.Path, copy) -> None:
    """Debian's guest with fio and iperf3 on a second disk, and the script that calls them."""
    tools = subprocess.run([TOP / "resources/guest/build-tools"], stdout=subprocess.PIPE, text=True, check=False)
    if tools.returncode:
        raise Failed("resources/guest/build-tools could not make the disk with fio and iperf3")
    disk = pathlib.Path(tools.stdout.split()[-1])
    copy(disk, share / "tools.ext4")
    for name in ("bin/iperf3", "lib/ld-linux-x86-64.so.2", *(f"lib/{library}" for library in IPERF_LIBRARIES)):
        (share / "tools" / name).parent.mkdir(parents=True, exist_ok=True)
        copy(disk.parent / "tree" / name, share / "tools" / name)
    (share / "script").write_text(SCRIPT)
    subprocess.run([TOP / "resources/guest/add-script", kernel.parent / "initrd.cpio", share / "script",
                    share / "initrd.cpio"], check=True)


def measure(part: str, options, out: pathlib.Path, kernel: pathlib.Path, copy) -> list[tuple[str, float, str]]:
    share = out / part
    shutil.rmtree(share, ignore_errors=True)
    share.mkdir(parents=True)
    for source, name in ((options.mote, "mote"), (out / "marks", "marks"), (out / "work.cpio", "initrd.cpio"),
                         (kernel, "vmlinux")):
        copy(source, share / name)
    if part == REALISTIC:
        realistic_files(share, kernel, copy)
    result = collect(part, share, options.rounds or (1 if part == REALISTIC else 2), not options.no_peer)
    if not result["mote"]:
        raise Failed(result["refused"].get("mote") or f"no round ended: {result['said']}")
    if "qemu" in result["refused"]:
        print(f"bench: {part}: QEMU microvm {result['refused']['qemu']}", file=sys.stderr)
    if part == REALISTIC:
        return program_rows(result)
    rows = [(ROWS[phase], median(result["mote"], phase, "wall_us") / 1e3, beside(result, phase))
            for phase in result["mote"][0] if phase in ROWS]
    if "deepsample" in result["mote"][0]:
        rows.append(deep_row(result))
    if result["repeats"]:
        rows[0] = (*rows[0][:2], rows[0][2] + f"; {result['repeats']} rounds repeated")
    return rows


# ---- inside the emulated host -------------------------------------------------------------------------------------

def ram_mib(part: str) -> int:
    return REALISTIC_RAM_MIB if part == REALISTIC else RAM_MIB


def disks(part: str) -> list[str]:
    return {"disk": ["disk.raw"], "net": [], REALISTIC: ["tools.ext4", "disk.raw"]}[part]


def boot_args_of(part: str) -> str:
    args = "console=ttyS0 quiet loglevel=0 panic=1"
    if part == REALISTIC:
        return f"{args} guest.end=reboot guest.ip={GUEST_ADDRESS}/{PREFIX}"
    return f"{args} work={','.join(WORKS[part])}"


def mote_argv(folder: pathlib.Path, part: str) -> list[str]:
    config = {"boot-source": {"kernel_image_path": str(folder / "vmlinux"), "initrd_path": str(folder / "initrd.cpio"),
                              "boot_args": f"{boot_args_of(part)} reboot=k"},
              "machine-config": {"vcpu_count": 1, "mem_size_mib": ram_mib(part)},
              "drives": [{"drive_id": name.split(".")[0], "path_on_host": str(folder / name), "is_root_device": False,
                          "is_read_only": False, "cache_type": "Writeback"} for name in disks(part)]}
    if part != "disk":
        config["network-interfaces"] = [{"iface_id": "net", "host_dev_name": TAP, "guest_mac": MAC}]
    path = folder / f"{part}.json"
    path.write_text(json.dumps(config))
    return [str(folder / "mote"), "--no-api", "--config-file", str(path)]


def qemu_argv(folder: pathlib.Path, part: str) -> list[str]:
    # Without ACPI it names its devices on the command line: there the tuned kernel looks for them, and Debian's not.
    acpi = "on" if part == REALISTIC else "off"
    argv = ["qemu-system-x86_64", "-M", f"microvm,acpi={acpi},x-option-roms=off,pit=off,pic=off,rtc=off,isa-serial=on",
            "-accel", "kvm", "-cpu", "host", "-smp", "1", "-m", str(ram_mib(part)), "-nodefaults", "-no-user-config",
            "-nographic", "-serial", "stdio", "-no-reboot", "-kernel", str(folder / "vmlinux"),
            "-initrd", str(folder / "initrd.cpio"), "-append", f"{boot_args_of(part)} reboot=t"]
    for name in disks(part):
        argv += ["-drive", f"id={name},file={folder / name},format=raw,if=none,cache=writeback",
                 "-device", f"virtio-blk-device,drive={name}"]
    if part != "disk":
        argv += ["-netdev", f"tap,id=net,ifname={TAP},script=no,downscript=no",
                 "-device", f"virtio-net-device,netdev=net,mac={MAC}"]
    return argv


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


def run_programs(folder: pathlib.Path, argv: list[str]) -> dict:
    """A guest that runs SCRIPT, and the other end of its iperf3."""
    tools = folder / "tools"
    iperf = [tools / "lib/ld-linux-x86-64.so.2", "--library-path", tools / "lib", tools / "bin/iperf3", "-s"]
    with subprocess.Popen(iperf, stdout=subprocess.DEVNULL) as server:
        try:
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  text=True, check=False, timeout=PROGRAMS_S / 2)
        except subprocess.TimeoutExpired as why:
            raise Failed(f"no end; it said: {(why.stdout or b'')[-300:]!r}") from None
        finally:
            server.kill()
    lines = [line.split() for line in done.stdout.splitlines()]
    phases = {words[1]: {"rate": float(words[2])} for words in lines if words[:1] == ["R"] and words[3:] == ["0"]}
    if set(phases) != set(PROGRAM_ROWS):
        raise Failed(f"it said: {done.stdout.strip()[-400:]}{done.stderr.strip()[-100:]}")
    return phases


def inside(part: str, vmms: list[str], copy) -> None:
    share = pathlib.Path(os.environ["SHARE"])
    folder = pathlib.Path(tempfile.mkdtemp(prefix="bench."))
    for name in ("mote", "marks", "initrd.cpio", "vmlinux", *(["tools.ext4"] if part == REALISTIC else [])):
        copy(share / name, folder / name)  # reading them over 9p would cost more than the boot
    if part == REALISTIC:
        shutil.copytree(share / "tools", folder / "tools")
    os.environ["TZ"] = "UTC"  # or the C library reads /etc/localtime, over 9p
    with open(folder / "disk.raw", "wb") as disk:
        for _ in range(DISK_MIB):
            disk.write(bytes(1 << 20))  # no holes: tmpfs has all its pages before the guest runs
    # The first read of a page moves it among the host's pages; whichever VMM ran first would pay for that.
    (folder / "disk.raw").read_bytes()
    if part != "disk":
        for words in (f"tuntap add {TAP} mode tap vnet_hdr", f"address add {HOST_ADDRESS}/{PREFIX} dev {TAP}",
                      f"link set {TAP} up"):
            subprocess.run(["ip", *words.split()], check=True)
    argv = {"mote": mote_argv, "qemu": qemu_argv}
    save = share / "result.json"
    result = json.loads(save.read_text())
    for vmm in vmms:
        if vmm == "qemu":  # its libraries come over 9p: the first time not while it is measured
            subprocess.run(["qemu-system-x86_64", "--version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                           check=False)
        started = time.monotonic()
        try:
            command = argv[vmm](folder, part)
            phases = run_programs(folder, command) if part == REALISTIC else run_marks(folder, part, command)
        except (Failed, OSError) as why:  # that is not the emulator's hanging: another round would find the same
            result["refused"][vmm] = f"after {time.monotonic() - started:.1f} s there: {why}"
        else:
            result[vmm].append(phases)
        save.write_text(json.dumps(result))
