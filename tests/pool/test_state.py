"""The pool's state machine under random orders of events, in a world without processes."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, settings

from pool_world import World, is_open

pytestmark = [pytest.mark.slow, pytest.mark.watchdog(200)]

TestWorld = World.TestCase
TestWorld.settings = settings(
    max_examples=300,
    stateful_step_count=80,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],  # a busy machine is no defect of the model
)


@pytest.mark.parametrize("part", range(4))
def test_long_random_walks(part: int) -> None:
    """Hypothesis prefers short histories, which it can explain; these are long and full of deaths."""
    for seed in range(part * 250, part * 250 + 250):
        _walk(random.Random(seed))


def _walk(rng: random.Random) -> None:
    world = World()
    world.begin(rng.randint(1, 3), rng.choice([2, 1000, 1000]), rng.randint(0, 1000))

    def number() -> int:
        return rng.randrange(21)

    steps = [
        (4, lambda: world.submit(*_random_task(rng)) if is_open(world) else None),
        (12, lambda: world.take(number())),
        (12, lambda: world.begin_item(number())),
        (2, lambda: world.report_part(number())),
        (3, lambda: world.finish(number(), rng.random() < 0.2)),
        (1, lambda: world.raise_retryable(number())),
        (2, lambda: world.kill_busy(number())),
        (2, lambda: world.kill_in_the_middle(number(), rng.randint(1, 6))),
        (1, lambda: world.kill_idle(number())),
        (1, lambda: world.pass_the_memory_limit(number())),
        (2, lambda: world.kill_doomed(number())),
        (1, lambda: world.ready(number())),
        (1, lambda: world.cancel(number())),
        (2, lambda: world.pass_time(rng.choice([0.1, 1.0, 5.0]))),
        (0.3, lambda: world.resize(rng.randint(1, 4)) if is_open(world) else None),
        (1, lambda: world.leave(number())),
        (0.1, lambda: world.close()),
        (0.02, lambda: world.terminate()),
    ]
    weights = [weight for weight, _ in steps]
    for _, step in rng.choices(steps, weights, k=200):
        step()
        world.workers_are_known()
        world.an_ended_pool_has_nothing_open()
        world.drained_means_done()
    world.teardown()


def _random_task(rng: random.Random) -> tuple[int, int, float, float | None]:
    timeout = rng.choice([None, None, 2.0])
    return rng.randint(1, 6), rng.randint(0, 2), rng.choice([0.0, 1.0]), timeout
