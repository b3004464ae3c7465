"""No import fails on Windows or macOS: every module is imported where the platform's parts are hidden.

The systems are played on Linux, in a fresh interpreter for each: what they do not have is taken away
after the standard library's own modules, which know the real system, have been imported.
"""

from __future__ import annotations

import importlib.util
import os
import pkgutil
import subprocess
import sys

import pytest

import tines

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere the real system shows it"
)

ONLY_FORK = "forks, or watches what was forked; nothing imports it where there is no fork"
NOT_ON_WINDOWS = {
    "tines.process.start.forkserver": ONLY_FORK,
    "tines.process.start.popen": ONLY_FORK,
    "tines.process.start.popen_fork": ONLY_FORK,
    "tines.process.start.popen_forkserver": ONLY_FORK,
    "tines.process.start.spares": "waits in ways of POSIX; ``popen_spawn`` does not import it there",
}
NEEDS_NATIVE = {
    "tines.transport.ring": "is the native transport, which is for Linux",
    "tines.transport.segments": "maps its shared memory",
    "tines.transport.primitives": "makes locks in its shared memory",
    "tines.synchronize.barrier": "is for those",
    "tines.synchronize.native": "is for those",
}

NEEDS_TORCH = {
    "tines.wire.reducers.batches": "is about PyTorch's DataLoader",
    "tines.wire.reducers.tensors": "is about PyTorch, which does not take a pretended system for one",
}

LOAD_STANDARD_LIBRARY = """
import asyncio, concurrent.futures.process, ctypes, logging.handlers, os, signal, socket, sys
import subprocess, tempfile, threading, types, importlib, platform, shutil, runpy
import multiprocessing.connection, multiprocessing.dummy, multiprocessing.managers
import multiprocessing.pool, multiprocessing.queues, multiprocessing.shared_memory
import multiprocessing.sharedctypes, multiprocessing.spawn, multiprocessing.util
try:
    import joblib
except ImportError:
    pass

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name in NAMES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

def hide(*modules):
    global NAMES
    NAMES = modules
    for name in modules:
        sys.modules.pop(name, None)
        parent, _, child = name.rpartition(".")
        if parent in sys.modules:
            vars(sys.modules[parent]).pop(child, None)
    sys.meta_path.insert(0, Hidden())

def remove(module, *names):
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
"""

MACOS = """
sys.platform = "darwin"
remove(os, "memfd_create", "pidfd_open", "sched_getaffinity", "posix_fallocate", "eventfd")
remove(signal, "SIGRTMIN", "SIGRTMAX", "pidfd_send_signal", "sigtimedwait")
hide("tines._native")
"""

WINDOWS = """
sys.platform = "win32"
remove(os, "fork", "register_at_fork", "memfd_create", "pidfd_open", "sched_getaffinity", "eventfd",
       "posix_fallocate", "setpgid", "killpg", "getuid", "geteuid", "getgid", "waitid", "WNOHANG",
       "getpriority", "setpriority", "nice", "getpgid", "sysconf", "posix_spawn", "pread", "pwrite")
remove(signal, "SIGKILL", "SIGCHLD", "SIGALRM", "SIGUSR1", "SIGUSR2", "SIGRTMIN", "SIGRTMAX",
       "setitimer", "pthread_sigmask", "pidfd_send_signal", "SIGSTOP", "SIGCONT", "SIGHUP")
remove(socket, "AF_UNIX", "send_fds", "recv_fds", "SCM_RIGHTS", "CMSG_SPACE")
subprocess.STARTUPINFO = subprocess.STARTF_FORCEOFFFEEDBACK = None
for name in ("_winapi", "msvcrt"):
    sys.modules[name] = types.ModuleType(name)
hide("fcntl", "resource", "termios", "pwd", "grp", "_posixshmem", "_posixsubprocess",
     "multiprocessing.popen_fork", "multiprocessing.popen_forkserver",
     "multiprocessing.popen_spawn_posix", "multiprocessing.forkserver", "tines._native")
"""

SYSTEMS = {"macos": MACOS, "windows": WINDOWS}


def modules() -> list[str]:
    return [
        module.name
        for module in pkgutil.walk_packages(tines.__path__, "tines.")
        if not module.name.endswith(("__main__", "._native"))
    ]


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_module_imports(system: str) -> None:
    left_out = {**NEEDS_NATIVE, **NEEDS_TORCH, **(NOT_ON_WINDOWS if system == "windows" else {})}
    assert set(left_out) <= set(modules())
    names = [name for name in modules() if name not in left_out]
    if importlib.util.find_spec("joblib") is None:
        names.remove("tines.joblib_backend")
    each = f"""
import traceback
failed = 0
for name in {names!r}:
    try:
        importlib.import_module(name)
    except Exception:
        failed += 1
        print(name)
        traceback.print_exc(file=sys.stdout)
import tines
for name in tines.__all__:
    getattr(tines, name)
sys.stdout.flush()
os._exit(failed)
"""
    program = LOAD_STANDARD_LIBRARY + SYSTEMS[system] + each
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    environment.pop("TINES_NATIVE", None)  # it may ask for what only Linux has
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=50,
        env=environment,
    )
    assert done.returncode == 0, done.stdout + done.stderr
