"""gymnasium: environments in processes, with and without shared memory, and one that fails."""

from __future__ import annotations

import os

import gymnasium
import numpy as np
from gymnasium.vector import AsyncVectorEnv


def make():
    return gymnasium.make("CartPole-v1")


class Failing(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(0, 1, (2,))
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        return np.zeros(2, np.float32), {}

    def step(self, action):
        raise RuntimeError("the pole is gone")


if __name__ == "__main__":
    method = os.environ["CLIENT_METHOD"]
    for shared in (True, False):
        envs = AsyncVectorEnv([make] * 3, shared_memory=shared, context=method)
        observations, _ = envs.reset(seed=3)
        print(observations.round(4).tolist())
        for n in range(20):
            observations, rewards, *_ = envs.step(np.array([n % 2] * 3))
        print(observations.round(4).tolist(), rewards.tolist())
        print(envs.call("get_wrapper_attr", "_elapsed_steps"))
        envs.close()
    envs = AsyncVectorEnv([Failing] * 2, context=method)
    envs.reset()
    try:
        envs.step(np.array([0, 0]))
    except RuntimeError as error:
        print("error:", error)
