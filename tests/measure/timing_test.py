import jax.numpy as jnp
import pytest

from logocap_jax.measure.rows import Timing, measure


def test_statistics_are_those_computed_by_hand():
    timing = Timing((5.0, 1.0, 3.0, 2.0, 4.0))
    assert timing.median == 3
    assert timing.p90 == pytest.approx(4.6)  # 0.9 * 4 = 3.6 steps beyond 1
    assert timing.spread == pytest.approx((4.6 - 1.4) / 3)


def test_one_sample_has_no_spread():
    timing = Timing((0.5,))
    assert (timing.median, timing.p90, timing.spread) == (0.5, 0.5, 0)


def test_calls_are_timed_in_turn_after_they_have_all_run_once():
    order = []
    calls = {name: lambda name=name: order.append(name) for name in "ab"}
    told = []
    timings = measure(
        calls, rounds=3, seconds=0.0, progress=lambda *counts: told.append(counts)
    )
    assert {name: len(timing.seconds) for name, timing in timings.items()} == {
        "a": 3,
        "b": 3,
    }
    assert "".join(order[-6:]) == "ababab"
    assert set(order[:2]) == {"a"}
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_short_calls_go_on_for_the_time_that_is_given_but_not_for_ever():
    timing = measure({"a": lambda: None}, rounds=2, seconds=60.0)["a"]
    assert len(timing.seconds) == 20


def test_a_sample_of_a_short_call_that_is_queued_holds_many():
    calls = {"a": lambda: jnp.zeros(()), "b": lambda: jnp.zeros(())}
    timings = measure(calls, rounds=1, seconds=0.0, queue=frozenset("a"))
    assert timings["a"].calls_per_sample > 1
    assert timings["b"].calls_per_sample == 1
