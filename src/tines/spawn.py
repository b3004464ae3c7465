"""Settings of the start methods: the standard library's own, which ours obey."""

from __future__ import annotations

import multiprocessing.spawn as _std
from multiprocessing.spawn import (
    freeze_support,
    get_command_line,
    get_executable,
    get_preparation_data,
    import_main_path,
    set_executable,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "freeze_support",
    "get_command_line",
    "get_executable",
    "get_preparation_data",
    "import_main_path",
    "set_executable",
]


def __getattr__(name: str) -> Any:
    return getattr(_std, name)
