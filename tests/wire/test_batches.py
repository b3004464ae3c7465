"""PyTorch's DataLoader on tines: its batches, in blocks that are handed over, and its failures."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tines
from support.waiting import wait_for
from tines import transport as transports

torch: Any = pytest.importorskip("torch", reason="torch is not installed")
numpy: Any = pytest.importorskip("numpy", reason="numpy is not installed")
torch.set_num_threads(1)

from torch.utils.data import DataLoader, Dataset  # noqa: E402

SHAPE = (3, 64, 64)

pytestmark = [pytest.mark.watchdog(120), pytest.mark.slow]


@pytest.fixture(autouse=True)
def no_workers_left() -> Iterator[None]:
    """The DataLoader's iterators are in cycles with what they raise, and end their workers when they go."""
    yield
    gc.collect()


class Images(Dataset):  # type: ignore[misc]
    """Samples of one kind: each is full of its own number."""

    def __init__(self, kind: str = "tensor", count: int = 32) -> None:
        self.kind = kind
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        image = torch.full(SHAPE, float(index))
        if self.kind == "numpy":
            return image.numpy()
        if self.kind == "dict":
            return {"image": image, "label": index}
        if self.kind == "nested":
            return [(image, {"twice": image * 2}), f"number {index}"]
        if self.kind == "fails" and index == 9:
            raise LookupError("nine is not there")
        return image


class Keeping(Images):
    """Keeps what it has collated, and writes into it later."""

    kept: Any = None

    def collate(self, samples: Any) -> Any:
        if self.kept is not None:
            self.kept.fill_(-1)
        self.kept = torch.utils.data.default_collate(samples)
        return self.kept


def loader(dataset: Any, method: str = "fork", **options: Any) -> Any:
    return DataLoader(
        dataset,
        **{"batch_size": 4, "num_workers": 2, **options},
        multiprocessing_context=tines.get_context(method),
    )


def image_of(batch: Any, kind: str) -> Any:
    if kind == "dict":
        return batch["image"]
    return batch[0][0] if kind == "nested" else batch


@pytest.mark.parametrize("kind", ["tensor", "numpy", "dict", "nested"])
@pytest.mark.parametrize("persistent", [False, True])
def test_batches(kind: str, persistent: bool) -> None:
    check_batches("fork", kind, persistent)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_batches_of_workers_that_are_not_forked(method: str) -> None:
    check_batches(method, "dict", True)


def check_batches(method: str, kind: str, persistent: bool) -> None:
    batches = loader(Images(kind), method, persistent_workers=persistent)
    for _ in range(2):
        seen = []
        for batch in batches:
            images = image_of(batch, kind)
            assert images.shape == (4, *SHAPE) and not images.is_shared()
            seen += images[:, 0, 0, 0].tolist()
            assert (images == images[:, :1, :1, :1]).all()
            images += 1  # it is ours
        assert seen == list(range(32))
        if kind == "nested":
            assert batch[0][1]["twice"].shape == (4, *SHAPE)
            assert batch[1] == tuple(f"number {n}" for n in range(28, 32))
    assert "/dev/shm/torch_" not in Path("/proc/self/maps").read_text()  # its files in /dev/shm


def test_kept_batches_stay_what_they_are_and_take_no_descriptors() -> None:
    before = len(os.listdir("/proc/self/fd"))
    batches = iter(loader(Images(count=64)))
    first = next(batches)
    descriptors = len(os.listdir("/proc/self/fd"))
    kept = [first, *batches]
    if transports.chosen().name == "ring":
        assert len(os.listdir("/proc/self/fd")) <= descriptors
    assert [int(batch[0, 0, 0, 0]) for batch in kept] == list(range(0, 64, 4))
    del batches
    wait_for(lambda: len(os.listdir("/proc/self/fd")) <= before + 2)


def test_a_batch_that_the_worker_keeps_is_not_handed_over() -> None:
    dataset = Keeping()
    batches = list(loader(dataset, num_workers=1, collate_fn=dataset.collate))
    assert [int(batch.min()) for batch in batches] == list(range(0, 32, 4))


class Telling(Images):
    """A dataset whose batches go with how many blocks the worker holds after it has sent one."""

    def collate(self, samples: Any) -> Any:
        batch = torch.utils.data.default_collate(samples)
        return batch, self.held()

    @staticmethod
    def held() -> int:
        from tines.wire.reducers import tensors

        gc.collect()
        return len(tensors.lent)


@pytest.mark.skipif(transports.chosen().name != "ring", reason="blocks are the ring's")
def test_batches_go_in_the_block_they_were_made_in() -> None:
    segment = tines.transport.segments.program.home()
    segment.trim()
    before = segment.census()["held"]
    dataset = Telling(count=64)
    batches = iter(loader(dataset, num_workers=1, collate_fn=dataset.collate))
    batch, _ = next(batches)
    # At the moment when a batch is made, the one before it is out of the worker's hands.
    assert [held for _, held in batches] == [1] * 15
    del batch
    gc.collect()
    wait_for(lambda: segment.census()["held"] <= before + 2)


