"""What the dashboard makes of looks that follow each other: no programs, no clock."""

from __future__ import annotations

import json

import pytest

from tines.cli.dashboard import metrics, page
from tines.cli.dashboard.history import WINDOW, History
from tines.cli.dashboard.watcher import Watcher
from tines.cli.top_model import Tracker, View
from tines.insight.model import Program, Thing
from tines.insight.places import Untrusted
from tines.insight.reader import Refused, Sample


def worker(pid=11, *, done=0, busy=0.0, task=None, seconds=0.0, slot=0):
    return {
        "slot": slot,
        "pid": pid,
        "done": done,
        "task": task,
        "seconds": seconds,
        "busy_seconds": busy,
    }


def sample(*workers, restarts=0, answering=True, name="python job.py", queued=0):
    statistics = {"processes": len(workers), "queued": queued, "restarts": restarts}
    thing = Thing(1, "Pool", {**statistics, "workers": list(workers)})
    program = Program(
        10, 1, 1, 5.0, name, "MainProcess", "3.11", "0", 0.0, 0.0, (thing,), answering
    )
    return Sample((program,))


class Looks:
    """Gives a history one look after the other."""

    def __init__(self):
        self.history = History()
        self.view = View()

    def look(self, at, *workers, **options):
        self.view = Tracker().view(sample(*workers, **options))
        self.history.add(self.view, at)
        return self

    @property
    def lane(self):
        (program,) = self.view.programs
        (lane,) = self.history.series(program, program.pools[0]).lanes
        return lane

    @property
    def blocks(self):
        """When each block begins and ends, in seconds before now, and what it is."""
        return [
            (round(WINDOW - b.begin, 3), round(WINDOW - b.end, 3), b.outcome, b.count)
            for b in self.lane.blocks
        ]


class TestTimeline:
    def test_a_long_task_is_one_block_from_its_beginning(self):
        looks = Looks()
        for at in (100.0, 101.0, 102.0):
            looks.look(at, worker(task="f(1)", seconds=at - 97.0))
        assert looks.blocks == [(5.0, 0.0, "running", 1)]
        assert looks.lane.blocks[0].label == "f(1)"

    def test_one_that_has_ended_and_the_next(self):
        looks = Looks().look(100.0, worker(task="f(1)", seconds=3.0))
        # It ended after 0.4 s more, and nothing ran for 0.1 s.
        looks.look(101.0, worker(task="f(2)", seconds=0.5, done=1, busy=0.9))
        assert looks.blocks == [(4.0, 0.6, "finished", 1), (0.5, 0.0, "running", 1)]

    def test_one_that_has_ended_and_nothing_after_it(self):
        looks = Looks().look(100.0, worker(task="f(1)", seconds=3.0))
        looks.look(101.0, worker(done=1, busy=0.25))
        looks.look(102.0, worker(done=1, busy=0.25))
        assert looks.blocks == [(5.0, 1.75, "finished", 1)]

    def test_many_short_ones_are_one_block(self):
        looks = Looks().look(100.0, worker())
        for number in range(1, 4):
            looks.look(
                100.0 + number,
                worker(task="f(1)", seconds=0.001, done=100 * number, busy=float(number)),
            )
        ((begin, end, _, count),) = looks.blocks
        assert (begin, end) == (3.0, 0.0) and count >= 300

    def test_short_ones_between_which_it_waits_are_not(self):
        looks = Looks().look(100.0, worker())
        for number in range(1, 4):
            looks.look(100.0 + number, worker(done=10 * number, busy=0.2 * number))
        assert looks.blocks == [
            (3.0, 2.8, "finished", 10),
            (2.0, 1.8, "finished", 10),
            (1.0, 0.8, "finished", 10),
        ]

    def test_a_death_costs_the_task_that_ran_and_no_other(self):
        looks = Looks().look(100.0, worker())
        looks.look(101.0, worker(task="f(7)", seconds=0.25, done=50, busy=1.0))
        looks.look(102.0, worker(12, done=50), restarts=1)
        assert looks.blocks == [(2.0, 1.25, "finished", 51), (1.25, 1.0, "lost", 1)]
        (mark,) = looks.lane.marks
        assert (mark.kind, mark.label) == ("death", "process 11 died")
        (event,) = looks.history.events
        assert event.what == "Pool 1, worker 0: process 11 died"

    def test_one_that_leaves_as_it_is_to_has_not_died(self):
        looks = Looks().look(100.0, worker())
        looks.look(101.0, worker(12, done=3))
        (mark,) = looks.lane.marks
        assert (mark.kind, mark.label) == ("left", "process 11 left")

    def test_what_is_old_is_let_go_of(self):
        looks = Looks().look(100.0, worker(done=0))
        looks.look(101.0, worker(done=5, busy=0.5))
        looks.look(101.0 + WINDOW, worker(done=5, busy=0.5))
        assert looks.lane.blocks == []
        (program,) = looks.view.programs
        assert len(looks.history.curve(program, 1, "busy")) == 2
        looks.history.add(View(), 103.0 + 2 * WINDOW)
        assert looks.history.curve(program, 1, "busy") == []
        assert looks.history.series(program, program.pools[0]).lanes == []

    def test_a_program_that_does_not_answer_adds_nothing(self):
        looks = Looks().look(100.0, worker(task="f(1)", seconds=1.0))
        looks.look(101.0, worker(task="f(1)", seconds=1.0), answering=False)
        assert looks.blocks == [(2.0, 1.0, "running", 1)]
        assert [each.what for each in looks.history.events] == ["the program does not answer"]


