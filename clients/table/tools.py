"""Command-line tools that divide their work among processes."""

from __future__ import annotations

from clients.client import Client, Compare
from clients.table import prepared

__all__ = ["CLIENTS"]

_SECONDS = r"\d+\.\d+ ?s(econds)?"

CLIENTS = (
    Client(
        "flake8",
        ("flake8>=7",),
        ("-m", "flake8", "-j", "2", "sources"),
        prepare=prepared.sources,
        compare=Compare(exit_code=1, ordered=True),
    ),
    Client(
        "pylint",
        ("pylint>=3",),
        (
            "-m",
            "pylint",
            "-j",
            "2",
            "--disable=all",
            "--enable=E,W",
            "sources/json",
            "sources/logging",
        ),
        prepare=prepared.sources,
        compare=Compare(exit_code=6, ordered=True, masked=(r"\(previous run: .*\)",)),
    ),
    Client(
        "black",
        ("black>=24",),
        ("-m", "black", "--workers", "2", "sources"),
        prepare=prepared.sources,
        compare=Compare(errors=True, files="sources/**/*.py"),
    ),
    Client(
        "isort",
        ("isort>=5.13",),
        ("-m", "isort", "--jobs", "2", "."),
        prepare=prepared.unsorted,
        compare=Compare(masked=(r"Fixing .*/",), files="*.py"),
    ),
    Client(
        "yapf",
        ("yapf>=0.40",),
        ("-m", "yapf", "--parallel", "--in-place", "--recursive", "."),
        prepare=prepared.unsorted,
        compare=Compare(files="*.py"),
    ),
    Client(
        "autoflake",
        ("autoflake>=2.3",),
        ("-m", "autoflake", "-j", "2", "--in-place", "--remove-all-unused-imports", "-r", "."),
        prepare=prepared.unsorted,
        compare=Compare(files="*.py"),
    ),
    Client(
        "compileall",
        (),
        ("-m", "compileall", "-j", "2", "--invalidation-mode", "unchecked-hash", "sources"),
        prepare=prepared.sources,
        compare=Compare(keep="^Compiling"),
    ),
    Client(
        "sphinx",
        ("sphinx>=7",),
        ("-m", "sphinx", "-j", "2", "-b", "html", ".", "out"),
        prepare=prepared.site,
        compare=Compare(
            keep=r"build succeeded|warnings?\b", errors=True, masked=(r"^/.*/",), files="out/*.html"
        ),
    ),
    Client(
        "pytest-xdist",
        ("pytest-xdist>=3.5", "pytest>=8"),
        ("-m", "pytest", "-n", "2", "-q", "-rA", "-p", "no:cacheprovider"),
        files=("xdist_suite",),
        compare=Compare(exit_code=1, keep="^(PASSED|FAILED|SKIPPED) "),
    ),
    Client(
        "pytest-cov",
        ("pytest-cov>=5", "pytest>=8"),
        ("-m", "pytest", "-q", "-p", "no:cacheprovider", "--cov=.", "--cov-report=term-missing"),
        files=("xdist_suite", "coveragerc"),
        variables={"COVERAGE_RCFILE": "coveragerc"},
        compare=Compare(exit_code=1, keep=r"^test_many| passed", masked=(_SECONDS, r"\s+")),
    ),
    Client(
        "unittest-parallel",
        ("unittest-parallel>=1.6",),
        ("-m", "unittest_parallel", "-j", "2", "-s", "tests", "-v"),
        files=("unittest_suite",),
        compare=Compare(
            exit_code=1,
            errors=True,
            keep=r"^\w+ \(.*\.\.\. \w+$|^(OK|FAILED|Ran)",
            masked=(_SECONDS,),
        ),
    ),
    Client(
        "django",
        ("django>=4.2", "tblib"),
        ("-m", "django", "test", "--parallel", "2", "-v", "2", "--settings=settings"),
        files=("django_project",),
        methods=("fork", "spawn"),
        variables={"PYTHONPATH": "."},
        compare=Compare(
            exit_code=1,
            errors=True,
            keep=r"\.\.\. \w+$|^(Ran|FAILED|FAIL|ERROR)",
            masked=(_SECONDS,),
        ),
    ),
    Client(
        "ansible",
        ("ansible-core>=2.15",),
        ("-m", "ansible", "playbook", "-f", "2", "site.yml"),
        files=("ansible_play",),
        compare=Compare(masked=(r"/\S*/",), files="out-*.txt"),
        limit=240,
        variables={"LC_ALL": "C.UTF-8"},
    ),
    Client(
        "luigi",
        ("luigi>=3.5",),
        ("-m", "luigi", "--module", "tasks", "All", "--workers", "2", "--local-scheduler"),
        files=("luigi_tasks",),
        variables={"PYTHONPATH": "."},
        compare=Compare(errors=True, keep=r"^(\*|\s+[*-]|This progress)", files="out/*.txt"),
    ),
    Client(
        "cutadapt",
        ("cutadapt>=4.6",),
        ("-m", "cutadapt", "-j", "2", "-a", "AGATCGGAAGAGC", "-o", "out.fastq", "reads.fastq"),
        prepare=prepared.reads,
        compare=Compare(keep=r"^(Total|Reads|Quality|Pairs)", files="out.fastq"),
    ),
    Client(
        "doit",
        ("doit>=0.36",),
        ("-m", "doit", "-n", "2"),
        files=("doit_tasks/dodo.py",),
        compare=Compare(exit_code=2, keep=r"^(\.|Task|--)", files="out-*.txt"),
    ),
    Client(
        "viztracer",
        ("viztracer>=0.16", "deap>=1.4"),
        ("-m", "viztracer", "--quiet", "-o", "trace.json", "with_deap.py"),
        files=("with_deap.py",),
        compare=Compare(),
    ),
)
