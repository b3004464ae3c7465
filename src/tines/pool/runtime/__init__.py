"""What makes a pool go: the threads, and everything that has an effect.

Bottom-up::

    activity    stamps of what each worker has done with its time
    tally       how many messages were finished, and how
    machine     the state machine under its lock: events go in, and what it answers is done
    arrivals    what is made of results: outcomes, notices, deaths
    collector   takes them, in the thread of whoever waits or in its own
    meter       stops workers that take more memory than they may
    dispatcher  sends tasks, in the caller's thread
    cancelling  takes them back, or has them stopped
    supervisor  starts workers, waits for their ends, keeps the time
    effects     what the machine says, done
    statistics  what the pool and its workers are doing at this moment
    core        the composition: each part made with those that it needs; the start, the end
"""
