"""What a running program shows to ``tines top``: an entry in a directory of the user's.

::

    program                                    reader (``tines top``)
    first pool or queue: entry, thread         opens each door, writes its ticket into it
    thread sleeps at the door            <---  poke
    takes ``statistics()``, writes page  --->  hears by its own FIFO, reads the page
    exit: removes the entry                    removes entries whose door nobody holds

Invariants:

* Nothing is counted for it: a page is made from what ``statistics()`` of pools and queues says anyway,
  and only when somebody asks. An unwatched program sleeps in one ``poll``.
* Only the user can read a page: directories are 0700, files 0600, and neither side uses what is
  not so, or belongs to somebody else, or is a symbolic link.
* A page is whole or refused; whatever is in it, reading it ends in a value or :class:`Unreadable`.
* What goes wrong here never reaches the program: it is then not seen, that is all.

This module is imported with the package, so it imports nothing before the first pool or queue.
:mod:`.places` says where entries are and :mod:`.page` what a page is. :mod:`.publisher`, with
:mod:`.values`, is the program's side; :mod:`.reader`, with :mod:`.model`, the other.
``TINES_INSIGHT=off`` does without.
"""

from __future__ import annotations

__all__ = ["Listener"]


class Listener:
    """Hears of this process's pools and queues (:mod:`tines._watchers`), and has them published."""

    def made(self, thing: object) -> None:
        """Hear of a new pool or queue.

        Raises:
            ValueError: ``TINES_INSIGHT`` is neither ``on`` nor ``off``.
        """
        from tines import _config

        if _config.insight() is _config.Insight.ON:
            from tines.insight import publisher

            publisher.publish(thing)

    def ending(self, thing: object) -> None:
        """Hear that one is of no interest any more."""
        import sys

        publisher = sys.modules.get("tines.insight.publisher")
        if publisher is not None:
            publisher.withdraw(thing)
