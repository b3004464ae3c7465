"""Shared values and arrays: ``Value``, ``Array``, ``RawValue``, ``RawArray``, ``copy``.

The standard library's interface. On the ring transport the memory is a place in the program's segment that
lives as long as anybody has it, like a lock's. So these objects travel as locks do: by fork, as arguments
of a process or a task, in results, and through queues. On the pipe transport they are the standard
library's, and reach other processes by inheritance only: by fork, or as arguments of ``Process``.
"""

from __future__ import annotations

from tines import transport
from tines._std import mirrored, standard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from multiprocessing.sharedctypes import synchronized
    from typing import Any

_std: Any = standard("sharedctypes")

__all__ = [
    "Array",
    "RawArray",
    "RawValue",
    "Value",
    "copy",
    "synchronized",
]

__getattr__ = mirrored(__name__)

if transport.choice().name == "ring":
    import ctypes
    import operator
    from multiprocessing.reduction import ForkingPickler

    from tines.transport.primitives import Kind, Passed, make

    def RawValue(typecode_or_type: str | type, *args: object) -> Any:  # noqa: N802
        """Return a ctypes object in shared memory, made with ``args``."""
        value = _placed(_type_of(typecode_or_type))
        value.__init__(*args)
        return value

    def RawArray(typecode_or_type: str | type, size_or_initializer: Any) -> Any:  # noqa: N802
        """Return a ctypes array in shared memory: of zeros, or of what a sequence has."""
        item = _type_of(typecode_or_type)
        try:
            return _placed(item * operator.index(size_or_initializer))
        except TypeError:
            values = tuple(size_or_initializer)
        array = _placed(item * len(values))
        array.__init__(*values)
        return array

    def Value(  # noqa: N802
        typecode_or_type: str | type, *args: object, lock: object = True, ctx: object = None
    ) -> Any:
        """Return a :func:`RawValue` with a lock around it, unless ``lock=False``."""
        return _guarded(RawValue(typecode_or_type, *args), lock, ctx)

    def Array(  # noqa: N802
        typecode_or_type: str | type,
        size_or_initializer: object,
        *,
        lock: object = True,
        ctx: object = None,
    ) -> Any:
        """Return a :func:`RawArray` with a lock around it, unless ``lock=False``."""
        return _guarded(RawArray(typecode_or_type, size_or_initializer), lock, ctx)

    def copy(obj: object) -> Any:
        """Return a copy of a ctypes object in shared memory of its own."""
        new = _placed(type(obj))
        ctypes.pointer(new)[0] = obj
        return new

    def _type_of(typecode_or_type: str | type) -> Any:
        return _std.typecode_to_type.get(typecode_or_type, typecode_or_type)

    def _guarded(obj: object, lock: object, ctx: Any) -> object:
        if lock is False:
            return obj
        if lock in (True, None):
            lock = _lock() if ctx is None else ctx.RLock()
        if not hasattr(lock, "acquire"):
            raise AttributeError(f"{lock!r} has no method 'acquire'")
        return _with_lock(obj, lock)

    def _lock() -> object:
        from tines.synchronize import RLock

        # Whoever makes a value has settled for a start method, here as in the standard library.
        standard("context")._default_context.get_start_method()
        return RLock()

    def _with_lock(obj: object, lock: object) -> object:
        guarded = _std.synchronized(obj, lock)
        ForkingPickler.register(type(guarded), _reduce_guarded)
        return guarded

    def _reduce_guarded(guarded: Any) -> Any:
        return _with_lock, (guarded._obj, guarded._lock)

    def _placed(kind: Any) -> Any:
        return _over(kind, Passed(make(Kind.MEMORY, limit=max(1, ctypes.sizeof(kind)))))

    def _over(kind: Any, memory: Passed) -> object:
        obj = kind.from_buffer(memory.native)
        obj._wrapper = memory
        # As the standard library does for its own: pickle asks by type, and there is no other hook.
        ForkingPickler.register(kind, _reduce)
        return obj

    def _reduce(obj: object) -> Any:
        memory = getattr(obj, "_wrapper", None)
        if memory is None:
            return obj.__reduce_ex__(5)  # of the same type, but not shared
        if not isinstance(memory, Passed):
            return _std.reduce_ctype(obj)  # made through the standard library itself
        if isinstance(obj, ctypes.Array):  # its type has no name
            return _array_over, (obj._type_, obj._length_, memory)
        return _over, (type(obj), memory)

    def _array_over(item: Any, length: int, memory: Passed) -> object:
        return _over(item * length, memory)
