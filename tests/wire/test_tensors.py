"""PyTorch's tensors: what arrives, whose it is, and what is left to torch."""

from __future__ import annotations

import copyreg
import os
import subprocess
import sys
from multiprocessing.reduction import ForkingPickler
from typing import Any

import pytest

import tines
from tines.transport.contract import Transport
from tines.wire import pickling
from wire_tools import descriptors, echo, put

torch: Any = pytest.importorskip("torch", reason="torch is not installed")

# A child that is forked from a process which has used torch's threads hangs in its first use of them.
torch.set_num_threads(1)

NUMBERS = torch.arange(60_000, dtype=torch.float32).reshape(3, 100, 200)

TENSORS = {
    "contiguous": NUMBERS,
    "small": NUMBERS[0, 0, :3],
    "0-d": torch.tensor(5),
    "empty": torch.empty(0, 4),
    "a view": NUMBERS[1, 10:90],
    "transposed": NUMBERS.transpose(0, 2),
    "with gaps": NUMBERS[:, ::2],
    "expanded": torch.ones(1).expand(300, 1000),
    "channels last": torch.randn(2, 3, 64, 64).to(memory_format=torch.channels_last),
    "conjugated": torch.complex(NUMBERS, NUMBERS).conj(),
    "negated": torch.complex(NUMBERS, NUMBERS).conj().imag,
    "requires a gradient": NUMBERS.clone().requires_grad_(),
    "a parameter": torch.nn.Parameter(NUMBERS.clone()),
    "a frozen parameter": torch.nn.Parameter(NUMBERS.clone(), requires_grad=False),
}

DTYPES = sorted({str(each)[6:] for each in vars(torch).values() if isinstance(each, torch.dtype)})


def as_bytes(tensor: Any) -> bytes:
    plain = tensor.detach().resolve_conj().resolve_neg().contiguous().reshape(-1)
    return bytes(plain.view(torch.uint8).numpy()) if plain.numel() else b""


def over(transport: Transport, obj: Any) -> Any:
    """Send an object through a queue of a transport."""
    queue = tines.Queue(transport=transport.name)
    queue.put(obj)
    received = queue.get()
    queue.close()
    return received


@pytest.mark.parametrize("name", TENSORS)
def test_what_arrives_is_equal_writable_and_private(transport: Transport, name: str) -> None:
    tensor = TENSORS[name]
    received = over(transport, {"tensor": tensor})["tensor"]
    assert type(received) is type(tensor)
    assert received.requires_grad == tensor.requires_grad and received.is_leaf
    assert (received.dtype, received.shape) == (tensor.dtype, tensor.shape)
    assert torch.equal(received.detach(), tensor.detach())
    assert not received.is_shared() and not received.is_conj() and not received.is_neg()
    if name not in ("with gaps", "negated"):
        assert received.stride() == tensor.stride()
    before = as_bytes(tensor)
    if name != "expanded":  # torch itself does not write into that
        with torch.no_grad():
            received.zero_()
    assert as_bytes(tensor) == before


@pytest.mark.filterwarnings("ignore:ComplexHalf")
@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("size", [480, 48_000])
def test_every_dtype_arrives(name: str, size: int) -> None:
    dtype = getattr(torch, name)
    bits = torch.arange(size, dtype=torch.uint8) % 2
    tensor = bits.view(dtype)
    kind, data, buffers = pickling.encode(tensor)
    assert len(buffers) == (size > pickling.OUT_OF_BAND)
    received = pickling.decode(kind, data, [bytearray(each) for each in buffers])
    assert (received.dtype, received.shape) == (dtype, tensor.shape)
    assert bytes(received.view(torch.uint8).numpy()) == bytes(bits.numpy())


def test_one_tensor_twice_is_one_tensor(transport: Transport) -> None:
    first, second = over(transport, [NUMBERS, NUMBERS])
    assert first is second


@pytest.mark.slow
def test_it_outlives_its_sender(transport: Transport, method: str) -> None:
    context = tines.get_context(method)
    queue = tines.Queue(ctx=context, transport=transport.name)
    child = context.Process(target=put, args=(queue, torch.arange, 100_000))
    child.start()
    child.join()
    received = queue.get()
    received += 1
    assert received[-1] == 100_000


