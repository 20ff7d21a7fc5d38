import dataclasses
import json

import pytest
from ml_collections import ConfigDict

from logocap_jax.measure.record import (
    compare,
    describe,
    read_record,
    write_record,
)
from logocap_jax.measure.rows import Row, Timing


def make_rows(*names):
    return [
        Row(
            name,
            "batch 1",
            1,
            compile_seconds=2.0,
            timing=Timing((0.5, 0.7, 0.6)),
            flops=8.0,
            memory_bytes=100,
        )
        for name in names
    ]


@pytest.fixture
def about():
    return describe(["logocap", "benchmark"], ConfigDict({"sizes": (1, 2)}))


def test_a_record_says_where_and_when_it_was_made(about, tmp_path):
    write_record(tmp_path / "a.json", about, make_rows("a"))
    record = json.loads((tmp_path / "a.json").read_text())
    assert record["command"] == ["logocap", "benchmark"]
    assert record["machine"]["device_kind"] == "cpu"
    assert record["machine"]["devices"] == 8
    assert record["versions"].keys() >= {"python", "jax", "jaxlib", "flax", "numpy"}
    assert record["config"] == {"sizes": [1, 2]}
    assert record["date"][:2] == "20"
    assert [row["name"] for row in record["rows"]] == ["a"]


def test_a_comparison_gives_the_ratios_of_rows_that_both_have(about, tmp_path):
    then = make_rows("a", "gone")
    write_record(tmp_path / "then.json", about, then)
    faster = dataclasses.replace(
        then[0], timing=Timing((0.15,)), compile_seconds=3.0, memory_bytes=None
    )
    headline, ratios, new, old = compare(
        [faster, *make_rows("new")], read_record(tmp_path / "then.json")
    )
    assert headline.startswith(f"now / {about['date']} (cpu, ")
    titles, figures = ratios.splitlines()
    assert titles.split() == ["row", "compile", "median", "memory", "FLOP"]
    assert figures.split() == ["a:", "batch", "1", "1.500", "0.250", "-", "1.000"]
    assert new.strip() == "now only: new: batch 1"
    assert old.strip() == "then only: gone: batch 1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no such file, expected one that --json wrote"),
        ("{", "not a benchmark .*, expected what --json wrote"),
        ("[]", "not a benchmark"),
        ('{"rows": [{}]}', "not a benchmark .KeyError.'key'"),
    ],
)
def test_what_is_no_record_is_refused(tmp_path, text, message):
    path = tmp_path / "other.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=f"{path}: {message}"):
        read_record(path)
