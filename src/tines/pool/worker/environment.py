"""What a worker's slot finds in its environment: how many inner threads, and which devices.

Libraries read these variables once, when they are loaded or first used. So a worker that is spawned
has them before it imports anything of the user's (``Process.environment``). A forked worker has its
parent's libraries, loaded and set up, and one of a fork server what that has preloaded, the main
module unless told otherwise; these are reached by ``threadpoolctl``, if it is installed.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import warnings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tines.engines.contract import Engine
    from tines.pool.options import PoolOptions

__all__ = ["THREAD_VARIABLES", "apply", "for_slot", "warn_of_loaded_libraries"]

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
"""The same as loky sets."""

_WITH_THREADS = ("numpy", "scipy", "torch")
"""Modules that load a library with threads of its own."""


def for_slot(options: PoolOptions, slot: int) -> dict[str, str]:
    """Return the variables of a slot."""
    found: dict[str, str] = {}
    threads = _threads(options)
    if threads is not None:
        found.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    if options.cuda_devices is not None:
        found["CUDA_VISIBLE_DEVICES"] = options.cuda_devices[slot % len(options.cuda_devices)]
    return found


def apply(environment: dict[str, str]) -> None:
    """In the worker: set the variables, and tell libraries that are loaded already."""
    os.environ.update(environment)
    threads = environment.get(THREAD_VARIABLES[0])
    if threads is None:
        return
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        return
    threadpool_limits(limits=int(threads))


def warn_of_loaded_libraries(options: PoolOptions, engine: Engine) -> None:
    """In the parent: say so where the limit cannot reach what workers inherit."""
    if _threads(options) is None or not engine.warm:
        return
    loaded = [name for name in _WITH_THREADS if name in sys.modules]
    if loaded and importlib.util.find_spec("threadpoolctl") is None:
        warnings.warn(
            f"inner_threads={options.inner_threads!r} does not reach {', '.join(loaded)}, which "
            f"workers inherit loaded with {engine.method!r}: install threadpoolctl (pip install "
            "'tines[limits]'), or use the start method 'spawn'",
            RuntimeWarning,
            stacklevel=4,
        )


def _threads(options: PoolOptions) -> int | None:
    if options.inner_threads == "auto" and any(name in os.environ for name in THREAD_VARIABLES):
        return None
    return options.threads
