"""The Pythons of tomorrow: a part of the suite on interpreters that this machine does not have.

Debian's unstable distribution has the newest Pythons, pre-releases included. ``python -m pythons`` puts a
minimal one into a folder (``debootstrap``), copies the working tree there, and for each interpreter makes
an environment, builds tines in it, and runs a part of the suite. Nothing outside the folder changes: what
has to be mounted is mounted in a name space of its own, which ends with the command.

It takes root, ``debootstrap``, a Debian mirror and PyPI; some minutes and 1 GB the first time.
"""
