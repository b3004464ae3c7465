"""The subcommands: their options, and the module that each of them is."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from tines import __version__
from tines.cli.arguments import Parser, one_of, seconds
from tines.runner.command import USAGE

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[Parser]

__all__ = ["parser"]


def parser() -> argparse.ArgumentParser:
    """Return the parser of all subcommands; what it parses has a ``run`` that takes it."""
    built = Parser(
        prog="tines",
        description="Run a program on tines, or look at tines and its processes.",
        epilog=USAGE,
        also=["--engine", "--stats", "--trace"],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    built.add_argument("--version", action="version", version=f"tines {__version__}")
    commands = built.add_subparsers(metavar="COMMAND")
    built.set_defaults(run=None)

    for add in (_add_dashboard, _add_doctor, _add_report, _add_stacks, _add_top):
        add(commands)
    return built


def _add_dashboard(commands: Commands) -> None:
    dashboard = commands.add_parser(
        "dashboard",
        help="show what running programs do as a page in the browser, for Prometheus and as JSON",
        description="Serve a page that shows what all running tines programs of yours do, "
        "/metrics for Prometheus and /api as JSON, to this machine only and only to those who have the "
        "address that is printed. Needs tines[dashboard]. Ctrl-C ends it.",
    )
    dashboard.add_argument(
        "--port",
        type=_port,
        default=8463,
        metavar="PORT",
        help="where to listen (default: 8463); 0: any that is free",
    )
    dashboard.set_defaults(run=_dashboard)


def _port(text: str) -> int:
    port = int(text) if text.isascii() and text.isdecimal() and len(text) < 6 else -1
    if not 0 <= port < 65536:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: a number from 0 to 65535")
    return port


def _add_doctor(commands: Commands) -> None:
    doctor = commands.add_parser(
        "doctor",
        help="say what tines finds here: interpreter, transport, cores, limits, extras",
        description="Say what tines finds on this machine, and what is the matter with it.",
    )
    doctor.add_argument("--json", action="store_true", help="print it as JSON")
    doctor.add_argument(
        "--engine", metavar="NAME", help="instead, say whether a pool can have its workers there"
    )
    doctor.set_defaults(run=_doctor)


def _add_report(commands: Commands) -> None:
    report = commands.add_parser(
        "report",
        help="say where the time of a traced run went, and what to change",
        description="Say where the time of a run went, from the trace that `tines --trace FILE`, "
        "TINES_TRACE=FILE or tines.trace(FILE) has written. https://ui.perfetto.dev shows the same "
        "file on a time line.",
    )
    report.add_argument("trace", help="the trace")
    report.add_argument("--json", action="store_true", help="print it as JSON")
    report.add_argument(
        "--html",
        metavar="FILE",
        help="write it as a page, with a time line and charts: one file that needs nothing else",
    )
    report.add_argument(
        "--top", type=_count, default=10, metavar="N", help="how many slowest tasks to print"
    )
    report.add_argument(
        "--recover",
        action="store_true",
        help="first make the trace from what a program that was killed has left",
    )
    report.set_defaults(run=_report)


def _count(text: str) -> int:
    count = int(text) if text.isdecimal() else 0
    if count < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above zero")
    return count


def _add_stacks(commands: Commands) -> None:
    stacks = commands.add_parser(
        "stacks",
        help="print the stacks of running processes, which go on",
        description="Print the stacks of all threads of a running process that tines started. "
        "It is not disturbed, and answers also where it hangs in C code. Linux only.",
    )
    stacks.add_argument("pid", type=int, help="a process that tines started, or its program")
    stacks.add_argument(
        "--timeout",
        type=seconds(0.1, 3600),
        default=5.0,
        metavar="SECONDS",
        help="how long to wait for an answer (default: 5)",
    )
    stacks.set_defaults(run=_stacks)


def _add_top(commands: Commands) -> None:
    top = commands.add_parser(
        "top",
        help="show what running programs do: pools, workers, queues",
        description="Show what all running tines programs of yours do: pools, workers with what "
        "they run and for how long, queues. Keys: s sorts by something else, up and down choose a "
        "pool, Enter opens it, Esc goes back, q quits. Ends with 1 if nothing runs.",
    )
    top.add_argument("--once", action="store_true", help="print it once, after one interval")
    top.add_argument(
        "--json", action="store_true", help="print JSON, one line each time; for scripts"
    )
    top.add_argument(
        "--sort",
        type=one_of("time", "cpu", "memory", "rate", "pid"),
        default="time",
        metavar="KEY",
        help="programs and workers by: time (what has been running longest), cpu, memory, rate, pid",
    )
    top.add_argument(
        "--interval",
        type=seconds(0.1, 3600),
        default=1.0,
        metavar="SECONDS",
        help="between two looks (default: 1)",
    )
    top.add_argument("--pid", type=int, help="only the program with this process id")
    top.add_argument(
        "--filter",
        default="",
        metavar="WORDS",
        help="only programs, pools and queues with these words in their names, or in running tasks",
    )
    top.set_defaults(run=_top)


def _top(arguments: argparse.Namespace) -> int:
    from tines.cli import top

    return top.run(
        top.Options(
            once=arguments.once,
            json=arguments.json,
            sort=arguments.sort,
            interval=arguments.interval,
            pid=arguments.pid,
            words=arguments.filter,
        )
    )


def _dashboard(arguments: argparse.Namespace) -> int:
    from tines.cli import dashboard

    return dashboard.run(dashboard.Options(port=arguments.port))


def _doctor(arguments: argparse.Namespace) -> int:
    if arguments.engine is not None:
        from tines.cli import engine_check

        return engine_check.run(arguments.engine, as_json=arguments.json)
    from tines.cli import doctor

    return doctor.run(as_json=arguments.json)


def _report(arguments: argparse.Namespace) -> int:
    from tines.cli import report

    return report.run(
        arguments.trace,
        as_json=arguments.json,
        recover=arguments.recover,
        top=arguments.top,
        html=arguments.html,
    )


def _stacks(arguments: argparse.Namespace) -> int:
    from tines.cli import stacks

    return stacks.run(arguments.pid, timeout=arguments.timeout)
