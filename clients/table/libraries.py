"""Libraries that use processes, each in a small program of ``programs/``."""

from __future__ import annotations

from clients.client import METHODS, OWN, Client, Compare

__all__ = ["CLIENTS"]


def _program(
    name: str,
    *packages: str,
    methods: tuple[str, ...] = (OWN,),
    program: str = "",
    arguments: tuple[str, ...] = (),
    keep: str = "",
    environment: str = "common",
    limit: float = 120.0,
    until: tuple[int, int] = (3, 99),
) -> Client:
    """Return the client whose program is named after it."""
    program = program or f"with_{name.replace('-', '_')}.py"
    return Client(
        name,
        packages,
        (program, *arguments),
        files=(program,),
        methods=methods,
        compare=Compare(keep=keep),
        environment=environment,
        limit=limit,
        until=until,
    )


_TORCH = "torch==2.13.0"

CLIENTS = (
    _program("joblib-loky", "joblib>=1.4", "numpy", program="with_joblib.py", arguments=("loky",)),
    _program(
        "joblib-multiprocessing",
        "joblib>=1.4",
        "numpy",
        program="with_joblib.py",
        arguments=("multiprocessing",),
    ),
    *(
        _program(
            f"joblib-{backend}-manager",
            "joblib>=1.4",
            program="with_joblib_manager.py",
            arguments=(backend,),
        )
        for backend in ("loky", "multiprocessing")
    ),
    _program("sklearn", "scikit-learn>=1.4", limit=240),
    _program("dask", "dask[bag]>=2024.1"),
    _program("distributed", "distributed>=2024.1", limit=180),
    _program("gensim", "gensim>=4.3", limit=240),
    _program("spacy", "spacy>=3.7", limit=240),
    _program("gymnasium", "gymnasium>=1", methods=METHODS),
    _program(
        "torch", _TORCH, "numpy", methods=METHODS, environment="torch", limit=240, until=(3, 11)
    ),
    _program(
        "torch-spawn",
        _TORCH,
        "numpy",
        arguments=("{work}",),
        environment="torch",
        limit=240,
        until=(3, 11),
    ),
    _program("parmap", "parmap>=1.7", "tqdm"),
    _program(
        "pandarallel", "pandarallel>=1.6.5", "pandas<3", environment="pandas2", keep="^(sum|error):"
    ),
    _program("mpire", "mpire>=2.10", methods=METHODS, limit=180),
    _program("pebble", "pebble>=5"),
    _program("emcee", "emcee>=3.1"),
    _program("multiprocessing-logging", "multiprocessing-logging>=0.3.4"),
    _program("loguru", "loguru>=0.7", methods=METHODS),
    _program("istarmap"),
    _program("tqdm", "tqdm>=4.66"),
    _program("scipy", "scipy>=1.11"),
    _program("schwimmbad", "schwimmbad>=0.4", "joblib"),
    _program("aiomultiprocess", "aiomultiprocess>=0.9", methods=METHODS),
    _program("trio-parallel", "trio-parallel>=1.2"),
    _program("apscheduler", "apscheduler>=3.10,<4"),
    _program("memory-profiler", "memory-profiler>=0.61"),
    _program("deap", "deap>=1.4"),
    _program("optuna", "optuna>=3.6", methods=METHODS),
    _program("pathos", "pathos>=0.3"),
    _program("logging-cookbook", methods=METHODS),
    _program("nodaemon"),
)
