"""tines and its peers, side by side: ``python -m benchmarks`` from the repository root.

How data flows::

    cli -> plan        which subjects, variants and peers; how many rounds
        -> runner      one fresh process for each case, A B C A B C, with a time limit; other load
                       on the machine is measured beside it, and before it how far the cores are
                       from each other
        -> results     every single run, as JSON, in ``benchmarks/results/``
    report             tables and charts for the documentation, from that JSON only

A *subject* (``benchmarks/subjects``, one file each) is a workload in several *variants*; a *peer*
(``benchmarks/peers``, one file per library) is an adapter that says how a library does it; a
*limit* (``benchmarks/limits.py``) is what the machine itself can do, measured in the same rounds.
Every workload checks what it received, so a library that loses or tears a message fails its case.

Needs ``benchmarks/requirements.txt`` in an environment of its own; a peer that is not installed is
reported as such, and the rest is measured.
"""
