"""ray: its ``multiprocessing.Pool``, on a cluster of this machine alone."""

from __future__ import annotations

from benchmarks.model import Feature
from benchmarks.peers.contract import Peer, Pool, StandardPool

__all__ = ["PEERS"]


class _RayPool(StandardPool):
    def close(self) -> None:
        import ray

        super().close()
        ray.shutdown()

    def terminate(self) -> None:
        import ray

        super().terminate()
        ray.shutdown()


class _Ray(Peer):
    name = title = module = distribution = "ray"
    offers = frozenset({Feature.POOL})
    has_daemons = True
    environment = {
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_DEDUP_LOGS": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
    }

    def pool(self, workers: int) -> Pool:
        import ray
        from ray.util.multiprocessing import Pool as RayPool

        ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False)
        return _RayPool(RayPool(workers))


PEERS = (_Ray(),)