class FakeReader:
    directory = "/run/tines"

    def __init__(self, answer):
        self.asked = 0
        self.closed = False
        self.answer = answer

    def sample(self):
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def close(self):
        self.closed = True


class TestWatcher:
    def test_programs_are_asked_when_somebody_asks_and_once_for_all(self):
        reader = FakeReader(sample(worker()))
        watcher = Watcher(reader, fresh=1000.0)
        assert reader.asked == 0
        assert "python job.py" in watcher.html() and watcher.html() == watcher.html()
        assert json.loads(watcher.json())["programs"][0]["pid"] == 10
        assert 'pid="10"' in watcher.metrics()
        assert reader.asked == 1
        watcher.close()
        assert reader.closed

    def test_later_they_are_asked_again(self):
        reader = FakeReader(sample(worker()))
        watcher = Watcher(reader, fresh=0.0)
        watcher.html()
        watcher.html()
        assert reader.asked == 2

    @pytest.mark.parametrize(
        "error", [Untrusted(1, "open to others", "/run/tines"), PermissionError(13, "denied")]
    )
    def test_a_place_that_is_not_to_be_trusted(self, error):
        watcher = Watcher(FakeReader(error), fresh=0.0)
        assert "role='alert'>/run/tines " in watcher.html()
        assert json.loads(watcher.json())["trouble"].startswith("/run/tines ")
        assert "tines_programs 0" in watcher.metrics()

    def test_stacks_only_of_what_is_shown(self):
        assert Watcher(FakeReader(sample(worker(None)))).stacks(1, 0.1) is None


EVIL = "<script>alert(1)</script>\"'&\\"


class TestWhatProgramsSayIsText:
    def test_page(self):
        looks = Looks()
        for at in (1.0, 2.0):
            looks.look(at, worker(task=EVIL, seconds=at), name=f"python {EVIL}")
        looks.history.events.clear()
        html = page.view(looks.view, looks.history, trouble=None)
        assert "&lt;script&gt;" in html and "<script" not in html
        assert EVIL not in page.view(View(), History(), trouble=EVIL)
        refused = Tracker().view(Sample((), (Refused(EVIL, EVIL),)))
        assert "<script" not in page.view(refused, History())

    def test_metrics(self):
        view = Tracker().view(sample(worker(), name=f"python {EVIL}"))
        assert r'program="python script>\"' in metrics.text_of(view).replace("'&", "")
        assert metrics._escaped('a"b\\c\nd') == r"a\"b\\c\nd"
