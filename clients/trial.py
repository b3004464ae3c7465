"""One run of a client: in a session and a directory of its own, with a limit.

Every process of the run has a mark in its environment, by which it is found also when it has left the
session. At the limit all of them are asked for their stacks (``SIGABRT`` and ``faulthandler``), then
killed. Behind a run that ended, whatever still runs after :data:`SETTLING` counts as left behind.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

from clients import serving
from clients.client import OWN, Client, Side
from clients.outcome import Outcome

__all__ = ["PROGRAMS", "run"]

PROGRAMS = Path(__file__).with_name("programs")

SETTLING = 8.0
"""Seconds that may pass from the end of the program to the end of its last process."""

STACKS = 3.0
"""Seconds that processes have to write their stacks."""

_MARK = "TINES_CLIENT_RUN"

_COMPLAINT = re.compile(
    r"^Traceback|^Exception ignored|^Exception in|leaked|ResourceWarning|^Fatal|^\w*Error\b"
)

_KEPT = ("PATH", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "SSL_CERT_FILE")
"""What a run keeps of the environment; ``OPENBLAS_*`` and ``OMP_*`` as well."""


def run(
    client: Client, side: Side, method: str, python: Path, sources: Path | None = None
) -> Outcome:
    """Run a client once.

    Args:
        client: What to run.
        side: On what.
        method: With which start method.
        python: The interpreter that has its packages.
        sources: Its source distribution, if it needs one.
    """
    mark = uuid.uuid4().hex
    with tempfile.TemporaryDirectory(prefix="client-", ignore_cleanup_errors=True) as place:
        home = Path(place) / "home"
        work = Path(place) / "work"
        home.mkdir()
        work.mkdir()
        _prepare(client, work)
        port = _free_port()
        words = {"port": port, "method": method, "sources": sources or "", "work": work}
        command = [str(python), *(["-m", "tines"] if side is not Side.STANDARD else [])]
        command += [part.format_map(words) for part in client.command]
        environment = _environment(client, side, method, python, home, mark)
        with _Output() as output:
            began = time.monotonic()
            process = subprocess.Popen(
                command,
                cwd=work,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output.out,
                stderr=output.err,
                start_new_session=True,
            )
            answers: tuple[str, ...] = ()
            try:
                if client.server is not None:
                    answers = serving.ask(client.server, port, process)
                    with suppress(ProcessLookupError):  # as a terminal does for Ctrl-C
                        os.killpg(process.pid, signal.SIGINT)
                exit_code = _wait(process, client.limit, mark)
                seconds = time.monotonic() - began
                left = _left(mark) if exit_code is not None else ()
            finally:
                _kill(mark)
                process.wait()
            return _outcome(client, output, work, exit_code, seconds, answers, left)


def _prepare(client: Client, work: Path) -> None:
    for name in client.files:
        source = PROGRAMS / name
        if source.is_dir():
            shutil.copytree(source, work, dirs_exist_ok=True)
        else:
            shutil.copy(source, work)
    if client.prepare is not None:
        client.prepare(work)


def _environment(
    client: Client, side: Side, method: str, python: Path, home: Path, mark: str
) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in _KEPT or name.startswith(("OPENBLAS_", "OMP_"))
    }
    kept["PATH"] = os.pathsep.join([str(python.parent), kept.get("PATH", os.defpath)])
    return {
        **kept,
        "HOME": str(home),
        "NO_COLOR": "1",
        "TERM": "dumb",
        "COLUMNS": "200",
        "PYTHONHASHSEED": "0",
        "PYTHONFAULTHANDLER": "1",
        "PYTHONUNBUFFERED": "1",
        "TINES_NATIVE": "off" if side is Side.PIPE else "require",
        "CLIENT_METHOD": "" if method == OWN else method,
        **client.variables,
        _MARK: mark,
    }


def _wait(process: subprocess.Popen[bytes], limit: float, mark: str) -> int | None:
    """Return the exit code, or ``None`` at the limit, where all stacks are written."""
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        for pid in _marked(mark):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGABRT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STACKS)
        return None


def _left(mark: str) -> tuple[str, ...]:
    """Return the command lines of what still runs; nothing tells of the last one's end but looking."""
    deadline = time.monotonic() + SETTLING
    while (pids := list(_marked(mark))) and time.monotonic() < deadline:
        time.sleep(0.05)
    return tuple(sorted(filter(None, map(_command_line, pids))))


def _kill(mark: str) -> None:
    while pids := list(_marked(mark)):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def _marked(mark: str) -> Iterator[int]:
    """Iterate over the processes of a run."""
    wanted = f"{_MARK}={mark}".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                yield int(entry.name)


def _command_line(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    return b" ".join(words).decode(errors="replace").strip()


def _outcome(
    client: Client,
    output: _Output,
    work: Path,
    exit_code: int | None,
    seconds: float,
    answers: tuple[str, ...],
    left: tuple[str, ...],
) -> Outcome:
    out, err = (text.replace(str(work), "WORK") for text in output.read())
    compare = client.compare
    counted = out + err if compare.errors else out
    files = work.glob(compare.files) if compare.files else ()
    return Outcome(
        exit_code=exit_code,
        seconds=seconds,
        lines=() if client.server or compare.passed else compare.lines(counted),
        passed=compare.tests(out) if compare.passed else None,
        complaints=tuple(line for line in err.splitlines() if _COMPLAINT.search(line)),
        answers=answers,
        files={str(path.relative_to(work)): _digest(path) for path in files if path.is_file()},
        left=left,
        said=f"{out[-10_000:]}\n{err[-20_000:]}",
    )


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class _Output:
    """What a run writes, to files: no pipe that a process left behind could keep open."""

    def __init__(self) -> None:
        self.out: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed on exit
        self.err: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115

    def __enter__(self) -> _Output:
        return self

    def __exit__(self, *_: object) -> None:
        self.out.close()
        self.err.close()

    def read(self) -> tuple[str, str]:
        """Return both as text."""
        texts = []
        for file in (self.out, self.err):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
        return texts[0], texts[1]
