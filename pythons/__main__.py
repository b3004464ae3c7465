"""``python -m pythons [--version 3.15] [PYTEST ARGUMENT ...]``; exit code 1 if a test fails."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

VERSIONS = ("3.14", "3.15")
MIRROR = "http://deb.debian.org/debian"
SUITE = "sid"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")

QUICK = (
    "tests/test_namespace.py",
    "tests/dropin/test_runner.py",
    "tests/dropin/test_alias.py",
    "tests/executor",
    "tests/pool/test_standard.py",
    "tests/process/test_process.py",
    "tests/process/test_executables.py",
    "tests/queues/test_queue.py",
)
"""What runs unless the command line says otherwise: what changes between versions of Python."""

NEEDED = ("setuptools", "wheel", "pytest", "pytest-rerunfailures", "cloudpickle", "rich", "tqdm")
WELCOME = ("numpy", "joblib", "psutil")
"""Of these only what PyPI has built for the interpreter; tests that need the others are skipped."""

INSIDE = """
set -e
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
shift
exec chroot "$@"
"""


class Failed(Exception):
    """A step before the tests did not work."""


def main() -> int:
    """Set up what is missing, run the tests, and print a line for each interpreter."""
    parser = argparse.ArgumentParser(prog="python -m pythons", description=__doc__)
    parser.add_argument(
        "--version", action="append", choices=VERSIONS, help="only this; may be repeated"
    )
    parser.add_argument(
        "--root", type=Path, default=Path("build/pythons"), help="the folder (default: %(default)s)"
    )
    options, rest = parser.parse_known_args()
    root: Path = options.root.resolve()
    try:
        _set_up(root)
        _copy_sources(root / "src")
        results = {
            version: _run(root, version, rest or ["-m", "not slow", *QUICK])
            for version in options.version or VERSIONS
        }
    except Failed as error:
        print(f"python -m pythons: {error}", file=sys.stderr)
        return 2
    for version, (code, summary) in results.items():
        print(f"Python {version}: {'ok' if code == 0 else 'FAILED'}: {summary}")
    return int(any(code for code, _ in results.values()))


def _set_up(root: Path) -> None:
    """Install the distribution into a folder, once; a folder that is half done begins anew."""
    done = root / "complete"
    if done.exists():
        return
    if os.geteuid() != 0:
        raise Failed("it takes root, for chroot and mounts")
    if shutil.which("debootstrap") is None:
        raise Failed("there is no debootstrap: apt-get install debootstrap")
    if root.exists():
        shutil.rmtree(root)
    packages = ["ca-certificates", "gcc", "libc6-dev"]
    for version in VERSIONS:
        packages += [f"python{version}-venv", f"python{version}-dev"]
    root.parent.mkdir(parents=True, exist_ok=True)
    command = ["debootstrap", "--variant=minbase", f"--include={','.join(packages)}", SUITE]
    _check([*command, str(root), MIRROR])
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    certificates = Path(os.environ.get("SSL_CERT_FILE", CERTIFICATES))
    if certificates.exists():
        shutil.copyfile(certificates, root / CERTIFICATES.relative_to("/"))
    done.touch()


def _copy_sources(target: Path) -> None:
    """Have the folder hold the files of the working tree, and what was built from them there."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, capture_output=True, check=True).stdout.split(b"\0")
    wanted = {Path(os.fsdecode(name)) for name in names if name}
    for old in list(target.rglob("*")) if target.exists() else []:
        inside = old.relative_to(target)
        built = "build" in inside.parts or old.suffix == ".so" or ".egg-info" in str(inside)
        if not old.is_dir() and not built and inside not in wanted:
            old.unlink()
    for name in wanted:
        if name.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(name, target / name)


def _run(root: Path, version: str, arguments: list[str]) -> tuple[int, str]:
    """Build and test on one interpreter; return pytest's exit code and its last line."""
    python = f"/venv-{version}/bin/python"
    install = [python, "-m", "pip", "install", "--quiet"]
    if not (root / python.lstrip("/")).is_symlink():
        _inside(root, [f"python{version}", "-m", "venv", f"/venv-{version}"])
    _inside(root, [*install, *NEEDED])
    for name in WELCOME:
        _inside(root, [*install, "--only-binary=:all:", name], may_fail=True)
    _inside(root, [*install, "--no-build-isolation", "--no-deps", "--editable", "/src"])
    print(f"Python {version}:", *arguments, flush=True)
    tests = subprocess.Popen(
        _command(root, [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]),
        stdout=subprocess.PIPE,
        text=True,
        env=_environment(),
    )
    assert tests.stdout is not None
    summary = ""
    for line in tests.stdout:
        print(line, end="", flush=True)
        summary = line.strip() or summary
    return tests.wait(), summary


def _inside(root: Path, command: list[str], *, may_fail: bool = False) -> None:
    _check(_command(root, command), may_fail=may_fail)


def _command(root: Path, command: list[str]) -> list[str]:
    in_source = ["sh", "-c", 'cd /src && exec "$@"', "sh", *command]
    # The processes in there end with it, and nothing stays mounted.
    alone = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
    return [*alone, "sh", "-c", INSIDE, "sh", str(root), str(root), *in_source]


def _check(command: list[str], *, may_fail: bool = False) -> None:
    quiet = subprocess.DEVNULL if may_fail else None
    code = subprocess.run(command, env=_environment(), stdout=quiet, stderr=quiet).returncode
    if code and not may_fail:
        raise Failed(f"{' '.join(command[-6:])} ended with {code}")


def _environment() -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(("PIP_INDEX", "PIP_EXTRA", "PIP_DEFAULT", "TINES_", "LANG", "http"))
    }
    return {
        **kept,
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "PIP_CERT": str(CERTIFICATES),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
    }


if __name__ == "__main__":
    sys.exit(main())
