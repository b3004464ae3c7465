"""What the environment says: ``TINES_*``, and how many cores and how much memory there really are."""

from __future__ import annotations

import enum
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    _Choice = TypeVar("_Choice", bound="DiesWithParent | Insight | Native | Spares | Tensors")

__all__ = [
    "DiesWithParent",
    "Insight",
    "Native",
    "Spares",
    "Tensors",
    "available_cpus",
    "available_memory",
    "dies_with_parent",
    "insight",
    "memory_limit",
    "native",
    "spares",
    "tensors",
]


class Native(enum.Enum):
    """``TINES_NATIVE``: whether the native core is wanted."""

    AUTO = "auto"
    """Use it where it was built and works."""
    REQUIRE = "require"
    """Fail with the reason where it cannot be used."""
    OFF = "off"
    """Never use it: the pipe transport everywhere."""


class Insight(enum.Enum):
    """``TINES_INSIGHT``: whether ``tines top`` may look into this program."""

    ON = "on"
    OFF = "off"
    """No entry, no thread: nobody can see it."""


class Spares(enum.Enum):
    """``TINES_SPARES``: whether interpreters are started in advance, under ``spawn``."""

    ON = "1"
    OFF = "0"
    """Each child's interpreter is started when the child is."""


class DiesWithParent(enum.Enum):
    """``TINES_DIES_WITH_PARENT``: what becomes of a child that is not daemonic and was made without a say."""

    NO = "0"
    """It goes on when its parent is gone, as in the standard library."""
    YES = "1"
    """It ends when its parent is gone, however that ended."""


def dies_with_parent() -> DiesWithParent:
    """Read ``TINES_DIES_WITH_PARENT``.

    Raises:
        ValueError: it is set to something else than ``0`` or ``1``.
    """
    return _read_choice("TINES_DIES_WITH_PARENT", DiesWithParent.NO)


class Tensors(enum.Enum):
    """``TINES_TENSORS``: who sends the tensors of PyTorch."""

    ON = "on"
    """tines: each receiver gets a copy of its own."""
    OFF = "off"
    """torch, which moves them to memory that sender and receiver share."""


def insight() -> Insight:
    """Read ``TINES_INSIGHT``.

    Raises:
        ValueError: it is set to something else than ``on`` or ``off``.
    """
    return _read_choice("TINES_INSIGHT", Insight.ON)


def native() -> Native:
    """Read ``TINES_NATIVE``.

    Raises:
        ValueError: it is set to something else than ``auto``, ``require`` or ``off``.
    """
    return _read_choice("TINES_NATIVE", Native.AUTO)


def spares() -> Spares:
    """Read ``TINES_SPARES``.

    Raises:
        ValueError: it is set to something else than ``0`` or ``1``.
    """
    return _read_choice("TINES_SPARES", Spares.ON)


def tensors() -> Tensors:
    """Read ``TINES_TENSORS``.

    Raises:
        ValueError: it is set to something else than ``on`` or ``off``.
    """
    return _read_choice("TINES_TENSORS", Tensors.ON)


def _read_choice(variable: str, default: _Choice) -> _Choice:
    """Return what a variable says, in upper or lower case; the default where it is empty."""
    given = os.environ.get(variable, "")
    kind = type(default)
    try:
        return kind(given.strip().lower()) if given else default
    except ValueError:
        from tines._arguments import by_likeness

        nearest, *others = by_likeness(given.lower(), [choice.value for choice in kind])
        raise ValueError(
            f"the environment variable {variable}={given!r} is not understood: set it to "
            f"{nearest!r}{''.join(f', {other!r}' for other in others[:-1])} or {others[-1]!r}, or "
            f"unset it, which means {default.value!r}"
        ) from None


def available_cpus() -> int:
    """How many cores this process may use at once: affinity and the container's quota count.

    At least 1. A quota of one and a half cores counts as two (cgroup v2 ``cpu.max``, v1
    ``cpu.cfs_quota_us``; see the kernel's ``Documentation/admin-guide/cgroup-v2.rst``). A group is limited by
    those that it is in, as well: systemd's ``CPUQuota=`` may stand at any level.
    """
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:
        count = os.cpu_count() or 1
    quota = _cgroup_quota()
    return max(1, min(count, -(-quota[0] // quota[1]))) if quota else count


def available_memory() -> int:
    """How many bytes of memory this process may use: the container's limit counts.

    1 GB where that cannot be known.
    """
    found = []
    try:
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, OSError, ValueError):
        pass
    limit = memory_limit()
    if limit is not None:
        found.append(limit)
    return min((size for size in found if size > 0), default=10**9)


def memory_limit() -> int | None:
    """How many bytes the control groups of this process allow; ``None`` where they do not limit it."""
    found = []
    for directory in _groups("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            try:
                found.append(int(_read(f"{directory}/{name}")))
            except (OSError, ValueError):
                pass  # "max": not limited
    # Version 1 says "unlimited" by a number beyond any memory.
    return min((size for size in found if 0 < size < 2**60), default=None)


def _cgroup_quota() -> tuple[int, int] | None:
    """Return (quota, period) in microseconds, or ``None`` where nothing is limited."""
    found = []
    for directory in _groups("cpu"):
        try:
            quota, period = map(int, _read(f"{directory}/cpu.max").split())
            found.append((quota, period))
        except (OSError, ValueError):
            pass  # "max": not limited
        try:
            quota = int(_read(f"{directory}/cpu.cfs_quota_us"))
            found.append((quota, int(_read(f"{directory}/cpu.cfs_period_us"))))
        except (OSError, ValueError):
            pass
    limits = [(quota, period) for quota, period in found if quota > 0 and period > 0]
    return min(limits, key=lambda limit: limit[0] / limit[1], default=None)


def _groups(controller: str) -> list[str]:
    """Return the directories of the control groups that limit this process: its own, and all above it.

    In a container that sees no more than its own groups, these are found at the base, whatever they are
    called outside.
    """
    version_2, version_1 = "/sys/fs/cgroup", f"/sys/fs/cgroup/{controller}"
    found = []
    try:
        lines = _read("/proc/self/cgroup").splitlines()
    except OSError:
        lines = []
    for line in lines:
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if number == "0" or controller in names.split(","):
            base = version_2 if number == "0" else version_1
            path = path.rstrip("/")
            while path.startswith("/"):
                found.append(base + path)
                path = path.rpartition("/")[0]
    return [*found, version_2, version_1]


def _read(path: str) -> str:
    # Not pathlib: each child imports this, and would import that with it.
    with open(path) as file:
        return file.read()
