"""What the project promises, and the faults and bad inputs that hold it to that.

A test says by `@pytest.mark.row(NAME)` which rows of this matrix it is of, and by
`record_property("cases", n)` how many faults it injects, if not one. `make faults`
runs all of them, the slow ones too, and writes the tables of `docs/reliability.md`.
"""

import collections
import datetime
import os
import pathlib
import re
import sys
import time
from typing import NamedTuple

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- written by make faults -->\n", "<!-- end -->\n"

PROMISES = {
    "A": "A run killed at any moment, one process of several too, goes on from its "
    "last checkpoint and ends bit-identical to one that never was; no process and no "
    "shared memory is left",
    "B": "A checkpoint that is listed is whole; a damaged one is noticed by the "
    "checksum of each array, set aside, and the one before is used; if all are bad the "
    "run does not start over; settings and data must be the run's own; one run per "
    "folder",
    "C": "SIGTERM and Ctrl-C finish the step under way and save it, in all processes "
    "the same one; a second Ctrl-C ends at once",
    "D": "A full disk costs no checkpoint and is told in one line",
    "E": "Batches depend on seed, step and global batch size alone; losses and scores "
    "not on the number of devices and processes",
    "F": "A bad image or annotation is told with file, record and reason, and never "
    "crashes a run or skews it in silence; neither does an input worker that dies or "
    "hangs",
    "G": "A step that is not finite changes nothing, and too many end the run",
    "H": "Nothing that is read (weights, results, annotations, file names, settings) "
    "runs code, leads out of its folder or takes memory without a limit; nonsense is "
    "never scored",
    "I": "A run that ends early tells why by its exit code and in one line",
}


class Row(NamedTuple):
    """A row of the matrix.

    Attributes:
      promise: the promise that it is of.
      text: what is done.
      least: number of faults or bad inputs that it must have.
      is_fault: whether it injects something; otherwise it checks only.
    """

    promise: str
    text: str
    least: int = 1
    is_fault: bool = True


ROWS = {
    "R1": Row("B", "SIGKILL at each file operation of a save and its clean-up", 18),
    "R2": Row("B", "SIGKILL at random moments of saves of 16 MB", 20),
    "R3": Row("A", "SIGKILL of the run at random moments, 0 to 2 workers", 50),
    "R4": Row("A", "R3, and a flipped bit in the newest checkpoint"),
    "R5": Row("A", "SIGKILL of one of two processes", 2),
    "R6": Row("C", "SIGTERM: one or all processes, with workers, in any phase", 9),
    "R7": Row("C", "Ctrl-C and SIGTERM to the process group", 2),
    "R8": Row("B", "each file of a checkpoint removed, emptied, cut", 27),
    "R9": Row("B", "single bits of the newest checkpoint's arrays flipped", 60),
    "R9 without checksums": Row("B", "the same, checksums off: wrong in silence", 40),
    "R10": Row("B", "all checkpoints damaged"),
    "R11": Row("D", "full disk: state, metrics, results", 3),
    "R12": Row("B", "damaged data position; it is the checkpoint's step, no more"),
    "R13": Row("B", "going on with other settings, data, architecture", 5),
    "R14": Row("A", "going on with other devices, processes, workers", 2),
    "R15": Row("B", "a second process in the folder of a run"),
    "R16": Row("F", "an input worker that fails, is killed, exits, hangs", 4),
    "R17": Row("G", "loss, gradient, statistics or input not finite", 4),
    "R18": Row("E", "images that hosts do not divide: none runs out of batches", 1),
    "R19": Row("A", "programs of the compilation cache cut in half"),
    "T1": Row("E", "other hash seeds, cold and warm cache: equal bits", 1, False),
    "T2": Row("E", "1, 2, 4, 8 devices: relative 1e-5", 1, False),
    "T3": Row("E", "control: batch norm of each device's part differs", 1, False),
    "T4": Row("E", "no FSDP here: replicated states, equal bits", 1, False),
    "T5": Row("E", "2 processes and 1 of 2 devices: relative 1e-5", 1, False),
    "T6": Row("E", "0, 1, 2 workers, 1 to 4 threads: equal batches", 3, False),
    "T7": Row("E", "the shares of 2, 4 hosts are the global batch", 2, False),
    "T8": Row("E", "resuming at steps within and beyond an epoch", 5, False),
    "T9": Row("E", "epochs are permutations, all different", 1, False),
    "annotations": Row("F", "annotations and what they say of people", 32),
    "images": Row("F", "image files: cut, foreign, odd, of another size", 19),
    "bombs": Row("H", "small files of huge images", 4),
    "results": Row("H", "result files", 29),
    "weights": Row("H", "weight files: damaged, hostile, foreign", 17),
    "configs": Row("H", "settings: unknown, of another type, without sense, code", 12),
    "paths": Row("H", "file names: leading out, links, devices, nonsense", 21),
    "fuzz": Row("H", "the short run of each fuzz target", 4),
    "exit codes": Row("I", "each exit code, by `train.py`", 9),
}


