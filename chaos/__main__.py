"""``python -m chaos``: see the package's docstring."""

from __future__ import annotations

import argparse
import ctypes
import faulthandler
import os
import random
import signal
import sys
from collections.abc import Callable
from functools import partial

from chaos import guard, leaks, lock_rig, pool_rig, process_rig, queue_rig, scarce_rig
from chaos.display import Display
from chaos.tally import PLANTS, Tally
from tines.transport import named

Rig = Callable[..., Tally]

RIGS: dict[str, Rig] = {
    "queue": partial(queue_rig.run, transport="ring"),
    "queue-pipe": partial(queue_rig.run, transport="pipe"),
    "pool": pool_rig.run,
    "process": process_rig.run,
    "lock": lock_rig.run,
    "scarce": scarce_rig.run,
}

EACH: dict[str, dict[str, Rig]] = {
    "pool": {
        f"pool-{transport}-{method}{'-retries' if retries else ''}": partial(
            pool_rig.run, setting=pool_rig.Setting(transport, method, retries)
        )
        for transport in ("ring", "pipe")
        for method in pool_rig.METHODS
        for retries in (False, True)
    }
}
"""What ``--all`` makes of a rig; each of these has a name of its own as well."""

KNOWN = {**RIGS, **{name: rig for group in EACH.values() for name, rig in group.items()}}

GRACE = 120.0
"""Seconds that a rig has beyond its own until everything is taken for hung, and stacks are dumped."""

PR_SET_PDEATHSIG = 1


def usable(name: str) -> bool:
    """Whether a rig can run here."""
    try:
        named("ring" if name in ("queue", "lock") or "-ring-" in name else "pipe")
    except ImportError:
        return False
    return True


def run_one(name: str, seconds: float, seed: int, plant: str) -> bool:
    """Run a rig, print its tally; return whether it failed."""
    print(f"chaos {name}: {seconds:g} s, seed {seed}", flush=True)
    with Display(name, seed) as display:
        tally = KNOWN[name](seconds, seed, plant, display.report)
    print(f"chaos {name}: {tally}", flush=True)
    failures = tally.failures()
    if failures:
        again = f"python -m chaos --seconds {seconds:g} --seed {seed} {name}"
        print(f"chaos {name}: FAILED: {', '.join(failures)}; to repeat: {again}", flush=True)
    return bool(failures)


def chosen(options: argparse.Namespace) -> list[str]:
    """Return the names of the rigs that were asked for and can run."""
    names = options.rigs or [name for name in RIGS if usable(name)]
    if options.all:
        names = [each for name in names for each in EACH.get(name, {name: None})]
    return [name for name in names if (options.rigs and not options.all) or usable(name)]


def run_all(names: list[str], seconds: float, seed: int, plant: str) -> int:
    """Run the rigs one after the other, under guard; the exit code says whether any failed."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # nobody outlives the guard
    faulthandler.enable()
    print(f"chaos: the wall clock is {guard.clock_in_force()}", flush=True)
    failed = [name for name in names if run_one(name, seconds, seed, plant)]
    summary = (
        f"FAILED: {', '.join(failed)}" if failed else "nothing lost, twice, torn, hung or leaked"
    )
    print(f"chaos: {len(names)} rigs: {summary}")
    return 1 if failed else 0


def main() -> None:
    """Run the rigs that were asked for; the exit code says whether any failed."""
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("rigs", nargs="*", metavar="RIG", help=f"any of {', '.join(RIGS)}; all")
    parser.add_argument("--seconds", type=float, default=60.0, help="for all rigs together")
    parser.add_argument("--seed", type=int, default=None, help="repeats what chance decides")
    parser.add_argument("--plant", choices=PLANTS, default="", help="a fault that has to be found")
    parser.add_argument(
        "--all",
        action="store_true",
        help="each transport and start method, with and without retries; --seconds is for each",
    )
    parser.add_argument(
        "--settle",
        type=float,
        default=leaks.SETTLE,
        help="seconds until nothing may be left behind",
    )
    options = parser.parse_args()
    leaks.SETTLE = options.settle
    unknown = set(options.rigs) - set(KNOWN)
    if unknown:
        parser.error(f"no rig is called {', '.join(sorted(unknown))}: use {', '.join(KNOWN)}")
    if options.seed is None:
        options.seed = random.randrange(10**6)
    names = chosen(options)
    each = options.seconds if options.all else options.seconds / len(names)
    if guard.CLOCK in os.environ:
        sys.exit(run_all(names, each, options.seed, options.plant))
    arguments = [*sys.argv[1:], "--seed", str(options.seed)]
    sys.exit(guard.run(arguments, len(names) * (each + GRACE)))


if __name__ == "__main__":
    main()
