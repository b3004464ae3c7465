"""PyTorch's DataLoader: samples a second, with the contexts of each library.

The samples are there before it begins, so the rate is that of laying batches together and bringing
them to the program. A loader whose workers do not persist starts them for each epoch, which is part of
the time. What a batch costs beside time is measured in an epoch of its own, as in ``data``.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from benchmarks.calibrate import timed, until
from benchmarks.model import Feature, Metric, Metrics, Params, Subject, Unsupported, Variant, expect
from benchmarks.peers.contract import Peer
from benchmarks.subjects.data import cost

__all__ = ["SUBJECT", "Samples"]

SHAPE = (3, 224, 224)
DIFFERENT = 16


class Samples:
    """A dataset of images of which each is one value; there are a few of them, again and again."""

    def __init__(self, what: str, count: int) -> None:
        import numpy
        import torch

        arrays = [numpy.full(SHAPE, float(value), "f4") for value in range(DIFFERENT)]
        self._samples: list[Any] = (
            arrays if what == "numpy" else [torch.from_numpy(array) for array in arrays]
        )
        self._named = what == "dict"
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Any:
        sample = self._samples[index % DIFFERENT]
        return {"image": sample, "label": index} if self._named else sample


def _epoch(batches: Any, count: int) -> None:
    seen = 0
    for batch in batches:
        images = batch["image"] if isinstance(batch, dict) else batch
        wanted = [float((seen + place) % DIFFERENT) for place in range(len(images))]
        expect(
            images[:, -1, -1, -1].tolist() == wanted, "a batch is not of the samples it is to be"
        )
        seen += len(images)
    expect(seen == count, "samples are missing")


def measure(peer: Peer, params: Params) -> Metrics:
    """Samples a second; then what an epoch takes."""
    try:
        import torch
        from torch.utils.data import DataLoader
    except ImportError:
        raise Unsupported("torch is not installed") from None
    torch.set_num_threads(1)
    count = params["size"] * params["batches"]
    loader: Any = DataLoader(
        Samples(params["what"], count),  # type: ignore[arg-type]
        batch_size=params["size"],
        num_workers=params["workers"],
        persistent_workers=params["persistent"],
        multiprocessing_context=peer.context,
    )
    _epoch(loader, count)
    durations = until(params["seconds"], lambda: timed(lambda: _epoch(loader, count)))
    batches = iter(loader)
    pids = [os.getpid(), *(worker.pid for worker in batches._workers)]
    spent = cost(pids, lambda: _epoch(batches, count)) if sys.platform == "linux" else {}
    return {"rate": count * len(durations) / sum(durations), "epochs": len(durations), **spent}


def _variant(
    what: str, size: int, batches: int, persistent: bool, *, each_method: bool = False
) -> Variant:
    return Variant(
        name=f"{what} {size}{' persistent' if persistent else ''}",
        title=f"{what}, batches of {size}{', persistent workers' if persistent else ''}",
        metrics=(
            Metric("rate", "samples/s", "higher"),
            Metric("memory", "MB", "lower"),
            Metric("descriptors", "open", "lower"),
        ),
        needs=frozenset({Feature.LOADER}),
        params={
            "what": what,
            "size": size,
            "batches": batches,
            "persistent": persistent,
            "workers": 2,
            "seconds": 2.0,
        },
        quick={"batches": 4, "seconds": 0.2} if each_method and size < 100 else None,
        seconds=120,
        leave_out=() if each_method else ("*_spawn", "*_forkserver"),
        rounds=1,
    )


SUBJECT = Subject(
    name="loader",
    title="PyTorch's DataLoader",
    text="Samples of 3 x 224 x 224 `float32`, 2 workers, default collation, over the contexts of "
    "each library. What all but tines send a tensor by is torch's own.",
    variants=(
        _variant("tensor", 32, 32, False, each_method=True),
        _variant("tensor", 32, 32, True, each_method=True),
        _variant("tensor", 256, 8, False, each_method=True),
        _variant("tensor", 256, 8, True),
        _variant("numpy", 32, 32, True),
        _variant("numpy", 256, 8, True),
        _variant("dict", 32, 32, True),
        _variant("dict", 256, 8, True),
    ),
    measure=measure,
)
