"""``sys.stdin`` of children: ``/dev/null``, never the terminal of their parent."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

import tines as mp

PROGRAM = """
    import os, stat, sys
    import tines as mp

    def look(depth):
        inherited = sys.__stdin__
        try:
            inherited.read(1)
        except ValueError:
            refused = True  # closed
        else:
            refused = inherited is sys.stdin
        here = (
            refused, sys.stdin.closed, sys.stdin.encoding, sys.stdin.read(),
            os.fstat(sys.stdin.fileno()).st_rdev == os.stat(os.devnull).st_rdev,
        )
        if not depth:
            return [here]
        process = ctx.Process(target=look, args=(depth - 1,), returns=True)
        process.start()
        return [here, *process.result(30)]

    ctx = mp.get_context(sys.argv[1])

    if __name__ == "__main__":
        sys.stdin.read(1)  # so that the rest is in its buffer
        for _ in range(2):
            process = ctx.Process(target=look, args=(1,), returns=True)
            process.start()
            assert process.result(30) == [(True, False, "utf-8", "", True)] * 2, process.result()
        print(sys.stdin.read())
"""


@pytest.mark.parametrize("method", mp.get_all_start_methods())
def test_a_child_reads_nothing_and_takes_nothing_from_its_parent(tmp_path, method):
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(PROGRAM))
    done = subprocess.run(
        [sys.executable, str(path), method], input="xyz", capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert done.stdout == "yz\n"


@pytest.mark.skipif("fork" not in mp.get_all_start_methods(), reason="there is no fork here")
def test_without_one_it_stays_without(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    process = mp.get_context("fork").Process(target=lambda: sys.stdin is None, returns=True)
    process.start()
    assert process.result(30) is True


@pytest.mark.skipif("fork" not in mp.get_all_start_methods(), reason="there is no fork here")
def test_an_object_of_the_programs_own_is_closed_too(monkeypatch):
    class Own:
        closed = False

        def close(self):
            self.closed = True

    own = Own()
    monkeypatch.setattr(sys, "stdin", own)
    process = mp.get_context("fork").Process(
        target=lambda: (own.closed, sys.stdin.name == os.devnull or sys.stdin.read()), returns=True
    )
    process.start()
    assert process.result(30) == (True, "") and not own.closed
