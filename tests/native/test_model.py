"""The model of the commit and recovery protocol holds, and finds every fault that is planted in it.

``make model`` explores it with everybody killed.
"""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

import pytest

from native_tools import ROOT

FAULTS = [
    "commit-before-payload",
    "take-before-lease",
    "lease-survives",
    "collect-by-seq",
    "one-tail",
    "no-collect",
    "seen-ahead",
]


@pytest.fixture(scope="module")
def model() -> ModuleType:
    path = ROOT / "docs" / "design" / "model" / "ring_model.py"
    spec = importlib.util.spec_from_file_location("ring_model", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["ring_model"] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_two_producers_two_consumers_and_a_kill(model: ModuleType) -> None:
    assert model.explore(model.Size((1, 1), kills=1)) > 10_000


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(model: ModuleType, fault: str) -> None:
    assert sorted(model.FAULTS) == sorted(FAULTS)
    with pytest.raises(model.Violation, match=r"killed|commit"):
        model.explore(model.Size((1, 1), kills=1), fault)
