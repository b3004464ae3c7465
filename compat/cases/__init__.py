"""One module for each start method, where CPython's test cases are put.

The cases are made by ``test._test_multiprocessing`` and belong to the module that asks for them.
They travel to spawned children by name, so that module must be one that a child can import.
"""

from __future__ import annotations
