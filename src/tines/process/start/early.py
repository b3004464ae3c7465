"""A head start for children: begun before this process has imported what it needs itself.

The first pool of a program imports a good deal, and so do the interpreters that its workers run in.
Begun one after the other, these add up.
"""

from __future__ import annotations

import sys

from tines.process.lifecycle import launch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["begin"]


def begin(method: str, modules: Iterable[str]) -> None:
    """Begin to start what the next children of a start method will wait for.

    Whatever goes wrong here goes wrong again, and is reported, when a child is started.

    Args:
        method: The start method.
        modules: Modules of tines that the children need.
    """
    if launch.importing_main():
        return  # this process is itself being started: it must not start any
    for module in modules:
        launch.make_ready(module)
    try:
        if method == "forkserver":
            from tines.process.start import forkserver_client

            forkserver_client.ensure_running()
        elif method == "spawn" and sys.platform != "win32":
            from tines.process.start import spares

            spares.expect()
    except OSError:
        pass
