"""The standard library's primitives, for where there is no ring: its semaphores know no holder.

A process that dies while it holds one keeps it. ``recovered`` and ``deaths`` are here so that
programs that ask run on both transports.
"""

from __future__ import annotations

import errno

from tines import _clock
from tines._std import standard

TYPE_CHECKING = False
if TYPE_CHECKING:
    import multiprocessing.synchronize as _std
    from typing import Any
else:
    _std = standard("synchronize")

__all__ = [
    "Barrier",
    "BoundedSemaphore",
    "Condition",
    "Event",
    "Lock",
    "RLock",
    "Semaphore",
]

Barrier = _std.Barrier
Event = _std.Event


class _Unrecovered:
    recovered = False
    deaths = 0

    def __init__(self, *arguments: object, **options: object) -> None:
        try:
            super().__init__(*arguments, **options)
        except OSError as error:
            if (reason := _why(error.errno)) is None:
                raise
            raise OSError(error.errno, reason) from None


def _why(number: int | None) -> str | None:
    """Say what is missing where the system makes no semaphore; ``None`` if its own words will do."""
    if number == errno.EFBIG:
        import resource

        return (
            "on the pipe transport a lock or semaphore is a small file in memory, but this process "
            f"may only create files of up to {resource.getrlimit(resource.RLIMIT_FSIZE)[0]:,} "
            "bytes (RLIMIT_FSIZE): run it under `ulimit -f unlimited`"
        )
    if number in (errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSYS):
        return (
            "on the pipe transport a lock or semaphore is the system's, and there are none here: on Linux "
            "they need a /dev/shm that can be written to. Queues, pools and processes need none, and "
            "with the native core locks do not either: `tines doctor` says why it is not in use"
        )
    return None


class _Waiting(_Unrecovered):
    """Semaphores whose ``acquire`` takes any timeout; those of systems do not take long ones."""

    _semlock: Any
    acquire: Any

    def _make_methods(self) -> None:
        super()._make_methods()  # type: ignore[misc]
        self.acquire = self._acquire

    def _acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        if timeout is None or not block:
            return bool(self._semlock.acquire(block))
        deadline = _clock.deadline_after(timeout)
        return _clock.until(deadline, lambda seconds: bool(self._semlock.acquire(True, seconds)))


class Lock(_Waiting, _std.Lock):
    """See :class:`tines.synchronize.native.Lock`."""


class RLock(_Waiting, _std.RLock):
    """See :class:`tines.synchronize.native.RLock`."""


class Condition(_Unrecovered, _std.Condition):
    """See :class:`tines.synchronize.native.Condition`."""


def _refuse_owned(owned: bool) -> None:
    if owned:
        raise NotImplementedError(
            "owned=True needs the ring transport, and this process uses the pipe: see 'tines doctor'"
        )


class Semaphore(_Waiting, _std.Semaphore):
    """See :class:`tines.synchronize.native.Semaphore`."""

    def __init__(self, value: int = 1, *, owned: bool = False, ctx: object = None) -> None:
        _refuse_owned(owned)
        super().__init__(value, ctx=ctx)


class BoundedSemaphore(Semaphore, _std.BoundedSemaphore):
    """See :class:`tines.synchronize.native.BoundedSemaphore`."""
