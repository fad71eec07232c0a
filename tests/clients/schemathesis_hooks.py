# SPDX-License-Identifier: Apache-2.0
"""What schemathesis cannot know: files that exist, and that an id stands twice in a request.

No path of its invention reaches mote: that would create files wherever its rights allow.
"""

import os
from pathlib import Path

import schemathesis

FILES = Path(os.environ["MOTE_FILES"])
EXISTING = {"kernel_image_path": "kernel", "path_on_host": "disk", "log_path": "log", "metrics_path": "metrics", "serial_out_path": "serial"}


def _path(key, value):
    """Every other one exists."""
    name = EXISTING.get(key)
    if name and len(value) % 2 == 0:
        return str(FILES / name)
    return str(FILES / "missing" / str(len(value)))


@schemathesis.hook
def before_call(context, case, kwargs):
    if not isinstance(case.body, dict):
        return
    for key, value in case.body.items():
        if isinstance(value, str) and (key in EXISTING or "path" in key or key == "socket"):
            case.body[key] = _path(key, value)
    for key in ("drive_id", "iface_id"):
        ident = (case.path_parameters or {}).get(key)
        if isinstance(case.body.get(key), str) and isinstance(ident, str):
            case.body[key] = ident
