"""Workers on other nodes: the program's side.

Bottom-up::

    handshake  program and node make sure of each other
    hosting    an agent, as the process that starts it has it
    silence    when a side gives up the other one that says nothing
    frames     what goes over the stream
    borders    what cannot travel, and how that is said
    sharing    payloads that a node has once
    looks      what a node says of a worker
    node       what the program knows of a node: what it was given, how much more it may be given
    hub        one thread that deals with all nodes
    joining    how agents become nodes
    workers    a worker, as the supervisor of a pool sees it
    channel    the transport that a pool is given
    engine     the engine, for any placement of agents
    cluster    the nodes of a context, and
    processes  its processes, and
    queues     its queues

The other side is ``tines.agent``.
"""
