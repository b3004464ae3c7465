"""What callers hold: results, maps and iterators, and what they are made of.

Bottom-up::

    sizing         how many items of a map travel together
    window         how far an iterator reads ahead
    failures       from a failed task to the exception that its caller gets
    result         ``AsyncResult``, which is also the task itself
    back_pressure  how many bytes may be under way
    chunk          a range of a job's items that travels as one task
    map            a call for each item of a list, and the list of what they returned
    entries        outcomes as they came, not yet decoded
    stores         where they wait for whoever iterates
    imap           the iterators of ``imap`` and ``imap_unordered``
"""
