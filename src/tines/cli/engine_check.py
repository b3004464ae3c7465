"""``tines doctor --engine NAME``: whether a pool can have its workers there, found out by making one."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import Any

from tines.pool import Pool

__all__ = ["run"]

CALL_SECONDS = 30.0


def run(name: str, *, as_json: bool) -> int:
    """Print what nodes there are, or why none can be used; return the exit code: 1 in that case."""
    report = _try(name)
    if as_json:
        print(json.dumps(report, indent=2))
    elif report["problem"] is not None:
        print(f"engine {name} cannot be used: {report['problem']}")
    else:
        print(f"engine {name} works, with {len(report['nodes'])} node(s):")
        for node in report["nodes"]:
            print(f"  {node['name']:<20}{node['address'] or 'this machine'}, pid {node['pid']}")
    return 0 if report["problem"] is None else 1


def _try(name: str) -> dict[str, Any]:
    nodes: list[dict[str, Any]] = []
    problem = None
    try:
        with Pool(1, engine=name) as pool:
            pool.apply_async(os.getpid).get(CALL_SECONDS)
            nodes = [dataclasses.asdict(node) for node in pool.nodes()]
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
    return {"engine": name, "problem": problem, "nodes": nodes}
