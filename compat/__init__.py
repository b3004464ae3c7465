"""The judge: CPython's own tests of ``multiprocessing`` and of process executors, run on tines.

``python -m compat`` loads the tests that are installed with the interpreter, runs them once against
the standard library (the baseline) and once with ``multiprocessing`` meaning tines
(:mod:`tines.runner.alias`), and compares. Nothing of CPython is copied.

    suites    which tests there are, and how to load them in a process
    shard     runs some of them in a process of its own and tells what happened, event by event
    judge     runs shards, kills those that hang, goes on behind the test that did
    verdicts  compares two runs; ``excluded.txt`` names the tests that do not count, and why
    report    says it in words
"""

from __future__ import annotations
