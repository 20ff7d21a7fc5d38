"""SIGTERM and Ctrl-C, as a scheduler and a terminal send them, at any time."""

import signal

import pytest

from tests.faults.injector import Sent

TERM, INT = signal.SIGTERM, signal.SIGINT
START, STEP, EVALUATION = "parameters, ", "step 2/", "evaluation on val"
# What happens -> the fault, the exit code, flags, whether it is of the quick tier.
STOPS = {
    "group with workers": (Sent(TERM, to="group"), 143, ["data.num_workers=2"], True),
    "Ctrl-C": (Sent(INT, to="group"), 130, ["data.num_workers=2"], False),
    "one process": (Sent(TERM), 143, [], False),
    "twice": (Sent(TERM, times=2), 143, [], False),
    "during compilation": (Sent(TERM, after=START), 143, [], False),
    "around an evaluation": (Sent(TERM, EVALUATION), 143, ["eval_every=0.5"], False),
}


@pytest.mark.row("R6", "R7", "exit codes")
@pytest.mark.parametrize(
    ("fault", "code", "flags"),
    [
        pytest.param(*stop, id=name, marks=() if quick else pytest.mark.slow)
        for name, (*stop, quick) in STOPS.items()
    ],
)
def test_a_signal_saves_the_step_under_way_and_ends_the_run(
    start, tmp_path, fault, code, flags
):
    run = start(
        tmp_path,
        # No checkpoint of its own, and no end, before the signal.
        "--config.checkpoint_every=1000.0",
        "--config.epochs=1000.0",
        "--config.eval_every=1000.0",
        *(f"--config.{flag}" for flag in flags),
    )
    run.meet(fault)
    ended = run.end()
    assert ended.code == code, ended.error
    assert ended.errors == []
    *_, line = ended.out.splitlines()
    assert f"{fault.number.name}: step " in line
    assert line.endswith(
        f" of 2000 is saved in {tmp_path}; run the same command again to go on"
    )
    saved = max(int(path.name) for path in (tmp_path / "checkpoints/last").iterdir())
    assert f"step {saved} of 2000 is saved" in line
    assert f"step {saved}/2000" in ended.out
    assert f"step {saved + 1}/2000" not in ended.out


@pytest.mark.slow
@pytest.mark.row("R6")
def test_a_second_control_c_ends_at_once(start, tmp_path):
    run = start(tmp_path, "--config.epochs=1000.0", "--config.eval_every=0.5")
    run.meet(Sent(INT, after="step 1/", times=2))
    assert run.end().code in (-INT, 130)
