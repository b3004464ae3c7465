"""Sandboxes as old container runtimes make them: system calls that they have not heard of are refused.

A program that starts with ``REFUSE`` in front calls ``refuse(name, ...)`` for itself and its children.
"""

from __future__ import annotations

import platform
import sys

__all__ = ["CAN_REFUSE", "REFUSE"]

_NUMBERS = {
    "x86_64": {
        "fallocate": 285,
        "madvise": 28,
        "memfd_create": 319,
        "pidfd_open": 434,
        "pidfd_send_signal": 424,
        "set_robust_list": 273,
    },
    "aarch64": {
        "fallocate": 47,
        "madvise": 233,
        "memfd_create": 279,
        "pidfd_open": 434,
        "pidfd_send_signal": 424,
        "set_robust_list": 99,
    },
}

CAN_REFUSE = sys.platform == "linux" and platform.machine() in _NUMBERS

REFUSE = f"""
def refuse(*names, error=1):
    import ctypes
    import struct

    numbers = {_NUMBERS.get(platform.machine(), {})!r}
    load, jump_if_equal, give = 0x20, 0x15, 0x06
    code = [(load, 0, 0, 0)]
    for place, name in enumerate(names):
        code.append((jump_if_equal, len(names) - place, 0, numbers[name]))
    code += [(give, 0, 0, 0x7FFF0000), (give, 0, 0, 0x00050000 | error)]
    packed = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *each) for each in code))

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]

    prctl = ctypes.CDLL(None, use_errno=True).prctl
    program = Program(len(code), ctypes.addressof(packed))
    no_new_privileges, set_filter = 38, 22
    if prctl(no_new_privileges, 1, 0, 0, 0) or prctl(set_filter, 2, ctypes.byref(program), 0, 0):
        raise SystemExit("no filters here")
"""
"""Source of a function that has system calls fail, with ``EPERM`` or another error, for good."""
