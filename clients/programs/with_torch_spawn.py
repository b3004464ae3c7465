"""torch.multiprocessing.spawn: ranks, a process group over gloo, and a rank that fails."""

from __future__ import annotations

import sys

import torch
import torch.distributed
import torch.multiprocessing as mp


def rank_sum(rank, world, path):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{path}", rank=rank, world_size=world
    )
    value = torch.tensor([float(rank + 1)])
    torch.distributed.all_reduce(value)
    if rank == 0:
        print("sum:", float(value), flush=True)
    torch.distributed.destroy_process_group()


def fail(rank):
    if rank == 1:
        raise ValueError("rank one fails")


if __name__ == "__main__":
    mp.spawn(rank_sum, (2, f"{sys.argv[1]}/meeting"), nprocs=2)
    try:
        mp.spawn(fail, nprocs=2)
    except mp.ProcessRaisedException as error:
        print("error:", str(error).strip().splitlines()[-1])
