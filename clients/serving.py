"""Asks a server: waits until it answers, asks by many at once, and says what came back.

``/worker`` has to answer with the pid of its process, after a moment in which that process does
nothing else, so that the next one is asked.
"""

from __future__ import annotations

import http.client
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

from clients.client import Server

__all__ = ["ask"]

AT_ONCE = 8
ROUNDS = 40
TIMES = 20

STARTING = 40.0
"""Seconds that a server may take to its first answer."""

REST = 0.5
"""Seconds in which it has nothing to do at the end, before it is stopped."""


def ask(server: Server, port: int, process: subprocess.Popen[bytes]) -> tuple[str, ...]:
    """Return what a server answers, as lines that can be compared; what it does not, too."""
    if not _answers(port, process):
        return ("no answer",)
    answers = []
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for path in server.paths:
            told = set(threads.map(lambda path: _get(port, path), [path] * TIMES))
            answers += [f"{path}: {answer}" for answer in sorted(told)]
        workers: set[str] = set()
        for _ in range(ROUNDS):
            workers |= set(threads.map(lambda path: _get(port, path), ["/worker"] * AT_ONCE))
            if len(workers) >= server.workers:
                break
    time.sleep(REST)
    bad = sorted(worker for worker in workers if not worker.startswith("200 "))
    return (*answers, f"answered by {min(len(workers), server.workers)} workers", *bad)


def _answers(port: int, process: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + STARTING
    while time.monotonic() < deadline and process.poll() is None:
        if _get(port, "/").startswith("200 "):
            return True
        time.sleep(0.1)
    return False


def _get(port: int, path: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return f"{answer.status} {answer.read()[:200].decode(errors='replace')}"
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__
    finally:
        connection.close()
