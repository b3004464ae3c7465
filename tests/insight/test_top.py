"""``tines top``: as scripts use it, and as people do, in a terminal."""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import json
import os
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

import pytest

from programs import POOL, QUEUE
from tines import cli

TOP = [sys.executable, "-m", "tines", "top"]

RUNNING_QUEUE = """
queue = mp.Queue()
import threading
def feed():
    while True:
        queue.put(1)
        queue.get()
threading.Thread(target=feed, daemon=True).start()
ready()
"""


def top(*options):
    done = subprocess.run([*TOP, *options], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    return done


class TestScripts:
    def test_once_json_sees_the_task_of_a_pool(self, programs):
        program = programs.start(POOL)
        done = top("--once", "--json", "--interval", "0.1")
        assert done.returncode == 0
        told = json.loads(done.stdout)
        (found,) = told["programs"]
        assert told["format"] == 1 and found["pid"] == program.pid and found["answering"]
        (pool,) = found["pools"]
        busy = [worker for worker in pool["workers"] if worker["task"] is not None]
        assert [worker["task"] for worker in busy] == ["time.sleep(1000)"]
        assert busy[0]["seconds"] > 0 and busy[0]["memory"] > 10**6 and busy[0]["cpu"] is not None
        assert pool["statistics"]["processes"] == len(pool["workers"]) == 2

    def test_rates_of_a_queue(self, programs):
        programs.start(RUNNING_QUEUE)
        told = json.loads(top("--once", "--json", "--interval", "1").stdout)
        (queue,) = told["programs"][0]["queues"]
        assert queue["put_rate"] > 10 and queue["get_rate"] > 10
        assert told["programs"][0]["cpu"] > 0

    def test_several_programs_and_one_of_them(self, programs):
        pids = {programs.start(body).pid for body in (POOL, QUEUE)}
        told = json.loads(top("--once", "--json", "--interval", "0.1").stdout)
        assert {program["pid"] for program in told["programs"]} == pids
        one = min(pids)
        told = json.loads(top("--once", "--json", "--interval", "0.1", "--pid", str(one)).stdout)
        assert [program["pid"] for program in told["programs"]] == [one]

    def test_text(self, programs):
        program = programs.start(POOL)
        done = top("--once", "--interval", "0.1")
        assert done.returncode == 0
        assert "1 program, 1 pool, 1 of 2 workers busy, 0 queues" in done.stdout
        assert re.search(rf"^{program.pid} +python", done.stdout, re.MULTILINE)
        assert "sleep(1000)" in done.stdout and "\x1b" not in done.stdout

    def test_without_once_json_goes_on_line_by_line(self, programs):
        programs.start(QUEUE)
        process = subprocess.Popen(
            [*TOP, "--json", "--interval", "0.1"], stdout=subprocess.PIPE, text=True
        )
        lines = [json.loads(process.stdout.readline()) for _ in range(3)]
        process.send_signal(signal.SIGINT)
        process.communicate()
        assert process.returncode == 130
        assert all(len(line["programs"]) == 1 for line in lines)

    def test_nothing_running_says_so(self, place):
        for options in ([], ["--once"]):
            done = top(*options)
            assert done.returncode == 1 and "no tines program of yours is running" in done.stdout
        done = top("--once", "--json")
        assert done.returncode == 1 and json.loads(done.stdout)["programs"] == []

    def test_a_pid_that_is_no_program(self, programs):
        programs.start(QUEUE)
        done = top("--once", "--pid", "1")
        assert done.returncode == 1 and "process 1 is not a running tines program" in done.stdout

    def test_a_filter(self, programs):
        pids = [programs.start(body).pid for body in (POOL, QUEUE)]
        done = top("--once", "--json", "--interval", "0.1", "--filter", "POOL 1")
        (found,) = json.loads(done.stdout)["programs"]
        assert found["pid"] == pids[0] and len(found["pools"]) == 1
        done = top("--once", "--filter", "no such name")
        assert done.returncode == 1 and "has 'no such name' in its names" in done.stdout

    def test_a_place_that_is_not_to_be_trusted(self, place):
        place.mkdir()
        place.chmod(0o777)
        done = subprocess.run([*TOP, "--once"], capture_output=True, text=True, timeout=60)
        assert done.returncode == 2
        assert "open to others" in done.stderr and "XDG_RUNTIME_DIR" in done.stderr

    def test_without_rich_and_psutil(self, programs):
        programs.start(POOL)
        code = "import sys; sys.modules.update(rich=None, psutil=None); import tines.cli; "
        code += "sys.exit(tines.cli.main(['top', '--once', '--json', '--interval', '0.1']))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        worker = json.loads(done.stdout)["programs"][0]["pools"][0]["workers"][0]
        if sys.platform == "linux":  # the pool itself says
            assert worker["memory"] > 10**6


class TestMistakes:
    @pytest.mark.parametrize(
        ("given", "answer"),
        [
            (["top", "--jsno"], "no option --jsno; did you mean --json?"),
            (["top", "--intervall=3"], "no option --intervall; did you mean --interval?"),
            (["top", "--sort", "cup"], "did you mean cpu?"),
            (["top", "--interval", "0"], "0.1 to 3600"),
            (["top", "--interval", "nan"], "'nan' is not a number of seconds"),
            (["top", "--pid", "x"], "--pid"),
            (["top", "extra"], "unexpected: 'extra'"),
            (["doctor", "--josn"], "did you mean --json?"),
            (["stacks", "--time", "1", "2"], "did you mean --timeout?"),
            (["stacks", "--timeout", "-1", "2"], "0.1 to 3600"),
            (["--verison"], "did you mean --version?"),
            (["--stast", "script.py"], "did you mean --stats?"),
        ],
    )
    def test_the_nearest_is_named(self, given, answer, capsys):
        with pytest.raises(SystemExit, match="2"):
            cli.main(given)
        assert answer in capsys.readouterr().err

    @pytest.mark.parametrize("option", [["--stats"], ["--trace", "run.json"]])
    def test_an_option_without_a_program(self, option, capsys):
        assert cli.main(option) == 2
        said = capsys.readouterr().err
        assert "there is no program to run" in said and "did you mean" not in said

    def test_a_program_from_an_input_that_is_closed(self, capsys, monkeypatch):
        monkeypatch.setattr(sys, "stdin", None)
        assert cli.main(["-"]) == 2
        assert "standard input is closed" in capsys.readouterr().err

    def test_a_command_that_is_none(self, capsys, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert cli.main(["tpo"]) == 2
        assert "no command or file tpo; did you mean top?" in capsys.readouterr().err
        assert cli.main(["missing_script.py"]) == 2
        assert "did you mean" not in capsys.readouterr().err


class Terminal:
    """A pseudo-terminal with ``tines top`` in it."""

    def __init__(self, *options, rich=True, term="xterm"):
        self.master, self.slave = os.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self.before = termios.tcgetattr(self.slave)
        code = "import sys; from tines.cli import main; "
        if not rich:
            code += "sys.modules['rich'] = None; sys.modules['rich.live'] = None; "
        code += f"sys.exit(main(['top', '--interval', '0.2', *{list(options)!r}]))"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            start_new_session=True,
            env={**os.environ, "TERM": term, "COLUMNS": "120", "LINES": "40"},
        )
        self.seen = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")()  # a read may end within a character

    def until(self, text):
        """Read until some text is there; forget what came before its end."""
        deadline = time.monotonic() + 30
        while text not in self.seen:
            assert time.monotonic() < deadline, self.seen[-3000:]
            if select.select([self.master], [], [], 1)[0]:
                self._read()
        self.seen = self.seen.partition(text)[2]

    def _read(self):
        self.seen += self._decoder.decode(os.read(self.master, 65536))

    def press(self, keys):
        os.write(self.master, keys)

    def end(self):
        """Wait for its end; return the exit code, when the terminal is as it was."""
        try:
            while self.process.poll() is None:
                if select.select([self.master], [], [], 0.1)[0]:
                    self._read()
            with contextlib.suppress(OSError):
                while select.select([self.master], [], [], 0)[0]:
                    self._read()
            assert termios.tcgetattr(self.slave) == self.before
        finally:
            self.process.kill()
            self.process.wait()
            os.close(self.master)
            os.close(self.slave)
        return self.process.returncode


@contextlib.contextmanager
def ending(terminal):
    """Leave it by what was pressed last; it is killed if something went wrong before that."""
    try:
        yield
    except BaseException:
        terminal.process.kill()
        raise
    finally:
        code = terminal.end()
    assert code == 0


class TestTerminal:
    @pytest.mark.parametrize("rich", [True, False])
    def test_keys(self, programs, rich):
        programs.start(POOL)
        terminal = Terminal(rich=rich)
        with ending(terminal):
            terminal.until("> Pool 1")
            terminal.until("q quit")
            terminal.press(b"s")
            terminal.until("by cpu")
            terminal.press(b"\x1b[B\r")
            terminal.until("processes 2, queued")
            terminal.press(b"x\x1b")
            terminal.until("> Pool 1")
            terminal.press(b"q")

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_the_terminal_is_given_back(self, programs, number):
        programs.start(QUEUE)
        terminal = Terminal()
        terminal.until("q quit")
        assert termios.tcgetattr(terminal.slave) != terminal.before
        terminal.process.send_signal(number)
        assert terminal.end() == (130 if number == signal.SIGINT else 128 + number)
        assert terminal.seen.rindex("\x1b[?1049l") > 0  # the other screen has been left
        assert "Traceback" not in terminal.seen

    @pytest.mark.parametrize("term", ["dumb", "unknown", ""])
    def test_a_terminal_that_cannot_move_its_cursor(self, programs, term):
        programs.start(POOL)
        terminal = Terminal(term=term)
        with ending(terminal):
            for _ in range(2):  # one picture below the other
                terminal.until("1 program, 1 pool")
                shown = terminal.seen
                terminal.until("q quit")
                assert "\x1b" not in shown
            terminal.press(b"q")
        assert "\x1b" not in terminal.seen

    def test_programs_that_end_are_taken_off_the_screen(self, programs):
        program = programs.start(QUEUE)
        terminal = Terminal()
        terminal.until("q quit")
        program.kill()
        terminal.until("no tines program of yours is running")
        terminal.press(b"q")
        assert terminal.end() == 0
