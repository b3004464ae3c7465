"""``tines top``: as scripts use it, and as people do, in a terminal."""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import io
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
from tines.cli import top_display, top_model, top_rows
from tines.cli.subcommands import parser
from tines.insight.model import Program, Thing
from tines.insight.reader import Refused, Sample

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


def worker(slot, **changes):
    data = {"slot": slot, "pid": 100 + slot, "done": 0, "task": None, "seconds": 0.0, "items": 0}
    return {**data, "memory": 0, "cpu_seconds": 0.0, **changes}


def program(*things, pid=10, **changes):
    fields = {
        "pid": pid,
        "started": 1,
        "parent": 1,
        "since": 0.0,
        "name": "python job.py",
        "process": "MainProcess",
        "python": "3.11.7",
        "version": "0.1.0",
        "taken": 100.0,
        "spent": 0.0,
        "things": things,
    }
    return Program(**{**fields, **changes})


def pool(workers, **statistics):
    return Thing(1, "Pool", {"processes": len(workers), "workers": workers, **statistics})


class TestModel:
    def view(self, tracker, *programs, sort="time", refused=()):
        return top_model.arranged(tracker.view(Sample(programs, refused)), sort)

    def test_rates_are_of_the_time_between_two_samples(self):
        tracker = top_model.Tracker()
        first = self.view(tracker, program(pool([worker(0)], done=10)))
        assert first.programs[0].pools[0].rate is None
        later = program(pool([worker(0, done=5)], done=30), taken=104.0, spent=0.02)
        second = self.view(tracker, later)
        assert second.programs[0].pools[0].rate == 5.0
        assert second.programs[0].pools[0].workers[0].rate == 1.25
        assert second.programs[0].watching == pytest.approx(0.5)
        # The same page once more: nobody answered, and nothing can be said that was not.
        assert self.view(tracker, later).programs[0].pools[0].rate == 5.0

    def test_rates_as_a_small_curve(self):
        tracker = top_model.Tracker()
        rates = [0, 8, 4, 2, 0]
        done = 0
        for second, rate in enumerate(rates):
            done += rate
            things = (
                pool([worker(0)], done=done),
                Thing(2, "Queue", {"received": done, "sent": done}),
            )
            view = self.view(tracker, program(*things, taken=100.0 + second))
        assert (
            view.programs[0].pools[0].rates == view.programs[0].queues[0].get_rates == (8, 4, 2, 0)
        )
        shown = [row.cells[1] for row in top_rows.overview(view)]
        assert "  Pool 1  \u2588\u2585\u2583\u2581" in shown
        assert "  Queue 2: 0/s in, 0/s out  \u2588\u2585\u2583\u2581" in shown
        for second in range(100):
            view = self.view(tracker, program(*things, taken=200.0 + second))
        assert view.programs[0].pools[0].rates == (0,) * top_model.SAMPLES
        assert "  Pool 1" in [row.cells[1] for row in top_rows.overview(view)]

    def test_a_terminal_without_these_letters_has_others(self, monkeypatch):
        written = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "ascii"))
        monkeypatch.setenv("TERM", "dumb")
        row = top_rows.Row(top_rows.Kind.POOL, ("", "Pool 1  \u2581\u2584\u2588", *[""] * 8))
        top_display.best().show("title", [row], "")
        assert b"Pool 1  _:#\n" in written.getvalue()

    def test_a_worker_on_a_node(self):
        tracker = top_model.Tracker(lambda pid: (3.0, 7))
        told = pool([worker(0, node="near", task="f(1)", memory=5, cpu_seconds=1.0), worker(1)])
        view = self.view(tracker, program(told))
        far, here = view.programs[0].workers
        # The system knows nothing of a process on another machine, whoever has its number here.
        assert (far.memory, far.pid_here) == (5, None)
        assert (here.memory, here.pid_here) == (7, here.pid)
        assert "    near: f(1)" in [row.cells[1] for row in top_rows.overview(view)]

    def test_another_process_of_the_same_pid_has_no_past(self):
        tracker = top_model.Tracker()
        self.view(tracker, program(pool([], done=10)))
        after = self.view(tracker, program(pool([], done=99), started=2, taken=105.0))
        assert after.programs[0].pools[0].rate is None

    def test_the_system_is_believed_before_the_program(self):
        told = pool([worker(0, memory=5, cpu_seconds=1.0)])
        assert self.view(top_model.Tracker(), program(told)).programs[0].workers[0].memory == 5
        tracker = top_model.Tracker(lambda pid: (3.0, 7 * pid))
        found = self.view(tracker, program(told)).programs[0]
        assert (found.workers[0].memory, found.memory) == (700, 70)
        assert found.total_memory == 770

    @pytest.mark.parametrize(
        ("sort", "workers", "pids"),
        [
            ("time", [102, 101, 100], [30, 20]),
            ("rate", [101, 100, 102], [20, 30]),
            ("memory", [100, 101, 102], [20, 30]),
            ("pid", [100, 101, 102], [20, 30]),
        ],
    )
    def test_sorting(self, sort, workers, pids):
        def at(when, done):
            members = [
                worker(0, task="a", seconds=1.0, memory=30, done=done),
                worker(1, task="b", seconds=2.0, memory=20, done=2 * done),
                worker(2, task="c", seconds=3.0, memory=10),
            ]
            busy = program(pool(members, done=done), pid=20, taken=when)
            idle = program(pool([worker(0, task="d", seconds=9.0)]), pid=30, taken=when)
            return busy, idle

        tracker = top_model.Tracker()
        self.view(tracker, *at(1.0, 0))
        view = self.view(tracker, *at(2.0, 10), sort=sort)
        assert [each.pid for each in view.programs] == pids
        (found,) = [each for each in view.programs if each.pid == 20]
        assert [each.pid for each in found.workers] == workers

    def test_every_way_to_sort_can_be_asked_for(self):
        for name in top_model.SORTS:
            parser().parse_args(["top", "--sort", name])
        text = parser().parse_args(["top"])
        assert text.sort == top_model.SORTS[0]

    def test_statistics_of_the_wrong_kind_are_no_figures(self):
        odd = worker(0, pid="x", task=3, seconds="long", done=[], memory="much") | {"slot": {}}
        thing = pool(
            [odd, worker(1, pid=-5, task="\x1b[31m"), worker(2, pid=2**62)], done={}, queued="q"
        )
        tracker = top_model.Tracker(
            lambda pid: pytest.fail(f"looked at {pid}") if pid > 2**31 else None
        )
        view = self.view(tracker, program(thing, Thing(2, "Queue", {"depth": "deep"})))
        assert top_display.text("", top_rows.overview(view), 80)
        assert top_rows.detail(view.programs[0], view.programs[0].pools[0])

    def test_what_is_not_known_is_not_printed(self):
        broken = Thing(2, "Queue", {}, error="ValueError: closed")
        sample = program(pool([worker(n) for n in range(20)]), broken, answering=False)
        refused = (Refused("/run/7-a", "it is cut short"),)
        rows = top_rows.overview(self.view(top_model.Tracker(), sample, refused=refused))
        text = top_display.text("title", rows, 100)
        for part in ("does not answer", "12 more workers", "ValueError: closed", "/run/7-a: it is"):
            assert part in text
        assert "None" not in text and "nan" not in text

    def busy_view(self):
        tracker = top_model.Tracker(lambda pid: (3.0, 123_400_000))
        members = [worker(n, task=f"work({n}, 'abc')", seconds=75.0, done=12_345) for n in range(3)]
        told = {"queued": 1, "queued_bytes": 2500, "done": 37_035, "raised": 2, "lost": 1}
        queue = Thing(2, "Queue", {"depth": 5, "bytes": 4096, "sent": 7, "received": 2})
        for taken in (100.0, 102.0):
            view = self.view(tracker, program(pool(members, **told), queue, taken=taken))
        return view

    @pytest.mark.parametrize("width", [10, 20, 40, 60, 80, 100, 200])
    def test_narrow_terminals(self, width):
        rich = pytest.importorskip("rich.console")
        rows = top_rows.overview(self.busy_view())
        title = "tines top  1 program, 1 pool"
        text = top_display.text(title, rows, width)
        console = rich.Console(width=width, file=io.StringIO(), highlight=False)
        console.print(top_display.rendered(title, rows, "", width))
        for shown in (text, console.file.getvalue()):
            lines = shown.splitlines()
            assert max(map(len, lines)) <= width
            assert "work(" in shown or width < 20  # what is run is the last to be given up
            assert ("BUSY" in shown) == (width >= 40) and ("DONE" in shown) == (width >= 100)
        assert "..." in text or width >= 80

    def test_every_number_has_its_unit(self):
        view = self.busy_view()
        text = top_display.text("", top_rows.overview(view), 200)
        for part in ("3 tasks", "1 task", "37k tasks", "123 MB", "0/s", "0%", "1m15s", "5 msgs"):
            assert f" {part}" in text, part
        assert "FAILED" in text and "4096 B" in text
        (found,) = view.programs
        said = " ".join(row.cells[1] for row in top_rows.detail(found, found.pools[0]))
        assert "queued_bytes 2500 B" in said

    def test_the_column_of_failures_is_there_only_if_something_failed(self):
        view = self.view(top_model.Tracker(), program(pool([worker(0)], raised=0, lost=0)))
        assert "FAILED" not in top_display.text("", top_rows.overview(view), 200)

    def test_what_a_filter_leaves(self):
        mine = program(pool([worker(0, task="fetch('a')")]), Thing(2, "Queue", {}), pid=1)
        other = program(pool([worker(0)]), pid=2, name="python other.py")
        view = self.view(top_model.Tracker(), mine, other)
        (found,) = top_model.filtered(view, "FETCH").programs
        assert (found.pid, len(found.pools), len(found.queues)) == (1, 1, 0)
        (found,) = top_model.filtered(view, "other.py").programs
        assert (found.pid, len(found.pools)) == (2, 1)
        (found,) = top_model.filtered(view, "queue 2").programs
        assert (found.pid, len(found.pools), len(found.queues)) == (1, 0, 1)
        assert not top_model.filtered(view, "nothing").programs

    def test_markup_in_a_name_is_shown_as_it_is(self):
        rich = pytest.importorskip("rich.console")
        sample = program(pool([worker(0, task="f('[red]x[/]')")]), name="python [bold]job[bold]")
        view = self.view(top_model.Tracker(), sample)
        console = rich.Console(width=120, file=io.StringIO())
        rows = top_rows.overview(view)
        console.print(top_display.rendered("title", rows, "foot", console.width))
        text = console.file.getvalue()
        assert "[bold]job[bold]" in text and "[red]x[/]" in text
