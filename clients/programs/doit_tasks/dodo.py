"""Tasks for doit, some of which need others, one of which fails."""

from __future__ import annotations

DOIT_CONFIG = {"default_tasks": ["part", "sum", "bad"], "continue": True}


def write(n):
    with open(f"out-{n}.txt", "w") as file:
        file.write(str(n * n))


def add():
    total = sum(int(open(f"out-{n}.txt").read()) for n in range(4))
    with open("out-sum.txt", "w") as file:
        file.write(str(total))


def fail():
    raise ValueError("as it was told to")


def task_part():
    for n in range(4):
        yield {"name": str(n), "actions": [(write, [n])], "targets": [f"out-{n}.txt"]}


def task_sum():
    return {"actions": [add], "file_dep": [f"out-{n}.txt" for n in range(4)]}


def task_bad():
    return {"actions": [fail]}
