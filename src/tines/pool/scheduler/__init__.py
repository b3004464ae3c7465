"""Every decision of a pool, and nothing else: no clock, no process, no thread, no channel.

Bottom-up::

    phase      open, closed, drained, terminated, broken
    task       what is known of one task
    commands   what the machine answers with: what is to be done
    timers     what falls due, and when
    stops      the stopping of a dispatch, step by step
    deaths     what the end of a worker means for the task it held
    restarts   when workers die so often that the pool gives up
    state      the machine: an event goes in, commands come out
"""
