"""When a node is given up that says nothing, and when a node gives up itself: the numbers, in one place.

* An agent says something once in a beat, if only that it is there. The program counts the beats in which
  nothing has come from a node, data or word, and gives it up after :data:`SILENT_BEATS`. It counts in its
  own turns: for as long as the program itself is held, by a debugger or Ctrl-Z, it counts nothing.
* A process beside the agent, its *guard*, kills an agent that has stood still for :data:`STILL_BEATS`. With
  their agent its workers end.
* Program and agent have a second connection, the *line*, on which nothing is ever sent. Their systems ask
  each other there (:func:`tines._sockets.keep_alive`), whatever is on its way on the stream,
  and however full that is. When the program's machine is cut off, the agent sees the end of the line and
  ends its workers. A program that is held loses nothing, as its system answers for it.

A node has to be gone before it is given up: ``STILL_BEATS``, and the time of the systems, are the shorter.
"""

from __future__ import annotations

__all__ = ["BEAT_SECONDS", "SILENT_BEATS", "STILL_BEATS"]

BEAT_SECONDS = 1.0

STILL_BEATS = 5

SILENT_BEATS = 7
