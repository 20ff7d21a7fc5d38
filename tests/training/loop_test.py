import itertools
import json
import logging
import math

import jax
import numpy as np
import optax
import pytest
from jax._src.array import ArrayImpl

from logocap_jax.sharding import make_mesh, replicated
from logocap_jax.training.checkpoint import Checkpoints
from logocap_jax.training.errors import DivergedError
from logocap_jax.training.loop import Schedule, train
from logocap_jax.training.metric_writer import MetricWriter
from logocap_jax.training.optim import make_optimizer
from logocap_jax.training.state import create_state
from logocap_jax.training.step import make_train_step
from tests.faults.injector import poison

RATE = optax.piecewise_constant_schedule(0.1, {3: 0.1})


@pytest.fixture
def run(tmp_path, toy_method, make_arrays):
    """Trains the toy method in a folder, from where that stands."""

    def run_(
        name,
        num_steps,
        *,
        scores=(),
        log_every=2,
        eval_every=3,
        stop_after=(),
        bad_steps=(),
        on_batch=lambda: None,
    ):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        mesh = make_mesh()
        optimizer = make_optimizer(RATE)
        fresh = create_state(toy_method, optimizer, jax.random.key(0))
        fresh = jax.device_put(fresh, replicated(mesh))
        checkpoints = Checkpoints(folder / "checkpoints", settings={})
        state = checkpoints.restore_last(fresh) or fresh
        start = int(state.step)
        writer = MetricWriter(folder, first_step=start)
        evaluated = []
        values = iter(scores)

        def evaluate(state):
            evaluated.append(float(state.params["w"]))
            score = next(values, 0.0)
            return None if score is None else {"eval/toy/AP": score}

        def batches():
            for step in itertools.count(start):
                on_batch()
                bad = step + 1 in bad_steps
                area = math.nan if bad else 5 + math.sin(step)
                yield poison(make_arrays(), "area", area)

        try:
            state = train(
                state,
                make_train_step(toy_method.loss, optimizer, mesh),
                batches(),
                evaluate,
                best_by="eval/toy/AP",
                schedule=Schedule(
                    num_steps=num_steps,
                    steps_per_epoch=4,
                    batch_size=8,
                    log_every=log_every,
                    eval_every=eval_every,
                    checkpoint_every=eval_every,
                    max_skipped_in_row=3,
                    learning_rate=RATE,
                ),
                checkpoints=checkpoints,
                writer=writer,
                mesh=mesh,
                stop_requested=lambda step: step in stop_after,
            )
        finally:
            writer.close()
            checkpoints.close()
        return state, evaluated

    return run_


