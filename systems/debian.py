"""A folder with Debian's newest suite in it, and programs run inside.

Nothing is changed outside the folder: packages are unpacked into it by debootstrap, what has to be
mounted to run them is mounted in a namespace of the run's own, and processes end with the run.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["CHECKOUT", "TREE", "NotHere", "Root", "cache", "copy_sources"]

MIRROR = "http://deb.debian.org/debian"
SUITE = "sid"
CHECKOUT = "/tines"
"""Where the checkout is, as seen from inside."""
TREE = Path(__file__).parents[1]
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")

_APT = "apt-get --quiet --yes -o Acquire::Check-Valid-Until=false -o Dpkg::Use-Pty=0"
_MOUNTS = """\
mount -t proc proc "$ROOT/proc" && mount --rbind /dev "$ROOT/dev" &&
mount -t tmpfs tmpfs "$ROOT/tmp" && mount --bind "$TREE" "$ROOT$INSIDE" && exec chroot "$ROOT" "$@"
"""


class NotHere(RuntimeError):
    """This machine lacks what a rig needs; the text says what."""


def cache() -> Path:
    """Return the folder in which roots and downloads are kept from run to run."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(os.environ.get("TINES_SYSTEMS") or Path(base, "tines-systems"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@dataclass(frozen=True)
class Root:
    """A folder that is the root of another Debian."""

    path: Path

    @classmethod
    def made(cls, name: str, packages: Sequence[str]) -> Root:
        """Return the root called ``name`` with these packages installed; make it if need be.

        Raises:
            NotHere: this machine cannot make or use one.
            subprocess.CalledProcessError: a package could not be installed.
        """
        for tool in ("debootstrap", "unshare", "chroot"):
            if shutil.which(tool) is None:
                raise NotHere(f"{tool} is missing: on Debian, apt-get install debootstrap")
        if os.geteuid() != 0:
            raise NotHere("only root may make another root: run it as root, or in a container")
        path = cache() / name
        stamp = path / "tines-packages"
        wanted = " ".join(packages)
        if not stamp.exists():
            shutil.rmtree(path, ignore_errors=True)
            command = ["debootstrap", "--variant=minbase", SUITE, str(path), MIRROR]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            stamp.write_text("")
        shutil.copy("/etc/resolv.conf", path / "etc/resolv.conf")
        root = cls(path)
        if stamp.read_text() != wanted:
            root.run(
                ["sh", "-c", f"{_APT} update && {_APT} --no-install-recommends install {wanted}"]
            )
            stamp.write_text(wanted)
        # Last: the package ca-certificates writes the file anew, without what this machine trusts besides.
        trusted = path / str(CERTIFICATES).lstrip("/")
        trusted.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(os.environ.get("SSL_CERT_FILE", CERTIFICATES), trusted)
        return root

    def run(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        tree: Path = TREE,
        check: bool = True,
        quiet: bool = False,
    ) -> int:
        """Run a program inside, from the checkout; return its exit code.

        Args:
            command: The program and its arguments, with paths as they are inside.
            environment: All of its environment, beside PATH and HOME.
            tree: What is mounted as the checkout.
            check: Whether another exit code than 0 is an error.
            quiet: Whether what it prints is dropped.

        Raises:
            subprocess.CalledProcessError: it failed, and ``check`` is set.
        """
        (self.path / CHECKOUT.lstrip("/")).mkdir(exist_ok=True)
        inside = " ".join(
            [
                f"cd {CHECKOUT} && exec env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin",
                "DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8",
                *(f"{name}={shlex.quote(text)}" for name, text in (environment or {}).items()),
                shlex.join(command),
            ]
        )
        outside = {
            **os.environ,
            "ROOT": str(self.path),
            "TREE": str(tree),
            "INSIDE": CHECKOUT,
        }
        alone = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        return subprocess.run(
            [*alone, "sh", "-c", _MOUNTS, "sh", "sh", "-c", inside],
            env=outside,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if quiet else None,
            stderr=subprocess.DEVNULL if quiet else None,
            check=check,
        ).returncode


def copy_sources(target: Path) -> None:
    """Have a folder hold the files of the checkout, and keep what was built from them there."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=TREE, capture_output=True, check=True).stdout
    wanted = {Path(os.fsdecode(name)) for name in listed.split(b"\0") if name}
    for old in list(target.rglob("*")) if target.exists() else []:
        inside = old.relative_to(target)
        built = "build" in inside.parts or old.suffix == ".so" or ".egg-info" in str(inside)
        if not old.is_dir() and not built and inside not in wanted:
            old.unlink()
    for name in wanted:
        if (TREE / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(TREE / name, target / name)
