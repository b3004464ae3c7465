"""CPython's test cases of ``multiprocessing`` with the start method ``fork``."""

from __future__ import annotations

from test import _test_multiprocessing

_test_multiprocessing.install_tests_in_module_dict(globals(), "fork")
