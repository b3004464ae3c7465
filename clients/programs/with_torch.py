"""PyTorch: a DataLoader with workers, persistent ones, an iterable data set, and an error."""

from __future__ import annotations

import os

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info


class Squares(Dataset):
    def __init__(self, bad=None):
        self.bad = bad

    def __len__(self):
        return 64

    def __getitem__(self, n):
        if n == self.bad:
            raise ValueError(f"no {n}")
        return torch.full((3, 100), float(n * n)), n


class Stream(IterableDataset):
    def __iter__(self):
        info = get_worker_info()
        return iter(range(info.id, 20, info.num_workers))


def double(tensor, queue, received):
    tensor.mul_(2)
    queue.put(tensor[:2].clone())
    received.wait(60)


if __name__ == "__main__":
    method = os.environ["CLIENT_METHOD"]
    options = {"num_workers": 2, "multiprocessing_context": method}
    loader = DataLoader(Squares(), batch_size=8, persistent_workers=True, **options)
    for _ in range(2):
        print([(float(batch.sum()), numbers.tolist()) for batch, numbers in loader][-1])
    del loader
    print(sorted(int(n) for batch in DataLoader(Stream(), batch_size=4, **options) for n in batch))
    try:
        list(DataLoader(Squares(bad=30), batch_size=8, **options))
    except ValueError as error:
        print("error:", str(error).splitlines()[0])
    context = torch.multiprocessing.get_context(method)
    shared, queue = torch.ones(4).share_memory_(), context.Queue()
    received = context.Event()
    process = context.Process(target=double, args=(shared, queue, received))
    process.start()
    print(queue.get(timeout=60).tolist())
    received.set()
    process.join()
    print(shared.tolist(), process.exitcode)
