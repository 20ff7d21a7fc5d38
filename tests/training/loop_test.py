import itertools
import json
import logging
import math

import jax
import numpy as np
import optax
import pytest

from logocap_jax.sharding import make_mesh, replicated
from logocap_jax.training.checkpoint import Checkpoints
from logocap_jax.training.loop import Schedule, train
from logocap_jax.training.metric_writer import MetricWriter
from logocap_jax.training.optim import make_optimizer
from logocap_jax.training.state import create_state
from logocap_jax.training.step import make_train_step

RATE = optax.piecewise_constant_schedule(0.1, {3: 0.1})


@pytest.fixture
def run(tmp_path, toy_method, make_arrays):
    """Trains the toy method in a folder, from where that stands."""

    def run_(name, num_steps, *, scores=(), log_every=2, eval_every=3):
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

        def evaluate(variables):
            evaluated.append(float(variables["params"]["w"]))
            return {"eval/toy/AP": next(values, 0.0)}

        def batches():
            for step in itertools.count(start):
                arrays = make_arrays()
                arrays["area"][:] = 5 + math.sin(step)
                yield arrays

        try:
            state = train(
                state,
                make_train_step(toy_method, optimizer, mesh),
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
                    learning_rate=RATE,
                ),
                checkpoints=checkpoints,
                writer=writer,
                mesh=mesh,
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
