"""The tree of errors: what existing code catches, and that their data survive pickling."""

from __future__ import annotations

import builtins
import copy
import multiprocessing
import pickle

import pytest

from tines import errors

CAUGHT_AS = {
    errors.WaitTimeout: (multiprocessing.TimeoutError, builtins.TimeoutError),
    errors.TaskTimeoutError: (multiprocessing.TimeoutError, builtins.TimeoutError),
    errors.WorkerLostError: (errors.ProcessLostError,),
    errors.NodeLostError: (errors.WorkerLostError,),
    errors.EncodeError: (pickle.PicklingError, TypeError),
    errors.DecodeError: (pickle.UnpicklingError,),
    errors.QueueShutDown: (ValueError,),
    errors.TransportError: (OSError,),
    errors.StartError: (RuntimeError, AssertionError),
    errors.NodeMismatchError: (errors.StartError,),
}

EXAMPLES = [
    errors.TinesError("text"),
    errors.WaitTimeout("text"),
    errors.TaskTimeoutError("text", timeout=1.5, attempt=2),
    errors.TaskCancelledError(started=True),
    errors.ProcessLostError("text", pid=3, exitcode=-9, dump="stacks"),
    errors.WorkerLostError(
        "text",
        pid=3,
        exitcode=-11,
        task="f(1)",
        attempt=2,
        history=("was killed by SIGSEGV",),
        out_of_memory=True,
    ),
    errors.NodeLostError("text", node="a", task="f(1)", attempt=2, history=("lost",)),
    errors.PoolBrokenError("text"),
    errors.EncodeError("text"),
    errors.DecodeError("text"),
    errors.ResultEncodeError("text"),
    errors.QueueShutDown("text"),
    errors.TransportError(12, "no memory"),
    errors.StartError("text"),
    errors.NodeMismatchError("text"),
]


def test_all_errors_are_shown_here():
    named = {value for name in errors.__all__ if isinstance(value := getattr(errors, name), type)}
    assert named == {type(example) for example in EXAMPLES}
    assert all(issubclass(error, errors.TinesError) for error in named)
    for error in named:
        assert error.__name__ in errors.__doc__


@pytest.mark.parametrize("error", CAUGHT_AS)
def test_existing_code_catches_them(error):
    for kind in CAUGHT_AS[error]:
        assert issubclass(error, kind)
        with pytest.raises(kind):
            raise error("text")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: type(example).__name__)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_they_survive_pickling_with_their_data(example, protocol):
    example.later = "set by somebody"
    for copied in (pickle.loads(pickle.dumps(example, protocol)), copy.copy(example)):
        assert type(copied) is type(example)
        assert copied.args == example.args and str(copied) == str(example)
        assert vars(copied) == vars(example)


def test_a_transport_error_keeps_its_number():
    error = pickle.loads(pickle.dumps(errors.TransportError(12, "no memory")))
    assert (error.errno, error.strerror) == (12, "no memory")


@pytest.mark.parametrize(
    ("exitcode", "name", "text"),
    [
        (None, None, "disappeared"),
        (0, None, "exited with code 0"),
        (3, None, "exited with code 3"),
        (-9, "SIGKILL", "was killed by SIGKILL"),
        (-15, "SIGTERM", "was killed by SIGTERM"),
        (-1000, "signal 1000", "was killed by signal 1000"),
    ],
)
def test_exits_are_described(exitcode, name, text):
    assert errors.signal_name(exitcode) == name
    assert errors.describe_exit(exitcode) == text
    assert errors.ProcessLostError("x", exitcode=exitcode).signal == name
