"""What the environment says: ``TINES_*``, and how many cores and how much memory there really are."""

from __future__ import annotations

import enum
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    _Choice = TypeVar("_Choice", bound="DiesWithParent | Insight | Native | Spares")

__all__ = [
    "DiesWithParent",
    "Insight",
    "Native",
    "Spares",
    "available_cpus",
    "available_memory",
    "dies_with_parent",
    "insight",
    "native",
    "spares",
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
    ``cpu.cfs_quota_us``; see the kernel's ``Documentation/admin-guide/cgroup-v2.rst``).
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
    for path in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            found.append(int(_read(f"/sys/fs/cgroup/{path}")))
        except (OSError, ValueError):
            pass  # "max": not limited
    return min((size for size in found if size > 0), default=10**9)


def _cgroup_quota() -> tuple[int, int] | None:
    """Return (quota, period) in microseconds, or ``None`` where nothing is limited."""
    try:
        quota, period = _read("/sys/fs/cgroup/cpu.max").split()
        return None if quota == "max" else (int(quota), int(period))
    except (OSError, ValueError):
        pass
    try:
        v1 = int(_read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"))
        return None if v1 <= 0 else (v1, int(_read("/sys/fs/cgroup/cpu/cpu.cfs_period_us")))
    except (OSError, ValueError):
        return None


def _read(path: str) -> str:
    # Not pathlib: each child imports this, and would import that with it.
    with open(path) as file:
        return file.read()
