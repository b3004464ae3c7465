"""What a local worker's process runs first.

Apart from the engine: each worker imports this, and would import that with it.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["STARTING", "run"]

STARTING = "TINES_WORKER_STARTING"
"""The variable that a worker has until its main module is imported."""


def run(target: Callable[..., object], *args: Any) -> None:
    """Be a worker: from here on its process is one like any other."""
    os.environ.pop(STARTING, None)
    target(*args)
