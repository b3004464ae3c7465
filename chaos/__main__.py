"""``python -m chaos``: see the package's docstring."""

from __future__ import annotations

import argparse
import faulthandler
import random
import sys
from collections.abc import Callable
from functools import partial

from chaos import pool_rig, process_rig, queue_rig
from chaos.display import Display
from chaos.tally import PLANTS, Tally
from tines.transport import named

RIGS: dict[str, Callable[..., Tally]] = {
    "queue": partial(queue_rig.run, transport="ring"),
    "queue-pipe": partial(queue_rig.run, transport="pipe"),
    "pool": pool_rig.run,
    "process": process_rig.run,
}

GRACE = 120.0
"""Seconds that a rig has beyond its own until everything is taken for hung, and stacks are dumped."""


def usable(name: str) -> bool:
    """Whether a rig can run here."""
    try:
        named("pipe" if name == "queue-pipe" else "ring" if name == "queue" else "pipe")
    except ImportError:
        return False
    return True


def run_one(name: str, seconds: float, seed: int, plant: str) -> bool:
    """Run a rig, print its tally; return whether it failed."""
    faulthandler.dump_traceback_later(seconds + GRACE, exit=True)
    print(f"chaos {name}: seed {seed}", flush=True)
    with Display(name, seed) as display:
        tally = RIGS[name](seconds, seed, plant, display.report)
    faulthandler.cancel_dump_traceback_later()
    print(f"chaos {name}: {tally}")
    failures = tally.failures()
    if failures:
        again = f"python -m chaos --seconds {seconds:g} --seed {seed} {name}"
        print(f"chaos {name}: FAILED: {', '.join(failures)}; to repeat: {again}")
    return bool(failures)


def main() -> None:
    """Run the rigs that were asked for; the exit code says whether any failed."""
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("rigs", nargs="*", metavar="RIG", help=f"any of {', '.join(RIGS)}; all")
    parser.add_argument("--seconds", type=float, default=60.0, help="for all rigs together")
    parser.add_argument("--seed", type=int, default=None, help="repeats what chance decides")
    parser.add_argument("--plant", choices=PLANTS, default="", help="a fault that has to be found")
    options = parser.parse_args()
    unknown = set(options.rigs) - set(RIGS)
    if unknown:
        parser.error(f"no rig is called {', '.join(sorted(unknown))}: use {', '.join(RIGS)}")
    seed = random.randrange(10**6) if options.seed is None else options.seed
    names = options.rigs or [name for name in RIGS if usable(name)]
    share = options.seconds / len(names)
    failed = [name for name in names if run_one(name, share, seed, options.plant)]
    print(
        f"chaos: {'FAILED: ' + ', '.join(failed) if failed else 'nothing lost, twice, torn, hung or leaked'}"
    )
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
