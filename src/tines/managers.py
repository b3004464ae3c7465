"""Managers: the standard library's own, with servers that are processes of ours.

A manager's server dies with the process that started it, and ``Manager().Pool()`` is our pool.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from tines import process
from tines._std import standard
from tines.errors import StartError, describe_exit

if TYPE_CHECKING:
    import multiprocessing.managers as _std
    from multiprocessing.managers import BaseProxy, Namespace, Token
else:
    _std = standard("managers")
    BaseProxy, Namespace, Token = _std.BaseProxy, _std.Namespace, _std.Token

__all__ = ["BaseManager", "BaseProxy", "Namespace", "SharedMemoryManager", "SyncManager", "Token"]


class BaseManager(_std.BaseManager):
    """A server process for objects, and the way to it; see ``multiprocessing.managers``."""

    def __init__(
        self,
        address: Any = None,
        authkey: bytes | None = None,
        serializer: str = "pickle",
        ctx: Any = None,
        **options: Any,
    ) -> None:
        # Without one, our ``Process`` by whatever start method the program has.
        ctx = ctx or process
        super().__init__(address, authkey, serializer, ctx, **options)

    def start(
        self, initializer: Callable[..., object] | None = None, initargs: Iterable[Any] = ()
    ) -> None:
        """Start the server process; ``initializer`` is called there first.

        Raises:
            StartError: the server ended before it was ready.
        """
        try:
            super().start(initializer, initargs)
        except EOFError:
            raise self._start_error() from None

    def _start_error(self) -> StartError:
        process: Any = self._process  # type: ignore[attr-defined]
        process.join()
        end = f"the manager's server (pid {process.pid}) {describe_exit(process.exitcode)}"
        return StartError(f"{end} before it was ready; what it printed says why")


class SyncManager(BaseManager, _std.SyncManager):
    """A manager for locks, queues, lists, dicts and pools."""


class SharedMemoryManager(BaseManager, _std.SharedMemoryManager):
    """A manager that frees the shared memory made through it."""


def _make_pool(*args: Any, **kwargs: Any) -> Any:
    """Make a pool in the server process."""
    from tines.pool import Pool

    return Pool(*args, **kwargs)


# ``register`` copies the inherited registry, so the standard library's managers keep theirs.
_register: Callable[..., None] = SyncManager.register
_register("Pool", _make_pool, _std.PoolProxy)  # type: ignore[attr-defined]


def __getattr__(name: str) -> Any:
    return getattr(_std, name)