def test_tensors_take_no_descriptor_and_no_file(transport: Transport) -> None:
    queue = tines.Queue(transport=transport.name)
    queue.put(NUMBERS)
    kept = [queue.get()]
    before = descriptors()
    for _ in range(50):
        queue.put(NUMBERS)
        kept.append(queue.get())
    if transport.name == "ring":
        assert descriptors() == before
    assert not any(each.is_shared() for each in kept)


@pytest.mark.parametrize("front", ["apply", "map", "imap", "executor"])
def test_through_pools_and_back(front: str) -> None:
    tensors = [NUMBERS + n for n in range(4)]
    if front == "executor":
        from tines.executor import ProcessPoolExecutor

        with ProcessPoolExecutor(2) as executor:
            received = list(executor.map(echo, tensors))
    else:
        with tines.Pool(2) as pool:
            if front == "apply":
                received = [pool.apply(echo, (each,)) for each in tensors]
            else:
                received = list(getattr(pool, front)(echo, tensors))
    for tensor, other in zip(tensors, received):
        assert torch.equal(tensor, other) and not other.is_shared()


class Tagged(torch.Tensor):  # type: ignore[misc, name-defined]
    """A subclass."""


def torchs_own(obj: Any) -> bool:
    """Whether torch's own reducer sends something, which then is in shared memory, or refuses it."""
    try:
        _, _, buffers = pickling.encode(obj)
    except tines.EncodeError:
        return True
    return not buffers


class TestLeftToTorch:
    def test_what_is_shared_stays_shared(self) -> None:
        tensor = NUMBERS.clone().share_memory_()
        received = over_queue(tensor)
        assert received.is_shared()
        received[0, 0, 0] = 7
        assert tensor[0, 0, 0] == 7

    def test_what_has_a_history_is_refused_with_torchs_words(self) -> None:
        history = NUMBERS.clone().requires_grad_() * 2
        with pytest.raises(tines.EncodeError, match="non-leaf tensor"):
            pickling.encode(history)

    @pytest.mark.filterwarnings("ignore")
    @pytest.mark.parametrize("kind", ["sparse", "quantised", "nested", "meta"])
    def test_other_kinds(self, kind: str) -> None:
        from tines.wire.reducers import tensors

        made = {
            "sparse": lambda: NUMBERS.to_sparse(),
            "quantised": lambda: torch.quantize_per_tensor(NUMBERS, 1.0, 0, torch.qint8),
            "nested": lambda: torch.nested.nested_tensor([NUMBERS[0], NUMBERS[1]]),
            "meta": lambda: torch.empty(100_000, device="meta"),
        }[kind]()
        assert not tensors._is_plain(made)

    def test_subclasses(self) -> None:
        tensor = NUMBERS.clone().as_subclass(Tagged)
        received = pickling.decode(*pickling.encode(tensor))
        assert type(received) is Tagged and torch.equal(received, tensor)

    @pytest.mark.slow
    def test_switched_off(self) -> None:
        program = (
            "import torch, tines; queue = tines.Queue(); queue.put(torch.ones(100_000));"
            "print(queue.get().is_shared())"
        )
        for given, expected in (("off", "True"), ("", "False")):
            environment = os.environ | {"TINES_TENSORS": given}
            ran = subprocess.run(
                [sys.executable, "-c", program],
                env=environment, capture_output=True, text=True, timeout=60,
            )  # fmt: skip
            assert ran.stdout.strip() == expected, ran.stderr


def over_queue(obj: Any) -> Any:
    queue = tines.Queue()
    queue.put(obj)
    return queue.get()


class TestProgramsReducersGoFirst:
    def test_registered_with_multiprocessing(self) -> None:
        theirs = ForkingPickler._extra_reducers[torch.Tensor]  # type: ignore[attr-defined]
        ForkingPickler.register(torch.Tensor, lambda tensor: (str, ("mine",)))
        try:
            assert over_queue(torch.ones(3)) == "mine"
        finally:
            ForkingPickler.register(torch.Tensor, theirs)
        assert torch.equal(over_queue(torch.ones(3)), torch.ones(3))

    def test_copyreg_counts_where_multiprocessing_has_nothing(self) -> None:
        copyreg.pickle(Tagged, lambda tensor: (str, ("mine",)))  # type: ignore[arg-type]
        try:
            assert over_queue(torch.ones(3).as_subclass(Tagged)) == "mine"
        finally:
            del copyreg.dispatch_table[Tagged]
