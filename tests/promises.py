"""What the project promises, which tests hold it to that, and how many cases they try.

`make faults` runs them all, the slow ones too, and writes the table of
`docs/reliability.md`. A test is one case, or as many as it says with
`record_property("cases", n)`.
"""

import collections
import datetime
import os
import pathlib
import re
import sys
from typing import NamedTuple

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- written by make faults -->\n", "<!-- end -->\n"


class Promise(NamedTuple):
    """A promise and its tests."""

    text: str
    tests: tuple[str, ...]


PROMISES = (
    Promise(
        "A run killed at any moment, one process of several too, goes on from its last "
        "checkpoint and ends bit-identical to one that never was; no process and no "
        "shared memory is left",
        (
            *("faults/kill_test.py", "faults/dead_process_test.py"),
            *("faults/same_bits_test.py", "experiment/resume_test.py"),
        ),
    ),
    Promise(
        "A checkpoint that is listed is whole; a damaged one is noticed by the "
        "checksum of each array, set aside, and the one before is used; if all are bad "
        "the run does not start over; settings and data must be the run's own; one run "
        "per folder",
        (
            *("faults/crash_point_test.py", "training/checkpoint_damage_test.py"),
            *("training/checkpoint_test.py", "experiment/build_test.py"),
        ),
    ),
    Promise(
        "SIGTERM and Ctrl-C finish the step under way and save it, in all processes "
        "the same one; a second Ctrl-C ends at once",
        (
            *("faults/stop_test.py", "faults/processes_test.py"),
            "training/signals_test.py",
        ),
    ),
    Promise(
        "A full disk costs no checkpoint and is told in one line",
        ("faults/disk_full_test.py",),
    ),
    Promise(
        "Batches depend on seed, step and global batch size alone; losses and scores "
        "not on the number of devices and processes",
        (
            *("data_pipeline/pipeline_test.py", "experiment/processes_test.py"),
            "processes_test.py",
        ),
    ),
    Promise(
        "A bad image or annotation is told with file, record and reason, and never "
        "crashes a run or skews it in silence; neither does an input worker that dies "
        "or hangs",
        (
            *("data_pipeline/coco_test.py", "data_pipeline/images_test.py"),
            *("data_pipeline/segmentation_test.py", "data_pipeline/sources_test.py"),
            *("data_pipeline/prepare_test.py", "data_pipeline/validate_test.py"),
            *("data_pipeline/bad_records_test.py", "data_pipeline/workers_test.py"),
            *("faults/input_test.py", "predictor/bad_input_test.py"),
        ),
    ),
    Promise(
        "A step that is not finite changes nothing, and too many end the run",
        ("training/step_test.py", "training/loop_test.py"),
    ),
    Promise(
        "Nothing that is read (weights, results, annotations) runs code, leads out of "
        "its folder or takes memory without a limit; nonsense is never scored",
        ("convert", "evaluation/checks_test.py", "evaluation/coco_test.py", "fuzz"),
    ),
)


class Cases:
    """Counts, as a pytest plugin, the cases of each test file, tried and survived."""

    def __init__(self) -> None:
        self.tried: collections.Counter[str] = collections.Counter()
        self.survived: collections.Counter[str] = collections.Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and not report.skipped:
            count = dict(report.user_properties).get("cases", 1)
            self.tried[report.location[0]] += count
            self.survived[report.location[0]] += count * report.passed


def rows(cases: Cases) -> list[str]:
    """The table: each promise with its cases, and their sum."""
    lines = ["| promise | tests | cases | survived |", "| --- | --- | --- | --- |"]
    for promise in PROMISES:
        paths = tuple(f"tests/{name}" for name in promise.tests)
        tried, survived = (
            sum(n for file, n in counts.items() if file.startswith(paths))
            for counts in (cases.tried, cases.survived)
        )
        names = ", ".join(f"`{name}`" for name in promise.tests)
        lines.append(f"| {promise.text} | {names} | {tried} | {survived} |")
    tried, survived = cases.tried.total(), cases.survived.total()
    return [*lines, f"| all | | {tried:,} | {survived:,} |"]


def main() -> int:
    """Run the tests and write the table, unless one fails."""
    cases = Cases()
    files = [f"tests/{name}" for promise in PROMISES for name in promise.tests]
    code = pytest.main(["-m", "", "-q", *sys.argv[1:], *files], plugins=[cases])
    lines = rows(cases)
    print("\n".join(lines))
    if code == 0:
        today = datetime.datetime.now(datetime.UTC).date()
        intro = f"`make faults`, {os.cpu_count()} CPU cores, {today}:\n\n"
        table = intro + "\n".join(lines) + "\n"
        text = re.sub(
            f"(?<={BEGIN}).*?(?={END})", lambda _: table, PAGE.read_text(), flags=re.S
        )
        PAGE.write_text(text)
    return code


if __name__ == "__main__":
    sys.exit(main())
