"""Functions that pools on nodes run."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any


def square(x: int) -> int:
    return x * x


def node(_: Any = None) -> int:
    """The process that this worker was started by."""
    return os.getppid()


def begin(folder: str, number: int) -> int:
    """Note that a call has begun, once for each time, and end when it may."""
    handle = os.open(Path(folder) / "begun", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, f"{number}:{os.getpid()}:{os.getppid()}\n".encode())
    os.close(handle)
    gate = Path(folder) / "gate"
    while not gate.exists():
        time.sleep(0.002)
    return number


def begun(folder: Path) -> list[tuple[int, int, int]]:
    """Return what has begun: number, worker, agent."""
    file = folder / "begun"
    if not file.exists():
        return []
    lines = file.read_text().splitlines()
    return [(int(a), int(b), int(c)) for a, b, c in (line.split(":") for line in lines)]


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def total(array: Any) -> float:
    return float(array.sum())


def change(array: Any, value: int) -> Any:
    array[0] = value
    return array


def set_up(value: str) -> None:
    os.environ["ENGINE_TEST"] = value


def looked_up() -> str | None:
    return os.environ.get("ENGINE_TEST")


def fail_to_set_up() -> None:
    raise OSError("no license")


def lock_back() -> Any:
    import tines

    return tines.Queue()


def agents_on(dask_worker: Any) -> int:
    """How many agents a worker of Dask's has; it is run there by Dask."""
    return sum(name.startswith("tines") for name in dask_worker.plugins)
