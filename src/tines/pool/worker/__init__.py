"""What runs in a worker, or travels to one.

Bottom-up::

    resources    memory and processor time of a process
    environment  variables of a slot: inner threads, devices
    constants    large constants of functions, sent once to all workers
    functions    which function a task calls: numbers for the ones that workers know
    setup        what a worker does before its first task
    main         the worker: takes a task, runs it, sends what came of it

A worker imports ``main`` and ``setup`` before its first task, so what they import stays light.
"""