class Tests(NamedTuple):
    """Those of a row, their cases, and how many survived."""

    names: dict[str, None]
    counts: collections.Counter[str]


class Matrix:
    """Finds, as a pytest plugin, the tests of each row and counts their cases."""

    def __init__(self) -> None:
        self.rows = {name: Tests({}, collections.Counter()) for name in ROWS}
        self.total = Tests({}, collections.Counter())
        self._marked: dict[str, tuple[str, ...]] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Keep the tests of the matrix."""
        for item in items:
            marks = item.iter_markers("row")
            names = tuple(dict.fromkeys(name for mark in marks for name in mark.args))
            if unknown := set(names) - ROWS.keys():
                raise pytest.UsageError(f"{item.nodeid}: unknown rows {unknown}")
            self._marked[item.nodeid] = names
            for name in names:
                self.rows[name].names[item.nodeid.partition("[")[0]] = None
        items[:] = [item for item in items if self._marked[item.nodeid]]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a test that has run."""
        if report.when != "call" or report.skipped:
            return
        cases = dict(report.user_properties).get("cases", 1)
        names = self._marked[report.nodeid]
        faulty = any(ROWS[name].is_fault for name in names)
        for tests in [self.rows[name] for name in names] + [self.total] * faulty:
            tests.counts.update(tried=cases, survived=cases * report.passed)

    def lacking(self) -> list[str]:
        """Rows with fewer cases than they must have."""
        return [
            f"{name}: {self.rows[name].counts['tried']} of {row.least}"
            for name, row in ROWS.items()
            if self.rows[name].counts["tried"] < row.least
        ]

    def table(self) -> list[str]:
        """The matrix, row by row, and the sum; a test may be of two rows."""
        lines = ["| row | what | tests | cases | survived |", "| --- " * 5 + "|"]
        for promise, text in PROMISES.items():
            lines.append(f"| **{promise}** | **{text}** | | | |")
            lines += [
                _line(name, row.text, self.rows[name])
                for name, row in ROWS.items()
                if row.promise == promise
            ]
        return [*lines, _line("all", "faults and bad inputs", self.total, named=False)]


def _line(name: str, text: str, tests: Tests, *, named: bool = True) -> str:
    by_file: dict[str, int] = collections.Counter()
    for test in tests.names:
        by_file[test.partition("::")[0].removeprefix("tests/")] += 1
    shown = ", ".join(f"`{file}` {count}" for file, count in by_file.items())
    tried, survived = tests.counts["tried"], tests.counts["survived"]
    return f"| {name} | {text} | {shown if named else ''} | {tried:,} | {survived:,} |"


def write_page(lines: list[str], how: str) -> None:
    """Put the table into the page."""
    today = datetime.datetime.now(datetime.UTC).date()
    table = f"{how}, {os.cpu_count()} CPU cores, {today}:\n\n" + "\n".join(lines) + "\n"
    text = re.sub(
        f"(?<={BEGIN}).*?(?={END})", lambda _: table, PAGE.read_text(), flags=re.S
    )
    PAGE.write_text(text)


def main() -> int:
    """Run the tests and write the table, unless one fails or a row lacks cases."""
    matrix = Matrix()
    start = time.monotonic()
    code = pytest.main(["-m", "", "-q", *sys.argv[1:]], plugins=[matrix])
    minutes = (time.monotonic() - start) / 60
    lines, lacking = matrix.table(), matrix.lacking()
    print("\n".join([*lines, *(f"too few cases of {row}" for row in lacking)]))
    if code == 0 and not lacking:
        write_page(lines, f"`make faults`, {minutes:.0f} minutes")
    return code or len(lacking)


if __name__ == "__main__":
    sys.exit(main())
