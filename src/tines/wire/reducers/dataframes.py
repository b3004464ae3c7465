"""polars: a large frame goes by the buffers of Arrow, which travel out of band.

polars' own way writes the frame as a file within the pickle, and reads it again. For this it needs pyarrow,
as ``DataFrame.to_arrow`` does; where that is not installed, or a column is of a type that Arrow might give
back as another one, frames go polars' way. So do small ones, for which pyarrow is not imported.
"""

from __future__ import annotations

from importlib.util import find_spec

from tines.wire.reducers.contract import Reducers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

__all__ = ["rebuild_frame", "reducers"]

_LARGE = 1 << 20
"""Bytes from which it is worth the import of pyarrow, which takes some tenths of a second."""

_SAME_IN_ARROW = (
    *("Boolean", "String", "Binary", "Date", "Time", "Datetime", "Duration", "Float32", "Float64"),
    *(f"{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)),
)


def reducers(library: ModuleType) -> Reducers:
    """Return the reducer for frames of polars."""
    if find_spec("pyarrow") is None:
        return Reducers()
    same = tuple(getattr(library, name) for name in _SAME_IN_ARROW)

    def reduce_frame(frame: Any) -> object:
        if frame.estimated_size() < _LARGE or not all(
            dtype.base_type() in same for dtype in frame.dtypes
        ):
            return frame.__reduce_ex__(4)
        return rebuild_frame, (frame.to_arrow(),)

    return Reducers({library.DataFrame: reduce_frame})


def rebuild_frame(table: object) -> object:
    """Return the frame of a table."""
    import polars  # type: ignore[import-not-found,unused-ignore]

    return polars.from_arrow(table)
