"""The fork server: a warm process with one thread, forked for each new child.

It has imported the main module (or what ``set_forkserver_preload()`` names) once, and does nothing
else, so each child is a copy of the same clean state and nothing that is locked or half done in
the parent is copied with it.

Some children are always forked in advance. They wait for a job on the socket that all clients share,
and the kernel gives each job to exactly one waiter, so a start does not wait for a fork:

    client   job: one byte, with the descriptors of the child     ->  a child in waiting
    child    "taken": its pid, with the client's status socket    ->  server, which forks the next
    child    its pid, with a pidfd of itself                      ->  client
    server   the exit code, when it has collected it              ->  client

A job that nobody finishes taking loses its status socket, and the client sees that and asks again.
The server ends when the last process that could ask it has ended: the shared socket is at its end
then. The children in waiting see the same.

Importing the preloaded modules must not leave threads behind, as a fork would not copy them. If it
does, the server says so and starts over without; its children then import for themselves.
"""

from __future__ import annotations

import atexit
import errno
import gc
import multiprocessing.process as std
import os
import pickle
import select
import signal
import socket
import sys
import threading
from multiprocessing import resource_tracker, util
from typing import TYPE_CHECKING, Any, NoReturn

from tines import _sockets
from tines.process import liveness, shared_file
from tines.process.lifecycle import launch, stdin
from tines.process.start import forkserver_client, interpreter
from tines.process.start.forkserver_client import EXIT_CODE, HELLO, MAX_FDS, MESSAGE, receive
from tines.process.start.popen import HAVE_PIDFD

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    Handler = Callable[[int, FrameType | None], object] | int | None

__all__ = ["main"]

_TAKEN = 16

_IN_WAITING = 2
"""How many children wait: with one, the second of two starts in a row would wait for a fork."""

_QUIET = 20
"""Milliseconds without a start, after which there is time to fork the second one."""

# A child in waiting that ends without a job was killed; many in a row mean that something kills
# every one, for instance a hook of ``os.fork()`` that a preloaded module has set.
_TOLERATED_DEATHS = 5


def main(jobs_fd: int, settings_fd: int, preload: bool = True) -> None:
    """Run the server in a new interpreter."""
    gc.enable()
    forkserver_client.note_environment()
    message = shared_file.read_message(settings_fd)
    assert message is not None
    settings = pickle.loads(message[2][0])
    if preload:
        error = _preload(settings)
        if threading.active_count() > 1:
            _start_over(jobs_fd, settings_fd)
        if error and settings["on_error"] == "fail":
            sys.exit(f"tines: the fork server exits, because preloading failed:\n{error}")
    os.close(settings_fd)
    util._close_stdin()  # type: ignore[attr-defined]
    # What each child needs in any case, so that none has to import it.
    import tines.process.lifecycle.bootstrap
    import tines.process.lifecycle.outcome
    import tines.process.stacks
    import tines.process.start.popen_forkserver  # noqa: F401

    launch.import_ready(settings["ready"])
    liveness.load_native()

    # What exists now is shared with every child for good; a collection would touch, and so copy it.
    gc.collect()
    gc.freeze()
    with _sockets.adopt(jobs_fd) as jobs:
        server = _Server(jobs)
        with server.taken_r, server.taken_w:
            server.serve()


def _preload(settings: dict[str, Any]) -> str:
    """Import what is to be ready in each child; return the tracebacks of what failed."""
    import traceback

    current: Any = std.current_process()
    errors = ""
    names = list(settings["preload"])
    data = dict(settings["preparation"])
    if "__main__" not in names:
        data.pop("init_main_from_name", None)
        data.pop("init_main_from_path", None)
    current._inheriting = True
    try:
        launch.prepare(data)
    except BaseException:  # also ``sys.exit()``: it ends who runs the module, and that is no server
        # Each child will try again, and report it as its own.
        pass
    finally:
        del current._inheriting
    for name in names:
        if name == "__main__":
            continue
        try:
            __import__(name)
        except BaseException:
            errors += f"{name}:\n{traceback.format_exc()}"
    if errors and settings["on_error"] == "warn":
        print(f"tines: the fork server could not preload {errors}", file=sys.stderr, flush=True)
    return errors


def _start_over(jobs_fd: int, settings_fd: int) -> NoReturn:
    names = ", ".join(
        thread.name for thread in threading.enumerate() if thread is not threading.main_thread()
    )
    print(
        f"tines: importing the preloaded modules started threads ({names}), which a forked child "
        "would not have; so the children will import the modules themselves, which is slower. "
        "Start threads where the program runs, not where it is imported.",
        file=sys.stderr,
        flush=True,
    )
    arguments = jobs_fd, settings_fd, False
    interpreter.replace("tines.process.start.forkserver", "main", arguments)


