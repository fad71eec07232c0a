#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""with_tap.py FD NAME FLAGS ADDRESS COMMAND...: open a new tap as descriptor FD, give it ADDRESS, and become COMMAND.

What whoever hands a tap to mote does. FLAGS: names of what to add to IFF_TAP, joined by commas, or `-`.
"""

import fcntl
import os
import struct
import subprocess
import sys

TUNSETIFF = 0x400454CA
FLAG = {"tun": 0x0001 - 0x0002, "no_pi": 0x1000, "vnet_hdr": 0x4000}

number, name, flags, address = sys.argv[1:5]
tap = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", name.encode(), 0x0002 + sum(FLAG[f] for f in flags.split(",") if f != "-")))
subprocess.run(["ip", "address", "add", address, "dev", name], check=True)
subprocess.run(["ip", "link", "set", name, "up"], check=True)
os.dup2(tap, int(number))
os.close(tap)
os.execvp(sys.argv[5], sys.argv[5:])
