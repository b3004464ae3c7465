"""A trace from what a program that was killed has left.

Its directory of spools still lies beside the file that it meant to write. Everything that any of its
processes had recorded is in there.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from tines._pids import runs
from tines.tracing import export
from tines.tracing.recorder import SUFFIX
from tines.tracing.records import latest
from tines.tracing.session import MAX_FILE_BYTES, PACKED, WORK
from tines.tracing.spool import Role, SpoolReader

__all__ = ["recover"]


def recover(path: Path) -> Path:
    """Make the trace, take the directory away, and return the trace's path.

    Args:
        path: The file that the program was to write, or the directory itself.

    Raises:
        ValueError: nothing was left, or its program is still running.
        OSError: the trace cannot be written.
    """
    directory = path if path.is_dir() else _find(path)
    target = directory.parent / directory.name.partition(WORK)[0]
    begin = end = identity = 0
    for file in directory.glob(f"*{SUFFIX}"):
        try:
            reader = SpoolReader(file)
        except (ValueError, OSError):
            continue
        if reader.role is Role.MAIN:
            if sys.platform != "win32" and runs(reader.pid):
                reader.close()
                raise ValueError(
                    f"process {reader.pid} is still tracing into {directory}: it writes "
                    f"{target.name} when it ends"
                )
            begin, identity = reader.opened, reader.identity
        end = max([end, reader.opened, *(latest(record) for _, record in reader.records())])
        reader.close()
    unfinished = directory / "trace.json"
    packed = target.name.endswith(PACKED)
    export.write(
        directory, unfinished, (begin, end), identity, packed=packed, max_bytes=MAX_FILE_BYTES
    )
    os.replace(unfinished, target)
    shutil.rmtree(directory)
    return target


def _find(path: Path) -> Path:
    left = [
        each for each in path.parent.glob(f"{path.name}{WORK}*") if any(each.glob(f"*{SUFFIX}"))
    ]
    if not left:
        raise ValueError(
            f"there is nothing to recover: no program was killed while it traced {path}"
        )
    return max(left, key=lambda each: each.stat().st_mtime)