class _Server:
    def __init__(self, jobs: socket.socket) -> None:
        self._jobs = jobs
        self._pid = os.getpid()
        self.taken_r, self.taken_w = _sockets.pair(socket.SOCK_DGRAM)
        self.taken_r.setblocking(False)
        self._status: dict[int, socket.socket] = {}
        self._waiting: set[int] = set()
        self._deaths = 0
        self._handlers: dict[int, Handler] = {}

    def serve(self) -> None:
        """Fork a child for each job, until nobody is left to ask for one."""
        wake_r, wake_w = os.pipe()
        for fd in (wake_r, wake_w):
            os.set_blocking(fd, False)
        self._handlers = {
            # A handler, so that the wake-up descriptor is written.
            signal.SIGCHLD: signal.signal(signal.SIGCHLD, lambda *_: None),
            # Ctrl-C is for the program, not for its server.
            signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN),
        }
        signal.set_wakeup_fd(wake_w, warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(self._jobs, 0)  # only its end; the jobs are for the children in waiting
        poll.register(self.taken_r, select.POLLIN)
        poll.register(wake_r, select.POLLIN)
        self._fork_ahead(_IN_WAITING, (wake_r, wake_w))
        while True:
            full = len(self._waiting) == _IN_WAITING
            events = dict(poll.poll(None if full else _QUIET))
            if wake_r in events:
                _drain(wake_r)
            self._note_taken()
            ended = self._collect()
            if self._jobs.fileno() in events:
                self._collect_the_last()
                return
            # Children that have just been taken need the cores more than those to come.
            at_leisure = ended or not events
            self._fork_ahead(_IN_WAITING if at_leisure else 1, (wake_r, wake_w))

    def _note_taken(self) -> None:
        while True:
            try:
                data, fds = receive(self.taken_r, _TAKEN, 1)
            except BlockingIOError:
                return
            pid = int(data)
            self._status[pid] = _sockets.adopt(fds[0])
            self._deaths = 0
            self._waiting.discard(pid)

    def _collect(self) -> bool:
        """Hand on the exit codes of those that have ended; return whether any had a job."""
        ended = False
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return ended
            if not pid:
                return ended
            # A child says that it is taken before it runs, so by now that has arrived.
            self._note_taken()
            if pid in self._waiting:
                self._waiting.remove(pid)
                self._deaths += 1
                if self._deaths > _TOLERATED_DEATHS:
                    sys.exit(
                        "tines: the fork server exits: its children die before they are given any work"
                    )
            ended |= self._tell(pid, status)

    def _collect_the_last(self) -> None:
        """Hand on the exit codes of all that are left, when nobody can ask for more.

        A child that ends lets go of its way to this server first: that was the last one, and its exit
        code comes a moment later.
        """
        self._note_taken()
        while self._status:
            self._tell(*os.waitpid(-1, 0))

    def _tell(self, pid: int, status: int) -> bool:
        """Tell the client of a child how that has ended; whether there is one."""
        client = self._status.pop(pid, None)
        if client is None:
            return False
        with client:
            try:
                client.send(MESSAGE.pack(EXIT_CODE, os.waitstatus_to_exitcode(status)))
            except OSError:
                pass  # the client is gone
        return True

    def _fork_ahead(self, count: int, wake: tuple[int, int]) -> None:
        while len(self._waiting) < count:
            self._fork(wake)

    def _fork(self, wake: tuple[int, int]) -> None:
        util._flush_std_streams()  # type: ignore[attr-defined]
        stdin.prepare()
        pid = os.fork()
        if pid:
            self._waiting.add(pid)
            return
        code = 1
        try:
            for fd in wake:
                os.close(fd)
            code = self._be_child()
        except SystemExit as error:  # of the main module, which this child had to import
            from tines.process.lifecycle import bootstrap

            code = bootstrap.code_of(error)
        except BaseException:
            sys.excepthook(*sys.exc_info())
            util._flush_std_streams()  # type: ignore[attr-defined]
        finally:
            _leave(code)

    def _be_child(self) -> int:
        """Wait for a job and do it."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, self._handlers[signal.SIGCHLD])
        atexit._clear()
        if sys.version_info >= (3, 13):
            atexit.register(util._exit_function)  # type: ignore[attr-defined]
        self.taken_r.close()
        for client in self._status.values():
            client.close()
        self._status.clear()
        data, fds = receive(self._jobs, 1, MAX_FDS)
        if not data:
            os._exit(0)
        payload_fd, liveness_fd, status_fd, tracker_fd, client_fd, *inherited = fds
        with _sockets.adopt(status_fd) as status:
            pid = os.getpid()
            # If the server was killed, nobody would collect the exit code: another server is to have
            # the job. Sending alone does not tell, as a child that was forked a moment ago still
            # holds the other end.
            if os.getppid() != self._pid:
                os._exit(1)
            try:
                _sockets.send_fds(self.taken_w, b"%d" % pid, [status_fd])
            except OSError:
                os._exit(1)
            # Before the hello, as from then on the client may interrupt it.
            signal.signal(signal.SIGINT, self._handlers[signal.SIGINT])
            _say_hello(status, pid)
        self.taken_w.close()
        self._jobs.close()
        resource_tracker._resource_tracker._fd = tracker_fd  # type: ignore[attr-defined]
        forkserver_client.adopt(client_fd, inherited)
        return launch.run(payload_fd, liveness_fd)


def _say_hello(status: socket.socket, pid: int) -> None:
    """Tell the client who the child is; a pidfd that the child opens itself is surely its own."""
    fds = []
    if HAVE_PIDFD:
        fds.append(os.pidfd_open(pid))
    try:
        _sockets.send_fds(status, MESSAGE.pack(HELLO, pid), fds)
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.ECONNRESET):
            raise
        os._exit(1)  # the client was killed
    finally:
        for fd in fds:
            os.close(fd)


def _leave(code: int) -> NoReturn:
    try:
        if sys.version_info >= (3, 13):
            atexit._run_exitfuncs()
    finally:
        os._exit(code)


def _drain(fd: int) -> None:
    try:
        while os.read(fd, 4096):
            pass
    except BlockingIOError:
        pass