def test_small_and_odd_batches_are_as_without_tines() -> None:
    assert [batch.tolist() for batch in loader(range(8))] == [[0, 1, 2, 3], [4, 5, 6, 7]]

    class Uneven(Images):
        def __getitem__(self, index: int) -> Any:
            return torch.zeros(index + 5000)

    with pytest.raises(RuntimeError, match="equal size"):
        list(loader(Uneven()))


def test_an_exception_is_raised_with_its_traceback() -> None:
    with pytest.raises(LookupError, match="nine is not there") as raised:
        list(loader(Images("fails")))
    assert "DataLoader worker process" in str(raised.value)


def run_under_tines(directory: Path, program: str, **variables: str) -> Any:
    (directory / "program.py").write_text(textwrap.dedent(program))
    return subprocess.run(
        [sys.executable, "-m", "tines", "program.py"],
        cwd=directory,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=100,
    )


FATAL = """
    import os, signal
    import torch
    from torch.utils.data import DataLoader, Dataset

    class Images(Dataset):
        def __len__(self):
            return 32

        def __getitem__(self, index):
            if index == 9:
                os.kill(os.getpid(), signal.SIGKILL)
            return torch.ones(3, 64, 64)

    if __name__ == "__main__":
        try:
            list(DataLoader(Images(), batch_size=4, num_workers=2))
        except RuntimeError as error:
            print(error)
"""


def test_a_killed_worker_is_the_loaders_own_error(tmp_path: Path) -> None:
    # By itself: torch's signal handler goes on about a dead worker for as long as the loader lives.
    ran = run_under_tines(tmp_path, FATAL)
    assert "DataLoader worker (pid" in ran.stdout, ran.stderr


@pytest.mark.filterwarnings("ignore:.*pin_memory")
def test_pinning_without_an_accelerator_changes_nothing() -> None:
    seen = [int(batch[0, 0, 0, 0]) for batch in loader(Images(), pin_memory=True)]
    assert seen == list(range(0, 32, 4))


PROGRAM = """
    import os
    import torch
    from torch.utils.data import DataLoader, Dataset

    torch.set_num_threads(1)

    class Images(Dataset):
        def __len__(self):
            return 40

        def __getitem__(self, index):
            return torch.full((3, 64, 64), float(index))

    if __name__ == "__main__":
        for method in ("fork", "spawn"):
            loader = DataLoader(Images(), batch_size=8, num_workers=2, multiprocessing_context=method)
            batches = list(loader)
            assert [int(batch[0, 0, 0, 0]) for batch in batches] == [0, 8, 16, 24, 32]
            print(method, {batch.is_shared() for batch in batches})
"""


ENDLESS = """
    import torch
    from torch.utils.data import DataLoader, IterableDataset

    torch.set_num_threads(1)

    class Images(IterableDataset):
        def __iter__(self):
            while True:
                yield torch.ones(3, 64, 64)

    if __name__ == "__main__":
        for batch in DataLoader(Images(), batch_size=8, num_workers=2):
            print("on", flush=True)
"""


@pytest.mark.parametrize(("given", "shared"), [("on", False), ("off", True)])
def test_an_unchanged_program(tmp_path: Path, given: str, shared: bool) -> None:
    ran = run_under_tines(tmp_path, PROGRAM, TINES_TENSORS=given)
    assert ran.stdout.splitlines() == [f"fork {{{shared}}}", f"spawn {{{shared}}}"], ran.stderr


def in_tiny_shm(command: list[str]) -> list[str]:
    """Have a command run with a /dev/shm of its own in which next to nothing fits, as containers have it."""
    mount = "mount -t tmpfs -o size=1m tmpfs /dev/shm"
    inner = ["unshare", "--mount", "sh", "-c", f'{mount} && exec "$@"', "sh"]
    try:
        possible = subprocess.run([*inner, "true"], capture_output=True, timeout=60).returncode == 0
    except OSError:
        possible = False
    if not possible:
        pytest.skip("no file system can be mounted here")
    return [*inner, *command]


def test_a_tiny_shared_memory(tmp_path: Path) -> None:
    """Docker gives 64 MB, too little for torch's own way of sending, which fails here; ours needs none."""
    program = PROGRAM.replace('("fork", "spawn")', '("fork",)')
    (tmp_path / "program.py").write_text(textwrap.dedent(program))
    ran = subprocess.run(
        in_tiny_shm([sys.executable, "-m", "tines", "program.py"]),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert ran.stdout.splitlines() == ["fork {False}"], ran.stderr


def test_an_interrupt_ends_it_at_once(tmp_path: Path) -> None:
    program = textwrap.dedent(ENDLESS)
    (tmp_path / "program.py").write_text(program)
    with subprocess.Popen(
        [sys.executable, "-m", "tines", "program.py"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "on\n"
        os.killpg(running.pid, signal.SIGINT)
        _, errors = running.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors
    assert running.returncode != 0
