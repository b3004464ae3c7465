from __future__ import annotations

import pytest

import tines as mp


@pytest.fixture(params=mp.get_all_start_methods())
def ctx(request):
    return mp.get_context(request.param)


@pytest.fixture
def captured(capfd):
    """Capture what children write, too: a fork server writes to where it wrote when it started."""
    from multiprocessing import forkserver

    from tines.process import forkserver_client

    forkserver_client.stop()
    forkserver._forkserver._stop()
    yield capfd
    forkserver_client.stop()
    forkserver._forkserver._stop()
