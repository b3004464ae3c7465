"""Settings of the start methods: the standard library's own, which ours obey."""

from __future__ import annotations

from tines._std import mirrored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from multiprocessing.spawn import (
        freeze_support,
        get_command_line,
        get_executable,
        get_preparation_data,
        import_main_path,
        set_executable,
    )

__all__ = [
    "freeze_support",
    "get_command_line",
    "get_executable",
    "get_preparation_data",
    "import_main_path",
    "set_executable",
]

__getattr__ = mirrored(__name__)
