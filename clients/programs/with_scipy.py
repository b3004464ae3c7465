"""SciPy: optimisation with workers."""

from __future__ import annotations

from multiprocessing import Pool

from scipy.optimize import brute, differential_evolution, rosen

if __name__ == "__main__":
    bounds = [(-2, 2), (-2, 2)]
    options = {"seed": 1, "maxiter": 30, "updating": "deferred", "polish": False}
    print(differential_evolution(rosen, bounds, workers=2, **options).x.round(8).tolist())
    with Pool(2) as pool:
        print(differential_evolution(rosen, bounds, workers=pool.map, **options).nfev)
    print(brute(rosen, bounds, Ns=12, workers=2, finish=None).round(8).tolist())
