"""Managers: the standard library's own, with servers that are processes of ours.

server     the managers, how their servers are started and when they end
proxies    how calls reach them
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tines._std import standard
from tines.managers.proxies import AutoProxy, BaseProxy, MakeProxyType, ours
from tines.managers.server import BaseManager, SharedMemoryManager, SyncManager

if TYPE_CHECKING:
    import multiprocessing.managers as _std
    from multiprocessing.managers import Namespace, Token
else:
    _std = standard("managers")
    Namespace, Token = _std.Namespace, _std.Token

__all__ = ["BaseManager", "BaseProxy", "Namespace", "SharedMemoryManager", "SyncManager", "Token"]

_HIDDEN = (AutoProxy, MakeProxyType)
"""What programs take from here as well, to make proxies of their own."""


def _name_proxies() -> None:
    """Give our classes of proxies the names that the standard library's have, also in pickles."""
    for name, value in list(vars(_std).items()):
        if isinstance(value, type) and issubclass(value, _std.BaseProxy):
            globals().setdefault(name, ours(value))


_name_proxies()


def __getattr__(name: str) -> Any:
    return getattr(_std, name)
