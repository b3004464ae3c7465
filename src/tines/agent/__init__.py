"""What runs on a node of a pool, in a process of its own: it starts workers and carries their messages.

``main``      calls the program back, proves itself, and lives as long as the stream
``carrier``   messages and questions, in two threads: from the stream to the workers, and back
``guest``     a process of the program's own, which is no worker
``pulse``     what shows that it is alive, to the program and to a process that kills it if it stands still
``warden``    starts workers and watches over them, in the main thread
"""
