"""Make Linux look like a POSIX system without its conveniences, in every interpreter of a program.

On the path of a test's programs, so that the ways of macOS are run, and not only read, here: no
pidfds, no memfd, no signal from a pipe, no real-time signals, no ``/proc``, no ``preadv`` (macOS 10), no
``MSG_NOSIGNAL``.
"""

from __future__ import annotations

# What looks at the platform for reasons of its own is to see the real one.
import ctypes  # noqa: F401
import multiprocessing.connection
import multiprocessing.context
import multiprocessing.resource_tracker
import multiprocessing.util  # noqa: F401
import os
import signal
import socket
import subprocess  # noqa: F401
import sys
import sysconfig
import tempfile  # noqa: F401

sysconfig.get_config_vars()
sys.platform = "darwin"
for module, names in (
    (os, ("memfd_create", "pidfd_open", "preadv", "sched_getaffinity")),
    (socket, ("MSG_NOSIGNAL",)),
    (signal, ("SIGRTMIN", "SIGRTMAX", "pidfd_send_signal")),
):
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
