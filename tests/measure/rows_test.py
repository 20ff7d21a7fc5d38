import pytest

from logocap_jax.measure.rows import Row, ratios
from logocap_jax.measure.timing import Timing


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
        row("bare-hrnet", 1.0),
        row("local-kem, 3 people", 0.25),
        row("global-kam, 3 people", 0.75),
        row("local-kem, 1 people", 0.125),
        row("after-backbone, 3 people", 1.0),
        row("to-poses, 3 people", 4.0),
        row("backbone", 7.0, setting="batch 8"),
        row("after-backbone, 1 people", 7.0, setting="batch 8"),
        row("train-step", None),
        row("train-loop", 1.0),
    ]
    assert ratios(rows) == pytest.approx(
        {
            "local-kem + global-kam / backbone, 3 people: batch 4": 0.5,
            "after-backbone / backbone, 3 people: batch 4": 0.5,
            "after-backbone / to-poses, 3 people: batch 4": 0.25,
            "to-poses / bare-hrnet, 3 people: batch 4": 4.0,
            "after-backbone / backbone, 1 people: batch 8": 1.0,
        }
    )
