"""emcee: chains whose steps are computed in a pool."""

from __future__ import annotations

from multiprocessing import Pool

import emcee
import numpy as np


def log_probability(theta):
    return -0.5 * np.sum(theta**2)


if __name__ == "__main__":
    np.random.seed(42)
    start = np.random.randn(12, 3)
    with Pool(2) as pool:
        sampler = emcee.EnsembleSampler(12, 3, log_probability, pool=pool)
        sampler.run_mcmc(start, 60)
    print(sampler.get_chain()[-1, 0].round(8).tolist(), sampler.acceptance_fraction.mean().round(8))
