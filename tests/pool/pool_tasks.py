"""Functions that the tests have pools run; importable by spawned workers."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any


def square(x: int) -> int:
    return x * x


def add(x: int, y: int = 0) -> int:
    return x + y


def pid(*_: Any) -> int:
    return os.getpid()


def nap(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def hold(gate: str, value: Any = None) -> Any:
    """Return when a file is there."""
    while not Path(gate).exists():
        time.sleep(0.002)
    return value


class HeldWhenUnpickled:
    """Whoever unpickles it waits for a file."""

    def __init__(self, gate: str) -> None:
        self.gate = gate

    def __reduce__(self) -> Any:
        return hold, (self.gate,)


def fail(message: str = "boo") -> None:
    raise KeyError(message)


def fail_at(bad: int, x: int) -> int:
    if x == bad:
        raise ValueError(f"no {x}")
    return x


def leave_mark(directory: str, name: object) -> int:
    """Leave a file, one more for each run, and return how many there are."""
    for number in range(1000):
        try:
            os.close(os.open(f"{directory}/{name}.{number}", os.O_CREAT | os.O_EXCL))
            return number + 1
        except FileExistsError:
            continue
    raise AssertionError


def mark_and_nap(directory: str, seconds: float) -> float:
    leave_mark(directory, "begun")
    return nap(seconds)


def end(how: str) -> None:
    """End this process."""
    if how == "exit":
        os._exit(7)
    if how == "sys.exit":
        sys.exit(7)
    if how == "segfault":
        ctypes.string_at(0)
    os.kill(os.getpid(), getattr(signal, how))
    time.sleep(30)


def end_at(bad: int, x: int) -> int:
    if x == bad:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def mark_and_end_at(directory: str, bad: int, x: int) -> int:
    leave_mark(directory, x)
    time.sleep(0.01)
    return end_at(bad, x)


def end_until(directory: str, runs: int) -> int:
    """Kill this process, but succeed at the given run."""
    count = leave_mark(directory, "run")
    if count < runs:
        os.kill(os.getpid(), signal.SIGKILL)
    return count


def fail_until(directory: str, runs: int) -> int:
    count = leave_mark(directory, "run")
    if count < runs:
        raise ConnectionError(f"run {count}")
    return count


def stubborn(seconds: float) -> None:
    """Catch everything that can be caught for a while."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            time.sleep(seconds)
        except BaseException:
            pass


def child_and_nap(path: str) -> None:
    """Start a process by other means, and hang, deaf to interrupts."""
    import subprocess

    code = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", code])
    Path(f"{path}.new").write_text(str(child.pid))
    os.replace(f"{path}.new", path)
    stubborn(60)


class Picky(Exception):
    """Does not unpickle: its constructor wants two arguments."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def raise_picky() -> None:
    raise Picky(1, 2)


class NoReturn:
    """Pickles, but does not unpickle."""

    def __reduce__(self) -> Any:
        return _refuse, ()


def _refuse() -> None:
    raise RuntimeError("refused to be unpickled")


class Leaver:
    """Whoever unpickles it is told to leave."""

    def __reduce__(self) -> Any:
        return sys.exit, ("left",)


def leaver(*_: Any) -> Leaver:
    return Leaver()


def leaver_at(which: int, x: int) -> Any:
    return Leaver() if x == which else x


class Arrival:
    """Counts in ``made`` how many of its kind were unpickled in this process."""

    made = 0

    def __init__(self, size: int) -> None:
        self.body = bytes(size)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        Arrival.made += 1


def unloadable_slowly(x: int) -> Any:
    time.sleep(0.06)
    return NoReturn() if x == 0 else x


class Mute(Exception):
    """Has no text."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


def raise_mute() -> None:
    raise Mute


def unloadable() -> NoReturn:
    return NoReturn()


class Deadly:
    """Kills the process that pickles it."""

    def __reduce__(self) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)
        return object, ()


def deadly_result() -> Deadly:
    return Deadly()


def unpicklable() -> Any:
    return threading.Lock()


state: dict[str, Any] = {}


def set_state(key: str, value: Any) -> None:
    state[key] = value


def get_state(key: str) -> Any:
    return state.get(key)


def broken_initializer() -> None:
    raise RuntimeError("no licence")


def deadly_initializer() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def nested(n: int) -> list[int]:
    from tines.pool import Pool

    with Pool(2) as pool:
        return pool.map(square, range(n))


def total(array: Any) -> float:
    return float(array.sum())


def total_until(directory: str, runs: int, array: Any) -> float:
    """The sum, by the given run; the worker dies in those before."""
    end_until(directory, runs)
    return float(array.sum())


def scale(array: Any, factor: float) -> Any:
    return array * factor


def scale_in_place(constant: Any, factor: float) -> float:
    """What it returns shows whether an earlier call was here."""
    constant *= factor
    return float(constant[0])


def total_of(constant: Any, x: int) -> float:
    return float(constant[0]) + x


def memory_of(constant: Any, x: int) -> tuple[int, int]:
    """Return this process's private memory in bytes after touching the constant, and its pid."""
    constant.sum()
    time.sleep(0.05)
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return os.getpid(), int(line.split()[1]) * 1024
    return os.getpid(), 0


def grow(megabytes: int, seconds: float) -> int:
    """Take memory, and keep it for a while."""
    taken = bytearray(megabytes << 20)
    for place in range(0, len(taken), 4096):
        taken[place] = 1
    time.sleep(seconds)
    return len(taken)


def variable(name: str) -> str | None:
    return os.environ.get(name)


def own_variables(*names: str) -> tuple[int, list[str | None]]:
    time.sleep(0.05)
    return os.getpid(), [os.environ.get(name) for name in names]


def blas_threads() -> set[int]:
    """How many threads the linear algebra of numpy uses."""
    import numpy  # noqa: F401
    from threadpoolctl import threadpool_info

    return {each["num_threads"] for each in threadpool_info()}


def copy_and_stay(array: Any) -> float:
    copy = array.copy()
    time.sleep(60)
    return float(copy[0])


def burn(seconds: float) -> float:
    """Use so much processor time."""
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass
    return seconds
