"""How children are started: a ``Popen`` class for each start method, and what stands behind it.

Bottom-up::

    interpreter        an interpreter like this one, for a child, a spare or a server
    popen              what the ``Popen`` classes share: waiting for a child, signalling it
    popen_fork         a copy of this process
    spares             interpreters that are started in advance, for ``spawn``
    popen_spawn        a fresh interpreter, or a spare
    forkserver_client  how a process reaches the fork server, and starts it
    popen_forkserver   a child of the fork server
    forkserver         the server itself
    child              where a new interpreter begins
    early              a head start for the children of a program's first pool
"""
