"""What the pools of these tests run in their workers."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any


def square(x: int) -> int:
    return x * x


def fail_at(bad: int, x: int) -> int:
    if x == bad:
        raise ValueError(f"no {x}")
    return x


def end_at(bad: int, x: int) -> int:
    if x == bad:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def mark_and_nap(directory: str, name: object, seconds: float) -> None:
    """Leave a file when begun, and another when not interrupted."""
    Path(directory, f"{name}.begun").touch()
    time.sleep(seconds)
    Path(directory, f"{name}.done").touch()


def end_once(path: str) -> int:
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return os.getpid()
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


class NoReturn:
    """Pickles, but does not unpickle."""

    def __reduce__(self) -> Any:
        return int, ("no number",)


def unloadable_slowly(x: int) -> Any:
    time.sleep(0.06)
    return NoReturn() if x == 0 else x


def give_up() -> None:
    os._exit(3)


def length_after_a_while(data: bytes) -> int:
    time.sleep(0.01)
    return len(data)
