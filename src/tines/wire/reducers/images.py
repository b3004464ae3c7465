"""Pillow: the pixels of an image go out of band, by the state that Pillow itself pickles.

Only ``Image`` itself, which is what all operations return; what ``open`` returns is of a class of its own
for each format, and pickles as Pillow says.
"""

from __future__ import annotations

from pickle import PickleBuffer

from tines.wire.reducers.contract import Reducers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

__all__ = ["rebuild_image", "reducers"]


def reducers(library: ModuleType) -> Reducers:
    """Return the reducer for ``PIL.Image``."""
    kind = library.Image
    if not all(hasattr(kind, name) for name in ("__getstate__", "__setstate__")):
        raise AttributeError("images have no state")
    return Reducers({kind: _reduce})


def _reduce(image: Any) -> object:
    *state, pixels = image.__getstate__()
    if type(pixels) is not bytes:
        return image.__reduce_ex__(2)
    return rebuild_image, (type(image), state, PickleBuffer(pixels))


def rebuild_image(kind: Any, state: list[object], pixels: object) -> object:
    """Return the image; it copies its pixels, so it may be written to."""
    image = kind.__new__(kind)
    image.__setstate__([*state, pixels])
    return image
