"""What makes a pool go: the threads, and everything that has an effect.

Bottom-up::

    activity    stamps of what each worker has done with its time
    collector   takes results, in the thread of whoever waits or in its own
    arrivals    what is made of them: outcomes, notices, deaths
    dispatcher  sends tasks, in the caller's thread
    meter       stops workers that take more memory than they may
    supervisor  starts workers, waits for their ends, keeps the time
    core        what all of these share; where events become deeds; the end
    statistics  what the pool and its workers are doing at this moment
"""
