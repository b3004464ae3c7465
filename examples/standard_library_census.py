"""The running interpreter's own library, parsed and measured by a Pool.

    python examples/standard_library_census.py [--full] [--workers N] [--rounds N] [--library DIR]

In four parts: the work itself, with a progress bar, checked against the same work done serially;
the same work on the standard library's Pool, and a second kind of work, where handing out tasks is
most of it; then a worker is killed in the middle of the run. The exit code says whether the results
were right and only what had to be lost was.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from pathlib import Path

try:
    import psutil  # noqa: F401
    import rich  # noqa: F401
except ImportError as missing:
    sys.exit(f"this program needs {missing.name}: pip install 'tines[demo]'")

import tines as mp
from census.display import Display
from census.measuring import Census, measure, sample, source_files, standard_library
from census.racing import FILES_PER_TASK, file_race, name_race
from census.surviving import run_with_a_kill
from tines import transport

SMALL_TASKS = 20_000
FILES = 300
"""How many files are measured without ``--full``: enough to see it work, in well under a minute."""


def main() -> int:
    """Run all parts; return the exit code."""
    options = parse_arguments()
    display = Display(options.library)
    found = source_files(options.library)
    if not found:
        sys.exit(f"--library: there are no .py files below {options.library}")
    paths = found if options.full else sample(found, FILES)

    chosen = transport.choice()
    all_files = f"of {len(found):,} (--full takes all) " if len(paths) < len(found) else ""
    display.heading(f"Measuring {len(paths):,} files {all_files}with {options.workers} workers")
    display.say(
        f"[dim]tines {mp.__version__}, Python {platform.python_version()}, {mp.cpu_count()} cores, "
        f"{chosen.name} transport: {chosen.reason}[/]"
    )
    census, right = take_census(display, paths, options.workers)

    display.heading(f"Against multiprocessing.Pool, medians of {options.rounds} rounds")
    compare(display, census, options.workers, options.rounds)

    display.heading("Killing a worker in the middle of the run")
    survived = survive(display, census, options.workers)
    return 0 if right and survived else 1


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--full", action="store_true", help=f"all files, not only {FILES}")
    parser.add_argument("--workers", type=positive, default=max(2, mp.cpu_count()), metavar="N")
    parser.add_argument("--rounds", type=positive, default=3, metavar="N")
    parser.add_argument("--library", type=directory, default=standard_library(), metavar="DIR")
    return parser.parse_args()


def positive(text: str) -> int:
    """Read a number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is too small: it must be at least 1")
    return number


def directory(text: str) -> Path:
    """Read the path of a directory that exists."""
    path = Path(text).resolve()
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is not a directory")
    return path


def take_census(display: Display, paths: list[str], workers: int) -> tuple[Census, bool]:
    """Measure all files with a pool, then serially, and compare."""
    started = time.perf_counter()
    with mp.Pool(workers) as pool:
        results = pool.imap_unordered(measure, paths, chunksize=FILES_PER_TASK)
        census = Census(display.progress(results, len(paths), "measuring"))
    parallel = time.perf_counter() - started
    display.census(census)

    started = time.perf_counter()
    serial_census = Census(map(measure, paths))
    serial = time.perf_counter() - started
    right = serial_census.files == census.files
    display.say(
        f"{parallel:.2f} s with the pool, {serial:.2f} s without ({serial / parallel:.2f}x); "
        + ("[green]the results are the same[/]" if right else "[red]THE RESULTS DIFFER[/]")
    )
    return census, right


def compare(display: Display, census: Census, workers: int, rounds: int) -> None:
    """Race against the standard library, on this work and on very small tasks."""
    paths = [each.path for each in census.files]
    names = [name for name, _ in census.names.most_common(SMALL_TASKS)]
    display.races([file_race(paths, workers, rounds), name_race(names, workers, rounds)])
    display.say(
        "[dim]Parsing keeps every core busy, whoever hands out the files: that ratio is near 1. "
        "Classifying a name is next to nothing: that one shows what handing out costs.[/]"
    )


def survive(display: Display, census: Census, workers: int) -> bool:
    """Kill a worker twice: once with a second attempt for its task, and once without."""
    paths = [each.path for each in census.files]
    victim = census.richest_file().path
    display.say(f"The worker that is measuring {display.short(victim)} gets killed.\n")

    display.say("[bold]retries=1[/]")
    retried = run_with_a_kill(paths, victim, workers, retries=1)
    display.survival(retried, len(paths))
    complete = Census(retried.results).files == census.files

    display.say("\n[bold]retries=0[/]")
    single = run_with_a_kill(paths, victim, workers, retries=0)
    display.survival(single, len(paths))
    if not single.lost:
        display.say("(its worker had just finished that file, so even this lost nothing)")
    everything = len(single.results) + len(single.lost) == len(paths)

    display.say(
        "\n[dim]The same kill leaves multiprocessing.Pool waiting for ever (cpython#66587), so it "
        "is not run here.[/]"
    )
    return complete and everything and set(single.lost) <= {victim}


if __name__ == "__main__":
    sys.exit(main())
