"""Runs that are ended early and go on."""

import contextlib
import json
import logging
import os
import signal

import jax
import pytest

from tests.runs import restore_last, train_from_config


def final_state(config, workdir):
    state = restore_last(config, workdir)
    return jax.device_get(state)


def metrics(workdir):
    text = (workdir / "metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def lasting(line):
    """What of a line does not depend on the clock."""
    timed = ("images_per_second", "data_wait_share", "seconds_per_step")
    return {name: value for name, value in line.items() if name not in timed}


def assert_same_end(config, workdir, expected_workdir):
    got, expected = final_state(config, workdir), final_state(config, expected_workdir)
    assert int(got.step) == 4
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert one.tobytes() == other.tobytes()
    assert [lasting(line) for line in metrics(workdir)] == [
        lasting(line) for line in metrics(expected_workdir)
    ]


class ActionAt(logging.Handler):
    """Does something when a line is logged that starts so."""

    def __init__(self, start, action):
        super().__init__()
        self.start = start
        self.action = action

    def emit(self, record):
        if record.getMessage().startswith(self.start):
            self.action()


@pytest.fixture
def at_line(caplog):
    """Does something in the midst of a run."""
    logger = logging.getLogger("logocap_jax")

    @contextlib.contextmanager
    def at(start, action):
        handler = ActionAt(start, action)
        logger.addHandler(handler)
        try:
            with caplog.at_level(logging.INFO, "logocap_jax"):
                yield
        finally:
            logger.removeHandler(handler)

    return at


@pytest.mark.row("R6")
def test_an_interrupted_run_ends_with_the_bits_of_an_uninterrupted_one(
    quick_run, quick_config, at_line, tmp_path, caplog
):
    def break_off():
        raise KeyboardInterrupt

    # The checkpoint is of step 2.
    with at_line("step 3/4", break_off), pytest.raises(KeyboardInterrupt):
        train_from_config(quick_config, tmp_path)
    assert [line["step"] for line in metrics(tmp_path)] == [1, 2, 2, 3]
    with caplog.at_level(logging.INFO, "logocap_jax"):
        train_from_config(quick_config, tmp_path)
    assert any("going on after step 2" in line for line in caplog.messages)
    assert_same_end(quick_config, tmp_path, quick_run)


@pytest.mark.row("R6")
def test_a_signal_before_an_evaluation_ends_the_run_and_the_next_one_makes_up_for_it(
    quick_run, quick_config, at_line, tmp_path, caplog
):
    with at_line("step 2/4", lambda: os.kill(os.getpid(), signal.SIGTERM)):
        assert train_from_config(quick_config, tmp_path) == signal.SIGTERM
    assert caplog.messages[-1] == (
        f"SIGTERM: step 2 of 4 is saved in {tmp_path}; run the same command again to "
        "go on"
    )
    assert [line["step"] for line in metrics(tmp_path)] == [1, 2]
    assert train_from_config(quick_config, tmp_path) is None
    assert_same_end(quick_config, tmp_path, quick_run)
