"""A CPython for Windows, put together from packages and run by Wine.

No installer of Python can be fetched where only package indexes are reached, so its parts come from
where they are: the interpreter and its extension modules out of a wheel for Windows that carries them
(panda3d's, for programs that it deploys), the pure Python half of the standard library from a Python of
the same version on this machine, and ``python.exe`` and ``python3.dll`` from a few lines, compiled by
ziglang. ``python3.dll`` forwards every name to the interpreter's own library, as the real one does.

NumPy does not load here (Wine lacks ``crealf``), and everything is slower than on Windows: times
mean nothing, but two of them measured side by side can be compared.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from systems.debian import CHECKOUT, NotHere, Root, cache

__all__ = ["PACKAGES", "environment", "python", "run"]

VERSION = "3.13"
CARRIER = "panda3d==1.10.16"
PACKAGES = ("wine", "wine64")
LIBRARIES = ("cloudpickle", "colorama", "hypothesis", "psutil", "pytest", "pytest-rerunfailures")
PREFIX = "/opt/wine"
INSIDE = "/opt/python"
"""Where the assembled Python is, as seen from inside the root."""

_MAIN = """\
#include <wchar.h>
__declspec(dllimport) int Py_Main(int, wchar_t **);
int wmain(int argc, wchar_t **argv) { return Py_Main(argc, argv); }
"""
_NO_MAIN = "int DllMain(void *h, unsigned reason, void *p) { return 1; }\n"

QUICK = (
    "tests/test_namespace.py",
    "tests/test_errors.py",
    "tests/test_config.py",
    "tests/test_waits.py",
    "tests/process/test_box_goes.py",
    "tests/queues/test_queue.py",
    "tests/conformance/test_channel_messages.py",
)
"""What runs where nothing is asked for: enough to see that all parts work, in a few minutes."""


def run(arguments: Sequence[str]) -> int:
    """Run the tests given, or :data:`QUICK`; with ``--`` first, any command line of Python."""
    root = Root.made("wine", PACKAGES)
    _assemble(root)
    if arguments[:1] == ["--"]:
        return python(root, arguments[1:])
    wanted = [*arguments] or [*QUICK, "-m", "not slow"]
    return python(root, ["-m", "pytest", "-p", "no:cacheprovider", "-q", *wanted])


def python(root: Root, arguments: Sequence[str]) -> int:
    """Run the Python for Windows from the checkout; return its exit code."""
    command = ["wine", f"{INSIDE}/python.exe", *arguments]
    return root.run(command, environment=environment(), check=False)


def environment() -> dict[str, str]:
    """Return the environment of Wine, and of the Python in it."""
    return {
        "WINEPREFIX": PREFIX,
        "WINEDEBUG": "-all",
        "XDG_RUNTIME_DIR": "/tmp",
        "PYTHONPATH": f"Z:{CHECKOUT}/src".replace("/", "\\"),
        # Wine has no source of randomness this early.
        "PYTHONHASHSEED": "0",
        "PYTHONUTF8": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        # Starting a process takes seconds, not milliseconds.
        "TINES_TESTS_SLOWNESS": "5",
    }


def _assemble(root: Root) -> None:
    """Put the Python together inside the root, unless it is there."""
    home = root.path / INSIDE.lstrip("/")
    stamp = home / "tines-made"
    wanted = f"{VERSION} {CARRIER} {LIBRARIES}"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    shutil.rmtree(home, ignore_errors=True)
    (home / "DLLs").mkdir(parents=True)
    _unpack(_carrier(), home)
    _compile(home)
    library = home / "Lib"
    leave_out = shutil.ignore_patterns("__pycache__", "site-packages", "lib-dynload", "test")
    shutil.copytree(_standard_library(), library, ignore=leave_out)
    _pip("install", "--target", str(library / "site-packages"), *_for_windows(), *LIBRARIES)
    stamp.write_text(wanted)


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    subprocess.run(command, check=True)


def _for_windows() -> list[str]:
    return ["--platform", "win_amd64", "--python-version", VERSION, "--only-binary", ":all:"]


def _carrier() -> Path:
    """Download the wheel that has the interpreter in it; return its path."""
    folder = cache() / "downloads"
    name = CARRIER.partition("==")[0]
    if not list(folder.glob(f"{name}-*-win_amd64.whl")):
        _pip("download", "--no-deps", "--dest", str(folder), *_for_windows(), CARRIER)
    return next(folder.glob(f"{name}-*-win_amd64.whl"))


def _unpack(wheel: Path, home: Path) -> None:
    """Take the interpreter, its extension modules and what they load out of the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            folder, _, name = member.rpartition("/")
            # Those for the free-threaded build, Windows' own, and Tk are not wanted.
            if folder != "deploy_libs" or ".cp" in name or name.startswith(("api-ms", "t", "_tk")):
                continue
            beside = name.lower().startswith(("python", "vcruntime"))
            (home / ("" if beside else "DLLs") / name).write_bytes(archive.read(member))


def _compile(home: Path) -> None:
    """Make ``python.exe`` and ``python3.dll`` for the interpreter's library in ``home``."""
    try:
        import pefile
        import ziglang  # noqa: F401
    except ImportError as error:
        raise NotHere(f"{error.name} is missing: pip install 'tines[systems]'") from None
    library = f"python{VERSION.replace('.', '')}"
    found = pefile.PE(str(home / f"{library}.dll"), fast_load=True)
    found.parse_data_directories([pefile.DIRECTORY_ENTRY["IMAGE_DIRECTORY_ENTRY_EXPORT"]])
    names = [symbol.name.decode() for symbol in found.DIRECTORY_ENTRY_EXPORT.symbols if symbol.name]
    work = home / "made"
    work.mkdir()
    (work / "main.c").write_text(_MAIN)
    (work / "none.c").write_text(_NO_MAIN)
    exports = "\n".join(names)
    (work / "own.def").write_text(f"LIBRARY {library}.dll\nEXPORTS\n{exports}\n")
    forwards = "\n".join(f"{name}={library}.{name}" for name in names)
    (work / "forward.def").write_text(f"LIBRARY python3.dll\nEXPORTS\n{forwards}\n")

    def zig(*arguments: str) -> None:
        subprocess.run([sys.executable, "-m", "ziglang", *arguments], cwd=work, check=True)

    target = ("cc", "-target", "x86_64-windows-gnu", "-O1")
    zig("dlltool", "-m", "i386:x86-64", "-d", "own.def", "-l", "own.lib")
    zig(*target, "-municode", "main.c", "own.lib", "-o", str(home / "python.exe"))
    zig(*target, "-shared", "none.c", "own.lib", "forward.def", "-o", str(home / "python3.dll"))


def _standard_library() -> Path:
    """Return where a Python of :data:`VERSION` keeps its standard library on this machine."""
    homes = sorted(Path.home().glob(f".pyenv/versions/{VERSION}.*/bin/python3"))
    for candidate in (f"python{VERSION}", *map(str, homes)):
        command = [candidate, "-c", "import sysconfig; print(sysconfig.get_path('stdlib'))"]
        try:
            printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        except (OSError, subprocess.CalledProcessError):
            continue
        if (path := Path(printed.strip())).name == f"python{VERSION}":
            return path
    raise NotHere(f"no Python {VERSION} is here, whose standard library Windows' could use")
