"""Two transports, one contract, and the choice between them.

``chosen()`` is the transport of this process: ``ring`` where the native core was built and the system
can run it, ``pipe`` elsewhere; ``TINES_NATIVE=require|off`` forces it. The choice is made once, at
first use, and travels to children with the environment.
"""

from __future__ import annotations

from functools import cache

from tines import _config, _threads

# Not from ``typing``: each worker imports this, and would import that with it.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from tines.transport.contract import Transport

__all__ = ["NAMES", "Choice", "choice", "chosen", "meant", "named"]

NAMES = ("ring", "pipe")


class Choice:
    """Which transport is in use, and why."""

    __slots__ = ("name", "reason")

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason


@cache
def named(name: str) -> Transport:
    """Return the transport called ``"ring"`` or ``"pipe"``.

    Raises:
        ValueError: there is no transport of that name.
        ImportError: it cannot be used here; the message says why.
    """
    if name == "ring":
        from tines.transport.ring import RingTransport

        return RingTransport()
    if name == "pipe":
        from tines.transport.pipe import PipeTransport

        return PipeTransport()
    raise ValueError(f"transport={name!r} is not known: use one of {', '.join(map(repr, NAMES))}")


def meant(given: str | Transport | None) -> Transport:
    """Return the transport that somebody was given: by its name, as it is, or not at all.

    Raises:
        ValueError, ImportError: as :func:`named`.
    """
    if given is None or given == "":
        return chosen()
    return named(given) if isinstance(given, str) else given


@cache
def choice() -> Choice:
    """Decide which transport this process uses.

    Raises:
        ImportError: ``TINES_NATIVE=require`` and the ring cannot be used.
        RuntimeError: this interpreter can use neither.
    """
    _threads.check_interpreter()
    wanted = _config.native()
    if wanted is _config.Native.OFF:
        return Choice("pipe", "TINES_NATIVE=off")
    try:
        named("ring")
    except ImportError as error:
        if wanted is _config.Native.REQUIRE:
            raise ImportError(f"TINES_NATIVE=require, but {error}") from error
        return Choice("pipe", str(error))
    return Choice(
        "ring",
        "TINES_NATIVE=require"
        if wanted is _config.Native.REQUIRE
        else "the native core works here",
    )


def chosen() -> Transport:
    """Return the transport that new queues and pools of this process use."""
    return named(choice().name)
