"""pandarallel: apply, map and groupby over a frame in processes, without and with progress."""

from __future__ import annotations

import pandas as pd
from pandarallel import pandarallel


def row(line):
    return line.a * 2 + line.b


if __name__ == "__main__":
    frame = pd.DataFrame({"a": range(200), "b": [n % 7 for n in range(200)]})
    for progress in (False, True):
        pandarallel.initialize(nb_workers=2, progress_bar=progress, verbose=0, use_memory_fs=False)
        print("sum:", frame.parallel_apply(row, axis=1).sum())
        print("sum:", frame.a.parallel_map(lambda n: n + 1).sum())
        print("sum:", frame.groupby("b").parallel_apply(lambda part: part.a.sum()).tolist())
    try:
        frame.parallel_apply(lambda line: line.missing, axis=1)
    except AttributeError as error:
        print("error:", type(error).__name__)
