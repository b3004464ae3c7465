"""Optuna: one study on a file, worked on by several processes."""

from __future__ import annotations

import os
from multiprocessing import get_context

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend


def study():
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = JournalStorage(JournalFileBackend("journal.log"))
    return optuna.create_study(study_name="s", storage=storage, load_if_exists=True)


def work(trials):
    study().optimize(lambda trial: trial.suggest_float("x", -5, 5) ** 2, n_trials=trials)


if __name__ == "__main__":
    study()
    context = get_context(os.environ["CLIENT_METHOD"])
    with context.Pool(2) as pool:
        pool.map(work, [5, 5])
    trials = study().get_trials()
    print(sorted(trial.number for trial in trials), {trial.state.name for trial in trials})
