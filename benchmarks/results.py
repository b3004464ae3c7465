"""The JSON of one run of the program: every single run, and where and with what it was made.

``benchmarks/results/<time>[-quick].json``. The file is rewritten after every variant, so that a
run that is interrupted keeps what it has. Reports are made from these files and from nothing else.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.model import Metric, Run, Status

__all__ = ["SCHEMA", "Results", "VariantInfo"]

SCHEMA = 1


@dataclass(frozen=True)
class VariantInfo:
    """What a report says about a variant; kept with the figures, as the code may change."""

    subject: str
    subject_title: str
    subject_text: str
    name: str
    title: str
    metrics: tuple[Metric, ...]


@dataclass
class Results:
    """Everything that one run of the program found.

    Attributes:
        unavailable: Why a peer could not take part, by name.
        titles: What peers and limits are called.
        load: Load averages at the start and at the end.
    """

    started: str
    command: list[str]
    rounds: int
    quick: bool
    machine: dict[str, Any]
    source: dict[str, Any]
    finished: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    load: dict[str, list[float]] = field(default_factory=dict)
    variants: list[VariantInfo] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)

    def to_json(self) -> str:
        """Return the file's text, one line for each run."""
        content: dict[str, Any] = {"schema": SCHEMA, **asdict(replace(self, runs=[]))}
        del content["runs"]
        runs = [json.dumps({**asdict(run), "status": run.status.value}) for run in self.runs]
        head = json.dumps(content, indent=1).removesuffix("\n}")
        return f'{head},\n "runs": [\n  ' + ",\n  ".join(runs) + "\n ]\n}\n"

    @classmethod
    def from_json(cls, text: str) -> Results:
        """Read a file's text.

        Raises:
            ValueError: it is not a results file of this version.
        """
        content = json.loads(text)
        if not isinstance(content, dict) or content.pop("schema", None) != SCHEMA:
            raise ValueError(f"this is not a benchmark result of schema {SCHEMA}")
        variants = [
            VariantInfo(**{**item, "metrics": tuple(Metric(**one) for one in item["metrics"])})
            for item in content.pop("variants")
        ]
        runs = [Run(**{**item, "status": Status(item["status"])}) for item in content.pop("runs")]
        return cls(**content, variants=variants, runs=runs)

    def save(self, path: Path) -> None:
        """Write the file whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".part")
        partial.write_text(self.to_json())
        partial.replace(path)

    @classmethod
    def load_file(cls, path: Path) -> Results:
        """Read a file.

        Raises:
            ValueError: it is not a results file; the message names it.
        """
        try:
            return cls.from_json(path.read_text())
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}: {error}") from error
