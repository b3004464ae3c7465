"""What runs on a node of a pool, in a process of its own: it starts workers and carries their messages.

``main``      calls the program back, proves itself, and lives as long as the stream
``carrier``   messages and questions, in two threads: from the stream to the workers, and back
``warden``    starts workers and watches over them, in the main thread
"""
