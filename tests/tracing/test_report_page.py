"""``tines report --html``: a page that holds everything, needs nothing, and runs nothing of a task's."""

from __future__ import annotations

import copy
import html.parser
import json
import re

import pytest

import tines
import traced_tasks
from tines import cli
from tines.cli.page.document import document
from tines.cli.page.html import text
from tines.cli.page.series import BINS, collect
from tines.tracing import analysis
from trace_tools import events, pool_of

EVIL = "</title></style></svg>\"'><script>alert(1)</script><img src=x onerror=alert(2)>\x00\ud800\u202e&amp;"
VOID = {"meta", "img", "br", "link", "input", "base", "rect", "path", "polyline", "i"}


class Reader(html.parser.HTMLParser):
    """Reads a page strictly: everything that is opened is closed, in order."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.open = []
        self.tags = []
        self.texts = []
        self.feed(page)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), (tag, attrs)
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID or tag == "i":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag in VOID and tag != "i":  # of a shape with a title
            return
        if tag == "title" and self.open[-1] != "title":
            raise AssertionError(self.open)
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def __contains__(self, words):
        return words in " ".join(" ".join(self.texts).split())


def page_of(path, *, name="run.json", change=None, top=10):
    content = analysis.read(path)
    if change is not None:
        content = change(copy.deepcopy(content))
    return document(content, analysis.analyse(content), name=name, top=top)


def check_alone(page):
    """Fail if the page would load or run anything, or send anybody anywhere."""
    reader = Reader(page)
    for tag, attributes in reader.tags:
        assert tag not in {"script", "link", "img", "iframe", "object", "base", "form", "a"}, tag
        for name, value in attributes.items():
            assert not name.startswith("on") and name not in {"src", "href", "xlink:href", "style"}
            assert "javascript:" not in (value or "") or name == "aria-label"
    (style,) = re.findall("<style>(.*?)</style>", page, re.DOTALL)
    assert "url(" not in style and "@import" not in style and "<" not in style
    (policy,) = (a["content"] for t, a in reader.tags if t == "meta" and "http-equiv" in a)
    assert policy.startswith("default-src 'none'")
    return reader


@pytest.fixture(scope="module")
def eventful(tmp_path_factory):
    """A trace in which tasks were slow, failed, died and were tried again."""
    directory = tmp_path_factory.mktemp("page")
    path = directory / "run.json"
    with tines.trace(path), pool_of(2, retries=1, grace=10) as pool:
        pool.map(traced_tasks.nap, [0.004, 0.05, 0.004] * 4, chunksize=1)
        pool.map(traced_tasks.square, range(200))
        pool.apply(traced_tasks.die_once, (str(directory / "done"),))
        for argument in (17, "<b>bold</b>"):
            with pytest.raises(LookupError):
                pool.apply(traced_tasks.fail, (argument,))
        pool.map(traced_tasks.fail, [1, 2], chunksize=2, return_exceptions=True)
        pool.close()
        pool.join()
    return path


def test_the_page_has_everything(eventful):
    page = page_of(eventful)
    reader = check_alone(page)
    headings = re.findall("<h2>(.*?)</h2>", page)
    assert headings == [
        "What to change",
        "Timeline by worker",
        "Utilisation",
        "Task times",
        "Tasks that waited for a worker",
        "Memory",
        "Slowest tasks",
        "Failures",
        "Retries and deaths",
        "Pools",
        "Workers",
        "Functions",
    ]
    report = analysis.analyse(analysis.read(eventful))
    for worker in report.workers:
        assert f"{worker.name} ({worker.pid})" in reader
    for advice in report.advice:
        assert " ".join(advice.text.split()) in reader
    assert "traced_tasks.nap(0.05)" in reader  # the slowest, with their arguments
    assert (
        "LookupError in traced_tasks.fail(17)" in reader and "raise LookupError(number)" in reader
    )
    assert "LookupError in traced_tasks.fail('<b>bold</b>')" in reader
    assert "LookupError in traced_tasks.fail(2)" in reader  # of a chunk that went on
    assert "1 tried again, 1 died" in reader and "killed by SIGKILL" in reader
    shapes = [attributes.get("class") for _, attributes in reader.tags]
    for kind in ("returned", "raised", "lost", "died", "retry", "line c0"):
        assert kind in shapes, kind
    assert all(a["aria-label"] for tag, a in reader.tags if tag == "svg")
    assert "prefers-color-scheme:dark" in page


def test_nothing_of_a_task_becomes_markup(eventful):
    def spoil(content):
        for event in content["traceEvents"]:
            if event.get("cat") in ("run", "queue"):
                event["name"] = EVIL
            for field in {"call", "how", "name", "outcome"} & set(event.get("args", ())):
                event["args"][field] = EVIL
        for each in content["otherData"]["failures"]:
            each.update(call=EVIL, error=EVIL, traceback=EVIL)
        for each in content["otherData"]["processes"]:
            each.update(name=EVIL, how=EVIL)
        content["otherData"]["untraced"] = [EVIL]
        for each in content["otherData"]["pools"]:
            each["transport"] = EVIL
        return content

    page = page_of(eventful, name=EVIL, change=spoil)
    reader = check_alone(page)
    assert "<script" not in page and "\x00" not in page and "\u202e" not in page
    assert "<script>alert(1)</script>" in reader  # as text
    page.encode()  # no half characters


def test_what_is_shown_is_bounded(eventful):
    def many(content):
        run = events(content, "run")[0]
        until = content["otherData"]["duration_us"]
        content["traceEvents"] += [
            {**run, "ts": until * n / 50_000, "dur": until / 50_000} for n in range(50_000)
        ]
        return content

    series = collect(many(analysis.read(eventful)))
    assert all(len(lane.blocks) <= 3 * BINS for lane in series.lanes)
    assert sum(block.count for lane in series.lanes for block in lane.blocks) > 50_000
    assert sum(count for _, _, count in series.histogram) > 50_000
    assert len(page_of(eventful, change=many)) < 1_000_000


def test_the_command_writes_it(eventful, tmp_path, capsys):
    path = tmp_path / "report.html"
    assert cli.main(["report", str(eventful), "--html", str(path)]) == 0
    captured = capsys.readouterr()
    assert captured.err == f"wrote {path}\n" and not captured.out
    check_alone(path.read_text(encoding="utf-8"))
    assert cli.main(["report", str(eventful), "--html", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["failures"]
    assert cli.main(["report", str(eventful), "--html", str(tmp_path)]) == 2
    assert "cannot write" in capsys.readouterr().err


def test_a_trace_without_pools_is_a_page_as_well(run):
    with tines.trace(run):
        pass
    reader = check_alone(page_of(run))
    assert "No pool was made" in reader


def test_text_is_text():
    assert text("<a href='x'>&\"") == "&lt;a href=&#x27;x&#x27;&gt;&amp;&quot;"
    assert (
        text("a\tb\nc\x1b[31m\udcff")
        == "a\tb\nc\N{REPLACEMENT CHARACTER}[31m\N{REPLACEMENT CHARACTER}"
    )