def lines(folder):
    """Steps and metrics of the lines of a run."""
    text = (folder / "metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def steps(folder, metric):
    return [line["step"] for line in lines(folder) if metric in line]


def losses(folder):
    return [line["loss/total"] for line in lines(folder) if "loss/total" in line]


def test_nothing_is_read_from_the_device_between_log_lines(run, monkeypatch):
    reads = []  # the steps begun before each
    begun = []
    value = ArrayImpl._value.fget

    def spied(array):
        reads.append(len(begun))
        return value(array)

    monkeypatch.setattr(ArrayImpl, "_value", property(spied))
    run("one", 6, log_every=3, eval_every=6, on_batch=lambda: begun.append(1))
    assert {1, 2, 4, 5}.isdisjoint(reads)
    assert {3, 6} <= set(reads)  # it would have been seen


def test_lines_come_at_their_steps_and_evaluations_at_theirs(run, tmp_path):
    state, evaluated = run("run", 8)
    assert int(state.step) == 8
    assert len(evaluated) == 3
    assert evaluated[-1] == float(state.params["w"])
    assert steps(tmp_path / "run", "loss/total") == [2, 3, 4, 6, 8]
    assert steps(tmp_path / "run", "eval/toy/AP") == [3, 6, 8]


def test_a_line_holds_the_mean_loss_since_the_one_before(run, tmp_path):
    run("each", 4, log_every=1)
    run("pairs", 4, log_every=2, eval_every=4)
    first, second, third, fourth = losses(tmp_path / "each")
    expected = [(first + second) / 2, (third + fourth) / 2]
    np.testing.assert_allclose(losses(tmp_path / "pairs"), expected, rtol=1e-6)


def test_a_line_holds_the_rate_that_its_step_took(run, tmp_path):
    run("run", 5, log_every=1)
    rates = [line["lr"] for line in lines(tmp_path / "run") if "lr" in line]
    np.testing.assert_allclose(rates, [0.1, 0.1, 0.1, 0.01, 0.01], rtol=1e-6)


def test_a_run_in_pieces_ends_as_one_in_one_go(run, tmp_path):
    whole, _ = run("whole", 6)
    run("pieces", 3)
    assert steps(tmp_path / "pieces", "loss/total") == [2, 3]
    pieces, evaluated = run("pieces", 6)
    assert len(evaluated) == 1
    assert float(pieces.params["w"]) == float(whole.params["w"])
    assert float(pieces.batch_stats["n"]) == 6
    assert losses(tmp_path / "pieces") == losses(tmp_path / "whole")


@pytest.mark.row("R6")
@pytest.mark.parametrize("stop_after", [1, 3, 4])
def test_a_run_asked_to_stop_saves_at_once_and_later_ends_as_any(
    run, tmp_path, stop_after
):
    whole, all_evaluated = run("whole", 6, log_every=1)
    stopped, before = run("run", 6, log_every=1, stop_after=[stop_after])
    assert int(stopped.step) == stop_after
    assert steps(tmp_path / "run", "loss/total")[-1] == stop_after
    resumed, after = run("run", 6, log_every=1)
    assert float(resumed.params["w"]) == float(whole.params["w"])
    assert before + after == all_evaluated  # that of step 3, too, where it had stopped
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")
    assert steps(tmp_path / "run", "eval/toy/AP") == [3, 6]


@pytest.mark.row("R6")
def test_an_evaluation_that_is_broken_off_is_made_up_for(run, tmp_path, toy_method):
    stopped, _ = run("run", 6, scores=[None])
    assert int(stopped.step) == 3
    assert steps(tmp_path / "run", "eval/toy/AP") == []
    stopped, _ = run("run", 6, scores=[0.9, None])
    assert int(stopped.step) == 6
    assert steps(tmp_path / "run", "eval/toy/AP") == [3]
    run("run", 6, scores=[0.2])
    assert steps(tmp_path / "run", "eval/toy/AP") == [3, 6]
    _, evaluated = run("run", 6)
    assert not evaluated
    like = create_state(toy_method, make_optimizer(RATE), jax.random.key(0))
    reader = Checkpoints(tmp_path / "run/checkpoints", settings={}, read_only=True)
    assert int(reader.restore_best(like).step) == 3
    reader.close()


@pytest.mark.row("R17")
def test_skipped_steps_are_counted_and_left_out_of_the_mean(run, tmp_path):
    run("each", 4, log_every=1, eval_every=4, bad_steps=[2])
    run("pairs", 4, log_every=2, eval_every=4, bad_steps=[2])
    each, pairs = lines(tmp_path / "each"), lines(tmp_path / "pairs")
    assert [line["skipped_steps"] for line in each if "lr" in line] == [0, 1, 1, 1]
    assert each[1]["loss/total"] is None
    assert pairs[0]["loss/total"] == each[0]["loss/total"]
    # Step 4 is the third update, the last before the rate falls.
    np.testing.assert_allclose(each[3]["lr"], 0.1)


@pytest.mark.row("R17")
def test_too_many_skipped_steps_in_a_row_end_the_run_with_its_state_saved(
    run, tmp_path, toy_method
):
    with pytest.raises(DivergedError, match="step 6: got losses or gradients") as bad:
        run("run", 9, log_every=2, eval_every=9, bad_steps=[2, 4, 5, 6, 7])
    assert bad.value.exit_code == 6
    assert "in the last 3 steps" in str(bad.value)
    assert "\n" not in str(bad.value)
    like = create_state(toy_method, make_optimizer(RATE), jax.random.key(0))
    reader = Checkpoints(tmp_path / "run/checkpoints", settings={}, read_only=True)
    saved = reader.restore_last(like)
    reader.close()
    assert (int(saved.step), int(saved.skipped_steps)) == (6, 4)
    assert np.isfinite(saved.params["w"])


def test_a_finished_run_is_left_as_it_is(run, tmp_path):
    first, _ = run("run", 3)
    before = lines(tmp_path / "run")
    again, evaluated = run("run", 3)
    assert not evaluated
    assert float(again.params["w"]) == float(first.params["w"])
    assert lines(tmp_path / "run") == before


def test_best_checkpoint_is_of_the_best_score(run, tmp_path, toy_method):
    run("run", 9, scores=[0.2, 0.5, 0.3])
    like = create_state(toy_method, make_optimizer(RATE), jax.random.key(0))
    reader = Checkpoints(tmp_path / "run/checkpoints", settings={}, read_only=True)
    assert int(reader.restore_best(like).step) == 6
    assert int(reader.restore_last(like).step) == 9
    assert reader.best_score() == 0.5
    reader.close()


def test_each_line_is_logged_for_people_to_read(run, caplog):
    with caplog.at_level(logging.INFO, "logocap_jax"):
        run("run", 4)
    started = [line.split("  ")[0] for line in caplog.messages if "loss" in line]
    assert started == ["step 2/4", "step 3/4", "step 4/4"]
