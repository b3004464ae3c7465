"""``tines top``: what it makes of what programs say, without any program."""

from __future__ import annotations

import io
import sys

import pytest

from tines.cli import top_display, top_model, top_rows
from tines.cli.subcommands import parser
from tines.insight.model import Program, Thing
from tines.insight.reader import Refused, Sample


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
