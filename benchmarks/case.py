"""One case in a process of its own: ``python -m benchmarks.case ORDER ANSWER``, two JSON files.

This is the ``__main__`` that spawned workers import again, so its own imports are few. The answer
is written before the interpreter exits: the runner tells a case that hung from one that finished
its work and then did not exit.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

__all__ = ["main"]


def _probe(order: dict[str, Any]) -> dict[str, Any]:
    from benchmarks import peers

    return {"version": peers.find(order["peer"]).probe()}


def _measure(order: dict[str, Any]) -> dict[str, Any]:
    from benchmarks import limits, peers, subjects

    params = {**order["params"], "round": order["round"]}
    if order["peer"].startswith("limit:"):
        limit = limits.LIMITS[order["peer"].removeprefix("limit:")]
        return {"metrics": {order["metric"]: limit.measure(params)}}
    peer = peers.find(order["peer"])
    return {"metrics": subjects.find(order["subject"]).measure(peer, params)}


def _answer(order: dict[str, Any]) -> dict[str, Any]:
    from benchmarks.model import Status, Unsupported, WrongResult

    try:
        given = _probe(order) if order["what"] == "probe" else _measure(order)
        return {"status": Status.OK.value, **given}
    except WrongResult as error:
        return {"status": Status.WRONG.value, "detail": str(error)}
    except Unsupported as error:
        return {"status": Status.UNSUPPORTED.value, "detail": str(error)}
    except Exception as error:
        # A worker's own failure arrives as text; its verdict is what counts.
        wrong = "benchmarks.model.WrongResult" in str(error)
        status = Status.WRONG if wrong else Status.ERROR
        text = str(error).strip().splitlines() or [""]
        return {"status": status.value, "detail": f"{type(error).__name__}: {text[-1]}"}


def main(order_file: str, answer_file: str) -> None:
    """Carry out one order."""
    order = json.loads(Path(order_file).read_text())
    answer = _answer(order)
    partial = Path(answer_file + ".part")
    partial.write_text(json.dumps(answer))
    partial.replace(answer_file)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
