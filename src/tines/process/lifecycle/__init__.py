"""A child's life, and what it leaves behind.

Bottom-up::

    stdin      what a forked child reads from
    box        what a child writes into and its parent reads: the outcome, the dump of a crash
    outcome    what a process hands back, and how its parent gets it
    bootstrap  a child's life around ``run()``: what comes before, in which order it ends
    launch     what a child that is not forked from its parent needs to know, and how it gets it
"""
