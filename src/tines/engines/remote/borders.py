"""What cannot travel to another node: whatever lives in the memory, or the descriptors, of one machine.

It is refused where it is sent, in words that name it, whether or not it would happen to work with nodes
that are on the same machine. It is recognized in the pickle itself, by the names that are looked up to
make it again. A pickle is gone through only if such a name may be in it.
"""

from __future__ import annotations

import pickletools
from collections.abc import Iterator, Sequence

from tines.errors import EncodeError
from tines.transport.contract import Buffer
from tines.wire.pickling import PICKLED

__all__ = ["check", "check_message"]

_HINTS = (b"tines.", b"multiprocessing.")

_REACHED = "tines.transport.pipe.across"
"""Whose channels are reached by all machines."""

_INSTEAD = {
    "lock": "do in your program what only one may do at a time, or use those of "
    "mp.get_context(engine=...).Manager(), which are reached through a connection",
    "queue": "return results from the call, or use a queue of mp.get_context(engine=...)",
    "memory": "pass a copy (an array travels beside the pickle) and return what changed, or use the "
    "Namespace of a Manager",
    "descriptor": "open it in the call",
}


def check(data: Buffer, buffers: Sequence[Buffer]) -> None:
    """See that a message holds nothing that belongs to one machine.

    Raises:
        EncodeError: it does; the message names it.
    """
    if not isinstance(data, (bytes, bytearray)):
        data = bytes(data)
    if any(hint in data for hint in _HINTS):
        refused = _refusal(data)
        if refused is not None:
            raise refused
    for buffer in buffers:
        if hasattr(memoryview(buffer).obj, "travels_beside"):
            raise _error("something in shared memory", "memory")


def check_message(kind: int, data: Buffer, buffers: Sequence[Buffer]) -> None:
    """See that a message of this kind holds nothing that belongs to one machine: bytes as they are do not.

    Raises:
        EncodeError: it does; the message names it.
    """
    if kind == PICKLED:
        check(data, buffers)


def _refusal(data: Buffer) -> EncodeError | None:
    names = list(_globals(data))
    for module, name in names:
        if module == "tines.sharedctypes":
            array = any(other == "_array_over" for _, other in names)
            raw = name != "_with_lock"
            return _error(
                f"{'an' if array and not raw else 'a'} {'Raw' if raw else ''}"
                f"{'Array' if array else 'Value'}",
                "memory",
            )
    for module, name in names:
        if module == "multiprocessing.shared_memory":
            return _error(f"a {name}", "memory")
        if module.startswith(("tines.synchronize", "multiprocessing.synchronize")):
            return _error(
                f"{'an' if name[0] in 'AEIOR' and name != 'RLock' else 'a'} {name}", "lock"
            )
        if module in ("tines.queues", "multiprocessing.queues", "tines.aio.queues"):
            return _error(f"a {name}", "queue")
        if (module, name) == ("multiprocessing.connection", "rebuild_connection"):
            return _error("a Connection", "descriptor")
    for module, _name in names:
        if module == "multiprocessing.resource_sharer":
            return _error("an open descriptor", "descriptor")
        if module.startswith("tines.transport.") and module != _REACHED:
            return _error("something in shared memory", "memory")
    return None


def _error(what: str, kind: str) -> EncodeError:
    return EncodeError(
        f"{what} cannot be sent to another node: it belongs to the machine on which it was made. "
        f"Instead, {_INSTEAD[kind]}"
    )


def _globals(data: Buffer) -> Iterator[tuple[str, str]]:
    """Yield the names that unpickling would look up, as far as the pickle goes."""
    pushed: list[str] = ["", ""]
    memo: list[str] = []
    for opcode, argument, _ in pickletools.genops(bytes(data)):
        name = opcode.name
        if "UNICODE" in name:
            pushed = [pushed[-1], str(argument)]
            last = str(argument)
        elif name == "MEMOIZE":
            memo.append(last)
            continue
        elif name in ("BINGET", "LONG_BINGET"):
            known = memo[argument] if isinstance(argument, int) and argument < len(memo) else ""
            pushed = [pushed[-1], known]
        elif name == "STACK_GLOBAL":
            yield pushed[0], pushed[1]
        elif name == "GLOBAL":
            module, _, attribute = str(argument).partition(" ")
            yield module, attribute
        if "UNICODE" not in name:
            last = ""
