#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The host's side of the TCP tests, run in the network namespace of the TAP: tcp_peer.py send|receive|late PORT [FILE].

`receive` takes one connection and prints the SHA-256 of what came; `send` gives FILE to the one that connects and
prints its SHA-256. `late` receives, but reads nothing before FILE exists.
"""

import hashlib
import os
import socket
import sys
import time

listener = socket.create_server(("0.0.0.0", int(sys.argv[2])))
print("ready", flush=True)
connection, _ = listener.accept()
digest = hashlib.sha256()
while sys.argv[1] == "late" and not os.path.exists(sys.argv[3]):
    time.sleep(0.1)
if sys.argv[1] != "send":
    while piece := connection.recv(1 << 20):
        digest.update(piece)
else:
    with open(sys.argv[3], "rb") as file:
        data = file.read()
    digest.update(data)
    connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)
connection.close()
print(digest.hexdigest(), flush=True)
