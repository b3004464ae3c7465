"""Kill, stop, starve and disturb what queues, pools and processes are made of, and count what it cost.

``python -m chaos --seconds 60 --seed 7 queue`` runs one rig, without a name all of them; ``--all`` takes
a rig through every transport and start method, each for so many seconds. A rig uses public interfaces
only, keeps an account of its own of all that was submitted and delivered, and compares at the end.
``--plant lost|twice|torn|leak`` puts a fault behind the rig's back, which it has to find: that shows
that it can.

What is done to them (``faults.py``): SIGKILL, SIGSTOP and SIGCONT, floods of signals and interval
timers that interrupt every wait, no descriptors, no memory, no room in ``/dev/shm``; tasks, results and
exceptions that cannot be pickled; callbacks that are slow or raise; and a wall clock that is another
one at each look (``clock.c``), which must not matter to anything.

How data flows::

    guard      starts the program once more, with the false clock; if it hangs, has all of its
               processes dump their stacks, and ends them
    __main__   -> one rig after the other -> tally -> the lines at the end
"""

from __future__ import annotations
