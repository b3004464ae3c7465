"""What clients work on that is not kept in ``programs/``: made in the working directory."""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path

__all__ = ["reads", "site", "sources", "unsorted"]

_PACKAGES = ("json", "logging", "urllib", "wsgiref")


def sources(work: Path) -> None:
    """Copy some packages of the standard library: Python sources in plenty, with faults in them."""
    for name in _PACKAGES:
        shutil.copytree(
            Path(sysconfig.get_path("stdlib")) / name,
            work / "sources" / name,
            ignore=shutil.ignore_patterns("__pycache__"),
        )


def unsorted(work: Path) -> None:
    """Write modules with imports out of order, unused ones among them."""
    for n in range(40):
        (work / f"module{n}.py").write_text(
            f"import sys\nimport os, re\nfrom json import loads,dumps\nx = {{ 'a':{n},'b':os.sep }}\n"
        )


def site(work: Path) -> None:
    """Write a small documentation, with a broken reference on some pages."""
    pages = [f"page{n}" for n in range(40)]
    (work / "conf.py").write_text("project = 'clients'\nextensions = []\nhtml_theme = 'basic'\n")
    listed = "\n   ".join(pages)
    (work / "index.rst").write_text(f"Index\n=====\n\n.. toctree::\n\n   {listed}\n")
    for n, page in enumerate(pages):
        text = f".. _{page}-top:\n\nPage {n}\n{'=' * 10}\n\nSee :doc:`page{(n + 1) % 40}`.\n\n"
        if n % 10 == 3:
            text += f"And :ref:`nowhere{n}`.\n"
        (work / f"{page}.rst").write_text(text)


def reads(work: Path) -> None:
    """Write sequences with an adapter at their ends, as a sequencing machine does."""
    adapter = "AGATCGGAAGAGC"
    with open(work / "reads.fastq", "w") as file:
        for n in range(20_000):
            bases = "".join("ACGT"[n * 7 % (k + 3) % 4] for k in range(40)) + adapter[: n % 13]
            file.write(f"@read{n}\n{bases}\n+\n{'I' * len(bases)}\n")
