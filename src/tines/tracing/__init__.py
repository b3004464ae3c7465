"""Traces: what a program's pools and processes did, for https://ui.perfetto.dev and ``tines report``.

``with tines.trace("run.json"):`` records, and writes the file at its end, however it ends. The same goes
for a whole program by ``TINES_TRACE=run.json`` in the environment, or ``python -m tines --trace run.json``.

Data flow: each process writes fixed-size records into a file of its own (``spool.py``), through channels
that look at the clock (``pools.py`` in the parent, ``workers.py`` in a worker). At the end the parent reads
all of them, also those of processes that were killed, and writes one file in the Trace Event Format
(``export.py``). ``analysis.py`` reads that file again and says where the time went (``report.py``), and
``advice.py`` what to change.

A program that is not traced runs none of this code.
"""

from __future__ import annotations

from tines.tracing.session import Trace, trace

__all__ = ["Trace", "trace"]
