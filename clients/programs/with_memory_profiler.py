"""memory-profiler: watches this process from another one, with a pipe between them."""

from __future__ import annotations

import memory_profiler


def hold():
    data = bytearray(40 << 20)
    return len(data)


if __name__ == "__main__":
    used, value = memory_profiler.memory_usage((hold, ()), interval=0.01, retval=True)
    print(value, len(used) > 0, all(mebibytes > 0 for mebibytes in used))
