"""Objects to messages and back, with large buffers travelling beside the pickle.

``encode(obj)`` gives ``(kind, data, buffers)``; ``decode(kind, data, buffers)`` gives the object.

* Plain pickle, protocol 5, first. Where it cannot (lambdas, closures, functions of an interactive
  session) cloudpickle takes over, and only there.
* Where the native core is built, one pickler is kept and reused: building one costs more than
  pickling a small object. Its Python twin builds one each time. Both honour ``copyreg`` and
  everything registered with ``multiprocessing``'s ``ForkingPickler`` (connections, sockets, locks),
  also what is registered later, and have reducers of their own for some libraries (``reducers``).
* Buffers of ``OUT_OF_BAND`` bytes or more stay out of the pickle; the transport moves them with a
  single copy. So do those of ``SMALL`` bytes or more, where the native core is there to pack them
  together, except for the first ones that come to ``OUT_OF_BAND`` bytes in all: a few small buffers
  are better off in the pickle. A plain ``bytes`` or ``bytearray`` of that size skips pickling altogether.
* An object that cannot be pickled raises :class:`~tines.errors.EncodeError` here, in the caller.
"""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Callable, Sequence

from tines import _config
from tines.errors import DecodeError
from tines.wire import reducers
from tines.wire.refusals import REFUSED, encode_error, short_repr

# Not from ``typing``: each worker imports this, and would import that with it.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tines import _native
    from tines.transport.contract import Buffer

__all__ = [
    "OUT_OF_BAND",
    "PICKLED",
    "RAW",
    "decode",
    "encode",
    "note_main",
    "short_repr",
    "track_session_classes",
]

OUT_OF_BAND = 16 * 1024
"""Size in bytes from which a buffer travels beside the pickle."""

PICKLED = 0
"""Kind of a message whose data is a pickle."""

RAW = 1
"""Kind of a message whose data are those of a ``bytes`` object."""

RAW_BYTEARRAY = 2
"""Kind of a message whose data are those of a ``bytearray``."""

# A memo that has grown to thousands of entries is slow to clear; such a pickler is not kept.
_LARGEST_KEPT = 64 * 1024

SMALL = 512
"""Size in bytes from which a buffer travels beside the pickle if there are many."""

# Beyond this many, handles of channels stay in the pickle: a message has room for so many only.
_MOST_REFERENCES = 1000

_RAW_KINDS: dict[type, int] = {bytes: RAW, bytearray: RAW_BYTEARRAY}

Encoded = tuple[int, "Buffer", Sequence["Buffer"]]


def _keep_out_of_band(kept: list[Buffer]) -> Callable[[pickle.PickleBuffer], bool]:
    """Return a buffer callback that collects what should travel beside the pickle in ``kept``.

    A channel's handle (marked ``travels_beside``) does at any size: the transport passes it on
    as a counted reference, in the same step that delivers the message.
    """
    left = OUT_OF_BAND
    references = 0
    small = SMALL if _encoder is not None else OUT_OF_BAND

    def keep(buffer: pickle.PickleBuffer) -> bool:
        nonlocal left, references
        raw = buffer.raw()
        size = raw.nbytes
        if size < OUT_OF_BAND:
            if hasattr(raw.obj, "travels_beside"):
                references += 1
                if references > _MOST_REFERENCES:
                    return True
            elif size < small:
                return True
            elif left > 0:
                left -= size
                return True
        kept.append(raw)
        return False

    return keep


def _encode_in_python(obj: object) -> Encoded:
    """Encode with a pickler made for this object: the twin of the native encoder."""
    if _main_is_interactive:
        note_main()
    if type(obj) in _RAW_KINDS and len(obj) >= OUT_OF_BAND:  # type: ignore[arg-type]
        return _RAW_KINDS[type(obj)], obj, ()
    output = io.BytesIO()
    buffers: list[Buffer] = []
    try:
        pickler = pickle.Pickler(output, 5, buffer_callback=_keep_out_of_band(buffers))
        pickler.dispatch_table = reducers.dispatch.plain()
        pickler.dump(obj)
    except Exception as error:
        return _encode_by_value(obj, error)
    data = output.getvalue()
    if _main_is_interactive and b"__main__" in data:
        return _encode_by_value(obj, None)
    return PICKLED, data, buffers


