"""Names of a package that are imported on first use, so that the package costs next to nothing.

The package says ``__getattr__, __dir__ = on_first_use(__name__, HOMES)``. For type checkers it imports
the same names under ``TYPE_CHECKING``.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

__all__ = ["on_first_use"]


def on_first_use(
    package: str, homes: Mapping[str, str], modules: Collection[str] = ()
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` of a package.

    Args:
        package: Its name. It has an ``__all__`` by the time that ``__dir__`` is called.
        homes: The module of each name that is not imported yet.
        modules: Modules of the package that are attributes of it without having been imported.
    """
    namespace = vars(sys.modules[package])

    def __getattr__(name: str) -> object:  # noqa: N807
        if name not in homes and name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        from importlib import import_module

        if name in modules:
            return import_module(f"{package}.{name}")
        value = namespace[name] = getattr(import_module(homes[name]), name)
        return value

    def __dir__() -> list[str]:  # noqa: N807
        return sorted({*namespace, *namespace["__all__"]})

    return __getattr__, __dir__
