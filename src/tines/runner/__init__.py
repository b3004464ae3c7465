"""``python -m tines script.py``: run a program with ``multiprocessing`` meaning tines."""

from __future__ import annotations
