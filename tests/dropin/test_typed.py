"""A program with types that uses the whole namespace: it runs, and ``mypy --strict`` has nothing to say."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tines

CLIENT = Path(__file__).with_name("typed_client.py")


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, sys.path))
    return subprocess.run(
        [sys.executable, *command],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=110,
    )


def check(client: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    """Run mypy with no configuration but ``--strict``, as a user's project would."""
    options = ["--strict", "--config-file=", f"--cache-dir={cache}", "--follow-imports=silent"]
    package = str(Path(tines.__file__).parents[1])
    return run("-m", "mypy", *options, str(client), MYPYPATH=package)


needs_mypy = pytest.mark.skipif(
    importlib.util.find_spec("mypy") is None,
    reason="mypy is not installed: pip install tines[lint]",
)


@pytest.mark.slow
@pytest.mark.watchdog(120)
@pytest.mark.parametrize("native", ["auto", "off"])
def test_it_runs(native: str) -> None:
    done = run(str(CLIENT), TINES_NATIVE=native)
    assert done.returncode == 0 and done.stdout.endswith("all of it\n"), done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.watchdog(120)
@needs_mypy
def test_it_is_typed(tmp_path: Path) -> None:
    done = check(CLIENT, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.watchdog(120)
@needs_mypy
def test_a_wrong_type_is_found(tmp_path: Path) -> None:
    """So the types are there: where a package has none, everything passes."""
    client = tmp_path / "wrong.py"
    client.write_text(
        "import tines as mp; from tines import aio\n"
        "queue: mp.Queue[int] = mp.Queue()\n"
        "queue.put('text')\n"
        "mp.Lock().recover\n"
        "mp.Semaphore('1')\n"
        "mp.Process(target=print, returns='yes')\n"
        "mp.get_context('fork').Event().wait('long')\n"
        "text: str = mp.Pool(1).apply_async(len, ('a',)).get()\n"
        "more: list[str] = mp.Pool(1).map_async(len, ['a']).get()\n"
        "mp.Pool(1).map(bytes.hex, ['a'])\n"
        "for text in mp.Pool(1).imap(bytes.hex, [1]): ...\n"
        "mp.ProcessPoolExecutor().submit(bytes.hex, 'a')\n"
        "aio.Pool(1).imap_unordered(bytes.hex, ['a'])\n"
    )
    done = check(client, tmp_path / "cache")
    assert [f":{line}: error" in done.stdout for line in range(3, 14)] == [True] * 11, done.stdout
