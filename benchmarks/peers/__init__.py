"""The libraries that are compared: one adapter module each.

``module:name`` names an adapter outside this package, so that anybody can measure another library
without changing anything here.
"""

from __future__ import annotations

import fnmatch
import importlib
from collections.abc import Sequence

from benchmarks.peers.contract import Peer

__all__ = ["BASELINE", "MODULES", "catalogue", "find", "select"]

MODULES = (
    "tines",
    "stdlib",
    "concurrent_futures",
    "loky",
    "joblib",
    "mpire",
    "pebble",
    "billiard",
    "multiprocess",
    "deadpool",
    "faster_fifo",
    "torch",
    "ray",
    "dask",
)
"""Modules of this package with a ``PEERS`` tuple, in the order in which they run."""

BASELINE = "stdlib"
"""The peer that ratios refer to."""


def catalogue() -> dict[str, Peer]:
    """Return all adapters of this package by name. Imports none of the libraries."""
    peers: dict[str, Peer] = {}
    for name in MODULES:
        for peer in importlib.import_module(f"{__name__}.{name}").PEERS:
            peers[peer.name] = peer
    return peers


def find(name: str) -> Peer:
    """Return one adapter by its name, or by ``module:name``.

    Raises:
        ValueError: there is none of that name.
    """
    if ":" in name:
        module, _, wanted = name.partition(":")
        known = {peer.name: peer for peer in importlib.import_module(module).PEERS}
    else:
        wanted, known = name, catalogue()
    if wanted not in known:
        raise ValueError(f"peer {name!r} is not known: choose from {', '.join(known)}")
    peer: Peer = known[wanted]
    return peer


def select(terms: Sequence[str]) -> list[str]:
    """Turn what the user asked for (names, or patterns such as ``stdlib*``) into names.

    Raises:
        ValueError: a term matches nothing.
    """
    names = list(catalogue())
    chosen: list[str] = []
    for term in terms:
        if ":" in term:
            find(term)
            matches = [term]
        else:
            matches = fnmatch.filter(names, term)
        if not matches:
            raise ValueError(f"peer {term!r} is not known: choose from {', '.join(names)}")
        chosen += [name for name in matches if name not in chosen]
    return chosen
