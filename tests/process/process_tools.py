"""What children do in the tests of processes."""

from __future__ import annotations

import os
import sys
import time

LONG = 1000


def sleep():
    time.sleep(LONG)


def exit_with(how):
    if how == "return":
        return
    if how == "raise":
        raise ValueError("on purpose")
    if how == "none":
        sys.exit()
    if how == "os":
        os._exit(7)
    sys.exit(how)
