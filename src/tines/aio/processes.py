"""``aio.Process``: a process whose end is awaited."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tines.aio.bridge import current

if TYPE_CHECKING:
    from typing_extensions import Self

    from tines.process.base import ManagedProcess

__all__ = ["Process"]


class Process:
    """A front for a :class:`tines.Process`: ``wait``, ``join``, ``result`` and ``exception`` are awaited.

    All else is that of the process behind it: ``start``, ``pid``, ``exitcode``, ``terminate``, ``kill``
    and the rest. A task that is cancelled while it waits stops waiting; the process goes on.

    Args:
        group: Always ``None``, as in the standard library.
        target: Called in the child.
        name: For people.
        args: Positional arguments of ``target``.
        kwargs: Keyword arguments of ``target``.
        daemon: Whether the child is terminated when this process ends.
        returns: Whether the child hands back what ``target`` returns or raises, for :meth:`result`.
        dies_with_parent: Whether the child ends when this process is gone; see :class:`tines.Process`.
        context: A context, for its start method; the default one, if not given.

    Attributes:
        process: The process behind it.
    """

    process: ManagedProcess

    def __init__(
        self,
        group: None = None,
        target: Callable[..., object] | None = None,
        name: str | None = None,
        args: Iterable[object] = (),
        kwargs: Mapping[str, object] | None = None,
        *,
        daemon: bool | None = None,
        returns: bool = True,
        dies_with_parent: bool | None = None,
        context: Any = None,
    ) -> None:
        if context is None:
            import tines as context
        self.process = context.Process(
            group,
            target,
            name,
            args,
            kwargs,
            daemon=daemon,
            returns=returns,
            dies_with_parent=dies_with_parent,
        )

    @classmethod
    def wrap(cls, process: ManagedProcess) -> Self:
        """Return a front for a process that exists, started or not."""
        from tines.process.base import ManagedProcess

        if not isinstance(process, ManagedProcess):
            raise TypeError(f"process must be a tines.Process, not {process!r}")
        front = cls.__new__(cls)
        front.process = process
        return front

    if not TYPE_CHECKING:

        def __getattr__(self, name):
            if name == "process":
                raise AttributeError(name)
            return getattr(self.process, name)

    else:

        def __getattr__(self, name: str) -> Any: ...

    async def wait(self) -> int:
        """Wait until the child has ended; return its exit code.

        Raises:
            StartError: it was not started, or by another process.
        """
        process = self.process
        process.join(0)  # refuses what cannot be waited for
        if process.exitcode is None:
            await current().readable(process.sentinel).wait()
            # At once, or where the sentinel is a pipe, in the moment until the exit code is there.
            process.join()
        code = process.exitcode
        assert code is not None
        return code

    async def join(self) -> None:
        """Wait until the child has ended."""
        await self.wait()

    async def result(self) -> Any:
        """Wait for the end; return what the target returned, or raise what it raised.

        Raises:
            ProcessLostError: the child ended without an outcome.
            ValueError: the process was not made with ``returns=True``.
        """
        await self.wait()
        return self.process.result()

    async def exception(self) -> BaseException | None:
        """Wait for the end; return what :meth:`result` would raise, or ``None``."""
        await self.wait()
        return self.process.exception()

    def __repr__(self) -> str:
        return f"<aio {self.process!r}>"
