"""The native core knows no system: what it needs of one, it asks the floor (``native/platform``) for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from native_tools import ROOT

NATIVE = ROOT / "native"
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.MULTILINE)

STANDARD = {
    "assert.h",
    "errno.h",
    "inttypes.h",
    "limits.h",
    "stdalign.h",
    "stdatomic.h",
    "stdbool.h",
    "stddef.h",
    "stdint.h",
    "stdio.h",
    "stdlib.h",
    "stdnoreturn.h",
    "string.h",
}
"""Those of C11 that say the same everywhere. ``time.h``, ``signal.h`` and ``threads.h`` do not."""


def included(folder: str) -> Iterator[tuple[str, str]]:
    """Yield (file, header) for each include in the C files right in a folder."""
    files = [path for path in sorted((NATIVE / folder).iterdir()) if path.suffix in (".c", ".h")]
    assert files, f"no C files in native/{folder}"
    for path in files:
        for header in INCLUDE.findall(path.read_text()):
            yield path.name, header


def is_beside(folder: str, header: str) -> bool:
    return (NATIVE / folder / header).is_file()


def foreign_to_core(header: str) -> bool:
    """Whether a file of the core may not include this."""
    own = "/" not in header and is_beside("core", header)
    floor = re.fullmatch(r"\.\./platform/\w+\.h", header) and is_beside("core", header)
    return not (own or floor or header in STANDARD)


def test_what_is_looked_for_would_be_found() -> None:
    planted = '#include <unistd.h>\n  # include "../platform/linux/word.h"\n#include "ring.h"\n'
    assert [h for h in INCLUDE.findall(planted) if foreign_to_core(h)] == [
        "unistd.h",
        "../platform/linux/word.h",
    ]


def test_the_core_includes_no_header_of_a_system() -> None:
    found = [f"{name}: {header}" for name, header in included("core") if foreign_to_core(header)]
    assert not found


def test_the_floor_includes_nothing_that_stands_on_it() -> None:
    """A header of the floor says what is the same on all systems, and hands on to one of them."""
    for name, header in included("platform"):
        ours = is_beside("platform", header)
        assert ours or header in STANDARD, f"{name}: {header}"
    for name, header in included("platform/linux"):
        assert "core/" not in header and "binding/" not in header, f"{name}: {header}"


def test_the_binding_includes_nothing_private() -> None:
    """What a header is private to, its own first lines say."""
    private = {
        path.name
        for path in (NATIVE / "core").glob("*.h")
        if "Private to" in path.read_text().split("#ifndef", 1)[0]
    }
    assert private, "no header says that it is private"
    found = [
        f"{name}: {header}" for name, header in included("binding") if Path(header).name in private
    ]
    assert not found


def test_two_files_of_the_binding_ask_the_system_themselves() -> None:
    """Why those two do is in docs/design/house.md."""
    known = STANDARD | {"Python.h", "datetime.h", "structmember.h"}
    asking = {
        name
        for name, header in included("binding")
        if header not in known and not is_beside("binding", header)
    }
    assert asking == {"forking.c", "liveness.c"}
