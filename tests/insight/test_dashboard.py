"""``tines dashboard``: a server of its own, which is asked as browsers, Prometheus and scripts do."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

import pytest

from dashboards import COMMAND, Dashboard
from programs import POOL, QUEUE, Programs
from support.waiting import wait_for
from tines import cli

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

PATHS = ("/", "/view", "/api", "/metrics", "/dashboard.js", "/dashboard.css")


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory):
    runtime = tmp_path_factory.mktemp("run")
    runtime.chmod(0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(runtime))
        patch.delenv("TINES_DASHBOARD_TOKEN", raising=False)
        dashboard = Dashboard()
        try:
            yield dashboard
        finally:
            dashboard.end()


@pytest.fixture
def programs(dashboard):
    """Starts programs that the dashboard sees, and ends them."""
    with Programs() as started:
        yield started


class TestWhoIsAnswered:
    @pytest.mark.parametrize("path", PATHS)
    def test_only_with_the_token(self, dashboard, path):
        for given in (
            {},
            {"Authorization": "Bearer nonsense"},
            {"Cookie": f"token={dashboard.token}"},
        ):
            response, text = dashboard.ask(path, token=False, **given)
            assert response.status == 403 and "token" in text
        assert dashboard.ask(f"{path}?token=nonsense", token=False)[0].status == 403
        assert dashboard.ask(f"{path}?token=n%C3%B6", token=False)[0].status == 403
        assert dashboard.ask(f"{path}?token={dashboard.token}", token=False)[0].status == 200
        response, _ = dashboard.ask(path)
        assert response.status == 200
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        assert response.headers["Cache-Control"] == "no-store"

    @pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "192.168.0.1", ""])
    def test_not_under_another_name(self, dashboard, host):
        response, text = dashboard.ask("/api", Host=host)
        assert response.status in (400, 403) and "programs" not in text

    @pytest.mark.parametrize(
        "host", ["localhost", "127.0.0.1:{port}", "[::1]:{port}", "localhost:1"]
    )
    def test_under_every_name_of_the_loopback(self, dashboard, host):
        # On another port too: that of a tunnel.
        assert dashboard.ask("/api", Host=host.format(port=dashboard.port))[0].status == 200

    @pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1"])
    def test_not_for_a_page_of_another_origin(self, dashboard, origin):
        for method, path in (("GET", "/api"), ("POST", "/stacks?pid=1")):
            response, text = dashboard.ask(path, method=method, Origin=origin)
            assert response.status == 403 and "origin" in text

    def test_for_its_own_page(self, dashboard):
        origin = f"http://127.0.0.1:{dashboard.port}"
        assert dashboard.ask("/api", Origin=origin)[0].status == 200

    def test_stacks_are_asked_for_on_purpose(self, dashboard):
        assert dashboard.ask("/stacks?pid=1")[0].status == 405
        assert dashboard.ask("/stacks?pid=1", method="POST", token=False)[0].status == 403
        assert dashboard.ask("/stacks?pid=x", method="POST")[0].status == 400
        # This process is none of a program's that it shows.
        assert dashboard.ask(f"/stacks?pid={os.getpid()}", method="POST")[0].status == 404


@pytest.fixture(scope="class")
def running(dashboard):
    """The pids of a program with a pool and of one with a queue, which the dashboard shows."""
    with Programs() as started:
        pids = [started.start(body).pid for body in (POOL, QUEUE)]
        wait_for(lambda: all(map(dashboard.program, pids)))
        yield pids


def busy_worker(program):
    """Return the one worker of its one pool that runs something."""
    (pool,) = program["pools"]
    (worker,) = (each for each in pool["workers"] if each["task"] is not None)
    return worker


class TestPoolAndQueue:
    def test_json(self, dashboard, running):
        program, other = map(dashboard.program, running)
        assert program["answering"] and program["pools"][0]["statistics"]["processes"] == 2
        assert busy_worker(program)["task"] == "time.sleep(1000)"
        assert other["queues"][0]["statistics"]["depth"] == 4

    def test_page(self, dashboard, running):
        page = dashboard.say("/view")
        assert all(f"id='program-{pid}'" in page for pid in running)
        assert "2 programs, 1 pool, 1 of 2 workers busy, 1 queue" in page
        assert "<td>time.sleep(1000)</td>" in page and "<title>time.sleep(1000): running" in page

    def test_metrics(self, dashboard, running):
        figures = dashboard.say("/metrics")
        of_pool = rf'\{{pid="{running[0]}",program="python.*",kind="Pool",pool="1"'
        slot = busy_worker(dashboard.program(running[0]))["statistics"]["slot"]
        for line in (
            rf"tines_pool_running{of_pool}}} 1",
            rf'tines_worker_task_seconds{of_pool},slot="{slot}"}} [0-9.]+',
            rf'tines_queue_depth{{pid="{running[1]}",.*,kind="Queue",queue="1"}} 4',
        ):
            assert re.search(f"^{line}$", figures, re.MULTILINE), line

    def test_what_prometheus_reads_is_in_its_format(self, dashboard, running):
        seen = []
        for line in dashboard.say("/metrics").splitlines():
            if line.startswith("# "):
                kind = re.fullmatch(r"# (HELP|TYPE) (tines_[a-z_]+) (.+)", line)
                assert kind, line
                if kind[1] == "TYPE":
                    assert kind[3] in ("gauge", "counter") and kind[2] not in seen
                    assert kind[2].endswith("_total") == (kind[3] == "counter")
                    seen.append(kind[2])
            else:
                value = re.fullmatch(r'(tines_[a-z_]+)(\{[a-z]+="[^"\n]*".*\})? [0-9.e+]+', line)
                assert value and value[1] == seen[-1], line
        assert "tines_queue_depth" in seen and "tines_worker_done_total" in seen

    @pytest.mark.skipif(sys.platform != "linux", reason="stacks are asked for on Linux")
    def test_stacks_of_a_worker(self, dashboard, running):
        worker = busy_worker(dashboard.program(running[0]))["pid"]
        response, text = dashboard.ask(f"/stacks?pid={worker}", method="POST")
        assert response.status == 200 and "most recent call first" in text


class TestWhatHappens:
    def test_nothing(self, dashboard):
        wait_for(lambda: dashboard.api()["programs"] == [])
        wait_for(lambda: "No tines program of yours is running" in dashboard.say("/view"))
        assert "tines_programs 0\n" in dashboard.say("/metrics")

    def test_a_killed_worker(self, dashboard, programs):
        pid = programs.start(POOL).pid
        wait_for(lambda: dashboard.program(pid))
        worker = busy_worker(dashboard.program(pid))["pid"]
        os.kill(worker, signal.SIGKILL)
        wait_for(lambda: dashboard.program(pid)["pools"][0]["statistics"]["restarts"] == 1)
        told = [each["what"] for each in dashboard.api()["events"] if each["program"] == pid]
        assert any(f"process {worker} died" in what for what in told)
        assert f"process {worker} died" in dashboard.say("/view")

    def test_a_program_that_goes(self, dashboard, programs):
        program = programs.start(QUEUE)
        wait_for(lambda: dashboard.program(program.pid))
        program.kill()
        wait_for(lambda: dashboard.program(program.pid) is None)
        told = [each for each in dashboard.api()["events"] if each["program"] == program.pid]
        assert [each["what"] for each in told] == ["the program has ended", "the program began"]
        assert f"id='program-{program.pid}'" not in dashboard.say("/view")

    def test_a_program_that_does_not_answer(self, dashboard, programs):
        program = programs.start(QUEUE)
        wait_for(lambda: dashboard.program(program.pid))
        program.send_signal(signal.SIGSTOP)
        wait_for(lambda: not dashboard.program(program.pid)["answering"])
        assert "It does not answer" in dashboard.say("/view")
        assert re.search(
            rf'^tines_program_answering{{pid="{program.pid}",.*}} 0$',
            dashboard.say("/metrics"),
            re.MULTILINE,
        )


class TestBeginningAndEnd:
    @pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
    def test_it_ends_and_leaves_nothing(self, programs_of_its_own, place, number, code):
        dashboard = Dashboard()
        assert len(dashboard.api()["programs"]) == 1
        assert any(each.name.startswith("watch-") for each in place.iterdir())
        assert dashboard.end(number) == (code, "", "")
        assert not any(each.name.startswith("watch-") for each in place.iterdir())

    def test_a_port_that_is_taken(self, dashboard):
        done = subprocess.run(
            [*COMMAND, "--port", str(dashboard.port)], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 2 and done.stdout == ""
        assert f"port {dashboard.port} of 127.0.0.1" in done.stderr and "--port 0" in done.stderr

    def test_a_token_that_is_given(self, monkeypatch, capsys):
        monkeypatch.setenv("TINES_DASHBOARD_TOKEN", "too short")
        assert cli.main(["dashboard", "--port", "0"]) == 2
        assert "TINES_DASHBOARD_TOKEN" in capsys.readouterr().err

    @pytest.mark.parametrize("missing", ["starlette", "uvicorn"])
    def test_without_the_extra(self, monkeypatch, capsys, missing):
        monkeypatch.setitem(sys.modules, missing, None)
        assert cli.main(["dashboard"]) == 2
        assert "pip install 'tines[dashboard]'" in capsys.readouterr().err

    @pytest.mark.parametrize("port", ["-1", "65536", "x", "9" * 5000])
    def test_a_port_that_is_none(self, capsys, port):
        with pytest.raises(SystemExit):
            cli.main(["dashboard", f"--port={port}"])
        assert "from 0 to 65535" in capsys.readouterr().err


@pytest.fixture
def programs_of_its_own(place):
    with Programs() as started:
        started.start(QUEUE)
        yield started
