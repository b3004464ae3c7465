"""The rig's own virtual environments: made once, kept, and brought up to what the table asks for.

``.venv-clients/3.11-common`` is the environment ``common`` for Python 3.11. Packages are installed
client by client, so one that cannot be installed here costs only that client, and a stamp beside the
environment says what was installed for it. tines itself is there by its source directory, as in an
editable installation, and cloudpickle with it.

Source distributions are unpacked in ``.venv-clients/sources``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path

from clients.client import Client

__all__ = ["ROOT", "Environments", "Missing"]

ROOT = Path(__file__).parents[1]

PLACE = ROOT / ".venv-clients"

INSTALLING = 900.0
"""Seconds that pip may take for one client."""

_VERSIONS = """
import importlib.metadata, json
print(json.dumps({d.metadata["Name"].lower().replace("_", "-"): d.version
                  for d in importlib.metadata.distributions()}))
"""


class Missing(Exception):
    """A client cannot be run, as something it needs cannot be had here."""


class Environments:
    """Makes and fills environments.

    Args:
        install: Whether to install what is missing; if not, clients that need it are missing.
        place: Where the environments lie.
    """

    def __init__(self, *, install: bool = True, place: Path = PLACE) -> None:
        self._install = install
        self._place = place
        self._versions: dict[str, dict[str, str]] = {}

    def python(self, client: Client) -> Path:
        """Return the interpreter that has what a client needs.

        Raises:
            Missing: it cannot be installed.
        """
        home = self._home(client.environment)
        stamp = home / "clients" / client.name
        wanted = "\n".join(client.packages)
        if not stamp.exists() or stamp.read_text() != wanted:
            if not self._install:
                raise Missing("is not installed")
            if client.packages:
                self._pip(home, "install", *client.packages)
            stamp.parent.mkdir(exist_ok=True)
            stamp.write_text(wanted)
            self._versions.pop(client.environment, None)
        return home / "bin" / "python"

    def version(self, client: Client) -> str:
        """Return the version that is installed of the client's first package."""
        if not client.packages:
            return ""
        known = self._versions.get(client.environment)
        if known is None:
            python = self._home(client.environment) / "bin" / "python"
            told = subprocess.run([python, "-c", _VERSIONS], capture_output=True, check=True)
            known = self._versions[client.environment] = json.loads(told.stdout)
        name = client.packages[0]
        for end in "[<>=!~; ":
            name = name.partition(end)[0]
        return known.get(name.lower().replace("_", "-"), "")

    def sources(self, client: Client) -> Path:
        """Return the directory of the client's source distribution, unpacked.

        Raises:
            Missing: there is none to be had.
        """
        place = self._place / "sources" / client.sources
        if not place.exists():
            if not self._install:
                raise Missing("its sources are not there")
            archives = place.parent / "archives"
            home = self._home(client.environment)
            options = ("--no-deps", "--no-binary", ":all:", "--dest", str(archives))
            self._pip(home, "download", *options, client.sources)
            stem = client.sources.replace("==", "-").lower()
            (archive,) = (
                path
                for path in archives.glob("*.tar.gz")
                if path.name.removesuffix(".tar.gz").lower() == stem
            )
            with tarfile.open(archive) as tar:
                tar.extractall(place, filter="data")
        (inner,) = place.iterdir()
        return inner

    def _home(self, name: str) -> Path:
        home = self._place / f"{sys.version_info[0]}.{sys.version_info[1]}-{name}"
        if not (home / "made").exists():
            if not self._install:
                raise Missing("is not installed")
            subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
            self._pip(home, "install", "cloudpickle>=3")
            (home / "made").touch()
        (packages,) = (home / "lib").glob("python*/site-packages")
        (packages / "tines.pth").write_text(f"{ROOT / 'src'}\n")
        return home

    def _pip(self, home: Path, *arguments: str) -> None:
        command = [
            str(home / "bin" / "python"),
            "-m",
            "pip",
            "--disable-pip-version-check",
            "--quiet",
        ]
        try:
            done = subprocess.run(
                [*command, *arguments], capture_output=True, text=True, timeout=INSTALLING
            )
        except subprocess.TimeoutExpired:
            raise Missing(f"cannot be installed here: pip took over {INSTALLING:.0f} s") from None
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            why = errors[-1] if errors else done.stderr.strip()[-200:]
            raise Missing(f"cannot be installed here: {why}")
