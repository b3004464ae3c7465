"""``tines doctor``: what tines finds on this machine, and what is the matter with it.

``examine()`` gathers plain data and prints nothing; ``advice()`` reads that data alone, so it can
be tested with the data of any machine.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import tines
from tines import _config, transport
from tines.process import liveness, stacks

__all__ = ["advice", "examine", "run"]

EXTRAS = {
    "cloudpickle": "lambdas, closures and functions of a notebook",
    "numpy": "arrays, which travel with a single copy",
    "rich": "progress bars, tines top",
    "psutil": "memory and cores in statistics, tines top",
    "starlette": "tines dashboard",
    "uvicorn": "tines dashboard",
}
"""What is not part of tines and makes it better, and what for."""

MEGABYTE = 1024 * 1024

Report = dict[str, dict[str, Any]]


def run(*, as_json: bool) -> int:
    """Print the report; return the exit code: 1 if tines cannot work as it is set up here."""
    report = examine()
    hints = advice(report)
    if as_json:
        print(json.dumps({**report, "advice": hints}, indent=2))
    else:
        print(_render(report, hints))
    return 1 if report["transport"]["name"] is None else 0


def examine() -> Report:
    """Gather everything, section by section."""
    return {
        "tines": {
            "version": tines.__version__,
            "path": str(Path(tines.__file__).parent),
            "TINES_NATIVE": os.environ.get("TINES_NATIVE") or None,
            "TINES_INSIGHT": os.environ.get("TINES_INSIGHT") or None,
            "TINES_SPARES": os.environ.get("TINES_SPARES") or None,
            "TINES_TENSORS": os.environ.get("TINES_TENSORS") or None,
        },
        "interpreter": {
            "version": f"{platform.python_implementation()} {platform.python_version()}",
            "executable": sys.executable,
            "free-threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
            "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        },
        "transport": _transport(),
        "processes": _processes(),
        "cores": _cores(),
        "memory": _memory(),
        "limits": _limits(),
        "extras": {name: _version(name) for name in EXTRAS},
    }


def advice(report: Report) -> list[str]:
    """Say what is the matter, and what to do about it."""
    return list(_advice(report))


def _advice(report: Report) -> Iterator[str]:
    way, cores, limits, memory = (
        report[name] for name in ("transport", "cores", "limits", "memory")
    )
    if way["name"] is None:
        yield f"No transport can be used: {way['why']}"
    elif way["name"] == "pipe" and str(report["tines"]["TINES_NATIVE"]).lower() != "off":
        yield (
            "Messages go through the pipe transport, which is as safe as the native one but "
            f"slower: {way['why']}."
        )
        if way["can be built"]:
            yield (
                "To build it, install a C compiler and Python's headers, then run: "
                "TINES_NATIVE=require pip install --force-reinstall --no-deps --no-binary tines tines"
            )
    try:
        _config.insight()
    except ValueError as error:
        yield f"No pool and no queue can be made: {error}"
    if cores["machine"] and cores["usable"] < cores["machine"]:
        yield (
            f"This process may use {cores['usable']} of the machine's {cores['machine']} cores: "
            "tines.cpu_count() says so, os.cpu_count() does not."
        )
    files = limits["open files"]
    if files and files["soft"] is not None and files["soft"] < 1024:
        hard = files["hard"] or 4096
        yield f"Only {files['soft']} files may be open, and each child takes a few: " + (
            f"raise it with `ulimit -n {hard}`."
            if hard > files["soft"]
            else "the hard limit is no higher, so an administrator has to raise it."
        )
    shared = memory["/dev/shm free"]
    if not report["processes"]["system semaphores"]:
        what = "multiprocessing.shared_memory cannot be used"
        if way["name"] == "pipe":
            what += ", nor can locks, semaphores, conditions, events, barriers, Value and Array"
        yield (
            "There are no system semaphores here, on Linux for want of a /dev/shm that can be written to: "
            f"{what}. Queues, pools and processes of tines need neither."
        )
    elif shared is not None and shared < 64 * MEGABYTE:
        yield (
            f"/dev/shm has {shared // MEGABYTE} MB left, which limits shared_memory and Array, but "
            "not tines' queues: in Docker, start with --shm-size=1g."
        )
    limit, total = memory["cgroup limit"], memory["total"]
    if limit is not None and total and limit < total:
        yield (
            f"The container may use {limit // MEGABYTE} MB of memory; beyond that the kernel kills "
            "a process."
        )
    if report["extras"]["cloudpickle"] is None:
        yield "cloudpickle is missing, which tines needs: pip install cloudpickle"


def _transport() -> dict[str, object]:
    try:
        choice = transport.choice()
        transport.chosen()
    except (ImportError, ValueError) as error:
        return {"name": None, "why": str(error), "can be built": False}
    return {
        "name": choice.name,
        "why": choice.reason,
        "can be built": sys.platform == "linux" and find_spec("tines._native") is None,
    }


def _processes() -> dict[str, object]:
    methods = tines.get_all_start_methods()
    default = tines.get_start_method(allow_none=True) or methods[0]
    pidfd = False
    if sys.platform != "win32":
        from tines.process.start import popen

        pidfd = popen.HAVE_PIDFD
    return {
        "start methods": [default, *(method for method in methods if method != default)],
        "pidfd": pidfd,
        "bound to their parent by": "a signal of the kernel"
        if liveness.is_told_by_kernel()
        else "a thread",
        "can be asked for stacks": stacks.STACKS_SIGNAL is not None
        and os.path.exists("/proc/self/status"),
        "system semaphores": _semaphores(),
    }


def _semaphores() -> bool:
    """Whether the system makes semaphores with a name, as locks of the pipe transport are."""
    try:
        from multiprocessing import synchronize as _std

        std: Any = _std
        std._multiprocessing.SemLock(1, 1, 1, f"/tines-doctor-{os.getpid()}", True)
    except (ImportError, OSError):
        return False
    return True


def _cores() -> dict[str, object]:
    affinity = None
    if hasattr(os, "sched_getaffinity"):
        affinity = len(os.sched_getaffinity(0))
    return {"usable": _config.available_cpus(), "machine": os.cpu_count(), "affinity": affinity}


def _memory() -> dict[str, object]:
    total = available = None
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines}
        total, available = kilobytes["MemTotal"] * 1024, kilobytes["MemAvailable"] * 1024
    except (OSError, KeyError, ValueError, IndexError):
        pass
    try:
        shared = shutil.disk_usage("/dev/shm").free
    except OSError:
        shared = None
    return {
        "total": total,
        "available": available,
        "cgroup limit": _config.memory_limit(),
        "/dev/shm free": shared,
    }


def _limits() -> dict[str, object]:
    try:
        import resource
    except ImportError:
        return {"open files": None, "processes": None}

    def limit(kind: int) -> dict[str, int | None]:
        soft, hard = (
            None if value == resource.RLIM_INFINITY else value for value in resource.getrlimit(kind)
        )
        return {"soft": soft, "hard": hard}

    return {
        "open files": limit(resource.RLIMIT_NOFILE),
        "processes": limit(resource.RLIMIT_NPROC),
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _render(report: Report, hints: list[str]) -> str:
    width = max(len(key) for section in report.values() for key in section) + 2
    lines = []
    for title, section in report.items():
        lines.append(title)
        for key, value in section.items():
            text = _text(key, value)
            if title == "extras":
                text = f"{value or '-':<10} {EXTRAS[key]}"
            lines.append(f"  {key:<{width}}{text}")
        lines.append("")
    lines += [f"* {hint}" for hint in hints] or ["No problems found."]
    return "\n".join(lines)


def _text(key: str, value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(value)
    if isinstance(value, dict):
        return ", ".join(f"{name} {entry or 'unlimited'}" for name, entry in value.items())
    if isinstance(value, int) and value >= MEGABYTE:
        return f"{value / MEGABYTE:,.0f} MB"
    return str(value)
