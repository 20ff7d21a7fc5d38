import pytest

from logocap_jax.measure.rows import Row, Timing, format_rows, ratios


def row(name, seconds, setting="batch 4", **rest):
    timing = None if seconds is None else Timing((seconds,))
    return Row(name, setting, images=4, timing=timing, **rest)


def test_a_row_says_images_per_second_at_its_median():
    plain = row("backbone", 0.5, flops=3.0).to_json()
    assert plain["key"] == "backbone: batch 4"
    assert plain["images_per_second"] == 8
    assert plain["timing"]["median_seconds"] == 0.5
    assert plain["timing"]["seconds"] == [0.5]
    assert plain["flops"] == 3


def test_a_row_that_was_not_run_has_no_times():
    plain = row("backbone", None).to_json()
    assert plain["timing"] is None
    assert plain["images_per_second"] is None


def test_ratios_are_of_one_setting_and_one_number_of_people():
    rows = [
        row("backbone", 2.0),
        row("after-scene, 3 people", 1.0),
        row("predict, 3 people", 4.0),
        row("whole-path, 3 people", 5.0),
        row("after-scene, 1 people", 1.0),
        row("predict, 3 people", 7.0, setting="batch 8"),
        row("train-step", None),
        row("train-loop", 1.0),
        row("predict", 0.5, setting="batch 2"),
        row("finish", 0.25, setting="batch 2"),
    ]
    assert ratios(rows) == pytest.approx(
        {
            "after-scene / predict, 3 people: batch 4": 0.25,
            "whole-path / predict, 3 people: batch 4": 1.25,
            "finish / predict: batch 2": 0.5,
        }
    )


def test_a_table_has_the_columns_that_a_row_knows_and_a_dash_for_the_others():
    rows = [row("a", 0.5, flops=2e9), row("b", None, remark="not run")]
    _, title, header, *lines = format_rows(rows).splitlines()
    assert title == "batch 4"
    assert header.split() == ["row", "median", "p90", "spread", "images/s", "GFLOP"]
    assert lines[0].split() == ["a", "500", "ms", "500", "ms", "0%", "8", "2"]
    assert lines[1].split() == ["b", "-", "-", "-", "-", "-", "not", "run"]
