from __future__ import annotations

import pytest

import tines as mp


@pytest.fixture
def ctx(method):
    return mp.get_context(method)


@pytest.fixture
def captured(capfd):
    """Capture what children write, too: a fork server writes to where it wrote when it started."""
    from multiprocessing import forkserver

    from tines.process.start import forkserver_client

    forkserver_client.stop()
    forkserver._forkserver._stop()
    yield capfd
    forkserver_client.stop()
    forkserver._forkserver._stop()


@pytest.fixture
def server():
    """A client whose server is fresh, and gone after the test."""
    from tines.process.start import forkserver_client

    forkserver_client.stop()
    yield forkserver_client._client
    forkserver_client.stop()
    forkserver_client.set_preload(["__main__"], "warn")
