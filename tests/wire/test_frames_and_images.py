"""polars and Pillow: what arrives is equal, out of band, and one's own."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

import tines
from tines.transport.contract import Transport
from tines.wire import pickling


def over(transport: Transport, obj: Any) -> Any:
    queue = tines.Queue(transport=transport.name)
    queue.put(obj)
    received = queue.get()
    queue.close()
    return received


class TestPillow:
    @pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "I", "F", "CMYK"])
    def test_images(self, transport: Transport, mode: str) -> None:
        image_module = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
        image = image_module.radial_gradient("L").resize((300, 200)).convert(mode)
        image.info["comment"] = "a gradient"
        _, data, buffers = pickling.encode(image)
        assert len(data) < 8192 or mode == "1"
        assert bool(buffers) == (mode != "1")
        received = over(transport, image)
        assert (received.mode, received.size, received.info) == (mode, image.size, image.info)
        assert received.tobytes() == image.tobytes()
        assert received.getpalette() == image.getpalette()
        before = image.tobytes()
        received.putpixel((0, 0), image.getpixel((150, 100)))
        assert image.tobytes() == before

    def test_empty(self, transport: Transport) -> None:
        image_module = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
        assert over(transport, image_module.new("RGB", (0, 0))).size == (0, 0)


class TestPolars:
    @pytest.fixture
    def polars(self) -> Any:
        pytest.importorskip("pyarrow", reason="pyarrow is not installed")
        return pytest.importorskip("polars", reason="polars is not installed")

    def test_frames_go_out_of_band(self, polars: Any, transport: Transport) -> None:
        size = 100_000
        frame = polars.DataFrame(
            {
                "number": range(size),
                "half": [n / 2 for n in range(size)],
                "text": [f"number {n}" if n % 7 else None for n in range(size)],
                "even": [n % 2 == 0 for n in range(size)],
                "when": [datetime.datetime(2024, 1, 1, 0, 0, n % 60) for n in range(size)],
            }
        )
        _, data, buffers = pickling.encode(frame)
        assert buffers and len(data) < 100_000
        received = over(transport, frame)
        assert received.equals(frame) and received.schema == frame.schema

    @pytest.mark.parametrize("kind", ["small", "categories", "lists", "no rows"])
    def test_others_go_polars_own_way(self, polars: Any, transport: Transport, kind: str) -> None:
        frame = {
            "small": lambda: polars.DataFrame({"number": [1, 2, 3]}),
            "categories": lambda: polars.DataFrame({"kind": ["a", "b"] * 300_000}).with_columns(
                polars.col("kind").cast(polars.Categorical)
            ),
            "lists": lambda: polars.DataFrame({"numbers": [[1, 2]] * 200_000}),
            "no rows": lambda: polars.DataFrame({"number": []}),
        }[kind]()
        _, _, buffers = pickling.encode(frame)
        assert not buffers
        received = over(transport, frame)
        assert received.equals(frame) and received.schema == frame.schema
