"""``tines dashboard``: what ``tines top`` shows, as pages for a browser, Prometheus and scripts.

::

    browser ──GET /view──▶ server ──▶ watcher ──poke──▶ programs (insight)
       ▲                              │  sample ─▶ view (top_model) ─▶ history
       └── sections of the page ◀── page, charts ◀────────┘

Invariants:

* A program is asked when somebody asks here: the page does, once a second, while it is open and in the
  foreground. Else nothing runs. However many ask, programs are asked at most twice a second.
* Nobody is answered without the token, under a name that is not this machine's loopback, or from a page
  of another origin. Nothing here changes a program; the stacks of a worker are read without stopping it.
* The browser is told to load nothing from anywhere else, and to run nothing but ``dashboard.js``; whatever
  a program says goes through :func:`tines.cli.page.html.text`.

:mod:`.server` needs starlette and uvicorn (``tines[dashboard]``), nothing else here does.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

__all__ = ["Options", "run"]


@dataclass(frozen=True)
class Options:
    """What was asked for: see ``tines dashboard --help``."""

    port: int = 8463


def run(options: Options) -> int:
    """Serve until it is told to end; return the exit code."""
    try:
        import starlette
        import uvicorn
    except ImportError as error:
        print(
            f"tines dashboard needs starlette and uvicorn ({error}): pip install 'tines[dashboard]'",
            file=sys.stderr,
        )
        return 2
    del starlette, uvicorn
    from tines.cli.dashboard import server

    return server.serve(options.port)
