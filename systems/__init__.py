"""The suite on systems and interpreters that this machine does not have: ``python -m systems NAME``.

* ``windows``: a CPython for Windows, run by Wine;
* ``pythons``: the Pythons that Debian's newest suite has.

Both live in a folder that debootstrap fills with Debian packages (``debian.py``), kept in a cache so that
the second run is quick. Programs run there with the folder as their root and the checkout mounted at
``/tines``, in a mount namespace of their own, which leaves nothing mounted behind. Needs Linux, root
and debootstrap; what is missing is said, with exit code 3, so that CI can tell "not here" from "failed".
"""
