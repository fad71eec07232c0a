#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The host's side of the TCP tests, run in the network namespace of the TAP: tcp_peer.py send|receive PORT [FILE].

`receive` takes one connection and prints the SHA-256 of what came; `send` gives FILE to the one that connects and
prints its SHA-256.
"""

import hashlib
import socket
import sys

listener = socket.create_server(("0.0.0.0", int(sys.argv[2])))
print("ready", flush=True)
connection, _ = listener.accept()
digest = hashlib.sha256()
if sys.argv[1] == "receive":
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
