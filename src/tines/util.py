"""Finalizers, hooks and the logger: the standard library's own, so there is one list of each."""

from __future__ import annotations

from tines._std import mirrored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from multiprocessing.util import (
        SUBDEBUG,
        SUBWARNING,
        Finalize,
        ForkAwareLocal,
        ForkAwareThreadLock,
        close_all_fds_except,
        debug,
        get_logger,
        get_temp_dir,
        info,
        is_exiting,
        log_to_stderr,
        register_after_fork,
        sub_debug,
        sub_warning,
    )

__all__ = [
    "SUBDEBUG",
    "SUBWARNING",
    "Finalize",
    "ForkAwareLocal",
    "ForkAwareThreadLock",
    "close_all_fds_except",
    "debug",
    "get_logger",
    "get_temp_dir",
    "info",
    "is_exiting",
    "log_to_stderr",
    "register_after_fork",
    "sub_debug",
    "sub_warning",
]

__getattr__ = mirrored(__name__)
