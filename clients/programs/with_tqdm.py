"""tqdm: process_map of tqdm.contrib.concurrent, and a bar around imap."""

from __future__ import annotations

from multiprocessing import Pool

from tqdm import tqdm
from tqdm.contrib.concurrent import process_map


def square(n):
    return n * n


if __name__ == "__main__":
    print(sum(process_map(square, range(200), max_workers=2, chunksize=5)))
    with Pool(2) as pool:
        print(sum(tqdm(pool.imap_unordered(square, range(200)), total=200)))