# Where ``__main__`` has no file, another process cannot import it, and pickles that refer to it by
# name would fail there; cloudpickle sends what they refer to. It is looked at again as long as that is
# so: ``python -m package`` imports the package, which may import this, before it gives ``__main__`` a file.
_main_is_interactive = True


def note_main() -> None:
    """Look again whether other processes can import ``__main__``, which may get its file late."""
    global _main_is_interactive
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    _main_is_interactive = file is None or file.startswith("<")  # "<stdin>"
    if _encoder is not None:
        _encoder.deferring = _main_is_interactive


def track_session_classes() -> None:
    """Call before a fork: give the classes of an interactive session an identity that lasts.

    An object that a forked child sends back by value is then an instance of the class that this
    process has, and not of a copy.
    """
    if not _main_is_interactive:
        return
    classes = [
        value
        for value in vars(sys.modules["__main__"]).values()
        if isinstance(value, type) and value.__module__ == "__main__"
    ]
    if classes:
        from cloudpickle.cloudpickle import _get_or_create_tracker_id

        for cls in classes:
            _get_or_create_tracker_id(cls)


_cloud_pickler: type[pickle.Pickler] | None = None


def _encode_by_value(obj: object, reason: Exception | None) -> Encoded:
    """Encode with cloudpickle; ``reason`` is why plain pickle could not."""
    if reason is not None and not isinstance(
        reason, (pickle.PicklingError, AttributeError, TypeError)
    ):
        raise encode_error(obj, reason) from reason
    global _cloud_pickler
    if _cloud_pickler is None:
        from collections import ChainMap

        import cloudpickle

        class CloudPickler(cloudpickle.Pickler):  # type: ignore[misc]
            dispatch_table = ChainMap(
                reducers.dispatch, REFUSED, cloudpickle.Pickler.dispatch_table
            )

        _cloud_pickler = CloudPickler
    output = io.BytesIO()
    buffers: list[Buffer] = []
    try:
        _cloud_pickler(output, 5, buffer_callback=_keep_out_of_band(buffers)).dump(obj)
    except Exception as error:
        cause = error if reason is None or type(error) is type(reason) else reason
        raise encode_error(obj, cause) from cause
    return PICKLED, output.getbuffer(), buffers


def decode(kind: int, data: Buffer, buffers: Sequence[Buffer]) -> Any:
    """Turn a received message back into its object.

    Raises:
        DecodeError: it does not unpickle here; the message says which name or type is the matter.
    """
    try:
        if kind == PICKLED:
            return pickle.loads(data, buffers=buffers) if buffers else pickle.loads(data)
        return _bytes_of(data) if kind == RAW else _bytearray_of(data)
    except Exception as error:
        raise decode_error(data, error) from error


def decode_error(data: Buffer, error: Exception) -> DecodeError:
    """Describe a message that does not unpickle."""
    return DecodeError(
        f"a received object of {memoryview(data).nbytes} bytes does not unpickle in this process: "
        f"{type(error).__name__}: {error}"
    )


def _native_encoder() -> _native.Encoder | None:
    try:
        if _config.native() is _config.Native.OFF:
            return None
        from tines import _native
    except ValueError:
        return None  # whoever makes a queue or a pool is told, not who imports this
    except ImportError:
        return None

    dispatch = reducers.native_dispatch(_native, reducers.instead)

    def new_pickler(encoder: _native.Encoder) -> pickle.Pickler:
        pickler = pickle.Pickler(encoder, 5, buffer_callback=encoder.keep)
        pickler.dispatch_table = dispatch
        return pickler

    return _native.Encoder(
        new_pickler,
        _encode_in_python,
        _encode_by_value,
        _RAW_KINDS,
        OUT_OF_BAND,
        SMALL,
        _LARGEST_KEPT,
    )


_bytes_of: Callable[[Buffer], bytes] = bytes
_bytearray_of: Callable[[Buffer], bytearray] = bytearray

_encoder = _native_encoder()
if _encoder is not None:
    from tines._native import bytearray_of as _bytearray_of
    from tines._native import bytes_of as _bytes_of
note_main()

encode: Callable[[object], Encoded] = _encoder or _encode_in_python
"""``encode(obj)`` turns an object into ``(kind, data, buffers)``.

Raises :class:`~tines.errors.EncodeError`, which names the object and the reason, where neither
pickle nor cloudpickle can.
"""
