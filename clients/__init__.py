"""Real programs, run by ``python -m tines`` and compared with the same run on the standard library.

``python -m clients`` has a table of programs that people use and that know nothing of tines: servers,
tools, libraries, and the test suites of two libraries. Each is run once on ``multiprocessing`` as it
is, and once on each transport of tines; exit code, output, HTTP answers, files and what is left
running have to be the same.

    table         which programs there are: what to install, what to run, what is compared
    client        what an entry of the table says
    programs      the small programs and projects that the clients are given to run
    environments  installs the packages, in virtual environments of the rig's own
    trial         one run: in a session and a directory of its own, with a limit
    serving       the part of a trial that talks to a server
    outcome       what came out of a run, and how two of them differ

Data flow: table -> environments -> trial (once for each side) -> outcome -> a line for each client.
"""

from __future__ import annotations
