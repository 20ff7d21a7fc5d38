import hashlib
import json
import re

import pytest

from logocap_jax.cli.weights import public_table
from tests.docs.pages import ROOT

MODELS = (ROOT / "docs/models.md").read_text(encoding="utf-8")
OTHERS = MODELS.partition("## Of others")[2]
ROWS = [line for line in OTHERS.splitlines() if line.startswith("| ")]


def test_the_table_of_names_is_that_of_the_package():
    """`logocap weights --markdown` prints it."""
    assert public_table() in MODELS


def row(start):
    (found,) = [row for row in ROWS if start in row.split("|")[1]]
    return [cell.strip() for cell in found.strip("|").split("|")]


def test_every_row_says_where_from_sum_licence_and_both_scores():
    head, _, *rows = ROWS
    columns = [cell.strip() for cell in head.strip("|").split("|")]
    assert columns == [
        *("weights", "from", "SHA-256", "licence"),
        *("AP of the paper", "AP measured here"),
    ]
    assert len(rows) >= 7
    for line in rows:
        assert all(cell.strip() for cell in line.strip("|").split("|"))
        assert line.count("|") == len(columns) + 1


def test_a_sum_that_nobody_knows_comes_with_the_command_or_the_commit():
    told = re.compile(
        r"[0-9a-f ]{67}|not known here: `sha256sum FILE`|none: made.*`[0-9a-f]{7}`"
    )
    for line in ROWS[2:]:
        cell = line.strip("|").split("|")[2].strip()
        assert told.search(cell), cell


def test_the_sum_of_the_fixture_is_that_of_the_file(parity_dir):
    content = (parity_dir / "tiny/weights.npz").read_bytes()
    shown = row("tiny/weights.npz")[2].strip("`").replace(" ", "")
    assert shown == hashlib.sha256(content).hexdigest()


def test_the_scores_of_the_photographs_are_those_of_its_metrics():
    scores = [
        json.loads((ROOT / f"docs/coco_mini/metrics_{split}.json").read_text())
        for split in ("train", "val")
    ]
    measured = re.findall(r"\d+\.\d", row("coco_mini")[5])
    assert measured == [f"{100 * score['logocap']['AP']:.1f}" for score in scores]


def test_the_scores_of_the_demo_are_those_of_the_readme():
    (line,) = [
        line
        for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
        if "| `make demo` |" in line
    ]
    initial, refined = re.search(
        r"initial poses ([\d.]+), LOGO-CAP ([\d.]+)", line
    ).groups()
    assert row("demo/run")[5].startswith(f"{refined} (initial poses {initial})")


@pytest.mark.parametrize(
    ("name", "pattern"), [("W32", "W32 at 512"), ("W48", "W48 at 640")]
)
def test_the_scores_of_the_paper_are_those_of_the_specification(
    shared_dir, name, pattern
):
    text = (shared_dir / "spec/logocap.md").read_text(encoding="utf-8")
    val, test = re.search(rf"{pattern}: ([\d.]+) / (\d+\.\d)", text).groups()
    assert row(f"LOGO-CAP {name}")[4].startswith(f"{val} (val), {test} (test-dev)")
